"""Kinds of a user's own package, outside of `src`, go the way of the built-in ones."""

import json
from dataclasses import replace

import numpy as np
import pytest

import lazyrich as lr
from tests.own_package import HalfLogistic, HeunEuler, OneSign, Sparsity, Squares, SquaresBySimplex
from tests.own_package.by_simplex import l1_margin_by_simplex

PROBES = ("train_loss", "test_loss", "train_accuracy", "test_accuracy", "param_norm")
OWN = lr.Experiment(
    task=OneSign(),
    model=Squares(),
    loss=HalfLogistic(),
    probes=(*PROBES, "cosine_to_rich", Sparsity()),
    init_scale=5.0,
    weight_decay=0.02,
    t1=400.0,
    times=lr.dynamics.Times(first=0.1, num_log=12, num_linear=8),
    dynamics=lr.dynamics.Flow(rtol=1e-5, densify=0.0),
)


@pytest.fixture(scope="module")
def record():
    return lr.simulate(OWN)


def built_in(own: lr.Experiment) -> lr.Experiment:
    """The run of built-in kinds that is the same in other units.

    With parameters larger by the root of two, outputs are twice as large, and the flow of half the
    logistic loss of twice the output is that of the logistic loss, decay included.
    """
    return lr.Experiment(
        task=OneSign(),
        model=lr.models.DiagonalLinear(),
        probes=PROBES,
        init_scale=5.0 * np.sqrt(2),
        dynamics=lr.dynamics.ReducedFlow(rtol=1e-6),
        **{name: getattr(own, name) for name in ("weight_decay", "t1", "times")},
    )


@pytest.mark.slow
def test_a_run_of_own_kinds_is_that_of_built_in_ones_in_other_units(record):
    theirs = lr.simulate(built_in(OWN))
    np.testing.assert_allclose(record["train_loss"], theirs["train_loss"] / 2, rtol=1e-3)
    np.testing.assert_allclose(record["param_norm"], theirs["param_norm"] / 2**0.5, rtol=1e-3)
    # The predictors that it names by `theory` are found, and late training comes to the second.
    assert list(record["predictor"]) == ["kernel", "rich"]
    for name in ("predictor_label", "predictor_test_accuracy"):
        np.testing.assert_array_equal(record[name], theirs[name])
    assert record["cosine_to_rich"][-1] > 0.99
    assert record["sparsity"][-1] < 2 < record["sparsity"][1]
    assert record["sparsity"].attrs["long_name"] == "effective number of weights"


@pytest.mark.slow
def test_an_own_solver_follows_own_kinds():
    flow = lr.dynamics.Flow(method=HeunEuler(), rtol=1e-4, densify=0.0)
    experiment = OWN.model_copy(update={"dynamics": flow, "t1": 20.0, "probes": PROBES})
    record, theirs = lr.simulate(experiment), lr.simulate(built_in(experiment))
    assert json.loads(record.attrs["solver"])["name"] == "HeunEuler"
    np.testing.assert_allclose(record["train_loss"], theirs["train_loss"] / 2, rtol=1e-2)


def by(predict, role="late"):
    """The experiment with a model whose late, or early, predictor is `predict`."""

    class Own(Squares):
        def theory(self, classification):
            return replace(super().theory(classification), **{role: predict})

    return OWN.model_copy(update={"model": Own()})


@pytest.mark.slow
def test_an_own_predictor_is_compared_and_forecast_like_a_built_in_one(record):
    experiment = OWN.model_copy(update={"model": SquaresBySimplex()})
    found = lr.simulate(experiment)
    assert list(found["predictor_label"].values) == ["L2 max margin", "L1 by simplex"]
    for name in ("predictor_objective", "predictor_test_accuracy", "cosine_to_rich"):
        np.testing.assert_allclose(found[name], record[name], rtol=1e-5, atol=1e-5)
    late = lr.forecast(experiment, passage="calibrated").late
    assert (late["predictor"], late["test_accuracy"]) == ("L1 by simplex", 1.0)


@pytest.mark.slow
def test_an_own_predictor_is_part_of_the_identity_and_checked_before_the_solve():
    hashes = {by(predict).content_hash for predict in ("lq", lambda *a: None, lambda *a: 1.0)}
    assert len(hashes) == 3
    with pytest.raises(lr.InputError, match=r"^model.theory.late = 'NoneType': should return a"):
        lr.simulate(by(lambda x, y, start: None))
    with pytest.raises(lr.InputError, match=r"^model.theory.early = 'tuple': should return a"):
        lr.simulate(by(lambda x, y, h: (x.shape, y.shape, h.shape), "early"))
    wrong = lr.predictors.Predictor("wrong", np.ones(3), 1.0, 1.0, np.ones(12), 0.0, "optimal")
    with pytest.raises(lr.InputError, match=r"^model.theory.late = \(3,\): .* shape \(40,\)"):
        lr.simulate(by(lambda x, y, start: wrong))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"weights": np.full(40, np.nan)}, r"weights = nan: should be finite with status optimal"),
        ({"bound": np.inf}, r"bound = inf: should be finite"),
        ({"objective": 99.0}, r"gap = .*: should be \|bound - objective\| / bound = "),
        ({"status": "proven"}, r"status = 'proven': should be one of optimal, stationary, "),
    ],
)
def test_a_certificate_that_contradicts_itself_is_refused(changes, said):
    def late(x, y, start):
        found = l1_margin_by_simplex(x, y, start)
        for name, value in changes.items():
            object.__setattr__(found, name, value)  # without the checks of types in this session
        return found

    with pytest.raises(lr.InputError, match=rf"^model.theory.late.{said}"):
        lr.simulate(by(late))


def test_an_own_predictor_that_raises_is_named():
    with pytest.raises(lr.InputError, match=r"^model.theory.late = 'ZeroDivisionError': .*divi"):
        lr.simulate(by(lambda x, y, start: 1 / 0))
    with pytest.raises(lr.InputError, match=r"^model.theory.early = 'TypeError': should not raise"):
        lr.simulate(by(lambda x: x, "early"))


@pytest.mark.slow
def test_own_kinds_are_forecast(record):
    found = lr.forecast(OWN, passage="calibrated")
    assert found.late["predictor"] == "L1 max margin"
    assert found.late["test_accuracy"] == record["predictor_test_accuracy"][1]
    assert (found.family.name, found.family.known) == ("unknown", False)
    assert found.t_kernel_end < OWN.t1


@pytest.mark.slow
def test_own_kinds_are_swept_and_reported(record, tmp_path):
    runs = lr.sweep(OWN, {"init_scale": [5.0, 10.0]}, tmp_path / "runs", workers=0)
    both = runs["sparsity"].sel(init_scale=5.0).dropna("record")
    np.testing.assert_allclose(both[-1], record["sparsity"][-1], rtol=1e-6)
    again = lr.sweep(OWN, {"init_scale": [5.0, 10.0]}, tmp_path / "runs", workers=0)
    assert again.equals(runs)
    lr.report(record, tmp_path / "own.html")
    page = (tmp_path / "own.html").read_text()
    assert all(kind in page for kind in ("OneSign", "Squares", "HalfLogistic", "L1 max margin"))

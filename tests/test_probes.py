import jax.numpy as jnp
import numpy as np
import pytest

import lazyrich as lr
from lazyrich.probes import BUILT_IN, RunContext, RunState

# A net of two coordinates with alpha = 2 and lambda = 0.1, at t = 5.
START = lr.models.DiagonalParams(jnp.full(2, 1.0), jnp.full(2, 1.0))
PARAMS = lr.models.DiagonalParams(jnp.asarray([2.0, 0.0]), jnp.asarray([1.0, 2.0]))
X_TRAIN, Y_TRAIN = jnp.asarray([[1.0, 0.0], [0.0, -2.0]]), jnp.asarray([1.0, 1.0])
X_TEST, Y_TEST = jnp.asarray([[1.0, 0.0], [0.0, 1.0], [4.0, 3.0]]), jnp.asarray([1.0, 1.0, 1.0])


def state(params=PARAMS):
    weights = params.u**2 - params.v**2
    return RunState(jnp.asarray(5.0), params, weights, X_TRAIN @ weights, X_TEST @ weights)


def context(**changes):
    fields = {
        "y_train": Y_TRAIN,
        "y_test": Y_TEST,
        "params": START,
        "init_scale": 2.0,
        "weight_decay": 0.1,
        "kernel": jnp.asarray([0.6, -0.8]),
        "rich": jnp.asarray([1.0, 0.0]),
        "model": lr.models.DiagonalLinear(),
        "loss": lr.losses.Logistic(),
        "labels": "signs",
    }
    return RunContext(**{**fields, **changes})


TRAIN_LOSS = (np.log1p(np.exp(-3)) + np.log1p(np.exp(-8))) / 2
TEST_LOSS = (np.log1p(np.exp(-3)) + np.log1p(np.exp(4)) + np.log(2)) / 3
GAPS = np.array([2, 0, 1, 2]) - np.exp(-0.5)
EXPECTED = {
    "train_loss": TRAIN_LOSS,
    "test_loss": TEST_LOSS,
    "train_log_loss": np.log(TRAIN_LOSS),
    "test_log_loss": np.log(TEST_LOSS),
    "train_accuracy": 1.0,
    "test_accuracy": 0.5,  # right, wrong, and an output of zero, half right
    "param_norm": 3.0,
    "weight_norm_l1": 7.0,
    "weight_norm_l2": 5.0,
    "margin_l1": 3 / 7,
    "margin_l2": 3 / 5,
    "margin": 3.0,
    "normalised_margin": 3 / 9,  # of degree 2, at a parameter norm of 3
    "drift": np.exp(0.5) / 2 * np.linalg.norm(GAPS),
    "cosine_to_kernel": 1.0,
    "cosine_to_rich": 0.6,
}
# A matrix W = diag(3, -4), against diag(3, 0) and the identity.
MATRIX_EXPECTED = {
    "nuclear_norm": 7.0,
    "distance_to_kernel": 4 / 3,
    "distance_to_rich": np.sqrt((4 + 25) / 2),
    "weight_norm_l1": 7.0,
    "weight_norm_l2": 5.0,
    "cosine_to_kernel": 0.6,
}


def test_every_probe_is_tested():
    elsewhere = {"softmax_saturation"}
    assert EXPECTED.keys() | MATRIX_EXPECTED.keys() | elsewhere == BUILT_IN.keys()


@pytest.mark.parametrize("name", EXPECTED)
def test_value(name):
    # Weights are (2^2 - 1, 0 - 2^2) = (3, -4).
    probe = BUILT_IN[name]
    value = probe(state(), context())
    assert value.shape == ()
    assert value.dtype == jnp.float64
    assert float(value) == pytest.approx(EXPECTED[name], rel=1e-12)
    assert probe.units == "1"
    assert probe.long_name


def test_no_plausible_numbers_where_there_is_no_answer():
    at_zero = state(START)
    for name in ("margin_l1", "margin_l2", "cosine_to_kernel", "cosine_to_rich"):
        assert np.isnan(BUILT_IN[name](at_zero, context())), name
    assert float(BUILT_IN["train_accuracy"](at_zero, context())) == 0.5


def test_what_does_not_apply_is_left_out():
    def applying(**changes):
        return {name for name, probe in BUILT_IN.items() if probe.applies(context(**changes))}

    assert applying() == set(EXPECTED)
    assert "cosine_to_rich" not in applying(rich=None)
    reals = applying(labels="reals", loss=lr.losses.Squared())
    assert not reals & {"train_accuracy", "test_accuracy", "margin_l1", "margin_l2", "margin"}
    assert reals >= {"distance_to_kernel", "distance_to_rich"}
    own = lr.models.Functions(init_params=lambda k, d: None, function=lambda p, x: x[:, 0])
    assert applying(model=own) == {
        "train_loss", "test_loss", "train_log_loss", "test_log_loss", "train_accuracy",
        "test_accuracy", "param_norm", "margin", "drift",
    }  # fmt: skip


@pytest.mark.parametrize("name", MATRIX_EXPECTED)
def test_value_of_a_matrix(name):
    factor = jnp.diag(jnp.asarray([3.0, -4.0]))
    here = RunState(jnp.asarray(0.0), None, factor, jnp.zeros(1), jnp.zeros(1))
    there = context(
        model=lr.models.MatrixFactorisation(size=2),
        params=lr.models.FactorParams(jnp.eye(2), jnp.eye(2)),
        loss=lr.losses.Squared(),
        kernel=jnp.diag(jnp.asarray([3.0, 0.0])),
        rich=jnp.eye(2),
        labels="reals",
    )
    probe = BUILT_IN[name]
    assert probe.applies(there)
    assert float(probe(here, there)) == pytest.approx(MATRIX_EXPECTED[name], rel=1e-12)


def test_accuracy_of_classes_shares_out_ties():
    f = jnp.asarray([[1.0, 0.0, 0.0], [0.0, 2.0, 2.0], [0.0, 0.0, 0.0], [3.0, 1.0, 0.0]])
    y = jnp.asarray([0, 1, 2, 2])
    assert float(lr.probes.accuracy(f, y)) == pytest.approx((1 + 1 / 2 + 1 / 3 + 0) / 4)


def test_drift_survives_times_at_which_the_decayed_start_underflows():
    late = RunState(jnp.asarray(6000.0), PARAMS, jnp.ones(2), jnp.ones(2), jnp.ones(3))
    drift = float(BUILT_IN["drift"](late, context()))
    assert np.log(drift) == pytest.approx(600 + np.log(3 / 2), rel=1e-12)


@pytest.mark.slow
def test_probes_of_parameters_whose_squares_vanish():
    # Labels of zero: each parameter of a diagonal net decays with e^{-t}, and the weights with
    # e^{-2t}, so all directions stay as they were while squares vanish from t = 177 on.
    rng = np.random.default_rng(0)
    x, w = rng.normal(size=(4, 8)), 1e-3 * rng.normal(size=8)
    names = (
        "train_loss",
        "param_norm",
        "weight_norm_l1",
        "weight_norm_l2",
        "kernel_alignment_start",
    )
    record = lr.simulate(
        lr.Experiment(
            task=lr.tasks.Arrays(x_train=x, y_train=np.zeros(4), x_test=x, y_test=np.zeros(4)),
            model=lr.models.DiagonalLinear(),
            loss=lr.losses.Squared(),
            weight_decay=1.0,
            init_scale=1e-3,
            t1=320.0,
            dynamics=lr.dynamics.Flow(),
            probes=names,
        ),
        params=lr.models.DiagonalParams(jnp.asarray(1.0 + w), jnp.asarray(1.0 - w)),
    )
    late = record.sel(time=slice(200, 320))
    for name, power in (("param_norm", 1), ("weight_norm_l1", 2), ("weight_norm_l2", 2)):
        wanted = np.log(float(record[name][0])) - power * late.time
        assert np.all(np.abs(np.log(late[name]) - wanted) < 0.02 * power * late.time), name
    assert np.allclose(late.kernel_alignment_start, 1.0, atol=1e-3)


def _own(given_name, axes=()):
    class Own(lr.probes.AbstractProbe):
        named = (given_name, "my own")
        dims = axes

        def __call__(self, state, context):
            return state.time

    return Own()


@pytest.mark.parametrize(
    ("probes", "name", "of"),
    [
        (("train_loss", _own("train_loss")), "train_loss", "a built-in probe"),
        ((_own("train_accuracy"),), "train_accuracy", "a built-in probe"),
        ((_own("mine"), _own("mine")), "mine", "another of your probes"),
        ((_own("time"),), "time", "another variable of the dataset"),
        ((_own("predictor"),), "predictor", "another variable of the dataset"),
        ((_own("unit", ("unit",)),), "unit", "an axis of a probe"),
    ],
)
def test_a_name_that_is_in_use_is_one_line_before_the_run(probes, name, of, monkeypatch):
    task = lr.tasks.SparseClassification(n=6, d=10, num_test=5)
    monkeypatch.setattr(type(task), "sample", lambda *_: pytest.fail("data were drawn"))
    with pytest.raises(lr.InputError) as error:
        lr.simulate(lr.Experiment(task=task, t1=5.0, probes=probes))
    line = f"names must differ, and {name} is also the name of {of}: use another name"
    assert str(error.value) == f"probes = {name!r}: {line}"


@pytest.mark.parametrize("name", ["early_mine", "late_mine", "forecast_t50", "predictor_mine"])
def test_a_name_like_a_column_of_sweeps_is_one_line_before_the_run(name):
    task = lr.tasks.SparseClassification(n=6, d=10, num_test=5)
    with pytest.raises(lr.InputError, match=f"probes = '{name}': should not begin with early_"):
        lr.simulate(lr.Experiment(task=task, t1=5.0, probes=(_own(name),)))


def test_a_sweep_keeps_the_names_of_its_keys_and_columns(tmp_path):
    task = lr.tasks.SparseClassification(n=6, d=10, num_test=5)
    # A built-in probe may be given as an object.
    losses = (lr.probes.Loss("train"), "test_loss")
    for name in ("outcome", "t50", "init_scale"):
        experiment = lr.Experiment(task=task, t1=5.0, probes=(*losses, _own(name)))
        with pytest.raises(lr.InputError, match=f"{name} is also the name of another variable"):
            lr.sweep(experiment, {"init_scale": [1.0, 2.0]}, tmp_path / "runs", workers=0)
    assert not (tmp_path / "runs").exists()

"""Probes of arrays, parameters of a run, and runs that go on."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import xarray as xr

import lazyrich as lr
from lazyrich._run.prepared import prepare
from tests.helpers import relative_error, small_experiment

FEW = lr.dynamics.Times(first=0.1, num_log=6, num_linear=2)


def ridge(**changes: Any) -> lr.Experiment:
    """Least squares of one linear function by a pair of functions: solvable."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(30, 3))
    y = x @ np.array([1.0, -2.0, 0.5])
    fields: dict[str, Any] = {
        "task": lr.tasks.Arrays(x_train=x[:12], y_train=y[:12], x_test=x[12:], y_test=y[12:]),
        "model": lr.models.Functions(
            init_params=lambda key, dim: {"w": jnp.full(dim, 0.3), "b": jnp.zeros(())},
            function=lambda p, x: x @ p["w"] + p["b"],
        ),
        "loss": lr.losses.Squared(),
        "t1": 2.0,
        "times": FEW,
        "probes": ("train_loss", "test_loss", "parameters"),
        "dynamics": lr.dynamics.Flow(rtol=1e-6),
    }
    return lr.Experiment(**{**fields, **changes})


def exact(experiment, t):
    """The solution of θ' = -A(θ - θ*), in the order b, w, by eigenvectors."""
    task, half = experiment.task, _gradient_scale(experiment)
    x = np.concatenate([np.ones((12, 1)), task.x_train], axis=1)
    values, vectors = np.linalg.eigh(half * x.T @ x / 12)
    best = np.linalg.lstsq(x, task.y_train, rcond=None)[0]
    start = np.array([0.0, 0.3, 0.3, 0.3])
    return best + vectors @ (np.exp(-values * t) * (vectors.T @ (start - best)))


def _gradient_scale(experiment):
    """Whether the loss carries a half, from its own derivative."""
    one = jnp.ones(1)
    return float(-experiment.loss.dual(one, 0 * one)[0])


@pytest.mark.slow
def test_parameters_at_every_record_are_the_exact_ones():
    experiment = ridge()
    record = lr.simulate(experiment, keep_params=True)
    assert record["parameters"].dims == ("time", "parameter")
    for i, t in enumerate(record["time"].values):
        assert relative_error(record["parameters"].values[i], exact(experiment, t)) < 1e-5
    end = lr.parameters(record, experiment)
    assert relative_error(np.append(end["b"], end["w"]), exact(experiment, 2.0)) < 1e-5
    chosen = ridge(times=lr.dynamics.Times(num_log=2, num_linear=0, at=(0.7, 1.1)))
    record = lr.simulate(chosen)
    for t in (0.7, 1.1):
        found = lr.parameters(record, chosen, time=t)
        assert relative_error(np.append(found["b"], found["w"]), exact(chosen, t)) < 1e-5
    # What was kept is a start of another run.
    again = lr.simulate(chosen.with_changes({"times.at": []}), params=lr.parameters(record, chosen))
    assert again["train_loss"].values[0] == pytest.approx(record["train_loss"].values[-1], rel=1e-9)
    with pytest.raises(lr.InputError, match=r"times.at = 5.0: should be at most t1 = 2"):
        lr.simulate(ridge(times=lr.dynamics.Times(at=(5.0,))))


class Outer(lr.probes.AbstractProbe):
    """A matrix a time."""

    @property
    def name(self):
        return "outer"

    @property
    def long_name(self):
        return "products of outputs"

    @property
    def dims(self):
        return ("sample", "other")

    def __call__(self, state, context):
        return state.f_train[:, None] * state.f_train[None]


@pytest.mark.slow
@pytest.mark.parametrize("dynamics", ["reduced", "flow"])
def test_arrays_are_recorded_alone_in_batches_and_in_files(dynamics, tmp_path):
    kinds = {
        "reduced": lr.dynamics.ReducedFlow(),
        "flow": lr.dynamics.Flow(rtol=1e-5),
    }
    probes = ("train_loss", "test_loss", "train_accuracy", "test_accuracy", Outer(), "parameters")
    task = lr.tasks.SparseClassification(n=6, d=10, num_test=5)
    experiment = lr.Experiment(
        task=task, t1=5.0, times=FEW, dynamics=kinds[dynamics], probes=probes
    )
    record = lr.simulate(experiment)
    assert record["outer"].shape == (record.sizes["time"], 6, 6)
    assert record["parameters"].sizes["parameter"] == 20
    # Twice the margin's outputs: the diagonal holds the squares of what the parameters give.
    u, v = np.split(record["parameters"].values[-1], 2)
    x = np.asarray(prepare(experiment).problem.train.x)
    np.testing.assert_allclose(
        np.diag(record["outer"].values[-1]), ((u**2 - v**2) @ x.T) ** 2, rtol=1e-6, atol=1e-12
    )
    both = [experiment, experiment.with_changes({"t1": 3.0, "seed": 1})]
    for one, other in zip(lr.simulate_many(both), map(lr.simulate, both), strict=True):
        assert one["outer"].dims == ("time", "sample", "other")
        if len(one["time"]) == len(other["time"]):
            np.testing.assert_allclose(one["outer"], other["outer"], rtol=1e-3, atol=1e-8)
    lr.save_record(record, tmp_path / "r.nc")
    xr.testing.assert_identical(lr.open_record(tmp_path / "r.nc"), record)
    with pytest.raises(lr.InputError, match=r"outer.*over sample, other, which sweeps do not keep"):
        lr.sweep(experiment, {"seed": [0]}, tmp_path / "store", workers=0)


class Faulty(lr.probes.AbstractProbe):
    """Fails in the way that it is asked to."""

    function: Any
    axes: tuple[str, ...] = ()

    @property
    def name(self):
        return "faulty"

    @property
    def long_name(self):
        return "faulty"

    @property
    def dims(self):
        return self.axes

    def __call__(self, state, context):
        return self.function(state)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("function", "axes", "words"),
    [
        (lambda m: np.sum(np.asarray(m.f_train)), (), "computes with NumPy on values"),
        (lambda m: 1.0 if m.f_train[0] > 0 else 0.0, (), "branches on values"),
        (lambda m: m.f_train, (), r"returns shape \(6,\) and names the axes \(\)"),
        (lambda m: m.f_train, ("time",), "none of them time or predictor"),
        (lambda m: m.absent, (), "raises AttributeError"),
        (lambda m: {"a": m.time}, (), "should return"),
        (lambda m: m.time + 1j, (), "should return one array of real numbers"),
        (lambda m: jnp.zeros((10**5, 10**4)), ("a", "b"), "bytes at 8 times, at most"),
    ],
)
def test_a_faulty_probe_is_one_line_before_the_run(function, axes, words, monkeypatch):
    kind = lr.dynamics.ReducedFlow if axes else lr.dynamics.Flow
    monkeypatch.setattr(kind, "follow", lambda *_, **__: pytest.fail("the run began"))
    experiment = lr.Experiment(
        task=lr.tasks.SparseClassification(n=6, d=10, num_test=5),
        dynamics=kind(),
        t1=5.0,
        times=FEW,
        probes=("train_loss", Faulty(function, axes)),
    )
    with pytest.raises(lr.InputError, match=words) as error:
        lr.simulate(experiment)
    assert str(error.value).startswith("probes = 'faulty': ")
    assert "\n" not in str(error.value)


def given(probe: Any) -> Any:
    return (probe,)


def test_probe_names_are_suggested():
    task = lr.tasks.SparseClassification(n=6, d=10)
    with pytest.raises(lr.InputError, match=r"should be among .* \(did you mean test_accuracy\?\)"):
        lr.Experiment(task=task, probes=("test_acuracy",))
    with pytest.raises(lr.InputError, match=r"should be called: Parameters\(\)"):
        lr.Experiment(task=task, probes=given(lr.probes.Parameters))
    with pytest.raises(lr.InputError, match="should be a name, or a probe"):
        lr.Experiment(task=task, probes=given(3))


@pytest.mark.slow
def test_losses_that_are_not_recorded_are_named(tmp_path):
    experiment = ridge(probes=("train_loss",))
    record = lr.simulate(experiment)
    with pytest.raises(lr.InputError, match="record = 'test_loss': should be recorded: add"):
        lr.transition(record)
    with pytest.raises(lr.InputError, match="probes = 'without test_loss': a sweep needs"):
        lr.sweep(experiment, {"t1": [1.0]}, tmp_path / "store", workers=0)
    assert not (tmp_path / "store").exists()


@pytest.mark.slow
@pytest.mark.parametrize("dynamics", ["reduced", "flow", "descent"])
def test_a_run_goes_on_as_if_it_had_never_stopped(dynamics):
    task = lr.tasks.SparseClassification(n=8, d=12, num_test=20)
    kinds = {
        "reduced": (lr.dynamics.ReducedFlow(rtol=1e-7), 1e-4),
        "flow": (lr.dynamics.Flow(rtol=1e-7, densify=0.0), 1e-4),
        "descent": (lr.dynamics.GradientDescent(learning_rate=0.125), 1e-12),
    }
    kind, tolerance = kinds[dynamics]
    experiment = lr.Experiment(
        task=task, init_scale=2.0, weight_decay=0.02, t1=4.0, times=FEW, dynamics=kind
    )
    record = lr.simulate(experiment, keep_params=True)
    longer = lr.extend(record, experiment, 16.0)
    at_once = lr.simulate(experiment.with_changes({"t1": 16.0}))
    assert longer.attrs["experiment_hash"] == at_once.attrs["experiment_hash"]
    old, new = record["time"].values, at_once["time"].values
    assert longer["time"].values.tolist() == [*old, *new[new > 4.0]]
    late = at_once.isel(time=new > 4.0)
    for name in ("train_loss", "test_loss", "param_norm", "drift", "cosine_to_kernel"):
        found = longer[name].isel(time=longer["time"].values > 4.0).values
        np.testing.assert_allclose(found, late[name].values, rtol=tolerance, err_msg=name)
        assert longer[name].attrs == at_once[name].attrs
    # And on, from what was extended.
    twice = lr.extend(longer, experiment.with_changes({"t1": 16.0}), 20.0)
    assert twice.attrs["extended_at"] == "[4.0, 16.0]"
    assert set(twice.variables) == set(longer.variables)


def test_what_is_no_record_is_one_line():
    experiment = small_experiment()
    of_a_sweep = xr.Dataset({"outcome": ("seed", ["grokked"])})
    for door in (lr.parameters, lambda record, same: lr.extend(record, same, 9.0)):
        with pytest.raises(lr.InputError, match=r"record = .*: should be the record of one run"):
            door(of_a_sweep, experiment)
    with pytest.raises(lr.InputError, match=r"dataset = .*: should be that of a sweep"):
        lr.records.reclassify(xr.Dataset({"loss": ("time", [1.0])}), lr.Thresholds())


@pytest.mark.slow
def test_what_cannot_be_extended_is_one_line():
    task = lr.tasks.SparseClassification(n=6, d=10, num_test=5)
    plain = lr.Experiment(task=task, t1=2.0, times=FEW, dynamics=lr.dynamics.Flow())
    record = lr.simulate(plain, keep_params=True)
    momentum = lr.Experiment(
        task=task, t1=2.0, times=FEW, dynamics=lr.dynamics.SGD(batch_size=6, momentum=0.9)
    )
    others = [
        (record, plain, 1.0, "t1 = 1.0: should be later than 2"),
        (record, plain.with_changes({"seed": 1}), 3.0, "differs in more than t1"),
        (record.drop_vars("final_parameters"), plain, 3.0, "keep_params=True"),
        (record.assign_attrs(ending="max_steps"), plain, 3.0, "only a run that reached its t1"),
        (lr.simulate(momentum, keep_params=True), momentum, 3.0, "remembers more than"),
    ]
    for kept, experiment, t1, words in others:
        with pytest.raises(lr.InputError, match=words):
            lr.extend(kept, experiment, t1)
    with pytest.raises(lr.InputError, match="should be those that the run began with"):
        lr.extend(record, plain, 3.0, params=jax.tree.map(np.asarray, lr.parameters(record, plain)))
    with pytest.raises(lr.InputError, match=r"20 parameters.*the experiment's model has 40"):
        lr.parameters(record, lr.Experiment(task=lr.tasks.SparseClassification(n=6, d=20)))
    with pytest.raises(lr.InputError, match="the probe parameters"):
        lr.parameters(record.drop_vars("final_parameters"), plain)


@pytest.mark.slow
def test_progress_is_shown_in_python_when_asked(capsys):
    experiment = ridge()
    lr.simulate(experiment)
    assert capsys.readouterr().err == ""
    lr.simulate(experiment, progress=True)
    shown = capsys.readouterr()
    assert "lazyrich: experiment: solving the flow" in shown.err
    assert shown.out == ""

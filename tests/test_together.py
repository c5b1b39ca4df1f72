"""Batches against runs alone: one compiled call, shared data, the same records."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import xarray as xr

import lazyrich as lr
from lazyrich._integrate.lanes import Lanes
from lazyrich._run import prepared as _prepared, probes_after_solve as _after_solve
from lazyrich._run.data import SharedData
from lazyrich._run.simulate import simulate_batch
from lazyrich.dynamics import Effort
from tests.helpers import small_experiment


def lanes(**changes):
    """Two runs on the data of one seed and one on another's; the last runs out of steps."""
    settings = [
        {"init_scale": 30.0, "weight_decay": 1e-3, "t1": 2e4},
        {"init_scale": 5.0, "weight_decay": 1e-2, "t1": 1e3},
        {"init_scale": 100.0, "weight_decay": 1e-4, "t1": 1e6, "seed": 1},
    ]
    fields = {
        "task": lr.tasks.SparseClassification(n=10, d=60, num_test=700),
        "probes": ("train_loss", "test_accuracy", "drift", "cosine_to_rich"),
        "dynamics": lr.dynamics.ReducedFlow(max_steps=90),
        **changes,
    }
    return [small_experiment(**fields, **setting) for setting in settings]


@pytest.fixture(scope="module")
def alone():
    return [lr.simulate(experiment) for experiment in lanes()]


def assert_same(ours, theirs):
    assert list(ours.variables) == list(theirs.variables)
    for name, variable in ours.variables.items():
        assert variable.attrs == theirs[name].attrs
        assert variable.dtype == theirs[name].dtype
    xr.testing.assert_allclose(ours, theirs, rtol=1e-9, atol=1e-12)
    for name in ("experiment", "experiment_hash", "homogeneity", "ending", "solver", "own_params"):
        assert ours.attrs[name] == theirs.attrs[name]


@pytest.mark.slow
def test_a_batch_is_its_runs(alone, monkeypatch):
    drawn = []
    draw = SharedData.of

    def counted(*arguments):
        drawn.append(1)
        return draw(*arguments)

    monkeypatch.setattr(SharedData, "of", counted)
    _prepared._kept.clear()
    stages = []
    together = lr.simulate_many(lanes(), listener=lambda stage, *_: stages.append(stage))
    assert [record.attrs["ending"] for record in together] == ["completed"] * 2 + ["max_steps"]
    for ours, theirs in zip(together, alone, strict=True):
        assert_same(ours, theirs)
    assert "solving the flow" in stages
    assert len(drawn) == 2  # not once a run
    lr.simulate_many(lanes())
    assert len(drawn) == 2  # not once a batch


@pytest.mark.slow
def test_test_data_that_do_not_fit_are_drawn_for_every_run(alone, monkeypatch):
    monkeypatch.setattr(_after_solve, "MOST_HELD", 0)
    _prepared._kept.clear()
    for ours, theirs in zip(lr.simulate_many(lanes()), alone, strict=True):
        assert_same(ours, theirs)


@pytest.mark.usefixtures("double")
def test_data_kept_are_few(monkeypatch):
    found = _prepared.prepare_all([experiment for experiment in lanes() for _ in range(2)])
    assert len({id(prepared.data) for prepared in found}) == 2
    many = [lanes()[0].with_changes({"seed": seed}) for seed in range(7)]
    _prepared.prepare_all(many)
    assert len(_prepared._kept) == _prepared._MAX_SHARED
    monkeypatch.setattr(_prepared, "_MAX_BYTES", 0)
    _prepared.prepare_all(many[-1:])
    assert len(_prepared._kept) == 1  # larger data are let go of


@pytest.mark.slow
@pytest.mark.usefixtures("double")
def test_stacked_rows_are_the_records(alone):
    stacked = simulate_batch(lanes())
    assert stacked.times.shape == stacked.values["drift"].shape == (3, 80)
    for i, record in enumerate(alone):
        num = record.sizes["time"]
        np.testing.assert_array_equal(stacked.times[i, :num], record.time)
        assert np.isnan(stacked.times[i, num:]).all()
        for name, values in stacked.values.items():
            np.testing.assert_allclose(values[i, :num], record[name], rtol=1e-9, atol=1e-12)
            assert np.isnan(values[i, num:]).all()
        assert stacked.table["gap"][i].tolist() == record.predictor_gap.values.tolist()
        assert stacked.kkt["stationarity"][i] == pytest.approx(
            float(record.kkt_stationarity), rel=1e-9, nan_ok=True
        )
        assert stacked.endings[i] == record.attrs["ending"]
    assert stacked.roles == ("kernel", "rich")


@pytest.mark.slow
def test_other_dynamics_run_one_after_the_other():
    experiments = [
        small_experiment(
            task=lr.tasks.PolynomialRegression(n=5, d=20, num_test=10),
            loss=lr.losses.Squared(),
            dynamics=lr.dynamics.GradientDescent(learning_rate=1e-2),
            probes=("test_loss",),
            t1=t1,
        )
        for t1 in (1.0, 2.0)
    ]
    records = lr.simulate_many(experiments)
    assert [float(record.time[-1]) for record in records] == [1.0, 2.0]
    assert_same(records[1], lr.simulate(experiments[1]))


@pytest.mark.slow
def test_a_batch_of_one_is_a_run(tmp_path):
    experiment, path = lanes()[0], tmp_path / "run"
    params = jax.tree.map(
        lambda p: 30 * np.asarray(p), experiment.model.init(jax.random.key(3), 60)
    )
    ours = lr.simulate_many([experiment], params=[params], keep_params=True, checkpoint=path)[0]
    assert_same(ours, lr.simulate(experiment, params=params, keep_params=True))
    assert ours.attrs["own_params"]
    np.testing.assert_array_equal(lr.parameters(ours, experiment).u, ours.final_parameters[:60])


def test_what_is_not_of_every_run_is_refused(tmp_path):
    params = lanes()[0].model.init(jax.random.key(3), 60)
    with pytest.raises(lr.InputError, match="one for each run of a batch of 3"):
        lr.simulate_many(lanes(), params=[params])
    with pytest.raises(lr.InputError, match="keeps a single run, not a batch of 3"):
        lr.simulate_many(lanes(), checkpoint=tmp_path / "run")


class Line(eqx.Module):
    """`slope * x + offset`."""

    slope: jax.Array
    offset: jax.Array


@pytest.mark.slow
@pytest.mark.usefixtures("double")
def test_an_array_that_some_lanes_share_is_held_once():
    slopes = [jnp.arange(3.0), jnp.ones(3)]
    lines = [Line(slopes[i % 2], jnp.asarray(float(i))) for i in range(5)]
    lanes = Lanes.of(lines)
    assert lanes.kinds == ("grouped", "own")
    assert lanes.arrays[0].distinct.shape == (2, 3)
    x = np.arange(5.0)
    found = lanes.call(lambda line, x: line.slope * x + line.offset, x)
    for i, line in enumerate(lines):
        np.testing.assert_array_equal(found[i], line.slope * x[i] + line.offset)
    assert Lanes.of(lines[::2]).kinds == ("shared", "own")


class Frozen(lr.dynamics.AbstractDynamics):
    """Parameters that stay where they are: dynamics of one's own, which only follow."""

    def follow(self, problem, times, progress, observe=None, checkpoint=None):  # type: ignore[override]
        progress(times[-1], 1)
        seen = [observe(jnp.asarray(time), problem.params) for time in times]
        return lr.dynamics.Trajectory(
            times=times,
            states=None,
            params_at=lambda time, state: state,
            ending="completed",
            effort=Effort("none", 1, 0, 0, 0),
            observed=jax.tree.map(lambda *leaves: jnp.stack(leaves), *seen),
            final=problem.params,
        )


@pytest.mark.slow
def test_dynamics_of_ones_own_solve_one_problem_after_the_other():
    heard = []
    times = lr.dynamics.Times(num_log=2, num_linear=0)
    experiments = lanes(dynamics=Frozen(), times=times)
    records = lr.simulate_many(experiments, listener=lambda *word: heard.append(word))
    for experiment, record in zip(experiments, records, strict=True):
        np.testing.assert_allclose(record.train_loss, np.log(2))  # of outputs that are zero
        # Drift is relative to parameters that decay.
        decay = experiment.weight_decay * record.time
        np.testing.assert_allclose(record.drift, np.expm1(decay), rtol=1e-9, atol=1e-12)
    done = [fraction for stage, fraction, _ in heard if stage == "solving the flow" and fraction]
    assert done == sorted(done)
    assert len(done) == 3
    with pytest.raises(lr.InputError, match="keep_params = 2: Frozen can keep only parameters at"):
        lr.simulate(experiments[0], keep_params=2)

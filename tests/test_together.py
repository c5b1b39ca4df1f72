"""Batches against runs alone: one compiled call, shared data, the same records."""

import numpy as np
import pytest
import xarray as xr

import lazyrich as lr
from lazyrich._run import after_solve as _after_solve, prepared as _prepared
from lazyrich._run.data import SharedData
from lazyrich._run.simulate import simulate_batch
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


def test_test_data_that_do_not_fit_are_drawn_for_every_run(alone, monkeypatch):
    monkeypatch.setattr(_after_solve, "MOST_HELD", 0)
    _prepared._kept.clear()
    for ours, theirs in zip(lr.simulate_many(lanes()), alone, strict=True):
        assert_same(ours, theirs)


def test_data_kept_are_few(monkeypatch):
    found = _prepared.prepare_all([experiment for experiment in lanes() for _ in range(2)])
    assert len({id(prepared.data) for prepared in found}) == 2
    many = [lanes()[0].with_changes({"seed": seed}) for seed in range(7)]
    _prepared.prepare_all(many)
    assert len(_prepared._kept) == _prepared._MAX_SHARED
    monkeypatch.setattr(_prepared, "_MAX_BYTES", 0)
    _prepared.prepare_all(many[-1:])
    assert len(_prepared._kept) == 1  # larger data are let go of


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

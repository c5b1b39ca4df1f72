import contextlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import xarray as xr

import lazyrich as lr
from lazyrich._core.files import discard_unfinished, replacing
from lazyrich._run import rounding
from lazyrich.probes import AbstractProbe
from tests.helpers import given, samples, small_experiment


@pytest.fixture(scope="module")
def record():
    return lr.simulate(small_experiment())


@pytest.mark.slow
def test_a_small_run_groks_as_theory_says(record):
    summary = lr.summarise(record)
    assert summary["outcome"] == "grokked"
    assert summary["t_train"] < 1
    assert summary["t_test"] > 100
    assert summary["early"]["train_accuracy"] == 1.0
    assert summary["early"]["test_accuracy"] < 0.75
    assert summary["late"]["test_accuracy"] == 1.0
    # On the plateau the direction converges like 1 / log t.
    assert summary["early"]["cosine_to_kernel"] > 0.98
    assert float(record["cosine_to_kernel"].max()) > 0.995
    assert summary["late"]["cosine_to_rich"] > 0.999
    assert summary["predictors"]["rich"]["test_accuracy"] == 1.0
    assert summary["predictors"]["kernel"]["status"] == "optimal"
    assert summary["textbook"] == pytest.approx(np.log(30) / 1e-3)
    assert summary["kkt"]["stationarity"] < 0.01
    # Margins stay below the certified maxima.
    for norm, role in (("l2", "kernel"), ("l1", "rich")):
        bound = summary["predictors"][role]["bound"]
        assert np.nanmax(record[f"margin_{norm}"]) <= bound * (1 + 1e-9)


def test_the_record_explains_itself(record):
    assert record["time"].values[0] == 0.0
    assert record["time"].values[-1] == 2e4
    for name, variable in record.variables.items():
        if name == "predictor":
            continue
        assert variable.attrs["units"] == "1", name
        assert variable.attrs["long_name"], name
    # At time 0 the output is zero: every sample is half right, and there is no direction.
    assert float(record["train_accuracy"][0]) == 0.5
    assert float(record["test_accuracy"][0]) == 0.5
    assert np.isnan(record["cosine_to_rich"][0])
    assert float(record["param_norm"][0]) == pytest.approx(30.0)
    assert float(record["drift"][0]) == 0.0
    again = lr.Experiment.from_toml(record.attrs["experiment"], Path())
    assert again == small_experiment()
    assert record.attrs["experiment_hash"] == again.content_hash


def test_a_record_reopens_identically(record, tmp_path):
    lr.save_record(record, tmp_path / "record.nc")
    xr.testing.assert_identical(lr.open_record(tmp_path / "record.nc"), record)
    assert [file.name for file in tmp_path.iterdir()] == ["record.nc"]


def test_a_failed_write_leaves_the_old_record(record, tmp_path, monkeypatch):
    path = tmp_path / "record.nc"
    lr.save_record(record, path)
    before = path.read_bytes()

    def full_disk(self, target, **kwargs):
        target.write_bytes(b"half a file")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(xr.Dataset, "to_netcdf", full_disk)
    with pytest.raises(OSError, match="No space left"):
        lr.save_record(record, path)
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["record.nc"]


def test_what_is_being_written_can_be_discarded(tmp_path):
    with contextlib.suppress(FileNotFoundError), replacing(tmp_path / "a.txt") as temporary:
        temporary.write_text("half")
        discard_unfinished()
        assert list(tmp_path.iterdir()) == []


def test_what_is_not_a_record_is_refused(tmp_path):
    (tmp_path / "text.nc").write_text("hello")
    with pytest.raises(lr.InputError, match="should be a record's netCDF file"):
        lr.open_record(tmp_path / "text.nc")
    xr.Dataset({"a": 1}).to_netcdf(tmp_path / "other.nc", engine="h5netcdf")
    with pytest.raises(lr.InputError, match="a record written by lazyrich"):
        lr.open_record(tmp_path / "other.nc")


def test_runs_repeat_exactly(record):
    again = lr.simulate(small_experiment())
    for name in record.data_vars:
        np.testing.assert_array_equal(again[name].values, record[name].values)
    other = lr.simulate(small_experiment(seed=1))
    assert not np.array_equal(other["test_loss"], record["test_loss"])


@pytest.mark.slow
def test_tolerances_mean_something():
    times = []
    for rtol in (1e-3, 1e-6):
        experiment = small_experiment(
            dynamics=lr.dynamics.ReducedFlow(rtol=rtol),
            times=lr.dynamics.Times(num_log=400, num_linear=0),
            task=lr.tasks.SparseClassification(n=60, d=400, num_test=20_000),
        )
        times.append(lr.transition(lr.simulate(experiment)).t50)
    assert times[0] == pytest.approx(times[1], rel=5e-3)


@pytest.mark.slow
def test_descent_and_flow_tell_the_same_story():
    fields = {"init_scale": 5.0, "weight_decay": 0.05, "t1": 100.0}
    flow = lr.simulate(small_experiment(**fields))
    descent = lr.simulate(
        small_experiment(**fields, dynamics=lr.dynamics.GradientDescent(learning_rate=5e-3))
    )
    at = np.geomspace(1.0, 100.0, 30)
    for name in ("test_loss", "param_norm", "cosine_to_rich"):
        np.testing.assert_allclose(
            descent[name].interp(time=at), flow[name].interp(time=at), rtol=0.02
        )


@pytest.mark.slow
@pytest.mark.parametrize("depth", [2, 3])
def test_regression_has_its_own_predictors(depth):
    data = samples(n=8, d=60, labels="real")
    x, y = np.asarray(data.x), np.asarray(data.y)
    task = lr.tasks.Arrays(x_train=x, y_train=y, x_test=x[:4], y_test=y[:4])
    experiment = lr.Experiment(
        task=task,
        model=lr.models.DiagonalLinear(depth=depth),
        loss=lr.losses.Squared(),
        init_scale=60.0,
        weight_decay=1e-4,
        t1=2e6 if depth == 2 else 100.0,
    )
    record = lr.simulate(experiment)
    summary = lr.summarise(record)
    names = record["predictor"].values.tolist()
    assert names == (["kernel", "rich"] if depth == 2 else ["kernel"])
    if depth == 2:
        assert summary["late"]["cosine_to_rich"] > 0.999
        assert summary["late"]["cosine_to_kernel"] < 0.9
    # Early values are medians from the fit of 99 % on, when the slowest directions still move.
    assert summary["early"]["cosine_to_kernel"] > 0.997
    assert "train_accuracy" not in summary["late"]
    assert summary["late"]["train_loss"] < 1e-3


def test_own_parameters_are_taken_as_they_are(record):
    start = lr.models.DiagonalLinear().init(jax.random.key(0), 400)
    scaled = jax.tree.map(lambda p: 30.0 * np.asarray(p), start)
    own = lr.simulate(small_experiment(), params=scaled)
    np.testing.assert_array_equal(own["test_loss"], record["test_loss"])
    assert record.attrs["own_params"] == ""
    assert len(own.attrs["own_params"]) == 64


def test_the_kernel_predictor_is_that_of_the_start_given():
    rng = np.random.default_rng(0)
    start = lr.models.DiagonalParams(*given(rng.uniform(5, 30, (2, 400))))
    unequal = lr.models.DiagonalParams(start.u, start.u)
    run = lr.simulate(small_experiment(t1=300.0, weight_decay=1e-5), params=unequal)
    assert float(run["cosine_to_kernel"].max()) > 0.999


class LargestWeight(AbstractProbe):
    """The largest weight's size."""

    @property
    def name(self):
        return "largest_weight"

    @property
    def long_name(self):
        return "largest weight"

    def __call__(self, state, context):
        del context
        return jnp.max(jnp.abs(state.weights))


@pytest.mark.slow
def test_own_probes_enter_by_the_same_door():
    probes = ("weight_norm_l1", "train_loss", "test_loss", LargestWeight())
    experiment = small_experiment(probes=probes)
    record = lr.simulate(experiment)
    assert np.all(record["largest_weight"] <= record["weight_norm_l1"])
    assert float(record["largest_weight"][-1]) > 1
    assert experiment.content_hash != small_experiment(probes=probes[:3]).content_hash
    with pytest.raises(lr.InputError, match="only built-in probes"):
        experiment.to_toml()


def test_labels_without_a_meaning_are_refused_before_the_solve():
    task = lr.tasks.Arrays(
        x_train=np.ones((2, 3)), y_train=np.array([1, 2]), x_test=np.ones((2, 3)), y_test=np.ones(2)
    )
    with pytest.raises(lr.InputError, match=r"^task\.y_train\[1\] = 2: .*labels -1 or 1"):
        lr.simulate(lr.Experiment(task=task))
    swapped = lr.tasks.Arrays(
        x_train=task.x_test, y_train=task.y_test, x_test=task.x_train, y_test=task.y_train
    )
    stages: list[str] = []
    with pytest.raises(lr.InputError, match=r"^task\.y_test\[1\] = 2: "):
        lr.simulate(lr.Experiment(task=swapped), listener=lambda stage, *_: stages.append(stage))
    assert stages == ["sampling data"]


@pytest.mark.slow
def test_a_null_control_does_not_generalise():
    rng = np.random.default_rng(0)
    signs = rng.choice([-1.0, 1.0], (540, 400))
    task = lr.tasks.Arrays(
        x_train=signs[:40],
        y_train=rng.choice([-1.0, 1.0], 40),
        x_test=signs[40:],
        y_test=rng.choice([-1.0, 1.0], 500),
    )
    events = lr.transition(lr.simulate(small_experiment(task=task)))
    assert events.outcome == "unchanged"


@pytest.mark.slow
def test_inseparable_data_are_reported():
    task = lr.tasks.Arrays(
        x_train=np.array([[1.0, 2.0], [1.0, 2.0]]),
        y_train=np.array([1, -1]),
        x_test=np.array([[1.0, 0.0], [0.0, 1.0]]),
        y_test=np.array([1, -1]),
    )
    experiment = lr.Experiment(task=task, weight_decay=0.01, t1=10.0)
    summary = lr.summarise(lr.simulate(experiment))
    assert summary["outcome"] == "untrained"
    assert {row["status"] for row in summary["predictors"].values()} == {"not_separable"}
    json.dumps(summary, allow_nan=False)


def test_a_run_out_of_steps_keeps_its_beginning():
    experiment = small_experiment(dynamics=lr.dynamics.ReducedFlow(max_steps=12))
    record = lr.simulate(experiment)
    assert record.attrs["ending"] == "max_steps"
    assert 0 < record.sizes["time"] < 80
    summary = lr.summarise(record)
    assert summary["late"]["train_loss"] is not None


@pytest.mark.slow
def test_a_run_out_of_steps_whose_loss_rose_is_imprecise_before_all(monkeypatch):
    task = lr.tasks.SparseClassification(n=6, d=10, num_test=5)
    flow = lr.dynamics.Flow(max_steps=5)
    experiment = lr.Experiment(task=task, t1=1e6, weight_decay=0.0, dynamics=flow)
    assert lr.simulate(experiment).attrs["ending"] == "max_steps"
    # Every loss counts as one that rises.
    monkeypatch.setattr(rounding, "_RISEN", -1.0)
    assert lr.simulate(experiment).attrs["ending"] == "imprecise"


def test_an_error_of_built_in_code_is_no_fault_of_the_user(monkeypatch):
    def fails(*_):
        raise ZeroDivisionError("inside")

    task = lr.tasks.SparseClassification(n=6, d=10, num_test=5)
    own = lr.models.Functions(init_params=fails, function=fails)
    for outer in (own, lr.models.Linearised(model=own)):
        with pytest.raises(lr.InputError, match="draws no parameters for 10 inputs: ZeroDivision"):
            lr.simulate(lr.Experiment(task=task, model=outer))
    monkeypatch.setattr(lr.models.MLP, "init", fails)
    built_in = lr.models.MLP(widths=(2,))
    for model in (built_in, lr.models.Linearised(model=built_in)):
        with pytest.raises(ZeroDivisionError, match="inside"):
            lr.simulate(lr.Experiment(task=task, model=model))


@pytest.mark.slow
@pytest.mark.skipif(
    not Path("/proc/self/maps").exists(),
    reason="only Linux limits the memory maps of a process, so elsewhere nothing is forgotten",
)
def test_compiled_code_is_forgotten_before_the_memory_maps_run_out(tmp_path, monkeypatch):
    # Without it, some sixty simulations with shapes of their own end the process.
    kept: Any = jax.jit(jnp.negative)
    kept(1.0)
    granted = tmp_path / "max_map_count"
    monkeypatch.setattr("lazyrich._core.compiled._GRANTED", granted)
    for number, compiled in (("1000000", 1), ("10", 0)):
        granted.write_text(number)
        lr.simulate(small_experiment())
        assert kept._cache_size() == compiled


@pytest.mark.slow
def test_import_is_light_and_leaves_settings_alone():
    code = (
        "import sys, lazyrich as lr; assert 'jax' not in sys.modules; "
        "import jax; assert not jax.config.jax_enable_x64; "
        "e = lr.studies.load('lyu2024/1a').with_changes({'task.n': 8, 'task.d': 50, "
        "'task.num_test': 20, 't1': 5.0}); r = lr.simulate(e); "
        "assert r['test_loss'].dtype == 'float64'; assert not jax.config.jax_enable_x64; "
        "assert 'matplotlib' not in sys.modules"
    )
    environment = {**os.environ, "JAX_LOG_COMPILES": "0"}
    subprocess.run(
        [sys.executable, "-W", "error", "-c", code], check=True, env=environment, timeout=120
    )


# Words of whole runs


def judged(x, y, x_test, y_test, **fields):
    task = lr.tasks.Arrays(x_train=x, y_train=y, x_test=x_test, y_test=y_test)
    experiment = lr.Experiment(task=task, **{"t1": 100.0} | fields)
    record = lr.simulate(experiment)
    summary = lr.summarise(record)
    json.dumps(summary, allow_nan=False)
    return record, lr.transition(record)


@pytest.mark.slow
def test_constant_labels_are_unscored():
    rng, value = np.random.default_rng(0), 5.0
    x, t = rng.normal(size=(10, 20)), rng.normal(size=(30, 20))
    record, events = judged(
        x, np.full(10, value), t, np.full(30, value), loss=lr.losses.Squared(), t1=10.0
    )
    assert float(record["train_variance"]) == float(record["test_variance"]) == 0.0
    assert float(record["blank_loss"]) == value**2
    assert np.isnan(record["test_chance"])
    assert events.outcome == "unscored"
    assert "labels that vary" in events.advice


@pytest.mark.slow
def test_labels_of_one_class_are_unscored():
    rng = np.random.default_rng(0)
    x, t = rng.normal(size=(10, 20)), rng.normal(size=(30, 20))
    record, events = judged(x, np.ones(10), t, np.ones(30), t1=10.0)
    assert float(record["test_chance"]) == 1.0
    assert events.outcome == "unscored"
    assert "labels that vary" in events.advice


@pytest.mark.slow
def test_scales_of_a_record():
    rng = np.random.default_rng(0)
    x, t = rng.normal(size=(10, 20)), rng.normal(size=(40, 20))
    y = rng.normal(size=10)
    record, _ = judged(x, y, t, np.arange(40.0) / 7, loss=lr.losses.Squared(), t1=10.0)
    assert float(record["train_variance"]) == pytest.approx(np.var(y))
    assert float(record["test_variance"]) == pytest.approx(np.var(np.arange(40.0) / 7))
    assert float(record["blank_loss"]) == pytest.approx(np.mean(y**2))
    # The model's own parameters have norm 1 on 2 x 20 coordinates.
    assert float(record["init_rms"]) == pytest.approx(1 / np.sqrt(40))
    signs, test_signs = np.where(y > 0, 1.0, -1.0), np.where(np.arange(40) < 13, 1.0, -1.0)
    record, events = judged(x, signs, t, test_signs, t1=10.0)
    assert float(record["blank_loss"]) == pytest.approx(np.log(2))
    assert float(record["test_chance"]) == events.chance == 27 / 40
    assert float(record["num_test"]) == events.num_test == 40
    assert np.isnan(record["test_variance"])
    best = record["predictor_test_accuracy"].max()
    assert events.ceiling == float(best)


@pytest.mark.slow
def test_a_net_that_collapses_to_zero_fits_nothing():
    # Decay takes the output from about 30 to 0, of labels of 0.01: the loss falls a thousandfold.
    rng = np.random.default_rng(0)
    x, t, w = rng.normal(size=(20, 10)), rng.normal(size=(50, 10)), rng.normal(size=10)
    fields = {
        "model": lr.models.MLP(widths=(8,), bias=False),
        "loss": lr.losses.Squared(),
        "dynamics": lr.dynamics.Flow(),
        "init_scale": 3.0,
        "weight_decay": 1.0,
    }
    record, events = judged(x, x @ w / 100, t, t @ w / 100, **fields)
    assert record["train_loss"][-1] < 1e-3 * record["train_loss"][0]
    assert events.outcome == "untrained"
    assert events.final_score < 0.5

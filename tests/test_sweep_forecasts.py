"""Forecasts of a sweep's runs: computed in their batch, kept in its file, and never in the way."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import lazyrich as lr
from lazyrich import cli
from lazyrich.sweeps import _forecast_in_batch as in_batch
from lazyrich.sweeps._execution import batch
from lazyrich.sweeps._store import Store
from tests.helpers import small_experiment

OVER: Any = {"seed": [0, 1], "init_scale": [30.0, 100.0]}


@pytest.fixture
def base():
    return small_experiment(
        task=lr.tasks.SparseClassification(n=20, d=60, num_test=200),
        probes=("train_loss", "test_loss", "train_accuracy", "test_accuracy"),
        t1=2e3,
    )


@pytest.fixture
def forecast_runs(monkeypatch):
    """The experiments that are forecast, in order."""
    seen: list[str] = []
    forecast_run: Any = vars(in_batch)["forecast_run"]

    def counted(run, asked):
        seen.append(run.content_hash)
        return forecast_run(run, asked)

    monkeypatch.setattr(in_batch, "forecast_run", counted)
    return seen


@pytest.mark.slow
def test_forecasts_are_kept_in_the_file_of_their_batch(base, forecast_runs, monkeypatch, tmp_path):
    plain = lr.sweep(base, OVER, tmp_path, workers=0, batch_size=2)
    assert forecast_runs == []
    before = {name: Store(tmp_path).read(name) for name in Store(tmp_path).files()}
    # Files that are there get the forecasts, and no run is made again.
    monkeypatch.setattr(batch, "compute", lambda job: pytest.fail("a run was made again"))
    dataset = lr.sweep(base, OVER, tmp_path, workers=0, batch_size=2, forecast="calibrated")
    assert len(forecast_runs) == len(set(forecast_runs)) == 4
    for name, kept in before.items():
        found = Store(tmp_path).read(name)
        assert found.hashes == kept.hashes
        for curve, values in kept.curves.items():
            assert found.curves[curve].tobytes() == values.tobytes()
    assert set(plain.variables) < set(dataset.variables)
    for seed in OVER["seed"]:
        for scale in OVER["init_scale"]:
            cell = dataset.sel(seed=seed, init_scale=scale)
            run = base.with_changes({"seed": seed, "init_scale": scale})
            alone = lr.forecast(run, passage="calibrated")
            assert float(cell["forecast_t50"]) == pytest.approx(alone.t50, rel=1e-6, nan_ok=True)
            ends = float(cell["forecast_t_kernel_end"])
            assert ends == pytest.approx(alone.t_kernel_end, rel=1e-6)
            assert str(cell["forecast_verdict"].values) == alone.verdict
            clock = alone.clock.shows(float(cell["t50"]))
            assert float(cell["clock"]) == pytest.approx(clock, rel=1e-6, nan_ok=True)
    # All of them are there now, for the same sweep and for whoever asks of its dataset.
    again = lr.sweep(base, OVER, tmp_path, workers=0, batch_size=2, forecast="calibrated")
    beside = lr.sweeps.forecast_runs(plain, base, OVER, passage="calibrated", store=tmp_path)
    assert len(forecast_runs) == 4
    assert again.equals(dataset)
    np.testing.assert_array_equal(beside["forecast_t50"], dataset["forecast_t50"])
    # A store is opened with its forecasts, and each file is read once.
    read_files, read = [], Store.read

    def counted(store, name):
        read_files.append(name)
        return read(store, name)

    with monkeypatch.context() as patch:
        patch.setattr(Store, "read", counted)
        opened = lr.open_store(tmp_path)
    assert sorted(read_files) == sorted(before)
    assert opened.equals(dataset)
    # What is asked otherwise is another forecast.
    strict = lr.Thresholds(test=0.999)
    lr.sweeps.forecast_runs(
        plain, base, OVER, passage="calibrated", thresholds=strict, store=tmp_path
    )
    assert len(forecast_runs) == 8


@pytest.mark.slow
def test_a_forecast_that_fails_ends_no_run(base, monkeypatch, tmp_path):
    forecast_run: Any = vars(in_batch)["forecast_run"]

    def failing(run, asked):
        if run.seed == 1:
            raise ZeroDivisionError("a fault\nin two lines")
        return forecast_run(run, asked)

    monkeypatch.setattr(in_batch, "forecast_run", failing)
    dataset = lr.sweep(base, OVER, tmp_path, workers=0, batch_size=2, forecast="calibrated")
    assert (dataset["ending"] == "completed").all()
    lost = dataset.sel(seed=1)
    assert np.isnan(lost["forecast_t50"]).all()
    assert np.isnan(lost["forecast_right"]).all()
    assert (lost["forecast_verdict"] == "cannot_say").all()
    assert (dataset.sel(seed=0)["forecast_family"] != "").all()
    store = Store(tmp_path)
    kept = [store.read(name).about["forecast"]["runs"] for name in store.files()]
    said = [run["error"] for runs in kept for run in runs if "error" in run]
    assert said == ["ZeroDivisionError: a fault in two lines"] * 2


@pytest.mark.slow
def test_the_command_forecasts_what_python_reads(
    base, forecast_runs, monkeypatch, capsys, tmp_path
):
    monkeypatch.chdir(tmp_path)
    Path("mine.toml").write_text(base.to_toml())
    command = ["lazyrich", "sweep", "mine.toml", "--over", "seed=0,1", "--store", "runs"]
    for more, counted in (([], 0), (["--forecast"], 2), (["--forecast"], 2)):
        monkeypatch.setattr("sys.argv", [*command, "--workers", "0", *more])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        assert not ended.value.code
        assert len(forecast_runs) == counted  # once for each run, also after it was done
        line = "forecasts        2 of 2 finished runs"
        assert (line in capsys.readouterr().out) == (counted == 2)
    found = lr.sweep(base, {"seed": [0, 1]}, "runs", workers=0, forecast=True)
    assert len(forecast_runs) == 2
    assert np.all(found["forecast_t_kernel_end"] > 0)

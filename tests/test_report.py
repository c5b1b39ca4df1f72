"""What is made again from disk: a record's page, a run's, a store's; and logs of other programs."""

import json
import sys
import warnings
from typing import Any

import numpy as np
import pytest
import xarray as xr

import lazyrich as lr
from lazyrich import cli

NAME = "<img src=x onerror=alert(1)>"


def call(monkeypatch, *arguments):
    monkeypatch.setattr(sys, "argv", ["lazyrich", *map(str, arguments)])
    monkeypatch.setenv("LAZYRICH_CACHE", "off")
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        with pytest.raises(SystemExit) as exit_:
            cli.main()
    return exit_.value.code or 0


def tiny(**changes: Any) -> lr.Experiment:
    task = lr.tasks.SparseClassification(n=16, d=60, k=1, num_test=50)
    times = lr.dynamics.Times(num_log=20, num_linear=5)
    fields: dict[str, Any] = {
        "task": task,
        "weight_decay": 1e-2,
        "t1": 300.0,
        "times": times,
        "name": NAME,
    }
    return lr.Experiment(**(fields | changes))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A run's folder, as `lazyrich run` leaves it but for page and figures."""
    place = tmp_path_factory.mktemp("run")
    experiment = tiny(init_scale=10.0)
    record = lr.simulate(experiment)
    record.attrs["thresholds"] = json.dumps(lr.Thresholds(test=0.6).table())
    lr.save_record(record, place / "record.nc")
    said = lr.forecast(experiment).summary()
    (place / "forecast.json").write_text(json.dumps(said))
    return place


@pytest.mark.slow
def test_a_runs_page_is_made_again(folder, monkeypatch, capsys):
    assert call(monkeypatch, "report", folder) == 0
    written = [line.split()[-1] for line in capsys.readouterr().out.splitlines()]
    names = ("report.html", "figure.pdf", "figure.png")
    assert written == [str(folder / name) for name in names]
    assert all((folder / name).stat().st_size > 1000 for name in names)
    page = (folder / "report.html").read_text()
    assert "Forecast and run" in page
    assert "test threshold 0.6," in page
    assert "<img src=x" not in page
    assert "&lt;img src=x" in page
    assert 'src="http' not in page
    assert call(monkeypatch, "report", folder, "--threshold", "test=0.7") == 0
    assert "test threshold 0.7," in (folder / "report.html").read_text()


@pytest.mark.slow
def test_a_record_by_itself_is_enough(folder, tmp_path, monkeypatch, capsys):
    (tmp_path / "mine.nc").write_bytes((folder / "record.nc").read_bytes())
    assert call(monkeypatch, "report", tmp_path / "mine.nc") == 0
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {"mine.nc", "mine.html", "mine.pdf", "mine.png"}
    assert "Forecast and run" not in (tmp_path / "mine.html").read_text()
    out = tmp_path / "other.html"
    assert call(monkeypatch, "report", tmp_path / "mine.nc", "--out", out) == 0
    assert out.read_text() == (tmp_path / "mine.html").read_text()
    capsys.readouterr()


@pytest.mark.slow
def test_a_stores_page_has_every_sweep(tmp_path, monkeypatch, capsys):
    store = tmp_path / "store"
    lr.sweep(tiny(), {"init_scale": [1.0, 10.0]}, store, workers=0)
    lr.sweep(tiny(name="one"), {"seed": [0]}, store, workers=0)
    before = {path: path.read_bytes() for path in store.rglob("*.nc")}
    assert call(monkeypatch, "report", store, "--out", tmp_path / "map.html") == 0
    page = (tmp_path / "map.html").read_text()
    assert page.count("<img alt") == 2
    assert "2 runs over" in page
    assert "Preset" not in page
    assert {path.suffix for path in tmp_path.iterdir()} == {"", ".html", ".pdf", ".png"}
    assert {path: path.read_bytes() for path in store.rglob("*.nc")} == before
    assert len(lr.studies.sweeps_of(store)) == 2
    capsys.readouterr()


HOSTILE = {
    "nothing": lambda f: f.unlink(),
    "text": lambda f: f.write_text("experiment = 3"),
    "no TOML": lambda f: _changed(f, experiment="name = = 3"),
    "deep TOML": lambda f: _changed(f, experiment="a = " + "[" * 5000),
    "no table": lambda f: _changed(f, thresholds="[1]"),
    "deep JSON": lambda f: _changed(f, solver="[" * 100_000),
    "odd threshold": lambda f: _changed(f, thresholds='{"test": 7}'),
    "odd curve": lambda f: _worded(f, "test_loss"),
    "no losses": lambda f: _dropped(f, "test_loss", "test_accuracy"),
    "a whole store": lambda f: (f.unlink(), f.mkdir()),
}


def _changed(file, **attributes):
    lr.save_record(lr.open_record(file).assign_attrs(attributes), file)


def _worded(file, name):
    record = lr.open_record(file)
    words = np.array(["a"] * record.sizes["time"])
    lr.save_record(record.assign({name: ("time", words)}), file)


def _dropped(file, *names):
    lr.save_record(lr.open_record(file).drop_vars(names), file)


@pytest.mark.parametrize("how", HOSTILE)
def test_a_record_that_is_none_is_one_line(how, folder, tmp_path, monkeypatch, capsys):
    file = tmp_path / "record.nc"
    file.write_bytes((folder / "record.nc").read_bytes())
    HOSTILE[how](file)
    assert call(monkeypatch, "report", file) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("lazyrich: ")
    assert not (tmp_path / "report.html").exists()


@pytest.mark.parametrize(
    "text", ["", "[]", "{", '{"verdict": 3}', "[" * 100_000, '{"t50": "soon"}', "\x00"]
)
def test_a_forecast_that_is_none_is_one_line(text, folder, tmp_path, monkeypatch, capsys):
    (tmp_path / "record.nc").write_bytes((folder / "record.nc").read_bytes())
    (tmp_path / "forecast.json").write_text(text)
    assert call(monkeypatch, "report", tmp_path) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "should be the summary of a forecast" in line


# A log of a grokking run: steps, an epoch a hundred of them, tests at every fifth row.
STEPS = np.arange(0, 20_001, 20)
TRAIN = np.where(STEPS >= 200, 1.0, 0.1)
TEST = np.where(STEPS >= 8000, 0.98, 0.1)


def as_csv(scale=100.0):
    lines = ["step,epoch,train/loss,train/acc,val/loss,val/acc,lr"]
    for i, step in enumerate(STEPS):
        test = f"{1 - TEST[i]},{scale * TEST[i]}" if i % 5 == 0 else ","
        lines.append(f"{step},{step / 100},{1 - TRAIN[i]},{scale * TRAIN[i]},{test},1e-3")
    return "\n".join(lines) + "\n"


def as_lines():
    """As a trainer logs: training and tests in lines of their own, names nested or not."""
    lines = []
    for i, step in enumerate(STEPS.tolist()):
        lines.append({"loss": 1 - TRAIN[i], "accuracy": TRAIN[i], "step": step, "note": "words"})
        if i % 5 == 0:
            test = {"loss": 1 - TEST[i], "accuracy": TEST[i]}
            lines.append({"eval": test, "step": step, "epoch": step / 100})
    return "\n".join(json.dumps(line) for line in lines)


def test_logs_of_both_kinds_are_judged_alike(tmp_path, monkeypatch, capsys):
    (tmp_path / "a.csv").write_text(as_csv())
    (tmp_path / "b.jsonl").write_text(as_lines())
    found = []
    for name in ("a.csv", "b.jsonl"):
        assert call(monkeypatch, "judge", tmp_path / name, "--json") == 0
        shown = capsys.readouterr()
        assert ("percents" in shown.err) == (name == "a.csv")
        found.append(json.loads(shown.out))
    one, other = found
    for key in set(one) - {"experiment", "log"}:
        assert one[key] == pytest.approx(other[key]) if isinstance(one[key], float) else True
    assert one["outcome"] == other["outcome"] == "grokked"
    # Tests every hundred steps: the true steps 200 and 8000 are records.
    assert 100 < one["t_train"] <= 200
    assert 7900 < one["t50"] <= 8000
    assert one["delay_ratio"] == pytest.approx(one["t_change"] / one["t_train"])
    assert one["delay_difference"] == pytest.approx(one["t_change"] - one["t_train"])
    assert one["log"]["columns"]["test_accuracy"] == "val/acc"
    assert other["log"]["columns"]["test_accuracy"] == "eval/accuracy"
    assert one["log"]["unused"] == ["lr"]
    assert "201 of 1,001 rows have test values" in one["log"]["notes"]


@pytest.mark.slow
def test_a_log_is_told_in_steps_and_epochs(tmp_path, monkeypatch, capsys):
    (tmp_path / "a.csv").write_text(as_csv(scale=1.0))
    out = tmp_path / "a.html"
    assert call(monkeypatch, "judge", tmp_path / "a.csv", "--out", out) == 0
    shown = capsys.readouterr().out
    assert "t_test           step 7,99" in shown
    assert "(epoch 79.9)" in shown or "(epoch 80)" in shown
    assert "times the time of the fit; 7,7" in shown or "times the time of the fit; 7,8" in shown
    assert {path.name for path in tmp_path.iterdir()} == {"a.csv", "a.html", "a.pdf", "a.png"}
    assert "logged by a.csv" in out.read_text()
    arguments = ["judge", tmp_path / "a.csv", "--time-per-step", "0.01", "--json"]
    assert call(monkeypatch, *arguments) == 0
    summary = json.loads(capsys.readouterr().out)
    assert 79 < summary["t50"] <= 80
    log = lr.records.read_log(tmp_path / "a.csv", time_per_step=0.01)
    assert log.record["step"].values[-1] == 20_000
    assert log.record["epoch"].values[-1] == 200


def test_columns_can_be_named(tmp_path, monkeypatch, capsys):
    text = as_csv(scale=1.0).replace("val/acc", "probe_3").replace("step", "n")
    (tmp_path / "a.csv").write_text(text)
    arguments = ["judge", tmp_path / "a.csv", "--column", "test_accuracy=probe_3"]
    assert call(monkeypatch, *arguments, "--column", "step=n", "--threshold", "test=0.99") == 0
    assert "t_test           –" in capsys.readouterr().out
    assert call(monkeypatch, *arguments, "--column", "stepp=n") == 2
    assert "did you mean step?" in capsys.readouterr().err
    assert call(monkeypatch, *arguments, "--column", "step=nn") == 2
    assert "should be a column" in capsys.readouterr().err


def test_a_log_that_breaks_is_read_up_to_there(tmp_path, monkeypatch, capsys):
    lines = as_csv(scale=1.0).splitlines()
    lines[501] = "10000,100,nan,0.1,nan,0.1,1e-3"
    (tmp_path / "a.csv").write_text("\n".join(lines))
    assert call(monkeypatch, "judge", tmp_path / "a.csv") == 0
    shown = capsys.readouterr().out
    assert "outcome          failed" in shown
    assert "not finite from step 10000 on" in shown
    assert lr.records.read_log(tmp_path / "a.csv").record["time"].values[-1] == 9900


GOOD = "step,train_acc,test_acc\n1,0.5,0.5\n2,1,1\n"
BAD = {
    "empty": "",
    "head only": "step,train_acc,test_acc\n",
    "no step": GOOD.replace("step", "when"),
    "no test": GOOD.replace("test_acc", "lr"),
    "two candidates": "step,train_acc,val_acc,valid_acc\n1,1,1,1\n",
    "backwards": GOOD + "1,1,1\n",
    "out of range": GOOD + "3,1,200\n",
    "more cells": GOOD + "3,1,1,1\n",
    "twice": GOOD.replace("train_acc", "test_acc"),
    "long field": GOOD + f'3,1,"{"x" * 200_000}"\n',
    "infinite step": GOOD + "inf,1,1\n",
    "negative step": GOOD.replace("1,0.5", "-1,0.5"),
    "broken at once": GOOD.replace("0.5", "nan"),
    "columns": ",".join(f"c{i}" for i in range(3000)) + "\n" + ",".join("1" * 3000),
    "list": "[1, 2]\n",
    "cut": '{"step": 1, "train_acc": 0.5\n',
    "deep": '{"step": ' + "[" * 100_000 + "\n",
    "deep objects": '{"a": ' * 3000 + "1" + "}" * 3000,
    "huge number": '{"step": ' + "9" * 5000 + ', "train_acc": 1, "test_acc": 1}\n',
    "words": '{"step": "soon", "train_acc": "high", "test_acc": "low"}\n',
    "null": '{"step": null, "train_acc": null}\n',
}


@pytest.mark.parametrize("what", BAD)
def test_a_log_that_cannot_be_read_is_one_line(what, tmp_path, monkeypatch, capsys):
    (tmp_path / "log.txt").write_text(BAD[what])
    assert call(monkeypatch, "judge", tmp_path / "log.txt") == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("lazyrich: ")
    assert len(line) < 2200


def test_what_is_no_file_of_text_is_refused(tmp_path, monkeypatch, capsys):
    (tmp_path / "log.csv").write_bytes(b"\xff\xfe\x00step")
    monkeypatch.setattr(lr.records.log_file, "MAX_BYTES", 100)
    (tmp_path / "large.csv").write_text("step\n" + "1\n" * 100)
    for name, message in (
        ("log.csv", "should be a log in CSV or JSON lines"),
        ("large.csv", "more than 100 are not read"),
        (".", "is a folder"),
        ("absent.csv", "No such file"),
    ):
        assert call(monkeypatch, "judge", tmp_path / name) == 2
        assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["report", "absent"], "should be a record (.nc), the folder of a run, or a store"),
        (["report", "."], "should be a record (.nc), the folder of a run, or a store"),
        (["report", "absent", "--out", "page.pdf"], "should end in .html"),
        (["report", "absent", "--out", "absent/page.html"], "in an existing folder"),
        (["judge", "log.csv", "--column", "test_accuracy"], "should be NAME=COLUMN"),
        (["judge", "log.csv", "--threshold", "tests=1"], "did you mean test?"),
        (["judge", "log.csv", "--time-per-step", "-1"], "should be positive and finite"),
        (["judge", "log.csv", "--out", "a.pdf"], "should end in .html"),
    ],
)
def test_bad_arguments_are_one_line(arguments, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "log.csv").write_text(GOOD)
    assert call(monkeypatch, *arguments) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert message in line


def test_a_record_says_which_variables_it_has():
    log = lr.record([1, 2], {"train_loss": [1.0, 0.5], "test_loss": [1.0, 1.0]}, unit="epoch")
    assert isinstance(log, xr.Dataset)
    assert log["time"].attrs == {"long_name": "epoch", "units": "epoch"}
    assert lr.plot.run(log).axes[-1].get_xlabel() == "epoch"

import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import xarray as xr

import lazyrich as lr
from lazyrich import cli
from lazyrich._core.description import Choice
from lazyrich.cli.kinds import KEYS_FILE, keys_text, kinds_text
from lazyrich.cli.settings import resolve
from lazyrich.sweeps._execution import driver
from lazyrich.sweeps._execution.batch import run_batch
from tests.helpers import small_experiment

SMALL = [
    "--set",
    "task.n=12",
    "--set",
    "task.d=100",
    "--set",
    "task.num_test=50",
    "--set",
    "t1=50.0",
]


def call(monkeypatch, *arguments):
    monkeypatch.setattr(sys, "argv", ["lazyrich", *map(str, arguments)])
    with pytest.raises(SystemExit) as exit_:
        cli.main()
    return exit_.value.code or 0


def test_list_names_every_panel(monkeypatch, capsys):
    assert call(monkeypatch, "list") == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == lr.studies.names()


def test_help_teaches(monkeypatch, capsys):
    assert call(monkeypatch, "run", "--help") == 0
    shown = capsys.readouterr().out
    for key in (
        "weight_decay",
        "init_scale",
        "task.kind",
        "model.kind",
        "Exit codes",
        "lyu2024/1a",
    ):
        assert key in shown
    for line in KEYS_FILE.read_text().splitlines():
        assert line.strip() in shown


@pytest.mark.slow
def test_run_writes_everything(monkeypatch, capsys, tmp_path):
    out = tmp_path / "new" / "run"
    arguments = ["run", "lyu2024/1a", *SMALL, "--set", "name=mine", "--out", out]
    assert call(monkeypatch, *arguments) == 0
    shown = capsys.readouterr()
    assert "outcome" in shown.out
    assert "solving the flow" in shown.err
    names = {file.name for file in out.iterdir()}
    assert names == {
        "record.nc", "experiment.toml", "summary.json", "report.html", "figure.pdf", "figure.png",
        "forecast.json",
    }  # fmt: skip
    # What was expected stands beside what came, in all that is written.
    said = json.loads((out / "forecast.json").read_text())
    experiment = lr.Experiment.load(out / "experiment.toml")
    alone = lr.forecast(experiment, passage="calibrated").summary()
    assert {**said, "seconds": 0} == {**alone, "seconds": 0}
    assert shown.out.count(f"forecast         {said['verdict']} (confidence: ") == 1
    page = (out / "report.html").read_text()
    assert "Forecast and run" in page
    assert said["reasons"][0] in page
    record = lr.open_record(out / "record.nc").load()
    summary = json.loads((out / "summary.json").read_text())
    wanted = {
        "experiment", "outcome", "t_train", "t_test", "t10", "t50", "t90", "early", "late",
        "predictors", "solver", "wall_seconds",
    }  # fmt: skip
    assert wanted <= summary.keys()
    assert summary["experiment"] == "mine"
    assert summary["solver"].keys() >= {"name", "num_steps", "num_rejected", "num_gradients"}
    # The folder alone reproduces the run.
    again = lr.Experiment.load(out / "experiment.toml")
    assert again.content_hash == summary["experiment_hash"]
    assert lr.open_record(out / "record.nc").attrs["experiment_hash"] == again.content_hash

    assert call(monkeypatch, *arguments) == 2
    assert "--force replaces it" in capsys.readouterr().err
    assert call(monkeypatch, *arguments, "--force", "--json", "--no-forecast") == 0
    shown = capsys.readouterr()
    assert json.loads(shown.out)["outcome"] == summary["outcome"]
    # That of before is gone, and the run does not know whether it was forecast.
    assert not (out / "forecast.json").exists()
    assert "Forecast and run" not in (out / "report.html").read_text()
    xr.testing.assert_identical(lr.open_record(out / "record.nc"), record.assign_attrs(
        seconds=lr.open_record(out / "record.nc").attrs["seconds"]))  # fmt: skip


@pytest.mark.slow
def test_own_file_with_own_arrays(monkeypatch, capsys, tmp_path):
    rng = np.random.default_rng(0)
    np.savez(
        tmp_path / "data.npz",
        x_train=rng.normal(size=(5, 20)),
        y_train=rng.choice([-1, 1], 5),
        x_test=rng.normal(size=(5, 20)),
        y_test=rng.choice([-1, 1], 5),
    )
    (tmp_path / "mine.toml").write_text(
        'name = "<script>alert(1)</script> $x_"\nt1 = 10\n'
        '[task]\nkind = "Arrays"\npath = "data.npz"\n'
    )
    assert (
        call(monkeypatch, "run", tmp_path / "mine.toml", "--no-forecast", "--out", tmp_path / "out")
        == 0
    )
    page = (tmp_path / "out" / "report.html").read_text()
    assert "<script>alert" not in page
    assert "&lt;script&gt;alert(1)" in page
    assert "http" not in page.replace("http-equiv", "")
    capsys.readouterr()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["lyu2024/9z"], "experiment = 'lyu2024/9z': should be a TOML file, or the name"),
        (["lyu204/1a"], "panel (did you mean lyu2024/1a?); panels of forecast, kumar2024, lyu2024"),
        (["lyu2024/1a", "--set", "loss.kind=Squarred"], "(did you mean Squared"),
        (["lyu2024/1a", "--set", "loss=Squared"], "on the command line loss.kind=Squared"),
        (["lyu2024/1a", "--set", "task.m=3"], "task.m = 3: unknown key"),
        (["lyu2024/1a", "--set", "task.n=many"], "task.n = 'many': should be a valid integer"),
        (["lyu2024/1a", "--set", "weight_decay=-1"], "weight_decay = -1: should be greater than"),
        (["lyu2024/1a", "--set", "model.depth=1"], "model.depth = 1: should be greater than"),
        (["lyu2024/1a", "--set", "task.n=0"], "task.n = 0: should be greater than or equal to 1"),
        (["lyu2024/1a", "--set", "nonsense"], "--set = 'nonsense': should be KEY=VALUE"),
        (["lyu2024/1a", "--set", "probes=drift"], "probes = 'drift': should be a list, such as ["),
        (["lyu2024/1a", "--set", "probes=+drft"], "(did you mean drift"),
        (["lyu2024/1a", "--set", "weight_deacy=1"], "unknown key (did you mean weight_decay?)"),
        (["absent.toml"], "experiment = 'absent.toml': should be a readable file"),
        (["syntax.toml"], "experiment = 'syntax.toml': is not valid TOML: "),
        (["labels.toml"], "task.y_train[1] = 3: Logistic needs labels -1 or 1"),
        (["nan.toml"], "task.x_train[0, 1] = nan: should be finite"),
        (["lyu2024/1a", "--out", "file"], "--out = 'file': should be a writable folder"),
    ],
)  # fmt: skip
def test_bad_input_ends_with_one_line_and_code_2(arguments, message, monkeypatch, capsys, tmp_path):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "syntax.toml").write_text("seed = = 1\n")
    (tmp_path / "file").write_text("in the way")
    good: dict[str, Any] = {
        "x_train": np.ones((2, 2)),
        "y_train": [1, -1],
        "x_test": np.ones((1, 2)),
        "y_test": [1],
    }
    np.savez(tmp_path / "labels.npz", **{**good, "y_train": [1, 3]})
    np.savez(tmp_path / "nan.npz", **{**good, "x_train": [[1, np.nan], [1, 1]]})
    for name in ("labels", "nan"):
        (tmp_path / f"{name}.toml").write_text(
            f't1 = 1.0\n[task]\nkind = "Arrays"\npath = "{name}.npz"\n'
        )
    assert call(monkeypatch, "run", *arguments) == 2
    last = capsys.readouterr().err.strip().splitlines()[-1]
    assert last.startswith("lazyrich: ")
    assert message in last


def test_probes_are_added_to_those_of_the_experiment(tmp_path):
    panel = lr.studies.load("lyu2024/1a")
    found = resolve("lyu2024/1a", ["probes=+parameters,drift", "t1=5.0", "probes=+arrival"])
    assert found.probes == (*panel.probes, "parameters", "arrival")
    assert "drift" in panel.probes
    found.with_changes({"probes": ["train_loss"]}).save(tmp_path / "mine.toml")
    assert resolve(str(tmp_path / "mine.toml"), ["probes=+drift"]).probes == ("train_loss", "drift")


def test_the_version_is_printed(monkeypatch, capsys):
    assert call(monkeypatch, "--version") == 0
    assert capsys.readouterr().out == f"{lr.__version__}\n"


def test_messages_do_not_offer_what_cannot_be_set():
    with pytest.raises(lr.InputError, match="accepted are task") as caught:
        lr.studies.load("lyu2024/1a").with_changes({"wrong": 1})
    assert "published" not in str(caught.value)


def test_ctrl_c_in_a_study_says_what_is_kept_and_how_to_continue(monkeypatch, capsys, tmp_path):
    def interrupted(*arguments, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr("lazyrich._reproduce.reproduce.worker_pool", interrupted)
    assert call(monkeypatch, "reproduce", "lyu2024/3", "--out", tmp_path) == 130
    last = capsys.readouterr().err.splitlines()[-1]
    kept = f"finished runs are kept in {tmp_path / 'store'}"
    assert last == f"lazyrich: interrupted: {kept}; the same command continues"


@pytest.mark.slow
def test_a_failed_computation_says_so_and_keeps_what_was_reached(monkeypatch, capsys, tmp_path):
    arguments = ["run", "lyu2024/1a", *SMALL, "--set", "dynamics.max_steps=5", "--out", tmp_path,
                 "--no-forecast"]  # fmt: skip
    assert call(monkeypatch, *arguments) == 1
    last = capsys.readouterr().err.strip().splitlines()[-1]
    assert last.startswith("lazyrich: Rodas5P used up its steps")
    assert "raise dynamics.max_steps" in last
    assert lr.open_record(tmp_path / "record.nc").attrs["ending"] == "max_steps"


def test_an_unforeseen_error_is_one_line_too(monkeypatch, capsys, tmp_path):
    def broken(*arguments, **options):
        raise RuntimeError("out\nof memory")

    monkeypatch.setattr("lazyrich._run.simulate.simulate", broken)
    assert call(monkeypatch, "run", "lyu2024/1a", *SMALL, "--no-forecast", "--out", tmp_path) == 1
    assert capsys.readouterr().err.strip().splitlines()[-1] == "lazyrich: out of memory"


def test_ctrl_c_ends_a_solve_at_once_and_leaves_nothing_half_written(tmp_path):
    slow = small_experiment(dynamics=lr.dynamics.GradientDescent(learning_rate=1e-6), t1=1e6)
    slow.save(tmp_path / "slow.toml")
    # A process that is started in the background of a script ignores the signal from the start.
    heed = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)"
    main = f"{heed}; from lazyrich.cli import main; main()"
    command = [
        sys.executable, "-c", main, "run", "slow.toml", "--out", "out", "--no-forecast"
    ]  # fmt: skip
    with subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if "solving the flow" in line:
                break
        time.sleep(1)
        assert process.poll() is None
        process.send_signal(signal.SIGINT)
        try:
            rest = process.communicate(timeout=20)[1]
        finally:
            process.kill()  # a process that was started in the background ignores the signal
    assert process.returncode == 130
    assert "interrupted" in rest
    assert list((tmp_path / "out").iterdir()) == []


TINY = """
name = "tiny"
weight_decay = 1e-2
t1 = 1e3
probes = ["train_loss", "test_loss", "train_accuracy", "test_accuracy"]

[task]
kind = "SparseClassification"
n = 16
d = 60
k = 1
num_test = 50

[times]
num_log = 20
num_linear = 5
"""


@pytest.fixture(scope="module")
def swept(tmp_path_factory):
    """A folder with an experiment and the store of a sweep of it, made by the command."""
    folder = tmp_path_factory.mktemp("swept")
    (folder / "tiny.toml").write_text(TINY)
    command = [
        sys.executable, "-m", "lazyrich", "sweep", "tiny.toml", "--store", "runs",
        "--over", "init_scale=log:1:100:2", "--over", "seed=range:2",
        "--set", "weight_decay=0.02", "--workers", "0", "--batch-size", "4",
    ]  # fmt: skip
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True)
    return folder, done


@pytest.mark.slow
def test_a_sweep_says_what_it_has_done(swept, monkeypatch, capsys):
    folder, done = swept
    assert "done             4 of 4 runs" in done.stdout
    assert "missing          0" in done.stdout
    assert "4 of 4 runs" in done.stderr
    monkeypatch.chdir(folder)
    assert call(monkeypatch, "status", "runs") == 0
    assert capsys.readouterr().out == done.stdout
    assert call(monkeypatch, "consolidate", "runs", "runs.zarr") == 0
    assert (folder / "runs.zarr" / "zarr.json").exists()
    assert call(monkeypatch, "consolidate", "runs", "runs.zarr") == 2
    assert "exists already" in capsys.readouterr().err


@pytest.mark.slow
def test_ctrl_c_in_a_sweep_says_what_is_kept_and_how_to_continue(monkeypatch, capsys, tmp_path):
    monkeypatch.chdir(tmp_path)
    Path("tiny.toml").write_text(TINY)
    arguments = ["sweep", "tiny.toml", "--store", "runs", "--over", "init_scale=1,2,3",
                 "--workers", "0", "--batch-size", "1"]  # fmt: skip
    done: list[Any] = []

    def interrupted(store, job):
        if len(done) == 2:
            raise KeyboardInterrupt
        done.append(job)
        return run_batch(store, job)

    with monkeypatch.context() as patch:
        patch.setattr(driver, "run_batch", interrupted)
        assert call(patch, *arguments) == 130
    last = capsys.readouterr().err.splitlines()[-1]
    kept = "2 of 3 runs are kept in runs"
    assert last == f"lazyrich: interrupted: {kept}; the same command continues"
    assert call(monkeypatch, *arguments) == 0
    assert "done             3 of 3 runs" in capsys.readouterr().out


@pytest.mark.slow
def test_a_run_of_a_batch_again_is_the_same_to_the_last_bit(swept):
    folder, _ = swept
    (file,) = (folder / "runs" / "batches").glob("*.nc")
    command = [sys.executable, "-m", "lazyrich", "run", str(file), "--row", "2", "--out", "out"]
    subprocess.run(command, cwd=folder, capture_output=True, check=True)
    record = lr.open_record(folder / "out" / "record.nc")
    runs = lr.open_store(folder / "runs")
    (index,) = np.flatnonzero(
        runs["experiment_hash"].values.ravel() == record.attrs["experiment_hash"]
    )
    place = np.unravel_index(index, runs["outcome"].shape)
    for name in ("time", "train_loss", "test_loss", "train_accuracy", "test_accuracy"):
        np.testing.assert_array_equal(runs[name].values[place], record[name].values)
    summary = json.loads((folder / "out" / "summary.json").read_text())
    assert summary["outcome"] == runs["outcome"].values[place]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["sweep", "tiny.toml", "--store", "s"], "over = {}: should vary at least one key"),
        (
            ["sweep", "tiny.toml", "--store", "s", "--over", "task.m=1,2"],
            "over.task.m = 1: unknown",
        ),
        (
            ["sweep", "tiny.toml", "--store", "s", "--over", "seed"],
            "--over = 'seed': should be KEY",
        ),
        (["run", "runs/batches/x.nc", "--row", "0"], "should be a batch file"),
        (["run", "tiny.toml", "--row", "0"], "--row = 0: is for a batch file"),
        (["status", "nothing"], "store = "),
        (["reproduce", "nothing"], "study = 'nothing': should be one of"),
        (["reproduce", "open/nothing"], "panel = 'nothing': should be one of early, "),
    ],
)
def test_bad_input_for_many_runs_is_one_line(arguments, message, swept, monkeypatch, capsys):
    monkeypatch.chdir(swept[0])
    assert call(monkeypatch, *arguments) == 2
    shown = capsys.readouterr().err
    assert message in shown
    assert shown.count("\n") == 1
    assert not (swept[0] / "s").exists()


def test_a_row_that_is_not_there_is_refused(swept, monkeypatch, capsys):
    (file,) = (swept[0] / "runs" / "batches").glob("*.nc")
    for row in ([], ["--row", "4"]):
        assert call(monkeypatch, "run", file, *row) == 2
        assert "should be a row of the file, from 0 to 3" in capsys.readouterr().err
    assert call(monkeypatch, "run", file, "--row", "0", "--set", "seed=2") == 2
    assert "cannot change a finished run" in capsys.readouterr().err


@pytest.mark.slow
def test_a_dry_run_computes_little_and_keeps_nothing(swept, monkeypatch, capsys):
    monkeypatch.chdir(swept[0])
    arguments = ["sweep", "tiny.toml", "--over", "seed=range:2000", "--store", "dry", "--dry-run"]
    assert call(monkeypatch, *arguments) == 0
    shown = capsys.readouterr().out
    assert "runs             2000" in shown
    assert "batches          32, of 1 shapes" in shown
    assert not (swept[0] / "dry").exists()


PLACES = {
    name: field.annotation
    for name, field in lr.Experiment.model_fields.items()
    if isinstance(field.annotation, type) and issubclass(field.annotation, Choice)
}


def kinds_of_lazyrich():
    return [
        (place, kind)
        for place, choice in PLACES.items()
        for kind in choice.kinds.values()
        if kind.__module__.startswith("lazyrich.")
    ]


def test_help_shows_the_keys_that_the_classes_have():
    assert KEYS_FILE.read_text() == keys_text(), "run python mkdocs_tables.py"
    for place, kind in kinds_of_lazyrich():
        known = {key.split(".")[0] for key in kind.file_keys()}
        left_out = set(kind.model_fields) - known
        arrays = getattr(kind, "array_names", ())
        assert left_out <= {*arrays} or kind.own_code, (place, kind)
        assert f"{kind.kind_name()}" in kinds_text()


@pytest.mark.parametrize("command", ["run", "forecast", "sweep", "reproduce"])
def test_help_of_every_command_lists_kinds_and_keys(command, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["lazyrich", command, "--help"])
    with pytest.raises(SystemExit):
        cli.main()
    shown = " ".join(capsys.readouterr().out.split())
    assert " ".join(keys_text().split()) in shown


def test_every_key_that_help_shows_can_be_set(tmp_path):
    for place, kind in kinds_of_lazyrich():
        needs = any(field.is_required() for field in kind.model_fields.values())
        for key in [*kind.file_keys(), *([] if needs else ["no_such_key"])]:
            value: object = object()  # no field takes it, so that the complaint is of the key
            for part in reversed(key.split(".")):
                value = {part: value}
            table = {"kind": kind.kind_name(), **cast(dict[str, object], value)}
            described = {"task": {"kind": "SparseClassification"}, place: table}
            with pytest.raises(lr.InputError) as caught:
                lr.Experiment.from_table(described, tmp_path)
            is_unknown = "unknown key" in str(caught.value)
            assert is_unknown == (key == "no_such_key"), (kind, key)

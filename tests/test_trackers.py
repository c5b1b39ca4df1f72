"""Trackers, against the libraries that they write for: what they wrote is read back."""

import json
import signal
import struct
import subprocess
import sys
import time
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import xarray as xr

import lazyrich as lr
from lazyrich import cli
from lazyrich._run import watching as _watching
from lazyrich.trackers import AbstractTracker

RATE = 0.05


class Read(NamedTuple):
    """What is read back of one run: curves as (step, value), settings, words, and its end."""

    curves: dict[str, list[tuple[int, float]]]
    config: dict[str, Any]
    words: dict[str, str]
    failed: bool | None
    status: str = ""


def tensorboard(folder: Path) -> tuple[AbstractTracker, Callable[[], list[Read]]]:
    event_pb2 = pytest.importorskip("tensorboardX.proto.event_pb2")

    def events(path: Path) -> Any:
        # A record: its length, a checksum, the event, and another checksum.
        data, place = path.read_bytes(), 0
        while place < len(data):
            (length,) = struct.unpack_from("<Q", data, place)
            yield event_pb2.Event.FromString(data[place + 12 : place + 12 + length])
            place += 16 + length

    def one(run: Path) -> Read:
        (path,) = run.glob("events*")
        curves: dict[str, list[tuple[int, float]]] = {}
        texts: dict[str, str] = {}
        plugins = []
        for event in events(path):
            for value in event.summary.value:
                plugins.append(value.metadata.plugin_data.plugin_name)
                if value.metadata.plugin_data.plugin_name == "text":
                    name = value.tag.removesuffix("/text_summary")
                    texts[name] = value.tensor.string_val[0].decode()
                elif value.WhichOneof("value") == "simple_value":
                    curves.setdefault(value.tag, []).append((event.step, value.simple_value))
        assert plugins.count("hparams") == 3
        lines = texts.pop("experiment").splitlines()
        config = {key.strip(): value.strip() for key, _, value in (s.partition("=") for s in lines)}
        return Read(curves, config, texts, None)

    return lr.trackers.TensorBoard(folder), lambda: [one(run) for run in sorted(folder.iterdir())]


def wandb(folder: Path) -> tuple[AbstractTracker, Callable[[], list[Read]]]:
    pytest.importorskip("wandb")
    pb: Any = import_module("wandb.proto.wandb_internal_pb2")

    def messages(path: Path) -> Any:
        # The format of LevelDB's log: blocks of 32 KiB, of parts with a checksum, length and kind.
        data, place, whole = path.read_bytes(), 7, b""
        while place + 7 <= len(data):
            left = 2**15 - place % 2**15
            if left < 7:
                place += left
                continue
            length, kind = struct.unpack_from("<HB", data, place + 4)
            whole += data[place + 7 : place + 7 + length]
            place += 7 + length
            if kind in (1, 4):  # the only part of a message, or the last one
                yield pb.Record.FromString(whole)
                whole = b""

    def one(path: Path) -> Read:
        curves: dict[str, list[tuple[int, float]]] = {}
        config: dict[str, Any] = {}
        words: dict[str, str] = {}
        code = None
        for record in messages(path):
            for item in record.run.config.update if record.HasField("run") else ():
                config[item.key or ".".join(item.nested_key)] = json.loads(item.value_json)
            if record.HasField("history"):
                row = {
                    (i.key or ".".join(i.nested_key)): json.loads(i.value_json)
                    for i in record.history.item
                }
                step = row.get("_step", record.history.step.num)
                for name, value in row.items():
                    if not name.startswith("_"):
                        curves.setdefault(name, []).append((step, value))
            for item in record.summary.update if record.HasField("summary") else ():
                value = json.loads(item.value_json)
                name = item.key or ".".join(item.nested_key)
                if isinstance(value, str):
                    words[name] = value
                elif name.startswith("summary/"):
                    curves[name] = [(0, value)]
            if record.HasField("exit"):
                code = record.exit.exit_code
        return Read(curves, config, words, None if code is None else code != 0)

    def read() -> list[Read]:
        # A process of its own writes the ends of the files, a moment after the runs have ended.
        deadline = time.monotonic() + 20
        while True:
            paths = sorted(folder.rglob("*.wandb"), key=lambda path: path.parent.stat().st_mtime)
            found = [one(path) for path in paths]
            if all(run.failed is not None for run in found) or time.monotonic() > deadline:
                return found
            time.sleep(0.2)

    return lr.trackers.WandB(folder=folder), read


def mlflow(folder: Path) -> tuple[AbstractTracker, Callable[[], list[Read]]]:
    pytest.importorskip("mlflow")
    from mlflow import MlflowClient

    uri = f"file:{folder}"

    def read() -> list[Read]:
        client = MlflowClient(tracking_uri=uri)
        place: Any = client.get_experiment_by_name("lazyrich")
        found = []
        for run in client.search_runs([place.experiment_id], order_by=["start_time ASC"]):
            history = {
                name: [(m.step, m.value) for m in client.get_metric_history(run.info.run_id, name)]
                for name in run.data.metrics
            }
            status = run.info.status
            read_back = Read(history, run.data.params, run.data.tags, status == "FAILED", status)
            found.append(read_back)
        return found

    return lr.trackers.MLflow(uri), read


def trackio(folder: Path) -> tuple[AbstractTracker, Callable[[], list[Read]]]:
    pytest.importorskip("trackio")
    from trackio.sqlite_storage import SQLiteStorage

    project = f"lazyrich-{folder.name}"

    def read() -> list[Read]:
        found = []
        for run in SQLiteStorage.get_run_records(project):
            curves: dict[str, list[tuple[int, float]]] = {}
            words: dict[str, str] = {}
            for row in SQLiteStorage.get_logs(project, run_id=run["id"]):
                for name, value in row.items():
                    if isinstance(value, str) and name != "timestamp":
                        words[name] = value
                    elif name not in ("step", "timestamp"):
                        curves.setdefault(name, []).append((row["step"], value))
            config = SQLiteStorage.get_run_config(project, run_id=run["id"])
            found.append(Read(curves, config or {}, words, None))
        return found

    return lr.trackers.Trackio(project), read


ROWS = {"TensorBoard": tensorboard, "WandB": wandb, "MLflow": mlflow, "Trackio": trackio}
SLOW = [
    name if name == "TensorBoard" else pytest.param(name, marks=pytest.mark.slow) for name in ROWS
]


@pytest.fixture(scope="module", autouse=True)
def quiet(tmp_path_factory):
    """No network, and all files in a folder of the test."""
    patch = pytest.MonkeyPatch()
    folder = tmp_path_factory.mktemp("trackers")
    for name, value in {
        "TRACKIO_DIR": str(folder / "trackio"),
        "WANDB_MODE": "offline",
        "WANDB_ERROR_REPORTING": "false",
        "WANDB_CONFIG_DIR": str(folder),
        "WANDB_CACHE_DIR": str(folder),
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "MLFLOW_ALLOW_FILE_STORE": "true",
        "HF_HUB_OFFLINE": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
    }.items():
        patch.setenv(name, value)
    yield
    patch.undo()


def experiment(**changes: Any) -> lr.Experiment:
    fields: dict[str, Any] = {
        "name": "a <small> run",
        "task": lr.tasks.SparseClassification(n=6, d=20, num_test=30),
        "init_scale": 3.0,
        "weight_decay": 0.01,
        "t1": 20.0,
        "dynamics": lr.dynamics.GradientDescent(learning_rate=RATE),
        "times": lr.dynamics.Times(num_log=9, num_linear=3),
        "probes": (
            "train_loss",
            "test_loss",
            "train_accuracy",
            "test_accuracy",
            "cosine_to_rich",
            "weights",
        ),
    }
    return lr.Experiment(**{**fields, **changes})


@pytest.fixture(scope="module")
def record() -> xr.Dataset:
    return lr.simulate(experiment())


def check_curves(read: Read, record: xr.Dataset, steps: Any) -> None:
    """Whether all curves are there, once and in order, without what is not finite."""
    names = {str(n) for n, v in record.variables.items() if v.dims == ("time",)} - {"time"}
    assert {name for name in read.curves if "/" not in name} == names | {"t"}
    assert "weights" not in names
    for name in names:
        values = record[name].values
        known = np.isfinite(values)
        found = np.array(read.curves[name])
        np.testing.assert_array_equal(found[:, 0], np.asarray(steps)[known])
        np.testing.assert_allclose(found[:, 1], values[known], rtol=1e-6, err_msg=name)
    np.testing.assert_allclose(np.array(read.curves["t"])[:, 1], record["time"], rtol=1e-6)


@pytest.mark.parametrize("name", SLOW)
def test_a_watched_run_is_read_back(name, record, tmp_path, monkeypatch):
    for pause in ("_LEAST_PAUSE", "_PAUSE", "_FIRST_PAUSE"):
        monkeypatch.setattr(_watching, pause, 0.0)
    tracker, read = ROWS[name](tmp_path / "runs")
    calls = []

    def watch(found: xr.Dataset) -> None:
        calls.append(found.sizes["time"])
        tracker(found)

    lr.simulate(experiment(), watcher=watch)
    assert len(calls) > 2
    assert np.isnan(record["cosine_to_rich"][0])  # of weights that are zero
    (found,) = read()
    steps = np.rint(record["time"].values / RATE)
    check_curves(found, record, steps)
    config = found.config
    assert float(config["weight_decay"]) == 0.01
    assert float(config["task.n"]) == 6
    assert config["dynamics.kind"] == "GradientDescent"
    assert config["name"] == "a <small> run"
    assert config["experiment_hash"] == experiment().content_hash
    summary = lr.summarise(record)
    assert found.words["outcome"] == summary["outcome"]
    assert found.words["ending"] == "completed"
    (entry,) = found.curves["summary/final_score"]
    assert entry[1] == pytest.approx(summary["final_score"], rel=1e-6)
    assert found.failed in (False, None)


class BrokenError(Exception):
    pass


@pytest.mark.parametrize("name", SLOW)
def test_a_run_that_raises_ends_as_failed(name, record, tmp_path):
    tracker, read = ROWS[name](tmp_path / "failed")

    def listen(stage: str, fraction: float | None, detail: str) -> None:
        del fraction, detail
        if stage == "measuring":
            raise BrokenError("no more")

    with pytest.raises(BrokenError):
        lr.simulate(experiment(), watcher=tracker, listener=listen)
    # The same tracker then writes a record of before.
    tracker.write(record)
    broken, whole = read()
    assert broken.words["ending"] == "BrokenError: no more"
    assert "outcome" not in broken.words
    assert broken.failed in (True, None)
    assert len(broken.curves["train_loss"]) > 1
    check_curves(whole, record, np.rint(record["time"].values / RATE))
    assert whole.failed in (False, None)


def test_steps_of_flows_and_logs(record, tmp_path):
    tracker, read = tensorboard(tmp_path / "runs")
    flow = lr.simulate(
        experiment(name="b", dynamics=lr.dynamics.ReducedFlow(), probes=("train_loss",))
    )
    tracker.write(flow)
    log = lr.record(
        [5, 10, 400], {"train_loss": [3.0, 2.0, 1.0], "test_loss": [3.0, 2.0, 1.0]}, unit="step"
    )
    tracker.write(log)
    tracker.write(flow)
    # Folders have the name, the hash, and the number of the run.
    names = sorted(path.name for path in (tmp_path / "runs").iterdir())
    start = f"b-{flow.attrs['experiment_hash'][:8]}"
    assert {start, f"{start}-2"} < {*names}
    first, again, logged = read()
    assert first.curves == again.curves
    check_curves(first, flow, np.arange(flow.sizes["time"]))
    assert first.words == {"ending": "completed"}  # without test curves there is no outcome
    assert [step for step, _ in logged.curves["train_loss"]] == [5, 10, 400]


def test_a_library_that_is_not_installed(monkeypatch):
    monkeypatch.setattr(lr.trackers.Trackio, "module", "no_such_module")
    with pytest.raises(lr.ComputationError, match=r"^Trackio needs pip install trackio$"):
        lr.trackers.Trackio()


def call(monkeypatch: Any, *arguments: Any) -> Any:
    monkeypatch.setattr(sys, "argv", ["lazyrich", *map(str, arguments)])
    with pytest.raises(SystemExit) as exit_:
        cli.main()
    return exit_.value.code or 0


@pytest.mark.slow
def test_track_on_the_command_line(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    _, read = tensorboard(tmp_path / "first")
    _, second = tensorboard(tmp_path / "second")
    experiment().save("small.toml")
    tracks = ("--track", "tensorboard=first", "--track", "tensorboard=second")
    # No loss is that low: judged by this threshold, the outcome is another one.
    options = ("--threshold", "loss=1e-9", "--no-forecast", "--out", "out")
    assert call(monkeypatch, "run", "small.toml", *options, *tracks) == 0
    capsys.readouterr()
    (found,) = read()
    assert found == second()[0]
    record = lr.open_record("out/record.nc")
    check_curves(found, record, np.rint(record["time"].values / RATE))
    assert found.words["outcome"] == lr.summarise(record)["outcome"]
    assert found.words["outcome"] != lr.summarise(record, lr.Thresholds())["outcome"]


@pytest.mark.slow
def test_ctrl_c_ends_the_tracked_run(tmp_path):
    _, read = mlflow(tmp_path / "store")
    slow = lr.dynamics.GradientDescent(learning_rate=1e-6)
    times = lr.dynamics.Times(first=1e-6, num_log=200, num_linear=0)
    long = experiment(dynamics=slow, t1=1e6, times=times)
    long.save(tmp_path / "long.toml")
    # A process that is started in the background of a script ignores the signal from the start.
    heed = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)"
    command = [sys.executable, "-c", f"{heed}; from lazyrich.cli import main; main()", "run"]
    command += ["long.toml", "--no-forecast", "--track", f"mlflow=file:{tmp_path / 'store'}"]
    with subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True) as process:
        try:
            until = time.monotonic() + 100
            while not list(tmp_path.glob("store/*/*/metrics/train_loss")):
                assert process.poll() is None
                assert time.monotonic() < until
                time.sleep(0.2)
            process.send_signal(signal.SIGINT)
            words = process.communicate(timeout=20)[1]
        finally:
            process.kill()
    assert process.returncode == 130, words
    (found,) = read()
    assert "ending" in found.words, words
    assert found.words["ending"].startswith("KeyboardInterrupt")
    assert found.status == "KILLED"


@pytest.mark.parametrize("given", ["tensorboard", "tensorboard=", "neptune=x"])
def test_a_tracker_that_is_not_known(given, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert call(monkeypatch, "run", "lyu2024/1a", "--track", given) == 2
    said = capsys.readouterr().err
    assert f"--track = '{given}': should be tensorboard=DIR" in said
    assert said.count("\n") == 1
    assert not list(tmp_path.iterdir())

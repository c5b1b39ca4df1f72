"""Checkpoints: files that are whole or absent, and runs that go on to the last bit."""

import contextlib
import functools
import json
import os
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

import lazyrich as lr
from lazyrich._core import files as _files
from lazyrich._core.files import discard
from lazyrich._integrate.checkpoint import Checkpoint
from lazyrich._run import simulate as _simulate
from lazyrich.dynamics import AbstractDynamics, discrete
from lazyrich.dynamics._base import Progress
from tests.helpers import (
    assert_same_record,
    bits,
    built_in,
    diagonal_problem,
    in_double,
    silent,
    turning_problem,
)

ROOT = Path(__file__).parent.parent


class Pair(NamedTuple):
    u: Any
    v: Any


@in_double
def state() -> Any:
    """Values that a careless round trip would change, of every type a run's state has."""
    odd = np.array([np.nan, -np.nan, -0.0, np.inf, 5e-324, 0.1])
    return {
        "params": Pair(jnp.asarray(odd), jnp.asarray(odd, jnp.float32)),
        "low": jnp.arange(3, dtype=jnp.bfloat16) / 3,
        "key": jr.key_data(jr.key(7)),
        "step": jnp.asarray(2**53 + 1),
        "flags": jnp.array([[True, False]]),
        "empty": (jnp.zeros((0, 3)), None, ()),
        "bytes": jnp.arange(4, dtype=jnp.int8),
    }


def same(ours: Any, theirs: Any) -> bool:
    structures: list[Any] = [jax.tree.structure(tree) for tree in (ours, theirs)]
    return structures[0] == structures[1] and bits(ours) == bits(theirs)


def refused(checkpoint: Checkpoint, like: Any) -> str:
    """The complaint about a file, in one line that names it."""
    with pytest.raises(lr.InputError) as error:
        checkpoint.load(like)
    message = str(error.value)
    assert message.startswith("checkpoint = ")
    assert str(checkpoint.path) in message
    assert "\n" not in message
    return message


# --- The file. ---


def test_a_state_comes_back_to_the_last_bit(tmp_path):
    checkpoint = Checkpoint(tmp_path / "run", "a run")
    assert checkpoint.load(state()) is None
    checkpoint.save(state())
    blank = jax.tree.map(jnp.zeros_like, state())
    assert same(Checkpoint(tmp_path / "run", "a run").load(blank), state())
    assert [file.name for file in tmp_path.iterdir()] == ["run"]
    # As a kill in the middle of a write leaves behind: of a process that there cannot be.
    (tmp_path / f".run.{_files._node()}-{2**30}-feed").touch()
    discard(checkpoint.path)
    assert list(tmp_path.iterdir()) == []
    discard(checkpoint.path)


def test_another_run_does_not_go_on_from_it(tmp_path):
    Checkpoint(tmp_path / "run", "one run").save(state())
    message = refused(Checkpoint(tmp_path / "run", "another run"), state())
    assert "is of another run (one run)" in message


@pytest.mark.parametrize(
    "change",
    [
        lambda s: {**s, "key": s["key"][:1]},
        lambda s: {**s, "key": s["key"][None]},
        lambda s: {**s, "key": s["key"].astype(jnp.int32)},
        lambda s: {**s, "low": s["low"].astype(jnp.float16)},
        lambda s: {**s, "z": jnp.zeros(2)},
        lambda s: {key: value for key, value in s.items() if key != "step"},
    ],
    ids=["shape", "rank", "dtype", "half", "more", "fewer"],
)
def test_another_state_is_refused(tmp_path, change):
    checkpoint = Checkpoint(tmp_path / "run", "a run")
    checkpoint.save(change(state()))
    assert "remove it to start again" in refused(checkpoint, state())


@pytest.mark.slow
def test_damage_is_noticed_wherever_it_is(tmp_path):
    small = {"a": jnp.arange(3.0), "b": jnp.asarray(1)}
    checkpoint = Checkpoint(tmp_path / "run", "a run")
    checkpoint.save(small)
    whole = checkpoint.path.read_bytes()
    for length in range(len(whole)):
        checkpoint.path.write_bytes(whole[:length])
        refused(checkpoint, small)
    num_noticed = 0
    for place in range(len(whole)):
        for flip in (0x01, 0xFF):
            damaged = bytearray(whole)
            damaged[place] ^= flip
            checkpoint.path.write_bytes(damaged)
            try:
                # Some bytes say nothing: dates, permissions, the version that wrote it.
                assert same(checkpoint.load(small), small)
            except lr.InputError:
                num_noticed += 1
    assert num_noticed > len(whole)


def other_files() -> dict[str, Callable[[Path], object]]:
    def array(path: Path) -> None:
        with path.open("wb") as file:
            np.save(file, np.zeros(3))

    def archive(path: Path) -> None:
        with path.open("wb") as file:
            np.savez(file, a=np.zeros(3))

    def objects(path: Path) -> None:
        with path.open("wb") as file:
            np.savez(file, identity=np.array([{}], dtype=object))

    return {
        "empty": lambda path: path.touch(),
        "text": lambda path: path.write_text("hello"),
        "folder": lambda path: path.mkdir(),
        "array": array,
        "archive": archive,
        "objects": objects,
    }


@pytest.mark.parametrize("kind", other_files())
def test_what_is_not_a_checkpoint_is_refused(tmp_path, kind):
    other_files()[kind](tmp_path / "run")
    assert "cannot be read" in refused(Checkpoint(tmp_path / "run", "a run"), state())


def test_a_place_that_cannot_be_written_is_refused_before_the_run(tmp_path):
    assert "folder" in refused(Checkpoint(tmp_path / "missing" / "run", "a run"), state())


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_a_failed_write_leaves_the_old_file(tmp_path, monkeypatch, error):
    checkpoint = Checkpoint(tmp_path / "run", "a run")
    checkpoint.save(state())
    before = checkpoint.path.read_bytes()

    def half(file, **arrays):
        file.write(before[: len(before) // 2])
        raise error

    with monkeypatch.context() as patch:
        patch.setattr(np, "savez", half)
        with pytest.raises(type(error)):
            checkpoint.save(jax.tree.map(jnp.zeros_like, state()))
    assert checkpoint.path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["run"]
    assert same(checkpoint.load(state()), state())


def test_writes_are_as_far_apart_as_asked(tmp_path, monkeypatch):
    now = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    checkpoint = Checkpoint(tmp_path / "run", "a run", every=10.0)
    written = []
    for moment in (105.0, 109.0, 111.0, 120.0, 121.5):
        now[0] = moment
        checkpoint.offer(jnp.asarray(moment))
        written.append(checkpoint.load(jnp.zeros(())))
    assert [None if value is None else float(value) for value in written] == [
        None, None, 111.0, 111.0, 121.5,
    ]  # fmt: skip


# --- Every kind of dynamics goes on where it was stopped. ---

ROWS: dict[str, Any] = {
    "reduced": lr.dynamics.ReducedFlow(rtol=1e-8),
    "rosenbrock": lr.dynamics.Flow(rtol=1e-5),
    "tsit5": lr.dynamics.Flow(rtol=1e-8, method="tsit5"),
    "limit": lr.dynamics.SmallDecayLimit(),
    "rock2": lr.dynamics.Flow(rtol=1e-6, method="rock2"),
    "descent": lr.dynamics.GradientDescent(),
    "sgd": lr.dynamics.SGD(batch_size=2, momentum=0.9),
    "adam": lr.dynamics.Adam(batch_size=4),
    "adamw": lr.dynamics.AdamW(batch_size=4),
    "noise": lr.dynamics.LabelNoiseSGD(batch_size=4),
}


class Stopped(Exception):  # noqa: N818
    pass


def stop_after(num_segments: int) -> Progress:
    left = iter(range(num_segments))

    def progress(reached: float, num_steps: int, so_far: Any = None, /) -> None:
        del reached, num_steps, so_far
        if next(left, None) is None:
            raise Stopped

    return progress


def test_no_dynamics_are_missing():
    kinds = {type(row).__name__ for row in ROWS.values()}
    assert kinds == built_in(AbstractDynamics)


@pytest.mark.slow
@pytest.mark.parametrize("observing", [False, True], ids=["states", "observed"])
@pytest.mark.parametrize("name", ROWS)
def test_a_stopped_run_goes_on_to_the_same_end(name, observing, tmp_path, monkeypatch):
    if observing and name not in ("rosenbrock", "limit", "sgd"):
        return
    monkeypatch.setattr(discrete, "_next_chunk", lambda chunk, seconds: chunk)
    monkeypatch.setattr(discrete, "_FIRST_CHUNK", 40)
    # The reduced flow has two intervals.
    sizes = {"rosenbrock": (2, 400.0), "limit": (2, 400.0), "reduced": (3, 1000.0)}
    depth, t1 = sizes.get(name, (2, 5.0))
    problem = diagonal_problem(depth, lr.losses.Squared(), 0.01, n=6, d=8)
    times = np.linspace(0.0, t1, 23)

    def observe(time, params):
        outputs = problem.model.apply(params, problem.train.x)
        return {"time": time, "test_loss": problem.loss.mean(outputs, problem.train.y)}

    look = observe if observing else None
    kept_at = {"snapshots": t1 * np.array([0.0, 0.11, 0.5, 0.93])}
    whole = ROWS[name].follow(problem, times, silent, look, **kept_at)
    num_stops = 0
    while True:
        checkpoint = Checkpoint(tmp_path / "run", "a run", every=0.0)
        try:
            pieces = ROWS[name].follow(problem, times, stop_after(2), look, checkpoint, **kept_at)
            break
        except Stopped:
            num_stops += 1
    assert num_stops >= 2
    assert (pieces.ending, pieces.effort) == (whole.ending, whole.effort)
    assert bits((pieces.times, pieces.states, pieces.observed, pieces.final)) == bits(
        (whole.times, whole.states, whole.observed, whole.final)
    )
    assert whole.snapshots is not None
    assert len(whole.snapshots.times) == 4
    assert bits(pieces.snapshots) == bits(whole.snapshots)
    # What is complete takes no more steps.
    again = ROWS[name].follow(problem, times, stop_after(0), look, checkpoint, **kept_at)
    assert bits((again.times, again.observed)) == bits((whole.times, whole.observed))


@pytest.mark.slow
def test_a_run_that_changes_its_method_goes_on_to_the_same_end(tmp_path):
    problem, flow = turning_problem(), lr.dynamics.Flow(rtol=1e-5)
    times = np.array([0.0, 0.01, 0.015, 0.02, 0.5, 3.0])
    whole = flow.follow(problem, times, silent)
    assert whole.effort.name == "Tsit5, then DualROS34PW2"
    for num_segments in range(1, 12):
        path = tmp_path / f"{num_segments}"
        checkpoint = Checkpoint(path, "a run", every=0.0)
        try:
            flow.follow(problem, times, stop_after(num_segments), checkpoint=checkpoint)
        except Stopped:
            pieces = flow.follow(problem, times, silent, checkpoint=checkpoint)
            assert (pieces.ending, pieces.effort) == (whole.ending, whole.effort)
            assert bits((pieces.times, pieces.states)) == bits((whole.times, whole.states))
        else:
            break
    assert num_segments > 3


# --- Through the front door, and through SIGKILL. ---


def completion(name: str) -> lr.Experiment:
    """Matrix completion small enough that a process's start takes longer than its solve."""
    fields: dict[str, Any] = {
        "flow": {"dynamics": lr.dynamics.Flow(rtol=1e-6), "init_scale": 10.0, "t1": 1e5},
        "sgd": {
            "dynamics": lr.dynamics.SGD(learning_rate=1e-3, batch_size=8, momentum=0.9),
            "t1": 3.0,
        },
    }[name]
    return lr.Experiment(
        task=lr.tasks.MatrixCompletion(d=12, num_observed=60),
        model=lr.models.MatrixFactorisation(size=12),
        loss=lr.losses.Squared(),
        weight_decay=1e-3,
        probes=("train_loss", "test_loss", "param_norm"),
        **fields,
    )


@pytest.mark.slow
def test_only_the_same_experiment_goes_on(tmp_path, monkeypatch):
    monkeypatch.setattr(_simulate, "Checkpoint", functools.partial(Checkpoint, every=0.0))
    path, experiment = tmp_path / "run", completion("sgd")
    whole = lr.simulate(experiment, checkpoint=path)
    before = path.read_bytes()
    told: list[str] = []
    again = lr.simulate(experiment, checkpoint=path, listener=lambda *word: told.append(word[2]))
    assert not any(told)  # no step was taken
    assert_same_record(again, whole)
    params = experiment.model.init(jr.key(0), 2)
    for changes, own in (
        ({"seed": 1}, None),
        ({"weight_decay": 2e-3}, None),
        ({"dynamics.momentum": 0.8}, None),
        ({"probes": ("train_loss", "test_loss")}, None),
        ({}, params),
    ):
        with pytest.raises(lr.InputError, match=r"^checkpoint = .* is of another run") as error:
            lr.simulate(experiment.with_changes(changes), params=own, checkpoint=path)
        assert str(path) in str(error.value)
        assert path.read_bytes() == before


def live(name: str, folder: str, plan: str) -> None:
    """A process's life: a run with a checkpoint, and how it dies, if it does.

    It says on its output where it goes on from and every segment it has finished.
    """
    wanted = json.loads(plan)
    patch = pytest.MonkeyPatch()
    saves = segments = 0

    def die() -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    class Telling(Checkpoint):
        """Writes after every segment, and dies in the middle of the write it is told to."""

        def load(self, like: Any) -> Any:
            loaded = super().load(like)
            count = 0 if loaded is None else getattr(loaded, "num_accepted", loaded.step)
            print("from", int(count), flush=True)
            return loaded

        def save(self, state: Any) -> None:
            nonlocal saves
            saves += 1
            if wanted["how"] == "writing" and saves == wanted["when"]:
                patch.setattr(np, "savez", broken)
            super().save(state)

    savez = np.savez

    def broken(file: Any, **arrays: Any) -> None:
        savez(file, **arrays)
        file.truncate(int(wanted["part"] * file.tell()))
        file.flush()
        die()

    def listen(stage: str, fraction: float | None, detail: str = "") -> None:
        nonlocal segments
        del stage, fraction
        if not detail:
            return
        segments += 1
        print("segment", segments, flush=True)
        if wanted["how"] == "stepping" and segments == wanted["when"]:
            die()
        time.sleep(0.005)  # leaves time to be killed from outside

    patch.setattr(_simulate, "Checkpoint", functools.partial(Telling, every=0.0))
    patch.setattr(discrete, "_next_chunk", lambda chunk, seconds: chunk)
    patch.setattr(discrete, "_FIRST_CHUNK", wanted["chunk"])
    path = None if wanted["how"] == "uninterrupted" else Path(folder) / "run"
    record = lr.simulate(completion(name), listener=listen, checkpoint=path)
    lr.save_record(record, Path(folder) / "record.nc")


class Life(NamedTuple):
    killed: bool
    begun: int  # steps behind it when it went on
    segments: int


def nursery() -> None:
    """Forks a life for each line that comes in: what takes long to import is imported once."""
    for line in sys.stdin:
        name, folder, plan = json.loads(line)
        child = os.fork()
        if child == 0:
            with (Path(folder) / "errors").open("w") as errors:
                os.dup2(errors.fileno(), 2)
                try:
                    live(name, folder, plan)
                    os._exit(0)
                except BaseException:
                    traceback.print_exc()
                    os._exit(1)
        print("born", child, flush=True)
        print("died", os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)


@contextlib.contextmanager
def lives_of(name: str, cache: Path) -> Iterator[Callable[[Path, dict[str, Any]], Life]]:
    """Lives in processes of their own, one after the other, that share what they compile."""
    environment = {
        **os.environ,
        "JAX_COMPILATION_CACHE_DIR": str(cache),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
    }
    command = [sys.executable, "-c", "from tests.test_checkpoint import nursery; nursery()"]
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, cwd=ROOT, env=environment, **pipes) as parent:

        def live_out(folder: Path, plan: dict[str, Any]) -> Life:
            assert parent.stdin is not None
            assert parent.stdout is not None
            print(json.dumps([name, str(folder), json.dumps(plan)]), file=parent.stdin, flush=True)
            child = begun = segments = 0
            for line in parent.stdout:
                word, number = line.split()[0], int(line.split()[1])
                if word == "died":
                    assert number in (0, -signal.SIGKILL), (folder / "errors").read_text()
                    return Life(number != 0, begun, segments)
                child = number if word == "born" else child
                begun = number if word == "from" else begun
                segments = number if word == "segment" else segments
                if (word, plan["how"], segments) == ("segment", "outside", plan.get("when")):
                    time.sleep(plan["delay"])
                    os.kill(child, signal.SIGKILL)
            raise AssertionError("the nursery is gone")

        yield live_out
        assert parent.stdin is not None
        parent.stdin.close()


@pytest.mark.slow
@pytest.mark.parametrize("name", ["flow", "sgd"])
def test_kills_at_random_moments_leave_the_record_the_same(name, tmp_path):
    seed = {"flow": 0, "sgd": 1}[name]
    rng = np.random.default_rng(seed)

    def fresh(folder: str) -> Path:
        (tmp_path / folder).mkdir()
        return tmp_path / folder

    with lives_of(name, tmp_path / "cache") as live_out:
        live_and_die(fresh, live_out, rng)


def live_and_die(fresh: Any, live_out: Any, rng: Any) -> None:
    whole = fresh("whole")
    # Also fills the cache: no process is killed while it writes to it.
    life = live_out(whole, {"how": "uninterrupted", "chunk": 70})
    assert not life.killed
    expected = lr.open_record(whole / "record.nc")
    assert expected.attrs["ending"] == "completed"
    assert json.loads(expected.attrs["solver"])["num_steps"] > 500

    kills: list[str] = []
    num_chains = 0
    while len(kills) < 10:
        folder, begun = fresh(f"chain{num_chains}"), -1
        num_chains += 1
        while True:
            plan = {
                "how": str(rng.choice(["stepping", "writing", "outside"])),
                "when": int(rng.integers(2, 5)),
                "part": rng.uniform(),
                "delay": rng.uniform(0.0, 0.02),
                "chunk": int(rng.integers(40, 100)),
            }
            if len(kills) >= 10:
                plan["how"] = "never"
            life = live_out(folder, plan)
            # Each goes on from later than the one before: at least one segment was kept.
            assert life.begun > begun
            begun = life.begun
            if not life.killed:
                break
            kills.append(str(plan["how"]))
        assert begun > 0
        assert_same_record(lr.open_record(folder / "record.nc"), expected)
    assert len(kills) == 10
    assert set(kills) == {"stepping", "writing", "outside"}

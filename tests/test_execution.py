"""Doing sweeps: failures, limits, interruptions, and what becomes of them."""

import contextlib
import dataclasses
import hashlib
import json
import logging
import os
import random
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cloudpickle
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import psutil
import pytest
import xarray as xr

import lazyrich as lr
from lazyrich.sweeps import Sweep
from lazyrich.sweeps._execution import (
    Progress,
    driver,
    estimate,
    run_sweep,
    suggested_size,
    worker_pool,
    workers,
)
from lazyrich.sweeps._execution.batch import Done, Job, run_batch
from lazyrich.sweeps._store import Store
from tests.test_sweep import tiny_experiment

ROOT = Path(__file__).parent.parent
BASE = tiny_experiment(model=lr.models.CommitteeMachine(width=2))
OVER: Any = {"init_scale": [1.0, 3.0], "seed": range(3)}


@pytest.fixture(scope="module", autouse=True)
def compiled(tmp_path_factory) -> Iterator[None]:
    """One cache of compiled code for all processes that are started here."""
    with pytest.MonkeyPatch.context() as patch:
        cache = tmp_path_factory.mktemp("compiled")
        patch.setenv("JAX_COMPILATION_CACHE_DIR", str(cache))
        patch.setenv("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")
        yield


@pytest.fixture(scope="module")
def two() -> Iterator[Any]:
    """Two worker processes."""
    with worker_pool(2, None) as pool:
        yield pool


def here(over: Any, store: Any, experiment: lr.Experiment = BASE, **options: Any) -> xr.Dataset:
    return lr.sweep(experiment, over, store, workers=0, **{"batch_size": 2, **options})


def planned(over: Any = OVER, size: int = 2, experiment: lr.Experiment = BASE) -> Sweep:
    return Sweep.over(experiment, over, size)


def stamps(store: Path) -> dict[str, int]:
    return {path.name: path.stat().st_mtime_ns for path in (store / "batches").glob("*.nc")}


def tree(store: Path) -> str:
    """A hash of all bytes that a store comes to."""
    out = store.parent / f"{store.name}.zarr"
    lr.consolidate(store, out)
    digest = hashlib.sha256()
    for path in sorted(p for p in out.rglob("*") if p.is_file()):
        digest.update(str(path.relative_to(out)).encode() + path.read_bytes())
    return digest.hexdigest()


# --- Runs that fail. ---

BAD = (1, 4)


def _is_bad(key: Any) -> bool:
    bad = [jr.split(jr.key(seed))[1] for seed in BAD]
    return any(bool(jnp.all(jr.key_data(key) == jr.key_data(other))) for other in bad)


def start(key: Any, dim: int) -> Any:
    if not isinstance(key, jax.core.Tracer) and _is_bad(key):
        raise ValueError("no start for this λ seed\nand more below")
    return 0.1 * jr.normal(key, (dim,))


def linear(params: Any, x: Any) -> Any:
    return x @ params


OWN = tiny_experiment(model=lr.models.Functions(init_params=start, function=linear, degree=1))


@pytest.mark.slow
def test_a_run_that_raises_is_recorded_and_the_others_are_not_harmed(tmp_path, two):
    store = tmp_path / "s"
    told: list[Progress] = []
    found = here({"seed": range(6)}, store, OWN, batch_size=3, listener=told.append)
    good = [seed for seed in range(6) if seed not in BAD]
    assert found["outcome"].sel(seed=list(BAD)).values.tolist() == ["failed"] * 2
    assert found["ending"].sel(seed=list(BAD)).values.tolist() == ["failed"] * 2
    assert np.isnan(found["test_loss"].sel(seed=list(BAD))).all()
    for seed in good:
        record = lr.simulate(OWN.with_changes({"seed": seed}))
        np.testing.assert_array_equal(found["test_loss"].sel(seed=seed), record["test_loss"])
    (state,) = lr.status(store)
    assert (state.num_done, state.num_failed, state.outcomes["failed"]) == (6, 2, 2)
    assert told[-1].num_failed == 2
    kept = Store(store)
    messages = [kept.read(name).about["errors"] for name in kept.files()]
    why = "draws no parameters for 60 inputs: ValueError: no start for this λ seed"
    assert messages == [{"1": f"InputError: model = 'Functions': {why}"}] * 2
    # Nothing is tried again, and a sweep with a model of one's own is read as any other.
    before = stamps(store)
    assert here({"seed": range(6)}, store, OWN, batch_size=3).identical(found)
    assert stamps(store) == before
    assert lr.open_store(store).identical(found.assign_attrs(lr.open_store(store).attrs))
    # The same in other processes, which find the functions by their module.
    other = tmp_path / "other"
    run_sweep(planned({"seed": range(6)}, 3, OWN), other, two)
    np.testing.assert_array_equal(lr.open_store(other)["outcome"], found["outcome"])
    errors = [Store(other).read(name).about["errors"] for name in Store(other).files()]
    assert errors == messages


@pytest.mark.slow
def test_all_runs_of_a_batch_may_fail(tmp_path):
    found = here({"seed": list(BAD)}, tmp_path, OWN)
    assert found["outcome"].values.tolist() == ["failed"] * 2
    assert "test_loss" not in found
    assert here({"seed": [0, *BAD]}, tmp_path, OWN)["outcome"].values[0] != "failed"


class Stays:
    """A model's function that no other process can have."""

    def __call__(self, params: Any, x: Any) -> Any:
        return x @ params

    def __reduce__(self) -> Any:
        raise TypeError("stays here")


@pytest.mark.slow
def test_what_cannot_be_sent_to_a_process_says_so(tmp_path, two):
    model = lr.models.Functions(init_params=start, function=Stays())
    own = tiny_experiment(model=model)
    with pytest.raises(lr.InputError, match=r"cannot be sent to another process, use workers=0"):
        run_sweep(planned({"seed": [0]}, 1, own), tmp_path / "s", two)
    assert here({"seed": [0]}, tmp_path / "s", own)["outcome"].values[0] != "failed"


# --- Limits. ---


@pytest.mark.slow
def test_nothing_is_begun_that_would_not_fit(tmp_path, monkeypatch):
    now = [0.0]

    def slow(store: Store, job: Any) -> Done:
        now[0] += 10.0
        return dataclasses.replace(run_batch(store, job), seconds=10.0)

    with monkeypatch.context() as patch:
        patch.setattr(driver, "run_batch", slow)
        patch.setattr(time, "monotonic", lambda: now[0])
        with worker_pool(0, None) as pool:
            # Two of three fit into 30 seconds with a margin: the third would end on the dot.
            assert run_sweep(planned(), tmp_path / "s", pool, walltime=30.0) == 2
            assert now[0] == 20.0
    (state,) = lr.status(tmp_path / "s")
    assert (state.num_done, state.num_missing) == (4, 2)
    # How long batches take is known from the files: not even the first is begun.
    before = stamps(tmp_path / "s")
    with worker_pool(0, None) as pool:
        assert run_sweep(planned(), tmp_path / "s", pool, walltime=1e-4) == 2
    assert stamps(tmp_path / "s") == before
    with worker_pool(0, None) as pool:
        assert run_sweep(planned(), tmp_path / "s", pool, walltime=1e6) == 0
    assert here(OVER, tmp_path / "s").identical(here(OVER, tmp_path / "t"))


class Watched:
    """A client that counts what is with its scheduler at a time."""

    def __init__(self, client: Any):
        self._client, self.most = client, 0
        self._futures: list[Any] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)

    def submit(self, *args: Any, **kwargs: Any) -> Any:
        future = self._client.submit(*args, **kwargs)
        self._futures.append(future)
        self.most = max(self.most, sum(not future.done() for future in self._futures))
        return future


@pytest.mark.slow
@pytest.mark.parametrize(("limits", "most"), [({"max_running": 1}, 1), ({"walltime": 1e6}, 2)])
def test_no_more_is_handed_out_than_asked_for(limits, most, tmp_path, two):
    watched = Watched(two.client())
    pool = workers.WorkerPool(contextlib.ExitStack(), 0, None)
    pool._client = watched
    watched.wait_for_workers(2)
    run_sweep(planned(size=1), tmp_path / "s", pool, **limits)
    assert watched.most == most
    assert (lr.open_store(tmp_path / "s")["outcome"] != "missing").all()


@pytest.mark.slow
def test_a_scheduler_that_remembers_a_batch_does_not_keep_its_file_from_being_written(
    tmp_path, two
):
    watched = Watched(two.client())  # holds every result, so the scheduler does not forget it
    pool = workers.WorkerPool(contextlib.ExitStack(), 0, None)
    pool._client = watched
    run_sweep(planned(), tmp_path / "s", pool)
    run_sweep(planned(), tmp_path / "t", pool)  # the same sweep into another store
    assert (lr.open_store(tmp_path / "t")["outcome"] != "missing").all()
    kept = Store(tmp_path / "s")
    (tmp_path / "s" / "batches" / kept.files()[0]).unlink()
    run_sweep(planned(), tmp_path / "s", pool)  # and again what was lost since
    assert (lr.open_store(tmp_path / "s")["outcome"] != "missing").all()


class LosesResults(Watched):
    """A client that loses the result of every first try, after the batch has ended."""

    def submit(self, *args, key, **options):
        future = super().submit(*args, key=key, **options)
        if "-try0-" in key:

            def lost():
                raise RuntimeError("its worker died, and those that computed it again")

            future.result = lost
        return future


@pytest.mark.slow
def test_a_result_that_is_lost_with_its_worker_is_fetched_again(tmp_path, two):
    pool = workers.WorkerPool(contextlib.ExitStack(), 0, None)
    pool._client = LosesResults(two.client())
    assert run_sweep(planned(), tmp_path / "s", pool) == 0
    assert (lr.open_store(tmp_path / "s")["outcome"] != "missing").all()


def test_batches_are_of_a_size_that_suits_the_experiment():
    assert suggested_size(BASE) == 64
    assert [suggested_size(BASE, n) for n in (1, 8, 9, 80, 10_000)] == [1, 1, 2, 10, 64]
    large = lr.Experiment(task=lr.tasks.SparseClassification(n=256, d=100_000, num_test=10))
    assert suggested_size(large) == 1
    # A net of any width that is followed by its statistics: these are 40 + 40 * 40 numbers.
    net = lr.models.CommitteeMachine(width=2_000)
    task = lr.tasks.PolynomialRegression(n=500, d=40, num_test=10)
    wide = lr.Experiment(task=task, model=net, dynamics=lr.dynamics.Flow())
    assert suggested_size(wide) == 1
    closure = wide.with_changes({"dynamics.closure": True})
    assert suggested_size(closure) == int(2e8 / (32 * 500 * 1640)) == 7
    centred = closure.with_changes({"model": lr.models.Centred(model=net)})
    assert suggested_size(centred) == 3


@pytest.mark.slow
def test_an_estimate_counts_and_measures():
    over: Any = {"init_scale": [1.0, 3.0], ("task.n", "t1"): [(16, 5.0), (16, 20.0)]}
    found = estimate(planned(over, size=2), workers=2)
    assert (found.num_runs, found.num_batches, found.num_shapes) == (4, 2, 2)
    # Runs of 50 and of 200 steps, all of them in the sample.
    assert found.num_sampled == 4
    assert found.gradients == 2 * 50 + 2 * 200
    assert found.hours > 0
    assert "runs             4" in str(found)


# --- Processes. ---


@pytest.mark.slow
def test_workers_do_what_this_process_does(tmp_path, two):
    run_sweep(planned(), tmp_path / "s", two)
    found, alone = lr.open_store(tmp_path / "s"), here(OVER, tmp_path / "t")
    assert found["outcome"].identical(alone["outcome"])
    for name in BASE.probes:  # other flags: the last bits may differ
        np.testing.assert_allclose(found[name], alone[name], rtol=1e-9)
    kept = Store(tmp_path / "s")
    about = kept.read(kept.files()[0]).about
    assert workers.ENVIRONMENT["XLA_FLAGS"] in about["environment"]["XLA_FLAGS"]
    assert about["environment"]["PJRT_NPROC"] == "1"


DRIVER = """
import json, sys, time
import lazyrich as lr
from tests.test_execution import BASE
store, over, options, wait = sys.argv[1], *map(json.loads, sys.argv[2:5])
print("ready", flush=True)
sys.stdin.readline() if wait else None
lr.sweep(BASE, over, store, **options)
"""


def start_driver(store: Path, over: Any, wait: bool = False, **options: Any) -> Any:
    arguments = [str(store), *map(json.dumps, (over, options, wait))]
    return subprocess.Popen(
        [sys.executable, "-c", DRIVER, *arguments], cwd=ROOT, text=True,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip


@pytest.mark.slow
def test_two_processes_do_one_sweep_and_no_harm(tmp_path):
    over = {"init_scale": [1.0, 3.0, 9.0], "seed": list(range(8))}
    options = {"workers": 0, "batch_size": 1}
    drivers = [start_driver(tmp_path / "s", over, True, **options) for _ in range(2)]
    for process in drivers:
        process.stdout.readline()
    for process in drivers:
        process.stdin.write("\n")
        process.stdin.flush()
    errors = [process.communicate(timeout=120)[1] for process in drivers]
    assert errors == ["", ""]
    assert [process.returncode for process in drivers] == [0, 0]
    here(over, tmp_path / "alone", batch_size=1)
    assert tree(tmp_path / "s") == tree(tmp_path / "alone")
    assert not list((tmp_path / "s").rglob(".*"))


def gone(processes: list[psutil.Process], seconds: float) -> bool:
    _, alive = psutil.wait_procs(processes, timeout=seconds)
    return not [p for p in alive if p.status() != psutil.STATUS_ZOMBIE]


def layered(activation: Any) -> lr.models.Functions:
    """A model made by a closure, which is pickled by its code."""

    def init_params(key, dim):
        return jr.normal(key, (3, dim))

    def function(params, x):
        return activation(x @ params.T).sum(1)

    return lr.models.Functions(init_params=init_params, function=function, kinks=True)


@pytest.mark.slow
def test_hashes_in_a_store_are_those_of_the_driver(tmp_path):
    # Read back from a pickle, `relu` refers to other functions than the one that JAX holds.
    own, over = tiny_experiment(model=layered(jax.nn.relu)), {"seed": range(2)}
    read_back = cloudpickle.loads(cloudpickle.dumps(own))
    assert read_back.content_hash != own.content_hash
    described = planned(over, 1, own)
    kept = Store.begin(tmp_path / "s")
    kept.add(described)
    for batch in list(kept.missing(described)):
        job = Job.of(kept, described, batch)
        run_batch(kept, cloudpickle.loads(cloudpickle.dumps(job)))
    found = lr.open_store(tmp_path / "s")
    assert found["ending"].values.tolist() == ["completed"] * 2
    expected = [own.with_changes({"seed": seed}).content_hash for seed in range(2)]
    assert found["experiment_hash"].values.tolist() == expected


@pytest.mark.slow
def test_an_interrupted_sweep_sends_its_workers_home(tmp_path, two):
    store, over = tmp_path / "s", {"seed": range(30)}
    before = set(psutil.Process().children(recursive=True))
    found: list[psutil.Process] = []

    def interrupt(progress: Any) -> None:
        if progress.num_done >= 3:
            found.extend(set(psutil.Process().children(recursive=True)) - before)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        lr.sweep(BASE, over, store, workers=1, batch_size=1, listener=interrupt)
    assert len(found) >= 2
    assert gone(found, 5)
    num_done = len(stamps(store))
    assert 3 <= num_done < 30
    kept = stamps(store)
    run_sweep(planned(over, 1), store, two)
    assert {name: stamps(store)[name] for name in kept} == kept
    run_sweep(planned(over, 1), tmp_path / "t", two)
    assert tree(store) == tree(tmp_path / "t")


@pytest.mark.slow
def test_a_driver_that_is_killed_leaves_nobody_behind(tmp_path):
    store, over = tmp_path / "s", {"seed": list(range(2000))}
    with start_driver(store, over, workers=1, batch_size=1) as process:
        deadline = time.monotonic() + 60
        while not (store / "batches").exists() or len(stamps(store)) < 3:
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.05)
        children = psutil.Process(process.pid).children(recursive=True)
        assert len(children) >= 2
        process.kill()
        process.wait()
    # They hear of it as the scheduler does not answer any more.
    assert gone(children, 60)
    num_done = len(stamps(store))
    assert 3 <= num_done < 2000
    assert Store(store).check(Store(store).files()) == {}
    (state,) = lr.status(store)
    assert state.num_done == num_done
    assert len(list((store / "running").iterdir())) == 1  # it could not take back its sign


def test_workers_that_cannot_be_there_end_a_sweep(tmp_path, monkeypatch):
    monkeypatch.setattr(workers, "_WORKER", ("--no-such-option",))
    with (
        worker_pool(1, None) as pool,
        pytest.raises(lr.ComputationError, match=r"no-such-option") as error,
    ):
        run_sweep(planned(), tmp_path / "s", pool)
    assert "\n" not in str(error.value)


def test_an_address_without_a_scheduler_is_refused(tmp_path):
    with pytest.raises(lr.InputError, match=r"^scheduler = 'nonsense://x'"):
        lr.sweep(BASE, OVER, tmp_path, scheduler="nonsense://x")


@pytest.mark.slow
def test_kills_at_random_moments_change_nothing(tmp_path, two, monkeypatch):
    # Workers are killed while they start, compute and write; each kill loses a batch at most.
    slow = BASE.with_changes({"dynamics.learning_rate": 2e-4})
    sweep = planned({"init_scale": [1.0, 3.0], "seed": range(15)}, 2, slow)
    store, seed = tmp_path / "killed", 0
    rng = random.Random(seed)
    kills: list[int] = []

    def told(process: psutil.Process) -> str:
        """Its command line; nothing once it has ended, reaped or not."""
        with contextlib.suppress(psutil.NoSuchProcess):
            return " ".join(process.cmdline())
        return ""

    def victims() -> list[psutil.Process]:
        """Worker processes, the oldest first; not their nannies."""
        found: list[psutil.Process] = []
        for nanny in psutil.Process().children():
            if address in told(nanny):
                with contextlib.suppress(psutil.NoSuchProcess):
                    found += nanny.children()
        # Their times of birth are known since they were listed, even if they are gone by now.
        workers = [process for process in found if "spawn_main" in told(process)]
        return sorted(workers, key=lambda process: process.create_time())

    def kill() -> None:
        while len(kills) < 20:
            done = len(stamps(store))
            if len(kills) % 6 == 5:
                # Let them come to work, and hit the one that has been at it for longer.
                # A worker takes ten seconds to come on a busy machine.
                deadline = time.monotonic() + 90
                while len(stamps(store)) == done and time.monotonic() < deadline:
                    time.sleep(0.01)
                time.sleep(rng.uniform(0.0, 0.3))
                chosen = victims()[:1]
            else:
                time.sleep(rng.uniform(0.02, 0.5))
                found = victims()
                chosen = rng.sample(found, 1) if found else []
            with contextlib.suppress(psutil.NoSuchProcess):
                for victim in chosen:
                    victim.kill()
                    kills.append(len(stamps(store)))

    # What dask has to say of lost workers is not for the user.
    logged: list[logging.LogRecord] = []
    handler = logging.Handler()
    monkeypatch.setattr(handler, "emit", logged.append)
    for name in ("distributed", "distributed.client"):
        monkeypatch.setattr(logging.getLogger(name), "handlers", [handler])
    with worker_pool(2, None) as pool:
        client = pool.client()
        address = client.scheduler.address
        client.wait_for_workers(2)
        killer = threading.Thread(target=kill)
        killer.start()
        run_sweep(sweep, store, pool)
        during = len(kills)
        killer.join()
    run_sweep(sweep, tmp_path / "undisturbed", two)
    assert [record.getMessage() for record in logged] == []
    # Most kills came before the sweep was done, some of them after work was.
    assert during >= 15, kills
    assert 0 < kills[during - 1] <= 15, kills
    assert tree(store) == tree(tmp_path / "undisturbed")


@pytest.mark.slow
def test_a_scheduler_and_workers_started_by_hand(tmp_path, two):
    environment = {**os.environ, **workers.ENVIRONMENT}
    environment["XLA_FLAGS"] = f"{os.environ['XLA_FLAGS']} {workers.ENVIRONMENT['XLA_FLAGS']}"
    dask = str(Path(sys.executable).with_name("dask"))
    file = tmp_path / "scheduler.json"
    quiet: Any = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "cwd": tmp_path}
    command = [dask, "scheduler", "--host", "127.0.0.1", "--port", "0", "--no-dashboard"]
    scheduler = subprocess.Popen([*command, "--scheduler-file", str(file)], **quiet)
    started = [scheduler]
    try:
        deadline = time.monotonic() + 30
        while not file.exists() or not file.read_text():
            assert time.monotonic() < deadline
            time.sleep(0.05)
        address = json.loads(file.read_text())["address"]
        # Where they find this project's tests, as a user's module would be found.
        environment["PYTHONPATH"] = str(ROOT)
        worker = [dask, "worker", address, "--nthreads", "1", "--no-dashboard"]
        started += [subprocess.Popen(worker, env=environment, **quiet) for _ in range(2)]
        found = lr.sweep(BASE, OVER, tmp_path / "s", scheduler=address, batch_size=2)
        assert (found["outcome"] != "missing").all()
        run_sweep(planned(), tmp_path / "embedded", two)
        assert tree(tmp_path / "s") == tree(tmp_path / "embedded")

        # And now it is lost.
        def lose(progress: Any) -> None:
            if progress.num_done == 4:
                scheduler.kill()

        more = {"seed": range(3, 1000)}
        with pytest.raises(lr.ComputationError, match=rf"scheduler at {address} is gone") as error:
            lr.sweep(BASE, more, tmp_path / "s", scheduler=address, batch_size=1, listener=lose)
        assert "\n" not in str(error.value)
        assert str(tmp_path / "s") in str(error.value)
    finally:
        for process in started:
            process.kill()
            process.wait()
    assert Store(tmp_path / "s").check(Store(tmp_path / "s").files()) == {}

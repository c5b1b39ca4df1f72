"""A sweep to which everything happens that can happen, and what becomes of it.

python benchmarks/fault_drill.py [NUM_RUNS]

One sweep is done undisturbed, and once more while the disk fills up, workers and drivers are
killed, the scheduler is lost, files are damaged, two processes write at once and the clock
jumps by hours. Both are consolidated, and their bytes compared. Takes some minutes; needs
the right to mount a small tmpfs for the full disk, and leaves that out without.
"""

import argparse
import contextlib
import hashlib
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import psutil

import lazyrich as lr
from lazyrich.sweeps import Sweep, batches
from lazyrich.sweeps._execution import workers
from lazyrich.sweeps._store import Store

EXPERIMENT = lr.Experiment(
    task=lr.tasks.SparseClassification(n=16, d=60, num_test=50),
    model=lr.models.CommitteeMachine(width=2),
    dynamics=lr.dynamics.SGD(learning_rate=5e-3),
    weight_decay=1e-2,
    t1=20.0,
    times=lr.dynamics.Times(num_log=20, num_linear=5),
    probes=("train_loss", "test_loss", "train_accuracy", "test_accuracy"),
)
BATCH_SIZE = 10
NUM_KILLS = 24
HOURS = 3600.0

# Found by every Python that is started with its folder on the path: the time of day is off by
# some hours, and by others every second.
CLOCK = """
import time
_true = time.time
def _jumping():
    return _true() + 3600.0 * ((7 * int(time.monotonic())) % 13 - 6)
time.time = _jumping
"""


def over(num_runs: int) -> dict[str, Any]:
    return {"init_scale": np.geomspace(0.3, 3, 10), "seed": range(num_runs // 10)}


def drive(store: str, num_runs: int, num_workers: int, scheduler: str | None) -> None:
    """The life of a process that runs the sweep."""
    try:
        lr.sweep(
            EXPERIMENT,
            over(num_runs),
            store,
            workers=num_workers,
            scheduler=scheduler,
            batch_size=BATCH_SIZE,
        )
    except (lr.ComputationError, lr.InputError) as error:
        print(error)
        sys.exit(1)


class Drill:
    """One store and what is done to it; `rows` tells it."""

    def __init__(self, folder: Path, num_runs: int):
        self.folder, self.num_runs = folder, num_runs
        self.sweep = Sweep.over(EXPERIMENT, over(num_runs), BATCH_SIZE)
        self.num_batches = sum(1 for _ in batches(self.sweep))
        self.rng = random.Random(0)
        self.num_kills = 0
        self.rows: list[tuple[str, str]] = []
        self.environment = {
            **os.environ,
            "JAX_COMPILATION_CACHE_DIR": str(folder / "compiled"),
            "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        }

    def note(self, what: str, how: str) -> None:
        self.rows.append((what, how))
        print(f"  {what:<44} {how}", flush=True)

    def driver(self, store: Path, num_workers: int = 2, **environment: str) -> Any:
        scheduler = environment.pop("scheduler", "")
        command = [sys.executable, __file__, str(self.num_runs), "--drive", str(store)]
        command += ["--workers", str(num_workers), "--scheduler", scheduler]
        return subprocess.Popen(
            command,
            env={**self.environment, **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def done(self, store: Path) -> int:
        return len(list((store / "batches").glob("*.nc")))

    def wait_for(self, store: Path, count: int, process: Any, meanwhile: Callable[[], Any]) -> None:
        while self.done(store) < min(count, self.num_batches) and process.poll() is None:
            meanwhile()
            time.sleep(0.05)

    def kill_a_worker(self, process: Any, store: Path) -> None:
        """Kills one of a driver's workers, whatever it is at, some time after the next batch.

        Kills at a fixed rate would, on a busy machine, end every worker before its first batch.
        """
        self.wait_for(store, self.done(store) + 1, process, lambda: None)
        time.sleep(self.rng.uniform(0.2, 3.0))
        with contextlib.suppress(psutil.NoSuchProcess):
            found = [
                worker
                for nanny in psutil.Process(process.pid).children()
                for worker in nanny.children()
                if "spawn_main" in " ".join(worker.cmdline())
            ]
            if found:
                self.rng.choice(found).kill()
                self.num_kills += 1

    # --- What happens. ---

    def fill_the_disk(self, disk: Path, store: Path) -> None:
        if subprocess.run(
            ["mount", "-t", "tmpfs", "-o", "size=600k", "tmpfs", str(disk)],
            check=False, capture_output=True,
        ).returncode:  # fmt: skip
            self.note("disk filled up", "left out: no tmpfs can be mounted here")
            return
        process = self.driver(store)
        said, _ = process.communicate()
        count = self.done(store)
        damaged = Store(store).check(Store(store).files())
        assert process.returncode == 1, said
        assert not damaged
        self.note("disk full", f"after {count} batches, exit code 1, none damaged")
        self.note("  it says", said.strip().splitlines()[-1][:100])
        subprocess.run(["mount", "-o", "remount,size=200m", str(disk)], check=True)

    def kill_workers_and_drivers(self, store: Path) -> None:
        for _ in range(3):
            process = self.driver(store)
            begun = self.done(store)
            self.wait_for(store, begun + 1, process, lambda: None)
            self.wait_for(
                store,
                begun + self.num_batches // 10,
                process,
                lambda process=process: self.kill_a_worker(process, store),  # type: ignore[misc]
            )
            assert process.poll() is None, process.communicate()
            family = psutil.Process(process.pid).children(recursive=True)
            process.kill()
            process.communicate()
            num_kills = self.num_kills
            self.note("driver killed", f"at {self.done(store)} batches, {num_kills} worker kills")
            _, alive = psutil.wait_procs(family, timeout=60)
            assert not alive, alive
        process = self.driver(store)
        self.wait_for(store, self.done(store) + 1, process, lambda: None)
        while self.num_kills < NUM_KILLS and process.poll() is None:
            self.kill_a_worker(process, store)
        assert process.poll() is None, process.communicate()
        self.note("workers killed", f"{self.num_kills}, at {self.done(store)} batches")
        process.kill()
        process.communicate()

    def lose_the_scheduler(self, store: Path) -> None:
        with cluster(self.folder, self.environment) as (scheduler, address):
            process = self.driver(store, scheduler=address)
            target = self.done(store) + max(5, self.num_batches // 10)
            self.wait_for(store, target, process, lambda: None)
            scheduler.kill()
            said, _ = process.communicate()
        assert process.returncode == 1, said
        self.note("scheduler killed", f"at {self.done(store)} batches, exit code 1")
        self.note("  it says", said.strip().splitlines()[-1][:100])

    def damage(self, store: Path) -> list[str]:
        chosen = self.rng.sample(sorted((store / "batches").glob("*.nc")), 8)
        for i, path in enumerate(chosen):
            data = bytearray(path.read_bytes())
            if i < 3:
                path.write_bytes(data[: self.rng.randrange(len(data))])
            elif i < 6:
                data[self.rng.randrange(len(data))] ^= 1 << self.rng.randrange(8)
                path.write_bytes(data)
            elif i == 6:
                path.write_bytes(b"")
            else:
                path.write_bytes(chosen[0].with_name(chosen[5].name).read_bytes())
        names = [path.name for path in chosen]
        assert sorted(Store(store).check(names)) == sorted(names)
        self.note("files damaged", "3 cut short, 3 with a bit flipped, 1 emptied, 1 copied over")
        return names

    def two_at_once(self, store: Path) -> None:
        # Each starts on the batches in the same order, so both compute many of the same.
        pair = [self.driver(store, 1) for _ in range(2)]
        target = self.done(store) + max(5, self.num_batches // 6)
        self.wait_for(store, target, pair[0], lambda: None)
        for process in pair:
            process.kill()
            process.communicate()
        self.note("two drivers at once", f"on one store, up to {self.done(store)} batches")

    def jump_the_clock(self, store: Path) -> None:
        place = self.folder / "clock"
        place.mkdir()
        (place / "sitecustomize.py").write_text(CLOCK)
        process = self.driver(store, PYTHONPATH=str(place))
        said, _ = process.communicate()
        assert process.returncode == 0, said
        self.note("clock jumps by up to 12 hours each second", "the sweep finishes")


@contextlib.contextmanager
def cluster(folder: Path, environment: dict[str, str]) -> Iterator[tuple[Any, str]]:
    """A scheduler and two workers, as a user would start them."""
    file = folder / "scheduler.json"
    dask = str(Path(sys.executable).with_name("dask"))
    quiet: Any = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    command = [dask, "scheduler", "--host", "127.0.0.1", "--port", "0", "--no-dashboard"]
    scheduler = subprocess.Popen([*command, "--scheduler-file", str(file)], **quiet)
    started = [scheduler]
    try:
        while not file.exists() or not file.read_text():
            time.sleep(0.05)
        address = json.loads(file.read_text())["address"]
        variables = {**environment, **workers.ENVIRONMENT}
        flags = f"{os.environ.get('XLA_FLAGS', '')} {workers.ENVIRONMENT['XLA_FLAGS']}"
        variables["XLA_FLAGS"] = flags
        worker = [dask, "worker", address, "--nthreads", "1", "--no-dashboard"]
        worker += ["--local-directory", str(folder)]
        started += [subprocess.Popen(worker, env=variables, **quiet) for _ in range(2)]
        yield scheduler, address
    finally:
        for process in started:
            process.kill()
            process.wait()


def tree(folder: Path) -> str:
    digest = hashlib.sha256()
    for path in sorted(p for p in folder.rglob("*") if p.is_file()):
        digest.update(str(path.relative_to(folder)).encode() + path.read_bytes())
    return digest.hexdigest()


def main(num_runs: int) -> None:
    with tempfile.TemporaryDirectory() as scratch, contextlib.ExitStack() as stack:
        folder = Path(scratch)
        drill = Drill(folder, num_runs)
        print(f"{num_runs} runs in {drill.num_batches} batches, two workers")
        begun = time.perf_counter()
        said, _ = drill.driver(folder / "undisturbed").communicate()
        assert drill.done(folder / "undisturbed") == drill.num_batches, said
        print(f"undisturbed: {time.perf_counter() - begun:.0f} s; now with faults")
        begun = time.perf_counter()
        disk = folder / "disk"
        disk.mkdir()
        stack.callback(lambda: subprocess.run(["umount", str(disk)], check=False))
        store = disk / "store"
        drill.fill_the_disk(disk, store)
        drill.kill_workers_and_drivers(store)
        drill.lose_the_scheduler(store)
        names = drill.damage(store)
        drill.two_at_once(store)
        names += drill.damage(store)
        drill.jump_the_clock(store)
        print(f"disturbed: {time.perf_counter() - begun:.0f} s")

        kept = {path.name for path in (store / "damaged").iterdir()}
        assert kept == set(names)
        drill.note("damaged files named and done again", f"{len(kept)}")
        found = lr.open_store(store)
        missing = int((found["outcome"] == "missing").sum())
        hashes = found["experiment_hash"].values.ravel()
        drill.note("runs missing, runs there twice", f"{missing}, {len(hashes) - len(set(hashes))}")
        whole = Store(store).check(Store(store).files())
        drill.note("files, of them damaged", f"{drill.done(store)}, {len(whole)}")
        for name, place in (("disturbed", store), ("undisturbed", folder / "undisturbed")):
            lr.consolidate(place, folder / f"{name}.zarr")
        same = tree(folder / "disturbed.zarr") == tree(folder / "undisturbed.zarr")
        drill.note("consolidated, all bytes as undisturbed", str(same))
        if not same or missing:
            sys.exit(1)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("num_runs", type=int, nargs="?", default=2000)
    parser.add_argument("--drive")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--scheduler", default="")
    given = parser.parse_args()
    if given.drive:
        drive(given.drive, given.num_runs, given.workers, given.scheduler or None)
    else:
        main(given.num_runs)

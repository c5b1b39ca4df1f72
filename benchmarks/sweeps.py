"""What a sweep costs beside its runs: overhead a run against the number of runs.

python benchmarks/sweeps.py [NUM_RUNS ...]

Diagonal nets, n = 32, d = 1,000, alpha x lambda x 25 seeds, on two worker processes. Writes
`sweeps.json` beside this file and `docs/figures/sweeps.png`.

Overhead is what two workers could have computed in the time the sweep took, less what they
spent simulating: planning, hashing, handing out, waiting, transitions, files. Starting the
workers and compiling are told apart from it by a first sweep of a few batches, not counted.
"""

import json
import sys
import tempfile
import time
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np

import lazyrich as lr
from lazyrich.plot.description import Axis, Curve, Figure, Line, Panel, Style
from lazyrich.plot.description.axis import range_of
from lazyrich.sweeps import Sweep, batches
from lazyrich.sweeps._execution import run_sweep, worker_pool
from lazyrich.sweeps._store import Store

RESULTS = Path(__file__).with_name("sweeps.json")
NUM_WORKERS = 2

EXPERIMENT = lr.Experiment(
    task=lr.tasks.SparseClassification(n=32, d=1000, num_test=1000),
    t1=1e5,
    dynamics=lr.dynamics.ReducedFlow(rtol=1e-3),
    times=lr.dynamics.Times(num_log=60, num_linear=20),
    probes=("train_loss", "test_loss", "train_accuracy", "test_accuracy", "param_norm"),
)


def grid(num_runs: int, num_seeds: int = 25) -> Sweep:
    """About as many runs over scales, decays and seeds."""
    side = round((num_runs / num_seeds) ** 0.5)
    over: dict[str, Any] = {
        "init_scale": np.geomspace(1, 1000, side),
        "weight_decay": np.geomspace(1e-3, 1e-1, side),
        "seed": range(num_seeds),
    }
    return Sweep.over(EXPERIMENT, over)


def measure(sweep: Sweep, pool: Any) -> dict[str, float]:
    with tempfile.TemporaryDirectory() as store:
        begun = time.perf_counter()
        run_sweep(sweep, store, pool)
        wall = time.perf_counter() - begun
        kept = Store(store)
        files = kept.files()
        sizes = [(Path(store) / "batches" / name).stat().st_size for name in files]
        simulating = sum(sum(kept.read(name).about["stages"].values()) for name in files)
        begun = time.perf_counter()
        lr.open_store(store)
        opening = time.perf_counter() - begun
        begun = time.perf_counter()
        lr.consolidate(store, Path(store) / "all.zarr")
        consolidating = time.perf_counter() - begun
    num = len(sweep)
    return {
        "runs": num,
        "batches": len(files),
        "seconds": wall,
        "milliseconds a run, simulating": 1e3 * simulating / num,
        "milliseconds a run, overhead": 1e3 * (NUM_WORKERS * wall - simulating) / num,
        "bytes a run": sum(sizes) / num,
        "milliseconds a run, opening": 1e3 * opening / num,
        "milliseconds a run, consolidating": 1e3 * consolidating / num,
    }


def plan(num_runs: int) -> dict[str, float]:
    """Seconds and the peak of memory that planning takes."""
    sweep = grid(num_runs)
    tracemalloc.start()
    begun = time.perf_counter()
    num = sum(1 for _ in batches(sweep))
    seconds = time.perf_counter() - begun
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return {
        "runs": len(sweep),
        "batches": num,
        "seconds": seconds,
        "bytes a run": peak / len(sweep),
    }


_LOOKS = {
    "simulating": Style("#0b3c6f", marker="circle", filled=True),
    "overhead": Style("#d55e00", "dashed", marker="square", filled=True),
    "opening": Style("#4d4d4d", "dotted", marker="up"),
    "consolidating": Style("#8c8c8c", "dashdot", marker="diamond"),
}


def draw(rows: list[dict[str, float]], path: Path) -> None:
    """Milliseconds a run against the number of runs, with 1 ms as a line."""
    runs = np.array([row["runs"] for row in rows], dtype=float)
    curves = []
    for name, style in _LOOKS.items():
        values = np.array([row[f"milliseconds a run, {name}"] for row in rows])
        curves.append(Curve(runs, values, name, style, label=name))
    low, high = range_of(*(curve.y for curve in curves), scale="log")
    one = Line(1.0, "1 ms", Style("#b0b0b0", width=0.9), label="1 ms")
    panel = Panel(
        "cost",
        Axis("runs of the sweep", *range_of(runs, scale="log"), "log"),
        Axis("time a run", low, high, "log", unit="ms"),
        lines=(one,),
        curves=tuple(curves),
    )
    caption = "Milliseconds a run against the number of runs of a sweep."
    lr.plot.draw(Figure((panel,), caption), figsize=(5.6, 3.2)).savefig(path, dpi=200)


def main(sizes: list[int]) -> None:
    rows = []
    with worker_pool(NUM_WORKERS, None) as pool:
        begun = time.perf_counter()
        with tempfile.TemporaryDirectory() as store:
            first = Sweep.over(
                EXPERIMENT, {"seed": range(100, 104), "init_scale": np.arange(1, 65.0)}
            )
            run_sweep(first, store, pool)
        start = time.perf_counter() - begun
        print(f"starting workers, compiling: {start:.1f} s")
        for size in sizes:
            rows.append(measure(grid(size), pool))
            print(json.dumps(rows[-1], indent=1), flush=True)
    plans = [plan(size) for size in (10_000, 100_000, 1_000_000)]
    print(json.dumps(plans, indent=1))
    results = {"seconds to start": start, "sweeps": rows, "plans": plans}
    RESULTS.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    draw(rows, RESULTS.parents[1] / "docs" / "figures" / "sweeps.png")


if __name__ == "__main__":
    main([int(size) for size in sys.argv[1:]] or [100, 400, 2_500, 10_000])

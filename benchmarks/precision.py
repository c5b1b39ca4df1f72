"""What float32 costs in accuracy and brings in speed.

python benchmarks/precision.py [NUM_REPEATS]

Every problem is solved in both precisions in turn, once for compilation and then NUM_REPEATS
times (5 by default). Seconds are processor time of all cores, which other programs disturb less
than wall time, of a run that finds its code compiled and its data and predictors in memory. They
are the median over the repeats. The gain is the median of the ratios of neighbouring runs. Writes
`precision.json` beside this file and prints the table of `docs/explanation/precision.md`.

Accuracy is the distance of the run in float32 from that in float64: the largest distance between
the curves of the test loss, over the largest value, and the relative change of the time at which
the test accuracy has made half of its change. For a flow, the last column contains the same two
numbers for two runs in float64, with the tolerance and with a tenth of it.
"""

import json
import os
import platform
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from sklearn.datasets import load_digits

import lazyrich as lr
from lazyrich.dynamics import Flow, GradientDescent
from lazyrich.models import MLP, DiagonalLinear

RESULTS = Path(__file__).with_name("precision.json")
PRECISIONS = ("float64", "float32")


def digits(n: int = 1000) -> lr.tasks.Arrays:
    """Images of 8 x 8 pixels, the first `n` of them for training."""
    data = load_digits()
    x, y = data.data / 16, data.target
    return lr.tasks.Arrays(x_train=x[:n], y_train=y[:n], x_test=x[n:], y_test=y[n:])


def problems() -> Iterator[tuple[str, lr.Experiment]]:
    """Each problem with the flow and with gradient descent."""
    times = lr.dynamics.Times(num_log=80, num_linear=40)
    common: dict[str, Any] = {
        "times": times,
        "probes": ("train_loss", "test_loss", "train_accuracy", "test_accuracy", "param_norm"),
    }
    diagonal: dict[str, Any] = {
        "task": lr.tasks.SparseClassification(n=128, d=2000, num_test=1000),
        "model": DiagonalLinear(),
        "init_scale": 30.0,
        "weight_decay": 1e-2,
    }
    modular: dict[str, Any] = {
        "task": lr.tasks.ModularArithmetic(p=31, train_fraction=0.7),
        "model": MLP(widths=(256,), outputs=31, activation="quadratic"),
        "loss": lr.losses.CrossEntropy(),
        "weight_decay": 1e-3,
    }
    images: dict[str, Any] = {
        "task": digits(),
        "model": MLP(widths=(256, 256), outputs=10),
        "loss": lr.losses.CrossEntropy(),
        "weight_decay": 1e-3,
    }
    for name, fields, t1, t1_descent, rate in (
        ("diagonal net, n = 128, d = 2,000", diagonal, 400.0, 10.0, 1e-2),
        ("modular addition, p = 31, width 256", modular, 4000.0, 50.0, 5e-2),
        ("digits, two layers of 256", images, 300.0, 20.0, 5e-2),
    ):
        yield name, lr.Experiment(**fields, **common, t1=t1, dynamics=Flow())
        descent = GradientDescent(learning_rate=rate)
        yield name, lr.Experiment(**fields, **common, t1=t1_descent, dynamics=descent)


def curve(record: xr.Dataset, times: np.ndarray) -> np.ndarray:
    return np.interp(times, record["time"].values, record["test_loss"].values)


def distance(record: xr.Dataset, right: xr.Dataset) -> float:
    times = right["time"].values
    exact = curve(right, times)
    return float(np.max(np.abs(curve(record, times) - exact)) / np.max(np.abs(exact)))


def shift(record: xr.Dataset, right: xr.Dataset) -> float:
    ours, theirs = (lr.transition(r).t50 for r in (record, right))
    return float(abs(ours / theirs - 1))


def timed(experiment: lr.Experiment) -> float:
    begun = time.process_time()
    lr.simulate(experiment)
    return time.process_time() - begun


def measure(experiment: lr.Experiment, num_repeats: int) -> dict[str, Any]:
    both = [experiment.with_changes({"precision": name}) for name in PRECISIONS]
    double, single = records = [lr.simulate(each) for each in both]
    seconds = np.array([[timed(each) for each in both] for _ in range(num_repeats)])
    solver = [json.loads(record.attrs["solver"]) for record in records]
    found = {
        "dynamics": type(experiment.dynamics).__name__,
        "solver": [each["name"] for each in solver],
        "endings": [record.attrs["ending"] for record in records],
        "gradients": [each["num_gradients"] for each in solver],
        "steps": [each["num_steps"] for each in solver],
        "seconds": np.median(seconds, axis=0).tolist(),
        "gain": float(np.median(seconds[:, 0] / seconds[:, 1])),
        "distance": distance(single, double),
        "shift": shift(single, double),
        "test_accuracy": [float(record["test_accuracy"][-1]) for record in records],
    }
    if isinstance(experiment.dynamics, Flow):
        finer = both[0].with_changes({"dynamics.rtol": experiment.dynamics.rtol / 10})
        right = lr.simulate(finer)
        found["solver_distance"], found["solver_shift"] = (
            distance(double, right),
            shift(double, right),
        )
    return found


def shown(change: float) -> str:
    """A change of a time; empty if there is no such time."""
    return "" if np.isnan(change) else f"{change:.0e}"


def row(name: str, found: dict[str, Any]) -> str:
    def both(key: str, form: str) -> str:
        return ", ".join(format(value, form) for value in found[key])

    method = found["dynamics"]
    if method == "Flow":
        method = f"`Flow` ({found['solver'][0]})"
    own = found.get("solver_distance")
    cells = [
        name,
        method if "(" in method else f"`{method}`",
        both("gradients", ","),
        both("seconds", ".2f"),
        f"{found['gain']:.2f}",
        f"{found['distance']:.0e}",
        shown(found["shift"]),
        "" if own is None else f"{own:.0e}, {shown(found['solver_shift'])}".rstrip(", "),
    ]
    return f"| {' | '.join(cells)} |"


def main(num_repeats: int) -> None:
    table = [
        "| problem | dynamics | gradients | seconds | gain | distance | change of $t_{50}$ "
        "| the same for a tenth of `rtol` |",
        "|---|---|---|---|---|---|---|---|",
    ]
    machine = {"system": platform.machine(), "cores": os.cpu_count()}
    results: dict[str, Any] = {"machine": machine, "num_repeats": num_repeats, "problems": []}
    for name, experiment in problems():
        found = measure(experiment, num_repeats)
        results["problems"].append({"name": name, **found})
        RESULTS.write_text(json.dumps(results, indent=1) + "\n")
        table.append(row(name, found))
        print(table[-1], file=sys.stderr, flush=True)
    print("\n".join(table))


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 5)

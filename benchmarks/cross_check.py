"""Modular addition by the flow, by gradient descent, and by that extrapolated to steps of zero.

`python benchmarks/cross_check.py` prints the time of every crossing by each, and writes
cross_check.json: p = 23, 128 ReLUs, 450 of 529 pairs, He x 10, the last layer at zero,
weight decay 1e-3. Gradient descent errs in proportion to its rate, so that twice the time at
half the rate less the time at the rate is the flow's, to second order.
"""

import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

import lazyrich as lr
from lazyrich._run.result import machine

RATE = 0.1
LEVELS = {
    "train_accuracy": (0.5, 0.99),
    "test_accuracy": (0.1, 0.5, 0.9),
    "train_loss": (3.0, 1.0, 0.3),
    "test_loss": (6.0, 3.0, 1.5),
}
# An accuracy of 79 pairs is a stair, and where one pair turns moves a crossing by a percent. The
# mean over many levels is of many pairs.
BAND = np.linspace(0.2, 0.8, 25)


def experiment(dynamics: Any) -> lr.Experiment:
    return lr.Experiment(
        task=lr.tasks.ModularArithmetic(p=23, train_fraction=0.85),
        model=lr.models.MLP(widths=(128,), outputs=23, zero_last=True, one_hot=2),
        loss=lr.losses.CrossEntropy(),
        init_scale=10.0,
        weight_decay=1e-3,
        t1=1.5e4,
        dynamics=dynamics,
        times=lr.dynamics.Times(first=1.0, num_log=2000, num_linear=3000),
        probes=(*LEVELS, "param_norm"),
    )


def crossing(times: np.ndarray, values: np.ndarray, level: float, falls: bool) -> float:
    """The first time at which a curve passes a level; a falling one after its peak."""
    begin = int(np.argmax(values)) if falls else 0
    past = (values[begin:] <= level) if falls else (values[begin:] >= level)
    i = begin + int(np.argmax(past))
    if i == begin or not past.any():
        return float("nan")
    share = (level - values[i - 1]) / (values[i] - values[i - 1])
    return float(times[i - 1] + share * (times[i] - times[i - 1]))


def crossings(record: xr.Dataset) -> dict[str, float]:
    """Times at which curves pass levels, and of accuracies the mean over a band of levels."""
    times = record["time"].values
    found = {}
    for name, levels in LEVELS.items():
        values, falls = record[name].values, name.endswith("loss")
        for level in levels:
            found[f"{name} {level:g}"] = crossing(times, values, level, falls)
        if not falls:
            band = [crossing(times, values, level, falls) for level in BAND]
            found[f"{name}, mean of {BAND[0]:g} to {BAND[-1]:g}"] = float(np.mean(band))
    return found


def main() -> None:
    runs = {
        "flow": lr.dynamics.Flow(rtol=3e-3),
        "descent": lr.dynamics.GradientDescent(learning_rate=RATE),
        "descent, half": lr.dynamics.GradientDescent(learning_rate=RATE / 2),
    }
    table, cost = {}, {}
    for name, dynamics in runs.items():
        begun = time.perf_counter()
        record = lr.simulate(experiment(dynamics))
        solver = json.loads(record.attrs["solver"])
        cost[name] = {"gradients": solver["num_gradients"], "seconds": time.perf_counter() - begun}
        table[name] = crossings(record)
        print(f"{name}: {cost[name]}", flush=True)
    half, full = table["descent, half"], table["descent"]
    table["extrapolated"] = {key: 2 * half[key] - full[key] for key in half}
    worst = 0.0
    print(f"{'':<34}" + "".join(f"{name:>16}" for name in table) + "   flow / extrapolated")
    for key in half:
        ratio = table["flow"][key] / table["extrapolated"][key]
        worst = max(worst, abs(ratio - 1))
        print(
            f"{key:<34}" + "".join(f"{t[key]:>16.5g}" for t in table.values()) + f"{ratio:>12.4f}"
        )
    print(f"largest difference: {100 * worst:.2f} %")
    content = {"machine": machine(), "rate": RATE, "cost": cost, "times": table}
    Path(__file__).with_suffix(".json").write_text(json.dumps(content, indent=1) + "\n")


if __name__ == "__main__":
    main()

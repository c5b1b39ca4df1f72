"""One solve of the limit of small decay against runs at every decay of a map over six decades.

python benchmarks/small_decay.py [FAMILY ...]

For each family: the relative difference of t50 between the limit and a run at each decay, the work
of both, and processor seconds. The limit is solved once and moved to every decay; it is also solved
by a sweep over the decays, into a new store. After a first call that compiles, every round solves
the limit, the sweep, and then each run, so that other work on the machine affects all; seconds are
the median over rounds. Prints a table for each family.

A second table compares the limit with the forecast that solves the transition, at each decay.
"""

import json
import math
import statistics
import sys
import tempfile
import time
from typing import Any

import lazyrich as lr

ROUNDS = 2
DECAYS = tuple(10.0**-k for k in range(2, 9))
AT = 1e-5
SPAN = 8.0

FAMILIES: dict[str, dict[str, Any]] = {
    "completion, d = 97, 470 entries": {
        "task": lr.tasks.MatrixCompletion(),
        "model": lr.models.MatrixFactorisation(size=97),
        "init_scale": 10.0,
        "dynamics": lr.dynamics.Flow(rtol=1e-4),
    },
    "diagonal net, d = 400, 60 samples": {
        "task": lr.tasks.SparseRegression(n=60, d=400, k=3, num_test=500),
        "model": lr.models.DiagonalLinear(),
        "init_scale": 10.0,
        "dynamics": lr.dynamics.ReducedFlow(rtol=1e-4),
    },
    "tanh net 10-50-1, 60 samples": {
        "task": lr.tasks.PolynomialRegression(n=60, d=10, num_test=500),
        "model": lr.models.MLP(widths=(50,), activation="tanh"),
        "init_scale": 3.0,
        "dynamics": lr.dynamics.Flow(rtol=1e-4),
    },
}


def solve(fields: dict[str, Any], decay: float) -> tuple[Any, Any, float]:
    """An experiment, its record, and the processor seconds that it takes."""
    probes = ("train_loss", "test_loss", "param_norm")
    experiment = lr.Experiment(
        **fields, loss=lr.losses.Squared(), probes=probes, weight_decay=decay, t1=SPAN / decay
    )
    begun = time.process_time()
    record = lr.simulate(experiment)
    return experiment, record, time.process_time() - begun


def swept(fields: dict[str, Any]) -> float:
    """The processor seconds of a sweep over all decays, with its store and its dataset."""
    probes = ("train_loss", "test_loss", "param_norm")
    experiment = lr.Experiment(**fields, loss=lr.losses.Squared(), probes=probes)
    over = {("weight_decay", "t1"): [(decay, SPAN / decay) for decay in DECAYS]}
    with tempfile.TemporaryDirectory() as store:
        begun = time.process_time()
        lr.sweep(experiment, over, store, workers=0)
        return time.process_time() - begun


def forecasted(experiment: lr.Experiment) -> tuple[lr.Forecast, float]:
    """The forecast that solves the transition, and its processor seconds."""
    begun = time.process_time()
    found = lr.forecast(experiment, passage="solved")
    return found, time.process_time() - begun


def work(record: Any) -> str:
    """Steps, gradients and factored kernels of a solve."""
    found = json.loads(record.attrs["solver"])
    return f"{found['num_steps']} | {found['num_gradients']} | {found['num_jacobians']}"


def shown(time: float | None, decay: float) -> str:
    return "none" if time is None or math.isnan(time) else f"{time * decay:.4f}"


def difference(time: float | None, right: float | None) -> str:
    if time is None or right is None or math.isnan(time / right):
        return ""
    return f"{time / right - 1:+.2%}"


def measure(name: str, fields: dict[str, Any]) -> None:
    slow = fields | {"dynamics": lr.dynamics.SmallDecayLimit()}
    runs: dict[float, Any] = {}
    forecasts: dict[float, lr.Forecast] = {}
    forecast_spent: dict[float, list[float]] = {decay: [] for decay in DECAYS}
    spent: dict[float, list[float]] = {decay: [] for decay in DECAYS}
    limit_spent: list[float] = []
    sweep_spent: list[float] = []
    for _ in range(ROUNDS + 1):
        experiment, limit, seconds = solve(slow, AT)
        begun = time.process_time()
        since = json.loads(limit.attrs["solver"])["methods"][-1]["since"]
        admitted = [decay for decay in DECAYS if decay * since <= 1]
        moved = {decay: lr.at_weight_decay(limit, experiment, decay) for decay in admitted}
        limit_spent.append(seconds + time.process_time() - begun)
        sweep_spent.append(swept(slow))
        for decay in DECAYS:
            run, runs[decay], seconds = solve(fields, decay)
            spent[decay].append(seconds)
            forecasts[decay], seconds = forecasted(run)
            forecast_spent[decay].append(seconds)
    once = statistics.median(limit_spent[1:])
    print(f"\n{name}: fitted at t = {since:.3g}\n")
    print("| decay | run | limit | difference | steps | gradients | kernels | seconds |")
    print("|---|---|---|---|---|---|---|---|")
    t50 = {decay: lr.transition(runs[decay]).t50 for decay in DECAYS}
    slow_t50 = {decay: lr.transition(record).t50 for decay, record in moved.items()}
    for decay in DECAYS:
        right, ours = t50[decay], slow_t50.get(decay)
        gap = difference(ours, right)
        seconds = statistics.median(spent[decay][1:])
        print(f"| {decay:.0e} | {shown(right, decay)} | {shown(ours, decay)} | {gap} | "
              f"{work(runs[decay])} | {seconds:.2f} |", flush=True)  # fmt: skip
    print(f"| limit, all | | | | {work(limit)} | {once:.2f} |")
    means = [statistics.mean(row) for row in zip(*(spent[d][1:] for d in DECAYS), strict=True)]
    for what, found in (("limit, moved", limit_spent), ("sweep", sweep_spent)):
        ratios = [ours / mean for ours, mean in zip(found[1:], means, strict=True)]
        spread = f"{min(ratios):.2f} to {max(ratios):.2f} over {ROUNDS} rounds"
        costs = f"{statistics.median(ratios):.2f} mean runs ({spread})"
        print(f"\n{what}: the map costs {costs}", flush=True)
    print("\n| decay | forecast, solved | seconds | limit | seconds, once for all decays |")
    print("|---|---|---|---|---|")
    for decay in DECAYS:
        gaps = [difference(of, t50[decay]) for of in (forecasts[decay].t50, slow_t50.get(decay))]
        seconds = statistics.median(forecast_spent[decay][1:])
        print(f"| {decay:.0e} | {gaps[0]} | {seconds:.2f} | {gaps[1]} | {once:.2f} |", flush=True)


def main() -> None:
    chosen = sys.argv[1:] or list(FAMILIES)
    for name in chosen:
        full = next(family for family in FAMILIES if family.startswith(name))
        measure(full, FAMILIES[full])


if __name__ == "__main__":
    main()

"""The cheap numbers of the documentation, measured again: `make numbers`.

python benchmarks/page_numbers.py [WORD ...]

Each check has a phrase of a page with `{}` in the place of numbers, and the function that measures
them. A number of the page may differ from the measured one by the share that the check allows, and
by its last digit. With WORDs only the checks whose name contains one of them, also those that are
not cheap. Exit code 1 if a phrase is not on its page, or a number is another one. What pages print
themselves is compared by `tests/test_pages.py`.
"""

import json
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import jax.random as jr
import numpy as np
from small_decay import AT, FAMILIES, solve

import lazyrich as lr

ROOT = Path(__file__).parent.parent
_NUMBER = r"([−-]?[\d,]*\.?\d+)"


class Check(NamedTuple):
    """A phrase of a page, and what measures its numbers."""

    name: str
    page: str
    says: str
    measure: Callable[[], tuple[float, ...]]
    within: float = 0.005
    is_cheap: bool = True


def kept(name: str) -> Any:
    """The numbers that a benchmark has written beside itself."""
    return json.loads((ROOT / "benchmarks" / f"{name}.json").read_text(encoding="utf-8"))


@cache
def completion() -> dict[str, list[float]]:
    """Times of panel lyu2024/3 over its five masks."""
    panel = lr.studies.load("lyu2024/3")
    records = lr.simulate_many([panel.with_changes({"seed": seed}) for seed in range(5)])
    events = [lr.transition(record) for record in records]
    return {key: [getattr(each, key) for each in events] for key in ("t10", "t50", "t90")}


def median_of(key: str) -> tuple[float, ...]:
    """A time of panel lyu2024/3: its median over five masks, the ratio, and the range."""
    panel = lr.studies.load("lyu2024/3")
    assert panel.published is not None
    times, published = completion()[key], panel.published.numbers[key]
    middle = statistics.median(times)
    return published, middle, middle / published, min(times), max(times)


@cache
def limit(family: str) -> float:
    """Half of the change in the limit of small decay, in units of 1/λ."""
    (name,) = [name for name in FAMILIES if name.startswith(family)]
    fields = FAMILIES[name] | {"dynamics": lr.dynamics.SmallDecayLimit()}
    _, record, _ = solve(fields, AT)
    return AT * float(lr.transition(record).t50)


@cache
def forecast_of(panel: str) -> lr.Forecast:
    """The forecast of a panel."""
    thresholds = lr.studies.thresholds(panel)
    return lr.forecast(lr.studies.load(panel), thresholds=thresholds)


def forecast_row(panel: str) -> tuple[float, ...]:
    """End of the kernel phase, half time and its interval."""
    found = forecast_of(panel)
    return found.t_kernel_end, found.t50, *found.t50_interval


def sweep_of_ten_thousand() -> tuple[float, ...]:
    """Milliseconds a run, simulating and overhead, as `benchmarks/sweeps.py` has kept them."""
    largest = kept("sweeps")["sweeps"][-1]
    parts = ("simulating", "overhead")
    return tuple(largest[f"milliseconds a run, {part}"] for part in parts)


def words() -> tuple[float, ...]:
    """How many of the rows of `benchmarks/words.py --kept` the page has."""
    command = [sys.executable, str(ROOT / "benchmarks" / "words.py"), "--kept"]
    rows = subprocess.run(command, capture_output=True, text=True, check=False).stdout.splitlines()
    page = (ROOT / "docs" / "results" / "words.md").read_text(encoding="utf-8")
    return (float(sum(row in page for row in rows[1:])),)


def crossings() -> tuple[float, ...]:
    """The times of a level that `benchmarks/cross_check.py` has kept."""
    times = kept("cross_check")["times"]
    return times["flow"]["test_accuracy 0.5"], times["descent"]["test_accuracy 0.5"]


def tangent_margin() -> tuple[float, ...]:
    """Gap in per cent, margin and bound of the tangent kernel's machine at p = 97."""
    experiment = lr.studies.load("lyu2024/2b")
    data, net = experiment.task.sample(jr.key(0)).train, experiment.model
    start = net.init(jr.key(1), data.x.shape[1])
    found = lr.predictors.tangent_max_margin(net, start, data.x, data.y, tolerance=0.04)
    return 100 * found.gap, found.objective, found.bound


@cache
def clock_of_runs() -> list[tuple[float, ...]]:
    """Of each row of the table, medians over four draws of sparse classification.

    They are the half time and its distance from the end of the kernel phase in units of 1/λ, log I
    at the half time, and how late the textbook time is.
    """
    places = [(10.0, 1e-4), (10.0, 1e-2), (100.0, 1e-3), (1e3, 1e-2), (1e3, 1e-4)]
    keys = ("init_scale", "weight_decay", "t1")
    over = {keys: [(alpha, decay, 16 / decay) for alpha, decay in places], "seed": range(4)}
    with tempfile.TemporaryDirectory() as store:
        panel = lr.studies.load("open/tightness")
        runs = lr.sweep(panel, over, store, workers=0, forecast=True)
    decay = np.array([decay for _, decay in places])[:, None]
    times = runs["t50"].values
    columns = (
        decay * times,
        decay * (times - runs["forecast_t_kernel_end"].values),
        runs["clock"].values,
        runs["textbook"].values / times,
    )
    return [tuple(row) for row in np.median(columns, axis=2).T.tolist()]


TWIN_TIMES = (52.0, 122.0, 231.0, 333.0, 543.0, 3000.0)


@cache
def committee_and_twin() -> list[tuple[float, ...]]:
    """At each time I, and by how many per cent the losses of the net are below its twin's."""
    experiment = lr.Experiment(
        task=lr.tasks.PolynomialRegression(d=8, n=24, num_test=200),
        model=lr.models.CommitteeMachine(width=32, epsilon=0.25),
        loss=lr.losses.Squared(),
        dynamics=lr.dynamics.Flow(),
        t1=TWIN_TIMES[-1],
        probes=("train_loss", "test_loss"),
        times=lr.dynamics.Times(num_log=40, num_linear=10, at=TWIN_TIMES[:-1]),
    )
    found = lr.forecast(experiment)
    known = found.indicator > 0
    log_times, log_sizes = np.log(found.times[known]), np.log(found.indicator[known])
    pair = [lr.simulate(run) for run in (experiment, lr.linearise(experiment))]
    rows = []
    for time_ in TWIN_TIMES:
        net, twin = (record.sel(time=time_, method="nearest") for record in pair)
        less = [100 * float(1 - net[key] / twin[key]) for key in ("train_loss", "test_loss")]
        rows.append((float(np.exp(np.interp(np.log(time_), log_times, log_sizes))), *less))
    return [*rows, (found.t_kernel_end,)]


def row_of(table: Callable[[], list[tuple[float, ...]]], place: int) -> Callable[[], Any]:
    """What measures a row of a table, which is computed once."""
    return lambda: table()[place]


LYU, DECAY = "docs/results/lyu2024.md", "docs/explanation/small-decay.md"
ACCURACY = "docs/results/forecast-accuracy.md"
FORECAST = "docs/explanation/forecast.md"
CLOCK_RUNS = (
    "10 | $10^{-4}$", "10 | $10^{-2}$", "100 | $10^{-3}$", "1000 | $10^{-2}$", "1000 | $10^{-4}$"
)  # fmt: skip
CHECKS = (
    Check("completion t10", LYU, "| `t10` | 25600 | {} | {} | {}–{} |",
          lambda: median_of("t10")[1:]),
    Check("completion t50", LYU, "| `t50` | 36700 | {} | {} | {}–{} |",
          lambda: median_of("t50")[1:]),
    Check("completion t90", LYU, "| `t90` | 54600 | {} | {} | {}–{} |",
          lambda: median_of("t90")[1:]),
    Check("completion in the README", "README.md", "0.998, 0.987, {} of the published time",
          lambda: (median_of("t50")[2],)),
    Check("limit, completion", DECAY, "| $10^{-6}$ | 3.4830 | {} |",
          lambda: (limit("completion"),), 0.0005),
    Check("limit, diagonal net", DECAY, "$\\lambda t_{50}$ of the limit is {}.",
          lambda: (limit("diagonal"),), 0.0005),
    Check("forecast of panel 3", ACCURACY, "| 3, completion | {} | {} | {}–{} |",
          lambda: forecast_row("lyu2024/3"), 0.01),
    Check("sweep of 10,000", "README.md", "| {} ms a run, {} ms of it overhead |",
          sweep_of_ten_thousand, 0.02),
    Check("table of outcomes", "docs/results/words.md", "outcome words of {} runs", words),
    Check("cross check", LYU, "| test accuracy 0.5 | {} | {} |", crossings),
    *(Check("clock of the kernel flow", FORECAST, f"| {run} | {{}} | ${{}}$ | ${{}}$ | {{}} |",
            row_of(clock_of_runs, place))
      for place, run in enumerate(CLOCK_RUNS)),
    *(Check("committee and twin", FORECAST, f"| {time_} | {{}} | {{}} % | {{}} % |",
            row_of(committee_and_twin, place))
      for place, time_ in enumerate(("52", "122", "231", "333", "543"))),
    Check("committee and twin", FORECAST, "| 3000 | | {} % | {} % |",
          lambda: committee_and_twin()[5][1:]),
    Check("committee and twin", FORECAST, "| {} | 1 | | |", row_of(committee_and_twin, 6)),
    Check("tangent margin", "docs/explanation/kernel.md",
          "the gap is {} %, with a margin of {} and a bound of {}.", tangent_margin,
          is_cheap=False),
)  # fmt: skip


def said(check: Check) -> list[str]:
    """The numbers of a phrase as the page shows them."""
    text = re.sub(r"\s+", " ", (ROOT / check.page).read_text(encoding="utf-8"))
    pattern = re.escape(check.says).replace(r"\{\}", _NUMBER)
    found = re.search(pattern, text)
    return list(found.groups()) if found else []


def agrees(shown: str, measured: float, within: float) -> bool:
    """Whether a number of a page is the measured one, up to its last digit and a share."""
    plain = shown.replace(",", "").replace("−", "-")
    digit = 0.5 * 10.0 ** -len(plain.partition(".")[2])
    return abs(float(plain) - measured) <= digit * 1.01 + within * abs(measured)


def main() -> int:
    """Measures, and prints a line for every check."""
    wanted = sys.argv[1:]
    wrong = 0
    for check in CHECKS:
        if not (any(word in check.name for word in wanted) if wanted else check.is_cheap):
            continue
        begun = time.perf_counter()
        shown, measured = said(check), check.measure()
        right = len(shown) == len(measured) and all(
            agrees(page, ours, check.within) for page, ours in zip(shown, measured, strict=True)
        )
        wrong += not right
        ours = ", ".join(f"{value:.6g}" for value in measured)
        mark = "ok   " if right else "WRONG"
        page = ", ".join(shown) or "no such phrase"
        seconds = time.perf_counter() - begun
        print(f"{mark} {check.page}, {check.name}: {page} | {ours} ({seconds:.0f} s)", flush=True)
    return int(bool(wrong))


if __name__ == "__main__":
    sys.exit(main())

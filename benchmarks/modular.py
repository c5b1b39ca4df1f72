r"""How the time of modular addition depends on its size, and how well a law for it carries.

python benchmarks/modular.py STORE [PART ...]

Runs two-layer ReLU nets on addition modulo p by gradient flow and reads
$D = \lambda t_{50} - \log (\lVert\theta_0\rVert / \lVert\theta_\text{end}\rVert)$ of each, with the
norm of the end by `lazyrich.forecasts.norm_clock.end_norm`. The part `calibrating`, p = 13 to 31,
gives the margin and, by least squares of $\log D$, the exponents in `calibration.toml`. The part
`held out`, p = 37 to 59, is compared with forecasts, and so are `controls`: random labels, another
operation, decay near and above the collapse. The published panels 2b and 2c (p = 97) are forecast
without a run. Without PART all of them. What STORE holds is not run again. The six panels are
forecast in about a minute, the part `calibrating` takes about 15 minutes of one core.
"""

import json
import math
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy.optimize import brentq

import lazyrich as lr
from lazyrich.forecasts.norm_clock import end_norm
from lazyrich.sweeps.forecasts import is_right

# There are few test pairs, so one pair is more than 1 %.
_THRESHOLDS = lr.Thresholds(test=0.9)
# Where width is 8 p, p is 23, four of five pairs are for training, and decay is far from collapse.
_REFERENCE = {"width": 8.0, "outputs": 23.0, "share": 0.8, "left": 1.0}


@dataclass(frozen=True)
class Kind:
    """Runs of one size, over scales and decays, and seeds."""

    part: str
    p: int
    share: float
    width: int
    cells: tuple[tuple[float, float], ...]
    seeds: tuple[int, ...] = (0, 1)
    operation: Any = "addition"
    random: bool = False

    def experiment(self, scale: float, decay: float, seed: int) -> lr.Experiment:
        """One of the runs. Its horizon is 12 / lambda after the decay of its initial scale."""
        return lr.Experiment(
            task=lr.tasks.ModularArithmetic(
                p=self.p,
                train_fraction=self.share,
                operation=self.operation,
                random_labels=self.random,
            ),
            model=lr.models.MLP(widths=(self.width,), one_hot=2, outputs=self.p, zero_last=True),
            loss=lr.losses.CrossEntropy(),
            init_scale=scale,
            weight_decay=decay,
            t1=(math.log(max(scale, 1.0)) + 12) / decay,
            seed=seed,
            dynamics=lr.dynamics.Flow(rtol=1e-2),
            times=lr.dynamics.Times(first=1e-3, num_log=80, num_linear=100),
            probes=("train_loss", "test_loss", "train_accuracy", "test_accuracy", "param_norm"),
        )

    def experiments(self) -> Iterator[lr.Experiment]:
        """All runs of this kind."""
        for scale, decay in self.cells:
            for seed in self.seeds:
                yield self.experiment(scale, decay, seed)


FOUR = ((10.0, 1e-3), (10.0, 3e-4), (10.0, 3e-3), (10.0, 1e-4))
TWO = FOUR[:2]
SCALES = ((100.0, 3e-4), (100.0, 1e-3), (30.0, 3e-4), (30.0, 1e-3), (3.0, 3e-4), (3.0, 1e-3))
FIRST = (0,)
KINDS = (
    Kind("calibrating", 19, 0.8, 76, FOUR),
    Kind("calibrating", 19, 0.8, 152, FOUR),
    Kind("calibrating", 19, 0.8, 304, FOUR),
    Kind("calibrating", 23, 0.8, 92, FOUR),
    Kind("calibrating", 23, 0.8, 184, FOUR),
    Kind("calibrating", 23, 0.8, 184, SCALES, FIRST),
    Kind("calibrating", 23, 0.8, 184, ((10.0, 5e-3), (10.0, 7e-3)), FIRST),
    Kind("calibrating", 23, 0.8, 368, TWO),
    Kind("calibrating", 23, 0.65, 184, TWO),
    Kind("calibrating", 31, 0.7, 248, TWO),
    Kind("calibrating", 31, 0.7, 248, ((10.0, 3e-3),), FIRST),
    Kind("calibrating", 31, 0.7, 124, TWO, FIRST),
    Kind("calibrating", 31, 0.5, 248, TWO, FIRST),
    Kind("calibrating", 31, 0.85, 248, TWO, FIRST),
    Kind("calibrating", 13, 0.85, 104, TWO),
    Kind("calibrating", 13, 0.85, 208, TWO),
)
KINDS += (
    Kind("held out", 37, 0.6, 296, TWO),
    Kind("held out", 41, 0.6, 328, TWO, FIRST),
    Kind("held out", 43, 0.55, 344, TWO, FIRST),
    Kind("held out", 59, 0.5, 472, ((10.0, 3e-4),), FIRST),
    Kind("held out", 19, 0.85, 190, TWO, (2, 3)),
    Kind("held out", 23, 0.75, 230, TWO, (2, 3)),
    Kind("held out", 29, 0.75, 174, ((30.0, 5e-4), (3.0, 1e-3)), (2, 3)),
    Kind("controls", 23, 0.8, 184, ((10.0, 1e-3),), FIRST, random=True),
    Kind("controls", 31, 0.7, 248, ((10.0, 1e-3),), FIRST, random=True),
    Kind("controls", 23, 0.8, 184, ((10.0, 1e-3),), FIRST, "x2_plus_xy"),
    Kind("controls", 31, 0.7, 248, ((10.0, 1e-3),), FIRST, "x2_plus_xy"),
    Kind("controls", 31, 0.4, 248, ((10.0, 1e-3),), FIRST),
    Kind("controls", 23, 0.8, 184, ((10.0, 9e-3), (10.0, 2e-2)), FIRST),
)


@dataclass(frozen=True)
class Result:
    """A run: `value`, its D; what came, and what was forecast."""

    p: int
    share: float
    width: int
    scale: float
    decay: float
    seed: int
    outcome: str
    t50: float
    norm: float
    margin: float
    value: float
    said: float
    low: float
    high: float
    verdict: str
    right: float


def result(kind: Kind, experiment: lr.Experiment, record: Any) -> Result:
    """A run and its forecast by the calibrated constant."""
    came = lr.transition(record, _THRESHOLDS)
    found = lr.forecast(experiment, passage="calibrated", thresholds=_THRESHOLDS)
    first, last = (float(record["param_norm"][place]) for place in (0, -1))
    decay = experiment.weight_decay
    end = end_norm(found.family.margin, kind.p, decay)
    return Result(
        kind.p, kind.share, kind.width, experiment.init_scale, decay, experiment.seed,
        came.outcome, came.t50, last, margin_of(last, kind.p, decay),
        decay * came.t50 - math.log(first / end), found.t50, *found.t50_interval,
        found.verdict, is_right(found.verdict, found.outcome or "missing", came.outcome),
    )  # fmt: skip


def margin_of(norm: float, num_outputs: int, decay: float) -> float:
    """The margin whose norm of the end is that of a run; NaN for none."""
    least = 0.51 * decay * num_outputs**2 / (num_outputs - 1)
    try:
        off = lambda m: end_norm(m, num_outputs, decay) - norm
        return float(brentq(off, 2 * least, 1.0))
    except ValueError:
        return math.nan


def law(rows: Sequence[Result]) -> dict[str, Any]:
    """The margin, and the exponents and the middle by least squares of log D; its residual."""
    margin = float(np.nanmedian([row.margin for row in rows if row.decay < 2e-3]))
    some = [row for row in rows if row.value > 0 and row.outcome in _GENERALISED]
    logs = np.array([
        [
            math.log(of[name] / _REFERENCE[name])
            for name in _REFERENCE
        ]
        for of in map(describe, some)
    ])  # fmt: skip
    design = np.column_stack([np.ones(len(some)), logs])
    values = np.log([row.value for row in some])
    best, *_ = np.linalg.lstsq(design, values, rcond=None)
    off = values - design @ best
    low, high = shortest(off)
    middle = math.exp(best[0])
    times = [abs(row.value * (1 - math.exp(-e)) / (row.decay * row.t50))
             for row, e in zip(some, off, strict=True)]  # fmt: skip
    return {
        "runs": len(some),
        "margin": margin,
        "powers": dict(zip(_REFERENCE, map(float, best[1:]), strict=True)),
        "middle": middle,
        "low": middle * math.exp(low),
        "high": middle * math.exp(high),
        "residual of log D": float(np.std(off)),
        "error of t50, median": float(np.median(times)),
    }


_GENERALISED = ("grokked", "gradual", "improved")


def describe(row: Result) -> dict[str, float]:
    """The descriptors of the law."""
    num = int(row.share * row.p**2)
    collapse = 2 * _MARGIN * (row.p - 1) / row.p**2
    return {
        "width": row.width / row.p,
        "outputs": float(row.p),
        "share": num / row.p**2,
        "left": 1 - row.decay / collapse,
    }


def shortest(values: np.ndarray) -> tuple[float, float]:
    """The shortest interval that holds eight values in ten."""
    values = np.sort(values)
    num = math.ceil(0.8 * len(values))
    begin = int(np.argmin(values[num - 1 :] - values[: len(values) - num + 1]))
    return float(values[begin]), float(values[begin + num - 1])


def scores(rows: Sequence[Result]) -> dict[str, Any]:
    """Errors of forecast times, coverage of intervals, and verdicts."""
    timed = [row for row in rows if row.t50 > 0 and row.said > 0]
    off = np.array([math.log(row.said / row.t50) for row in timed])
    made = [row for row in rows if row.verdict != "cannot_say"]
    found: dict[str, Any] = {
        "runs": len(rows),
        "verdicts": len(made),
        "right": sum(row.right == 1 for row in made),
        "grok said": sum(row.verdict == "grok" for row in made),
        "timed": len(timed),
    }
    if timed:
        found["error, median"] = float(np.median(np.abs(off)))
        found["error, nine in ten"] = float(np.quantile(np.abs(off), 0.9))
        found["bias"] = float(np.median(off))
        found["in interval"] = sum(row.low <= row.t50 <= row.high for row in timed)
    return found


def panels() -> Iterator[tuple[str, float, float, str, float]]:
    """The published panels 2b and 2c: the forecast time, the published one, and the verdict."""
    for panel in ("2b", "2c"):
        study = lr.studies.load(f"lyu2024/{panel}")
        for point in study.published.at:
            changes = dict(point.where)
            experiment = study.with_changes(changes)
            found = lr.forecast(experiment, passage="calibrated")
            yield f"{panel} {changes}", found.t50, point.numbers.get("t50", math.nan), *(
                found.verdict, 0.0)  # fmt: skip

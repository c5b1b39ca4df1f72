r"""How the time of modular addition depends on its size, and how well a law for it carries.

python benchmarks/modular.py STORE [PART ...]

Two-layer ReLU nets learn addition modulo p by gradient flow. Of each run
$\kappa = \lambda t_{50} - \log (\lVert\theta_0\rVert / \lVert\theta_\text{end}\rVert)$ is read,
with the norm of the end from `lazyrich.forecasts.norm_clock.end_norm`. The runs of the part
`calibrating`, p = 19 to 31, give the margin and, by least squares of $\log \kappa$, the numbers of
`calibration.toml`.
The parts `held out` (p = 29 to 59), `few pairs` and `controls` (random labels, other operations, a
decay near and above the collapse) compare forecasts with runs. The part `published` forecasts the
panels 2b and 2c of Lyu et al. (p = 97) and runs nothing. Without PART all of them.
`modular_predictions.json` has the times that were predicted for all held-out runs before any of
them was run. Writes `modular.json`. What STORE holds is not run again.
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
from lazyrich.forecasts.calibration import families
from lazyrich.forecasts.norm_clock import end_norm
from lazyrich.sweeps.forecasts import is_right

FAMILY = families()["MLP on ModularArithmetic"]
_GENERALISED = ("grokked", "gradual", "improved")
# Up to this decay the smallest and largest margin are printed.
_WEAK = 3e-3
Cells = tuple[tuple[float, float], ...]


@dataclass(frozen=True)
class Kind:
    """Runs of one size over `cells`, pairs of scale and decay, and seeds."""

    part: str
    p: int
    share: float
    width: int
    cells: Cells
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
            t1=horizon(scale, decay),
            seed=seed,
            dynamics=lr.dynamics.Flow(rtol=1e-2),
            times=lr.dynamics.Times(first=1e-3, num_log=80, num_linear=100),
            probes=("train_loss", "test_loss", "train_accuracy", "test_accuracy", "param_norm"),
        )

    def runs(self, store: str) -> Any:
        """The runs, along one dimension."""
        keys = ("init_scale", "weight_decay", "t1")
        over: dict[Any, Any] = {
            keys: [(*cell, horizon(*cell)) for cell in self.cells],
            "seed": list(self.seeds),
        }
        found = lr.sweep(self.experiment(*self.cells[0], self.seeds[0]), over, store, workers=0)
        return found.stack(run=found["outcome"].dims, create_index=False)


def horizon(scale: float, decay: float) -> float:
    """12 / lambda after the decay of the initial scale."""
    return (math.log(max(scale, 1.0)) + 12) / decay


FOUR = ((10.0, 1e-3), (10.0, 3e-4), (10.0, 3e-3), (10.0, 1e-4))
TWO = FOUR[:2]
SCALES = ((100.0, 3e-4), (100.0, 1e-3), (30.0, 3e-4), (30.0, 1e-3), (3.0, 3e-4), (3.0, 1e-3))
OTHERS = ((30.0, 5e-4), (3.0, 1e-3))
FIRST = (0,)
KINDS = (
    Kind("calibrating", 19, 0.8, 76, FOUR),
    Kind("calibrating", 19, 0.8, 128, TWO[1:]),
    Kind("calibrating", 19, 0.8, 128, TWO[:1], FIRST),
    Kind("calibrating", 19, 0.8, 152, FOUR),
    Kind("calibrating", 19, 0.8, 304, FOUR),
    Kind("calibrating", 23, 0.8, 92, FOUR),
    Kind("calibrating", 23, 0.8, 184, FOUR),
    Kind("calibrating", 23, 0.8, 184, (*SCALES, (10.0, 5e-3), (10.0, 7e-3)), FIRST),
    Kind("calibrating", 23, 0.8, 368, TWO[:1], FIRST),
    Kind("calibrating", 23, 0.65, 184, TWO),
    Kind("calibrating", 31, 0.7, 248, TWO),
    Kind("calibrating", 31, 0.7, 248, ((10.0, 3e-3),), FIRST),
    Kind("calibrating", 31, 0.7, 124, TWO, FIRST),
    Kind("calibrating", 31, 0.85, 248, TWO, FIRST),
    Kind("held out", 37, 0.7, 296, TWO),
    Kind("held out", 41, 0.6, 328, TWO, FIRST),
    Kind("held out", 29, 0.75, 174, OTHERS, (2, 3)),
    Kind("held out", 43, 0.5, 344, TWO, FIRST),
    Kind("held out", 47, 0.55, 564, TWO[:1], FIRST),
    Kind("held out", 59, 0.5, 472, TWO[1:], FIRST),
    Kind("few pairs", 13, 0.85, 104, TWO),
    Kind("few pairs", 13, 0.85, 208, TWO),
    Kind("few pairs", 31, 0.5, 248, TWO, FIRST),
    Kind("few pairs", 31, 0.4, 248, TWO[:1], FIRST),
    Kind("small scale", 31, 0.7, 248, ((1.0, 3e-4), (1.0, 1e-3)), (2,)),
    Kind("controls", 23, 0.8, 184, TWO[:1], FIRST, random=True),
    Kind("controls", 31, 0.7, 248, TWO[:1], FIRST, random=True),
    Kind("controls", 23, 0.8, 184, TWO[:1], FIRST, "x2_plus_xy"),
    Kind("controls", 31, 0.7, 248, TWO[:1], FIRST, "x2_plus_xy"),
    Kind("controls", 23, 0.8, 184, ((10.0, 9e-3),), FIRST),
)


@dataclass(frozen=True)
class Result:
    """A run: `value`, its kappa; what came, and what was forecast."""

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


def results(kind: Kind, store: str) -> Iterator[Result]:
    """The runs of a kind and their forecasts by the calibrated constant."""
    runs = kind.runs(store)
    for place in range(runs.sizes["run"]):
        run = runs.isel(run=place)
        scale, decay, seed = (float(run[key]) for key in ("init_scale", "weight_decay", "seed"))
        found = lr.forecast(kind.experiment(scale, decay, int(seed)), passage="calibrated")
        norms = run["param_norm"].values[np.isfinite(run["time"].values)]
        outcome, t50 = str(run["outcome"].values), float(run["t50"])
        end = end_norm(FAMILY.margin, kind.p, decay)
        yield Result(
            kind.p, kind.share, kind.width, scale, decay, int(seed), outcome, t50, norms[-1],
            margin_of(norms[-1], kind.p, decay), decay * t50 - math.log(norms[0] / end),
            found.t50, *found.t50_interval, found.verdict,
            is_right(found.verdict, found.outcome or "missing", outcome),
        )  # fmt: skip


def margin_of(norm: float, num_outputs: int, decay: float) -> float:
    """The margin whose norm of the end is that of a run; NaN for none."""
    least = 1.02 * decay * num_outputs**2 / (num_outputs - 1)

    def off(margin: float) -> float:
        return end_norm(margin, num_outputs, decay) - norm

    try:
        return float(brentq(off, least, 1.0))
    except ValueError:
        return math.nan


def law(rows: Sequence[Result]) -> dict[str, Any]:
    """The margin, and the exponents and the middle by least squares of log kappa; its residual.

    A run that does not generalise, or has no positive kappa, is not used and is in `left out`.
    """
    names = tuple(FAMILY.powers)
    some = [row for row in rows if row.value > 0 and row.outcome in _GENERALISED]
    margins = [row.margin for row in some if row.decay <= _WEAK]
    logs = [[math.log(descriptors(row)[x] / FAMILY.reference[x]) for x in names] for row in some]
    design = np.column_stack([np.ones(len(some)), np.array(logs)])
    values = np.log([row.value for row in some])
    best, *_ = np.linalg.lstsq(design, values, rcond=None)
    off = values - design @ best
    low, high = shortest(off)
    times = [
        row.value * (1 - math.exp(-e)) / (row.decay * row.t50)
        for row, e in zip(some, off, strict=True)
    ]
    return {
        "runs": len(some),
        "left out": [asdict(row) for row in rows if row not in some],
        "margin": float(np.nanmedian([row.margin for row in some])),
        "margins at weak decay": [float(np.nanmin(margins)), float(np.nanmax(margins))],
        "margins at strong decay": [row.margin for row in some if row.decay > _WEAK],
        "powers": dict(zip(names, map(float, best[1:]), strict=True)),
        "middle": math.exp(best[0]),
        "low": math.exp(best[0] + low),
        "high": math.exp(best[0] + high),
        "residual of log kappa": float(np.std(off)),
        "error of t50, median": float(np.median(np.abs(times))),
        "error of t50, nine in ten": float(np.quantile(np.abs(times), 0.9)),
    }


def descriptors(row: Result) -> dict[str, float]:
    """The numbers on which kappa depends."""
    collapse = 2 * FAMILY.margin * (row.p - 1) / row.p**2
    return {
        "width": row.width / row.p,
        "outputs": float(row.p),
        "share": int(row.share * row.p**2) / row.p**2,
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


def published() -> list[dict[str, Any]]:
    """The published panels 2b and 2c: the forecast, and the published time."""
    rows = []
    for panel in ("2b", "2c"):
        study = lr.studies.load(f"lyu2024/{panel}")
        assert study.published is not None
        for at in study.published.at:
            found = lr.forecast(study.with_changes(at.where), passage="calibrated")
            came = at.numbers.get("t50", math.nan)
            rows.append(
                {"panel": panel, **at.where, "verdict": found.verdict, "came": came}
                | {"t50": found.t50, "interval": found.t50_interval, "ratio": found.t50 / came}
                | {"confidence": found.confidence, "seconds": sum(found.seconds.values())}
            )
            print(rows[-1], flush=True)
    return rows


def main(store: str, names: Sequence[str]) -> None:
    found: dict[str, Any] = {}
    for part in dict.fromkeys(kind.part for kind in KINDS):
        if names and part not in names:
            continue
        rows = []
        for kind in KINDS:
            if kind.part == part:
                made = [*results(kind, store)]
                rows += made
                print(*(json.dumps(asdict(row)) for row in made), sep="\n")
        found[part] = {"runs": [asdict(row) for row in rows], "scores": scores(rows)}
        if part == "calibrating":
            found["law"] = law(rows)
        print(part, json.dumps(found[part]["scores"], indent=1), flush=True)
    if not names or "published" in names:
        found["published"] = published()
    print(json.dumps(found.get("law"), indent=1))
    if not names:
        text = json.dumps(found, indent=1) + "\n"
        Path(__file__).with_name("modular.json").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "modular-store", sys.argv[2:])

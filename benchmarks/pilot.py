r"""Forecasts by pilots, against runs by the optimisers that people train with.

python benchmarks/pilot.py STORE [KIND ...]

Runs small nets on modular addition, and their pilots at 16, 8 and 4 times the learning rate. The
first seed of a kind calibrates, all others are held out, and so are the kinds without such a seed.
Controls have random labels; only their pilots are run. Compared with the norm law of
arXiv:2605.18845, which is granted the run up to its fit, and with $(c / \lambda) \log (\alpha /
\alpha^*)$, the textbook time with two constants. All constants are fitted to the same calibrating
runs. Prints a table, and writes `pilot.json`. What STORE holds is not run again.
"""

import json
import math
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from norm_law import NormLaw, Rows

import lazyrich as lr
from lazyrich.forecasts.by_pilots import FACTORS, agree, conclude_by_pilots, cost_of
from lazyrich.forecasts.calibration import family_of_pilots
from lazyrich.forecasts.course import Course
from lazyrich.forecasts.pilot import Pilot
from lazyrich.forecasts.verdict import confidence_of, is_expected
from lazyrich.records.transition import scales_of_numbers

_PROBES = ("train_loss", "test_loss", "train_accuracy", "test_accuracy", "param_norm")
# Records at the same steps in all runs of the same length, so that they share compiled code.
_FIRST, _RECORDS = 4e-3, 100
_SHARE = 0.8
_THRESHOLDS = lr.Thresholds()


@dataclass(frozen=True)
class Kind:
    """Runs that differ in rate, decay, scale and seed; `random`, controls."""

    name: str
    p: int
    model: Any
    dynamics: Any
    rates: tuple[float, ...]
    decays: tuple[float, ...]
    scales: tuple[float, ...]
    steps: int
    calibrating: tuple[int, ...] = ()
    held: tuple[int, ...] = ()
    random: bool = False
    share: float = _SHARE

    @property
    def seeds(self) -> list[int]:
        return [*self.calibrating, *self.held]

    def experiment(self, factor: int) -> lr.Experiment:
        """The base of the runs at a factor; its rate and decay are varied."""
        task = lr.tasks.ModularArithmetic(
            p=self.p, train_fraction=self.share, random_labels=self.random
        )
        return lr.Experiment(
            task=task,
            model=self.model,
            loss=lr.losses.CrossEntropy(),
            precision="float32",
            dynamics=self.dynamics if factor == 1 else self.dynamics.faster(factor),
            times=lr.dynamics.Times(first=1e-3, num_log=_RECORDS, num_linear=0),
            probes=_PROBES,
        )

    def over(self, factor: int) -> dict[Any, Any]:
        """The keys that are varied, for runs at a factor."""
        rows = [
            (factor * rate, decay, rate * self.steps, _FIRST * rate * self.steps)
            for rate in self.rates
            for decay in self.decays
        ]
        keys = ("dynamics.learning_rate", "weight_decay", "t1", "times.first")
        return {keys: rows, "init_scale": self.scales, "seed": self.seeds}


def _mlp(p: int, width: int = 96) -> lr.models.MLP:
    return lr.models.MLP(widths=(width,), outputs=p, bias="all", initialisation="uniform")


def _adamw(beta2: float) -> lr.dynamics.AdamW:
    return lr.dynamics.AdamW(beta2=beta2)


_RATES, _DECAYS = (1.5e-3, 3e-3, 6e-3), (0.5, 1.0, 2.0)
_SMALL = lr.models.Transformer(width=32, heads=4, mlp_width=128)
_MOMENTUM = lr.dynamics.SGD(momentum=0.9)

KINDS = (
    Kind("MLP, AdamW", 19, _mlp(19), _adamw(0.98), _RATES, _DECAYS, (1.0, 2.0, 4.0), 6000,
         (0,), (1,)),
    Kind("transformer, AdamW", 17, _SMALL, _adamw(0.98), (1e-3, 2e-3), (0.5, 1.0), (1.0,), 4000,
         (0,), (1,), share=0.7),
    Kind("MLP, AdamW, beta2 = 0.999", 19, _mlp(19), _adamw(0.999), _RATES, (0.5, 1.0), (1.0,),
         6000, (), (0, 1)),
    Kind("larger MLP, AdamW", 23, _mlp(23, 128), _adamw(0.98), (2e-3, 4e-3), (0.5, 1.0), (1.0,),
         5000, (), (0,)),
    Kind("MLP, SGD with momentum", 19, _mlp(19), _MOMENTUM, (0.05, 0.1), (1e-3, 2e-3), (1.0,),
         20_000, (0,), (1,)),
    Kind("MLP, random labels", 19, _mlp(19), _adamw(0.98), _RATES, (0.5, 1.0), (1.0,), 6000, (),
         (0,), random=True),
    Kind("transformer, random labels", 17, _SMALL, _adamw(0.98), (1e-3, 2e-3), (0.5, 1.0), (1.5,),
         3000, (), (0,), random=True),
)  # fmt: skip


def swept(kind: Kind, factor: int, store: str, one: xr.Dataset | None = None) -> xr.Dataset:
    """The runs of a kind at a factor, along one dimension `run`; of `one` run if it is given."""
    over = kind.over(factor)
    if one is not None:
        rate = factor * float(one["dynamics.learning_rate"])
        keys, *_ = over
        row = (rate, *(float(one[key]) for key in keys[1:]))
        over = {keys: [row], "init_scale": [float(one["init_scale"])], "seed": [int(one["seed"])]}
    found = lr.sweep(kind.experiment(factor), over, store, workers=0)
    return found.stack(run=found["outcome"].dims, create_index=False)


def pilot_of(factor: int, run: xr.Dataset) -> Pilot:
    """A pilot from its run in a store."""
    known = np.isfinite(run["time"].values)
    curves = {name: run[name].values[known] for name in _PROBES}
    numbers = {str(k): float(v) for k, v in run.items() if v.ndim == 0 and v.dtype.kind == "f"}
    scales = scales_of_numbers(numbers, float(run["weight_decay"]))
    course = Course(run["time"].values[known], curves, scales)
    return Pilot.of(factor, course, str(run["ending"].values), _THRESHOLDS, int(run["num_tests"]))


@dataclass(frozen=True)
class Result:
    """A run and its forecast; `v_fit`, the squared norm of the parameters at the fit."""

    kind: str
    held: bool
    random: bool
    scale: float
    decay: float
    outcome: str
    verdict: str
    confidence: str
    cost: float
    num_pilots: int
    mean: float
    t50: float
    low: float
    high: float
    came: float
    t_fit: float
    t_test: float
    v_fit: float


def results(kind: Kind, store: str) -> Iterator[Result]:
    """The forecasts of the runs of a kind, and what came."""
    num_tests = kind.p**2 - int(kind.share * kind.p**2)
    fast = [swept(kind, factor, store) for factor in FACTORS[:2]]
    # The labels of controls are random, so the runs themselves need not be made.
    slow = fast[-1] if kind.random else swept(kind, 1, store)
    for place in range(slow.sizes["run"]):
        run = slow.isel(run=place)
        base = run.assign_coords(
            {"dynamics.learning_rate": run["dynamics.learning_rate"] / (8 if kind.random else 1)}
        )
        pilots = [
            pilot_of(factor, some.isel(run=place).assign(num_tests=num_tests))
            for factor, some in zip(FACTORS, fast, strict=False)
        ]
        if not agree(pilots):
            last = swept(kind, FACTORS[-1], store, base).isel(run=0)
            pilots.append(pilot_of(FACTORS[-1], last.assign(num_tests=num_tests)))
        said, _, _ = conclude_by_pilots(
            partial(family_of_pilots, kind.experiment(1)), pilots, _THRESHOLDS
        )
        norms = np.interp(float(run["t_train"]), run["time"].values, run["param_norm"].values)
        yield Result(
            kind.name, int(run["seed"]) in kind.held, kind.random, float(run["init_scale"]),
            float(run["weight_decay"]), "unchanged" if kind.random else str(run["outcome"].values),
            said.verdict, confidence_of(said.reasons), cost_of(pilots), len(pilots),
            said.t50 / math.exp(said.family.middle), said.t50, *said.t50_interval,
            math.nan if kind.random else float(run["t50"]), float(run["t_train"]),
            float(run["t_test"]), float(norms) ** 2,
        )  # fmt: skip


_GENERALISED = ("grokked", "gradual", "immediate", "improved")


def scores(rows: Sequence[Result]) -> dict[str, Any]:
    """Errors, coverage, verdicts and cost of forecasts by pilots."""
    if not rows:
        return {"runs": 0}
    timed = [r for r in rows if r.t50 > 0 and r.came > 0]
    off = np.array([math.log(r.t50 / r.came) for r in timed])
    found: dict[str, Any] = {
        "runs": len(rows),
        "with a verdict": sum(r.verdict != "cannot_say" for r in rows),
        "verdict right": sum(is_expected(r.verdict, r.outcome) is True for r in rows),
        "generalises or not, right": sum(
            (r.verdict != "none") == (r.outcome in _GENERALISED)
            for r in rows
            if r.verdict != "cannot_say"
        ),
        "cost": float(np.mean([r.cost for r in rows])),
        "timed": len(timed),
    }
    if not timed:
        return found
    return found | {
        "median": float(np.median(np.abs(off))),
        "nine in ten": float(np.quantile(np.abs(off), 0.9)),
        "MAPE": float(np.mean(np.abs(np.expm1(off)))),
        "bias": float(np.median(off)),
        "in interval": float(np.mean([r.low <= r.came <= r.high for r in timed])),
        "median without the constant": float(
            np.median([abs(math.log(r.mean / r.came)) for r in timed])
        ),
    }


def constants(rows: Sequence[Result]) -> dict[str, float]:
    """Of the logarithm of t50 over the mean of pilots the middle, and where eight in ten are."""
    off = np.sort([math.log(r.came / r.mean) for r in rows if r.mean > 0 and r.came > 0])
    if len(off) < 3:
        return {}
    num = math.ceil(0.8 * len(off))
    begin = int(np.argmin(off[num - 1 :] - off[: len(off) - num + 1]))
    ends = {"low": off[begin], "middle": np.median(off), "high": off[begin + num - 1]}
    return {name: float(value) for name, value in ends.items()} | {"runs": len(off)}


def baselines(fit: Sequence[Result], held: Sequence[Result]) -> dict[str, Any]:
    """The norm law and the textbook time, fitted to the calibrating runs, on the held-out ones."""
    some = [[r for r in rows if r.came > r.t_fit > 0] for rows in (fit, held)]
    if min(map(len, some)) < 3:
        return {}
    fitted, asked = (
        Rows(*np.array([(r.t_fit, r.came, r.v_fit, 2 * r.decay) for r in rows]).T) for rows in some
    )
    law = NormLaw.fitted(fitted)
    said = asked.t_fit + law.delay(asked)
    scale, decay = (np.array([getattr(r, name) for r in some[0]]) for name in ("scale", "decay"))
    times = np.array([r.came for r in some[0]])
    # log(alpha / alpha*) c / lambda; the scale of a kind can be one number.
    grid = [(c, a) for c in np.geomspace(0.01, 100, 100) for a in np.geomspace(1e-6, 0.9, 60)]
    off = [float(np.median(np.abs(np.log(_textbook(c, a, scale, decay) / times)))) for c, a in grid]
    best, start = grid[int(np.argmin(off))]
    scale, decay = (np.array([getattr(r, name) for r in some[1]]) for name in ("scale", "decay"))
    return {
        "norm law": _errors(said, asked.t_test) | {"kappa": law.kappa, "v_star": law.v_star},
        "textbook, two constants": _errors(_textbook(best, start, scale, decay), asked.t_test),
        "textbook": _errors(np.log(scale) / decay, asked.t_test),
        "a constant": _errors(np.full(len(asked.v), np.median(times)), asked.t_test),
    }


def _textbook(c: float, a: float, scale: np.ndarray, decay: np.ndarray) -> np.ndarray:
    return c * np.log(scale / a) / decay


def _errors(said: np.ndarray, came: np.ndarray) -> dict[str, float]:
    known = said > 0
    off = np.log(said[known] / came[known])
    if not len(off):
        return {"runs": 0}
    return {
        "runs": len(off),
        "median": float(np.median(np.abs(off))),
        "nine in ten": float(np.quantile(np.abs(off), 0.9)),
        "MAPE": float(np.mean(np.abs(np.expm1(off)))),
    }


def main(store: str, names: Sequence[str]) -> None:
    found, every = dict[str, Any](), list[Result]()
    for kind in KINDS:
        if names and kind.name not in names:
            continue
        rows = [*results(kind, store)]
        every += rows
        fit, held = ([r for r in rows if r.held == part] for part in (False, True))
        found[kind.name] = {"held out": scores(held), "calibrating": scores(fit)}
        found[kind.name] |= {"constants": constants(fit), "baselines": baselines(fit, held)}
        print(kind.name, json.dumps(found[kind.name], indent=1), flush=True)
    held = [r for r in every if r.held and not r.random]
    adamw = [r for r in held if "AdamW" in r.kind]
    found["all held out"] = scores(held)
    found["all held out, AdamW"] = scores(adamw)
    found["controls"] = {"runs": 0, "grok": 0} | {
        "runs": sum(r.random for r in every),
        "grok": sum(r.random and r.verdict in ("grok", "immediate") for r in every),
    }
    mlps = [r for r in every if "MLP, AdamW" in r.kind]
    fit, rest = ([r for r in mlps if r.held == part] for part in (False, True))
    found["MLPs by AdamW, all kinds"] = {
        "held out": scores(rest),
        "baselines": baselines(fit, rest),
    }
    print(
        json.dumps({k: v for k, v in found.items() if k not in {x.name for x in KINDS}}, indent=1)
    )
    if not names:
        text = json.dumps(found, indent=1) + "\n"
        Path(__file__).with_name("pilot.json").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "pilot-store", sys.argv[2:])

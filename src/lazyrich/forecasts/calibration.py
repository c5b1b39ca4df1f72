"""Calibrated constants: the delay between the end of the kernel phase and the transition."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib.resources import files
from typing import Any

from .._core.toml import parse_toml
from ..experiments.experiment import Experiment
from .norm_clock import end_norm
from .phase import Clock
from .verdict import Verdict

# The names of the descriptors of data in reasons.
_NAMES = {
    "samples": "the number of training samples",
    "outputs_per_parameter": "training outputs per parameter",
    "isotropy": "isotropy of the kernel",
    "alignment": "alignment of labels and kernel",
    "fit": "weight decay times the time of the fit",
    "plateau": "the test score on the kernel plateau",
    "number": "entries per observed entry",
    "active": "(|w|_1 / |w|_2)^2 of the rich predictor",
    "outputs": "the number of outputs",
    "share": "training samples over the square of outputs",
    "supply": "training samples over outputs to the power 3/2",
    "width": "the width of the hidden layer over outputs",
    "left": "one minus weight decay over that of the collapse",
    "start": "the initial norm over that of the end",
    "factor": "the factor of the constant",
}
# The error of log t50 of a solved transition for families without runs that measure it.
_ERROR = 0.03
# The factor between the ends of an interval above which a solve is worth its cost.
_WIDE = 1.5
# The least distance from the collapse at which its effect is evaluated.
_LEAST = 0.01
# At or below this value of one minus weight decay over that of the collapse the fit is lost: in
# addition modulo 23 it is lost at 0.067 and kept at 0.27.
_COLLAPSED = 0.07
# The number of training samples at which constants are given.
_SAMPLES = 60


@dataclass(frozen=True)
class Family:
    r"""The calibration of one family of runs: the value $\kappa$ of the clock at $t_{50}$.

    Up to `t_kernel_end` the clock is $\log I$ of the kernel flow, which reaches zero there. After
    that time the clock is $2L\lambda (t - t_{I=1})$, the asymptotic growth of $\log I$ ($L = 2$ for
    models without a degree). Without decay the clock is extrapolated linearly in $\log t$, with the
    last slope of $\log I$.

    - `low`, `middle`, `high`: the interval and the middle value of $\kappa$. Eight runs in ten
        should lie between `low` and `high`.
    - `solve`: whether the transition is solved by default, because $\kappa$ varies too much;
        `error`, the error of $\log t_{50}$ of a solved transition, which eight runs in ten do not
        exceed.
    - `spread`: the coefficient of $\log k$, which is added to `low`, `middle` and `high`;
        `spread_high`, another coefficient for `high`, for transitions in steps. For
        classification $k = (\|w\|_1 / \|w\|_2)^2$ is the effective number of weights of the rich
        predictor. For completion $k$ is the number of entries per observed entry.
    - `by_samples`: the coefficient of $\log (n / 60)$ for $n$ training samples, added likewise.
    - `margin`: if it is known, the clock of the family is not that of $\log I$ but
        [that of the norm](../../explanation/forecast.md#the-clock-of-the-norm).
    - `powers`: for some descriptors $x$ an exponent $s$: `low`, `middle` and `high`, which are at
        $x =$ `reference`, are multiplied by $(x / \text{reference})^s$.
    - `left`: for a run of the family one minus $\lambda$ over its value at the collapse, at least
        0.01, if `margin` is known; one of the descriptors.
    - `verdict`: the verdict on runs inside `ranges` for which no rich predictor is computed, from
        the outcomes of the calibration runs; `cannot_say` if these do not decide it.
    - `source`: the runs used for the calibration; `known`, whether there are such runs.
    - `ranges`: for each descriptor, by name, the range in which the constant is used; by default
        that of the runs. The descriptors are: training samples; training outputs per parameter;
        isotropy $(\operatorname{tr} K)^2 / (m \lVert K \rVert_F^2)$ of the initial kernel on $m$
        outputs; alignment of the labels with this kernel; $\lambda t$ at the fit; test score on the
        kernel plateau; $k$; and the effective number of weights, or the effective rank, of the rich
        predictor; and those of nets with several outputs, see `descriptors.py`.
    - `losses`: the loss functions of those runs; empty if any loss is accepted.
    """

    name: str
    low: float
    middle: float
    high: float
    known: bool
    source: str
    spread: float = 0.0
    spread_high: float | None = None
    by_samples: float = 0.0
    margin: float = math.nan
    powers: Mapping[str, float] = field(default_factory=dict)
    reference: Mapping[str, float] = field(default_factory=dict)
    left: float = math.nan
    verdict: Verdict = "cannot_say"
    solve: bool = False
    error: float = _ERROR
    ranges: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    losses: tuple[str, ...] = ()

    def on(self, loss: str, like: Mapping[str, float]) -> "Family":
        """The family for data with the descriptors `like`.

        If a descriptor is outside of its range, or the runs have another loss, `known` is False and
        `solve` is True. NaN, an unknown descriptor, is in every range.
        """
        here = {**like, **self._by_margin(like)}
        here["factor"] = self._factor(here)
        others = [
            f"{_NAMES[name]} is {here[name]:.3g}, the constant is used from {low:g} to {high:g}"
            for name, (low, high) in self.ranges.items()
            if here[name] < low or here[name] > high
        ]
        if self.losses and loss not in self.losses:
            others.append(f"the loss is {loss}, in those runs {' or '.join(self.losses)}")
        if not others:
            return self
        own = replace(self, solve=True, known=False, error=_ERROR)
        return replace(own, source=f"{self.source}; this run differs: {', '.join(others)}")

    def at(self, k: float, num_samples: int, like: Mapping[str, float]) -> "Family":
        """The family with $\\kappa$ shifted for $k$ and $n$, and scaled for the descriptors `like`.

        A number that is NaN (unknown) does not change $\\kappa$.
        """
        log_k = 0.0 if math.isnan(k) else math.log(k)
        by_n = self.by_samples * math.log(num_samples / _SAMPLES)
        most = self.spread if self.spread_high is None else self.spread_high
        like = {**like, **self._by_margin(like)}
        factor = self._factor(like)
        return replace(
            self,
            low=factor * (self.low + self.spread * log_k + by_n),
            middle=factor * (self.middle + self.spread * log_k + by_n),
            high=factor * (self.high + most * log_k + by_n),
            left=like["left"],
        )

    def _factor(self, like: Mapping[str, float]) -> float:
        """The product of `powers`. Its range excludes runs that are extreme in several ways."""
        changes = (s * math.log(like[x] / self.reference[x]) for x, s in self.powers.items())
        return math.exp(sum(change for change in changes if not math.isnan(change)))

    def _by_margin(self, like: Mapping[str, float]) -> dict[str, float]:
        r"""Descriptors relative to the end of training; NaN if `margin` is unknown.

        - `left`: one minus $\lambda$ over its value at the collapse, at least 0.01. With margins
            $\gamma \lVert\theta\rVert^2$, $\gamma =$ `margin` $/ c$, the loss has no minimum but
            $\theta = 0$ from $\lambda = 2 \gamma (c - 1) / c$ on.
        - `start`: the initial norm over that of the end.
        """
        if math.isnan(self.margin):
            return {"left": math.nan, "start": math.nan}
        outputs, decay = like["outputs"], like["decay"]
        end = end_norm(self.margin, round(outputs), decay * (outputs - 1) / outputs**2)
        left = max(1 - decay / (2 * self.margin), _LEAST)
        return {"left": left, "start": like["norm"] / end}

    @property
    def collapses(self) -> bool:
        """Whether weight decay is close to or above that of the collapse; False if unknown."""
        return self.left <= _COLLAPSED

    def is_wide(self, clock: Clock) -> bool:
        """Whether the ends of the interval of $t_{50}$ differ by more than a factor of 1.5."""
        return clock.when(self.high) > _WIDE * clock.when(self.low)


def families() -> dict[str, Family]:
    """All families in `calibration.toml`, by name."""
    text = files(__package__).joinpath("calibration.toml").read_text(encoding="utf-8")
    table = parse_toml(text)
    return {name: Family(name=name, **_fields(row)) for name, row in table.items()}


def _fields(row: dict[str, Any]) -> dict[str, Any]:
    ranges = {name: tuple(ends) for name, ends in row.get("ranges", {}).items()}
    return {**row, "ranges": ranges, "losses": tuple(row.get("losses", ()))}


def family_of(experiment: Experiment, direction: str) -> Family:
    """The family of an experiment.

    - **Takes** `direction`: `grok` if the test score is expected to rise or the direction is
        unknown, `misgrok` if the test score is expected to fall.
    """
    known, task = families(), experiment.task.family
    if experiment.weight_decay == 0:
        return known.get(f"{task}, no decay", known["unknown, no decay"])
    if experiment.decays_partly:
        return known["unknown"]
    theory = experiment.model.theory(experiment.loss.is_classification)
    if not theory.of_any_task:
        found = known.get(f"{theory.family} on {task}", known["unknown"])
        like = theory.has_margin and experiment.loss.is_classification
        return found if math.isnan(found.margin) or like else known["unknown"]
    by_direction = known.get(f"{theory.family}, {direction}", known["unknown"])
    return known.get(theory.family, by_direction)


def unknown_pilots(factors: Sequence[int]) -> Family:
    """The family of a forecast by pilots at these factors if no runs measure its error."""
    return families()["pilots" if len(factors) > 1 else "pilot"]


def family_of_pilots(experiment: Experiment, factors: Sequence[int]) -> Family:
    """The family of a forecast by pilots at these factors, for optimiser, model and task.

    `known` is False if no runs with these three and this loss measure the error, or if some
    parameters do not decay.
    """
    known, kind = families(), experiment.dynamics.kind_name()
    task, unknown = experiment.task.kind_name(), unknown_pilots(factors)
    theory = experiment.model.theory(experiment.loss.is_classification)
    found = known.get(f"{unknown.name}, {kind}, {theory.family} on {task}", unknown)
    covered = not found.losses or experiment.loss.kind_name() in found.losses
    covered = covered and (theory.of_relus or theory.family != "MLP")
    return found if covered and not experiment.decays_partly else unknown

"""Verdict and times of a forecast by pilots."""

import math
from collections.abc import Callable, Sequence

import numpy as np

from .._core.errors import InputError
from .._run.prepared import PreparedProblem
from ..dynamics import AbstractDynamics
from ..records.transition import Thresholds
from .calibration import Family
from .conclude import Conclusion, held_after, with_grain, with_steps
from .phase import Clock
from .pilot import Pilot, run_pilot
from .verdict import Reason, Verdict

FACTORS = (16, 8, 4)
"""The learning rates of pilots, over that of the run. The last is used if the others disagree."""

# The least number of steps of a pilot.
_LEAST = 100
TOO_FEW = f"takes too few steps: pilots need {_LEAST}, so the run {_LEAST * FACTORS[-1]}"
"""Why there are no pilots of a short run."""

# The largest difference of log t50 of two pilots that agree.
_AGREE = 0.3
# The verdicts on runs whose test score changes.
_CHANGES = ("grok", "misgrok", "immediate")
# The uncertainty of scores.
_MARGIN = 0.03


def run_pilots(prepared: PreparedProblem, thresholds: Thresholds) -> list[Pilot]:
    """Pilots by falling factor, until two of them agree.

    - **Raises** [`InputError`][lazyrich.InputError] for dynamics without a learning rate, and for a
        run with too few steps.
    """
    experiment, dynamics = prepared.experiment, prepared.experiment.dynamics

    def faster(factor: int) -> AbstractDynamics:
        found = dynamics.faster(factor)
        if found is None:
            accepted = f"needs an optimiser with a learning rate, and {dynamics.kind_name()} has "
            raise InputError("passage", "pilot", f"{accepted}none; use calibrated or solved")
        return found

    found = falling_pilots(
        lambda factor: experiment.t1 / faster(factor).first_times([prepared.problem])[0],
        lambda factor: run_pilot(prepared, faster(factor), factor, thresholds),
    )
    if not found:
        raise InputError("t1", experiment.t1, f"{TOO_FEW}; simulate the run itself")
    return found


def falling_pilots(steps: Callable[[int], float], run: Callable[[int], Pilot]) -> list[Pilot]:
    """Pilots by falling factor, until two of them agree; none if all have too few steps.

    - **Takes** `steps`, the number of steps of the pilot at a factor; `run`, which runs it.
    """
    found = list[Pilot]()
    for factor in FACTORS:
        if agree(found):
            break
        if steps(factor) >= _LEAST:
            found.append(run(factor))
    return found


def cost_of(pilots: Sequence[Pilot]) -> float:
    """The steps of pilots over those of the run."""
    return sum(1 / pilot.factor for pilot in pilots)


def agree(pilots: Sequence[Pilot]) -> bool:
    """Whether the last two pilots are stable, with the same verdict at about the same time."""
    if len(pilots) < 2 or not (pilots[-1].is_stable and pilots[-2].is_stable):
        return False
    ratio = abs(math.log(pilots[-1].events.t50 / pilots[-2].events.t50))
    return pilots[-1].verdict == pilots[-2].verdict and not ratio > _AGREE


def conclude_by_pilots(
    family_at: Callable[[Sequence[int]], Family], pilots: Sequence[Pilot], thresholds: Thresholds
) -> tuple[Conclusion, Clock, Pilot]:
    r"""The forecast of a run from its pilots, the clock that measures its error, and a pilot.

    The clock is $\log (t / \bar t)$, with $\bar t$ the geometric mean of the times of the pilots.
    Its value at $t_{50}$ is nearly the same for runs of a family: longer steps shift the times.
    If two pilots disagree, the interval contains the times of both.
    Times of pilots also differ at random, and by more than from one factor to the next, so that an
    extrapolation to the factor 1 would be worse than the mean.

    The pilot is the one with the smallest factor among the stable ones, or among all.

    - **Takes** `family_at`, the family of pilots at given factors; `pilots`, by falling factor.
    """
    stable = [pilot for pilot in pilots if pilot.is_stable]
    nearest = (stable or pilots)[-1]
    verdict, why = _verdict(pilots, stable, thresholds)
    dated = [p for p in stable if p.verdict in _CHANGES and p.events.t50 > 0][-2:]
    apart = len(dated) > 1 and not agree(dated)
    family = family_at([pilot.factor for pilot in dated or pilots])
    times = nearest.course.times
    clock = Clock(times, np.full(len(times), math.nan), math.nan)
    t50, interval = math.nan, (math.nan, math.nan)
    if verdict in _CHANGES and nearest in dated:
        mean = float(np.exp(np.mean([math.log(pilot.events.t50) for pilot in dated])))
        low, t50, high = (mean * math.exp(k) for k in (family.low, family.middle, family.high))
        interval, steps = with_steps((low, high), nearest.course, nearest.events, _MARGIN)
        if thresholds.loss is None:
            interval, few = with_grain(interval, nearest.course, nearest.events, nearest.grain)
            steps += few
        read = " and ".join(f"{p.events.t50:.4g} at factor {p.factor}" for p in dated)
        about = f"; {family.source} measure its error"
        if family.known:
            about = f", corrected by a constant from {family.source}"
        text = f"t50 from {read}{about}"
        why += [Reason(0 if family.known else 2, text), *steps]
        if apart:
            read_off = [pilot.events.t50 for pilot in dated]
            interval = (min(interval[0], *read_off), max(interval[1], *read_off))
            why.append(Reason(2, "the pilots disagree, so the interval contains both"))
        clock = Clock(times, times / mean, math.nan)
    late = {"predictor": f"end of the pilot at factor {nearest.factor}", **nearest.late}
    outcome = None if verdict == "cannot_say" else nearest.events.outcome
    after = held_after(nearest.events)
    said = Conclusion(verdict, outcome, t50, interval, family, why, nearest.early, late, after)
    return said, clock, nearest


def _verdict(
    pilots: Sequence[Pilot], stable: Sequence[Pilot], thresholds: Thresholds
) -> tuple[Verdict, list[Reason]]:
    """The verdict of the stable pilot with the smallest factor, and its basis."""
    said = "; ".join(f"at {pilot.factor} times the learning rate {pilot.says}" for pilot in pilots)
    why = [Reason(0, f"pilots: {said}")]
    if not stable:
        if len(pilots) > 1 and pilots[-1].is_like(pilots[-2]):
            return "none", [*why, Reason(1, "no pilot keeps a fit of the training data")]
        text = "no pilot keeps a fit of the training data, perhaps because of its learning rate"
        return "cannot_say", [*why, Reason(2, text)]
    verdict = stable[-1].verdict
    for pilot in pilots:
        if pilot not in stable:
            text = f"the pilot at factor {pilot.factor} does not keep a fit of the training data"
            why.append(Reason(1, text))
        elif pilot.verdict != verdict:
            text = f"the pilot at factor {pilot.factor} gives the verdict {pilot.verdict}"
            both = pilot.verdict in _CHANGES and verdict in _CHANGES
            why.append(Reason(1 if both else 2, text))
    if verdict == "none" and stable[-1].events.state == "moving":
        text = "the pilot still moves at its end, so a longer run may change its score"
        why.append(Reason(1, text))
    near = stable[-1].course.near(thresholds, _MARGIN, verdict)
    if near:
        text = f"a small change of these thresholds changes the verdict: {', '.join(near)}"
        why.append(Reason(1, text))
    return verdict, why

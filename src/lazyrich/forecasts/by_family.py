"""Times and verdicts from the runs of a family: its constant, and the outcomes of similar runs."""

import math
from dataclasses import dataclass

from ..experiments.experiment import Experiment
from ..records.transition import Outcome, Thresholds
from .calibration import Family
from .caveats import FIT_UNKNOWN
from .norm_clock import norm_clock
from .phase import Clock, KernelPhase
from .subset import Subsets
from .verdict import Reason, Verdict

TIMES_HOLD = "; the times are valid if there is a change"
"""What a reason adds where the direction of a change is unknown."""


def clock_of(family: Family, phase: KernelPhase, subsets: Subsets | None) -> Clock:
    """The clock of a family: that of the norm, or of the kernel flow."""
    if not math.isnan(family.margin):
        return norm_clock(phase.problem, family.margin)
    return phase.clock if subsets is None else phase.clock.later(subsets.t_end - phase.t_end)


def calibrated(
    family: Family, phase: KernelPhase, subsets: Subsets | None
) -> tuple[float, tuple[float, float], list[Reason]]:
    """$t_{50}$ by the calibrated constant, its interval, and the reason that says so."""
    clock = clock_of(family, phase, subsets)
    low, middle, high = map(clock.when, (family.low, family.middle, family.high))
    if subsets is not None and math.isnan(family.margin):
        low, high = low - subsets.error, high + subsets.error
    text = f"t50 from the calibrated constant kappa = {family.middle:.3g} ({family.source})"
    certain = family.known and not family.solve
    if not certain:
        text += ". For this run the constant is unreliable; use --solve"
    return middle, (low, high), [Reason(0 if certain else 2, text)]


@dataclass(frozen=True)
class End:
    """The verdict, the outcome at the horizon if it is known, and the reason."""

    verdict: Verdict
    outcome: Outcome | None
    reason: Reason


def end_by_family(
    experiment: Experiment,
    family: Family,
    t_fit: float,
    interval: tuple[float, float],
    thresholds: Thresholds,
) -> End:
    """The end of a run without a rich predictor; `cannot_say` if similar runs do not decide it.

    - **Takes** `t_fit`, the time of the fit; `interval`, that of $t_{50}$.
    """
    if experiment.task.null_control() == {}:
        text = "labels are independent of the inputs, so training says nothing about test samples"
        return End("none", None, Reason(0, text))
    if family.collapses:
        text = "weight decay is close to or above the value from which zero parameters minimise "
        text += "the loss: the fit of the training data is lost"
        return End("none", None, Reason(0, text))
    if family.verdict == "cannot_say" or not family.known:
        text = "no rich predictor is computed for this model, so the direction of a change is "
        return End("cannot_say", None, Reason(1, f"{text}unknown{TIMES_HOLD}"))
    return _by_delay(family.verdict, thresholds.delay * t_fit, interval)


def _by_delay(verdict: Verdict, least: float, interval: tuple[float, float]) -> End:
    """The end of a run whose test score rises: late, from the time `least` on, or earlier."""
    rises, (low, high) = "the test score of all calibration runs rises above chance", interval
    if least <= low or high < least:
        return End(verdict if least <= low else "immediate", None, Reason(0, rises))
    text = f"the threshold delay times the time of the fit, {least:.3g}, is in the interval of t50"
    why = FIT_UNKNOWN if math.isnan(least) else text
    text = f"{rises}, but whether it does so late is unknown: {why}"
    return End("cannot_say", None, Reason(1, text))

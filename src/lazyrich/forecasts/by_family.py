"""Times and verdicts from the runs of a family: its constant, and the outcomes of similar runs."""

import math
from dataclasses import dataclass

from ..experiments.experiment import Experiment
from ..records.transition import Outcome, Thresholds
from .calibration import Family
from .norm_clock import norm_clock
from .phase import Clock, KernelPhase
from .subset import Subsets
from .verdict import Reason, Verdict

# One minus weight decay over that of the collapse: from this value on the fit is lost. A run of
# addition modulo 23 at 0.07 loses its fit, and one at 0.27 generalises.
_COLLAPSED = 0.07


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
) -> End | None:
    """The end of a run without a rich predictor; None if similar runs do not decide it.

    - **Takes** `t_fit`, the time of the fit; `interval`, that of $t_{50}$.
    """
    if experiment.task.null_control() == {}:
        text = "labels are independent of the inputs, so training says nothing about test samples"
        return End("none", None, Reason(0, text))
    if family.left <= _COLLAPSED:
        text = "weight decay is so strong that the loss has no minimum but zero parameters, or "
        text += "nearly so: the fit of the training data is lost"
        return End("none", None, Reason(0, text))
    least, (low, high) = thresholds.delay * t_fit, interval
    if family.verdict == "cannot_say" or not family.known or not (least <= low or high < least):
        return None
    text = "all runs of the calibration within the same ranges generalise"
    return End(family.verdict if least <= low else "immediate", None, Reason(0, text))

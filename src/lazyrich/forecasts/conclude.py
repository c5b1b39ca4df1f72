"""Verdict and times of a forecast, by the best information on the run."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from .._run.solve import grids
from ..experiments.experiment import Experiment
from ..records.summary import early_and_late
from ..records.transition import Outcome, Thresholds, Transition
from .by_family import calibrated, end_by_family
from .calibration import Family
from .caveats import (
    RichEnd,
    caveats_of_data,
    caveats_of_dynamics,
    caveats_of_end,
    caveats_of_model,
    caveats_of_phase,
    caveats_of_start,
)
from .course import Course
from .predictions import Predictions, end_of
from .solve import UNRESOLVED
from .transition import SolvedTransition
from .verdict import Reason, Verdict, verdict_of


@dataclass(frozen=True)
class Conclusion:
    """The result of a forecast, see [`Forecast`][lazyrich.Forecast].

    `outcome` is the outcome of the run at its horizon, None if it is not predicted. `held_after`
    is the time from which half of the change is held above chance, over `t50`.
    """

    verdict: Verdict
    outcome: Outcome | None
    t50: float
    t50_interval: tuple[float, float]
    family: Family
    reasons: list[Reason]
    early: dict[str, float]
    late: dict[str, Any]
    held_after: float = 1.0


def held_after(events: Transition) -> float:
    r"""`t_change` over `t50`, by which sentences and advice are about one time; at least 1."""
    found = events.t_change / events.t50 if events.t50 > 0 else 1.0
    return max(found, 1.0) if math.isfinite(found) else 1.0


# Up to the first value of the indicator the kernel flow is taken as the run. Up to the second value
# this costs some confidence, above it more.
_LAZY, _HARDLY = 0.1, 0.3


# Uncertainty of scores: for the run itself, from the solver's tolerance; and for predictors, whose
# scores differ slightly from those at the end of a run.
_SLACK, _MARGIN = 0.005, 0.03


# Half of the width, in log time, of the interval around a time that the run itself gives.
_READ = 0.03


def conclude(
    experiment: Experiment,
    family: Family,
    predictions: Predictions,
    thresholds: Thresholds,
    solved: SolvedTransition | None,
) -> Conclusion:
    """Verdict and times: from the run itself if it was solved, else from the predictors."""
    if predictions.phase.solved.ending == UNRESOLVED:
        return _unresolved(family, predictions)
    caveats = caveats_of_dynamics(experiment, predictions.phase)
    caveats += caveats_of_data(predictions.phase.problem)
    moved = predictions.moved(experiment.t1)
    if predictions.is_exact:
        return _by_kernel_flow(experiment, family, predictions, thresholds, caveats)
    if solved is not None:
        return _by_solving(experiment, family, predictions, thresholds, solved, caveats)
    if not math.isnan(predictions.t_end) and not math.isnan(predictions.scores.late):
        return _by_predictors(experiment, family, predictions, thresholds, caveats)
    if moved < 1 and (moved <= _LAZY or math.isnan(predictions.t_end)):
        caveats += caveats_of_model(experiment, experiment.t1)
        if moved > _LAZY:
            text = f"the kernel has changed by {moved:.2g} (relative) along the dual up to t1"
            caveats.append(Reason(1 if moved <= _HARDLY else 2, text))
        return _by_kernel_flow(experiment, family, predictions, thresholds, caveats)
    return _without_end(experiment, family, predictions, thresholds, caveats)


def _unresolved(family: Family, predictions: Predictions) -> Conclusion:
    """If double precision does not determine the kernel flow."""
    text = "the eigenvalues of the kernel span more than double precision resolves, so the kernel "
    text += "flow is unknown; scale the columns of the inputs to similar sizes"
    unknown = dict.fromkeys(predictions.early, math.nan)
    why, nothing = [Reason(2, text)], (math.nan, math.nan)
    return Conclusion("cannot_say", None, math.nan, nothing, family, why, unknown, {})


def _by_kernel_flow(
    experiment: Experiment,
    family: Family,
    predictions: Predictions,
    thresholds: Thresholds,
    caveats: list[Reason],
) -> Conclusion:
    """If the kernel flow is the run, up to the horizon or for all time."""
    run = predictions.course.until(experiment.t1)
    if predictions.is_exact:
        run = run.at(grids([experiment], [predictions.phase.problem])[0])
    events = run.events(thresholds)
    verdict, outcome = verdict_of(events), events.outcome
    text = "the kernel phase lasts beyond the horizon, so the kernel flow is the run up to t1"
    if predictions.is_exact:
        text = "the model is linear in its parameters, so the kernel flow is the run for all time"
    reasons = [Reason(0, f"{text}: {outcome} ({events.says})"), *caveats]
    if predictions.subsets is not None:
        reasons += [predictions.subsets.reason, Reason(2, "scores are for training on a subset")]
    shown = run
    if predictions.is_exact and verdict in ("none", "immediate"):
        later = predictions.course.events(thresholds)
        if verdict_of(later) != verdict and later.t_change > experiment.t1:
            verdict, events, shown = verdict_of(later), later, predictions.course
    near = shown.near(thresholds, _slack_of(predictions), verdict)
    if near:
        reasons.append(
            Reason(1, f"a small change of these thresholds changes the verdict: {', '.join(near)}")
        )
    states = early_and_late(shown.times, shown.curves, events)
    early = predictions.early if math.isnan(events.t_train) else states["early"]
    t50 = math.nan
    if verdict in ("grok", "misgrok", "immediate"):
        t50 = events.t50 if thresholds.loss is None else events.t_change
    interval = (t50 * math.exp(-_READ), t50 * math.exp(_READ))
    if thresholds.loss is None:
        interval, steps = with_steps(interval, shown, events, _slack_of(predictions))
        interval, few = with_grain(interval, shown, events, predictions.grain)
        reasons += steps + few
    late = {"predictor": "the end of the kernel flow", **states["late"]}
    after = held_after(events) if thresholds.loss is None else 1.0
    return Conclusion(verdict, outcome, t50, interval, family, reasons, early, late, after)


def _slack_of(predictions: Predictions) -> float:
    return _SLACK if predictions.is_exact else _MARGIN


# The test score changes in steps if the times around half of its change differ by this factor.
_STEPS = 2.0


def with_steps(
    interval: tuple[float, float], course: Course, events: Transition, slack: float
) -> tuple[tuple[float, float], list[Reason]]:
    """The interval of $t_{50}$, widened if the test score changes in steps, and the reason."""
    first, last = course.around_half(events, slack)
    if not last > _STEPS * first:
        return interval, []
    text = "the test score changes in steps, and half of the change is passed from "
    text += f"{events.at_time(first)} to {events.at_time(last)}"
    return (min(interval[0], first), max(interval[1], last)), [Reason(1, text)]


def with_grain(
    interval: tuple[float, float], course: Course, events: Transition, grain: float
) -> tuple[tuple[float, float], list[Reason]]:
    """The interval of $t_{50}$, widened to the times at which two test samples decide; the reason.

    An accuracy can be exactly at half of its change for some time. One sample is for the score, one
    for the plateau, which decides where half of the change is.

    - **Takes** `grain`, the change of the score by one test sample; zero for a continuous score.
    """
    first, last = course.around_half(events, 2 * grain)
    below, above = (end / events.t50 for end in interval)
    # NaN, for a score that does not change, is never smaller or larger.
    wide = min(interval[0], first * below), max(interval[1], last * above)
    if not last > _STEPS * first:
        return wide, []
    text = "two test samples decide whether half of the change is passed at "
    text += f"{events.at_time(first)} or {events.at_time(last)}: use more test samples"
    return wide, [Reason(1, text)]


def _by_solving(
    experiment: Experiment,
    family: Family,
    predictions: Predictions,
    thresholds: Thresholds,
    solved: SolvedTransition,
    caveats: list[Reason],
) -> Conclusion:
    """If the run itself was solved from the end of the kernel phase to the horizon."""
    events, verdict = solved.events, verdict_of(solved.events)
    reasons = [solved.reason, *caveats, *caveats_of_model(experiment, solved.begin)]
    reasons += caveats_of_start(experiment, predictions.phase) + caveats_of_phase(
        predictions.phase, predictions.t_fit
    )
    near = solved.course.near(thresholds, _MARGIN, verdict)
    if near:
        reasons.append(
            Reason(1, f"a small change of these thresholds changes the verdict: {', '.join(near)}")
        )
    late = predictions.late or {"predictor": "the end of the solve", **solved.late}
    around = solved.interval(family.error)
    interval, steps = with_steps(around, solved.course, events, _MARGIN)
    if thresholds.loss is None:
        interval, few = with_grain(interval, solved.course, events, predictions.grain)
        steps += few
    reasons += steps
    return Conclusion(
        verdict, events.outcome, events.t50, interval, family, reasons, predictions.early, late,
        held_after(events),
    )  # fmt: skip


def _by_predictors(
    experiment: Experiment,
    family: Family,
    predictions: Predictions,
    thresholds: Thresholds,
    caveats: list[Reason],
) -> Conclusion:
    """A change from the kernel predictor to the rich one, at the time of the family's constant."""
    phase, problem, t1 = predictions.phase, predictions.phase.problem, experiment.t1
    end = RichEnd(problem, predictions.rich)
    middle, (low, high), reasons = calibrated(family, phase, predictions.subsets)
    early, rich = predictions.scores
    why = [
        Reason(0, f"kernel predictor scores {early:.3g} on test data, rich predictor {rich:.3g}"),
        *caveats,
        *caveats_of_model(experiment, predictions.t_end),
        *caveats_of_start(experiment, phase),
        *caveats_of_phase(phase, predictions.t_fit),
        *caveats_of_end(predictions.rich),
        *end.caveats(float(problem.model.norm(problem.params))),
    ]
    if predictions.subsets is not None:
        why.append(predictions.subsets.reason)
    if not middle > 0:
        why.append(Reason(2, "the calibrated constant gives no time for the change"))
        nothing = (math.nan, math.nan)
        return Conclusion(
            "cannot_say", None, math.nan, nothing, family, why, predictions.early, predictions.late
        )

    def course(t50: float, shift: float) -> Course:
        return predictions.course.changed(
            end_of(problem, predictions, end, shift), predictions.t_end, t50, t1
        )

    at_times = [course(t50, 0.0) for t50 in (middle, low, high) if t50 > 0]
    at_scores = [course(middle, shift) for shift in (-_MARGIN, _MARGIN)]
    likely = at_times[0]
    events = [each.events(thresholds) for each in (*at_times, *at_scores)]
    verdicts = [verdict_of(each) for each in events]
    verdict = verdicts[0]
    if len({_direction(each, thresholds) for each in events}) > 1:
        verdict = "cannot_say"
        why.append(
            Reason(
                1, f"the change of the score is too close to the threshold {thresholds.change:g}"
            )
        )
    elif likely.is_delay_undecided(events[0], thresholds, _MARGIN):
        verdict = "cannot_say"
        text = "the test score rises, but whether this is late depends on errors of scores: "
        why.append(Reason(1, f"{text}the threshold delay is {thresholds.delay:g}"))
    elif len(set(verdicts)) > 1:
        others = " or ".join(sorted(set(verdicts) - {verdict}))
        why.append(
            Reason(1, f"within the errors of scores and times the verdict could be {others}")
        )
    by_t1 = {each.until(t1).events(thresholds).outcome for each in at_times}
    outcome = by_t1.pop() if len(by_t1) == 1 and verdict != "cannot_say" else None
    t50, interval = middle, (low, high)
    if verdict in ("none", "immediate") and math.isnan(events[0].t50):
        t50, interval = math.nan, (math.nan, math.nan)
    elif thresholds.loss is None and likely.is_early(events[0], middle):
        t50 = events[0].t50
        around = (t50 * math.exp(-_READ), t50 * math.exp(_READ))
        interval, steps = with_steps(around, likely, events[0], _MARGIN)
        text = "the test score passes half of its change already in the kernel phase"
        why += [Reason(1, text), *steps]
    else:
        why += reasons
    # The rich predictor is not the end of a run that loses its fit.
    late = {} if events[0].outcome == "collapsed" else predictions.late
    return Conclusion(verdict, outcome, t50, interval, family, why, predictions.early, late)


def _direction(events: Transition, thresholds: Thresholds) -> int:
    """1 for a rise of the test score, -1 for a fall, 0 for no change."""
    size = events.final_score - events.plateau_score
    return int(np.sign(size)) if abs(size) >= thresholds.change else 0


def _without_end(
    experiment: Experiment,
    family: Family,
    predictions: Predictions,
    thresholds: Thresholds,
    caveats: list[Reason],
) -> Conclusion:
    """If the run leaves the kernel regime and its end is not computed."""
    phase = predictions.phase
    middle, interval, reasons = calibrated(family, phase, predictions.subsets)
    until = phase.times[-1] if math.isnan(predictions.t_end) else predictions.t_end
    text = f"the kernel predictor scores {predictions.scores.early:.3g} on test data"
    end = end_by_family(experiment, family, predictions.t_fit, interval, thresholds)
    if end.verdict != "cannot_say":
        why = [Reason(0, text), end.reason]
        if end.verdict == "none":
            middle, interval, reasons = math.nan, (math.nan, math.nan), []
    elif math.isnan(predictions.t_end):
        text = f"{text}; the kernel flow was solved only up to t = {until:.4g}, not to t1"
        why = [Reason(2, f"{text}, so what follows is unknown")]
    else:
        why = [Reason(end.reason.weight, f"{text}; {end.reason.text}")]
    why += [*caveats, *caveats_of_model(experiment, until)]
    why += (
        caveats_of_start(experiment, phase) + caveats_of_phase(phase, predictions.t_fit) + reasons
    )
    if predictions.subsets is not None:
        why.append(predictions.subsets.reason)
    early, late = predictions.early, predictions.late
    return Conclusion(end.verdict, end.outcome, middle, interval, family, why, early, late)

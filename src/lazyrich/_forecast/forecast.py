"""When a run will leave the kernel regime, and into what, before any training."""

import math
import time
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float
from threadpoolctl import threadpool_limits

from .._experiment import Experiment
from .._ground import Ground
from .._measure import rms
from .._precision import in_double
from .._shown import as_html, interval, number, rows
from .._simulate import grids
from .._summary import early_and_late, jsonable, textbook_of
from .._transition import Outcome, Thresholds, Transition
from .advice import advice_of
from .calibration import Family, family_of
from .course import Course
from .doubts import (
    RichEnd,
    doubts_of_dynamics,
    doubts_of_end,
    doubts_of_model,
    doubts_of_phase,
    doubts_of_start,
    number_of,
)
from .likeness import likeness
from .passage import Passage, solve_passage
from .phase import Clock, KernelPhase
from .seen import Asked, How, Seen, end_of, look
from .subset import Subsets
from .verdict import Confidence, Reason, Scores, Verdict, confidence_of, verdict_of


class Forecast(NamedTuple):
    r"""What is to be expected of a run. Times are gradient-flow times, NaN where there is none.

    - `verdict`: `grok`, `misgrok`, `immediate` (no delay), `none` (no change, and no
        generalisation), `cannot_say`; of a run that is long enough.
    - `confidence`: `high`, `medium`, `low`; `reasons`, what the forecast rests on and what lowers
        its confidence; `advice`, what to do next, in one line.
    - `outcome`, that of the run to its horizon `t1` in the words of
        [`transition`][lazyrich.transition]; None where it is not foreseen.
    - `t_kernel_end`, $t_{I=1}$; `t50`, when half of the change of the test score is done (of a
        model linear in its parameters under `Thresholds.loss`, when that is reached), within
        `t50_interval`; `t_fit`, when the kernel flow has fitted the training data; `textbook`,
        $(1/\lambda) \log \alpha$ with $\alpha$ = `init_scale`, and `textbook_per_coordinate`, with
        the root mean square of $\theta(0)$, see [`textbook_time`][lazyrich.textbook_time].
    - `early`, scores and losses of the kernel flow on its plateau; `late`, those of the rich
        predictor, or those at the end where the run itself was followed; empty for unknown.
    - `family`, whose $\kappa$ `t50` is from.
    - `times`, and over them `indicator`, $I$; `phi_ratio`, $\|\varphi\|/\|\theta_0\|$;
        `curves`, losses and accuracies of the kernel flow by the names that records give them.
    - `ending`, how the kernel flow ended: `completed` unless it failed.
    - `method`, how kernel and flow were computed; `seconds`, spent on each stage; `num_steps`,
        `num_gradients`, what solving the passage took, zero where that was not done.
    - `scores`, test scores on the plateau and at the end; NaN where unknown.
    - `clock`, by which passages are measured, see [`Family`][lazyrich.Family].
    """

    experiment: str
    experiment_hash: str
    verdict: Verdict
    confidence: Confidence
    outcome: Outcome | None
    reasons: tuple[str, ...]
    advice: str
    t_kernel_end: float
    t50: float
    t50_interval: tuple[float, float]
    t_fit: float
    textbook: float
    textbook_per_coordinate: float
    early: dict[str, float]
    late: dict[str, Any]
    family: Family
    times: Float[np.ndarray, " t"]
    indicator: Float[np.ndarray, " t"]
    phi_ratio: Float[np.ndarray, " t"]
    curves: dict[str, Float[np.ndarray, " t"]]
    ending: str
    method: str
    seconds: dict[str, float]
    num_steps: int
    num_gradients: int
    clock: Clock
    scores: Scores

    def __str__(self) -> str:
        return rows(
            forecast=f"{self.experiment}, {self.experiment_hash[:8]}",
            verdict=f"{self.verdict} (confidence: {self.confidence})",
            next=self.advice,
            t_kernel_end=number(self.t_kernel_end),
            t50=f"{number(self.t50)}, from {interval(self.t50_interval)}",
            because=self.reasons[0] if self.reasons else "",
        )

    def _repr_html_(self) -> str:
        return as_html(self)

    def summary(self) -> dict[str, Any]:
        """Ready for JSON: what is unknown is None. Curves are left out."""
        left_out = ("times", "indicator", "phi_ratio", "curves", "family", "clock", "scores")
        kept = {key: value for key, value in self._asdict().items() if key not in left_out}
        found: dict[str, Any] = jsonable({**kept, "calibration": self.family._asdict()})
        return found


@in_double
def forecast(
    experiment: Experiment,
    *,
    params: Any = None,
    num_samples: int | None = None,
    passage: How | None = None,
    max_test: int = 2000,
    thresholds: Thresholds = Thresholds(),
) -> Forecast:
    r"""Says from the initial kernel alone when a run leaves the kernel regime, and into what.

    The kernel flow, training in the first-order expansion around the decayed start, is followed
    until its picture breaks down: where $I(t) = c^\top K(\theta_0 + \varphi) c / c^\top K(\theta_0)
    c - 1$ reaches 1. Half of the test score's change is expected where its clock, see
    [`Family`][lazyrich.Family], shows a $\kappa$ known from runs of the same family. Its direction
    follows from the test scores of the kernel flow and of the rich predictor, where that is
    computable.

    - **Takes** `params`, $\theta(0)$ of your own, as [`simulate`][lazyrich.simulate] does;
        `num_samples`, the size of random subsets to take in place of the training data, with
        the error of that measured on two disjoint ones, left out 400 where there are more than
        20,000 training outputs and else all; `passage`, `calibrated` or `solved`,
        which follows the run itself from the end of the kernel phase on and asks for no
        calibration, nor for a rich predictor, left out what its family does better with;
        `max_test`, test samples to score on; `thresholds`, what counts as fitted and as
        generalised to.
    - **Returns** a [`Forecast`][lazyrich.Forecast].
    - **Raises** [`InputError`][lazyrich.InputError] where [`simulate`][lazyrich.simulate]
        would, and for subsets too large to be disjoint.
    """
    # As in `simulate`: LAPACK's threads would spin beside the compiled products.
    with threadpool_limits(limits=1, user_api="blas"):
        asked = Asked(num_samples, passage, max_test, thresholds)
        asked.check()
        begun = time.perf_counter()
        ground = Ground(experiment, params)
        sampling = {"sampling data": time.perf_counter() - begun}
        found = forecast_on(experiment, ground, asked)
        return found._replace(seconds=sampling | found.seconds)


class _Said(NamedTuple):
    """What follows from it. `outcome` is that of the run to its horizon, None where that is not
    foreseen; `events`, what a record of the course shows, None without one."""

    verdict: Verdict
    outcome: Outcome | None
    t50: float
    t50_interval: tuple[float, float]
    family: Family
    reasons: list[Reason]
    early: dict[str, float]
    late: dict[str, Any]


def forecast_on(experiment: Experiment, ground: Ground, asked: Asked) -> Forecast:
    """The same of an experiment on a prepared problem, in double precision."""
    seconds: dict[str, float] = {}
    begun = time.perf_counter()

    def done(stage: str) -> None:
        seconds[stage] = time.perf_counter() - begun - sum(seconds.values())

    problem = ground.problem_of(experiment)
    seen = look(problem, ground, experiment, asked, done)
    number = number_of(problem, seen.rich)
    like = likeness(
        seen.phase, seen.rich, len(problem.train.y), seen.t_fit, seen.scores.early, number
    )
    family = family_of(experiment, seen.direction).on(type(experiment.loss).__name__, like)
    solved = None
    wanted = family.solve and seen.subsets is None
    if asked.passage == "solved" or (asked.passage is None and wanted):
        solved = solve_passage(
            experiment,
            problem.model,
            seen.phase,
            seen.course,
            asked.thresholds,
            asked.max_test,
        )
        done("solving the transition")
    said = _said(experiment, family.at(number), seen, asked.thresholds, solved)
    if said.t50 > experiment.t1:
        said.reasons.append(Reason(0, f"t50 lies beyond the horizon t1 = {experiment.t1:g}"))
    phase, confidence = seen.phase, confidence_of(said.reasons)
    return Forecast(
        experiment=experiment.name,
        experiment_hash=experiment.content_hash,
        verdict=said.verdict,
        confidence=confidence,
        outcome=said.outcome,
        reasons=tuple(reason.text for reason in said.reasons),
        advice=advice_of(
            said.verdict,
            confidence,
            said.outcome,
            said.t50_interval,
            experiment,
            solved=asked.passage == "solved" or solved is not None,
        ),
        t_kernel_end=seen.t_end,
        t50=said.t50,
        t50_interval=said.t50_interval,
        t_fit=seen.t_fit,
        textbook=textbook_of(experiment),
        textbook_per_coordinate=textbook_of(experiment, rms(problem.params)),
        early=said.early,
        late=said.late,
        family=said.family,
        times=phase.times,
        indicator=phase.solved.observed["indicator"],
        phi_ratio=phase.solved.observed["phi_ratio"],
        curves=seen.curves,
        ending=phase.solved.ending,
        method=f"kernel {phase.flow.kernel.label}, flow {phase.solved.method}, "
        f"{phase.solved.num_steps} steps",
        seconds=seconds,
        num_steps=0 if solved is None else solved.num_steps,
        num_gradients=0 if solved is None else solved.num_gradients,
        clock=phase.clock,
        scores=seen.scores_at(said.early, said.late),
    )


# The indicator up to which the kernel flow is taken for the run itself, and up to which it is
# followed with less confidence.
_LAZY, _HARDLY = 0.1, 0.3
# Slack of thresholds: of the run itself, followed to the solver's tolerance; and where scores are
# those of predictors, from which the end of a run differs a little.
_SLACK, _MARGIN = 0.005, 0.03
# Half of the width, in log time, of the interval around a time read off the run itself.
_READ = 0.03


def _said(
    experiment: Experiment,
    family: Family,
    seen: Seen,
    thresholds: Thresholds,
    solved: Passage | None,
) -> _Said:
    """Verdict and times: of the run itself where it is followed, else by the predictors."""
    doubts = doubts_of_dynamics(experiment, seen.phase)
    moved = seen.moved(experiment.t1)
    if seen.is_exact:
        return _by_kernel_flow(experiment, family, seen, thresholds, doubts)
    if solved is not None:
        return _by_solving(experiment, family, seen, thresholds, solved, doubts)
    if not math.isnan(seen.t_end) and not math.isnan(seen.scores.late):
        return _by_predictors(experiment, family, seen, thresholds, doubts)
    if moved < 1 and (moved <= _LAZY or math.isnan(seen.t_end)):
        doubts += doubts_of_model(experiment, experiment.t1)
        if moved > _LAZY:
            text = f"the kernel has changed by {moved:.2g} along the dual by the horizon"
            doubts.append(Reason(1 if moved <= _HARDLY else 2, text))
        return _by_kernel_flow(experiment, family, seen, thresholds, doubts)
    return _without_end(experiment, family, seen, thresholds, doubts)


def _by_kernel_flow(
    experiment: Experiment,
    family: Family,
    seen: Seen,
    thresholds: Thresholds,
    doubts: list[Reason],
) -> _Said:
    """Where the kernel flow is the run, up to the horizon or for all time."""
    run = seen.course.until(experiment.t1)
    if seen.is_exact:
        run = run.at(grids([experiment], [seen.phase.problem])[0])
    events = run.events(thresholds)
    verdict, outcome = verdict_of(events), events.outcome
    text = "the kernel phase lasts beyond the horizon, so the kernel flow is the run up to there"
    if seen.is_exact:
        text = "the model is linear in its parameters, so the kernel flow is the run for all time"
    reasons = [Reason(0, f"{text}: {outcome} ({events.says})"), *doubts]
    if seen.subsets is not None:
        reasons += [seen.subsets.reason, Reason(2, "scores are those of a subset")]
    shown = run
    if seen.is_exact and verdict in ("none", "immediate"):
        later = seen.course.events(thresholds)
        if verdict_of(later) != verdict and later.t_change > experiment.t1:
            verdict, events, shown = verdict_of(later), later, seen.course
    near = shown.near(thresholds, _SLACK if seen.is_exact else _MARGIN, verdict)
    if near:
        reasons.append(Reason(1, f"near to where the verdict turns: {', '.join(near)}"))
    states = early_and_late(shown.times, shown.curves, events)
    early = seen.early if math.isnan(events.t_train) else states["early"]
    t50 = math.nan
    if verdict in ("grok", "misgrok", "immediate"):
        t50 = events.t50 if thresholds.loss is None else events.t_change
    interval = (t50 * math.exp(-_READ), t50 * math.exp(_READ))
    late = {"predictor": "the kernel flow's end", **states["late"]}
    return _Said(verdict, outcome, t50, interval, family, reasons, early, late)


def _by_solving(
    experiment: Experiment,
    family: Family,
    seen: Seen,
    thresholds: Thresholds,
    solved: Passage,
    doubts: list[Reason],
) -> _Said:
    """Where the run itself was followed from the end of the kernel phase to the horizon."""
    events, verdict = solved.events, verdict_of(solved.events)
    reasons = [solved.reason, *doubts, *doubts_of_model(experiment, solved.begin)]
    reasons += doubts_of_start(experiment, seen.phase) + doubts_of_phase(seen.phase, seen.t_fit)
    near = solved.course.near(thresholds, _MARGIN, verdict)
    if near:
        reasons.append(Reason(1, f"near to where the verdict turns: {', '.join(near)}"))
    late = seen.late or {"predictor": "the solve's end", **solved.late}
    interval = solved.interval(family.error)
    return _Said(verdict, events.outcome, events.t50, interval, family, reasons, seen.early, late)


def _by_predictors(
    experiment: Experiment,
    family: Family,
    seen: Seen,
    thresholds: Thresholds,
    doubts: list[Reason],
) -> _Said:
    """From the kernel predictor to the rich one, at the time of the family's constant."""
    phase, problem, t1 = seen.phase, seen.phase.problem, experiment.t1
    end = RichEnd(problem, seen.rich)
    middle, (low, high), reasons = _calibrated(family, phase, seen.subsets)
    early, rich = seen.scores
    why = [
        Reason(0, f"kernel predictor scores {early:.3g} on test data, rich predictor {rich:.3g}"),
        *doubts,
        *doubts_of_model(experiment, seen.t_end),
        *doubts_of_start(experiment, phase),
        *doubts_of_phase(phase, seen.t_fit),
        *doubts_of_end(seen.rich),
        *end.doubts(float(problem.model.norm(problem.params))),
    ]
    if seen.subsets is not None:
        why.append(seen.subsets.reason)
    if not middle > 0:
        why.append(Reason(2, "the time of the change is not known"))
        nothing = (math.nan, math.nan)
        return _Said("cannot_say", None, math.nan, nothing, family, why, seen.early, seen.late)

    def course(t50: float, shift: float) -> Course:
        return seen.course.changed(end_of(problem, seen, end, shift), seen.t_end, t50, t1)

    at_times = [course(t50, 0.0) for t50 in (middle, low, high) if t50 > 0]
    at_scores = [course(middle, shift) for shift in (-_MARGIN, _MARGIN)]
    events = [each.events(thresholds) for each in (*at_times, *at_scores)]
    verdicts = [verdict_of(each) for each in events]
    verdict = verdicts[0]
    if len({_direction(each, thresholds) for each in events}) > 1:
        verdict = "cannot_say"
        why.append(Reason(1, f"scores are nearer to a change of {thresholds.change:g} than known"))
    elif len(set(verdicts)) > 1:
        others = " or ".join(sorted(set(verdicts) - {verdict}))
        why.append(Reason(1, f"within the errors of scores and times it could be {others}"))
    by_t1 = {each.until(t1).events(thresholds).outcome for each in at_times}
    outcome = by_t1.pop() if len(by_t1) == 1 and verdict != "cannot_say" else None
    if verdict in ("none", "immediate") and math.isnan(events[0].t50):
        middle, low, high = math.nan, math.nan, math.nan
    else:
        why += reasons
    return _Said(verdict, outcome, middle, (low, high), family, why, seen.early, seen.late)


def _direction(events: Transition, thresholds: Thresholds) -> int:
    """1 for a rise of the test score, -1 for a fall, 0 for no change."""
    size = events.final_score - events.plateau_score
    return int(np.sign(size)) if abs(size) >= thresholds.change else 0


def _without_end(
    experiment: Experiment,
    family: Family,
    seen: Seen,
    thresholds: Thresholds,
    doubts: list[Reason],
) -> _Said:
    """Where the run leaves the kernel regime and its end is not known."""
    phase = seen.phase
    middle, interval, reasons = _calibrated(family, phase, seen.subsets)
    until = phase.times[-1] if math.isnan(seen.t_end) else seen.t_end
    text = f"the kernel predictor scores {seen.scores.early:.3g} on test data"
    if math.isnan(seen.t_end):
        why = [Reason(2, f"{text}; the kernel flow is followed to t = {until:.4g}, not to t1")]
    else:
        text = f"{text}; no rich predictor is computed for this model, so the direction of a change"
        why = [Reason(1, f"{text} is unknown; times are those of a change, if there is one")]
    why += [*doubts, *doubts_of_model(experiment, until)]
    why += doubts_of_start(experiment, phase) + doubts_of_phase(phase, seen.t_fit) + reasons
    if seen.subsets is not None:
        why.append(seen.subsets.reason)
    return _Said("cannot_say", None, middle, interval, family, why, seen.early, seen.late)


def _calibrated(
    family: Family, phase: KernelPhase, subsets: Subsets | None
) -> tuple[float, tuple[float, float], list[Reason]]:
    """When half of the change is done, between what and what, and what that rests on."""
    low, middle, high = map(phase.clock.when, (family.low, family.middle, family.high))
    if subsets is not None:
        shift, blur = subsets.t_end - phase.t_end, subsets.error
        low, middle, high = low + shift - blur, middle + shift, high + shift + blur
    text = f"t50 from the calibrated constant kappa = {family.middle:.3g} ({family.source})"
    certain = family.known and not family.solve
    if not certain:
        text += ": unreliable here"
    return middle, (low, high), [Reason(0 if certain else 2, text)]

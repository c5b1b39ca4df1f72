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
from .._summary import jsonable, textbook_of
from .._transition import Thresholds
from .calibration import Family, family_of
from .doubts import RichNorm, doubts_of_end, doubts_of_phase, doubts_of_setting, number_of
from .passage import Passage, solve_passage
from .phase import Clock, KernelPhase
from .seen import Asked, How, Seen, look, scores_of
from .subset import Subsets
from .verdict import Confidence, Reason, Scores, Verdict, confidence_of, judge


class Forecast(NamedTuple):
    r"""What is to be expected of a run. Times are gradient-flow times, NaN where there is none.

    - `verdict`: `grok`, `misgrok`, `immediate` (no delay), `none` (nothing to be learned, or no
        change within the horizon), `cannot_say`; of a run that is long enough.
    - `confidence`: `high`, `medium`, `low`; `reasons`, what the forecast rests on and what speaks
        against it, in words.
    - `t_kernel_end`, $t_{I=1}$; `t50`, when half of the change of the test score is done, within
        `t50_interval`; `t_fit`, when the kernel flow has fitted the training data; `textbook`,
        $(1/\lambda) \log \alpha$ with $\alpha$ = `init_scale`, and `textbook_per_coordinate`, with
        the root mean square of $\theta(0)$, see [`textbook_time`][lazyrich.textbook_time].
    - `early`, scores and losses of the kernel flow on its plateau; `late`, those of the rich
        predictor, empty where none is computed.
    - `family`, whose $\kappa$ `t50` is from.
    - `times`, and over them `indicator`, $I$; `phi_ratio`, $\|\varphi\|/\|\theta_0\|$;
        `curves`, losses and accuracies of the kernel flow by the names that records give them.
    - `ending`, how the kernel flow ended: `completed` unless it failed.
    - `method`, how kernel and flow were computed; `seconds`, spent on each stage; `num_steps`,
        `num_gradients`, what solving the passage took, zero where that was not done.
    - `clock`, by which passages are measured, see [`Family`][lazyrich.Family].
    """

    experiment: str
    experiment_hash: str
    verdict: Verdict
    confidence: Confidence
    reasons: tuple[str, ...]
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

    def __str__(self) -> str:
        return rows(
            forecast=f"{self.experiment}, {self.experiment_hash[:8]}",
            verdict=f"{self.verdict} (confidence: {self.confidence})",
            t_kernel_end=number(self.t_kernel_end),
            t50=f"{number(self.t50)}, from {interval(self.t50_interval)}",
            because=self.reasons[0] if self.reasons else "",
        )

    def _repr_html_(self) -> str:
        return as_html(self)

    @property
    def scores(self) -> Scores:
        """Test scores on the plateau and at the end; NaN where there is none."""
        return scores_of(self.early, self.late, self.curves)

    def summary(self) -> dict[str, Any]:
        """Ready for JSON: what is unknown is None. Curves are left out."""
        left_out = ("times", "indicator", "phi_ratio", "curves", "family", "clock")
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
    """What is made of it."""

    verdict: Verdict
    t50: float
    t50_interval: tuple[float, float]
    family: Family
    reasons: list[Reason]


def forecast_on(experiment: Experiment, ground: Ground, asked: Asked) -> Forecast:
    """The same of an experiment on a ground, in double precision."""
    seconds: dict[str, float] = {}
    begun = time.perf_counter()

    def done(stage: str) -> None:
        seconds[stage] = time.perf_counter() - begun - sum(seconds.values())

    problem = ground.problem_of(experiment)
    seen = look(problem, ground, experiment.t1, asked, done)
    late, solved = seen.late, None
    family = family_of(experiment, seen.direction).on(seen.scores.early)
    wanted = family.solve and seen.subsets is None
    if asked.passage == "solved" or (asked.passage is None and wanted):
        solved = solve_passage(
            experiment,
            problem.model,
            seen.phase,
            seen.curves,
            asked.thresholds,
            asked.max_test,
        )
        done("solving the passage")
    if solved is not None:
        late = late or {"predictor": "the passage's end", **solved.late}
    said = _judged(experiment, family, seen, asked.thresholds, solved)
    if said.t50 > experiment.t1:
        said.reasons.append(Reason(0, f"t50 lies beyond the horizon t1 = {experiment.t1:g}"))
    phase = seen.phase
    return Forecast(
        experiment=experiment.name,
        experiment_hash=experiment.content_hash,
        verdict=said.verdict,
        confidence=confidence_of(said.reasons),
        reasons=tuple(reason.text for reason in said.reasons),
        t_kernel_end=seen.t_end,
        t50=said.t50,
        t50_interval=said.t50_interval,
        t_fit=seen.t_fit,
        textbook=textbook_of(experiment),
        textbook_per_coordinate=textbook_of(experiment, rms(problem.params)),
        early=seen.early,
        late=late,
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
    )


def _judged(
    experiment: Experiment,
    family: Family,
    seen: Seen,
    thresholds: Thresholds,
    solved: Passage | None,
) -> _Said:
    """The verdict and the time: by the family's constant, or as the passage was solved."""
    phase, rich, t_fit = seen.phase, seen.rich, seen.t_fit
    problem = phase.problem
    norm = RichNorm(problem, rich)
    verdict, why = judge(seen.scores, t_fit, seen.t_end, thresholds)
    if norm.collapses:
        verdict = "none"
    family = family.at(number_of(problem, rich))
    reasons = [why if solved is None else solved.reason]
    reasons += [*doubts_of_setting(experiment, phase), *doubts_of_phase(phase, t_fit)]
    reasons += doubts_of_end(rich)
    reasons += norm.doubts(float(problem.model.norm(problem.params)))
    if solved is not None:
        return _Said(
            solved.verdict, solved.events.t50, solved.interval(family.error), family, reasons
        )
    middle, interval = math.nan, (math.nan, math.nan)
    if verdict in ("grok", "misgrok", "cannot_say"):
        middle, interval, more = _passage(family, phase, seen.subsets)
        reasons += more
    if verdict == "grok" and middle < thresholds.delay * t_fit:
        verdict = "immediate"
        text = f"the change comes before {thresholds.delay:g} times the time of the fit: no delay"
        reasons.append(Reason(1, text))
    if seen.subsets is not None:
        reasons.append(seen.subsets.reason)
    return _Said(verdict, middle, interval, family, reasons)


def _passage(
    family: Family, phase: KernelPhase, subsets: Subsets | None
) -> tuple[float, tuple[float, float], list[Reason]]:
    """When half of the change is done, between what and what, and what that rests on."""
    low, middle, high = map(phase.clock.when, (family.low, family.middle, family.high))
    if subsets is not None:
        shift, blur = subsets.t_end - phase.t_end, subsets.error
        low, middle, high = low + shift - blur, middle + shift, high + shift + blur
    text = f"half of the change when the clock shows {family.middle:.3g}: {family.source}"
    if family.solve:
        text += "; that says little of such runs, their passage solved says more"
    return middle, (low, high), [Reason(0 if family.known and not family.solve else 2, text)]

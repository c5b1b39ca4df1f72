"""When a run will leave the kernel regime, and into what, before any training."""

import itertools
import math
import time
from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Shaped
from threadpoolctl import threadpool_limits

from .._dynamics import Problem
from .._errors import InputError
from .._experiment import Experiment
from .._ground import Ground, labels_of
from .._precision import in_double
from .._predictors import Predictor
from .._probes import accuracy
from .._summary import jsonable, textbook_of
from .._tasks import Blocks, Samples
from .._transition import Thresholds, read_off
from .calibration import Family, family_of
from .doubts import RichNorm, doubts_of_phase, doubts_of_setting, number_of
from .passage import Passage, solve_passage
from .phase import Clock, KernelPhase, Outputs, kernel_phase, outputs_of
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
        $(1/\lambda) \log \alpha$.
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
    passage: Literal["calibrated", "solved"] | None = None,
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
        the error of that measured on two disjoint ones; `passage`, `calibrated` or `solved`,
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
        asked = _Asked(num_samples, passage, max_test, thresholds)
        return _forecast(experiment, params, asked)


class _Asked(NamedTuple):
    num_samples: int | None
    passage: Literal["calibrated", "solved"] | None
    max_test: int
    thresholds: Thresholds


class _Seen(NamedTuple):
    """What the kernel flow and the predictors show."""

    phase: KernelPhase
    subsets: Subsets | None
    rich: Predictor | None
    curves: dict[str, Float[np.ndarray, " t"]]
    t_end: float
    t_fit: float
    early: dict[str, float]
    late: dict[str, Any]

    @property
    def scores(self) -> Scores:
        """Those of the kernel flow and of the rich predictor."""
        late = math.nan if self.rich is None else _score(self.late, self.curves)
        return Scores(_score(self.early, self.curves), late)

    @property
    def direction(self) -> Literal["grok", "misgrok"]:
        """Of the change between the two; for the better where that is not known."""
        return "misgrok" if self.scores.late < self.scores.early else "grok"


class _Said(NamedTuple):
    """What is made of it."""

    verdict: Verdict
    t50: float
    t50_interval: tuple[float, float]
    family: Family
    reasons: list[Reason]


def _forecast(experiment: Experiment, params: Any, asked: _Asked) -> Forecast:
    begun = time.perf_counter()
    seconds: dict[str, float] = {}

    def done(stage: str) -> None:
        seconds[stage] = time.perf_counter() - begun - sum(seconds.values())

    if asked.max_test < 1:
        raise InputError("max_test", asked.max_test, "should be a whole number from 1 on")
    if asked.passage == "solved" and asked.num_samples is not None:
        accepted = "should be left out where the passage is solved"
        raise InputError("num_samples", asked.num_samples, accepted)
    ground = Ground(experiment, params)
    done("sampling data")
    seen = _look(ground, asked, done)
    late, solved = seen.late, None
    wanted = family_of(experiment, seen.direction).solve and asked.num_samples is None
    if asked.passage == "solved" or (asked.passage is None and wanted):
        solved = solve_passage(
            experiment, seen.phase, seen.curves, asked.thresholds, asked.max_test
        )
        done("solving the passage")
    if solved is not None:
        late = late or {"predictor": "the passage's end", **solved.late}
    said = _judged(experiment, seen, asked.thresholds, solved)
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


def _look(ground: Ground, asked: _Asked, done: Callable[[str], None]) -> _Seen:
    problem, t1 = ground.problem, ground.experiment.t1
    rich = ground.predictors.get("rich")
    rich = rich if rich is not None and rich.status == "optimal" else None
    done("computing predictors")
    subsets = None
    if asked.num_samples is None:
        phase = kernel_phase(problem, t1)
    else:
        subsets = Subsets.of(problem, asked.num_samples, t1)
        phase = subsets.phase
    done("following the kernel flow")
    test = _some(ground.split.test, asked.max_test)
    outputs = outputs_of(phase, test, [] if rich is None else [jnp.asarray(rich.weights)])
    curves = _curves(phase, outputs)
    t_fit = read_off(phase.times, curves, "completed", asked.thresholds).t_train
    if t_fit >= phase.t_end:
        t_fit = math.nan
    early = _early(phase.times, curves, t_fit, phase.t_end)
    late = _late(problem, outputs, rich)
    done("predicting")
    t_end = phase.t_end if subsets is None else subsets.t_end
    return _Seen(phase, subsets, rich, curves, t_end, t_fit, early, late)


def _judged(
    experiment: Experiment, seen: _Seen, thresholds: Thresholds, solved: Passage | None
) -> _Said:
    """The verdict and the time: by the family's constant, or as the passage was solved."""
    phase, rich, t_fit = seen.phase, seen.rich, seen.t_fit
    problem = phase.problem
    norm = RichNorm(problem, rich)
    verdict, why = judge(seen.scores, t_fit, seen.t_end, thresholds)
    if norm.collapses:
        verdict = "none"
    family = family_of(experiment, seen.direction).at(number_of(problem, rich))
    reasons = [why if solved is None else solved.reason]
    reasons += [*doubts_of_setting(experiment, phase), *doubts_of_phase(phase, t_fit)]
    reasons += norm.doubts(float(problem.model.norm(problem.params)))
    if solved is not None:
        return _Said(solved.verdict, solved.events.t50, solved.interval, family, reasons)
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


def _some(test: Blocks, max_test: int) -> list[Samples]:
    """Test data a block at a time, the first `max_test` of them."""
    blocks, num = [], 0
    for block in itertools.islice(test, test.num_blocks):
        blocks.append(jax.tree.map(lambda a, left=max_test - num: a[:left], block))
        num += len(blocks[-1].y)
        if num >= max_test:
            break
    return blocks


def _curves(phase: KernelPhase, outputs: Outputs) -> dict[str, Float[np.ndarray, " t"]]:
    train_y = phase.problem.train.y
    parts = {"train": (outputs.train, train_y), "test": (outputs.test, outputs.y_test)}
    loss, curves = phase.problem.loss, {}
    with_accuracy = labels_of(train_y, outputs.y_test) != "reals"
    for part, (f, y) in parts.items():
        curves[f"{part}_loss"] = np.asarray(_along(loss.mean, f, y))[: len(phase.times)]
        if with_accuracy:
            curves[f"{part}_accuracy"] = np.asarray(_along(accuracy, f, y))[: len(phase.times)]
    return curves


@eqx.filter_jit
def _along(measure: Any, f: Float[Array, "t n *c"], y: Shaped[Array, " n *c"]) -> Array:
    return jax.vmap(lambda f: measure(f, y))(f)


def _early(
    times: Float[np.ndarray, " t"],
    curves: dict[str, Float[np.ndarray, " t"]],
    t_fit: float,
    t_end: float,
) -> dict[str, float]:
    """Medians over the first half, in log time, of what lies between fit and end."""
    last = times[-1] if math.isnan(t_end) else t_end
    if math.isnan(t_fit):
        begin = end = last
    else:
        begin, end = t_fit, math.sqrt(max(t_fit, times[1]) * last)
    window = (times >= begin) & (times <= end)
    if not window.any():
        window = np.arange(len(times)) == max(0, int(np.searchsorted(times, end)) - 1)
    return {name: float(np.median(values[window])) for name, values in curves.items()}


def _late(problem: Problem, outputs: Outputs, rich: Predictor | None) -> dict[str, Any]:
    if rich is None:
        return {}
    f = outputs.references[0]
    found: dict[str, Any] = {"predictor": rich.name, "gap": rich.gap}
    if labels_of(problem.train.y, outputs.y_test) != "reals":
        found["test_accuracy"] = float(accuracy(f, outputs.y_test))
    if not problem.loss.is_classification:
        found["test_loss"] = float(problem.loss.mean(f, outputs.y_test))
    return found


def _score(state: Any, curves: dict[str, Float[np.ndarray, " t"]]) -> float:
    """Accuracy, or for regression the fraction of the initial loss that is gone."""
    if "test_accuracy" in state:
        return float(state["test_accuracy"])
    return 1 - float(state["test_loss"]) / float(curves["test_loss"][0])


def _passage(
    family: Family, phase: KernelPhase, subsets: Subsets | None
) -> tuple[float, tuple[float, float], list[Reason]]:
    """When half of the change is done, between what and what, and what that rests on."""
    low, middle, high = map(phase.clock.when, (family.low, family.middle, family.high))
    if subsets is not None:
        shift, blur = subsets.t_end - phase.t_end, subsets.error
        low, middle, high = low + shift - blur, middle + shift, high + shift + blur
    text = f"half of the change when the clock shows {family.middle:.3g}: {family.source}"
    return middle, (low, high), [Reason(0 if family.known else 2, text)]

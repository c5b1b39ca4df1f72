"""When a run will leave the kernel regime, and into what, before any training."""

import itertools
import math
import time
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float
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
from .doubts import RichNorm, doubts_of_phase, doubts_of_setting, participation
from .phase import KernelPhase, Outputs, kernel_phase, outputs_of
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
    - `family`, whose constant `t50` is from.
    - `times`, and over them `indicator`, $I$; `phi_ratio`, $\|\varphi\|/\|\theta_0\|$;
        `curves`, losses and accuracies of the kernel flow by the names that records give them.
    - `ending`, how the kernel flow ended: `completed` unless it failed.
    - `method`, how kernel and flow were computed; `seconds`, spent on each stage.
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

    def summary(self) -> dict[str, Any]:
        """Ready for JSON: what is unknown is None. Curves are left out."""
        left_out = ("times", "indicator", "phi_ratio", "curves", "family")
        kept = {key: value for key, value in self._asdict().items() if key not in left_out}
        found: dict[str, Any] = jsonable({**kept, "calibration": self.family._asdict()})
        return found


@in_double
def forecast(
    experiment: Experiment,
    *,
    params: Any = None,
    num_samples: int | None = None,
    max_test: int = 2000,
    thresholds: Thresholds = Thresholds(),
) -> Forecast:
    r"""Says from the initial kernel alone when a run leaves the kernel regime, and into what.

    The kernel flow, training in the first-order expansion around the decayed start, is followed
    until its picture breaks down: where $I(t) = c^\top K(\theta_0 + \varphi) c / c^\top K(\theta_0)
    c - 1$ reaches 1. Half of the test score's change is then expected $C/\lambda$ later, with
    $C$ from runs of the same family. Its direction follows from the test scores of the kernel flow
    and of the rich predictor, where that is computable.

    - **Takes** `params`, $\theta(0)$ of your own, as [`simulate`][lazyrich.simulate] does;
        `num_samples`, the size of random subsets to take in place of the training data, with
        the error of that measured on two disjoint ones; `max_test`, test samples to score
        on; `thresholds`, what counts as fitted and as generalised to.
    - **Returns** a [`Forecast`][lazyrich.Forecast].
    - **Raises** [`InputError`][lazyrich.InputError] where [`simulate`][lazyrich.simulate]
        would, and for subsets too large to be disjoint.
    """
    # As in `simulate`: LAPACK's threads would spin beside the compiled products.
    with threadpool_limits(limits=1, user_api="blas"):
        return _forecast(experiment, params, num_samples, max_test, thresholds)


def _forecast(
    experiment: Experiment,
    params: Any,
    num_samples: int | None,
    max_test: int,
    thresholds: Thresholds,
) -> Forecast:
    begun = time.perf_counter()
    seconds: dict[str, float] = {}

    def done(stage: str) -> None:
        seconds[stage] = time.perf_counter() - begun - sum(seconds.values())

    if max_test < 1:
        raise InputError("max_test", max_test, "should be a whole number from 1 on")
    ground = Ground(experiment, params)
    problem = ground.problem
    done("sampling data")
    rich = ground.predictors.get("rich")
    rich = rich if rich is not None and rich.status == "optimal" else None
    done("computing predictors")
    subsets = None
    if num_samples is None:
        phase = kernel_phase(problem, experiment.t1)
    else:
        subsets = Subsets.of(problem, num_samples, experiment.t1)
        phase = subsets.phase
    done("following the kernel flow")
    test = _some(ground.split.test, max_test)
    outputs = outputs_of(phase, test, [] if rich is None else [jnp.asarray(rich.weights)])
    curves = _curves(phase, outputs)
    t_end = phase.t_end if subsets is None else subsets.t_end
    t_fit = read_off(phase.times, curves, "completed", thresholds).t_train
    if t_fit >= phase.t_end:
        t_fit = math.nan
    early = _early(phase.times, curves, t_fit, phase.t_end)
    late = _late(problem, outputs, rich)
    done("predicting")

    norm = RichNorm(problem, rich)
    scores = Scores(_score(early, curves), math.nan if rich is None else _score(late, curves))
    verdict, why = judge(scores, t_fit, t_end, thresholds)
    if norm.collapses:
        verdict = "none"
    family = family_of(experiment, verdict).at(participation(rich))
    reasons = [why, *doubts_of_setting(experiment, phase), *doubts_of_phase(phase, t_fit)]
    reasons += norm.doubts(float(problem.model.norm(problem.params)))
    middle, interval = math.nan, (math.nan, math.nan)
    if verdict in ("grok", "misgrok", "cannot_say"):
        middle, interval, more = _passage(family, t_end, experiment, subsets)
        reasons += more
    if verdict == "grok" and middle < thresholds.delay * t_fit:
        verdict = "immediate"
        text = f"the change comes before {thresholds.delay:g} times the time of the fit: no delay"
        reasons.append(Reason(1, text))
    if subsets is not None:
        reasons.append(subsets.reason)
    if middle > experiment.t1:
        reasons.append(Reason(0, f"t50 lies beyond the horizon t1 = {experiment.t1:g}"))
    return Forecast(
        experiment=experiment.name,
        experiment_hash=experiment.content_hash,
        verdict=verdict,
        confidence=confidence_of(reasons),
        reasons=tuple(reason.text for reason in reasons),
        t_kernel_end=t_end,
        t50=middle,
        t50_interval=interval,
        t_fit=t_fit,
        textbook=textbook_of(experiment),
        early=early,
        late=late,
        family=family,
        times=phase.times,
        indicator=phase.solved.observed["indicator"],
        phi_ratio=phase.solved.observed["phi_ratio"],
        curves=curves,
        ending=phase.solved.ending,
        method=f"kernel {phase.flow.kernel.label}, flow {phase.solved.method}, "
        f"{phase.solved.num_steps} steps",
        seconds=seconds,
    )


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
        curves[f"{part}_loss"] = np.asarray(jax.vmap(lambda f, y=y: loss.mean(f, y))(f))
        if with_accuracy:
            curves[f"{part}_accuracy"] = np.asarray(jax.vmap(lambda f, y=y: accuracy(f, y))(f))
    return curves


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
    family: Family, t_end: float, experiment: Experiment, subsets: Subsets | None
) -> tuple[float, tuple[float, float], list[Reason]]:
    """When half of the change is done, between what and what, and what that rests on."""
    unit = t_end if family.unit == "t_kernel_end" else 1 / experiment.weight_decay
    blur = 0.0 if subsets is None else subsets.error
    interval = (t_end + family.low * unit - blur, t_end + family.high * unit + blur)
    text = f"passage of {family.middle:.3g} {family.unit} after the kernel phase: {family.source}"
    return t_end + family.middle * unit, interval, [Reason(0 if family.known else 2, text)]

"""The predictions of the kernel flow and of the predictors for an experiment."""

import itertools
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Shaped

from .._run.achieved import accuracy_of_predictor
from .._run.prepared import PreparedProblem
from .._run.solve import grids
from ..dynamics import Problem
from ..losses import AbstractLoss
from ..predictors import Predictor
from ..probes import accuracy
from ..records.transition import Scales, ScoredBy, score_of_loss, scored_by
from ..tasks import Blocks, Samples
from .caveats import RichEnd
from .course import Course
from .options import ForecastOptions
from .phase import KernelPhase, Outputs, kernel_phase, outputs_of
from .solve import UNRESOLVED
from .subset import Subsets
from .verdict import Scores


@dataclass(frozen=True)
class Predictions:
    """The predictions of the kernel flow and of the predictors.

    `grain` is the change of the test score by one test sample; zero for a continuous score.
    """

    phase: KernelPhase
    subsets: Subsets | None
    rich: Predictor | None
    curves: dict[str, Float[np.ndarray, " t"]]
    scales: Scales
    t_end: float
    t_fit: float
    grain: float
    early: dict[str, float]
    late: dict[str, Any]

    @property
    def course(self) -> Course:
        """The course of the kernel flow."""
        return Course(self.phase.times, self.curves, self.scales)

    @property
    def is_exact(self) -> bool:
        """Whether the kernel flow is the gradient flow of the run, for all time."""
        return self.phase.linear and self.subsets is None

    def moved(self, t1: float) -> float:
        """The largest indicator up to a time; NaN if the kernel flow is not known up to there."""
        times = self.phase.times
        if times[-1] < t1 * (1 - 1e-9) and not self.phase.has_decayed:
            return math.nan
        indicator = self.phase.solved.observed["indicator"]
        return float(np.max(np.abs(indicator[times <= t1 * (1 + 1e-12)])))

    @property
    def scores(self) -> Scores:
        """The scores of the kernel flow and of the rich predictor."""
        return self.scores_at(self.early, self.late)

    def scores_at(self, early: Mapping[str, Any], late: Mapping[str, Any]) -> Scores:
        """The scores of two states, each a dictionary with the names of curves."""
        by = scored_by(self.curves, self.scales)
        return Scores(_score(early, self.scales, by), _score(late, self.scales, by))

    @property
    def direction(self) -> Literal["grok", "misgrok"]:
        """The direction of the change between the two scores; `grok` if it is unknown."""
        return "misgrok" if self.scores.late < self.scores.early else "grok"


def predict(
    prepared: PreparedProblem, options: ForecastOptions, done: Callable[[str], None]
) -> Predictions:
    """Solves the kernel flow of a prepared problem and evaluates it.

    - **Takes** `done`, called at the end of every stage with the name of the stage.
    """
    experiment, problem = prepared.experiment, prepared.problem
    t1 = experiment.t1
    certified = {role: p for role, p in prepared.data.predictors.items() if p.is_certified}
    rich = certified.get("rich")
    done("computing predictors")
    size = options.size(problem)
    subsets = None if size is None else Subsets.of(problem, size, t1)
    if subsets is None:
        phase = kernel_phase(problem, t1, lambda: grids([experiment], [problem])[0])
    else:
        phase = subsets.phase
    done("following the kernel flow")
    test = _some(prepared.data.split.test, options.max_test)
    outputs = outputs_of(phase, test, [jnp.asarray(p.weights) for p in certified.values()])
    curves = _curves(phase, outputs)
    phase = _checked(phase, curves["train_loss"])
    best = {
        role: _scored(problem, f, outputs.y_test)
        for role, f in zip(certified, outputs.references, strict=False)
    }
    scales = _scales(problem, outputs, best)
    t_fit = Course(phase.times, curves, scales).events(options.thresholds).t_train
    if t_fit >= phase.t_end:
        t_fit = math.nan
    early = _early(phase.times, curves, t_fit, phase.t_end)
    late: dict[str, Any] = {}
    if rich is not None:
        late = {"predictor": rich.name, "gap": rich.gap, **best["rich"]}
    done("predicting")
    t_end = phase.t_end if subsets is None else subsets.t_end
    grain = 1 / len(outputs.y_test) if scored_by(curves, scales) == "accuracy" else 0.0
    return Predictions(phase, subsets, rich, curves, scales, t_end, t_fit, grain, early, late)


def _some(test: Blocks, max_test: int) -> list[Samples]:
    """Test data a block at a time, at most `max_test` samples."""
    blocks, num = [], 0
    for block in itertools.islice(test, test.num_blocks):
        # Evenly spaced: the first rows of a table of all inputs are not a fair sample.
        rows = np.linspace(0, len(block.y) - 1, min(len(block.y), max_test - num)).astype(int)
        blocks.append(jax.tree.map(lambda a, rows=rows: a[rows], block))
        num += len(blocks[-1].y)
        if num >= max_test:
            break
    return blocks


def _curves(phase: KernelPhase, outputs: Outputs) -> dict[str, Float[np.ndarray, " t"]]:
    train_y = phase.problem.train.y
    parts = {"train": (outputs.train, train_y), "test": (outputs.test, outputs.y_test)}
    loss, curves = phase.problem.loss, {}
    with_accuracy = loss.meaning(train_y, outputs.y_test) != "reals"
    for part, (f, y) in parts.items():
        curves[f"{part}_loss"] = np.asarray(_losses(loss, f, y))[: len(phase.times)]
        if with_accuracy:
            curves[f"{part}_accuracy"] = np.asarray(_accuracies(f, y))[: len(phase.times)]
    return curves


# A training loss of the kernel flow that has risen by this much, relative to the start, is wrong.
_RISE = 0.05


def _checked(phase: KernelPhase, train_loss: Float[np.ndarray, " t"]) -> KernelPhase:
    """The kernel phase, with the ending `unresolved` if its training loss cannot be right.

    Without decay the loss never rises along the kernel flow, because the kernel is positive.
    """
    rises = float(phase.flow.weight_decay) == 0 and (
        np.max(train_loss - np.minimum.accumulate(train_loss)) > _RISE * train_loss[0]
    )
    if np.all(np.isfinite(train_loss)) and not rises:
        return phase
    return replace(phase, solved=replace(phase.solved, ending=UNRESOLVED))


# Takes the loss, which is equal to another one of the same content. Its method `mean` is not, and
# would be compiled for every experiment.
@eqx.filter_jit
def _losses(loss: AbstractLoss, f: Float[Array, "t n *c"], y: Shaped[Array, " n ..."]) -> Array:
    return jax.vmap(lambda f: loss.mean(f, y))(f)


@jax.jit
def _accuracies(f: Float[Array, "t n *c"], y: Shaped[Array, " n ..."]) -> Array:
    return jax.vmap(lambda f: accuracy(f, y))(f)


def _early(
    times: Float[np.ndarray, " t"],
    curves: dict[str, Float[np.ndarray, " t"]],
    t_fit: float,
    t_end: float,
) -> dict[str, float]:
    """The plateau: medians over the first half, in log time, of the span from fit to end."""
    last = times[-1] if math.isnan(t_end) else t_end
    if math.isnan(t_fit):
        begin = end = last
    else:
        begin, end = t_fit, math.sqrt(max(t_fit, times[1]) * last)
    window = (times >= begin) & (times <= end)
    if not window.any():
        window = np.arange(len(times)) == max(0, int(np.searchsorted(times, end)) - 1)
    return {name: float(np.median(values[window])) for name, values in curves.items()}


def _scored(problem: Problem, f: Float[Array, " m"], y: Shaped[Array, " m"]) -> dict[str, float]:
    """The test accuracy and test loss of the outputs of a predictor."""
    found = {}
    if problem.loss.meaning(problem.train.y, y) != "reals":
        found["test_accuracy"] = float(accuracy_of_predictor(f, y))
    if not problem.loss.is_classification:
        found["test_loss"] = float(problem.loss.mean(f, y))
    return found


def _all(best: dict[str, dict[str, float]], name: str) -> list[float]:
    return [row[name] for row in best.values() if name in row]


def _scales(problem: Problem, outputs: Outputs, best: dict[str, dict[str, float]]) -> Scales:
    """The reference values of scores."""
    loss, y_train, y_test = problem.loss, problem.train.y, outputs.y_test
    # The kernel flow may use a subset of the training data.
    shape = (len(y_train), *outputs.train.shape[2:])
    chance = math.nan
    if loss.meaning(y_train, y_test) != "reals":
        chance = float(np.max(np.unique(np.asarray(y_test), return_counts=True)[1]) / len(y_test))
    return Scales(
        train_variance=loss.variance(shape, y_train),
        test_variance=loss.variance((len(y_test), *shape[1:]), y_test),
        blank_loss=loss.blank(shape, y_train),
        chance=chance,
        best_accuracy=max(_all(best, "test_accuracy"), default=math.nan),
        best_loss=min(_all(best, "test_loss"), default=math.nan),
        weight_decay=float(problem.weight_decay),
    )


def end_of(
    problem: Problem, predictions: Predictions, end: RichEnd, shift: float
) -> dict[str, float]:
    """The final values of the curves of a run that ends at the rich predictor.

    - **Takes** `shift`, added to the test score.
    """
    values = {name: float(v) for name, v in predictions.late.items() if name in predictions.curves}
    values["train_accuracy"] = 1.0
    if not math.isnan(end.train_loss):
        values["train_loss"] = end.train_loss
    if end.collapses:
        nothing = jnp.zeros_like(predictions.phase.flow.f_start)
        values["train_loss"] = float(problem.loss.mean(nothing, problem.train.y))
        values["train_accuracy"] = values["test_accuracy"] = 0.5
    if "test_accuracy" in predictions.curves:
        values["test_accuracy"] = min(max(values["test_accuracy"] + shift, 0.0), 1.0)
    elif "test_loss" in values:
        values["test_loss"] = max(
            values["test_loss"] - shift * predictions.scales.test_variance, 0.0
        )
    return {name: value for name, value in values.items() if name in predictions.curves}


def _score(state: Mapping[str, Any], scales: Scales, by: ScoredBy) -> float:
    if by == "accuracy":
        return float(state.get("test_accuracy", math.nan))
    loss = np.asarray(state.get("test_loss", math.nan), dtype=float)
    return float(score_of_loss(loss, scales.test_variance))

"""What the kernel flow and the predictors show of an experiment."""

import itertools
import math
from collections.abc import Callable, Mapping
from typing import Any, Literal, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Shaped

from .._dynamics import Problem
from .._errors import InputError
from .._ground import Ground
from .._predictors import Predictor
from .._probes import accuracy
from .._tasks import Blocks, Samples
from .._transition import Thresholds, read_off
from .phase import KernelPhase, Outputs, kernel_phase, outputs_of
from .subset import Subsets
from .verdict import Scores

# Kernels of more training outputs are taken from subsets of so many samples.
_MANY, _FEW = 20_000, 400


How = Literal["calibrated", "solved"]
"""By a family's constant, or by following the run itself from the end of the kernel phase on."""


class Asked(NamedTuple):
    """What a forecast is asked for, see [`forecast`][lazyrich.forecast]."""

    num_samples: int | None = None
    passage: How | None = None
    max_test: int = 2000
    thresholds: Thresholds = Thresholds()

    def check(self) -> None:
        """Raises [`InputError`][lazyrich.InputError] for what goes together with nothing."""
        if self.max_test < 1:
            raise InputError("max_test", self.max_test, "should be a whole number from 1 on")
        if self.passage == "solved" and self.num_samples is not None:
            accepted = "should be left out where the passage is solved"
            raise InputError("num_samples", self.num_samples, accepted)

    def size(self, problem: Problem) -> int | None:
        """Of the subsets to take; None for all training samples."""
        num = problem.train.x.shape[0]
        if self.num_samples is not None:
            return None if self.num_samples == num else self.num_samples
        outputs = jax.eval_shape(problem.model.apply, problem.params, problem.train.x)
        affordable = self.passage == "solved" or outputs.size <= _MANY
        return None if affordable else min(_FEW, num // 2)


class Seen(NamedTuple):
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
        return scores_of(self.early, self.late, self.curves)

    @property
    def direction(self) -> Literal["grok", "misgrok"]:
        """Of the change between the two; for the better where that is not known."""
        return "misgrok" if self.scores.late < self.scores.early else "grok"


def look(
    problem: Problem, ground: Ground, t1: float, asked: Asked, done: Callable[[str], None]
) -> Seen:
    """Follows a problem's kernel flow on its ground; `done` is told of every stage as it ends."""
    rich = ground.predictors.get("rich")
    rich = rich if rich is not None and rich.is_certified else None
    done("computing predictors")
    size = asked.size(problem)
    subsets = None if size is None else Subsets.of(problem, size, t1)
    phase = kernel_phase(problem, t1) if subsets is None else subsets.phase
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
    return Seen(phase, subsets, rich, curves, t_end, t_fit, early, late)


def _some(test: Blocks, max_test: int) -> list[Samples]:
    """Test data a block at a time, up to `max_test` of them."""
    blocks, num = [], 0
    for block in itertools.islice(test, test.num_blocks):
        # Spread over the block: of a table of all inputs the first rows are no fair sample.
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
    if problem.loss.meaning(problem.train.y, outputs.y_test) != "reals":
        found["test_accuracy"] = float(accuracy(f, outputs.y_test))
    if not problem.loss.is_classification:
        found["test_loss"] = float(problem.loss.mean(f, outputs.y_test))
    return found


def scores_of(
    early: Mapping[str, Any], late: Mapping[str, Any], curves: Mapping[str, Float[np.ndarray, " t"]]
) -> Scores:
    """Accuracies, or for regression the fraction of the initial loss that is gone."""

    def score(state: Mapping[str, Any]) -> float:
        if "test_accuracy" in state:
            return float(state["test_accuracy"])
        if "test_loss" not in state or "test_accuracy" in curves:
            return math.nan
        return 1 - float(state["test_loss"]) / float(curves["test_loss"][0])

    return Scores(score(early), score(late))

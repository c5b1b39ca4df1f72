"""The scores of predictors on the data of a run, and the reference values of scores."""

import dataclasses
import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Shaped

from .._core.norms import tree_norm
from ..dynamics import Problem
from ..models import AbstractLinearModel, AbstractModel
from ..predictors import Predictor
from ..probes import accuracy
from ..tasks import Blocks, Samples
from .weights import evaluate_all


@dataclasses.dataclass(frozen=True)
class HeldOut:
    """The properties of test data that are kept if the data do not fit in memory.

    - `y`, labels; `predicted`, `(p, m)`, outputs of the predictors.
    """

    y: Shaped[Array, " m *c"]
    predicted: Float[Array, "p m"]


def gathered(blocks: Blocks) -> Samples:
    """All samples of the blocks, in memory."""
    parts = list(blocks)
    return jax.tree.map(lambda *leaves: jnp.concatenate(leaves), *parts)


def outputs_of_predictors(
    model: AbstractModel, predictors: dict[str, Predictor], x: Shaped[Array, "m d"]
) -> Float[Array, "p m"]:
    """Outputs of the predictors on inputs in memory; empty if there are no predictors."""
    if not predictors:
        return jnp.zeros((0, len(x)))
    assert isinstance(model, AbstractLinearModel)  # only linear models have predictors
    weights = jnp.stack([jnp.asarray(p.weights) for p in predictors.values()])
    return evaluate_all(model, weights, x)


# The sign of an output of a predictor that is this much smaller than its largest is from rounding.
_ROUNDING = 1e-10


def accuracy_of_predictor(f: Float[Array, " m"], y: Shaped[Array, " m"]) -> Array:
    """The accuracy of a predictor's outputs. An output that is zero up to rounding counts 1/2."""
    return accuracy(jnp.where(jnp.abs(f) > _ROUNDING * jnp.max(jnp.abs(f)), f, 0.0), y)


def scales_of(problem: Problem, held_out: HeldOut) -> dict[str, float]:
    """The reference values of scores; NaN if a value is undefined."""
    loss, y_train, y_test = problem.loss, problem.train.y, held_out.y
    outputs, chance = problem.outputs, math.nan
    if loss.meaning(y_train, y_test) != "reals" and len(y_test):
        chance = float(np.max(np.unique(np.asarray(y_test), return_counts=True)[1]) / len(y_test))
    return {
        "train_variance": loss.variance(outputs, y_train),
        "test_variance": loss.variance((len(y_test), *outputs[1:]), y_test),
        "blank_loss": loss.blank(outputs, y_train),
        "test_chance": chance,
        "num_test": float(len(y_test)) if len(y_test) else math.nan,
    }


def rms_of_params(params: Any) -> float:
    """Root mean square of all parameters, NaN where there is none."""
    number = sum(np.size(leaf) for leaf in jax.tree.leaves(params))
    return float(tree_norm(params)) / math.sqrt(number) if number else math.nan


def predictor_table(
    predictors: dict[str, Predictor], problem: Problem, held_out: HeldOut
) -> dict[str, np.ndarray]:
    """The scores of the predictors: a column for each score, a row for each predictor.

    Columns are named like the variables of a record, without `predictor_`. Empty if there are no
    predictors.
    """
    if not predictors:
        return {}
    found, loss, y_train = list(predictors.values()), problem.loss, problem.train.y
    # Numbers of the model are arrays, so that they are not constants of the compilation.
    model = jax.tree.map(jnp.asarray, problem.model)
    f_train = outputs_of_predictors(model, predictors, problem.train.x)
    f = {"train": (f_train, y_train), "test": (held_out.predicted, held_out.y)}
    columns: dict[str, Any] = {"label": [predictor.name for predictor in found]}
    for part, (outputs, labels) in f.items():
        if loss.meaning(y_train, held_out.y) == "signs":
            columns[f"{part}_accuracy"] = jax.vmap(lambda f, y=labels: accuracy_of_predictor(f, y))(
                outputs
            )
        if not loss.is_classification:
            losses = jax.vmap(lambda f, y=labels: loss.mean(f, y))(outputs)
            columns[f"{part}_loss"] = losses
    for key in ("objective", "bound", "gap", "status", "why"):
        columns[key] = [getattr(predictor, key) for predictor in found]
    return {key: np.asarray(values) for key, values in columns.items()}

"""The predictors that theory names for a problem, where they can be computed."""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from ..dynamics import Problem
from ..models import DiagonalLinear, MatrixFactorisation
from ..predictors import (
    Predictor,
    kernel_completion,
    l1_max_margin,
    l1_min_norm,
    l2_max_margin,
    l2_min_norm,
    lq_max_margin,
    min_nuclear_norm,
)


def references(problem: Problem) -> dict[str, Predictor]:
    """The `kernel` predictor of the start given and the `rich` one, those that there are."""
    if isinstance(problem.model, DiagonalLinear):
        return _of_diagonal(problem, problem.model)
    if isinstance(problem.model, MatrixFactorisation) and not problem.loss.is_classification:
        return _of_completion(problem, problem.model)
    return {}


def _of_diagonal(problem: Problem, model: DiagonalLinear) -> dict[str, Predictor]:
    train = problem.train
    # The tangent kernel at the start weighs coordinates so; equally, from the model's own.
    u, v = problem.params
    h = u ** (2 * model.depth - 2) + v ** (2 * model.depth - 2)
    h = h / jnp.max(h)
    # Of numbers, or of signs taken as numbers, every sample is interpolated.
    fits = not problem.loss.is_classification
    early = l2_min_norm if fits else l2_max_margin
    found = {"kernel": early(train.x, train.y, kernel_weights=h)}
    if model.depth == 2:
        late = l1_min_norm if fits else l1_max_margin
        found["rich"] = late(train.x, train.y)
    elif not fits:
        kernel = found["kernel"]
        start = kernel.weights if kernel.is_certified else None
        found["rich"] = lq_max_margin(train.x, train.y, 2 / model.depth, start)
    return found


def _of_completion(problem: Problem, model: MatrixFactorisation) -> dict[str, Predictor]:
    index, values = np.asarray(problem.train.x), np.asarray(problem.train.y)
    found = {"rich": min_nuclear_norm(index, values, model.size)}
    if all(_is_multiple_of_identity(factor) for factor in problem.params):
        found = {"kernel": kernel_completion(index, values, model.size), **found}
    return found


def _is_multiple_of_identity(factor: Array) -> bool:
    return bool(jnp.all(factor == factor[0, 0] * jnp.eye(len(factor))))

"""The predictors known from theory for a problem, if they can be computed."""

import jax
import numpy as np
from jaxtyping import Array

from ..dynamics import Problem
from ..models import AbstractLinearModel, Theory
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


def theory_predictors(problem: Problem) -> dict[str, Predictor]:
    """The `kernel` predictor for the initial parameters and the `rich` predictor, if they exist."""
    model = problem.model
    if not isinstance(model, AbstractLinearModel):
        return {}
    theory, found = model.theory(problem.loss.is_classification), {}
    weighed = model.kernel_weights(problem.params)
    if weighed is not None and theory.early is not None:
        found["kernel"] = _early(problem, theory, weighed)
    if theory.late == "nuclear":
        (size, _) = jax.eval_shape(model.weights, problem.params).shape
        found["rich"] = min_nuclear_norm(*_entries(problem), size)
    elif theory.late == "lq" and (problem.loss.is_classification or theory.order == 1):
        found["rich"] = _sparse(problem, theory, found.get("kernel"))
    return found


def _early(problem: Problem, theory: Theory, weighed: Array) -> Predictor:
    if theory.early == "completion":
        return kernel_completion(*_entries(problem), len(weighed))
    # With a loss for real numbers, every sample is interpolated, also if labels are signs.
    of_margin = problem.loss.is_classification
    predictor = l2_max_margin if of_margin else l2_min_norm
    return predictor(problem.train.x, problem.train.y, kernel_weights=weighed)


def _sparse(problem: Problem, theory: Theory, early: Predictor | None) -> Predictor:
    train = problem.train
    if not problem.loss.is_classification:
        return l1_min_norm(train.x, train.y)
    if theory.order == 1:
        return l1_max_margin(train.x, train.y)
    start = early.weights if early is not None and early.is_certified else None
    return lq_max_margin(train.x, train.y, theory.order, start)


def _entries(problem: Problem) -> tuple[np.ndarray, np.ndarray]:
    """Positions and values of the known entries of a matrix."""
    return np.asarray(problem.train.x), np.asarray(problem.train.y)

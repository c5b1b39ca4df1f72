"""The predictors known from theory for a problem, if they can be computed."""

import jax
import numpy as np
from jaxtyping import Array

from .._core.errors import InputError
from ..dynamics import Problem
from ..models import AbstractLinearModel, Theory
from ..models.theory import OwnPredictor
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
    """The `kernel` predictor for the initial parameters and the `rich` predictor, if they exist.

    - **Raises** [`InputError`][lazyrich.InputError] if a user's function returns something else.
    """
    model = problem.model
    if not isinstance(model, AbstractLinearModel):
        return {}
    theory, found = model.theory(problem.loss.is_classification), {}
    weighed = model.kernel_weights(problem.params)
    if callable(theory.early):
        h = None if weighed is None else np.asarray(weighed)
        found["kernel"] = _own("early", theory.early, problem, h)
    elif weighed is not None and theory.early is not None:
        found["kernel"] = _early(problem, theory, weighed)
    early = found.get("kernel")
    start = early.weights if early is not None and early.is_certified else None
    if callable(theory.late):
        found["rich"] = _own("late", theory.late, problem, start)
    elif theory.late == "nuclear":
        found["rich"] = min_nuclear_norm(*_entries(problem), _shape(problem)[0])
    elif theory.late == "lq" and (problem.loss.is_classification or theory.order == 1):
        found["rich"] = _sparse(problem, theory, start)
    return found


def _own(role: str, predict: OwnPredictor, problem: Problem, third: np.ndarray | None) -> Predictor:
    found = predict(np.asarray(problem.train.x), np.asarray(problem.train.y), third)
    if not isinstance(found, Predictor):
        accepted = "should return a lazyrich.predictors.Predictor"
        raise InputError(f"model.theory.{role}", type(found).__name__, accepted)
    shape = np.shape(found.weights)
    if shape != _shape(problem):
        accepted = f"should return weights of shape {_shape(problem)}, as the model has"
        raise InputError(f"model.theory.{role}", shape, accepted)
    return found


def _shape(problem: Problem) -> tuple[int, ...]:
    """The shape of the weights of a linear model."""
    assert isinstance(problem.model, AbstractLinearModel)  # checked by the caller
    return jax.eval_shape(problem.model.weights, problem.params).shape


def _early(problem: Problem, theory: Theory, weighed: Array) -> Predictor:
    if theory.early == "completion":
        return kernel_completion(*_entries(problem), len(weighed))
    # With a loss for real numbers, every sample is interpolated, also if labels are signs.
    of_margin = problem.loss.is_classification
    predictor = l2_max_margin if of_margin else l2_min_norm
    return predictor(problem.train.x, problem.train.y, kernel_weights=weighed)


def _sparse(problem: Problem, theory: Theory, start: np.ndarray | None) -> Predictor:
    train = problem.train
    if not problem.loss.is_classification:
        return l1_min_norm(train.x, train.y)
    if theory.order == 1:
        return l1_max_margin(train.x, train.y)
    return lq_max_margin(train.x, train.y, theory.order, start)


def _entries(problem: Problem) -> tuple[np.ndarray, np.ndarray]:
    """Positions and values of the known entries of a matrix."""
    return np.asarray(problem.train.x), np.asarray(problem.train.y)

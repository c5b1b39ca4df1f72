"""The predictors known from theory for a problem, if they can be computed."""

from typing import get_args

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
from ..predictors._base import Status


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
    key = f"model.theory.{role}"
    try:
        found = predict(np.asarray(problem.train.x), np.asarray(problem.train.y), third)
    except InputError:
        raise
    except Exception as error:
        said = " ".join(str(error).split())[:_MAX_WORDS]
        raise InputError(key, type(error).__name__, f"should not raise: {said}") from error
    if not isinstance(found, Predictor):
        accepted = "should return a lazyrich.predictors.Predictor"
        raise InputError(key, type(found).__name__, accepted)
    shape = np.shape(found.weights)
    if shape != _shape(problem):
        accepted = f"should return weights of shape {_shape(problem)}, as the model has"
        raise InputError(key, shape, accepted)
    _check_certificate(found, key)
    return found


# The maximal length of the message of an error, in characters.
_MAX_WORDS = 200
# Rounding of a relative gap.
_ROUNDING = 1e-9


def _check_certificate(found: Predictor, key: str) -> None:
    """Refuses a predictor whose certificate contradicts itself."""
    if found.status not in get_args(Status):
        accepted = f"should be one of {', '.join(get_args(Status))}"
        raise InputError(f"{key}.status", found.status, accepted)
    if not found.is_certified:
        return
    for name in ("weights", "objective", "bound", "gap"):
        value = np.asarray(getattr(found, name))
        if not np.all(np.isfinite(value)):
            accepted = f"should be finite with status {found.status}"
            raise InputError(f"{key}.{name}", float(value[~np.isfinite(value)].flat[0]), accepted)
    apart = abs(found.bound - found.objective)
    if apart > (found.gap * (1 + _ROUNDING) + _ROUNDING) * abs(found.bound):
        accepted = f"should be |bound - objective| / bound = {apart / abs(found.bound or 1):.3g}"
        raise InputError(f"{key}.gap", found.gap, f"{accepted} with status {found.status}")


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

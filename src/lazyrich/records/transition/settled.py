"""Whether a longer run could change the result."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float

from .scores import Curves

# Weight decay reduces a free norm by e^(-lambda t). Before this value of lambda t it has hardly
# acted, so the run can still change.
_DECAYED = 0.3
# The same if the norm was not recorded. After this value only parameters that fit data remain.
_DECAYED_UNSEEN = 10.0
# Rounding of a recorded loss, also of one in float32.
_ROUNDING = 1e-6
# The squares of smaller norms underflow in float64: what is left of them is rounding.
_NOTHING = 1e-154


def has_settled(
    times: Float[np.ndarray, " t"],
    scores: Sequence[Float[np.ndarray, " t"]],
    curves: Curves,
    weight_decay: float,
    *,
    rate: float,
    fitted: bool,
    free: bool,
) -> bool:
    """Whether scores, directions and norm change by less than `rate` in the last factor of e.

    At least the last three records are compared, also if they are further apart: a run that a
    budget ended has few records at its end. A run without weight decay that is not fitted, and
    whose training loss and norm have not moved since its beginning, was too short to move, and has
    not settled.

    - **Takes** `weight_decay`, NaN if unknown; `free`, whether the norm changes for ever, and so is
        not considered: it grows without bound once the training data are fitted by a loss of
        classification without weight decay, and falls without bound if a run decays to nothing.
    """
    if len(times) < 3:
        return False
    norm = curves.get("param_norm")
    if weight_decay > 0:
        needed = _DECAYED if norm is not None else _DECAYED_UNSEEN
        if weight_decay * times[-1] < needed:
            return False
    moving = list(scores)
    moving += [curves[name] for name in ("cosine_to_kernel", "cosine_to_rich") if name in curves]
    if norm is not None and not free:
        with np.errstate(divide="ignore", invalid="ignore"):
            moving.append(np.log(norm))
    if weight_decay == 0 and not fitted and not _has_moved(curves, rate):
        return False
    window = _last(times)
    return all(_drift(times[window], values[window]) < rate for values in moving)


def decays_to_nothing(
    times: Float[np.ndarray, " t"], curves: Curves, weight_decay: float, blank_loss: float
) -> bool:
    """Whether a run is not fitted, and only weight decay still changes its parameters.

    Then their norm still falls after ten decay times, and the training loss stays within rounding
    at that of zero outputs, or, where this is unknown, at its last value. Such a norm never rests:
    it falls as e^(-lambda t) until it underflows.

    - **Takes** `weight_decay` and `blank_loss`, NaN if unknown.
    """
    decayed = weight_decay * times[-1] >= _DECAYED_UNSEEN  # not if unknown
    if len(times) < 3 or not decayed:
        return False
    if "param_norm" not in curves or "train_loss" not in curves:
        return False
    norm = np.asarray(curves["param_norm"])[_last(times)]
    norm = np.where(norm < _NOTHING, 0.0, norm)
    loss = np.asarray(curves["train_loss"])[-3:]
    end = loss[-1] if np.isnan(blank_loss) else blank_loss
    rests = bool(np.all(np.abs(loss - end) <= _ROUNDING * abs(end)))
    return rests and bool(np.all((norm[1:] < norm[:-1]) | (norm[1:] == 0)))


def _last(times: Float[np.ndarray, " t"]) -> Bool[np.ndarray, " t"]:
    """Which records are of the last factor of e in time, or the last three."""
    window = times >= times[-1] / np.e
    window[-3:] = True
    return window


def _drift(times: Float[np.ndarray, " t"], values: Float[np.ndarray, " t"]) -> float:
    """The change of a curve over its records without its noise; 0 for a curve without values.

    The curve is split into two halves in log time, whose midpoints are half of its length apart.
    """
    known = ~np.isnan(values)
    times, values = times[known], values[known]
    if len(values) == 0:
        return 0.0
    later = times >= np.sqrt(times[0]) * np.sqrt(times[-1])  # their product can overflow
    first = np.median(values[~later]) if (~later).any() else values[0]
    second, last = np.median(values[later]), np.median(values[-3:])
    return max(2 * _apart(first, second), _apart(second, last))


def _has_moved(curves: Curves, rate: float) -> bool:
    """Whether the training loss or the norm has changed by a fraction `rate` or more.

    True if neither is recorded. Signs of outputs, and so accuracies, can be right after the first
    step of a run from zero."""
    recorded = [curves[name] for name in ("train_loss", "param_norm") if name in curves]
    known = [values[~np.isnan(values)] for values in recorded if not np.isnan(values).all()]
    return not known or any(np.ptp(values) >= rate * np.max(np.abs(values)) for values in known)


def _apart(a: float, b: float) -> float:
    """The distance of two values, which is 0 for two logarithms of a norm of 0."""
    return 0.0 if a == b else abs(float(a - b))

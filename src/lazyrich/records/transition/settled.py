"""Whether a longer run could change the result."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from .scores import Curves

# Weight decay reduces a free norm by e^(-lambda t). Before this value of lambda t it has hardly
# acted, so the run can still change.
_DECAYED = 0.3
# The same if the norm was not recorded. After this value only parameters that fit data remain.
_DECAYED_UNSEEN = 10.0


def has_settled(
    times: Float[np.ndarray, " t"],
    scores: Sequence[Float[np.ndarray, " t"]],
    curves: Curves,
    weight_decay: float,
    *,
    rate: float,
    fitted: bool,
    grows_freely: bool,
) -> bool:
    """Whether scores, directions and norm change by less than `rate` in the last factor of e.

    At least the last three records are compared, also if they are further apart: a run that a
    budget ended has few records at its end. A run without weight decay that is not fitted, and
    whose training loss and norm have not moved since its beginning, was too short to move, and has
    not settled.

    - **Takes** `weight_decay`, NaN if unknown; `grows_freely`, whether the norm grows without
        bound once the training data are fitted and there is no weight decay, as it does for losses
        of classification. Then the norm is not considered.
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
    if norm is not None and not (weight_decay == 0 and grows_freely):
        with np.errstate(divide="ignore", invalid="ignore"):
            moving.append(np.log(norm))
    if weight_decay == 0 and not fitted and not _has_moved(curves, rate):
        return False
    window = times >= times[-1] / np.e
    window[-3:] = True
    return all(_drift(times[window], values[window]) < rate for values in moving)


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

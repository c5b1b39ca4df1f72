"""Whether a longer run could change what came."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from .scores import Curves

# What decay takes from the norm is e^(-lambda t): before this lambda t it has not acted, and
# what it will do has yet to come.
_DECAYED = 0.3
# The same where the norm was not recorded: from here on only what the data hold up is left.
_DECAYED_UNSEEN = 10.0


def has_settled(
    times: Float[np.ndarray, " t"],
    scores: Sequence[Float[np.ndarray, " t"]],
    curves: Curves,
    weight_decay: float,
    *,
    rate: float,
    grows_freely: bool,
) -> bool:
    """Whether scores, directions and norm move by less than `rate` in the last factor of e.

    - **Takes** `weight_decay`, NaN where it is unknown; `grows_freely`, whether the norm of
        fitted training data grows without end when there is no decay, as it does for losses of
        classification: then it is left out.
    """
    if len(times) < 3 or times[-1] <= 0:
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
    window = times >= times[-1] / np.e
    if window.sum() < 3:
        return False
    return all(_drift(times[window], values[window]) < rate for values in moving)


def _drift(times: Float[np.ndarray, " t"], values: Float[np.ndarray, " t"]) -> float:
    """How far a curve moves over its records, noise left out; 0 for one without values.

    The halves of the window, in log time, have their middles half of its width apart.
    """
    known = ~np.isnan(values)
    times, values = times[known], values[known]
    if len(values) == 0:
        return 0.0
    if values[-1] == values[0] and np.isinf(values[0]):
        return 0.0  # the logarithm of a norm of 0
    later = times >= np.sqrt(times[0] * times[-1])
    first, second = np.median(values[~later]) if (~later).any() else values[0], values[later]
    between, end = abs(np.median(second) - first), abs(np.median(values[-3:]) - np.median(second))
    return float(max(2 * between, end))

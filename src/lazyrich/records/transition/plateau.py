"""The plateau: the window after the fit in which the test score rests."""

import math

import numpy as np
from jaxtyping import Bool, Float

from .thresholds import Thresholds

# The training loss still falls during a motion of the score that divides it by this number.
_FALLS = 3.0
# Rests are searched among this many records, evenly spaced in log time, of a longer record. The
# cost of all records grows with the square of their number.
_MOST = 1000
# A change comes with the fit if this part of it is made while the training loss falls to a tenth.
_WITH_FIT = 0.25


def plateau_of(
    times: Float[np.ndarray, " t"],
    test: Float[np.ndarray, " t"],
    train_loss: Float[np.ndarray, " t"],
    t_train: float,
    late: float,
    thresholds: Thresholds,
) -> tuple[Bool[np.ndarray, " t"], bool]:
    """The first half, in log time, of the window between the fit and half of the later change.

    A score that still moves with the training loss after the fit has no plateau there. The window
    then begins when the score rests, see `_end_of_fit`. The second result says whether a
    quarter or more of the change is made while the training loss falls to a tenth of its value at
    the beginning of the window.

    - **Takes** `train_loss`, NaN if unknown; `late`, the final test score.
    """
    start = int(np.searchsorted(times, t_train))
    start = _end_of_fit(times, test, train_loss, start, late, thresholds)
    gone = np.abs(test - test[start]) >= 0.5 * abs(late - test[start])
    gone[: start + 1] = False
    if late == test[start] or not gone.any():
        return times >= times[start], False
    fitted = train_loss[start:] <= train_loss[start] / 10
    with_fit = test[start + int(np.argmax(fitted))] if fitted.any() else test[start]
    moves = abs(with_fit - test[start]) >= _WITH_FIT * abs(late - test[start])
    end = np.sqrt(max(times[start], times[1])) * np.sqrt(times[np.argmax(gone)])
    window = (times >= times[start]) & (times <= max(end, times[start]))
    return window, bool(moves and times[start] > 0)


def _end_of_fit(
    times: Float[np.ndarray, " t"],
    test: Float[np.ndarray, " t"],
    train_loss: Float[np.ndarray, " t"],
    start: int,
    late: float,
    thresholds: Thresholds,
) -> int:
    """The record from which the score rests; `start` if it rests there for as long, or nowhere.

    A rest counts if it is not that of the end, if the score has moved to it by at least half of
    `Thresholds.change`, and if the training loss has fallen in the meantime, so that the fit was
    not over. The longest rest in log time is taken.
    """
    if times[start] <= 0 or not np.isfinite(train_loss[start]):
        return start
    places = np.arange(start, len(times))
    if len(places) > _MOST:
        spaced = np.searchsorted(times, np.geomspace(times[start], times[-1], _MOST))
        places = np.unique(np.clip(spaced, start, len(times) - 1))
    rests = _rests(times[places], test[places], thresholds)
    edges = np.flatnonzero(np.diff(np.concatenate([[False], rests, [False]]).astype(int)))
    best, longest = start, 0.0
    for first, last in zip(places[edges[::2]], places[edges[1::2] - 1], strict=True):
        length = float(np.log(times[last] / times[first])) + 1
        level = float(np.median(test[first : last + 1]))
        counts = first == start or (
            abs(late - level) >= thresholds.change
            and abs(level - test[start]) >= 0.5 * thresholds.change
            and train_loss[first] <= train_loss[start] / _FALLS
        )
        if counts and length > longest:
            best, longest = int(first), length
    return best


def _rests(
    times: Float[np.ndarray, " t"], test: Float[np.ndarray, " t"], limits: Thresholds
) -> Bool[np.ndarray, " t"]:
    """Whether the score moves by less than `Thresholds.settled` in the next factor of e in time.

    An R2 below zero counts relative to its loss. Single records that deviate are left out.
    """
    found = np.zeros(len(times), bool)
    earlier = times / math.e
    ends = np.searchsorted(earlier, times, side="right")
    for place, end in enumerate(ends):
        if earlier[-1] < times[place]:
            break
        values = test[place:end]
        if len(values) < max(3, limits.sustained):
            continue
        low, high = np.quantile(values, [0.1, 0.9]) if len(values) > 9 else np.sort(values)[[0, -1]]
        found[place] = high - low < limits.settled * max(1.0, 1.0 - high)
    return found

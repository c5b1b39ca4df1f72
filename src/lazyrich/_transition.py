"""What happened in a run: crossings, widths and a censored outcome."""

from collections.abc import Mapping
from typing import Annotated, Literal, NamedTuple

import numpy as np
import xarray as xr
from annotated_types import Ge, Gt, Interval
from jaxtyping import Bool, Float

from ._description import Description

Outcome = Literal[
    "grokked", "misgrokked", "immediate", "not_within_budget", "diverged", "untrained"
]


class Thresholds(Description):
    """Where a fit counts as a fit. Scores run from 0 to 1, see [`transition`][lazyrich.transition].

    - `train`, `test`: the scores from which data count as fitted and as generalised to.
    - `train_loss`: the fraction of the initial training loss that must be gone, too, for data
        to count as fitted. Outputs may have the right signs long before they have any size:
        from a small start every training sample is on its side after the first step, and
        accuracy alone would see a delay in what is no fit yet.
    - `loss`: a mean loss from which on downwards data count as fitted and as generalised to,
        in place of `train`, `test` and `train_loss`: accuracy alone can make a delay, and
        some papers count by losses. Plateau and change stay those of the score.
    - `delay`: the ratio of test to train time below which there is no delay.
    - `change`: the drop in test score from which generalisation counts as lost.
    - `sustained`: recorded times in a row for which a level must hold.
    """

    train: Annotated[float, Interval(gt=0, le=1)] = 0.99
    test: Annotated[float, Interval(gt=0, le=1)] = 0.95
    train_loss: Annotated[float, Interval(ge=0, lt=1)] = 0.5
    loss: Annotated[float, Gt(0)] | None = None
    delay: Annotated[float, Gt(1)] = 10.0
    change: Annotated[float, Interval(gt=0, lt=1)] = 0.1
    sustained: Annotated[int, Ge(1)] = 3


class Transition(NamedTuple):
    """Times are gradient-flow times; NaN is a time that did not come within the budget.

    - `t_train`, `t_test`: the first time from which the score holds for `sustained`
        recorded times; `t_train_first`, `t_test_first`: the first touch.
    - `t10`, `t50`, `t90`: first crossings of 10, 50 and 90 % of the change of the test
        score from its plateau to its end; `t10_loss`, `t50_loss`, `t90_loss`: of the test
        loss, from its extreme after the fit; `t50_sustained`: of the score, held.
    - `plateau`: first and last time of the window that stands for the kernel plateau.
    """

    outcome: Outcome
    t_train: float
    t_train_first: float
    t_test: float
    t_test_first: float
    t10: float
    t50: float
    t90: float
    t50_sustained: float
    t10_loss: float
    t50_loss: float
    t90_loss: float
    plateau: tuple[float, float]


def transition(record: xr.Dataset, thresholds: Thresholds = Thresholds()) -> Transition:
    r"""Reads off a record when it fitted, when it generalised, and how it ended.

    The score is the accuracy; for labels that are not signs, the fraction of the initial
    loss that is gone. The kernel plateau is the first half, in log time, between the
    fit of the training data and half of the later change of the test score; early
    values are medians over it. Crossings are interpolated linearly in log time.

    - **Takes** a record with train and test loss, and accuracy if labels are signs.
    - **Source** two-threshold delays and k = 3 sustained evaluations as in Power et al.
        2022 and after; 10/50/90 % times of the test change as read off Lyu et al. 2024.
    """
    curves = {str(name): record[name].values for name in record.data_vars if name in _CURVES}
    return read_off(record["time"].values, curves, record.attrs["ending"], thresholds)


_CURVES = ("train_accuracy", "test_accuracy", "train_loss", "test_loss")


def read_off(
    times: Float[np.ndarray, " t"],
    curves: Mapping[str, Float[np.ndarray, " t"]],
    ending: str,
    thresholds: Thresholds = Thresholds(),
) -> Transition:
    """The same from arrays: `curves` by the names of probes, and how the solve ended."""
    if len(times) == 0:
        return _nothing("diverged")
    test = _score(curves, "test")
    k = thresholds.sustained
    t_train, t_train_first, fitted = _fit(times, curves, thresholds)
    reached, level = _aim(curves, "test", thresholds)
    t_test, t_test_first = _reach(times, reached, level, k)
    if ending in ("diverged", "step_underflow", "too_stiff"):
        outcome: Outcome = "diverged"
    elif np.isnan(t_train) or not fitted:
        outcome = "untrained"
    else:
        outcome = "not_within_budget"
    if np.isnan(t_train):
        return _nothing(outcome)._replace(
            t_train_first=t_train_first, t_test=t_test, t_test_first=t_test_first
        )

    plateau = _plateau(times, test, t_train)
    early, late = float(np.median(test[plateau])), float(test[-1])
    if outcome == "not_within_budget":
        if early - late >= thresholds.change:
            outcome = "misgrokked"
        # What came in the last records has not held for long enough to have come.
        elif reached[-1] >= level and not np.isnan(t_test):
            delayed = t_test > thresholds.delay * t_train
            outcome = "grokked" if delayed else "immediate"
    after = times >= times[plateau][0]
    moved = abs(late - early) >= thresholds.change
    t10, t50, t90 = change_times(times[after], test[after], early) if moved else _NEVER
    t50_sustained = np.nan
    if moved:
        done = (test - early) / (late - early)
        t50_sustained = _reach(times[after], done[after], 0.5, k)[0]
    loss = curves["test_loss"]
    losses = _loss_times(times[after], loss[after]) if moved else _NEVER
    return Transition(
        outcome,
        t_train,
        t_train_first,
        t_test,
        t_test_first,
        t10,
        t50,
        t90,
        t50_sustained,
        *losses,
        plateau=(float(times[plateau][0]), float(times[plateau][-1])),
    )


_NEVER = (np.nan, np.nan, np.nan)


def _nothing(outcome: Outcome) -> Transition:
    times = [name for name in Transition._fields if name not in ("outcome", "plateau")]
    plateau = (np.nan, np.nan)
    return Transition(outcome=outcome, plateau=plateau, **dict.fromkeys(times, np.nan))


def _fit(
    times: Float[np.ndarray, " t"],
    curves: Mapping[str, Float[np.ndarray, " t"]],
    thresholds: Thresholds,
) -> tuple[float, float, bool]:
    """When training data were fitted for good, when first, and whether they are at the end."""
    loss = curves["train_loss"]
    levels = [_aim(curves, "train", thresholds)]
    if thresholds.train_loss > 0 and thresholds.loss is None:
        levels.append((1 - loss / loss[0], thresholds.train_loss))
    reached = [_reach(times, score, level, thresholds.sustained) for score, level in levels]
    held, first = (float(np.max(found)) for found in zip(*reached, strict=True))  # NaN wins
    return held, first, all(score[-1] >= level for score, level in levels)


def _aim(
    curves: Mapping[str, Float[np.ndarray, " t"]], part: str, thresholds: Thresholds
) -> tuple[Float[np.ndarray, " t"], float]:
    """What should rise to a level, and the level."""
    if thresholds.loss is not None:
        return -curves[f"{part}_loss"], -thresholds.loss
    return _score(curves, part), thresholds.train if part == "train" else thresholds.test


def _score(curves: Mapping[str, Float[np.ndarray, " t"]], part: str) -> Float[np.ndarray, " t"]:
    accuracy = curves.get(f"{part}_accuracy")
    if accuracy is not None and not np.all(np.isnan(accuracy)):
        return accuracy
    loss = curves[f"{part}_loss"]
    return 1 - loss / loss[0]


def _reach(
    times: Float[np.ndarray, " t"], score: Float[np.ndarray, " t"], level: float, k: int
) -> tuple[float, float]:
    """The sustained and the first crossing of `level` from below."""
    above = score >= level
    held = above.copy()
    for later in range(1, k):
        held[:-later] &= above[later:]
    held[max(0, len(held) - k + 1) :] = False
    return _crossing(times, score, held, level), _crossing(times, score, above, level)


def _crossing(
    times: Float[np.ndarray, " t"],
    score: Float[np.ndarray, " t"],
    reached: Bool[np.ndarray, " t"],
    level: float,
) -> float:
    hits = np.flatnonzero(reached)
    if len(hits) == 0:
        return np.nan
    i = hits[0]
    if i == 0:
        return float(times[0])
    before, now = score[i - 1], score[i]
    fraction = (level - before) / (now - before) if now != before else 1.0
    a, b = times[i - 1], times[i]
    if a > 0:
        return float(a * (b / a) ** fraction)
    return float(a + fraction * (b - a))


def _plateau(
    times: Float[np.ndarray, " t"], test: Float[np.ndarray, " t"], t_train: float
) -> Bool[np.ndarray, " t"]:
    start = int(np.searchsorted(times, t_train))
    gone = np.abs(test - test[start]) >= 0.5 * abs(test[-1] - test[start])
    gone[: start + 1] = False
    if test[-1] == test[start] or not gone.any():
        return times >= times[start]
    half = times[np.argmax(gone)]
    end = np.sqrt(max(times[start], times[1]) * half)
    return (times >= times[start]) & (times <= max(end, times[start]))


def change_times(
    times: Float[np.ndarray, " t"], values: Float[np.ndarray, " t"], early: float
) -> tuple[float, float, float]:
    """First times at 10, 50 and 90 % of the way from `early` to the last value."""
    if values[-1] == early:
        return _NEVER
    done = (values - early) / (values[-1] - early)
    t10, t50, t90 = (_crossing(times, done, done >= q, q) for q in (0.1, 0.5, 0.9))
    return t10, t50, t90


def _loss_times(
    times: Float[np.ndarray, " t"], loss: Float[np.ndarray, " t"]
) -> tuple[float, float, float]:
    """The same for a loss, from its extreme on: it may still improve on the plateau."""
    turn = int(np.argmin(loss) if loss[-1] > loss[0] else np.argmax(loss))
    return change_times(times[turn:], loss[turn:], float(loss[turn]))

"""Times at which a curve crosses a level."""

import numpy as np
from jaxtyping import Bool, Float

NEVER = (np.nan, np.nan, np.nan)


def sustained_crossing(
    times: Float[np.ndarray, " t"], score: Float[np.ndarray, " t"], level: float, k: int
) -> tuple[float, float]:
    """The crossing of `level` from below that holds for `k` records, and the first crossing."""
    above = score >= level
    held = above.copy()
    for later in range(1, k):
        held[:-later] &= above[later:]
    held[max(0, len(held) - k + 1) :] = False
    return crossing(times, score, held, level), crossing(times, score, above, level)


def crossing(
    times: Float[np.ndarray, " t"],
    score: Float[np.ndarray, " t"],
    reached: Bool[np.ndarray, " t"],
    level: float,
) -> float:
    """The time of the first record that has `reached`, interpolated in log time; NaN if none has.

    Between time 0 and the first record after time 0 it is the time of that record, an upper bound.
    """
    hits = np.flatnonzero(reached)
    if len(hits) == 0:
        return np.nan
    i = hits[0]
    if i == 0 or times[i - 1] <= 0:
        return float(times[i])
    before, now = score[i - 1], score[i]
    fraction = (level - before) / (now - before) if now > before else 1.0
    a, b = times[i - 1], times[i]
    return float(a * (b / a) ** min(max(fraction, 0.0), 1.0))


def change_times(
    times: Float[np.ndarray, " t"], values: Float[np.ndarray, " t"], early: float, late: float
) -> tuple[float, float, float]:
    """First times at 10, 50 and 90 % of the change from `early` to `late`."""
    if late == early:
        return NEVER
    done = (values - early) / (late - early)
    t10, t50, t90 = (crossing(times, done, done >= q, q) for q in (0.1, 0.5, 0.9))
    return t10, t50, t90


def is_bound(times: Float[np.ndarray, " t"], found: float) -> bool:
    """Whether a time is only an upper bound, because it is the first record after time 0."""
    if np.isnan(found) or found <= 0:
        return False
    return bool(found <= times[times > 0][0])

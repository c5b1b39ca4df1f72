"""A dip, or a rise that falls back, which the scores on the plateau and at the end do not show."""

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float


@dataclass(frozen=True)
class Excursion:
    """The largest departure of the test score from its values on the plateau and at the end.

    - `size`: how far below both a dip goes, negative, or how far above both a rise that falls
        back goes, positive; NaN if there is none.
    - `score`: the lowest or highest score that holds for `Thresholds.sustained` records.
    - `times`: the first record of those at which half of the excursion is made, that of `score`,
        and the last of those.
    """

    size: float = math.nan
    score: float = math.nan
    times: tuple[float, float, float] = (math.nan, math.nan, math.nan)


def excursion_of(
    times: Float[np.ndarray, " t"],
    test: Float[np.ndarray, " t"],
    *,
    early: float,
    late: float,
    start: int,
    sustained: int,
    least: float,
) -> Excursion:
    """The largest excursion of at least `least`.

    Before the plateau only a rise counts, because there the score rises from its initial value.

    - **Takes** `test`, with scores below chance replaced by chance; `early`, the score on the
        plateau, or `late` without a plateau; `start`, the first record of the plateau.
    """
    best = Excursion()
    if len(times) < sustained:
        return best
    for sign, first, base in ((-1, start, min(early, late)), (1, 0, max(early, late))):
        departure = sign * (test[first:] - base)
        if len(departure) < sustained:
            continue
        held = np.min(np.lib.stride_tricks.sliding_window_view(departure, sustained), axis=1)
        size = float(np.max(held))
        if size < least or (not math.isnan(best.size) and size <= abs(best.size)):
            continue
        top = int(np.argmax(held))
        top += int(np.argmin(departure[top : top + sustained]))
        away = departure >= 0.5 * size
        begin = top - int(np.argmin(away[: top + 1][::-1])) + 1 if not away[: top + 1].all() else 0
        end = top + int(np.argmin(away[top:])) - 1 if not away[top:].all() else len(away) - 1
        found = tuple(float(times[first + place]) for place in (begin, top, end))
        best = Excursion(sign * size, base + sign * size, (found[0], found[1], found[2]))
    return best

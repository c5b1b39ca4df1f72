"""Statistics of few runs and their intervals."""

import math
from collections.abc import Callable

import numpy as np
from jaxtyping import Float, Shaped
from scipy import stats

from ..maps.diagram import quantile

_RESAMPLES = 1000


def spearman(x: Float[np.ndarray, " k"], y: Float[np.ndarray, " k"]) -> float:
    """Spearman's rank correlation; infinite values are the last. NaN if nothing changes."""
    if np.all(x == x[:1]) or np.all(y == y[:1]):
        return math.nan
    # Without its last digits: a correlation of 0.6 is not above 0.6.
    return round(float(stats.spearmanr(x, y).statistic), 12)


def bootstrap(
    statistic: Callable[[Shaped[np.ndarray, " k"]], float], clusters: Shaped[np.ndarray, " run"]
) -> tuple[float, float]:
    """The 95 % interval of a statistic of runs, by drawing as many clusters with replacement.

    - **Takes** `statistic`, a function of the indices of runs; `clusters`, the cluster of each
        run, such as its seed.
    - **Returns** the 2.5 and 97.5 % quantiles over 1000 draws, always the same ones; NaN if half
        of the draws have no value.
    """
    names = np.unique(clusters)
    rows = [np.flatnonzero(clusters == name) for name in names]
    draws = np.random.default_rng(0).integers(len(names), size=(_RESAMPLES, len(names)))
    values = np.array([statistic(np.concatenate([rows[i] for i in draw])) for draw in draws])
    known = np.sort(values[~np.isnan(values)])
    if len(known) < _RESAMPLES / 2:
        return math.nan, math.nan
    # By rank: infinite values cannot be interpolated.
    low, high = (known[round(q * (len(known) - 1))] for q in (0.025, 0.975))
    return float(low), float(high)


def median(values: Float[np.ndarray, " k"]) -> float:
    """The median, infinite where it is a time that was not reached."""
    found = quantile(np.sort(values), 0.5)
    return math.inf if math.isnan(found) else found


def sign_change(x: Float[np.ndarray, " k"], y: Float[np.ndarray, " k"]) -> float:
    """The `x` at which `y` changes sign, by linear interpolation over `log(x)`; NaN if none.

    Of several places, the geometric mean of the first and the last. Values at equal `x` are
    averaged; `x` is positive.
    """
    places, rows = np.unique(x, return_inverse=True)
    log_x = np.log(places)
    mean = np.bincount(rows, y) / np.bincount(rows)
    turns = np.flatnonzero((mean[:-1] < 0) != (mean[1:] < 0))
    if not len(turns):
        return math.nan
    share = mean[turns] / (mean[turns] - mean[turns + 1])
    found = log_x[turns] + share * (log_x[turns + 1] - log_x[turns])
    return math.exp(0.5 * (found[0] + found[-1]))

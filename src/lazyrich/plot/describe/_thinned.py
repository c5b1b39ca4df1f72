"""Long records with the points that a figure can show."""

import numpy as np
import xarray as xr
from jaxtyping import Float, Int

# Records of runs have hundreds of times, logs up to millions. A figure has fewer pixels than bins.
_MOST, _BINS = 10_000, 500


def thinned(record: xr.Dataset) -> xr.Dataset:
    """The record at the times that a figure needs, on a linear and on a logarithmic axis of time.

    Time is divided into bins, equal ones for each of the two axes. Of every curve the first, the
    smallest and the largest value in each bin are kept, so that peaks stay. Records of usual
    length are returned as they are.
    """
    times = record["time"].values
    if len(times) <= _MOST:
        return record
    positive = np.maximum(times, times[times > 0].min(initial=1.0))
    kept = [np.array([0, len(times) - 1])]
    for axis in (times, np.log(positive)):
        edges = np.linspace(axis[0], axis[-1], _BINS + 1)
        starts = np.unique(np.searchsorted(axis, edges[:-1]))
        kept.append(starts)
        kept += [
            _extremes(np.asarray(curve.values, dtype=float), starts)
            for curve in record.data_vars.values()
            if curve.dims == ("time",) and curve.dtype.kind in "fiu"
        ]
    return record.isel(time=np.unique(np.concatenate(kept)))


def _extremes(
    values: Float[np.ndarray, " t"], starts: Int[np.ndarray, " b"]
) -> Int[np.ndarray, " k"]:
    """The places of the smallest and the largest value in every bin."""
    bins = np.repeat(np.arange(len(starts)), np.diff(np.append(starts, len(values))))
    # By bin, and by value inside of it; values that are not a number come last.
    order = np.lexsort((values, bins))
    known = order[~np.isnan(values[order])]
    first = np.append(True, np.diff(bins[known]) > 0) if len(known) else np.zeros(0, dtype=bool)
    return np.concatenate(
        [known[first], known[np.append(first[1:], True)] if len(known) else known]
    )

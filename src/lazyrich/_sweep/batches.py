"""Runs of one shape, put together so that they can share a solve and its data."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from .sweep import Sweep


class Batch(NamedTuple):
    """What is computed, written and lost as one: `runs` are numbers of runs in the sweep."""

    number: int
    runs: np.ndarray


def batches(sweep: Sweep) -> Iterator[Batch]:
    """Every batch of at most `sweep.batch_size` runs, the same ones every time.

    Runs of other shapes are never together. Those of one seed stand side by side: they share
    their data and the predictors that belong to them.
    """
    places = np.unravel_index(np.arange(len(sweep)), sweep.shape)
    shapes = [p for a, p in zip(sweep.axes, places, strict=True) if not a.keeps_shape]
    seeds = [p for a, p in zip(sweep.axes, places, strict=True) if "seed" in a.keys]
    # The last key sorts first; where all are equal, the order of the sweep stays.
    order = np.lexsort([np.arange(len(sweep)), *reversed(seeds), *reversed(shapes)])
    group = np.zeros(len(sweep), dtype=np.int64)
    for place in shapes:
        group = group * (int(place.max()) + 1) + place
    ends = np.flatnonzero(np.diff(group[order], append=-1)) + 1
    number, start = 0, 0
    for end in ends:
        for first in range(start, int(end), sweep.batch_size):
            yield Batch(number, order[first : min(first + sweep.batch_size, int(end))])
            number += 1
        start = int(end)

"""Runs of one shape, put together so that they can share a solve and its data."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from ._sweep import Sweep


class Batch(NamedTuple):
    """What is computed, written and lost as one: `runs` are numbers of runs in the sweep."""

    number: int
    runs: np.ndarray


def batches(sweep: Sweep) -> Iterator[Batch]:
    """Every batch of at most `sweep.batch_size` runs, the same ones every time.

    Runs of other shapes are never together. A batch holds whole seeds, or an even part of
    one: runs of a seed share their data and the predictors that belong to them.
    """
    places = np.unravel_index(np.arange(len(sweep)), sweep.shape)
    shapes = [p for a, p in zip(sweep.axes, places, strict=True) if not a.keeps_shape]
    seeds = [p for a, p in zip(sweep.axes, places, strict=True) if "seed" in a.keys]
    num_seeds = np.prod([len(a) for a in sweep.axes if a.keeps_shape and "seed" in a.keys])
    num_shapes = np.prod([len(a) for a in sweep.axes if not a.keeps_shape])
    # The last key sorts first; where all are equal, the order of the sweep stays.
    order = np.lexsort([np.arange(len(sweep)), *reversed(seeds), *reversed(shapes)])
    runs = order.reshape(int(num_shapes), int(num_seeds), -1)
    num_parts = -(-runs.shape[2] // sweep.batch_size)
    seeds_at_once = max(1, sweep.batch_size // runs.shape[2])
    number = 0
    for shape in runs:
        for first in range(0, len(shape), seeds_at_once):
            whole = shape[first : first + seeds_at_once].reshape(-1)
            for part in np.array_split(whole, num_parts):
                yield Batch(number, part)
                number += 1

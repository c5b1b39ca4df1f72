"""Batches: runs of one shape that share a solve and their data."""

import math
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from ._sweep import Sweep


class Batch(NamedTuple):
    """Runs that are computed and written together; `runs` are their numbers in the sweep."""

    number: int
    runs: np.ndarray


def batches(sweep: Sweep) -> Iterator[Batch]:
    """Every batch of at most `sweep.batch_size` runs, always the same ones.

    The runs of a batch have one shape. A batch contains whole seeds, or an equal part of one
    seed, because runs of one seed share their data and predictors.
    """
    places = np.unravel_index(np.arange(len(sweep)), sweep.shape)
    shapes = [p for a, p in zip(sweep.axes, places, strict=True) if not a.keeps_shape]
    seeds = [p for a, p in zip(sweep.axes, places, strict=True) if "seed" in a.keys]
    num_seeds = np.prod([len(a) for a in sweep.axes if a.keeps_shape and "seed" in a.keys])
    num_shapes = np.prod([len(a) for a in sweep.axes if not a.keeps_shape])
    # `lexsort` sorts by the last key first; equal runs keep the order of the sweep.
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


def of_whole_solves(sweep: Sweep, size: int) -> int:
    """A batch size near `size` with which runs that share one solve are in one batch.

    It is `size`, unless the dynamics solve once for all values of `weight_decay`. Runs of one seed
    that differ in the axis of `weight_decay`, or in an axis after it, are then not separated.
    """
    axes = [axis for axis in sweep.axes if axis.keeps_shape and "seed" not in axis.keys]
    places = [i for i, axis in enumerate(axes) if "weight_decay" in axis.keys]
    if not places or not sweep.experiment.dynamics.solves_all_decays:
        return size
    num = math.prod(map(len, axes[places[0] :]))
    return num * max(1, size // num)

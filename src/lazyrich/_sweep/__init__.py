"""Many experiments as one description."""

from .axes import (
    Axis as Axis,
    Over as Over,
    axes_of as axes_of,
    parse_axes as parse_axes,
    parse_box as parse_box,
    parse_values as parse_values,
)
from .batches import Batch as Batch, batches as batches
from .designs import random as random, sobol as sobol
from .sweep import MAX_BYTES as MAX_BYTES, MAX_RUNS as MAX_RUNS, Sweep as Sweep

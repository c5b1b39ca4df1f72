"""The records of a solve that goes on."""

from typing import Any

import jax
import numpy as np
from jaxtyping import PyTree

MAX_EXTRA = 256
"""The largest number of records of a solve in addition to the requested ones."""


def kept(values: PyTree, num: Any) -> PyTree:
    """Copies of the first `num` records, which later steps do not overwrite."""
    return jax.tree.map(lambda leaf: np.array(np.asarray(leaf)[: int(num)]), values)

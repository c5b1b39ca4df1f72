"""Whether decay and loss balance at the end of a run."""

import numpy as np

from .scores import Curves

ARRIVED = 1e-3
"""The imbalance of weight decay and loss below which a settled run has arrived."""


def has_arrived(curves: Curves, *, settled: bool, sustained: int) -> bool | None:
    """Whether a run has settled and balances at its end; None if it is not known.

    - **Takes** `sustained`, the number of last records whose median counts.
    """
    if "arrival" not in curves:
        return None
    last = np.asarray(curves["arrival"])[-sustained:]
    if not len(last) or np.isnan(last).any():
        return None
    return settled and bool(np.median(last) < ARRIVED)

"""When to record."""

from typing import Annotated

import numpy as np
from annotated_types import Ge, Gt
from jaxtyping import Float

from .._description import Description


class Times(Description):
    """When to record: at 0, at log-spaced and at equally spaced times up to the horizon.

    `num_log` times stand in equal ratios from `first` on, `num_linear` in equal steps.
    Panels span seven decades, and their transitions are narrow on either scale alone.
    """

    first: Annotated[float, Gt(0)] = 1e-2
    num_log: Annotated[int, Ge(2)] = 140
    num_linear: Annotated[int, Ge(0)] = 60

    def grid(self, t1: float) -> Float[np.ndarray, " t"]:
        """The times up to the horizon `t1`, increasing, without repetition."""
        log = np.geomspace(min(self.first, 0.1 * t1), t1, self.num_log)
        log[-1] = t1
        linear = np.linspace(0.0, t1, self.num_linear + 1)
        return np.union1d(log, linear)

"""When to record."""

from typing import Annotated

import numpy as np
from annotated_types import Ge, Gt
from jaxtyping import Float

from .._core.description import Description
from .._core.errors import InputError
from .._core.room import check_room

# Beneath 10 times the smallest number of full precision, and a margin for products of times.
_LEAST = 1e-300


class Times(Description):
    """When to record: at 0, at log-spaced and at equally spaced times up to the horizon.

    `num_log` times stand in equal ratios from `first` on, `num_linear` in equal steps.
    Panels span seven decades, and their transitions are narrow on either scale alone.

    - **Takes** `at`, further times to record, of your own choice; `first`; left out, a tenth of the
        time of the fastest motion at time 0, at most 0.01 (for discrete optimisers, the first
        step), so that data which are fitted at once are not fitted before the first record.
    """

    first: Annotated[float, Gt(0)] | None = None
    num_log: Annotated[int, Ge(2)] = 140
    num_linear: Annotated[int, Ge(0)] = 60
    at: tuple[Annotated[float, Ge(0)], ...] = ()

    def grid(self, t1: float, first: float) -> Float[np.ndarray, " t"]:
        """The times up to the horizon `t1`, increasing, without repetition.

        - **Takes** `first`, the first time after 0 unless the description names one.
        """
        # Each is held in three arrays while they are put in order.
        parts = {"times.num_log": 24 * self.num_log, "times.num_linear": 24 * self.num_linear}
        check_room(parts, {"times.num_log": self.num_log, "times.num_linear": self.num_linear})
        if t1 < _LEAST:
            raise InputError("t1", t1, f"should be {_LEAST:g} or more: times below lose digits")
        log = np.geomspace(min(self.first or first, 0.1 * t1), t1, self.num_log)
        log[-1] = t1
        linear = np.linspace(0.0, t1, self.num_linear + 1)
        if self.at and not max(self.at) <= t1:
            raise InputError("times.at", max(self.at), f"should be at most t1 = {t1:g}")
        return np.union1d(np.union1d(log, linear), self.at)

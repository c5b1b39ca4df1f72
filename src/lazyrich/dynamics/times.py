"""The times of the records of a run."""

from typing import Annotated

import numpy as np
from annotated_types import Ge, Gt
from jaxtyping import Float

from .._core.description import Description
from .._core.errors import InputError
from .._core.room import check_room

# Ten times the smallest number of full precision, with a margin for products of times.
_LEAST = 1e-300


class Times(Description):
    """The times to record: 0, log-spaced times and equally spaced times up to the horizon.

    `num_log` times have equal ratios, starting at `first`. `num_linear` times have equal
    differences. Panels span seven decades. A transition can be narrow on the logarithmic or on the
    linear scale.

    - **Takes** `at`, additional times to record; `first`, by default a tenth of the time of the
        fastest motion at time 0, at most 0.01 (for discrete optimisers, the first step). The
        default makes the first record early enough to precede the fit of the data.
    """

    first: Annotated[float, Gt(0)] | None = None
    num_log: Annotated[int, Ge(2)] = 140
    num_linear: Annotated[int, Ge(0)] = 60
    at: tuple[Annotated[float, Ge(0)], ...] = ()

    def grid(self, t1: float, first: float) -> Float[np.ndarray, " t"]:
        """All times up to the horizon `t1`, increasing, without repetition.

        - **Takes** `first`, the first time after 0 if the description does not set it.
        """
        # Each time is in three arrays while the times are sorted.
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

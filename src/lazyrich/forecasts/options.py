"""The arguments of a forecast, checked."""

from dataclasses import dataclass, field
from typing import Literal, get_args

import jax
import numpy as np

from .._core.errors import InputError
from ..dynamics import Problem
from ..records.transition import Thresholds, check_thresholds

# With more than _MANY training outputs, the kernel is computed on subsets of _FEW samples.
_MANY, _FEW = 20_000, 400


How = Literal["calibrated", "solved", "pilot"]
"""By the constant of the family, by solving the run from the end of the kernel phase on, or by
running it at higher learning rates."""


@dataclass(frozen=True)
class ForecastOptions:
    """The arguments of [`forecast`][lazyrich.forecast]."""

    num_samples: int | None = None
    passage: How | None = None
    max_test: int = 2000
    thresholds: Thresholds = field(default_factory=Thresholds)

    def check(self) -> None:
        """Raises [`InputError`][lazyrich.InputError] for arguments that are not accepted."""
        if self.passage is not None and self.passage not in get_args(How):
            accepted = "should be calibrated, solved or pilot, or left out"
            raise InputError("passage", self.passage, accepted)
        check_thresholds(self.thresholds)
        if not isinstance(self.max_test, int | np.integer) or self.max_test < 1:
            raise InputError("max_test", self.max_test, "should be a whole number, at least 1")
        if self.passage in ("solved", "pilot") and self.num_samples is not None:
            what = "a solved transition" if self.passage == "solved" else "pilots"
            accepted = f"should be left out with {what}, which use all samples"
            raise InputError("num_samples", self.num_samples, accepted)

    def size(self, problem: Problem) -> int | None:
        """The number of samples in a subset; None for all training samples."""
        num = problem.train.x.shape[0]
        if self.num_samples is not None:
            return None if self.num_samples == num else self.num_samples
        outputs = jax.eval_shape(problem.model.apply, problem.params, problem.train.x)
        affordable = self.passage == "solved" or outputs.size <= _MANY
        return None if affordable else min(_FEW, num // 2)

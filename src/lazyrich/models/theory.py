"""What theory says of where training of a model begins and ends."""

from dataclasses import dataclass
from typing import Literal

Early = Literal["l2", "completion"]
"""Least squared norm, or largest margin of it, of weights; or of a symmetric matrix's entries."""

Late = Literal["lq", "nuclear"]
"""Of weights, those of least $\\ell_q$ (quasi-)norm; of matrices, of least nuclear norm."""


@dataclass(frozen=True)
class Theory:
    r"""The norms that training minimises first and last, and runs that are alike.

    - `early`, the norm of the kernel phase's predictor, in the entries weighed by
        `kernel_weights`; `late`, that of the predictor that late training comes to; None where
        theory names none. `order`, the $q$ of an $\ell_q$ norm.
    - `entries`, of how many numbers a training sample shows one; None where samples mix them.
    - `family`, what runs of such models are called in a table of calibrated constants;
        `of_any_task`, whether they are alike whatever the task.
    """

    early: Early | None = None
    late: Late | None = None
    order: float = 1.0
    entries: int | None = None
    family: str = ""
    of_any_task: bool = False

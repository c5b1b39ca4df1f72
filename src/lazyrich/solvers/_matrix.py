"""Approximate Jacobians that a Rosenbrock method accepts in place of the exact Jacobian."""

import abc
from collections.abc import Callable

from jaxtyping import Array, PyTree

from ._work import Work

ShiftedSolve = Callable[[PyTree], PyTree]


class AbstractMatrix(abc.ABC):
    """An approximate Jacobian $W$ whose shifted inverse can be applied to a vector."""

    @abc.abstractmethod
    def shifted_solve(self, shift: Array) -> tuple[ShiftedSolve, Work]:
        r"""$v \mapsto (\text{shift} \cdot I - W)^{-1} v$, and the work of four such solves."""

"""What a solver may be given in place of a Jacobian."""

import abc
from collections.abc import Callable

from jaxtyping import Array, PyTree

from ._work import Work

ShiftedSolve = Callable[[PyTree], PyTree]


class AbstractMatrix(abc.ABC):
    """An approximate Jacobian $W$ that can be shifted and inverted."""

    @abc.abstractmethod
    def shifted_solve(self, shift: Array) -> tuple[ShiftedSolve, Work]:
        r"""$v \mapsto (\text{shift} \cdot I - W)^{-1} v$, and what four solves take."""

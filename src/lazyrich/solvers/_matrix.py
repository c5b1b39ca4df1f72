"""Approximate Jacobians that a Rosenbrock method accepts in place of the exact Jacobian."""

import abc
from collections.abc import Callable
from typing import Any

import equinox as eqx
from jaxtyping import Array, PyTree

from ._work import Work

ShiftedSolve = Callable[[PyTree], PyTree]


class AbstractMatrix(abc.ABC):
    """An approximate Jacobian $W$ whose shifted inverse can be applied to a vector."""

    @abc.abstractmethod
    def shifted_solve(self, shift: Array) -> tuple[ShiftedSolve, Work]:
        r"""$v \mapsto (\text{shift} \cdot I - W)^{-1} v$, and the work of four such solves."""


class AbstractMatrixTerm(eqx.Module):
    """A diffrax term that has an approximation of its Jacobian."""

    @abc.abstractmethod
    def approximate_jacobian(self, t: Any, y: PyTree, args: Any) -> AbstractMatrix:
        """The matrix at `(t, y)`, forwards in time."""

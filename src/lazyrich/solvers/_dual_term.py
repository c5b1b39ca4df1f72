"""The base class of terms that DualROS34PW2 can solve."""

import abc
from collections.abc import Callable
from typing import Any

import diffrax
from jaxtyping import Array, Float, PyTree


class AbstractDualTerm(diffrax.AbstractTerm[Any, Any]):
    r"""A vector field $\frac1n J(\theta)^\top s(f(\theta)) - \lambda\theta$ given by its parts.

    $f$ are the outputs, of shape `(n,)` or `(n, c)`, and $J$ is their Jacobian. The dual $s$ is
    minus the derivative of the loss with respect to an output.
    """

    @property
    @abc.abstractmethod
    def num_samples(self) -> Any:
        """$n$."""

    @property
    @abc.abstractmethod
    def decay(self) -> Any:
        r"""$\lambda$."""

    @property
    @abc.abstractmethod
    def constant_curvature(self) -> float | None:
        """$-s'$ if it has the same value for all outputs; otherwise `None`."""

    @abc.abstractmethod
    def outputs(self, params: PyTree) -> Float[Array, " n *c"]:
        """$f$."""

    @abc.abstractmethod
    def outputs_and_pullback(
        self, params: PyTree
    ) -> tuple[Float[Array, " n *c"], Callable[[Array], PyTree]]:
        r"""$f$ and $r \mapsto J^\top r$."""

    @abc.abstractmethod
    def pushforward(self, params: PyTree) -> Callable[[PyTree], Float[Array, " n *c"]]:
        r"""$v \mapsto J v$."""

    @abc.abstractmethod
    def jacobian(self, params: PyTree) -> Float[Array, "m p"]:
        r"""$J$: a row for each entry of the raveled outputs, a column for each parameter."""

    @abc.abstractmethod
    def prefers_parameters(self, params: PyTree) -> bool:
        """Whether stages should solve a `(p, p)` system instead of an `(m, m)` system."""

    @abc.abstractmethod
    def tangent_kernel(self, params: PyTree) -> Float[Array, "m m"]:
        r"""$J J^\top$."""

    @abc.abstractmethod
    def dual(self, f: Float[Array, "*m"]) -> Float[Array, "*m"]:
        """$s(f)$."""

    @abc.abstractmethod
    def pull(self, pullback: Callable[[Array], PyTree], dual: Array, params: PyTree) -> PyTree:
        r"""$\frac1n J^\top r - \lambda\theta$ for a given dual $r$."""

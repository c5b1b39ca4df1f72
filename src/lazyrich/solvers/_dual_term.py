"""The term that a method on the dual of a loss needs."""

import abc
from collections.abc import Callable
from typing import Any

import diffrax
from jaxtyping import Array, Float, PyTree


class AbstractDualTerm(diffrax.AbstractTerm[Any, Any]):
    r"""A vector field $\frac1n J(\theta)^\top s(f(\theta)) - \lambda\theta$ that shows its parts.

    $f$ are outputs of shape `(n,)` or `(n, c)`, $J$ is their Jacobian, and the dual $s$ is minus
    the derivative of a loss in an output.
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
        """$-s'$ if it is the same for all outputs; otherwise `None`."""

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
        r"""$J$, by raveled outputs and raveled parameters."""

    @abc.abstractmethod
    def prefers_parameters(self, params: PyTree) -> bool:
        """Whether a linear system is better solved for parameters than for outputs."""

    @abc.abstractmethod
    def tangent_kernel(self, params: PyTree) -> Float[Array, "m m"]:
        r"""$J J^\top$."""

    @abc.abstractmethod
    def dual(self, f: Float[Array, "*m"]) -> Float[Array, "*m"]:
        """$s(f)$."""

    @abc.abstractmethod
    def pull(self, pullback: Callable[[Array], PyTree], dual: Array, params: PyTree) -> PyTree:
        r"""$\frac1n J^\top r - \lambda\theta$ for a given dual $r$."""

"""What a loss is."""

import abc
from typing import ClassVar

import jax.numpy as jnp
import jax.scipy.special as jss
import numpy as np
from jaxtyping import Array, ArrayLike, Float

from .._description import Choice
from .._errors import InputError


class AbstractLoss(Choice):
    r"""A loss $\ell(f, y)$ of one output and its label, averaged over samples.

    All methods act elementwise on outputs `f` and labels `y` of one shape. The dual is
    $s = -\partial \ell / \partial f$, the force on an output; gradient flow moves
    parameters along $\frac1n \sum_i s_i \nabla f_i$.
    """

    is_classification: ClassVar[bool]
    """Whether labels are the signs -1 and 1, and fitting drives outputs to infinity."""

    @abc.abstractmethod
    def value(self, f: Float[Array, "*n"], y: Float[Array, "*n"]) -> Float[Array, "*n"]:
        r"""$\ell(f, y)$."""

    @abc.abstractmethod
    def dual(self, f: Float[Array, "*n"], y: Float[Array, "*n"]) -> Float[Array, "*n"]:
        r"""$-\partial \ell / \partial f$."""

    @abc.abstractmethod
    def curvature(self, f: Float[Array, "*n"], y: Float[Array, "*n"]) -> Float[Array, "*n"]:
        r"""$\partial^2 \ell / \partial f^2$."""

    @abc.abstractmethod
    def log_value(self, f: Float[Array, "*n"], y: Float[Array, "*n"]) -> Float[Array, "*n"]:
        r"""$\log \ell(f, y)$, to full relative accuracy however small the loss."""

    def mean(self, f: Float[Array, " n"], y: Float[Array, " n"]) -> Float[Array, ""]:
        """Mean over samples."""
        return jnp.mean(self.value(f, y))

    def log_mean(self, f: Float[Array, " n"], y: Float[Array, " n"]) -> Float[Array, ""]:
        """Logarithm of the mean over samples, exact below underflow of the mean."""
        return jss.logsumexp(self.log_value(f, y)) - jnp.log(f.size)

    def check_labels(self, y: ArrayLike, key: str) -> None:
        """Raises [`InputError`][lazyrich.InputError] if a label has no meaning here."""
        if not self.is_classification:
            return
        labels = np.asarray(y)
        bad = np.flatnonzero(np.abs(labels) != 1)
        if len(bad):
            name = type(self).__name__
            raise InputError(
                f"{key}[{bad[0]}]", float(labels[bad[0]]), f"{name} needs labels -1 or 1"
            )

"""What a loss is."""

import abc
from typing import ClassVar

import jax.numpy as jnp
import jax.scipy.special as jss
import numpy as np
from jaxtyping import Array, ArrayLike, Float, Shaped

from .._description import Choice
from .._errors import InputError
from .._tasks import Meaning


class AbstractLoss(Choice):
    r"""A loss $\ell(f, y)$ of a sample's output and its label, averaged over samples.

    Outputs `f` are `(n,)` for a model with one output, else `(n, c)`. The dual is $s =
    -\partial \ell / \partial f$, the force on an output; gradient flow moves parameters
    along $\frac1n \sum_i J_i^\top s_i$. Losses of one output act elementwise, on any shape.
    """

    is_classification: ClassVar[bool]
    """Whether labels are signs or classes, and no output too far on the label's side."""

    @abc.abstractmethod
    def value(self, f: Float[Array, "..."], y: Shaped[Array, "..."]) -> Float[Array, "..."]:
        r"""$\ell(f, y)$, one number a sample."""

    @abc.abstractmethod
    def dual(self, f: Float[Array, "*n"], y: Shaped[Array, "..."]) -> Float[Array, "*n"]:
        r"""$-\partial \ell / \partial f$."""

    @abc.abstractmethod
    def curvature(self, f: Float[Array, "*n"], y: Shaped[Array, "..."]) -> Float[Array, "*n"]:
        r"""$\partial^2 \ell / \partial f^2$, of an output with itself."""

    @abc.abstractmethod
    def log_value(self, f: Float[Array, "..."], y: Shaped[Array, "..."]) -> Float[Array, "..."]:
        r"""$\log \ell(f, y)$, to full relative accuracy however small the loss."""

    def curvature_root(
        self, f: Float[Array, "*n"], y: Shaped[Array, "..."], v: Float[Array, "*n"]
    ) -> Float[Array, "*n"]:
        r"""$B v$ for the Hessian $B B^\top = \partial^2 \ell / \partial f^2$ of each sample."""
        return jnp.sqrt(self.curvature(f, y)) * v

    def curvature_root_transposed(
        self, f: Float[Array, "*n"], y: Shaped[Array, "..."], v: Float[Array, "*n"]
    ) -> Float[Array, "*n"]:
        r"""$B^\top v$."""
        return self.curvature_root(f, y, v)

    def mean(self, f: Float[Array, " n *c"], y: Shaped[Array, " n ..."]) -> Float[Array, ""]:
        """Mean over samples."""
        return jnp.mean(self.value(f, y))

    def log_mean(self, f: Float[Array, " n *c"], y: Shaped[Array, " n ..."]) -> Float[Array, ""]:
        """Logarithm of the mean over samples, exact below underflow of the mean."""
        return jss.logsumexp(self.log_value(f, y)) - jnp.log(f.shape[0])

    def blank(self, outputs: tuple[int, ...], y: ArrayLike) -> float:
        """The mean loss of an output of zero, for outputs of shape `(n, *c)`."""
        return float(self.mean(jnp.zeros(outputs), jnp.asarray(y)))

    def variance(self, outputs: tuple[int, ...], y: ArrayLike) -> float:
        """The mean loss of the best constant output, for outputs of shape `(n, *c)`.

        Not a number for a loss whose runs are scored by accuracies.
        """
        del outputs, y
        return float("nan")

    def check_shape(self, outputs: tuple[int, ...], y: Shaped[Array, "..."]) -> None:
        """Raises [`InputError`][lazyrich.InputError] for outputs that labels do not match."""
        if outputs != y.shape:
            accepted = f"labels are {y.shape}: {type(self).__name__} needs one for each output"
            raise InputError("model", f"outputs {outputs}", accepted)

    @property
    def takes(self) -> Meaning:
        """What labels are to it."""
        return "signs" if self.is_classification else "reals"

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

"""Multi-class cross-entropy."""

from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float, Int

from .._errors import InputError
from .._tasks import Meaning
from ._base import AbstractLoss
from .logistic import Logistic


class CrossEntropy(AbstractLoss):
    r"""$\ell(f, y) = \log \sum_j e^{f_j - f_y}$ for outputs `(n, c)` and classes `(n,)`.

    With $m$ the log of the odds of the right class, $f_y - \log \sum_{j \ne y} e^{f_j}$, it is
    the logistic loss of $m$: exact however certain the outputs are.
    """

    is_classification: ClassVar[bool] = True

    def value(self, f: Float[Array, "n c"], y: Int[Array, " n"]) -> Float[Array, " n"]:
        return jax.nn.softplus(-_log_odds(f, y))

    def dual(self, f: Float[Array, "n c"], y: Int[Array, " n"]) -> Float[Array, "n c"]:
        # The right class as one minus its probability would round to zero once certain.
        right = _is_label(f, y)
        others = jax.nn.softmax(jnp.where(right, -jnp.inf, f), axis=1)
        doubt = jax.nn.sigmoid(-_log_odds(f, y))[:, None]
        return doubt * jnp.where(right, 1.0, -others)

    def curvature(self, f: Float[Array, "n c"], y: Int[Array, " n"]) -> Float[Array, "n c"]:
        del y
        p = jax.nn.softmax(f, axis=1)
        return p * (1 - p)

    def curvature_root(self, f: Array, y: Array, v: Array) -> Array:
        # diag(p) - p p^T = B B^T with B = diag(sqrt p) - p sqrt(p)^T, as p sums to one.
        del y
        p = jax.nn.softmax(f, axis=1)
        root = jnp.sqrt(p)
        return root * v - p * jnp.sum(root * v, axis=1, keepdims=True)

    def curvature_root_transposed(self, f: Array, y: Array, v: Array) -> Array:
        del y
        p = jax.nn.softmax(f, axis=1)
        return jnp.sqrt(p) * (v - jnp.sum(p * v, axis=1, keepdims=True))

    def log_value(self, f: Float[Array, "n c"], y: Int[Array, " n"]) -> Float[Array, " n"]:
        odds = _log_odds(f, y)
        return Logistic().log_value(odds, jnp.ones_like(odds))

    def check_shape(self, outputs: tuple[int, ...], y: Array) -> None:
        if len(outputs) != 2 or outputs[0] != len(y) or outputs[1] <= int(jnp.max(y)):
            accepted = f"CrossEntropy needs ({len(y)}, c) with c above {int(jnp.max(y))}"
            raise InputError("model", f"outputs {outputs}", accepted)

    @property
    def takes(self) -> Meaning:
        return "classes"

    def check_labels(self, y: ArrayLike, key: str) -> None:
        labels = np.asarray(y)
        if labels.ndim != 1 or labels.dtype.kind not in "iu":
            accepted = "CrossEntropy needs one whole number a sample, its class"
            raise InputError(key, f"{labels.dtype} {labels.shape}", accepted)
        if labels.min() < 0:
            raise InputError(key, int(labels.min()), "CrossEntropy needs classes from 0 on")


def _is_label(f: Float[Array, "n c"], y: Int[Array, " n"]) -> Array:
    return jnp.arange(f.shape[1])[None] == y[:, None]


def _log_odds(f: Float[Array, "n c"], y: Int[Array, " n"]) -> Float[Array, " n"]:
    right = _is_label(f, y)
    others = jax.nn.logsumexp(jnp.where(right, -jnp.inf, f), axis=1)
    return jnp.sum(jnp.where(right, f, 0.0), axis=1) - others

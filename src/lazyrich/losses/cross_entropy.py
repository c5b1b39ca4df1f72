"""Multi-class cross-entropy."""

from typing import Any, ClassVar

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float, Int, Shaped

from .._core.errors import InputError
from .._core.precision import in_double, promoted
from ..tasks import Meaning
from ._base import AbstractLoss, are_one_hot, finite_labels
from ._classes import classes_of
from .logistic import Logistic


class CrossEntropy(AbstractLoss):
    r"""$\ell(f, y) = \log \sum_j e^{f_j - f_y}$ for outputs `(n, c)` and classes `(n,)`.

    This is the logistic loss of $m = f_y - \log \sum_{j \ne y} e^{f_j}$, the log-odds of the right
    class. In this form it is accurate even for outputs of extreme size.
    """

    is_classification: ClassVar[bool] = True

    @property
    def is_softmax(self) -> bool:
        return True

    @promoted
    def value(self, f: Float[Array, "n c"], y: Shaped[Array, " n"]) -> Float[Array, " n"]:
        return jax.nn.softplus(-_log_odds(f, y))

    @promoted
    def dual(self, f: Float[Array, "n c"], y: Shaped[Array, " n"]) -> Float[Array, "n c"]:
        # One minus the probability of the right class would round to zero at large log-odds.
        right = _is_label(f, y)
        others = jax.nn.softmax(jnp.where(right, -jnp.inf, f), axis=1)
        error = jax.nn.sigmoid(-_log_odds(f, y))[:, None]
        return error * jnp.where(right, 1.0, -others)

    @promoted
    def curvature(self, f: Float[Array, "n c"], y: Shaped[Array, " n"]) -> Float[Array, "n c"]:
        del y
        p = jax.nn.softmax(f, axis=1)
        return p * (1 - p)

    @promoted
    def curvature_root(self, f: Array, y: Array, v: Array) -> Array:
        # diag(p) - p p^T = B B^T with B = diag(sqrt p) - p sqrt(p)^T, because p sums to one.
        del y
        p = jax.nn.softmax(f, axis=1)
        root = jnp.sqrt(p)
        return root * v - p * jnp.sum(root * v, axis=1, keepdims=True)

    @promoted
    def curvature_root_transposed(self, f: Array, y: Array, v: Array) -> Array:
        del y
        p = jax.nn.softmax(f, axis=1)
        return jnp.sqrt(p) * (v - jnp.sum(p * v, axis=1, keepdims=True))

    @promoted
    def log_value(self, f: Float[Array, "n c"], y: Shaped[Array, " n"]) -> Float[Array, " n"]:
        odds = _log_odds(f, y)
        return Logistic().log_value(odds, jnp.ones_like(odds))

    @property
    def takes(self) -> Meaning:
        return "classes"

    @in_double
    def labels(self, y: Any, outputs: tuple[int, ...], key: str) -> Int[Array, " n"]:
        labels = finite_labels(y, outputs, key)
        if are_one_hot(labels):
            accepted = "CrossEntropy needs classes (n,); convert one-hot rows by y.argmax(axis=1)"
            raise InputError(key, f"labels {labels.shape}", accepted)
        if labels.shape[1:] not in ((), (1,)):
            accepted = "CrossEntropy needs one whole number for each sample, its class"
            raise InputError(key, f"labels {labels.shape}", accepted)
        if len(outputs) != 2 or outputs[1] < 2:
            accepted = (
                "CrossEntropy needs an output for each class, such as outputs = 2 of an MLP; "
                "with one output use Logistic and labels -1 or 1"
            )
            raise InputError("model", f"outputs {outputs}", accepted)
        return classes_of("CrossEntropy", labels, outputs[1], key)

    def meaning(self, y_train: ArrayLike, y_test: ArrayLike) -> Meaning:
        del y_train, y_test
        return "classes"


def _is_label(f: Float[Array, "n c"], y: Shaped[Array, " n"]) -> Array:
    return jnp.arange(f.shape[1])[None] == y[:, None]


def _log_odds(f: Float[Array, "n c"], y: Shaped[Array, " n"]) -> Float[Array, " n"]:
    right = _is_label(f, y)
    others = jax.nn.logsumexp(jnp.where(right, -jnp.inf, f), axis=1)
    return jnp.sum(jnp.where(right, f, 0.0), axis=1) - others

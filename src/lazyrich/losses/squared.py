"""The squared loss."""

from typing import Any, ClassVar

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Shaped

from .._core.errors import InputError
from .._core.precision import in_double, promoted
from ..tasks import Meaning
from ._base import AbstractLoss, finite_labels, in_shape
from ._classes import classes_of

# Labels up to which a squared loss, and what is derived from it, neither overflows nor vanishes.
_EXTREME = 1e152


class Squared(AbstractLoss):
    r"""$\ell(f, y) = \|f - y\|^2$, without a factor ½, summed over the outputs of a sample.

    Labels are any real numbers, one for each output; or, for outputs `(n, c)` with $c \ge 2$,
    classes `(n,)`, whole numbers below $c$ that stand for the unit vectors $e_y$ (one-hot
    targets). Accuracy is then that of the largest output. Labels of one output that are all -1 or
    1 have an accuracy, too: that of the sign.
    """

    is_classification: ClassVar[bool] = False

    @property
    def constant_curvature(self) -> float:
        return 2.0

    @promoted
    def value(self, f: Array, y: Array) -> Array:
        return _over_outputs((f - _targets(f, y)) ** 2)

    @promoted
    def dual(self, f: Array, y: Array) -> Array:
        return 2.0 * (_targets(f, y) - f)

    @promoted
    def curvature(self, f: Array, y: Array) -> Array:
        del y
        return jnp.full_like(f, 2.0)

    @promoted
    def log_value(self, f: Array, y: Array) -> Array:
        gap = f - _targets(f, y)
        return jnp.log(_over_outputs(gap**2)) if f.ndim == 2 else 2.0 * jnp.log(jnp.abs(gap))

    def variance(self, outputs: tuple[int, ...], y: ArrayLike) -> float:
        """That of the targets, summed over outputs; exactly 0 where they are all equal."""
        targets = np.asarray(_targets(jnp.zeros(outputs), jnp.asarray(y)), dtype=float)
        targets = targets.reshape(len(targets), -1)
        if np.all(targets == targets[:1]):
            return 0.0
        return float(np.sum(np.var(targets, axis=0)))

    @in_double
    def labels(self, y: Any, outputs: tuple[int, ...], key: str) -> Shaped[Array, " n *c"]:
        labels = finite_labels(y, outputs, key)
        num_outputs = outputs[1] if len(outputs) == 2 else 1
        if num_outputs == 1 or labels.shape[1:] not in ((), (1,)):
            return _of_ordinary_size(in_shape("Squared", labels, outputs, key), key)
        # One label beside many outputs can only name one of them.
        return classes_of("Squared", labels, num_outputs, key)

    def meaning(self, y_train: Array, y_test: Array) -> Meaning:
        # `labels` gives whole numbers where they are classes, and nowhere else.
        classes = jnp.issubdtype(y_train.dtype, jnp.integer)
        return "classes" if classes else super().meaning(y_train, y_test)


def _of_ordinary_size(labels: Any, key: str) -> Array:
    """Labels whose squares are numbers."""
    labels = jnp.asarray(labels, jnp.float64)
    largest = float(jnp.max(jnp.abs(labels), initial=0.0))
    if largest > 0 and not 1 / _EXTREME <= largest <= _EXTREME:
        accepted = (
            f"should be zero or between {1 / _EXTREME:g} and {_EXTREME:g} in size, whose squares "
            "float64 can hold; multiply labels and initial outputs by the same constant"
        )
        raise InputError(key, largest, accepted)
    return labels


def _targets(f: Array, y: Array) -> Array:
    if f.ndim != 2 or y.ndim != 1:
        return y
    return (jnp.arange(f.shape[1])[None] == y[:, None]).astype(f.dtype)


def _over_outputs(values: Array) -> Array:
    return jnp.sum(values, axis=1) if values.ndim == 2 else values

"""The squared loss."""

from typing import Any, ClassVar

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float, Shaped

from .._core.errors import InputError
from .._core.precision import in_double, promoted
from ..tasks import Meaning
from ._base import AbstractLoss, finite_labels, in_shape
from ._classes import classes_of

# Up to labels of this size, a squared loss and derived quantities neither overflow nor underflow.
_EXTREME = 1e152


class Squared(AbstractLoss):
    r"""$\ell(f, y) = \|f - y\|^2$, without a factor ½, summed over the outputs of a sample.

    Labels are real numbers, one for each output. For outputs `(n, c)` with $c \ge 2$ they can also
    be classes `(n,)`, whole numbers below $c$. A class $y$ means the unit vector $e_y$ as target
    (one-hot), and accuracy compares the class with the largest output. Labels of one output that
    are all -1 or 1 also have an accuracy, that of the sign.
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

    @in_double
    def variance(self, outputs: tuple[int, ...], y: ArrayLike) -> float:
        """The variance of the targets, summed over outputs; exactly 0 if all are equal."""
        targets = np.asarray(_targets(jnp.zeros(outputs), jnp.asarray(y)), dtype=float)
        targets = targets.reshape(len(targets), -1)
        if np.all(targets == targets[:1]):
            return 0.0
        return float(np.sum(np.var(targets, axis=0)))

    @in_double
    def targets(self, outputs: tuple[int, ...], y: ArrayLike) -> Float[Array, "..."]:
        return _targets(jnp.zeros(outputs), jnp.asarray(y))

    @in_double
    def labels(self, y: Any, outputs: tuple[int, ...], key: str) -> Shaped[Array, " n *c"]:
        labels = finite_labels(y, outputs, key)
        num_outputs = outputs[1] if len(outputs) == 2 else 1
        if num_outputs == 1 or labels.shape[1:] not in ((), (1,)):
            return _with_finite_squares(in_shape("Squared", labels, outputs, key), key)
        # One label for several outputs can only be a class.
        return classes_of("Squared", labels, num_outputs, key)

    @in_double
    def meaning(self, y_train: ArrayLike, y_test: ArrayLike) -> Meaning:
        # `labels` returns integers for classes only.
        classes = jnp.issubdtype(jnp.result_type(y_train), jnp.integer)
        return "classes" if classes else super().meaning(y_train, y_test)


def _with_finite_squares(labels: Any, key: str) -> Array:
    """Labels whose squares neither overflow nor underflow."""
    labels = jnp.asarray(labels, jnp.float64)
    largest = float(jnp.max(jnp.abs(labels), initial=0.0))
    if largest > 0 and not 1 / _EXTREME <= largest <= _EXTREME:
        accepted = (
            f"should be zero or between {1 / _EXTREME:g} and {_EXTREME:g} in size, because float64 "
            "must hold the squares; multiply labels and initial outputs by the same constant"
        )
        raise InputError(key, largest, accepted)
    return labels


def _targets(f: Array, y: Array) -> Array:
    if f.ndim != 2 or y.ndim != 1:
        return y
    return (jnp.arange(f.shape[1])[None] == y[:, None]).astype(f.dtype)


def _over_outputs(values: Array) -> Array:
    return jnp.sum(values, axis=1) if values.ndim == 2 else values

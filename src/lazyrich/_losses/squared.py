"""The squared loss."""

from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike

from .._errors import InputError
from ._base import AbstractLoss


class Squared(AbstractLoss):
    r"""$\ell(f, y) = \|f - y\|^2$, without a factor ½, summed over the outputs of a sample.

    Labels are any real numbers, of the outputs' shape; or, for outputs `(n, c)`, classes
    `(n,)`, whole numbers that stand for the unit vectors $e_y$ (one-hot targets). Accuracy is
    then that of the largest output.
    """

    is_classification: ClassVar[bool] = False

    def value(self, f: Array, y: Array) -> Array:
        return _over_outputs((f - _targets(f, y)) ** 2)

    def dual(self, f: Array, y: Array) -> Array:
        return 2.0 * (_targets(f, y) - f)

    def curvature(self, f: Array, y: Array) -> Array:
        del y
        return jnp.full_like(f, 2.0)

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

    def check_shape(self, outputs: tuple[int, ...], y: Array) -> None:
        if not _are_classes(len(outputs), y):
            super().check_shape(outputs, y)
            return
        low, high = int(jnp.min(y)), int(jnp.max(y))
        if low < 0:
            raise InputError("task.y_train", low, "Squared needs classes from 0 on")
        if outputs[0] != len(y) or outputs[1] <= high:
            accepted = f"Squared on classes needs ({len(y)}, c) with c above {high}"
            raise InputError("model", f"outputs {outputs}", accepted)


def _are_classes(num_axes: int, y: Array) -> bool:
    return num_axes == 2 and y.ndim == 1 and jnp.issubdtype(y.dtype, jnp.integer)


def _targets(f: Array, y: Array) -> Array:
    return jax.nn.one_hot(y, f.shape[1], dtype=f.dtype) if _are_classes(f.ndim, y) else y


def _over_outputs(values: Array) -> Array:
    return jnp.sum(values, axis=1) if values.ndim == 2 else values

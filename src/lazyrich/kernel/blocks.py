"""Blocks of the tangent kernel: for a pair of classes, or summed over classes."""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Shaped

from .._core.precision import promoted
from ..models import AbstractModel
from ..models._net import check_net
from .rows import row_gram


@promoted
def kernel_block(
    model: AbstractModel,
    params: Any,
    x: Shaped[Array, "n d"],
    other: Shaped[Array, "k d"] | None = None,
    classes: tuple[int, int] = (0, 0),
) -> Float[Array, "n k"]:
    r"""$\langle \nabla f_a(x_i), \nabla f_b(x'_j) \rangle$ between two sets of inputs.

    - **Takes** `other`, the inputs $x'$, by default `x`; `classes`, $(a, b)$, ignored for a model
        with one output.
    """
    check_net(model, params, x)
    inputs = (x, x if other is None else other)
    one = jax.eval_shape(lambda p: model.apply(p, x[:1]), params)

    def of_class(inputs: Array, index: int) -> Array:
        if one.ndim == 1:
            return jnp.ones(len(inputs), one.dtype)
        return jnp.zeros((len(inputs), one.shape[1]), one.dtype).at[:, index].set(1.0)

    left, right = (of_class(x, c) for x, c in zip(inputs, classes, strict=True))
    same = other is None and classes[0] == classes[1]
    return row_gram(model, params, x, left, None if same else (inputs[1], right))


@promoted
def class_kernel(model: AbstractModel, params: Any, x: Shaped[Array, "n d"]) -> Float[Array, "n n"]:
    r"""$\sum_c \langle \nabla f_c(x_i), \nabla f_c(x_j) \rangle$: the kernel traced over outputs.

    The shape is `(n, n)` for any number of outputs. For one output it is the tangent kernel.
    """
    check_net(model, params, x)
    one = jax.eval_shape(lambda p: model.apply(p, x[:1]), params)
    if one.ndim == 1:
        return model.tangent_kernel(params, x)

    def add(index: Array, kernel: Array) -> Array:
        forces = jnp.zeros((len(x), one.shape[1]), one.dtype).at[:, index].set(1.0)
        return kernel + row_gram(model, params, x, forces)

    return jax.lax.fori_loop(0, one.shape[1], add, jnp.zeros((len(x), len(x)), one.dtype))

"""Products with the tangent kernel, without forming the kernel."""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Shaped

from .._core.precision import promoted
from ..models import AbstractModel
from ..models._net import check_net


@promoted
def kernel_product(
    model: AbstractModel,
    params: Any,
    v: Float[Array, " k *c"],
    x: Shaped[Array, "n d"],
    other: Shaped[Array, "k d"] | None = None,
    batch_size: int = 1024,
) -> Float[Array, " n *c"]:
    r"""$K(x, x') v = J(x) J(x')^\top v$, by one backward and one forward pass over batches.

    The product is over all outputs of all inputs, so $v$ and the result have the shapes of outputs.
    The memory is that of the parameters and of one batch.

    - **Takes** `other`, the inputs $x'$, by default `x`; `batch_size`, the number of inputs in a
        batch.
    """
    check_net(model, params, x)
    x = model.cast_inputs(x)
    other = x if other is None else model.cast_inputs(other)

    def pulled(batch: tuple[Array, Array]) -> Any:
        some, force = batch
        return jax.vjp(lambda p: model.apply(p, some), params)[1](force)[0]

    def pushed(some: Array) -> Array:
        return jax.jvp(lambda p: model.apply(p, some), (params,), (direction,))[1]

    def parts(length: int) -> list[slice]:
        return [slice(start, start + batch_size) for start in range(0, length, batch_size)]

    direction = jax.tree.map(jnp.zeros_like, params)
    for part in parts(len(other)):
        direction = jax.tree.map(jnp.add, direction, pulled((other[part], v[part])))
    return jnp.concatenate([pushed(x[part]) for part in parts(len(x))])


@promoted
def tangent_outputs(
    model: AbstractModel, params: Any, direction: Any, x: Shaped[Array, "n d"]
) -> Float[Array, " n *c"]:
    r"""$\langle \nabla f(x), h\rangle$: the derivative of the outputs along a direction $h$."""
    check_net(model, params, x)
    x = model.cast_inputs(x)
    return jax.jvp(lambda p: model.apply(p, x), (params,), (direction,))[1]

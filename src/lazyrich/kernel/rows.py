"""Inner products of rows of a Jacobian."""

from typing import Any

import jax
import jax.flatten_util
import jax.numpy as jnp
from jaxtyping import Array, Float, Shaped

from .._core.precision import promoted
from ..models import AbstractModel
from ..models._net import check_net

# The largest number of entries of rows in memory, if rows are formed: 256 MiB of float64.
_ENTRIES = 2**25


@promoted
def row_gram(
    model: AbstractModel,
    params: Any,
    x: Shaped[Array, "m d"],
    r: Float[Array, " m *c"],
    other: tuple[Shaped[Array, "k d"], Float[Array, " k *c"]] | None = None,
) -> Float[Array, "m k"]:
    r"""$\langle J(x_i)^\top r_i, J(x'_j)^\top r'_j \rangle$: inner products of gradients.

    Each row is the gradient of a linear function $r_i$ of the outputs at one input, for example
    one output, a difference of two outputs, or an output times its label.

    For one output, the tangent kernel of the model is used. For models with `gradient_factors`,
    such as MLPs and doubled MLPs, the gradient of a layer is an outer product. The result is then
    a sum over layers of products of small Gram matrices, and no gradient is formed. Other models
    need one backward pass for each row. If the rows do not fit in 256 MiB, they need `m` backward
    passes for each block of rows.

    - **Takes** `other`, inputs and functions of the columns, by default those of the rows.
    """
    check_net(model, params, x)
    x = model.cast_inputs(x)
    other = None if other is None else (model.cast_inputs(other[0]), other[1])
    if r.ndim == 1:
        # One output: the model's own method for the kernel, on all inputs.
        every = x if other is None else jnp.concatenate([x, other[0]])
        kernel = model.tangent_kernel(params, every)
        m = len(x)
        if other is None:
            return kernel * (r[:, None] * r[None])
        return kernel[:m, m:] * (r[:, None] * other[1][None])
    left = model.gradient_factors(params, x, r)
    if left is None:
        own = (x, r)
        return _by_rows(model, params, own, own if other is None else other)
    right = left if other is None else model.gradient_factors(params, *other)
    assert right is not None
    products = [(a @ a2.T) * (b @ b2.T) for (a, b), (a2, b2) in zip(left, right, strict=True)]
    return sum(products[1:], products[0])


def _by_rows(
    model: AbstractModel,
    params: Any,
    left: tuple[Array, Array],
    right: tuple[Array, Array],
) -> Array:
    flat, unravel = jax.flatten_util.ravel_pytree(params)

    def gradient(pair: tuple[Array, Array]) -> Array:
        x, r = pair

        def output(flat: Array) -> Array:
            return jnp.vdot(model.apply(unravel(flat), x[None])[0], r)

        return jax.grad(output)(flat)

    rows = max(1, _ENTRIES // flat.size)

    def line(start: int) -> Array:
        some = jax.vmap(gradient)(jax.tree.map(lambda a: a[start : start + rows], left))
        products = jax.lax.map(lambda pair: some @ gradient(pair), right, batch_size=rows)
        return products.T

    if left is right and len(left[0]) <= rows:
        jacobian = jax.vmap(gradient)(left)
        return jacobian @ jacobian.T
    return jnp.concatenate([line(start) for start in range(0, len(left[0]), rows)])

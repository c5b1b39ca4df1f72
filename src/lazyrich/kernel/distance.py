"""How far a kernel has turned."""

import jax.numpy as jnp
from jaxtyping import Array, Float

from .._core.precision import promoted


@promoted
def kernel_distance(first: Float[Array, "n n"], second: Float[Array, "n n"]) -> Float[Array, ""]:
    r"""$1 - \langle K, K' \rangle_F / (\|K\|_F \|K'\|_F)$: zero for multiples of one another.

    Neither kernel is centred. For positive semi-definite kernels it lies in $[0, 1]$.

    - **Source** Fort et al., NeurIPS 2020, arXiv:2010.15110: "kernel distance".
    """
    # Of unit kernels half the squared difference, which small distances survive.
    unit = first / jnp.linalg.norm(first)
    gap = unit - second / jnp.linalg.norm(second)
    return 0.5 * jnp.sum(gap**2)

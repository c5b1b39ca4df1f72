"""The distance between the directions of two kernels."""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from .._core.given import check_kind
from .._core.precision import promoted


@promoted
def kernel_distance(first: Float[Array, "n n"], second: Float[Array, "n n"]) -> Float[Array, ""]:
    r"""$1 - \langle K, K' \rangle_F / (\|K\|_F \|K'\|_F)$: zero if the kernels are proportional.

    The kernels are not centred. For positive semi-definite kernels the distance is in $[0, 1]$.

    - **Source** Fort et al., NeurIPS 2020, arXiv:2010.15110: "kernel distance".
    """
    for key, kernel in (("first", first), ("second", second)):
        check_kind(key, kernel, (jax.Array, np.ndarray), "an array, a kernel of shape (n, n)")
    # Half the squared difference of the unit kernels, which is accurate for small distances.
    unit = first / jnp.linalg.norm(first)
    gap = unit - second / jnp.linalg.norm(second)
    return 0.5 * jnp.sum(gap**2)

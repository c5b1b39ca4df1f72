"""The spectral radius of the Jacobian of a vector field, by power iteration."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float, Int

# The iteration ends when two successive norms agree to this relative tolerance. The estimate for
# a symmetric Jacobian is then at most about 10 % too low: see the solvers' `safety`.
_TOLERANCE = 0.01
_MAX_COLD, _MAX_WARM = 50, 3
# The start vector is the last eigenvector plus this much of other directions. A direction that has
# just become dominant is then found within a few products, and the estimate changes only by the
# square of this number.
_MIXTURE = 0.05


class SpectralRadius(NamedTuple):
    """An estimate, its approximate eigenvector, and the number of Jacobian products used."""

    radius: Float[Array, ""]
    vector: Float[Array, " n"]
    num_products: Int[Array, ""]


def spectral_radius(
    field: Callable[[Float[Array, " n"]], Float[Array, " n"]],
    y: Float[Array, " n"],
    slope: Float[Array, " n"],
    vector: Float[Array, " n"],
    radius: Float[Array, ""],
    cold: Bool[Array, ""],
    max_cold: int = _MAX_COLD,
) -> SpectralRadius:
    r"""Estimates $\rho(\partial f/\partial y)$ by power iteration with Jacobian products.

    The iteration starts from `vector`, mixed with the slope and with fixed noise so that every
    direction is present. It ends when two successive norms $\|Jv\|$ agree to 1 %, after at most
    3 products, or `max_cold` if `cold`. The larger of the last two norms is returned, because
    the norms oscillate when the dominant eigenvalues are a complex pair.

    For a symmetric $J$ every norm is a lower bound of $\rho$, and the convergence is slow if the
    largest eigenvalues are close to each other: multiply by a safety factor. If another direction
    becomes dominant and the state does not move along it, the estimate misses it for some steps.
    For a $J$ that is not symmetric the norm can exceed $\rho$, up to $\|J\|_2$.

    - **Takes** `slope`, the value of `field` at `y`; `vector` and `radius`, the last
        estimate, or zero and any number; `cold`, whether to ignore that `radius`.
    - **Returns** zero if all products are zero, and not-a-number if one is not-a-number.
    - **Reference** Sommeijer, Shampine & Verwer, J. Comput. Appl. Math. 88 (1998),
        315--326, who use differences of `field` for the products.
    """
    noise = _unit(_noise(y))
    mixed = _unit(_unit(vector) + _MIXTURE * (_unit(slope) + noise))
    # With one unknown the slope can be exactly minus the noise.
    start = jnp.where(jnp.any(mixed != 0), mixed, noise)
    limit = jnp.where(cold, max_cold, _MAX_WARM)

    def go_on(carry: tuple[Array, Array, Array, Array]) -> Array:
        _, new, old, count = carry
        # A comparison with not-a-number is false and ends the iteration.
        return (count == 0) | ((count < limit) & (jnp.abs(new - old) > _TOLERANCE * new))

    def product(carry: tuple[Array, Array, Array, Array]) -> tuple[Array, Array, Array, Array]:
        v, old, _, count = carry
        image = jax.jvp(field, (y,), (v,))[1]
        new = jnp.linalg.norm(image)
        return jnp.where(new == 0, v, _unit(image)), new, old, count + 1

    before = jnp.where(cold, 0, radius)
    v, new, old, count = lax.while_loop(
        go_on, product, (start, before, before, jnp.zeros((), jnp.int32))
    )
    return SpectralRadius(jnp.maximum(new, old), v, count)


def _noise(y: Float[Array, " n"]) -> Float[Array, " n"]:
    """Fixed signs from hashed positions. `jax.random` would take longer to compile."""
    bits = jnp.arange(y.size, dtype=jnp.uint32)
    for factor in (0x9E3779B1, 0x7FEB352D, 0x846CA68B):
        bits = (bits ^ (bits >> 15)) * jnp.uint32(factor)
    return jnp.where(bits >> 31, 1, -1).astype(y.dtype)


def _unit(v: Float[Array, " n"]) -> Float[Array, " n"]:
    """The vector divided by its norm. A vector of zeros stays zero."""
    norm = jnp.linalg.norm(v)
    return v / jnp.where(norm == 0, 1, norm)

"""How fast the fastest component of a vector field moves, by power iteration."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float, Int

# Two successive norms this close end the iteration, and then the estimate of a symmetric
# Jacobian is low by about 10 % at worst: see the solvers' `safety`.
_TOLERANCE = 0.01
_MAX_COLD, _MAX_WARM = 50, 3
# What a warm start is mixed with: enough for a direction that has only just become the
# fastest to be found within a few products, too little (its square) to move the estimate.
_MIXTURE = 0.05


class SpectralRadius(NamedTuple):
    """An estimate, the direction it was found along, and the Jacobian products it took."""

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

    The iteration goes on from `vector`, mixed with the slope and with fixed noise so that
    no direction stays absent, until two norms $\|Jv\|$ agree to 1 %: one product when
    nothing has changed, at most 5, or `max_cold` if `cold`. The larger of the last two is
    returned, since they oscillate when the fastest pair is complex.

    For a symmetric $J$ every norm is a lower bound, and a spectrum with no gap at its end
    is approached slowly: multiply by a safety factor. A direction that overtakes the
    fastest is missed for some steps if the state does not move along it. Where $J$ is not
    symmetric the norm can also lie above $\rho$, up to $\|J\|_2$.

    - **Takes** `slope`, the value of `field` at `y`; `vector` and `radius`, the last
        estimate, or zero and anything; `cold`, whether to disregard that `radius`.
    - **Returns** zero if all products were zero, and not-a-number if one was.
    - **Reference** Sommeijer, Shampine & Verwer, J. Comput. Appl. Math. 88 (1998),
        315--326, with differences of `field` for products.
    """
    start = _unit(_unit(vector) + _MIXTURE * (_unit(slope) + _unit(_noise(y))))
    limit = jnp.where(cold, max_cold, _MAX_WARM)

    def go_on(carry: tuple[Array, Array, Array, Array]) -> Array:
        _, new, old, count = carry
        # Not-a-number compares false, and so ends the iteration.
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
    """Fixed signs, by hashing positions: `jax.random` would take longer to compile."""
    bits = jnp.arange(y.size, dtype=jnp.uint32)
    for factor in (0x9E3779B1, 0x7FEB352D, 0x846CA68B):
        bits = (bits ^ (bits >> 15)) * jnp.uint32(factor)
    return jnp.where(bits >> 31, 1, -1).astype(y.dtype)


def _unit(v: Float[Array, " n"]) -> Float[Array, " n"]:
    """The vector over its norm; zero stays zero."""
    norm = jnp.linalg.norm(v)
    return v / jnp.where(norm == 0, 1, norm)

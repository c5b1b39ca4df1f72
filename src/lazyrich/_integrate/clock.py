"""Clocks: the time variable of the records of a solve."""

from typing import Any, ClassVar

import equinox as eqx
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, PyTree

from .log_state import LogState

_BISECTIONS = 60


class LinearClock(eqx.Module):
    """Records at times of the solver."""

    ends: ClassVar[bool] = True

    def read(self, t: Array, y: PyTree) -> Array:
        """The time that a record contains."""
        del y
        return t

    def locate(self, interpolation: Any, request: Array) -> Array:
        """The time of the solver at which `read` returns `request`."""
        del interpolation
        return request


class LogClock(eqx.Module):
    """Records at values of $\\log(1 + t)$, which is part of the state."""

    ends: ClassVar[bool] = False

    def read(self, t: Array, y: LogState) -> Array:
        """The time that a record contains."""
        del t
        return y.log_time

    def locate(self, interpolation: Any, request: Array) -> Array:
        """The time of the solver at which `read` returns `request`, by bisection."""

        def halve(_: Any, bounds: tuple[Array, Array]) -> tuple[Array, Array]:
            low, high = bounds
            middle = 0.5 * (low + high)
            early = interpolation.evaluate(middle).log_time < request
            return jnp.where(early, middle, low), jnp.where(early, high, middle)

        bounds = (interpolation.t0, interpolation.t1)
        return lax.fori_loop(0, _BISECTIONS, halve, bounds)[1]

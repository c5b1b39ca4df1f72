"""Steps of a phase, up to the step that fulfils its condition."""

from collections.abc import Callable
from typing import Any

import equinox as eqx
from jaxtyping import Array, Bool, Float

from ..._integrate import stepping
from ..._integrate.stepping import SolveState, System
from .manifold import InterpolationManifold


class Fitted(eqx.Module):
    """Whether the data are fitted."""

    manifold: InterpolationManifold
    level: Float[Array, ""]

    def __call__(self, solve: SolveState) -> Bool[Array, ""]:
        return self.manifold.distance(solve.y) <= self.level


class Reached(eqx.Module):
    """Whether the last time to record is reached."""

    end: Float[Array, ""]

    def __call__(self, solve: SolveState) -> Bool[Array, ""]:
        return solve.t >= self.end


def _advance(fixed: tuple[System, Callable[[Any], Array]], solve: SolveState) -> SolveState:
    """The solve after a segment of steps, or after the step that fulfils a condition.

    - **Takes** `fixed`, the system and the condition; `solve`, whose memory is used again.
    """
    return stepping.advance(fixed[0], solve, fixed[1])


advance = eqx.filter_jit(_advance, donate="all-except-first")


@eqx.filter_jit
def is_fitted(fitted: Fitted, solve: SolveState) -> Array:
    """Whether the data are fitted at the end of the last step."""
    return fitted(solve)

"""The rate of the fastest motion of a problem at time 0."""

import math
from collections.abc import Sequence

import equinox as eqx
import jax
import jax.flatten_util
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, PyTree

from .._core.norms import rms, tree_norm
from .._integrate.lanes import Lanes
from ..solvers._spectral_radius import spectral_radius
from ._base import FIRST, Problem
from .gradient_flow import GradientFlow

# The number of products with the Hessian. The rate is needed only up to a factor. Twelve products
# estimate the largest eigenvalue to within 20 %, even if the spectrum has no gap.
_MAX_PRODUCTS = 12


class _Start(eqx.Module):
    """A flow with its initial parameters."""

    flow: GradientFlow
    params: PyTree
    output_unit: Float[Array, ""]

    @classmethod
    def of(cls, problem: Problem) -> "_Start":
        params = jax.tree.map(jnp.asarray, problem.params)
        return cls(GradientFlow.of(problem), params, jnp.asarray(output_unit(problem)))


def fastest_rate(problem: Problem) -> float:
    r"""The largest rate at $\theta(0)$, in units of inverse time.

    It is the maximum of three rates:

    - the spectral radius of the Hessian of $\mathcal L + \frac\lambda2 \|\theta\|^2$, by a power
        iteration with twelve products;
    - the speed of the outputs on the training data, over 1 for classification or the root mean
        square of the labels for regression;
    - the speed of the parameters over their norm.

    The Hessian is not sufficient: for a hinge loss it is zero until margins are near 1.

    - **Returns** a finite number, which is zero if nothing moves.
    """
    return fastest_rates([problem])[0]


def fastest_rates(problems: Sequence[Problem]) -> list[float]:
    """[`fastest_rate`][] of problems of the same shapes, in one compiled call.

    - **Raises** [`InputError`][lazyrich.InputError] for problems of different shapes.
    """
    lanes = Lanes.of([_Start.of(problem) for problem in problems])
    found = np.asarray(lanes.call(_rate, np.arange(len(problems))))
    return [float(rate) if np.isfinite(rate) else float(np.finfo(float).max) for rate in found]


def first_times(problems: Sequence[Problem]) -> list[float]:
    """A tenth of the time of the fastest motion of each problem at time 0, at most 0.01.

    Rounded down to one digit, so that rounding errors of the rate rarely change the time.
    """
    times = (min(FIRST, 0.1 / rate) if rate > 0 else FIRST for rate in fastest_rates(problems))
    return [float(f"{time:.0e}") for time in times]


def _rate(start: _Start, place: Int[Array, ""]) -> Float[Array, ""]:
    del place  # makes every lane have an array of its own, even if all others are shared
    flow = start.flow
    flat, unravel = jax.flatten_util.ravel_pytree(start.params)

    def field(flat: Array) -> Array:
        return jax.flatten_util.ravel_pytree(flow.vf(0.0, unravel(flat), None))[0]

    slope = field(flat)
    moved = jax.jvp(flow.outputs, (start.params,), (unravel(slope),))[1]
    outputs = rms(moved) / start.output_unit
    norm, nothing = tree_norm(start.params), jnp.zeros_like(flat)
    params = jnp.where(norm > 0, tree_norm(slope) / jnp.where(norm > 0, norm, 1), 0.0)
    unknown, cold = jnp.zeros((), flat.dtype), jnp.ones((), bool)
    curved = spectral_radius(field, flat, slope, nothing, unknown, cold, _MAX_PRODUCTS)
    return jnp.maximum(jnp.maximum(outputs, params), curved.radius)


def output_unit(problem: Problem) -> float:
    """Outputs smaller than this count as zero in error control."""
    return problem.loss.typical_output(problem.outputs, problem.train.y)


def loss_floor(problem: Problem, rtol: float) -> float:
    """The training loss of outputs with an error of `rtol` times their unit.

    Zero for classification, where the loss has the relative accuracy of the outputs at any size.
    """
    if problem.loss.is_classification:
        return 0.0
    num_outputs = math.prod(problem.outputs[1:])
    bend = problem.loss.curvature_at_labels(problem.train.y)
    return 0.5 * bend * num_outputs * (rtol * output_unit(problem)) ** 2

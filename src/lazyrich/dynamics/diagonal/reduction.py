"""The reduced system of a diagonal net: vector field, derivatives and units."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Shaped

from ..._core.columns import block_columns, fold_columns, rmatvec
from ..._core.errors import InputError
from ..._core.precision import in_double
from ...losses import AbstractLoss
from ...models import DiagonalParams, power_difference
from ...solvers.rodas5p import Linearisation
from .._base import Problem


class Reduced(eqx.Module):
    """The system of one interval. Its state `nu` has shape `(n,)`."""

    x: Shaped[Array, "n d"]
    y: Float[Array, " n"]
    start: DiagonalParams
    weight_decay: Array
    output_unit: Array  # outputs smaller than this count as zero in error control
    x_size: Array  # the Frobenius norm of `x` over the square root of `d`
    depth: int = eqx.field(static=True)
    loss: AbstractLoss = eqx.field(static=True)

    @property
    def nu_unit(self) -> Array:
        """If all entries of `nu` are smaller than this, log-parameters hardly change."""
        # A change of nu moves log u by L u^{L-2} times x^T nu.
        largest = jnp.maximum(jnp.max(jnp.abs(self.start.u)), jnp.max(jnp.abs(self.start.v)))
        return 1 / (self.depth * largest ** (self.depth - 2) * self.x_size)

    def clock(self, time: Array) -> Array:
        r"""$\tau$ at `time`."""
        rate = (self.depth - 2) * self.weight_decay
        return jnp.where(rate > 0, -jnp.expm1(-rate * time) / jnp.where(rate > 0, rate, 1), time)

    def remaining(self, tau: Any) -> Array:
        r"""$d\tau/dt = e^{-(L-2)\lambda t}$ at clock `tau`."""
        return 1 - (self.depth - 2) * self.weight_decay * tau

    def _params(self, tau: Any, z: Array, start: DiagonalParams) -> DiagonalParams:
        depth = self.depth
        if depth == 2:
            shrink = self.weight_decay * tau
            return DiagonalParams(
                start.u * jnp.exp(2 * z - shrink), start.v * jnp.exp(-2 * z - shrink)
            )

        def grow(start: Array, z: Array) -> Array:
            left = 1 - depth * (depth - 2) * start ** (depth - 2) * z
            # Beyond the pole there are no parameters. NaN makes the solver shorten its step.
            ratio = self.remaining(tau) / jnp.where(left > 0, left, jnp.nan)
            return start * ratio ** (1 / (depth - 2))

        return DiagonalParams(grow(start.u, z), grow(start.v, -z))

    def params(self, tau: Any, nu: Float[Array, " n"]) -> DiagonalParams:
        return self._params(tau, rmatvec(self.x, nu), self.start)

    def outputs(self, tau: Any, nu: Float[Array, " n"]) -> Float[Array, " n"]:
        def body(x: Array, start: DiagonalParams) -> Array:
            p = self._params(tau, nu @ x, start)
            return x @ power_difference(p.u, p.v, self.depth)

        return fold_columns(body, jnp.zeros_like(nu), self.x, self.start)

    def outputs_and_kernel(self, tau: Any, nu: Float[Array, " n"]) -> tuple[Array, Array]:
        """Outputs `(n,)` and the tangent kernel `(n, n)` at the current parameters."""
        n, depth = nu.size, self.depth

        def body(x: Array, start: DiagonalParams) -> tuple[Array, Array]:
            p = self._params(tau, nu @ x, start)
            slope = depth**2 * (p.u ** (2 * depth - 2) + p.v ** (2 * depth - 2))
            return x @ power_difference(p.u, p.v, depth), (x * slope[None]) @ x.T

        zero = (jnp.zeros_like(nu), jnp.zeros((n, n), nu.dtype))
        return fold_columns(body, zero, self.x, self.start, block=block_columns(2 * n))


class ParamsFromState(eqx.Module):
    """The parameters at a time, from a state `(interval, nu)`; intervals begin at `starts`."""

    system: Reduced
    begins: Array  # (num_intervals,)
    starts: DiagonalParams  # with a leading axis num_intervals

    @in_double
    def __call__(self, time: Any, state: tuple[Array, Array]) -> DiagonalParams:
        interval, nu = state
        start = jax.tree.map(lambda a: a[interval], self.starts)
        system = eqx.tree_at(lambda system: system.start, self.system, start)
        return system.params(system.clock(time - self.begins[interval]), nu)


def field(tau: Any, nu: Array, system: Reduced) -> Array:
    r"""$d\nu/d\tau$."""
    return system.loss.dual(system.outputs(tau, nu), system.y) / nu.size


def linearise(tau: Any, nu: Array, system: Reduced) -> Linearisation:
    r"""The vector field and its derivatives.

    With $q = d\tau/dt$ and the tangent kernel $K$ at the current parameters,
    $\partial f/\partial\nu = K/q$ and $\partial f/\partial\tau = -L\lambda f/q$.
    """
    n, remaining = nu.size, system.remaining(tau)
    f, kernel = system.outputs_and_kernel(tau, nu)
    response = kernel / remaining
    curvature = system.loss.curvature(f, system.y)
    slope = system.depth * system.weight_decay * curvature * f / (n * remaining)

    def measure(error: Array) -> Array:
        # An error in nu affects the current outputs. It also affects later outputs, once
        # coordinates that are negligible now have grown.
        seen = response @ error / (system.output_unit + jnp.abs(f))
        unseen = error / (system.nu_unit + jnp.abs(nu))
        return jnp.hypot(seen, unseen)

    value = system.loss.dual(f, system.y) / n
    return Linearisation(value, slope, -curvature[:, None] * response / n, measure)


def depth_of(problem: Problem) -> int:
    """The depth $L$ of a model that reduces.

    - **Raises** [`InputError`][lazyrich.InputError] for other models.
    """
    depth = problem.model.diagonal_depth
    if depth is None:
        name = type(problem.model).__name__
        raise InputError("dynamics.kind", "ReducedFlow", f"needs model DiagonalLinear, not {name}")
    return depth


# Up to this number of entries, inputs are stored in float64: 2 MiB.
_WIDE_ENTRIES = 2**18


def reduce(problem: Problem, start: DiagonalParams) -> Reduced:
    """The reduced system of `problem` with initial parameters `start`."""
    labels = problem.train.y
    unit = problem.loss.typical_output(problem.outputs, labels)
    x = problem.train.x
    # Inputs that fit in cache are converted once instead of in every product.
    x = x.astype(jnp.float64) if x.size <= _WIDE_ENTRIES else x
    return Reduced(
        x=x,
        y=labels,
        start=DiagonalParams(*map(jnp.asarray, start)),
        weight_decay=jnp.asarray(problem.weight_decay, jnp.float64),
        output_unit=jnp.asarray(unit),
        x_size=_size(x),
        depth=depth_of(problem),
        loss=problem.loss,
    )


@eqx.filter_jit
def _size(x: Shaped[Array, "n d"]) -> Float[Array, ""]:
    squares = fold_columns(lambda x: jnp.sum(x**2), jnp.zeros(()), x)
    return jnp.sqrt(squares / x.shape[1])


@eqx.filter_jit
def kernel_at_start(system: Reduced) -> Float[Array, ""]:
    """The mean over samples of the diagonal of the tangent kernel at time 0."""
    power = 2 * system.depth - 2
    slope = system.depth**2 * (system.start.u**power + system.start.v**power)
    total = fold_columns(lambda x, w: jnp.sum(x**2 @ w), jnp.zeros(()), system.x, slope)
    return total / system.y.size


def first_step(system: Reduced, kernel: Any, horizon: Any) -> Any:
    """A thousandth of the time in which outputs move by one unit at their initial speed.

    For one system, or for many over a leading axis.
    """
    if np.any(np.asarray(kernel) == 0.0):
        raise InputError("params", 0.0, "should have a tangent kernel; from here nothing moves")
    unit, curvature = np.asarray(system.output_unit), system.loss.constant_curvature
    # The dual of a classification loss is of order one, that of the squared loss has a unit.
    force = 1.0 if curvature is None else curvature * unit
    fitting_time = system.x.shape[-2] * unit / (force * np.asarray(kernel))
    return 1e-3 * np.minimum(fitting_time, horizon)

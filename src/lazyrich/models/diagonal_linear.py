"""Diagonal linear networks."""

import functools
from dataclasses import replace
from typing import Annotated, Any, NamedTuple

import jax
import jax.numpy as jnp
from annotated_types import Interval
from jaxtyping import Array, Float, PRNGKeyArray, Shaped

from .._core.columns import gram, matvec
from .._core.precision import in_double, promoted
from .linear import AbstractLinearModel
from .theory import Theory


class DiagonalParams(NamedTuple):
    """Parameters `u` and `v` of a diagonal net, each of shape `(d,)`."""

    u: Float[Array, " d"]
    v: Float[Array, " d"]


@promoted
def power_difference(
    u: Float[Array, " d"], v: Float[Array, " d"], power: int
) -> Float[Array, " d"]:
    """`u**power - v**power`, computed with the factor `u - v`: exactly zero if `u == v`.

    In the plain difference, the compiler fuses a product into the subtraction. The rounding error
    of one power then remains where the result should be zero. An output of zero counts as half
    right, and an output with the wrong sign counts as wrong.
    """
    return _power_difference(u, v, power)


@functools.partial(jax.custom_jvp, nondiff_argnums=(2,))
def _power_difference(u: Array, v: Array, power: int) -> Array:
    return (u - v) * sum(u ** (power - 1 - k) * v**k for k in range(power))


# In the derivative of the product large terms cancel. If v is far smaller than u, the derivative
# in v would have no correct digit.
@_power_difference.defjvp
def _derivative(
    power: int, primals: tuple[Array, Array], tangents: tuple[Array, Array]
) -> tuple[Any, Any]:
    (u, v), (du, dv) = primals, tangents
    slope = power * (u ** (power - 1) * du - v ** (power - 1) * dv)
    return _power_difference(u, v, power), slope


class DiagonalLinear(AbstractLinearModel):
    r"""$f(x) = \langle u^{\odot L} - v^{\odot L}, x \rangle$ with $\theta = (u, v)$.

    At `init_scale` 1, $u = v = 1/\sqrt{2d}$ in every coordinate. Then $\|\theta(0)\|_2$ equals
    `init_scale`, and the output starts at zero.

    - **Source** Lyu et al., ICLR 2024, arXiv:2311.18817, with $u(0) = v(0) = \alpha \mathbf 1$.
        The scale here is the scale of the authors' experiments, smaller by $\sqrt{2d}$.
    """

    depth: Annotated[int, Interval(ge=2, le=64)] = 2

    @property
    def homogeneity(self) -> int:
        return self.depth

    @property
    def diagonal_depth(self) -> int:
        return self.depth

    @property
    def keeps_signs(self) -> bool:
        return True

    @in_double
    def init(self, key: PRNGKeyArray, dim: int) -> DiagonalParams:
        del key
        start = jnp.full(dim, (2.0 * dim) ** -0.5, jnp.float64)
        return DiagonalParams(start, start)

    @in_double
    def cast_inputs(self, x: Shaped[Array, "n d"]) -> Shaped[Array, "n d"]:
        return jnp.asarray(x)

    @promoted
    def weights(self, params: DiagonalParams) -> Float[Array, " d"]:
        return power_difference(params.u, params.v, self.depth)

    def theory(self, classification: bool) -> Theory:
        found = Theory("l2", "lq", 2 / self.depth, family=type(self).__name__)
        if not classification:
            return found
        return replace(found, family=f"{found.family}, depth {self.depth}", of_any_task=True)

    @promoted
    def kernel_weights(self, params: DiagonalParams) -> Float[Array, " d"]:
        h = params.u ** (2 * self.depth - 2) + params.v ** (2 * self.depth - 2)
        return h / jnp.max(h)

    @promoted
    def evaluate(self, weights: Float[Array, " d"], x: Shaped[Array, "n d"]) -> Float[Array, " n"]:
        return matvec(x, weights)

    @promoted
    def tangent_kernel(
        self, params: DiagonalParams, x: Shaped[Array, "n d"]
    ) -> Float[Array, "n n"]:
        power = 2 * self.depth - 2
        return gram(x, self.depth**2 * (params.u**power + params.v**power))

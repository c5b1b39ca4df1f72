"""The Gauss--Newton matrix of a gradient flow, inverted with the tangent kernel."""

from collections.abc import Callable
from typing import TYPE_CHECKING

import jax
import jax.flatten_util
import jax.numpy as jnp
from jaxtyping import Array, PyTree

from .._core.precision import doubled
from ..solvers._matrix import AbstractMatrix, ShiftedSolve
from ..solvers._shifted_gram import cholesky_solve, conjugate_gradient_solve, normal_solve, nystrom
from ..solvers._work import Work, work

if TYPE_CHECKING:
    from .gradient_flow import GradientFlow

# Up to this number of outputs the kernel is formed and factored, which takes 0.5 GB for each.
MAX_OUTPUTS = 8192
_TOLERANCE = 1e-8


class GaussNewton(AbstractMatrix):
    r"""$W = -\frac1n J^\top B B^\top J - \lambda I$ at `params`; $B B^\top$ is the loss curvature.

    With $a = \text{shift} + \lambda$ and the scaled kernel $G = \frac1n B^\top J J^\top B$,
    $(aI + \frac1n J^\top B B^\top J)^{-1} v = \frac1a (v - \frac1n J^\top B (aI + G)^{-1}
    B^\top J v)$. This is a linear system of the size of the outputs instead of the parameters. If
    there are more than `MAX_OUTPUTS` outputs, it is solved by preconditioned conjugate gradients.
    If there are few parameters, the system for the parameters is solved.
    """

    def __init__(self, flow: "GradientFlow", params: PyTree):
        self._flow, self._params = flow, params

    def shifted_solve(self, shift: Array) -> tuple[ShiftedSolve, Work]:
        """$v \\mapsto (\\text{shift} I - W)^{-1} v$, and the work of four solves."""
        flow, params, n = self._flow, self._params, self._flow.num_samples
        f, pullback = flow.outputs_and_pullback(params)
        push = flow.pushforward(params)
        a = shift + flow.weight_decay

        def root(v: Array) -> Array:
            return flow.loss.curvature_root(doubled(f), flow.y, doubled(v)).astype(v.dtype)

        def transposed(v: Array) -> Array:
            found = flow.loss.curvature_root_transposed(doubled(f), flow.y, doubled(v))
            return found.astype(v.dtype)

        if f.size <= MAX_OUTPUTS and flow.prefers_parameters(params):
            unravel = jax.flatten_util.ravel_pytree(params)[1]

            def on_column(column: Array) -> Array:
                return transposed(column.reshape(f.shape)).ravel()

            jacobian = jax.vmap(on_column, in_axes=1, out_axes=1)(flow.jacobian(params))
            direct = normal_solve(jacobian / jnp.sqrt(n), a)
            return (
                lambda v: unravel(direct(jax.flatten_util.ravel_pytree(v)[0])),
                work(num_matrices=1),
            )
        if f.size <= MAX_OUTPUTS:
            scaled = _scale_both_sides(flow.tangent_kernel(params) / n, transposed, f.shape)
            flat_solve, jittered = cholesky_solve(scaled, a)
            taken = work(num_products=8, num_matrices=1, num_jittered=jittered)
        else:

            def product(c: Array) -> Array:
                return transposed(push(pullback(root(c.reshape(f.shape))))).ravel() / n

            low_rank = nystrom(product, f.size, f.dtype)
            iterate = conjugate_gradient_solve(product, a, low_rank, _TOLERANCE)

            def flat_solve(c: Array) -> Array:
                return iterate(c)[0]

            taken = work(num_products=8 + 2 * low_rank.values.size)

        def solve(v: PyTree) -> PyTree:
            inner = flat_solve(transposed(push(v)).ravel()).reshape(f.shape)
            forces = pullback(root(inner))
            return jax.tree.map(lambda v, g: (v - g / n) / a, v, forces)

        return solve, taken


def _scale_both_sides(
    kernel: Array, transposed: Callable[[Array], Array], shape: tuple[int, ...]
) -> Array:
    """$B^\\top K B$, where $B^\\top$ acts on raveled outputs of `shape`."""

    def on_column(column: Array) -> Array:
        return transposed(column.reshape(shape)).ravel()

    on_columns = jax.vmap(on_column, in_axes=1, out_axes=1)
    return on_columns(on_columns(kernel).T).T

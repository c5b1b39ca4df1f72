"""The manifold of parameters that fit the training data, and the flow of the norm on it."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

from ..._core.norms import rms
from ...solvers._shifted_gram import cholesky_solve
from ...solvers._work import Work, work
from ...solvers.projected_tsit5 import AbstractManifoldTerm
from .._base import Problem
from .._rate import output_unit
from ..gradient_flow import GradientFlow

# The tangent kernel is singular if samples are repeated. Its diagonal is then increased by this
# part of its largest entry, well above rounding, and the error that this causes for the other
# eigenvalues is removed by refinements: with an eigenvalue of `mu` times the largest, its relative
# error is (1e-12 / mu)^3.
_SHIFT, _REFINEMENTS = 1e-12, 2
# Newton steps of a projection, all with the kernel at its start. An error of relative size e in the
# outputs becomes about e^2 in the first, and a further factor of e in each of the others.
_NEWTON_STEPS = 3


class InterpolationManifold(AbstractManifoldTerm):
    r"""$d\theta/ds = -P_{T_\theta M}\,\theta$ on $M = \{\theta : f(\theta; x_i) = y_i\}$.

    $P$ is the projection onto the tangent space of $M$. With multipliers $\nu$, $d\theta/ds =
    -\theta + J^\top\nu$ and $J J^\top \nu = J\theta$: a linear system with the tangent kernel, of
    the size of the outputs. If the kernel is singular, $\nu$ is not unique, and $J^\top\nu$ is.
    Parameters that do not decay only move as the constraints require.

    - **Takes** `flow`, the gradient flow; `targets` of the shape of its outputs; `output_unit`,
        their root mean square.
    - **Source** Boursier, Pesme & Dragomir, arXiv:2505.20172: "Riemannian gradient flow of the
        norm" on the manifold of interpolators.
    """

    flow: GradientFlow
    targets: Float[Array, " n *c"]
    output_unit: Float[Array, ""]

    @classmethod
    def of(cls, problem: Problem) -> "InterpolationManifold":
        """The manifold of a regression."""
        targets = problem.loss.targets(problem.outputs, problem.train.y)
        return cls(GradientFlow.of(problem), targets, jnp.asarray(output_unit(problem)))

    @property
    def field_work(self) -> Work:
        return work(num_gradients=1, num_products=1, num_matrices=1)

    @property
    def projection_work(self) -> Work:
        return work(num_gradients=_NEWTON_STEPS, num_matrices=1)

    def vf(self, t: Any, y: PyTree, args: Any) -> PyTree:
        del t, args
        decayed = self.flow.model.decayed(y)
        pullback = self.flow.outputs_and_pullback(y)[1]
        multipliers = self._kernel_solve(y)(self.flow.pushforward(y)(decayed))
        return jax.tree.map(jnp.subtract, pullback(multipliers), decayed)

    def contr(self, t0: Any, t1: Any, **kwargs: Any) -> Any:
        return t1 - t0

    def prod(self, vf: PyTree, control: Any) -> PyTree:
        return jax.tree.map(lambda v: control * v, vf)

    def project(self, y: PyTree) -> tuple[PyTree, Float[Array, ""]]:
        solve, pullback = self._kernel_solve(y), self.flow.outputs_and_pullback(y)[1]

        def newton(_: Any, params: PyTree) -> PyTree:
            step = pullback(solve(self.targets - self.flow.outputs(params)))
            return jax.tree.map(jnp.add, params, step)

        found = jax.lax.fori_loop(0, _NEWTON_STEPS, newton, y)
        return found, self.distance(found)

    def distance(self, params: PyTree) -> Float[Array, ""]:
        """The root mean square of the residuals, over that of the targets."""
        return rms(self.flow.outputs(params) - self.targets) / self.output_unit

    def _kernel_solve(self, params: PyTree) -> Callable[[Array], Array]:
        r"""$v \mapsto (J J^\top)^+ v$ for $v$ in the range of $J$, of the shape of the outputs."""
        kernel = self.flow.tangent_kernel(params)
        inverse = cholesky_solve(kernel, _SHIFT * jnp.max(jnp.diagonal(kernel)))[0]

        def solve(v: Array) -> Array:
            found = inverse(v.ravel())
            for _ in range(_REFINEMENTS):
                found = found + inverse(v.ravel() - kernel @ found)
            return found.reshape(v.shape)

        return solve

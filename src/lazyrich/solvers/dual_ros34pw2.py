"""A Rosenbrock method for regression whose state holds the parameters and the dual."""

from collections.abc import Callable
from typing import Any, ClassVar, NamedTuple, cast

import diffrax
import jax
import jax.flatten_util
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, PyTree

from .._core.errors import InputError
from ._dual_term import AbstractDualTerm
from ._shifted_gram import Nystrom, cholesky_solve, conjugate_gradient_solve, normal_solve, nystrom
from ._work import AbstractCounting, Work, work
from .ros34pw2 import (
    BEFORE,
    COUPLING,
    END,
    ERROR,
    FIRST_SLOPES,
    GAMMA,
    combine,
    finite,
    no_stages,
    unwrapped,
    with_stage,
)

# If the rounding error of the last increment exceeds this part of a parameter, a parabola gives it.
_MAX_ROUNDING = 1e-4

_Rounding = Callable[[Array], PyTree]
_Solve = Callable[[PyTree, Array], tuple[PyTree, Array, Int[Array, ""]]]


class DualState(NamedTuple):
    """The state that one step passes to the next."""

    dual: Float[Array, " n *c"]  # an unknown of the method, equal to s(f) up to its error
    work: Work


class DualROS34PW2(AbstractCounting, diffrax.AbstractAdaptiveSolver[DualState]):
    r"""ROS34PW2 for gradient flow on regression, solved for $\theta$ and its dual.

    The flow is $\dot\theta = \frac1n J^\top r - \lambda\theta$ with $r = c(y - f(\theta))$,
    where $c$ is the curvature of the loss, 2 for the squared loss. Once the data are fitted, $r$
    is small, of the order of $\lambda$. A change of $\theta$ far smaller than the error of a step
    then changes $c(y - f)$ by more than $r$ itself. A stage that computes $r$ from its own
    parameters would therefore have a wrong force. Here $r$ is a separate unknown with the
    algebraic equation $0 = c(y - f(\theta)) - r$, and the method is applied to this
    differential-algebraic equation of index 1. With $a = 1/(h\gamma) + \lambda$ and
    $K = J J^\top$, a stage solves

    $$\left(\tfrac1c I + \tfrac{1}{na} K\right) \rho = \tfrac1c q - \tfrac1a J g, \qquad
    u = \tfrac1a \left(g + \tfrac1n J^\top \rho\right),$$

    where $g$ and $q$ are the right-hand sides of the two equations. Only accuracy limits the
    step, from fitting times of $1/\|K\|$ to decay times of $1/\lambda$.

    The order is 3 until the data are fitted, and about 2 in the slow phase after that. A step
    costs five gradients, four products each with $J$ and $J^\top$, a kernel and its Cholesky
    factor. With more than `max_outputs` outputs, conjugate gradients with a Nyström
    preconditioner replace the factor. With few parameters, a stage solves for $u$ first,
    $(aI + \frac cn J^\top J) u = g + \frac1n J^\top q$, by a triangular factor of the Jacobian.
    Columns with scales of 1 and $10^6$ then lose no digits.

    - **Takes** `max_outputs`, the largest number of outputs for which the kernel is formed;
        `tolerance`, the relative residual of conjugate gradients.
    - **Raises** [`InputError`][lazyrich.InputError] unless the term is a
        [`GradientFlow`][lazyrich.dynamics.GradientFlow] on a loss of constant curvature.
    - **Reference** coefficients as in [`ROS34PW2`][lazyrich.solvers.ROS34PW2], which is made for
        equations of index 1. `docs/explanation/flow.md` derives the use of the dual as the
        algebraic variable.
    """

    term_structure: ClassVar = diffrax.AbstractTerm
    interpolation_cls: ClassVar = diffrax.ThirdOrderHermitePolynomialInterpolation

    max_outputs: int = 8192
    tolerance: float = 1e-8

    def order(self, terms: Any) -> int:
        del terms
        return 3

    def init(self, terms: Any, t0: Any, t1: Any, y0: Any, args: Any) -> DualState:
        del t0, t1, args
        flow = _checked(terms)
        return DualState(flow.dual(flow.outputs(y0)), work(1))

    def func(self, terms: Any, t0: Any, y0: Any, args: Any) -> Any:
        return terms.vf(t0, y0, args)

    def step(
        self,
        terms: Any,
        t0: Any,
        t1: Any,
        y0: Any,
        args: Any,
        solver_state: DualState,
        made_jump: Any,
    ) -> tuple[Any, Any, dict[str, Any], DualState, diffrax.RESULTS]:
        del args, made_jump
        flow, dual = _checked(terms), solver_state.dual
        h = jnp.asarray(terms.contr(t0, t1), dual.dtype)
        solve, rounding, taken = self._solver(flow, y0, 1 / (h * GAMMA) + flow.decay)
        before, coupling = (jnp.asarray(a, dual.dtype) for a in (BEFORE, COUPLING))

        # A loop, so that the model is compiled once and not four times.
        def stage(i: Array, carry: tuple[PyTree, Array, Array]) -> tuple[PyTree, Array, Array]:
            us, rhos, products = carry
            y, r = combine(y0, before[i], us), combine(dual, before[i], rhos)
            f, pull_here = flow.outputs_and_pullback(y)
            # The algebraic equation contains no derivative, so it has no coupling term.
            g = combine(flow.pull(pull_here, r, y), coupling[i] / h, us)
            u, rho, more = solve(g, flow.dual(f) - r)
            return with_stage(us, i, u), rhos.at[i].set(rho), products + more

        nothing = (no_stages(y0), no_stages(dual), taken.num_products)
        us, rhos, products = jax.lax.fori_loop(0, 4, stage, nothing)
        y1, end_dual = combine(y0, END, us), combine(dual, END, rhos)
        _, pull_end = flow.outputs_and_pullback(y1)
        slope = flow.pull(pull_end, end_dual, y1)
        zero = jax.tree.map(jnp.zeros_like, y0)
        ok = finite((y1, slope))
        error = jax.tree.map(lambda e: jnp.where(ok, e, jnp.inf), combine(zero, ERROR, us))
        # The first slope comes from the stages and not from the vector field. A force that lasts
        # much shorter than the step, as at the start of training, would spoil the whole cubic.
        k0 = combine(zero, FIRST_SLOPES, us)
        k1 = jax.tree.map(lambda k: h * k, slope)
        if rounding is not None:
            # Where cancelling forces leave no correct digit, the slope of a parabola is used.
            unsure = jax.tree.map(lambda e: jnp.abs(h) * e, rounding(end_dual))
            k1 = jax.tree.map(_last_increment, k1, k0, y0, y1, unsure)
        dense = {"y0": y0, "y1": y1, "k0": k0, "k1": k1}
        taken = work(5, products, taken.num_matrices, taken.num_jittered)
        state = DualState(end_dual, taken)
        return y1, error, dense, state, cast(diffrax.RESULTS, diffrax.RESULTS.successful)

    def _solver(
        self, flow: AbstractDualTerm, y0: PyTree, a: Array
    ) -> tuple[_Solve, _Rounding | None, Work]:
        """The solve for a stage, the rounding errors of forces if known, and the work so far.

        The solve gives a stage, its dual and the number of products used. The second result is
        `None` or maps a dual to the rounding errors of its forces.
        """
        num_outputs = jax.eval_shape(flow.outputs, y0).size
        if num_outputs <= self.max_outputs and flow.prefers_parameters(y0):
            return _by_parameters(flow, y0, a)
        _, pullback = flow.outputs_and_pullback(y0)
        push = flow.pushforward(y0)
        curvature = _curvature(flow)
        solve_dual, taken = self._dual_solver(flow, y0, push, pullback, a)

        def solve(g: PyTree, q: Array) -> tuple[PyTree, Array, Int[Array, ""]]:
            rho, products = solve_dual(q / curvature - push(g) / a)
            forces = pullback(rho)
            u = jax.tree.map(lambda g, p: (g + p / flow.num_samples) / a, g, forces)
            return u, rho, jnp.asarray(products + 2, jnp.int32)

        return solve, None, taken

    def _dual_solver(
        self,
        flow: AbstractDualTerm,
        y0: PyTree,
        push: Callable[[PyTree], Array],
        pullback: Callable[[Array], PyTree],
        a: Array,
    ) -> tuple[Callable[[Array], tuple[Array, Int[Array, ""] | int]], Work]:
        """The solve with $\\frac1c I + K/(na)$, which also counts products; the work so far."""
        # The shape of the outputs and not of the labels: labels can be classes.
        outputs = jax.eval_shape(flow.outputs, y0)
        shape, size, dtype = outputs.shape, outputs.size, outputs.dtype
        scale = 1 / (flow.num_samples * a)
        if size <= self.max_outputs:
            kernel = scale * flow.tangent_kernel(y0)
            solve, jittered = cholesky_solve(kernel, 1 / _curvature(flow))
            taken = work(num_matrices=1, num_jittered=jittered)
            return lambda c: (solve(c.ravel()).reshape(shape), 0), taken

        def product(c: Array) -> Array:
            return scale * push(pullback(c.reshape(shape))).ravel()

        # All stages use the same preconditioner. Otherwise the errors of the stages would not
        # cancel.
        low_rank: Nystrom = nystrom(product, size, dtype)
        shift = jnp.asarray(1 / _curvature(flow), dtype)
        iterate = conjugate_gradient_solve(product, shift, low_rank, self.tolerance)

        def by_products(c: Array) -> tuple[Array, Int[Array, ""]]:
            solution, num_products = iterate(c.ravel())
            return solution.reshape(shape), 2 * num_products

        return by_products, work(num_products=2 * low_rank.values.size)


def _by_parameters(flow: AbstractDualTerm, y0: PyTree, a: Array) -> tuple[_Solve, _Rounding, Work]:
    r"""As `_solver`, by $(aI + \frac cn J^\top J) u = g + \frac1n J^\top q$, $\rho = q - cJu$."""
    unravel = jax.flatten_util.ravel_pytree(y0)[1]
    jacobian, n, curvature = flow.jacobian(y0), flow.num_samples, _curvature(flow)
    direct = normal_solve(jnp.sqrt(curvature / n) * jacobian, a)

    def solve(g: PyTree, q: Array) -> tuple[PyTree, Array, Int[Array, ""]]:
        u = direct(jax.flatten_util.ravel_pytree(g)[0] + jacobian.T @ q.ravel() / n)
        rho = q - curvature * (jacobian @ u).reshape(q.shape)
        return unravel(u), rho, jnp.zeros((), jnp.int32)

    def rounding(dual: Array) -> PyTree:
        sizes = jnp.abs(jacobian).T @ jnp.abs(dual).ravel() / n
        return unravel(jnp.finfo(sizes.dtype).eps * sizes)

    return solve, rounding, work(num_matrices=1)


def _last_increment(k1: Array, k0: Array, y0: Array, y1: Array, unsure: Array) -> Array:
    """The last increment `k1`; where `unsure` is large, that of the parabola through `k0`."""
    size = jnp.maximum(jnp.abs(y0), jnp.abs(y1))
    return jnp.where(unsure > _MAX_ROUNDING * size, 2 * (y1 - y0) - k0, k1)


def _checked(terms: Any) -> AbstractDualTerm:
    flow, _ = unwrapped(terms, 0)
    if not isinstance(flow, AbstractDualTerm):
        accepted = "DualROS34PW2 needs a term that provides the dual, such as GradientFlow"
        raise InputError("terms", type(flow).__name__, accepted)
    _curvature(flow)
    return flow


def _curvature(flow: AbstractDualTerm) -> float:
    if flow.constant_curvature is None:
        accepted = "DualROS34PW2 needs a loss of constant curvature, such as Squared"
        raise InputError("terms", type(flow).__name__, accepted)
    return flow.constant_curvature

"""ROS34PW2: a Rosenbrock method that keeps its order for any approximate Jacobian."""

from collections.abc import Callable, Sequence
from typing import Any, ClassVar, NamedTuple, cast

import diffrax
import jax
import jax.flatten_util
import jax.numpy as jnp
import jax.scipy.linalg as jsl
import numpy as np
from jaxtyping import Array, PyTree

from .._core.precision import float_type
from ._matrix import AbstractMatrix, AbstractMatrixTerm, ShiftedSolve
from ._work import AbstractCounting, Work, work

GAMMA = 0.435866521508459
BEFORE = (
    (0.0, 0.0, 0.0, 0.0),
    (2.0, 0.0, 0.0, 0.0),
    (1.4192173174557647, -0.2592322116729697, 0.0, 0.0),
    (4.18476048231916, -0.28519201735549593, 2.294280360279042, 0.0),
)
COUPLING = (
    (0.0, 0.0, 0.0, 0.0),
    (-4.588560720558084, 0.0, 0.0, 0.0),
    (-4.18476048231916, 0.28519201735549593, 0.0, 0.0),
    (-6.368179200128359, -6.795620944466837, 2.8700986043310563, 0.0),
)
END = (*BEFORE[3][:3], 1.0)  # stiffly accurate
NODES = (0.0, 0.871733043016918, 0.7315799577888524, 1.0)
ERROR = (0.2777499476479681, -1.4032398951759992, 1.7726301276675507, 0.5)


class RosenbrockState(NamedTuple):
    """The state that one step passes to the next: only the work of the step."""

    work: Work


def no_stages(like: PyTree) -> PyTree:
    """Arrays for four stages on a leading axis, filled with zeros."""
    return jax.tree.map(lambda leaf: jnp.zeros((4, *jnp.shape(leaf)), jnp.result_type(leaf)), like)


def with_stage(stages: PyTree, index: Array, stage: PyTree) -> PyTree:
    """The stages with stage number `index` set."""
    return jax.tree.map(lambda all_, one: all_.at[index].set(one), stages, stage)


def combine(start: PyTree, coefficients: Sequence[float] | Array, stages: PyTree) -> PyTree:
    """`start` plus the sum of the stages times their coefficients."""

    def one(start: Array, stages: Array) -> Array:
        return start + jnp.tensordot(jnp.asarray(coefficients, stages.dtype), stages, 1)

    return jax.tree.map(one, start, stages)


def finite(tree: PyTree) -> Array:
    """Whether all entries are finite."""
    return jnp.all(jnp.stack([jnp.all(jnp.isfinite(leaf)) for leaf in jax.tree.leaves(tree)]))


def _first_slopes() -> tuple[float, ...]:
    r"""Weights $p$ for $y(t_0 + \theta h) = y_0 + \theta p + \theta^2 (y_1 - y_0 - p)$.

    In the untransformed stages the order conditions for any $W$ up to order 2 are $\sum p_i = 1$
    and $\sum p_i \alpha_i = \sum p_i \gamma_i = 0$, where $\alpha_i$ and $\gamma_i$ are row sums.
    These $p$ are the solution of minimal norm.
    """
    inverse = np.eye(4) / GAMMA - np.array(COUPLING)  # of the matrix of the gamma_ij
    gammas = np.linalg.inv(inverse)
    conditions = np.stack([np.ones(4), (np.array(BEFORE) @ gammas).sum(1), gammas.sum(1)])
    weights = np.linalg.pinv(conditions) @ np.array([1.0, 0.0, 0.0])
    return tuple(float(w) for w in weights @ inverse)


FIRST_SLOPES = _first_slopes()


class Quadratic(diffrax.AbstractLocalInterpolation):
    """The parabola through both ends; `k0` is the step times the slope at the first end."""

    t0: Any  # type: ignore[misc]  # diffrax declares these as abstract variables
    t1: Any  # type: ignore[misc]
    y0: PyTree[Array]
    y1: PyTree[Array]
    k0: PyTree[Array]

    def evaluate(self, t0: Any, t1: Any = None, left: bool = True) -> PyTree[Array]:
        if t1 is not None:
            return jax.tree.map(jnp.subtract, self.evaluate(t1), self.evaluate(t0))
        del left
        s = (t0 - self.t0) / (self.t1 - self.t0)

        def one(y0: Array, y1: Array, k0: Array) -> Array:
            return y0 + s * (k0 + s * (y1 - y0 - k0))

        return jax.tree.map(one, self.y0, self.y1, self.k0)


class ROS34PW2(AbstractCounting, diffrax.AbstractAdaptiveSolver[RosenbrockState]):
    r"""Four-stage Rosenbrock-W method of order 3 with an embedded order 2.

    The method is stiffly accurate, and L-stable with the exact Jacobian. It has order 3 with any
    matrix $W$ in place of the Jacobian, so $W$ may be an approximation that is cheap to invert.
    A step costs four evaluations of the vector field and four solves with $I/(h\gamma) - W$.

    - **Takes** `approximate(t, y, args)`, which returns a $W$ with a method
        `shifted_solve(shift)`. It describes the field forwards in time. By default $W$ is that
        of an [`AbstractMatrixTerm`][lazyrich.solvers.AbstractMatrixTerm], such as the
        Gauss--Newton matrix of a [`GradientFlow`][lazyrich.dynamics.GradientFlow]. Any other
        term gets the exact Jacobian by automatic differentiation, factored by LU.
    - **Reference** Rang & Angermann, BIT Numer. Math. 45 (2005), 761--787: the
        coefficients, in the transformed variables of Hairer & Wanner II, (IV.7.25). The time
        derivative of a field that depends on time is left out of $W$; the order stays 3.
    """

    term_structure: ClassVar = diffrax.AbstractTerm
    interpolation_cls: ClassVar = Quadratic

    approximate: Callable[..., AbstractMatrix] | None = None

    def order(self, terms: Any) -> int:
        del terms
        return 3

    def init(self, terms: Any, t0: Any, t1: Any, y0: Any, args: Any) -> RosenbrockState:
        del terms, t0, t1, y0, args
        return RosenbrockState(work())

    def func(self, terms: Any, t0: Any, y0: Any, args: Any) -> Any:
        return terms.vf(t0, y0, args)

    def step(
        self,
        terms: Any,
        t0: Any,
        t1: Any,
        y0: Any,
        args: Any,
        solver_state: RosenbrockState,
        made_jump: Any,
    ) -> tuple[Any, Any, dict[str, Any], RosenbrockState, diffrax.RESULTS]:
        del solver_state, made_jump
        # `h` has a sign: diffrax solves backwards by negating the control, not the vector field.
        h = jnp.asarray(terms.contr(t0, t1), float_type(y0))
        solve, taken = self._matrix(terms, t0, y0, args).shifted_solve(1 / (h * GAMMA))
        before, coupling = (jnp.asarray(a, h.dtype) for a in (BEFORE, COUPLING))
        nodes = jnp.asarray(NODES, jnp.result_type(t0))

        # A loop, so that the vector field is compiled once and not four times.
        def stage(i: Array, stages: PyTree) -> PyTree:
            value = terms.vf(t0 + nodes[i] * (t1 - t0), combine(y0, before[i], stages), args)
            return with_stage(stages, i, solve(combine(value, coupling[i] / h, stages)))

        stages = jax.lax.fori_loop(0, 4, stage, no_stages(y0))
        y1 = combine(y0, END, stages)
        zero = jax.tree.map(jnp.zeros_like, y0)
        # Outside the field's domain the error is infinite instead of NaN: the controller then
        # rejects the step and shortens it by the largest allowed factor.
        ok = finite(y1)
        error = jax.tree.map(lambda e: jnp.where(ok, e, jnp.inf), combine(zero, ERROR, stages))
        dense = {"y0": y0, "y1": y1, "k0": combine(zero, FIRST_SLOPES, stages)}
        state = RosenbrockState(taken._replace(num_gradients=taken.num_gradients + 4))
        return y1, error, dense, state, cast(diffrax.RESULTS, diffrax.RESULTS.successful)

    def _matrix(self, terms: Any, t: Any, y: Any, args: Any) -> AbstractMatrix:
        inner, t = unwrapped(terms, t)
        if self.approximate is not None:
            return self.approximate(t, y, args)
        if isinstance(inner, AbstractMatrixTerm):
            return inner.approximate_jacobian(t, y, args)
        return _Dense(inner, t, y, args)


def unwrapped(terms: Any, t: Any) -> tuple[Any, Any]:
    """A term and its time without diffrax's wrappers for the direction of time.

    Under diffrax's wrapper for solving backwards, time runs from -t0 upwards.
    """
    # diffrax's class for this wrapper is private.
    while hasattr(terms, "term") and hasattr(terms, "direction"):
        terms, t = terms.term, t * terms.direction
    return terms, t


class _Dense(AbstractMatrix):
    """The exact Jacobian by automatic differentiation."""

    def __init__(self, term: Any, t: Any, y: PyTree, args: Any):
        flat, self._unravel = jax.flatten_util.ravel_pytree(y)
        self._jacobian = jax.jacfwd(
            lambda flat: jax.flatten_util.ravel_pytree(term.vf(t, self._unravel(flat), args))[0]
        )(flat)

    def shifted_solve(self, shift: Array) -> tuple[ShiftedSolve, Work]:
        matrix = self._jacobian
        shifted = jnp.asarray(shift, matrix.dtype) * jnp.eye(len(matrix), dtype=matrix.dtype)
        factor = jsl.lu_factor(shifted - matrix)

        def solve(v: PyTree) -> PyTree:
            flat = jax.flatten_util.ravel_pytree(v)[0]
            return self._unravel(jsl.lu_solve(factor, flat))

        return solve, work(num_matrices=1)

"""Tsit5 with stiffness detection."""

import math
from typing import Any, ClassVar, NamedTuple

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from .._core.norms import tree_norm
from ._work import AbstractCounting, Work, work

# Above this product of step and spectral radius, stability limits the step. The stability interval
# on the negative axis is about 3.5 long, and the product fluctuates below it.
_AT_THE_BOUND = 2.2
# Steps at the bound after which a problem counts as stiff; steps below it that reset this count.
_STIFF, _RESET = 15, 6

# The error inside a step, where records are made, over the error at its end, which the pair
# estimates. On a flow with exponential loss the interpolant's error was 2.5 times larger.
_INTERIOR_ERROR = 2.0


class WatchedState(NamedTuple):
    """The state that one step passes to the next."""

    inner: Any
    at_bound: Int[Array, ""]  # number of steps at the bound
    below: Int[Array, ""]  # number of steps since the last step at the bound
    stiff: Bool[Array, ""]
    work: Work


class WatchedTsit5(AbstractCounting, diffrax.AbstractAdaptiveSolver[WatchedState]):
    r"""diffrax's `Tsit5` with counts of gradients and with stiffness detection.

    The last two stages of a step are at the same time. Their slopes differ by about the Jacobian
    times the difference of their states, and in a stiff problem this difference lies along the
    fastest component. The ratio of the two norms is therefore an estimate of the spectral radius,
    at no extra cost.

    - **Takes** `most_left`: the integrator should change to another method when the problem has
        become stiff and more than this number of steps are left; infinite for never.
    - **Reference** Hairer & Wanner II, IV.2, "stiffness detection", for Dormand & Prince's pair.
    """

    term_structure: ClassVar = diffrax.AbstractTerm
    interpolation_cls: ClassVar[Any] = diffrax.Tsit5.interpolation_cls

    most_left: float = eqx.field(default=math.inf, static=True)

    def hands_over(self, solver_state: WatchedState, num_left: Float[Array, ""]) -> Bool[Array, ""]:
        return solver_state.stiff & (num_left > self.most_left)

    def at_stability_bound(self, solver_state: WatchedState) -> Bool[Array, ""]:
        return solver_state.stiff

    def order(self, terms: Any) -> int:
        return diffrax.Tsit5().order(terms)

    def error_order(self, terms: Any) -> Any:
        return diffrax.Tsit5().error_order(terms)

    def init(self, terms: Any, t0: Any, t1: Any, y0: Any, args: Any) -> WatchedState:
        inner = diffrax.Tsit5().init(terms, t0, t1, y0, args)
        zero = jnp.zeros((), jnp.int32)
        return WatchedState(inner, zero, zero, jnp.zeros((), bool), work())

    def func(self, terms: Any, t0: Any, y0: Any, args: Any) -> Any:
        return terms.vf(t0, y0, args)

    def step(
        self,
        terms: Any,
        t0: Any,
        t1: Any,
        y0: Any,
        args: Any,
        solver_state: WatchedState,
        made_jump: Any,
    ) -> tuple[Any, Any, dict[str, Any], WatchedState, diffrax.RESULTS]:
        solver = diffrax.Tsit5()
        first = solver_state.inner[0]
        y1, error, dense, inner, result = solver.step(
            terms, t0, t1, y0, args, solver_state.inner, made_jump
        )
        error = jax.tree.map(lambda e: _INTERIOR_ERROR * e, error)
        before = jnp.asarray(solver.tableau.a_lower[-2])
        stage = jax.tree.map(
            lambda y, k: y + jnp.tensordot(before.astype(k.dtype), k[: before.size], 1),
            y0,
            dense["k"],
        )
        slopes = jax.tree.map(lambda k: k[6] - k[5], dense["k"])  # times the step
        reach = tree_norm(slopes) / tree_norm(jax.tree.map(jnp.subtract, y1, stage))
        bound = reach > _AT_THE_BOUND
        below = jnp.where(bound, 0, solver_state.below + 1)
        at_bound = jnp.where(below >= _RESET, 0, solver_state.at_bound + bound)
        counts = work(6 + jnp.asarray(first, jnp.int32))
        state = WatchedState(inner, at_bound, below, at_bound >= _STIFF, counts)
        return y1, error, dense, state, result

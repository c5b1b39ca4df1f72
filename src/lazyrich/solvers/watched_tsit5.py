"""Tsit5, which notices when stability and not accuracy keeps its steps short."""

from typing import Any, ClassVar, NamedTuple

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Int

from ._work import Work, work

# A step times the spectral radius from which on stability is what keeps it short: the method is
# stable to 3.5 or so on the negative axis, and steps swing about that.
_AT_THE_BOUND = 2.2
# Steps at the bound that settle it, and steps below it that undo what was noticed.
_SETTLED, _UNDONE = 15, 6

# The error inside a step, where records are made, over that at its end, which is what the pair
# estimates: on a flow of exponential loss the interpolant was off by 2.5 times as much.
_INSIDE = 2.0


class WatchedState(NamedTuple):
    """What one step leaves to the next."""

    inner: Any
    at_bound: Int[Array, ""]  # steps
    below: Int[Array, ""]  # steps since the last at the bound
    stiff: Bool[Array, ""]
    work: Work


class WatchedTsit5(diffrax.AbstractAdaptiveSolver[WatchedState]):
    r"""diffrax's `Tsit5`, with counts of its gradients and an eye on stiffness.

    The last two stages of a step are at the same time, so their slopes differ by about the
    Jacobian times the difference of their states, which in a stiff problem lies along the fastest
    component: the ratio of the two norms is an estimate of the spectral radius that costs nothing.

    - **Takes** `switches`, whether a problem that turns out stiff is to be given to another
        method.
    - **Reference** Hairer & Wanner II, IV.2, "stiffness detection", for Dormand & Prince's pair.
    """

    term_structure: ClassVar = diffrax.AbstractTerm
    interpolation_cls: ClassVar[Any] = diffrax.Tsit5.interpolation_cls

    switches: bool = eqx.field(default=False, static=True)

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
        error = jax.tree.map(lambda e: _INSIDE * e, error)
        before = jnp.asarray(solver.tableau.a_lower[-2])
        stage = jax.tree.map(
            lambda y, k: y + jnp.tensordot(before.astype(k.dtype), k[: before.size], 1),
            y0,
            dense["k"],
        )
        slopes = jax.tree.map(lambda k: k[6] - k[5], dense["k"])  # times the step
        reach = _norm(slopes) / _norm(jax.tree.map(jnp.subtract, y1, stage))
        bound = reach > _AT_THE_BOUND
        below = jnp.where(bound, 0, solver_state.below + 1)
        at_bound = jnp.where(below >= _UNDONE, 0, solver_state.at_bound + bound)
        counts = work(6 + jnp.asarray(first, jnp.int32))
        state = WatchedState(inner, at_bound, below, at_bound >= _SETTLED, counts)
        return y1, error, dense, state, result


def _norm(tree: Any) -> Array:
    return jnp.sqrt(sum(jnp.sum(leaf**2) for leaf in jax.tree.leaves(tree)))

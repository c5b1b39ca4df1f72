"""Steps of any diffrax solver, in segments that can be interrupted and resumed.

`diffrax.diffeqsolve` runs from start to end in one compiled call and does not return its next step
size. Runs in lazyrich need the state between steps: they are resumed after an interruption, end on
a measured condition, or share a compiled call with runs that end earlier. Solvers, terms and
interpolation are those of diffrax.
"""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float, Int, PyTree

from .._core.norms import tree_norm
from ..solvers._work import AbstractCounting, Work, work
from .interpolation import evaluated
from .log_state import params_of
from .snapshots import Snapshots
from .status import (
    COMPLETED,
    CROSSED,
    DIVERGED,
    MAX_GRADIENTS,
    MAX_STEPS,
    RUNNING,
    STATIONARY,
    STIFF,
    UNDERFLOW,
)
from .stop import Stop

# The number of attempted steps in a segment. It is constant, so that the segments of an
# interrupted run contain the same steps as those of an uninterrupted one. A resumed record is
# then equal to the last bit.
SEGMENT = 16

_SAFETY, _SMALLEST, _LARGEST = 0.9, 0.2, 5.0
_PI = 0.4  # the exponent of the previous error times the order, as in Hairer & Wanner II, (IV.2.43)
# If the error of an attempt is larger, what the solver carries over is not trusted, such as a
# spectral radius that has become too small. For smaller errors the step was only a little too long.
_DOUBTFUL = 2.0


class System(eqx.Module):
    """A differential equation and the method to solve it; constant during a run.

    - `requests`, increasing times to record. Requests beyond the `horizon`, where the solve ends,
        are not served.
    - `args`, the arguments that the solver passes to the terms.
    - `observe(time, params)`, the content of a record.
    - `measure(y0, y1, error)`, the error of a step over the allowed error, a scalar.
    - `moving`, the name of the observed number whose change leads to additional records, or None
        (of the first run, if several share the solve); `resolution`, the change to aim at.
    - `stationary`, the relative speed, as a multiple of the decay, below which a run ends; zero
        for never.
    """

    terms: Any
    solver: Any
    requests: Float[Array, " t"]
    horizon: Float[Array, ""]
    clock: Any
    observe: Callable[[Array, PyTree], PyTree]
    measure: Callable[[PyTree, PyTree, PyTree], Array]
    stop: Stop
    resolution: Float[Array, ""]
    stationary: Float[Array, ""]
    decay: Float[Array, ""]
    max_steps: Int[Array, ""]
    max_gradients: Int[Array, ""]
    moving: str | None = eqx.field(static=True)
    max_extra: int = eqx.field(static=True)
    args: Any = None


class SolveState(eqx.Module):
    """The state of a solve between two steps, complete enough to resume the solve."""

    t: Float[Array, ""]
    y: PyTree
    step: Float[Array, ""]
    solver_state: PyTree
    error: Float[Array, ""]  # of the last accepted step, over the allowed error
    rejected: Bool[Array, ""]  # whether the last attempt was rejected
    doubted: Bool[Array, ""]  # whether its error was far larger than expected
    times: Float[Array, " s"]  # recorded so far, NaN beyond `num_saved`
    values: PyTree
    num_saved: Int[Array, ""]
    num_requests: Int[Array, ""]  # the number of requests served
    metric: Float[Array, ""]  # at the end of the last step
    streak: Int[Array, ""]  # the number of consecutive records that satisfy `stop`
    num_accepted: Int[Array, ""]
    num_rejected: Int[Array, ""]
    work: Work
    status: Int[Array, ""]
    snapshots: Snapshots | None = None


@eqx.filter_jit
def start(
    system: System, y0: PyTree, first_step: Array, snapshots: Array | None = None
) -> SolveState:
    """A solve at its start, with its first record if time 0 is requested.

    `snapshots` are times at which the parameters are kept.

    Every leaf has the same type, strong or weak, as after a step. Otherwise the solve would be
    compiled twice.
    """
    t0 = jnp.zeros((), system.requests.dtype)
    solver_state = system.solver.init(system.terms, t0, t0 + first_step, y0, system.args)
    first = system.observe(t0, params_of(y0))
    num_slots = system.requests.size + system.max_extra
    asked = system.requests[0] == 0
    times = jnp.full(num_slots, jnp.nan).at[0].set(jnp.where(asked, 0.0, jnp.nan))
    zero = jnp.zeros((), jnp.int64)
    return SolveState(
        t=t0,
        y=y0,
        step=t0 + first_step,
        solver_state=solver_state,
        error=jnp.ones_like(t0),
        rejected=jnp.zeros((), bool),
        doubted=jnp.zeros((), bool),
        times=times,
        values=jax.tree.map(
            lambda v: jnp.zeros((num_slots, *jnp.shape(v)), jnp.result_type(v)).at[0].set(v), first
        ),
        num_saved=asked.astype(jnp.int64),
        num_requests=asked.astype(jnp.int64),
        metric=_metric(system, first, t0),
        streak=zero,
        num_accepted=zero,
        num_rejected=zero,
        work=jax.tree.map(lambda w: w.astype(jnp.int64), _taken(system, solver_state)),
        status=zero,
        snapshots=None if snapshots is None else Snapshots.begin(snapshots, params_of(y0)),
    )


def restart(system: System, solve: SolveState, first_step: Array) -> SolveState:
    """Starts an ended solve again from a state of zeros, and keeps its records and counts."""
    t0 = jnp.zeros((), system.requests.dtype)
    y0 = jax.tree.map(jnp.zeros_like, solve.y)
    return eqx.tree_at(
        lambda m: (m.t, m.y, m.step, m.solver_state, m.error, m.rejected, m.doubted, m.status),
        solve,
        (
            t0,
            y0,
            t0 + first_step,
            system.solver.init(system.terms, t0, t0 + first_step, y0, system.args),
            jnp.ones_like(t0),
            jnp.zeros_like(solve.rejected),
            jnp.zeros_like(solve.doubted),
            jnp.zeros_like(solve.status),
        ),
        is_leaf=lambda leaf: leaf is None,
    )


@eqx.filter_jit
def hand_over(system: System, solve: SolveState) -> SolveState:
    """Continues a solve with the solver of `system`, after its previous solver has stopped."""
    t1 = solve.t + solve.step
    solver_state = system.solver.init(system.terms, solve.t, t1, solve.y, system.args)
    return eqx.tree_at(
        lambda m: (m.solver_state, m.error, m.rejected, m.doubted, m.status),
        solve,
        (
            solver_state,
            jnp.ones_like(solve.error),
            jnp.zeros_like(solve.rejected),
            jnp.zeros_like(solve.doubted),
            jnp.full_like(solve.status, RUNNING),
        ),
        is_leaf=lambda leaf: leaf is solve.solver_state,
    )


def advance(system: System, solve: SolveState, enough: Any = None) -> SolveState:
    """The solve after at most `SEGMENT` further attempts; fewer once `enough` is true of it."""

    def go_on(carry: tuple[SolveState, Array]) -> Array:
        solve, attempts = carry
        left = (solve.status == RUNNING) & (attempts < SEGMENT)
        return left if enough is None else left & ~enough(solve)

    def attempt(carry: tuple[SolveState, Array]) -> tuple[SolveState, Array]:
        solve, attempts = carry
        return _attempt(system, solve), attempts + 1

    return lax.while_loop(go_on, attempt, (solve, jnp.zeros((), jnp.int32)))[0]


def _attempt(system: System, solve: SolveState) -> SolveState:
    t0, y0, horizon = solve.t, solve.y, system.horizon
    t1 = t0 + solve.step
    if system.clock.ends:
        # A very short last step would be lost in rounding.
        t1 = jnp.where(t0 + 1.0001 * solve.step >= horizon, horizon, t1)
    y1, error, dense, solver_state, _ = system.solver.step(
        system.terms, t0, t1, y0, system.args, solve.solver_state, solve.doubted
    )
    size = system.measure(y0, y1, error)
    size = jnp.where(jnp.isnan(size), jnp.inf, size)
    accepted = size < 1
    order = system.solver.error_order(system.terms)
    factor = _SAFETY * size ** (-(1 + _PI) / order) * solve.error ** (_PI / order)
    factor = jnp.clip(jnp.where(jnp.isfinite(factor), factor, _LARGEST), _SMALLEST, _LARGEST)
    factor = jnp.where(jnp.isinf(size), _SMALLEST, factor)
    # Directly after a rejection, a longer step would be rejected again.
    factor = jnp.where(solve.rejected & accepted, jnp.minimum(factor, 1.0), factor)
    factor = jnp.where(accepted, factor, jnp.minimum(factor, _SAFETY))

    def keep(new: PyTree, old: PyTree) -> PyTree:
        return jax.tree.map(lambda a, b: jnp.where(accepted, a, b), new, old)

    taken = jax.tree.map(jnp.add, solve.work, _taken(system, solver_state))
    step = (t1 - t0) * factor
    after = eqx.tree_at(
        lambda m: (m.t, m.y, m.step, m.solver_state, m.error, m.rejected, m.doubted, m.work),
        solve,
        (
            jnp.where(accepted, t1, t0),
            keep(y1, y0),
            step,
            keep(solver_state, solve.solver_state),
            jnp.where(accepted, jnp.maximum(size, 1e-4), solve.error),
            ~accepted,
            size > _DOUBTFUL,
            taken,
        ),
        is_leaf=lambda leaf: leaf is None,
    )
    after = eqx.tree_at(
        lambda m: (m.num_accepted, m.num_rejected),
        after,
        (solve.num_accepted + accepted, solve.num_rejected + ~accepted),
    )
    interpolation = system.solver.interpolation_cls(t0=t0, t1=t1, **dense)
    after = _record(system, after, interpolation, accepted, y1)
    if after.snapshots is not None:
        found = after.snapshots.after_step(interpolation, system.clock, accepted, y1)
        after = eqx.tree_at(lambda m: m.snapshots, after, found)
    return eqx.tree_at(lambda m: m.status, after, _status(system, solve, after, size))


def _record(
    system: System, solve: SolveState, interpolation: Any, accepted: Array, y1: PyTree
) -> SolveState:
    """Records requests inside a step, and additional times if the metric has changed enough."""
    t0, t1 = interpolation.t0, interpolation.t1
    reached = system.clock.read(t1, y1)
    num_extra = jnp.zeros((), solve.num_saved.dtype)
    if system.moving is not None:
        metric = _metric(system, system.observe(reached, params_of(y1)), t1)
        # Twice the number for linear change, because the change within a step is not linear.
        jumps = 2 * jnp.abs(metric - solve.metric) / system.resolution
        jumps = jnp.where(jnp.isfinite(jumps), jnp.minimum(jumps, 16.0), 0.0)
        unasked = solve.times.size - solve.num_saved - (system.requests.size - solve.num_requests)
        num_extra = jnp.where(accepted, jnp.minimum(jumps.astype(num_extra.dtype), unasked), 0)
        solve = eqx.tree_at(lambda m: m.metric, solve, jnp.where(accepted, metric, solve.metric))

    def request(solve: SolveState) -> Array:
        last = system.requests.size
        asked = system.requests[jnp.minimum(solve.num_requests, last - 1)]
        return jnp.where(solve.num_requests < last, asked, jnp.inf)

    def extra(index: Array) -> Array:
        time = t0 + (t1 - t0) * (index + 1) / (num_extra + 1)
        return jnp.where(index < num_extra, time, jnp.inf)

    def more(carry: tuple[SolveState, Array]) -> Array:
        solve, index = carry
        return accepted & ((request(solve) <= reached) | (index < num_extra))

    def save(carry: tuple[SolveState, Array]) -> tuple[SolveState, Array]:
        solve, index = carry
        asked = request(solve)
        place = jnp.where(asked <= reached, system.clock.locate(interpolation, asked), jnp.inf)
        is_request = place <= extra(index)
        t = jnp.where(is_request, place, extra(index))
        y = evaluated(interpolation, t, solve.y)
        time = jnp.where(is_request, asked, system.clock.read(t, y))
        value = system.observe(time, params_of(y))
        slot = solve.num_saved
        streak = solve.streak
        if system.stop.name is not None:
            held = system.stop.sign * (value[system.stop.name] - system.stop.level) >= 0
            streak = jnp.where(held, streak + 1, 0)
        solve = eqx.tree_at(
            lambda m: (m.times, m.values, m.num_saved, m.num_requests, m.streak),
            solve,
            (
                solve.times.at[slot].set(time),
                jax.tree.map(lambda a, v: a.at[slot].set(v), solve.values, value),
                slot + 1,
                solve.num_requests + is_request,
                streak,
            ),
        )
        return solve, index + ~is_request

    return lax.while_loop(more, save, (solve, jnp.zeros_like(num_extra)))[0]


def _status(system: System, before: SolveState, after: SolveState, size: Array) -> Array:
    """The status after a step. If several conditions apply, the last line below decides."""
    params = params_of(after.y)
    moved = jax.tree.map(jnp.subtract, params, params_of(before.y))
    elapsed = after.t - before.t
    # Without decay, the rate is one over the time since the start of the run.
    rate = jnp.where(system.decay > 0, system.decay, 1 / jnp.maximum(after.t, 1e-300))
    still = tree_norm(moved) < system.stationary * rate * elapsed * tree_norm(params)
    stuck = after.t + after.step == after.t
    status = before.status
    solver = system.solver
    if isinstance(solver, AbstractCounting):
        num_left = (system.horizon - after.t) / after.step
        status = jnp.where(solver.hands_over(after.solver_state, num_left), STIFF, status)
    status = jnp.where(still & (elapsed > 0), STATIONARY, status)
    if system.stop.name is not None:
        status = jnp.where(after.streak >= system.stop.sustained, CROSSED, status)
    num_tried = after.num_accepted + after.num_rejected
    status = jnp.where(num_tried >= system.max_steps, MAX_STEPS, status)
    status = jnp.where(after.work.num_gradients >= system.max_gradients, MAX_GRADIENTS, status)
    status = jnp.where(stuck, jnp.where(jnp.isinf(size), DIVERGED, UNDERFLOW), status)
    reached = system.clock.read(after.t, after.y)
    return jnp.where(reached >= system.horizon, COMPLETED, status)


def _metric(system: System, observed: PyTree, like: Array) -> Array:
    if system.moving is None:
        return jnp.zeros_like(like)
    return observed[system.moving].reshape(-1)[0].astype(like.dtype)


def _taken(system: System, solver_state: Any) -> Work:
    """The work of the last attempt; zero for solvers that do not report it."""
    solver = system.solver
    return solver.taken(solver_state) if isinstance(solver, AbstractCounting) else work()


advance_one = eqx.filter_jit(advance, donate="all-except-first")

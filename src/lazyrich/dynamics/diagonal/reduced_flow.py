"""The exact reduction of diagonal linear nets to one variable for each sample."""

import functools
from collections.abc import Sequence
from typing import Annotated, Any, ClassVar

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from annotated_types import Ge, Gt, Lt
from jaxtyping import Array, Float, Int, PyTree

from ..._core.errors import InputError
from ..._core.precision import in_double
from ..._integrate import stepping as _stepping
from ..._integrate.checkpoint import Checkpoint
from ..._integrate.clock import LinearClock
from ..._integrate.kept import kept
from ..._integrate.status import COMPLETED, ENDINGS, RUNNING
from ..._integrate.stop import Stop
from ...models import AbstractModel, DiagonalParams
from ...solvers.rodas5p import Rodas5P
from .._base import (
    AbstractDynamics,
    Observe,
    Problem,
    Progress,
    Report,
    Trajectory,
    recorded_params,
    reporting,
)
from .._rate import first_times, loss_floor
from .asked import Asked
from .intervals import (
    MORE_STEPS,
    Intervals,
    begin,
    effort,
    go_on,
    params_at,
    reached,
    solve_together,
)
from .reduction import (
    ParamsFromState,
    Reduced,
    depth_of,
    field,
    first_step,
    kernel_at_start,
    linearise,
    reduce,
)


class ReducedFlow(AbstractDynamics):
    r"""Gradient flow of a diagonal net, solved exactly in `n` variables.

    The gradients of $f_i = \langle u^{\odot L} - v^{\odot L}, x_i \rangle$ with respect to the
    weights lie in the span of the data, and decay is a common factor. The clock is $d\tau =
    e^{-(L-2)\lambda t} dt$. The variables $\nu$ follow $d\nu/d\tau = s(f) / n$ with the dual $s$ of
    the loss. With $z = X^\top \nu$ the parameters are

    - $L = 2$: $u = e^{-\lambda t} u_0\, e^{2z}$, $v = e^{-\lambda t} v_0\, e^{-2z}$;
    - $L \ge 3$: $u = e^{-\lambda t} (u_0^{2-L} - L(L-2) z)^{-1/(L-2)}$, and $v$ with the
        opposite sign of $z$, where $e^{-(L-2)\lambda t} = 1 - (L-2)\lambda\tau$.

    The flow in $2d$ variables becomes a flow in $n$ variables, for any loss and any $\lambda \ge
    0$. It is solved by [`Rodas5P`][lazyrich.solvers.Rodas5P] with the exact Jacobian. A step needs
    one weighted Gram matrix.

    - **Takes** `rtol`, the allowed local error of a step. For outputs the error is relative to
        $1 + |f_i|$ (for regression, to the root mean square of the labels plus $|f_i|$). For the
        variables $\nu$ it is relative to one plus the change of log-parameters. `max_steps`, the
        largest number of attempted steps; at $L \ge 3$ it grows by 16 in each time $2 / ((L-2)
        \lambda)$, because a run that has settled still takes some steps there.
    - **Raises** [`InputError`][lazyrich.InputError] for any model except
        [`DiagonalLinear`][lazyrich.models.DiagonalLinear], and for parameters that are not
        positive when $L \ge 3$.
    - **Source** Derived in `docs/explanation/reduction.md`; for $L = 2$, $\lambda = 0$ it is the
        mirror flow of Woodworth et al., COLT 2020, arXiv:2002.09277.
    """

    keeps_states: ClassVar[bool] = True

    rtol: Annotated[float, Gt(0), Lt(0.1)] = 1e-4
    max_steps: Annotated[int, Ge(1)] = 4096

    def can_follow(self, model: AbstractModel) -> bool:
        return model.diagonal_depth is not None

    def needs_double(self, weight_decay: float) -> str:
        del weight_decay
        # At depth L >= 3 a parameter that grows by a factor g is 1 minus a number that equals 1 up
        # to g^(2-L). At depth 2 it is the exponential of a difference of numbers of size lambda t.
        return "solves for logarithms of the parameters: set dynamics.kind to Flow for float32"

    def as_flow(self) -> "ReducedFlow":
        return self

    @property
    def forgets(self) -> bool:
        return True

    @in_double
    def follow(
        self,
        problem: Problem,
        times: Float[np.ndarray, " t"],
        progress: Progress,
        observe: Observe | None = None,
        checkpoint: Checkpoint | None = None,
        snapshots: Float[np.ndarray, " k"] | None = None,
    ) -> Trajectory:
        del observe  # the caller computes observations from the small states
        asked = Asked(times, snapshots)
        times = asked.all
        start = jax.tree.map(jnp.asarray, _checked_start(problem))
        intervals, interval = Intervals.of(problem, times), 0
        intervals.check_room(start)
        reduced = reduce(problem, start)
        system = self._system(reduced, interval, *intervals.requests(interval))
        first = first_step(reduced, kernel_at_start(reduced), system.horizon)
        solve = begin(system, jnp.asarray(first))
        starts = jax.tree.map(
            lambda p: jnp.zeros((intervals.num, p.size)).at[interval].set(p), start
        )
        state = _SolveState(jnp.asarray(interval), starts, solve)
        if checkpoint is not None and (saved := checkpoint.load(state)) is not None:
            state, interval = saved, int(saved.interval)
            start = jax.tree.map(lambda p: p[interval], state.starts)
            system = self._system(reduce(problem, start), interval, *intervals.requests(interval))
        while True:
            while int(state.solve.status) == RUNNING:
                solve = _stepping.advance_one(system, state.solve)
                state = _SolveState(state.interval, state.starts, solve)
                so_far = functools.partial(_so_far, asked, intervals, reduced, state)
                progress(intervals.time(interval, float(solve.t)), int(solve.num_accepted), so_far)
                if checkpoint is not None:
                    checkpoint.offer(state)
            if int(state.solve.status) != COMPLETED or interval + 1 == intervals.num:
                break
            start, interval = reached(system, state.solve), interval + 1
            system = self._system(reduce(problem, start), interval, *intervals.requests(interval))
            starts = jax.tree.map(
                lambda every, p, i=interval: every.at[i].set(p), state.starts, start
            )
            state = _SolveState(jnp.asarray(interval), starts, go_on(system, state.solve))
        return asked.divided(_trajectory(intervals, reduced, state))

    @in_double
    def first_times(self, problems: Sequence[Problem]) -> list[float]:
        return first_times(problems)

    @in_double
    def loss_floor(self, problem: Problem) -> float:
        return loss_floor(problem, self.rtol)

    @in_double
    def solve(
        self,
        problems: Sequence[Problem],
        times: Sequence[Float[np.ndarray, " _"]],
        report: Report,
        observers: Sequence[Observe] | None = None,
        checkpoint: Checkpoint | None = None,
        snapshots: Sequence[Float[np.ndarray, " _"]] | None = None,
    ) -> list[Trajectory]:
        """Solves several problems of the same shapes in one compiled call, each to its own end.

        If inputs or labels are the same array for all problems, they are stored once.

        - **Raises** [`InputError`][lazyrich.InputError] for problems of different shapes.
        """
        if len(problems) == 1:  # only then a checkpoint is possible
            return super().solve(problems, times, report, observers, checkpoint, snapshots)
        params = [_checked_start(problem) for problem in problems]
        report_ended = reporting(report, len(problems), 0)
        kept_at = [None] * len(problems) if snapshots is None else snapshots
        asked = [Asked(grid, its) for grid, its in zip(times, kept_at, strict=True)]
        grids = [one.all for one in asked]
        found = solve_together(problems, params, grids, self._system, report_ended)
        return [one.divided(solved) for one, solved in zip(asked, found, strict=True)]

    def _system(
        self, reduced: Reduced, interval: int, requests: Any, stop: Any
    ) -> "_stepping.System":
        return _stepping.System(
            terms=diffrax.ODETerm(field),
            solver=Rodas5P(linearise),
            requests=jnp.asarray(requests),
            horizon=jnp.asarray(stop),
            clock=LinearClock(),
            observe=recorded_params,
            measure=_Measure(jnp.asarray(self.rtol)),
            stop=Stop(jnp.zeros(()), jnp.ones(()), 1, None),
            resolution=jnp.ones(()),
            stationary=jnp.zeros(()),
            decay=reduced.weight_decay,
            max_steps=jnp.asarray(self.max_steps + MORE_STEPS * interval),
            max_gradients=jnp.asarray(2**62),
            moving=None,
            max_extra=0,
            args=reduced,
        )


class _Measure(eqx.Module):
    """The root mean square over samples of the errors, which `linearise` has made relative."""

    rtol: Float[Array, ""]

    def __call__(self, y0: PyTree, y1: PyTree, error: Float[Array, " n"]) -> Float[Array, ""]:
        del y0, y1
        return jnp.sqrt(jnp.mean(error**2)) / self.rtol


class _SolveState(eqx.Module):
    """The state of a solve between two intervals, complete enough to resume the solve."""

    interval: Int[Array, ""]
    starts: DiagonalParams  # of the intervals so far; with a leading axis over all intervals
    solve: _stepping.SolveState


def _trajectory(
    intervals: Intervals, reduced: Reduced, state: _SolveState, *, running: bool = False
) -> Trajectory:
    """The trajectory of an ended solve, or of one that goes on."""
    solve, num_saved = state.solve, int(state.solve.num_saved)
    recorded = intervals.times[:num_saved]
    interval = intervals.interval_of(recorded)
    states: Any = (interval, kept(solve.values, num_saved))
    params_of = ParamsFromState(reduced, jnp.asarray(intervals.bounds[:-1]), state.starts)
    final = None
    if not running:
        # Only at the end: JAX compiles a conversion for every number of records.
        states = (jnp.asarray(interval), solve.values[:num_saved])
        last = jax.tree.map(lambda a: a[-1], states)
        final = params_at(params_of, jnp.asarray(recorded[-1]), last)
    return Trajectory(
        times=recorded,
        states=states,
        params_at=params_of,
        ending="running" if running else ENDINGS[int(solve.status)],
        effort=effort(int(solve.num_accepted), int(solve.num_rejected)),
        final=final,
    )


def _so_far(asked: Asked, intervals: Intervals, reduced: Reduced, state: _SolveState) -> Trajectory:
    """The trajectory of a solve that goes on."""
    return asked.divided(_trajectory(intervals, reduced, state, running=True))


def _checked_start(problem: Problem) -> DiagonalParams:
    """The parameters at time 0, after a check."""
    depth = depth_of(problem)
    for name, values in zip(DiagonalParams._fields, problem.params, strict=True):
        if depth > 2 and not np.all(np.asarray(values) > 0):
            lowest = float(np.min(values))
            raise InputError(f"params.{name}", lowest, f"should be positive at depth {depth}")
    return DiagonalParams(*problem.params)

"""Solves of many reduced systems at once, interval by interval."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Bool, Float, Int

from ..._core.room import check_room
from ..._integrate.lanes import Lanes, advance_all, gathered, unlike
from ..._integrate.status import COMPLETED, ENDINGS
from ..._integrate.stepping import SolveState, System, restart, start
from ...models import DiagonalParams
from .._base import Problem, Trajectory
from .._effort import Effort
from .reduction import ParamsFromState, Reduced, depth_of, first_step, kernel_at_start, reduce

# For depth L > 2, u is an inverse power of a difference that decays like e^{-(L-2) lambda t},
# while the two terms of the difference do not decay, so that an error grows by the inverse factor
# up to the end of an interval. Steps do not see that growth. At (L-2) lambda t = 8, outputs were
# wrong by 300 times rtol. At 2 they are within 5 times rtol, and the number of steps is the same. A
# restart from the current parameters costs nothing.
_LENGTH = 2.0
# The number of attempted steps added to the budget for every restart. A run that has settled takes
# about seven in an interval, for any time, because the kernel grows by e^2 on the clock.
MORE_STEPS = 16


class Intervals(NamedTuple):
    """The intervals of a horizon, and the times to record on the clock of each interval."""

    bounds: Float[np.ndarray, " l"]
    times: Float[np.ndarray, " t"]
    rate: float  # (L-2) lambda

    @classmethod
    def of(cls, problem: Problem, times: Float[np.ndarray, " t"]) -> "Intervals":
        rate, t1 = (depth_of(problem) - 2) * float(problem.weight_decay), float(times[-1])
        num = max(1, int(np.ceil(rate * t1 / _LENGTH)))
        return cls(np.array([t1 * i / num for i in range(num)] + [t1]), times, rate)

    @property
    def num(self) -> int:
        return len(self.bounds) - 1

    def check_room(self, params: DiagonalParams, num_runs: int = 1) -> None:
        """Refuses a horizon whose intervals' first parameters do not fit in memory.

        - **Raises** [`InputError`][lazyrich.InputError] under the key `t1`.
        """
        one = sum(8 * np.size(p) for p in params)
        # The array, and the copy that an update makes.
        check_room({"t1": 2 * num_runs * self.num * one}, {"t1": float(self.bounds[-1])})

    def clock(self, elapsed: Any) -> Any:
        return -np.expm1(-self.rate * elapsed) / self.rate if self.rate > 0 else elapsed

    def time(self, interval: int, clock: float) -> float:
        """The time at which the clock of an interval shows `clock`; exact at its end."""
        begin, end = self.bounds[interval : interval + 2]
        if clock >= self.clock(end - begin):
            return float(end)
        elapsed = -np.log1p(-self.rate * clock) / self.rate if self.rate > 0 else clock
        return float(min(begin + elapsed, end))

    def interval_of(self, times: Float[np.ndarray, " t"]) -> Int[np.ndarray, " t"]:
        """The interval that records each time; at a common bound, the later one."""
        return np.minimum(np.searchsorted(self.bounds, times, "right") - 1, self.num - 1)

    def requests(self, interval: int, num: int = 0) -> tuple[np.ndarray, np.ndarray]:
        """All times on the clock of `interval`, padded to length `num`, and the end of the clock.

        Times at or after the end of the interval are infinite, except in the last interval. Times
        before the interval have been recorded and are not used.
        """
        begin, end = self.bounds[interval : interval + 2]
        stop = np.asarray(self.clock(end - begin))
        # The clock of a time in an array can differ by rounding from that of a single time.
        clock = np.minimum(self.clock(np.clip(self.times, begin, end) - begin), stop)
        past = np.inf if interval + 1 < self.num else stop
        clock = np.where(self.times >= end, past, clock)
        return np.pad(clock, (0, max(0, num - clock.size)), constant_values=np.inf), stop


@eqx.filter_jit
def begin(system: System, first_step: Float[Array, ""]) -> SolveState:
    """The state at the start of the first interval."""
    return start(system, jnp.zeros_like(system.args.y), first_step)


@eqx.filter_jit
def go_on(system: System, solve: SolveState) -> SolveState:
    """The state at the start of the next interval, after the solve of the previous one.

    The length of its first step, in time, is that of the next step of the previous interval.
    """
    length = solve.step / system.args.remaining(system.horizon)
    step = jnp.clip(length, 1e-3 * system.horizon, system.horizon)
    return restart(system, solve, jnp.where(jnp.isfinite(length), step, 1e-3 * system.horizon))


def _go_on_if(system: System, solve: SolveState, going: Bool[Array, ""]) -> SolveState:
    return lax.cond(going, lambda: go_on(system, solve), lambda: solve)


@eqx.filter_jit
def reached(system: System, solve: SolveState) -> DiagonalParams:
    """The parameters at the end of a completed interval."""
    return system.args.params(system.horizon, solve.y)


def effort(num_accepted: int, num_rejected: int) -> Effort:
    """The cost of these numbers of steps."""
    num_tried = num_accepted + num_rejected
    return Effort("Rodas5P", num_accepted, num_rejected, 8 * num_tried, num_tried)


def solve_together(
    problems: Sequence[Problem],
    params: Sequence[DiagonalParams],
    times: Sequence[Float[np.ndarray, " _"]],
    system_of: Callable[[Reduced, int, Any, Any], System],
    progress: Callable[[int, int], None],
) -> list[Trajectory]:
    """Solves the first interval of every problem, then the second of those that have one, etc.

    - **Takes** `params` at time 0; `system_of`, a function of a reduced system, the number of
        its interval, its requests and its horizon.
    - **Raises** [`InputError`][lazyrich.InputError] if problems differ in more than numbers.
    """
    intervals = [Intervals.of(problem, grid) for problem, grid in zip(problems, times, strict=True)]
    num_intervals, num_times = max(lane.num for lane in intervals), max(map(len, times))
    first = reduce(problems[0], DiagonalParams(*map(jnp.asarray, params[0])))
    max(intervals, key=lambda lane: lane.num).check_room(params[0], len(params))
    every = _reduced_together(first, problems, params)
    start = every.together.start
    starts = jax.tree.map(lambda p: np.zeros((len(p), num_intervals, p.shape[1])), start)
    # Ended problems stay in the batch at no cost, so that one size is compiled.
    going, solve = np.ones(len(problems), bool), None
    for interval in range(num_intervals):
        for kept, new in zip(starts, start, strict=True):
            kept[going, interval] = new[going]
        asked = [lane.requests(min(interval, lane.num - 1), num_times) for lane in intervals]
        requests, stops = (np.stack(column) for column in zip(*asked, strict=True))
        lanes = _from(first, every.together, start)
        reduced, single = lanes.together, system_of(first, interval, requests[0], stops[0])
        system = eqx.tree_at(
            lambda s: (s.args, s.requests, s.horizon, s.decay),
            single,
            (reduced, requests, stops, reduced.weight_decay),
        )
        systems = Lanes.spread(single, system)
        if solve is None:
            kernels = np.asarray(lanes.call(kernel_at_start))
            solve = systems.call(begin, first_step(reduced, kernels, stops))
        else:
            solve = systems.call(_go_on_if, solve, going)
        more = going & np.array([lane.num > interval + 1 for lane in intervals])

        known, others = int((~going).sum()), int(more.sum())

        # A problem ends with its last interval. One with more may have ended its present interval.
        def report_ended(ended: int, steps: int, known: int = known, others: int = others) -> None:
            progress(max(known, ended - others), steps)

        solve = advance_all(systems, solve, report_ended)
        going = more & (np.asarray(solve.status) == COMPLETED)
        if not np.any(going):
            break
        ends = systems.call(reached, solve)
        start = jax.tree.map(
            lambda new, old, rows=going[:, None]: np.where(rows, new, old), ends, start
        )
    assert solve is not None
    return _trajectories(first, every, starts, intervals, solve)


def _reduced_together(
    first: Reduced, problems: Sequence[Problem], params: Sequence[DiagonalParams]
) -> Lanes:
    """The reduced systems of the problems at time 0."""
    alike = {(p.model, p.loss, p.train.x.shape, p.train.x.dtype, p.train.y.shape) for p in problems}
    if len(alike) > 1:
        raise unlike(len(problems))
    # Data that several problems share are processed once.
    known: dict[int, Reduced] = {}
    for problem, own in zip(problems, params, strict=True):
        if id(problem.train) not in known:
            known[id(problem.train)] = reduce(problem, own)
    each = [known[id(problem.train)] for problem in problems]
    together = eqx.tree_at(
        lambda r: (r.x, r.y, r.weight_decay, r.output_unit, r.x_size),
        first,
        (
            gathered([one.x for one in each]),
            gathered([one.y for one in each]),
            np.array([float(problem.weight_decay) for problem in problems]),
            np.array([float(one.output_unit) for one in each]),
            np.array([float(one.x_size) for one in each]),
        ),
    )
    starts = jax.tree.map(lambda *p: np.stack(p), *params)
    return _from(first, together, starts)


def _from(first: Reduced, together: Reduced, start: DiagonalParams) -> Lanes:
    return Lanes.spread(first, eqx.tree_at(lambda r: r.start, together, start))


def _trajectories(
    first: Reduced,
    every: Lanes,
    starts: DiagonalParams,
    intervals: Sequence[Intervals],
    solve: SolveState,
) -> list[Trajectory]:
    begins = np.zeros(starts.u.shape[:2])
    for row, lane in zip(begins, intervals, strict=True):
        row[: lane.num] = lane.bounds[:-1]
    one = ParamsFromState(
        first, jnp.asarray(begins[0]), jax.tree.map(lambda p: jnp.asarray(p[0]), starts)
    )
    together = eqx.tree_at(
        lambda r: (r.system, r.begins, r.starts), one, (every.together, begins, starts)
    )
    params_of = Lanes.spread(one, together)
    times = [lane.times[:num] for lane, num in zip(intervals, solve.num_saved, strict=True)]
    states = [
        (jnp.asarray(lane.interval_of(recorded)), jnp.asarray(values[: len(recorded)]))
        for lane, recorded, values in zip(intervals, times, solve.values, strict=True)
    ]
    last = [jax.tree.map(lambda a: a[-1], kept) for kept in states]
    last_states = jax.tree.map(lambda *leaves: np.stack(leaves), *last)
    finals = params_of.call(params_at, np.array([grid[-1] for grid in times]), last_states)
    return [
        Trajectory(
            times=recorded,
            states=kept,
            params_at=params_of.one(place),
            ending=ENDINGS[int(solve.status[place])],
            effort=effort(int(solve.num_accepted[place]), int(solve.num_rejected[place])),
            final=jax.tree.map(lambda a, i=place: a[i], finals),
        )
        for place, (recorded, kept) in enumerate(zip(times, states, strict=True))
    ]


@eqx.filter_jit
def params_at(
    params_of: ParamsFromState, time: Array, state: tuple[Array, Array]
) -> DiagonalParams:
    """The parameters at a time, from the state at this time."""
    return params_of(time, state)

"""The two phases of the limit of small decay: the fit, and the flow on the manifold."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ..._integrate import stepping as _stepping
from ..._integrate.clock import LinearClock
from ..._integrate.status import ENDINGS, RUNNING, Ending, Running
from ..._integrate.stop import Stop
from ...solvers.projected_tsit5 import ProjectedTsit5
from .._base import Observe, Problem, Snapshots, Trajectory, recorded_params
from .._method import choose
from .._step_error import StepError
from ..flow import Flow
from .advance import Fitted, Reached, advance, is_fitted
from .effort import both_efforts
from .manifold import InterpolationManifold
from .records import Records, filled, united
from .sharing import Run, Together

# The method of the first phase. An automatic choice would depend on the horizon, and so on the
# decay, of which this phase should not depend. The second phase factors the same kernel anyway.
_METHOD = "rosenbrock"
# Residuals count as zero below this part of `rtol`. One Newton step then reaches the end of the
# flow without decay with an error of second order in them.
_FITTED = 0.1
# The largest residual after a projection, as a part of `rtol`.
_ON_MANIFOLD = 0.01
# If the data are not fitted, records are kept for as long as decay would have changed parameters by
# less than this.
_UNDECAYED = 0.01
# The first step, in units of 1 / lambda. The speed is at most one in these units.
_FIRST_STEP = 1e-2


class _Kept(eqx.Module):
    """The content of a checkpoint: both phases, and when the first has ended (else infinite)."""

    fit_time: Float[Array, ""]
    early: "_stepping.SolveState"
    late: "_stepping.SolveState"


def _params_only(t: Any, params: Any) -> dict[str, Any]:
    """The record of a solve that keeps the parameters."""
    return {"params": recorded_params(t, params)}


class Phases:
    """The two phases of a solve for runs that differ only in the decay.

    No step depends on the decay, on the horizon, or on the times to record, which are served by
    the interpolation inside steps. So a run by itself has the steps of a run that shares its solve.
    """

    def __init__(
        self,
        flow: Flow,
        problem: Problem,
        runs: Sequence[Run],
        observers: Sequence[Observe] | None,
    ):
        self._flow, self._runs, self._observed = flow, runs, observers is not None
        seen: Sequence[Observe] = [_params_only] * len(runs) if observers is None else observers
        fitting = without_decay(problem)
        self._manifold = InterpolationManifold.of(fitting)
        self._fit_time, self.goes_on = np.inf, True
        self._end = max(run.end for run in runs)
        grid = united([run.times[run.times <= run.end] for run in runs], [0.0])
        asked = [run.asked[run.asked <= run.end] for run in runs if run.asked is not None]
        self._asks = bool(asked)
        self._method = choose(_METHOD, "linear", fitting, self._end, flow.rtol)
        # At rest on the manifold there is no first phase, and no first step of it.
        at_rest = float(_distance(self._manifold, problem.params)) <= self._fit
        observe: Any = Together.of(seen, [1.0] * len(runs))
        self._early_system, self._early = flow.prepare(
            problem if at_rest else fitting,
            grid,
            observe,
            self._method,
            united(asked, [0.0]) if asked else None,
        )
        self._early_system = _without_horizon(self._early_system)
        self._measure = StepError.of(problem, flow.rtol, "both")
        self._observe: Any = Together.of(seen, [run.decay for run in runs])
        self._late: _stepping.SolveState | None = None
        self._blank: _stepping.SolveState | None = None
        if at_rest:
            self._begin_late(0.0)

    @property
    def _fit(self) -> float:
        return _FITTED * self._flow.rtol

    def _fits(self, run: Run) -> bool:
        """Whether the data are fitted before decay acts in this run, and before it ends."""
        return self._fit_time <= run.end

    def _late_requests(self) -> tuple[Float[np.ndarray, " t"], Float[np.ndarray, " k"]]:
        """The times of the second phase to record, and at which to keep parameters.

        Their numbers do not depend on the time of the fit. Infinite times are not served.
        """
        fitted = [run for run in self._runs if self._fits(run)]
        times = united([run.slow[run.times >= self._fit_time] for run in fitted], [])
        asked = [run.asked for run in self._runs if run.asked is not None]
        found = [run.asked * run.decay for run in fitted if run.asked is not None]
        ends = [run.slow[-1] for run in fitted]
        return (
            filled(times, sum(len(run.times) for run in self._runs)),
            filled(united(found, ends), sum(map(len, asked)) + len(self._runs)),
        )

    def _begin_late(self, fit_time: float) -> None:
        """Begins the second phase at the end of the first, if that is on the manifold."""
        params, distance = _project(self._manifold, self._early.y)
        self._fit_time = fit_time
        on_manifold = float(distance) <= _ON_MANIFOLD * self._flow.rtol
        if not on_manifold or not any(map(self._fits, self._runs)):
            self._fit_time, self.goes_on = np.inf, False
            return
        self._late = self._started(params)

    def _started(self, params: Any) -> "_stepping.SolveState":
        """The second phase at its start."""
        requests, asked = map(jnp.asarray, self._late_requests())
        early, zero = self._early_system, jnp.zeros(())
        self._late_system = _stepping.System(
            terms=self._manifold,
            solver=ProjectedTsit5(jnp.asarray(_ON_MANIFOLD * self._flow.rtol)),
            requests=requests,
            horizon=jnp.asarray(jnp.inf),
            clock=LinearClock(),
            observe=self._observe,
            measure=self._measure,
            stop=Stop(zero, jnp.ones(()), 1, None),
            resolution=early.resolution,
            stationary=zero,
            decay=zero,
            max_steps=early.max_steps,
            max_gradients=jnp.asarray(2**62),
            moving=early.moving,
            max_extra=early.max_extra,
        )
        ends = [run.slow[-1] for run in self._runs if self._fits(run)]
        self._late_end = max(ends, default=0.0)
        params = jax.tree.map(jnp.asarray, params)
        return _stepping.start(self._late_system, params, jnp.asarray(_FIRST_STEP), asked)

    def kept(self) -> _Kept:
        """The content of a checkpoint."""
        if self._late is None and self._blank is None:
            self._blank = self._started(self._early.y)
        late = self._blank if self._late is None else self._late
        assert late is not None
        return _Kept(jnp.asarray(self._fit_time), self._early, late)

    def take_up(self, kept: _Kept) -> None:
        """Continues from the content of a checkpoint."""
        self._early, self._fit_time = kept.early, float(kept.fit_time)
        if np.isfinite(self._fit_time):
            self._started(kept.late.y)
            self._late = kept.late
            self._settle()

    def _settle(self) -> None:
        assert self._late is not None
        running = int(self._late.status) == RUNNING
        self.goes_on = running and float(self._late.t) < self._late_end

    @property
    def time(self) -> float:
        """The time that is reached, of the first run."""
        if self._late is not None:
            return max(self._fit_time, float(self._late.t) / self._runs[0].decay)
        return float(self._early.t)

    @property
    def fraction(self) -> float:
        """The part of the requested records that is made."""
        num = int(self._early.num_saved)
        num += 0 if self._late is None else int(self._late.num_saved)
        return min(1.0, num / sum(len(run.times) for run in self._runs))

    @property
    def num_steps(self) -> int:
        """The number of accepted steps of both phases."""
        late = 0 if self._late is None else int(self._late.num_accepted)
        return int(self._early.num_accepted) + late

    def advance(self) -> None:
        """Solves a segment of steps."""
        if self._late is not None:
            reached = Reached(jnp.asarray(self._late_end))
            self._late = advance((self._late_system, reached), self._late)
            self._settle()
            return
        fitted = Fitted(self._manifold, jnp.asarray(self._fit))
        self._early = advance((self._early_system, fitted), self._early)
        if bool(is_fitted(fitted, self._early)):
            self._begin_late(float(self._early.t))
        elif int(self._early.status) != RUNNING or float(self._early.t) >= self._end:
            self.goes_on = False

    def so_far(self) -> Trajectory:
        """The trajectory of the first run of a solve that goes on."""
        return dataclasses.replace(self.trajectories(running=True)[0], final=None)

    def trajectories(self, *, running: bool = False) -> list[Trajectory]:
        """The trajectory of every run of an ended solve, or of one that goes on."""
        early = Records.of(self._early)
        late = None if self._late is None else Records.of(self._late)
        return [self._trajectory(i, early, late, running) for i in range(len(self._runs))]

    def _trajectory(
        self, place: int, early: Records, late: Records | None, running: bool
    ) -> Trajectory:
        run = self._runs[place]
        fits = self._fits(run)
        # If the data are not fitted: the records of the first phase that a run with decay shares.
        last = _UNDECAYED / run.decay
        rows = early.rows_of(run.times, np.asarray(self._early_system.requests))
        rows &= early.times < self._fit_time if fits else (early.times <= last)
        if not fits:
            rows[0] = True
        times, values = early.times[rows], early.values_at(rows, place)
        flow, method = self._flow, self._method
        given: Running | None = "running" if int(self._early.status) == RUNNING else None
        effort = flow.finish(method, self._early, given, observed=self._observed).effort
        ending: Ending | Running = "running" if running else self._early_ending(run)
        final = None
        if fits and late is not None:
            assert self._late is not None
            requested = np.asarray(self._late_system.requests)
            rows = np.flatnonzero(late.rows_of(run.slow, requested))
            found = run.in_flow_time(late.times[rows])
            # Some records may differ from a requested time only by rounding.
            after = (found >= self._fit_time) & np.append(np.diff(found) > 0, True)
            times = np.concatenate([times, found[after]])
            later = late.values_at(rows[after], place)
            values = jax.tree.map(lambda a, b: np.concatenate([a, b]), values, later)
            effort = both_efforts(effort, self._late, self._fit_time, len(self._runs))
            ending = "running" if running else self._late_ending(run)
            final = None if running else self._final(run)
        return Trajectory(
            times=times,
            states=None if self._observed else values["params"],
            params_at=recorded_params,
            ending=ending,
            effort=effort,
            observed=values if self._observed else None,
            # A first phase goes on without decay beyond the last time that has a record.
            final=final,
            snapshots=self._snapshots(run),
        )

    def _early_ending(self, run: Run) -> Ending:
        """The ending of a run whose data are not fitted."""
        solve = self._early
        if int(solve.status) == RUNNING or float(solve.t) >= run.end:
            return "not_interpolated"
        ending = ENDINGS[int(solve.status)]
        return self._method.spent(solve, switched=False) if ending == "max_steps" else ending

    def _late_ending(self, run: Run) -> Ending:
        assert self._late is not None
        if float(self._late.t) >= run.slow[-1]:
            return "completed"
        ending = ENDINGS[int(self._late.status)]
        # The field is smooth where the kernel keeps its rank, so only leaving the manifold, or a
        # kernel without inverse, makes steps fail at any length.
        return "off_manifold" if ending in ("step_underflow", "diverged") else ending

    def _final(self, run: Run) -> Any:
        """The parameters at the end of a run: on the manifold, as after a step."""
        late = self._late
        assert late is not None
        assert late.snapshots is not None
        if float(late.t) < run.slow[-1]:
            return late.y
        place = np.searchsorted(np.asarray(late.snapshots.requests), run.slow[-1])
        params = jax.tree.map(lambda a: jnp.asarray(a)[place], late.snapshots.values)
        return _project(self._manifold, params)[0]

    def _snapshots(self, run: Run) -> Snapshots | None:
        """The parameters that the run keeps, as far as the solve came."""
        early, asked = self._early.snapshots, run.asked
        if early is None or asked is None:
            return None
        fits = self._fits(run)
        last = np.nextafter(self._fit_time, 0) if fits else _UNDECAYED / run.decay
        first = asked[asked <= min(last, float(self._early.t))]
        found = _at(early, first)
        if not fits or self._late is None or self._late.snapshots is None:
            return Snapshots(first, found)
        second = asked[len(first) :]
        second = second[second * run.decay <= float(self._late.t)]
        later = _at(self._late.snapshots, second * run.decay)
        found = jax.tree.map(lambda a, b: np.concatenate([a, b]), found, later)
        return Snapshots(np.concatenate([first, second]), found)


def _at(snapshots: Any, times: Float[np.ndarray, " k"]) -> Any:
    places = np.searchsorted(np.asarray(snapshots.requests), times)
    return jax.tree.map(lambda a: np.asarray(a)[places], snapshots.values)


def _without_horizon(system: "_stepping.System") -> "_stepping.System":
    return eqx.tree_at(lambda s: s.horizon, system, jnp.asarray(jnp.inf))


def without_decay(problem: Problem) -> Problem:
    """The same problem without weight decay."""
    return dataclasses.replace(problem, weight_decay=jnp.zeros(()))


@eqx.filter_jit
def _distance(manifold: InterpolationManifold, params: Any) -> Array:
    return manifold.distance(params)


@eqx.filter_jit
def _project(manifold: InterpolationManifold, params: Any) -> tuple[Any, Array]:
    return manifold.project(params)

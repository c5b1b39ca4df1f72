"""The two phases of the limit of small decay: the fit, and the flow on the manifold."""

import dataclasses
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from ..._integrate import stepping as _stepping
from ..._integrate.clock import LinearClock
from ..._integrate.kept import kept
from ..._integrate.status import ENDINGS, RUNNING, Ending, Running
from ..._integrate.stop import Stop
from ...solvers.projected_tsit5 import ProjectedTsit5
from .._base import Observe, Problem, Snapshots, Trajectory, recorded_params
from .._method import choose
from .._method_switch import MethodSwitch
from .._step_error import StepError
from ..flow import Flow
from .effort import both_efforts
from .manifold import InterpolationManifold

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
    """The content of a checkpoint: both phases, and whether the second has begun."""

    fitted: Bool[Array, ""]
    early: Any
    late: "_stepping.SolveState"


class _Seen(eqx.Module):
    """What is recorded, at times `t = s / decay`."""

    observe: Callable[[Any, Any], Any]
    decay: Float[Array, ""]

    def __call__(self, s: Array, params: Any) -> Any:
        return self.observe(s / self.decay, params)


class _WithDistance(eqx.Module):
    """What is recorded in the first phase: also the distance from the manifold."""

    observe: Callable[[Any, Any], Any]
    manifold: InterpolationManifold

    def __call__(self, t: Array, params: Any) -> Any:
        return {**self.observe(t, params), _DISTANCE: self.manifold.distance(params)}


_DISTANCE = "distance from the manifold"


def _params_only(t: Any, params: Any) -> dict[str, Any]:
    """The record of a solve that keeps the parameters."""
    return {"params": recorded_params(t, params)}


class Phases:
    """The two phases of a solve, and the one that goes on."""

    def __init__(
        self,
        flow: Flow,
        problem: Problem,
        times: Float[np.ndarray, " t"],
        observe: Observe | None,
        snapshots: Float[np.ndarray, " k"] | None,
    ):
        self._times, self._asked, self._observed = times, snapshots, observe is not None
        self._flow, self._rtol, self._decay = flow, flow.rtol, float(problem.weight_decay)
        self._requests = times * self._decay
        for place in np.flatnonzero(np.diff(self._requests) <= 0):  # equal only by rounding
            self._requests[place + 1] = np.nextafter(self._requests[place], np.inf)
        see: Any = observe if observe is not None else _params_only
        self._manifold = InterpolationManifold.of(problem)
        fitting = without_decay(problem)
        begin = float(_distance(self._manifold, problem.params))
        self._fitted, self.goes_on, self._failed = begin <= self._fit, True, False
        # Beyond 1 / lambda, decay has acted on parameters that do not fit the data yet.
        end = min(float(times[-1]), 1 / self._decay)
        grid = np.union1d(times[times <= end], [end])
        early_asked = None if snapshots is None else snapshots[snapshots <= end]
        self._method = choose("auto", "linear", fitting, end, flow.rtol)
        seen: Any = _WithDistance(see, self._manifold)
        # At rest on the manifold there is no first phase, and no first step of it.
        start = problem if self._fitted else fitting
        self._early = MethodSwitch(
            self._method, *self._flow.prepare(start, grid, seen, self._method, early_asked)
        )
        self._system = self._late_system(problem, see)
        self._late = self._started(problem.params, 0)
        self._num_early = 0
        self._fit_time = 0.0
        if self._fitted:
            self._begin_late()

    @property
    def _fit(self) -> float:
        return _FITTED * self._rtol

    def _late_system(self, problem: Problem, see: Any) -> "_stepping.System":
        early = self._early.system
        requests = jnp.asarray(self._requests)
        zero = jnp.zeros(())
        return _stepping.System(
            terms=self._manifold,
            solver=ProjectedTsit5(jnp.asarray(_ON_MANIFOLD * self._rtol)),
            requests=requests,
            horizon=requests[-1],
            clock=LinearClock(),
            observe=_Seen(see, jnp.asarray(self._decay)),
            measure=StepError.of(problem, self._rtol, "both"),
            stop=Stop(zero, jnp.ones(()), 1, None),
            resolution=early.resolution,
            stationary=zero,
            decay=zero,
            max_steps=early.max_steps,
            max_gradients=jnp.asarray(2**62),
            moving=early.moving,
            max_extra=early.max_extra,
        )

    def _started(self, params: Any, num_before: int) -> "_stepping.SolveState":
        """The second phase at its start, without the first `num_before` of the records."""
        params = jax.tree.map(jnp.asarray, params)
        asked = None if self._asked is None else jnp.asarray(self._asked * self._decay)
        late = _stepping.start(self._system, params, jnp.asarray(_FIRST_STEP), asked)
        if num_before == 0:
            return late
        counts = (jnp.zeros_like(late.num_saved), jnp.full_like(late.num_requests, num_before))
        late = eqx.tree_at(lambda m: (m.num_saved, m.num_requests), late, counts)
        if late.snapshots is not None:
            assert self._asked is not None
            num = jnp.full_like(late.snapshots.num, int(np.sum(self._asked < self._fit_time)))
            late = eqx.tree_at(lambda m: m.snapshots.num, late, num)
        return late

    def _begin_late(self) -> None:
        """Begins the second phase at the end of the first, if that is on the manifold."""
        self._locate_fit()
        params, distance = _project(self._manifold, self._early.solve.y)
        if not float(distance) <= _ON_MANIFOLD * self._rtol:
            self.goes_on = False
            self._failed = True
            return
        self._fitted = True
        self._late = self._started(params, self._num_before)

    def _locate_fit(self) -> None:
        """Finds the time at which the data are fitted: the first such record of the first phase."""
        solve = self._early.solve
        times, values = kept((solve.times, solve.values), solve.num_saved)
        fits = np.flatnonzero(values[_DISTANCE] <= self._fit)
        self._fit_time = float(times[fits[0]]) if len(fits) else float(solve.t)
        self._num_early = int(np.sum(times < self._fit_time))

    @property
    def _num_before(self) -> int:
        return int(np.sum(self._times < self._fit_time))

    def kept(self) -> _Kept:
        """The content of a checkpoint."""
        return _Kept(jnp.asarray(self._fitted), self._early.kept(), self._late)

    def take_up(self, kept: _Kept) -> None:
        """Continues from the content of a checkpoint."""
        self._early.take_up(kept.early)
        self._late, self._fitted = kept.late, bool(kept.fitted)
        if self._fitted:
            self._locate_fit()
            self.goes_on = int(self._late.status) == RUNNING

    @property
    def time(self) -> float:
        """The time that is reached."""
        if self._fitted:
            return max(self._fit_time, float(self._late.t) / self._decay)
        return float(self._early.solve.t)

    @property
    def num_steps(self) -> int:
        """The number of accepted steps of both phases."""
        return int(self._early.solve.num_accepted) + int(self._late.num_accepted)

    def advance(self) -> None:
        """Solves a segment of steps."""
        if self._fitted:
            self._late = _stepping.advance_one(self._system, self._late)
            self.goes_on = int(self._late.status) == RUNNING
            return
        early = self._early
        early.solve = _stepping.advance_one(early.system, early.solve)
        early.settle()
        if float(_distance(self._manifold, early.solve.y)) <= self._fit:
            self._begin_late()
        elif int(early.solve.status) != RUNNING:
            self.goes_on, self._failed = False, True

    def so_far(self) -> Trajectory:
        """The trajectory of a solve that goes on."""
        return dataclasses.replace(self.trajectory(running=True), final=None)

    def trajectory(self, *, running: bool = False) -> Trajectory:
        """The trajectory of an ended solve, or of one that goes on."""
        flow, solve = self._flow, self._early.solve
        given: Running | None = "running" if int(solve.status) == RUNNING else None
        early = flow.finish(
            self._method, solve, given, self._early.switched, observed=self._observed
        )
        times, values = kept((solve.times, solve.values), solve.num_saved)
        del values[_DISTANCE]
        num_early = self._num_early if self._fitted else self._num_undecayed(times)
        times, values = times[:num_early], jax.tree.map(lambda a: a[:num_early], values)
        ending: Ending | Running = "running"
        if self._fitted:
            late = self._late
            s, later = kept((late.times, late.values), late.num_saved)
            # Records that `densify` has added before the data are fitted belong to the first phase.
            # Some may differ from a requested time only by rounding.
            found = self._in_flow_time(s)
            after = (found >= self._fit_time) & np.append(np.diff(found) > 0, True)
            times = np.concatenate([times, found[after]])
            values = jax.tree.map(lambda a, b: np.concatenate([a, b[after]]), values, later)
            ending = "running" if running else self._late_ending()
        elif self._failed:
            spent = early.ending not in ("running", "completed")
            ending = early.ending if spent else "not_interpolated"
        return Trajectory(
            times=times,
            states=None if self._observed else values["params"],
            params_at=recorded_params,
            ending=ending,
            effort=both_efforts(early.effort, self._late, self._fit_time)
            if self._fitted
            else early.effort,
            observed=values if self._observed else None,
            # A first phase goes on without decay beyond the last time that has a record.
            final=self._late.y if self._fitted else None,
            snapshots=self._snapshots(),
        )

    def _num_undecayed(self, times: Float[np.ndarray, " t"]) -> int:
        """The number of records of a first phase that a run with decay would share."""
        return max(1, int(np.sum(times * self._decay <= _UNDECAYED)))

    def _in_flow_time(self, s: Float[np.ndarray, " t"]) -> Float[np.ndarray, " t"]:
        """Times of the second phase as times of the flow; requested ones without rounding."""
        requests = self._requests
        places = np.minimum(np.searchsorted(requests, s), len(requests) - 1)
        return np.where(requests[places] == s, self._times[places], s / self._decay)

    def _late_ending(self) -> Ending:
        ending = ENDINGS[int(self._late.status)]
        # The field is smooth where the kernel keeps its rank, so only leaving the manifold, or a
        # kernel without inverse, makes steps fail at any length.
        return "off_manifold" if ending in ("step_underflow", "diverged") else ending

    def _snapshots(self) -> Snapshots | None:
        early, late = self._early.solve.snapshots, self._late.snapshots
        if early is None or late is None:
            return None
        times, params = early.reached(1.0)
        num = int(np.sum(times < self._fit_time)) if self._fitted else self._num_undecayed(times)
        times, params = times[:num], jax.tree.map(lambda a: a[:num], params)
        if self._fitted:
            s, later = late.reached(1.0)
            times = np.concatenate([times, self._asked[num : len(s)]])  # type: ignore[index]
            params = jax.tree.map(lambda a, b: np.concatenate([a, b[num:]]), params, later)
        return Snapshots(times, params)


def without_decay(problem: Problem) -> Problem:
    """The same problem without weight decay."""
    return dataclasses.replace(problem, weight_decay=jnp.zeros(()))


@eqx.filter_jit
def _distance(manifold: InterpolationManifold, params: Any) -> Array:
    return manifold.distance(params)


@eqx.filter_jit
def _project(manifold: InterpolationManifold, params: Any) -> tuple[Any, Array]:
    return manifold.project(params)

"""Gradient flow of any model, with error control."""

import dataclasses
import functools
import math
import time
from collections.abc import Sequence
from typing import Annotated, Any, Literal

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pydantic
from annotated_types import Ge, Gt, Lt
from jaxtyping import Float

from .._core.description import Description
from .._core.errors import InputError
from .._core.precision import float_type, in_double
from .._integrate import stepping as _stepping
from .._integrate.checkpoint import Checkpoint
from .._integrate.clock import LinearClock, LogClock
from .._integrate.kept import MAX_EXTRA, kept
from .._integrate.lanes import Lanes, advance_all, of_one_length
from .._integrate.log_state import LogState, params_of
from .._integrate.status import ENDINGS, RUNNING, Ending, Running
from .._integrate.stop import Stop
from ..models import AbstractModel
from ._base import (
    AbstractDynamics,
    Observe,
    Problem,
    Progress,
    Report,
    Snapshots,
    Trajectory,
    recorded_params,
    reporting,
)
from ._method import Method, choose, choose_together, speed
from ._method_switch import MethodSwitch, Switched, effort_of
from ._rate import first_times, loss_floor
from ._recipes import check_derivatives, check_keeps_types, check_method, with_tolerances
from ._step_error import StepError
from .gradient_flow import GradientFlow, LogTimeFlow

LEAST_RTOL = 1e-4
"""The smallest tolerance of a step at which float32 can represent parameters and outputs."""


class StopWhen(Description):
    """A condition on a recorded number that ends a run before its horizon.

    The run ends when `probe` has been at least `level` (`rises`) or at most `level` (not `rises`)
    for `sustained` records in a row.
    """

    probe: str = "test_accuracy"
    level: float = 0.99
    rises: bool = True
    sustained: Annotated[int, Ge(1)] = 3


class Flow(AbstractDynamics):
    r"""Gradient flow of any model, with steps chosen by error control.

    Errors are measured in global norms. The error of the parameters is relative to
    $\|\theta\|_2$. The error of the outputs is a root mean square over the training and the
    watched inputs, relative to one plus the root mean square of $f$ (for regression, to the sum
    of those of the labels and of $f$). For the training inputs by themselves it may be three
    times as large. For classification, at most 256 training inputs are used.
    If $\|\theta\|$ is large, an error of the parameters that matters for the outputs can be far
    smaller than $\|\theta\|$. Elementwise norms would need many steps at every kink of a ReLU.

    - **Takes** `method`. With `auto` the method is chosen by loss, size and measured stiffness (for
        runs that share a solve, that of the stiffest). It changes if the flow becomes stiff during
        the solve. The reason is recorded. `rosenbrock` is
        [`DualROS34PW2`][lazyrich.solvers.DualROS34PW2] for squared loss, otherwise
        [`ROS34PW2`][lazyrich.solvers.ROS34PW2] with the Gauss--Newton matrix.
        [`ROCK2`][lazyrich.solvers.ROCK2] and [`RKC2`][lazyrich.solvers.RKC2] are stabilised
        explicit methods; [`DampedRKC2`][lazyrich.solvers.DampedRKC2] is one for nets with
        kinks. `tsit5` is a standard explicit method. `method` can also be a diffrax solver that
        estimates its error and takes one term, such as `diffrax.Kvaerno5()`. Files cannot
        contain such a solver.
    - `rtol`, the allowed error of a step; `control`, where it is measured.
    - `closure`, whether to solve for the statistics in which the flow closes instead of the
        parameters. This is possible for a [`CommitteeMachine`][lazyrich.models.CommitteeMachine]
        with frozen readouts. The flow then has $d + d^2$ variables for any width. It is exact.
        Probes of single parameters, such as `drift`, are not defined.
    - `clock`: `linear`, or `log`, which follows $-\nabla \log \mathcal L$ and requires zero decay
        and a classification loss. With `log`, recorded times and the `t1` of the experiment are
        $\log_{10}(1 + t)$.
    - `densify`: if test accuracy, or test loss over its first value, changes by more than this
        between two records, additional records are made. Zero for no additional records.
    - `stop`, a condition that ends the run; `stationary`, the value of $\|\dot\theta\|$ over
        $\lambda\|\theta\|$ (without decay, over $\|\theta\|/t$) below which the run ends; zero
        for never.
    - `max_steps`, the number of attempted steps; `max_gradients`; `max_seconds`, checked after
        every segment of 16 steps.
    - **Raises** [`InputError`][lazyrich.InputError] if the problem does not admit the method or
        the clock, or if the method needs more memory than available.
    """

    method: str | diffrax.AbstractSolver[Any] = "auto"
    rtol: Annotated[float, Gt(0), Lt(0.1)] = 1e-3
    control: Literal["both", "parameters", "outputs"] = "both"
    closure: bool = False
    clock: Literal["linear", "log"] = "linear"
    densify: Annotated[float, Ge(0)] = 0.05
    stop: StopWhen | None = None
    stationary: Annotated[float, Ge(0)] = 0.0
    max_steps: Annotated[int, Ge(1)] = 100_000
    max_gradients: Annotated[int, Ge(1)] = 10**9
    max_seconds: Annotated[float, Gt(0)] = 1e9

    @pydantic.field_validator("method", mode="before")
    @classmethod
    def _known_method(cls, value: Any) -> Any:
        return check_method(value)

    @property
    def follows_closure(self) -> bool:
        return self.closure

    @property
    def in_log_time(self) -> bool:
        return self.clock == "log"

    @property
    def output_error(self) -> float:
        return self.rtol

    def check_derivatives(self, model: AbstractModel) -> None:
        check_derivatives(self.method, model)

    def needs_double(self, weight_decay: float) -> str:
        del weight_decay
        if self.clock == "log":
            return "with clock = log follows losses below the rounding of a margin: use linear"
        if self.closure:
            return "with closure solves for moments of the parameters: set it to false"
        if self.rtol < LEAST_RTOL:
            given = f"dynamics.rtol = {self.rtol:g}"
            return f"needs more digits for {given}: for float32 set {LEAST_RTOL:g} or more"
        return ""

    def as_flow(self) -> "Flow":
        return self

    @property
    def forgets(self) -> bool:
        # Log time and stationarity depend on the time of the start; a stop counts records.
        return self.clock == "linear" and self.stop is None and self.stationary == 0

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
        end = float(times[-1])
        method = choose(self.method, self.clock, problem, end, self.rtol)
        method = self._resolving(method, problem)
        switch = MethodSwitch(method, *self.prepare(problem, times, observe, method, snapshots))
        if checkpoint is not None and (saved := checkpoint.load(switch.kept())) is not None:
            switch.take_up(saved)
        observed = observe is not None
        so_far = functools.partial(self._so_far, method, switch, observed=observed)
        begun = time.monotonic()
        ending: Ending | None = None
        while int(switch.solve.status) == RUNNING:
            switch.solve = _stepping.advance_one(switch.system, switch.solve)
            num_steps = int(switch.solve.num_accepted)
            progress(_shown(switch.system, switch.solve), num_steps, so_far)
            switch.settle()
            if time.monotonic() - begun > self.max_seconds:
                ending = "max_seconds"
                break
            if checkpoint is not None:
                checkpoint.offer(switch.kept())
        return self.finish(method, switch.solve, ending, switch.switched, observed=observed)

    @in_double
    def first_times(self, problems: Sequence[Problem]) -> list[float]:
        times = first_times(problems)
        return [math.log10(1 + time) for time in times] if self.clock == "log" else times

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

        `max_seconds` has no effect on several problems.

        - **Raises** [`InputError`][lazyrich.InputError] for problems of different shapes.
        """
        if len(problems) == 1:  # only then checkpoints and `max_seconds` are possible
            return super().solve(problems, times, report, observers, checkpoint, snapshots)
        observes = [None] * len(problems) if observers is None else observers
        grids = of_one_length(times)
        asked = [None] * len(problems) if snapshots is None else of_one_length(snapshots)
        ends = [float(grid[-1]) for grid in times]
        method = choose_together(self.method, self.clock, list(problems), ends, self.rtol)
        method = self._resolving(method, problems[0])
        lanes = [
            self.prepare(problem, grid, observe, method, its)
            for problem, grid, observe, its in zip(problems, grids, observes, asked, strict=True)
        ]
        switches = [MethodSwitch(method, *lane) for lane in lanes]
        going = switches
        while going:
            stacked = jax.tree.map(
                lambda *leaves: np.stack(leaves), *(switch.solve for switch in going)
            )
            report_ended = reporting(report, len(switches), len(switches) - len(going))
            systems = Lanes.of([switch.system for switch in going])
            ended = advance_all(systems, stacked, report_ended)
            for place, switch in enumerate(going):
                switch.solve = jax.tree.map(lambda a, i=place: a[i], ended)
                switch.settle()
            going = [switch for switch in going if int(switch.solve.status) == RUNNING]
        observed = observers is not None
        return [
            self.finish(method, switch.solve, None, switch.switched, observed=observed)
            for switch in switches
        ]

    def _resolving(self, method: Method, problem: Problem) -> Method:
        """The method, for a problem in float32 with as many stages as its rounding allows."""
        dtype = float_type(problem.params)
        if dtype == jnp.float64:
            return method
        return method.resolving(self.rtol, float(jnp.finfo(dtype).eps))

    def prepare(
        self,
        problem: Problem,
        times: Float[np.ndarray, " t"],
        observe: Observe | None,
        method: Method,
        snapshots: Float[np.ndarray, " k"] | None = None,
    ) -> tuple["_stepping.System", "_stepping.SolveState"]:
        """The system and its state at time 0. Infinite `times` are not served."""
        flow = GradientFlow.of(problem)
        log = self.clock == "log"
        seen = observe if observe is not None else recorded_params
        names = {} if observe is None else jax.eval_shape(observe, jnp.zeros(()), problem.params)
        watched = ("test_accuracy", "test_loss") if self.densify > 0 else ()
        moving = next((name for name in watched if name in names), None)
        if observe is not None and self.stop is not None and self.stop.probe not in names:
            accepted = f"should be among the recorded {', '.join(names)}"
            raise InputError("dynamics.stop.probe", self.stop.probe, accepted)
        stop = self.stop or StopWhen()
        unit = math.log(10) if log else 1.0  # of the clock
        requests = jnp.asarray(times * unit)
        system = _stepping.System(
            terms=LogTimeFlow(flow) if log else flow,
            solver=with_tolerances(method.solver, self.rtol, problem.params),
            requests=requests,
            horizon=requests[np.isfinite(times).sum() - 1],
            clock=LogClock() if log else LinearClock(),
            observe=seen,
            measure=StepError.of(problem, self.rtol, self.control),
            stop=Stop(
                jnp.asarray(stop.level),
                jnp.asarray(1.0 if stop.rises else -1.0),
                stop.sustained,
                None if self.stop is None else stop.probe,
            ),
            resolution=jnp.asarray(self.densify),
            stationary=jnp.asarray(self.stationary),
            decay=jnp.asarray(problem.weight_decay, jnp.float64),
            max_steps=jnp.asarray(self.max_steps),
            max_gradients=jnp.asarray(self.max_gradients),
            moving=moving,
            max_extra=0 if moving is None else MAX_EXTRA,
        )
        params = jax.tree.map(jnp.asarray, problem.params)
        if not isinstance(self.method, str) and float_type(params) != jnp.float64:
            check_keeps_types(system.solver, flow, params)
        first = 1e-2 * math.sqrt(self.rtol) * speed(flow, params, problem, log)
        state = LogState(params, jnp.zeros(())) if log else params
        kept_at = None if snapshots is None else jnp.asarray(snapshots * unit)
        solve = _stepping.start(system, state, jnp.asarray(first), kept_at)
        if moving == "test_loss":
            resolution = self.densify * solve.metric
            system = eqx.tree_at(lambda system: system.resolution, system, resolution)
        return system, solve

    def _so_far(self, method: Method, switch: MethodSwitch, *, observed: bool) -> Trajectory:
        """The trajectory of a solve that goes on."""
        solve = switch.solve
        records = kept((solve.times, solve.values), solve.num_saved)
        solve = eqx.tree_at(lambda s: (s.times, s.values), solve, records)
        found = self.finish(method, solve, "running", switch.switched, observed=observed)
        return dataclasses.replace(found, final=None)

    def finish(
        self,
        method: Method,
        solve: "_stepping.SolveState",
        ending: Ending | Running | None,
        switched: Switched | None = None,
        *,
        observed: bool,
    ) -> Trajectory:
        """The trajectory of an ended solve."""
        num_saved = int(solve.num_saved)
        times = np.asarray(solve.times)[:num_saved]
        values = jax.tree.map(lambda a: a[:num_saved], solve.values)
        if ending is None:
            ending = ENDINGS[int(solve.status)]
        if ending == "max_steps":
            ending = method.spent(solve, switched=switched is not None)
        unit = math.log(10) if self.clock == "log" else 1.0
        return Trajectory(
            times=times / unit,
            states=None if observed else values,
            params_at=recorded_params,
            ending=ending,
            effort=effort_of(method, solve, switched),
            observed=values if observed else None,
            final=params_of(solve.y),
            snapshots=None
            if solve.snapshots is None
            else Snapshots(*solve.snapshots.reached(unit)),
        )


def _shown(system: "_stepping.System", solve: "_stepping.SolveState") -> float:
    """The time that a run has reached, on the clock of its records."""
    return float(system.clock.read(solve.t, solve.y)) / (1 if system.clock.ends else math.log(10))

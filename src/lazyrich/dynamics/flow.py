"""Gradient flow of any model, with error control."""

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
from .._integrate import stepping as _stepping
from .._integrate.checkpoint import Checkpoint
from .._integrate.clock import LinearClock, LogClock
from .._integrate.lanes import Lanes, advance_all
from .._integrate.log_state import LogState
from .._integrate.status import ENDINGS, RUNNING, Ending
from ._base import (
    AbstractDynamics,
    Observe,
    Problem,
    Progress,
    Report,
    Trajectory,
    recorded_params,
    reporting,
)
from ._method import Method, choose, choose_together, speed
from ._method_switch import MethodSwitch, Switched, effort_of
from ._rate import first_times, loss_floor
from ._recipes import check_method, with_tolerances
from ._step_error import StepError
from .gradient_flow import GradientFlow, LogTimeFlow


class StopWhen(Description):
    """A condition on a recorded number that ends a run before its horizon.

    `probe` at `level` for `sustained` records in a row: at least it if `rises`, at most if not.
    """

    probe: str = "test_accuracy"
    level: float = 0.99
    rises: bool = True
    sustained: Annotated[int, Ge(1)] = 3


class Flow(AbstractDynamics):
    r"""Gradient flow of any model, each step as long as its error allows.

    Errors are measured in global norms: of the parameters, relative to $\|\theta\|_2$, and of
    the outputs on the training and the watched inputs, their root mean square relative to
    one plus that of $f$ (for regression, to that of the labels plus that of $f$); for
    classification, on at most 256 of the training inputs. An error that outputs feel can be
    far smaller than $\|\theta\|$, where that is large. Elementwise norms would spend steps
    on every kink of a ReLU.

    - **Takes** `method`: `auto` chooses by loss, size and measured stiffness (of runs that
        share a solve, the stiffest's), changes to another where the flow turns stiff on the
        way, and records why; `rosenbrock` is
        [`DualROS34PW2`][lazyrich.solvers.DualROS34PW2] for squared loss, else
        [`ROS34PW2`][lazyrich.solvers.ROS34PW2] with the Gauss--Newton matrix;
        [`ROCK2`][lazyrich.solvers.ROCK2] and [`RKC2`][lazyrich.solvers.RKC2] are stabilised
        explicit methods, [`DampedRKC2`][lazyrich.solvers.DampedRKC2] is one for nets with
        kinks, `tsit5` a plain one. Or any diffrax solver that estimates its error and steps one
        term, such as `diffrax.Kvaerno5()`; no file can hold one.
    - `rtol`, the error allowed in a step; `control`, where it is measured.
    - `closure`, whether to follow the statistics in which the flow closes in place of
        parameters: those of a [`CommitteeMachine`][lazyrich.models.CommitteeMachine] with frozen
        readouts, a flow in $d + d^2$ numbers that does not depend on its width. It is exact;
        probes of single parameters, such as `drift`, have no meaning there.
    - `clock`: `linear`, or `log`, which follows $-\nabla \log \mathcal L$ and needs zero decay
        and a classification loss; recorded times are then $\log_{10}(1 + t)$, as is the
        experiment's `t1`.
    - `densify`, the change of test accuracy, or of test loss over its first value, between
        two records beyond which more are made; zero turns it off.
    - `stop`, a condition to end at; `stationary`, the speed $\|\dot\theta\|$ over
        $\lambda\|\theta\|$ (without decay, over $\|\theta\|/t$) below which the run has ended;
        zero turns it off.
    - `max_steps`, attempted; `max_gradients`; `max_seconds`, looked at between segments of
        16 steps.
    - **Raises** [`InputError`][lazyrich.InputError] for a method or clock that the problem
        does not admit, and for one that needs more memory than there is.
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

    def as_flow(self) -> "Flow":
        return self

    @property
    def forgets(self) -> bool:
        # Log time and stationarity count from the beginning; a stop counts records.
        return self.clock == "linear" and self.stop is None and self.stationary == 0

    def follow(
        self,
        problem: Problem,
        times: Float[np.ndarray, " t"],
        progress: Progress,
        observe: Observe | None = None,
        checkpoint: Checkpoint | None = None,
    ) -> Trajectory:
        method = choose(self.method, self.clock, problem, float(times[-1]))
        switch = MethodSwitch(method, *self.prepare(problem, times, observe, method))
        if checkpoint is not None and (kept := checkpoint.load(switch.kept())) is not None:
            switch.take_up(kept)
        begun = time.monotonic()
        ending: Ending | None = None
        while int(switch.solve.status) == RUNNING:
            switch.solve = _stepping.advance_one(switch.system, switch.solve)
            progress(_shown(switch.system, switch.solve), int(switch.solve.num_accepted))
            switch.settle()
            if time.monotonic() - begun > self.max_seconds:
                ending = "max_seconds"
                break
            if checkpoint is not None:
                checkpoint.offer(switch.kept())
        observed = observe is not None
        return self.finish(method, switch.solve, ending, switch.switched, observed=observed)

    def first_times(self, problems: Sequence[Problem]) -> list[float]:
        times = first_times(problems)
        return [math.log10(1 + time) for time in times] if self.clock == "log" else times

    def loss_floor(self, problem: Problem) -> float:
        return loss_floor(problem, self.rtol)

    def solve(
        self,
        problems: Sequence[Problem],
        times: Sequence[Float[np.ndarray, " _"]],
        report: Report,
        observers: Sequence[Observe] | None = None,
        checkpoint: Checkpoint | None = None,
    ) -> list[Trajectory]:
        """Follows several problems of one shape in one compiled solve, each to its own end.

        `max_seconds` does not apply to several problems.

        - **Raises** [`InputError`][lazyrich.InputError] for problems of different shapes.
        """
        if len(problems) == 1:  # of which the state can be kept, and the time looked at
            return super().solve(problems, times, report, observers, checkpoint)
        observes = [None] * len(problems) if observers is None else observers
        ends = [float(grid[-1]) for grid in times]
        method = choose_together(self.method, self.clock, list(problems), ends)
        lanes = [
            self.prepare(problem, grid, observe, method)
            for problem, grid, observe in zip(problems, times, observes, strict=True)
        ]
        switches = [MethodSwitch(method, *lane) for lane in lanes]
        going = switches
        while going:
            stacked = jax.tree.map(
                lambda *leaves: np.stack(leaves), *(switch.solve for switch in going)
            )
            told = reporting(report, len(switches), len(switches) - len(going))
            ended = advance_all(Lanes.of([switch.system for switch in going]), stacked, told)
            for place, switch in enumerate(going):
                switch.solve = jax.tree.map(lambda a, i=place: a[i], ended)
                switch.settle()
            going = [switch for switch in going if int(switch.solve.status) == RUNNING]
        observed = observers is not None
        return [
            self.finish(method, switch.solve, None, switch.switched, observed=observed)
            for switch in switches
        ]

    def prepare(
        self,
        problem: Problem,
        times: Float[np.ndarray, " t"],
        observe: Observe | None,
        method: Method,
    ) -> tuple["_stepping.System", "_stepping.SolveState"]:
        """The system to step and its state at time 0."""
        flow = GradientFlow.of(problem)
        log = self.clock == "log"
        seen = observe if observe is not None else recorded_params
        moving = None
        if observe is not None and self.densify > 0:
            names = jax.eval_shape(observe, jnp.zeros(()), problem.params)
            moving = next((n for n in ("test_accuracy", "test_loss") if n in names), None)
            if self.stop is not None and self.stop.probe not in names:
                accepted = f"should be among the recorded {', '.join(names)}"
                raise InputError("dynamics.stop.probe", self.stop.probe, accepted)
        stop = self.stop or StopWhen()
        requests = jnp.asarray(times * math.log(10) if log else times)
        system = _stepping.System(
            terms=LogTimeFlow(flow) if log else flow,
            solver=with_tolerances(method.solver, self.rtol, problem.params),
            requests=requests,
            horizon=requests[-1],
            clock=LogClock() if log else LinearClock(),
            observe=seen,
            measure=StepError.of(problem, self.rtol, self.control),
            stop=_stepping.Stop(
                jnp.asarray(stop.level),
                jnp.asarray(1.0 if stop.rises else -1.0),
                stop.sustained,
                None if self.stop is None else stop.probe,
            ),
            resolution=jnp.asarray(self.densify),
            stationary=jnp.asarray(self.stationary),
            decay=flow.weight_decay,
            max_steps=jnp.asarray(self.max_steps),
            max_gradients=jnp.asarray(self.max_gradients),
            moving=moving,
            max_extra=0 if moving is None else 256,
        )
        params = jax.tree.map(jnp.asarray, problem.params)
        first = 1e-2 * math.sqrt(self.rtol) * speed(flow, params, problem, log)
        state = LogState(params, jnp.zeros(())) if log else params
        solve = _stepping.start(system, state, jnp.asarray(first))
        if moving == "test_loss":
            resolution = self.densify * solve.metric
            system = eqx.tree_at(lambda system: system.resolution, system, resolution)
        return system, solve

    def finish(
        self,
        method: Method,
        solve: "_stepping.SolveState",
        ending: Ending | None,
        switched: Switched | None = None,
        *,
        observed: bool,
    ) -> Trajectory:
        """The trajectory of a solve that has ended."""
        num_saved = int(solve.num_saved)
        times = np.asarray(solve.times)[:num_saved]
        values = jax.tree.map(lambda a: a[:num_saved], solve.values)
        if ending is None:
            ending = ENDINGS[int(solve.status)]
        if ending == "max_steps" and method.stability_bound(solve):
            ending = "too_stiff"
        return Trajectory(
            times=times / math.log(10) if self.clock == "log" else times,
            states=None if observed else values,
            params_at=recorded_params,
            ending=ending,
            effort=effort_of(method, solve, switched),
            observed=values if observed else None,
            final=_stepping.params_of(solve.y),
        )


def _shown(system: "_stepping.System", solve: "_stepping.SolveState") -> float:
    """The time a run has come to, on the clock of its records."""
    return float(system.clock.read(solve.t, solve.y)) / (1 if system.clock.ends else math.log(10))

"""Solves prepared problems. Every run uses this path."""

import time
from collections.abc import Callable, Sequence
from typing import Any

import equinox as eqx
import numpy as np
from jaxtyping import Float

from .._integrate.checkpoint import Checkpoint
from ..dynamics import Problem, SolveProgress
from ..experiments.experiment import Experiment
from .context import check_own_probes, observer_of, probed
from .kept_params import KeptParams
from .prepared import PreparedProblem
from .probes_after_solve import measure_after
from .probes_in_solve import check_probes
from .result import BatchResult
from .rounding import check_start, checked_ends, risen_ends
from .watching import MeasuredSoFar, Watch, Watcher

Listener = Callable[[str, float | None, str], None]
"""Called with the stage, the fraction of the stage that is done (if known), and a short text."""

Times = Float[np.ndarray, " t"]


def silently(stage: str, fraction: float | None, detail: str = "") -> None:
    """A listener that does nothing."""
    del stage, fraction, detail


class Stopwatch:
    """Measures the seconds of each stage, and calls a listener at the start of each stage."""

    def __init__(self, listener: Listener):
        self.seconds: dict[str, float] = {}
        self._listener, self._stage, self._since = listener, "", 0.0

    def start(self, stage: str) -> None:
        """Ends the current stage and starts another."""
        self.stop()
        self._stage, self._since = stage, time.perf_counter()
        self._listener(stage, None, "")

    def stop(self) -> None:
        """Ends the current stage."""
        if self._stage:
            self.seconds[self._stage] = time.perf_counter() - self._since
        self._stage = ""


def solve_batch(
    prepared: Sequence[PreparedProblem],
    listener: Listener = silently,
    checkpoint: Checkpoint | None = None,
    clock: Stopwatch | None = None,
    watcher: Watcher | None = None,
    keep: KeptParams = KeptParams(),
) -> BatchResult:
    """Solves prepared problems and measures their probes.

    - **Takes** problems with the same dynamics; `checkpoint` and `watcher`, only for a single
        problem; `clock`, a stopwatch with the seconds spent before. The watcher is called only
        during the solve. `keep`, the parameters to keep.
    - **Raises** [`InputError`][lazyrich.InputError] if the problems cannot share a solve.
    """
    clock = Stopwatch(listener) if clock is None else clock
    dynamics = prepared[0].experiment.dynamics
    clock.start("computing predictors")
    for each in prepared:
        assert each.data.predictors is not None
    times = _times(prepared)
    snapshots = keep.grids(prepared, times)
    rounded = [each for each in prepared if not each.precision.is_double]
    for each in rounded:
        check_start(each)
    clock.start("solving the flow")

    watch: Watch | None = None

    def report(now: SolveProgress) -> None:
        listener("solving the flow", now.fraction, _words(now, prepared))
        if watch is not None:
            watch.offer(now)

    # Dynamics of the user may not know of snapshots.
    asked: dict[str, Any] = {} if snapshots is None else {"snapshots": snapshots}
    first_of_data = {id(each.data): i for i, each in reversed([*enumerate(prepared)])}.values()
    if dynamics.keeps_states:
        for i in first_of_data:
            check_own_probes(prepared[i], len(times[i]))
        if watcher is not None:
            measure = MeasuredSoFar(prepared[0])
            watch = Watch(prepared[0], watcher, measure, clock.seconds)
        problems = [each.to_solve for each in prepared]
        trajectories = dynamics.solve(problems, times, report, None, checkpoint, **asked)
        clock.start("measuring")
        runs, values = measure_after(
            prepared, trajectories, lambda done: listener("measuring", done, "")
        )
    else:
        runs = [probed(each, each.data.test.y, each.data.test.x) for each in prepared]
        observers = [
            observer_of(each, each.data.test.x, run)
            for each, run in zip(prepared, runs, strict=True)
        ]
        problems = [_watched(each) for each in prepared]
        for i in first_of_data:
            check_probes(observers[i], problems[i].params, len(times[i]))
        if watcher is not None:
            watch = Watch(prepared[0], watcher, lambda t: (runs[0], t.observed), clock.seconds)
        with prepared[0].precision.context():
            trajectories = dynamics.solve(problems, times, report, observers, checkpoint, **asked)
        clock.start("measuring")
        if rounded:
            trajectories = checked_ends(prepared, trajectories)
        values = [
            {name: np.asarray(found) for name, found in solved.observed.items()}
            for solved in trajectories
        ]
        trajectories = risen_ends(prepared, trajectories, values)
    result = BatchResult.of(prepared, runs, trajectories, values)
    clock.stop()
    return result.with_seconds(clock.seconds)


def grids(experiments: Sequence[Experiment], problems: Sequence[Problem]) -> list[Times]:
    """The times to record for each experiment. All have the same dynamics and shapes."""
    asked = [e.times.first for e in experiments if e.times.first is not None]
    if len(asked) < len(experiments):  # `grid` prefers the `first` of an experiment, if it is set
        asked = list(experiments[0].dynamics.first_times(problems))
    return [e.times.grid(e.t1, first) for e, first in zip(experiments, asked, strict=True)]


def _times(prepared: Sequence[PreparedProblem]) -> list[Times]:
    """The times to record for each run, from the time at which its solve starts."""
    whole = grids([each.experiment for each in prepared], [each.problem for each in prepared])
    return [
        grid if each.begin == 0 else np.concatenate([[0.0], grid[grid > each.begin] - each.begin])
        for each, grid in zip(prepared, whole, strict=True)
    ]


def _watched(prepared: PreparedProblem) -> Problem:
    """The problem to solve, with test inputs on which outputs should be accurate."""
    return eqx.tree_at(
        lambda problem: problem.watched,
        prepared.to_solve,
        prepared.precision.cast(prepared.data.watched),
        is_leaf=lambda leaf: leaf is None,
    )


def _words(now: SolveProgress, prepared: Sequence[PreparedProblem]) -> str:
    if len(prepared) > 1 or now.time is None:
        return f"{now.num_ended} of {len(prepared)}, {now.num_steps} steps"
    return f"t = {prepared[0].begin + now.time:.3g}, {now.num_steps} steps"

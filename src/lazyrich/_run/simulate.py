"""From an experiment to its record."""

import contextlib
import hashlib
import json
import os
import time
from collections.abc import Callable, Iterator, Sequence
from importlib.metadata import version
from typing import Any

import equinox as eqx
import jax
import jax.flatten_util
import numpy as np
import xarray as xr
from jaxtyping import Array, Float
from threadpoolctl import threadpool_limits

from .._core.precision import as_double, in_double
from .._core.terminal import progress as shown_progress
from .._integrate.checkpoint import Checkpoint
from ..dynamics import Problem, Trajectory
from ..experiments.experiment import Experiment
from ..models import AbstractLinearModel, DiagonalLinear
from ..predictors import diagonal_kkt
from ..probes import BUILT_IN
from ..records.schema import VARIABLES
from .measure import (
    Observer,
    check_probes,
    measure_states,
    pass_over_test,
    reference_table,
    scales_of,
)
from .prepared import Ground, setting_of
from .results import KKT, Outcome, Stacked, machine

# Test inputs on which the error of a step is controlled, beside the training inputs.
_WATCHED = 256

Listener = Callable[[str, float | None, str], None]
"""Told the stage, the fraction of it done where that is known, and a word on where it stands."""


def silently(stage: str, fraction: float | None, detail: str = "") -> None:
    """A listener that does not listen."""
    del stage, fraction, detail


@in_double
def simulate(
    experiment: Experiment,
    *,
    params: Any = None,
    keep_params: bool = False,
    progress: bool = False,
    listener: Listener | None = None,
    checkpoint: str | os.PathLike[str] | None = None,
) -> xr.Dataset:
    r"""Runs an experiment and returns its record.

    - **Takes** `params`, initial parameters of your own in place of the model's; they are
        $\theta(0)$, not multiplied by `init_scale`. The record keeps
        their SHA-256 as `own_params`, beside the experiment's hash. `keep_params`, whether the
        record holds the parameters at the end, as `final_parameters`, which
        [`parameters`][lazyrich.parameters] reads and [`extend`][lazyrich.extend] goes on from.
        `progress`, whether to show on stderr how far the run is, and how long the rest will
        take; `listener`, a function that hears it in place. `checkpoint`, a file
        that keeps what the solve has reached, every ten seconds; if it is there, the run
        goes on from it, and ends in the same record as one that was never interrupted.
        It is left in place, to be removed once the record is safe.
    - **Returns** a dataset over `time` (gradient-flow time) with a variable for each probe
        that applies, and over `predictor` with what the kernel and the rich predictor
        achieve; every variable has `units` and `long_name`. Attributes hold the experiment
        as TOML, its hash, how the solve ended and what it cost. A solve that fails keeps
        what was recorded before.
    - **Raises** [`InputError`][lazyrich.InputError] for labels the loss has no meaning for,
        a model that does not fit the data, or a checkpoint of another run.
    """
    params = None if params is None else as_double(params, "params")
    # LAPACK's threads spin after each call and take cores from the compiled products around
    # it: the step of panel 1a takes 185 ms with them and 160 ms without, on two cores.
    with (
        threadpool_limits(limits=1, user_api="blas"),
        listening(listener, progress, experiment.name) as told,
    ):
        outcome = follow_alone(experiment, params, told, checkpoint)
    record = Stacked.of([outcome]).record(experiment, 0)
    return with_final(record, outcome) if keep_params else record


@contextlib.contextmanager
def listening(listener: Listener | None, progress: bool, title: str) -> Iterator[Listener]:
    """A listener of the user's, or one that shows progress, or one that does not listen."""
    if listener is not None or not progress:
        yield listener or silently
        return
    with shown_progress(title) as shown:
        yield shown


FINAL = "final_parameters"

# Parameters that a record keeps of where a run ended: 128 MB.
_MOST_KEPT = 2**24


def with_final(record: xr.Dataset, outcome: Outcome) -> xr.Dataset:
    """A record with the parameters at the end of its run, unless they are too many."""
    flat = np.asarray(jax.flatten_util.ravel_pytree(outcome.final)[0])
    if flat.size > _MOST_KEPT:
        return record
    return record.assign({FINAL: ("parameter", flat, VARIABLES[FINAL].labels)})


def simulate_on(
    ground: Ground, listener: Listener = silently, checkpoint: Any = None
) -> xr.Dataset:
    """The same of the experiment of a ground, in double precision, with its last parameters."""
    outcome = follow_alone(ground.experiment, None, listener, checkpoint, ground)
    return with_final(Stacked.of([outcome]).record(ground.experiment, 0), outcome)


def follow_alone(
    experiment: Experiment,
    params: Any,
    listener: Listener,
    checkpoint: Any,
    ground: Ground | None = None,
) -> Outcome:
    """What [`simulate`][lazyrich.simulate] makes a record of."""
    run = Run(experiment, params, listener, ground)
    run.clock.start("solving the flow")

    def progress(reached: float, num_steps: int) -> None:
        # Records are spread as the run's interest is; time itself is nearly all late phase.
        done = float(np.searchsorted(run.times, reached)) / len(run.times)
        listener("solving the flow", done, f"t = {reached:.3g}, {num_steps} steps")

    dynamics = experiment.dynamics
    kept = None if checkpoint is None else Checkpoint(checkpoint, _identity(experiment, params))
    if not dynamics.replays:
        observer = run.observer()
        trajectory = dynamics.follow(run.problem, run.times, progress, observer, kept)
        run.clock.start("measuring")
        return run.outcome(trajectory, trajectory.observed, trajectory.final)
    run.check()
    trajectory = dynamics.follow(run.problem, run.times, progress, checkpoint=kept)
    run.clock.start("measuring")
    return replayed(run, trajectory, listener)


def replayed(run: "Run", trajectory: Trajectory, listener: Listener) -> Outcome:
    """The outcome of a run whose records are measured after the solve."""
    experiment = run.experiment
    assert isinstance(experiment.model, AbstractLinearModel)  # only reductions of these replay
    weights, seen = pass_over_test(
        experiment.model,
        trajectory,
        run.predictors,
        run.split.test,
        lambda done: listener("measuring", done, ""),
    )
    run.meet_test(seen.y, seen.references)
    x_train = run.problem.train.x
    values = measure_states(run.setting, trajectory, weights, x_train, seen.along, run.probes)
    last = jax.tree.map(lambda a: a[-1], trajectory.states)
    return run.outcome(trajectory, values, trajectory.params_at(trajectory.times[-1], last))


def grids(
    experiments: Sequence[Experiment], problems: Sequence[Problem]
) -> list[Float[np.ndarray, " _"]]:
    """When to record each experiment; all of them have one dynamics and shape."""
    asked = [e.times.first for e in experiments if e.times.first is not None]
    if len(asked) < len(experiments):  # `grid` goes by what is asked for where there is some
        asked = list(experiments[0].dynamics.first_times(problems))
    return [e.times.grid(e.t1, first) for e, first in zip(experiments, asked, strict=True)]


class Run:
    """An experiment on its way to a record: data, problem, predictors and probes."""

    def __init__(
        self,
        experiment: Experiment,
        params: Any = None,
        listener: Listener = silently,
        ground: Ground | None = None,
        times: Float[np.ndarray, " t"] | None = None,
    ):
        self.experiment, self._params = experiment, params
        self.clock = Stopwatch(listener)
        if ground is None:
            self.clock.start("sampling data")
            self.ground = Ground(experiment, params)
            self.problem = self.ground.problem
            self.clock.start("computing predictors")
        else:
            self.ground, self.problem = ground, ground.problem_of(experiment)
        self.split, self.predictors = self.ground.split, self.ground.predictors
        self.times = grids([experiment], [self.problem])[0] if times is None else times
        self.clock.stop()

    def meet_test(self, y_test: Array, f_references: Array, x_test: Array | None = None) -> None:
        """Fixes what probes are told, once the test data have been drawn.

        Drawing them can take longer than the solve, so it is done once, wherever the outputs
        on them are taken.
        """
        teacher = self.ground.teacher(self.problem)
        found = setting_of(self.experiment, self.problem, self.predictors, y_test, x_test, teacher)
        self.setting, self.probes = found
        self._f_references = f_references

    def observer(self) -> Observer:
        """What a solver asks at every record; the problem's outputs on test data count, too."""
        test = self.ground.test
        self.meet_test(test.y, self.ground.f_references, test.x)
        self.problem = eqx.tree_at(
            lambda problem: problem.watched,
            self.problem,
            test.x[:_WATCHED],
            is_leaf=lambda leaf: leaf is None,
        )
        observer = Observer(self.setting, self.problem.train.x, test.x, self.probes)
        check_probes(observer, self.problem.params, len(self.times))
        return observer

    def check(self) -> None:
        """Tries probes on a block of test data, where these are drawn after the solve."""
        if all(probe in BUILT_IN for probe in self.experiment.probes):
            return
        block = next(iter(self.split.test))
        found = setting_of(self.experiment, self.problem, self.predictors, block.y, block.x)
        observer = Observer(found[0], self.problem.train.x, block.x, found[1])
        check_probes(observer, self.problem.params, len(self.times))

    def outcome(self, trajectory: Trajectory, values: dict[str, Any], final: Any) -> Outcome:
        """What has become of a run whose probes took `values` and that ended at `final`."""
        experiment, train = self.experiment, self.problem.train
        kkt: dict[str, float] = {}
        if self.setting.labels == "signs" and isinstance(experiment.model, DiagonalLinear):
            found = diagonal_kkt(final, train.x, train.y, experiment.model.depth)
            kkt = {name: getattr(found, name) for name in KKT}
        table = reference_table(self.predictors, self.setting, train.x, self._f_references)
        self.clock.stop()
        return Outcome(
            experiment=experiment,
            probes=self.probes,
            times=trajectory.times,
            values={probe.name: np.asarray(values[probe.name]) for probe in self.probes},
            roles=tuple(self.predictors),
            table=table,
            kkt=kkt,
            scales=scales_of(self.setting, self.problem.outputs, self.problem.params),
            ending=trajectory.ending,
            effort=trajectory.effort,
            seconds=self.clock.seconds,
            own_params=digest_of(self._params),
            loss_floor=experiment.dynamics.loss_floor(self.problem),
            final=final,
        )


def _identity(experiment: Experiment, params: Any) -> str:
    """What must be the same for a run to go on where another stopped, to the last bit."""
    versions = {
        name: version(name)
        for name in ("lazyrich", "jax", "jaxlib", "diffrax", "equinox", "optax", "numpy")
    }
    probes = [probe.name for probe in experiment.probe_modules]
    parts = [experiment.content_hash, digest_of(params), probes, versions, machine()]
    return json.dumps(parts)


def digest_of(params: Any) -> str:
    """SHA-256 of parameters passed in, which the experiment does not know; else empty."""
    digest = hashlib.sha256()
    for leaf in jax.tree.leaves(params):
        array = np.ascontiguousarray(leaf)
        digest.update(f"{array.dtype.str} {array.shape}".encode() + array.tobytes())
    return "" if params is None else digest.hexdigest()


class Stopwatch:
    """Seconds spent in each stage, told to a listener as they begin."""

    def __init__(self, listener: Listener):
        self.seconds: dict[str, float] = {}
        self._listener, self._stage, self._since = listener, "", 0.0

    def start(self, stage: str) -> None:
        self.stop()
        self._stage, self._since = stage, time.perf_counter()
        self._listener(stage, None, "")

    def stop(self) -> None:
        if self._stage:
            self.seconds[self._stage] = time.perf_counter() - self._since
        self._stage = ""

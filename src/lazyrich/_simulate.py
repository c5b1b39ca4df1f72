"""From an experiment to its record."""

import hashlib
import json
import os
import platform
import time
from collections.abc import Callable, Sequence
from importlib.metadata import version
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import xarray as xr
from jaxtyping import Array
from threadpoolctl import threadpool_limits

from ._dynamics import Checkpoint, Flow, Problem, Trajectory
from ._errors import InputError
from ._experiment import Experiment
from ._measure import (
    Observer,
    described,
    gathered,
    measure_states,
    outputs_of_references,
    pass_over_test,
    reference_table,
)
from ._models import AbstractLinearModel, DiagonalLinear, measured_homogeneity
from ._precision import in_double
from ._predictors import Predictor, diagonal_kkt
from ._probes import Labels, Setting
from ._references import references
from ._tasks import Arrays, Samples

# Test inputs on which the error of a step is controlled, beside the training inputs.
_WATCHED = 256

Listener = Callable[[str, float | None, str], None]
"""Told the stage, the fraction of it done where that is known, and a word on where it stands."""


def _silent(stage: str, fraction: float | None, detail: str = "") -> None:
    del stage, fraction, detail


@in_double
def simulate(
    experiment: Experiment,
    *,
    params: Any = None,
    listener: Listener = _silent,
    checkpoint: str | os.PathLike[str] | None = None,
) -> xr.Dataset:
    r"""Runs an experiment and returns its record.

    - **Takes** `params`, initial parameters of your own in place of the model's; they are
        $\theta(0)$, not multiplied by `init_scale`. The record keeps
        their SHA-256 as `own_params`, beside the experiment's hash. `checkpoint`, a file
        that keeps what the solve has reached, every ten seconds; if it is there, the run
        goes on from it, and ends in the same record as one that was never interrupted.
        It is left in place, to be removed once the record is safe. `ReducedFlow`, whose
        solves take seconds, keeps nothing there.
    - **Returns** a dataset over `time` (gradient-flow time) with a variable for each probe
        that applies, and over `predictor` with what the kernel and the rich predictor
        achieve; every variable has `units` and `long_name`. Attributes hold the experiment
        as TOML, its hash, how the solve ended and what it cost. A solve that fails keeps
        what was recorded before.
    - **Raises** [`InputError`][lazyrich.InputError] for labels the loss has no meaning for,
        a model that does not fit the data, or a checkpoint of another run.
    """
    # LAPACK's threads spin after each call and take cores from the compiled products around
    # it: the step of panel 1a takes 185 ms with them and 160 ms without, on two cores.
    with threadpool_limits(limits=1, user_api="blas"):
        return _simulate(experiment, params, listener, checkpoint)


def _simulate(
    experiment: Experiment, params: Any, listener: Listener, checkpoint: Any
) -> xr.Dataset:
    run = Run(experiment, params, listener)
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
        return run.record(trajectory, trajectory.observed, trajectory.final)
    trajectory = dynamics.follow(run.problem, run.times, progress, checkpoint=kept)
    run.clock.start("measuring")
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
    return run.record(trajectory, values, trajectory.params_at(trajectory.times[-1], last))


class Run:
    """An experiment on its way to a record: data, problem, predictors and probes."""

    def __init__(self, experiment: Experiment, params: Any = None, listener: Listener = _silent):
        self.experiment, self._params = experiment, params
        self.clock = _Stopwatch(listener)
        self.clock.start("sampling data")
        data_key, init_key = jr.split(jr.key(experiment.seed))
        self.split = experiment.task.sample(data_key)
        experiment.loss.check_labels(self.split.train.y, "task.y_train")
        if isinstance(experiment.task, Arrays):
            experiment.loss.check_labels(experiment.task.y_test, "task.y_test")
        self.problem = build_problem(experiment, self.split.train, init_key, params)
        self.times = experiment.times.grid(experiment.t1)
        self.clock.start("computing predictors")
        self.predictors = references(self.problem)
        self.clock.stop()

    def meet_test(self, y_test: Array, f_references: Array) -> None:
        """Fixes what probes are told, once the test data have been drawn.

        Drawing them can take longer than the solve, so it is done once, wherever the outputs
        on them are taken.
        """
        found = _setting(self.experiment, self.problem, self.predictors, y_test)
        self.setting, self.probes = found
        self._f_references = f_references

    def observer(self) -> Observer:
        """What a solver asks at every record; the problem's outputs on test data count, too."""
        test = gathered(self.split.test)
        model = self.experiment.model
        self.meet_test(test.y, outputs_of_references(model, self.predictors, test.x))
        self.problem = eqx.tree_at(
            lambda problem: problem.watched,
            self.problem,
            test.x[:_WATCHED],
            is_leaf=lambda leaf: leaf is None,
        )
        return Observer(self.setting, self.problem.train.x, test.x, self.probes)

    def record(self, trajectory: Trajectory, values: dict[str, Array], final: Any) -> xr.Dataset:
        """The record of a run whose probes took `values` and that ended at `final`."""
        experiment, train = self.experiment, self.problem.train
        record = xr.Dataset(
            {
                probe.name: (
                    "time",
                    np.asarray(values[probe.name]),
                    described(probe.long_name, probe.units),
                )
                for probe in self.probes
            },
            coords={"time": ("time", trajectory.times, described(*experiment.time_axis))},
        )
        table = reference_table(self.predictors, self.setting, train.x, self._f_references)
        record = record.merge(table)
        if self.setting.labels == "signs" and isinstance(experiment.model, DiagonalLinear):
            kkt = diagonal_kkt(final, train.x, train.y, experiment.model.depth)
            for key in ("stationarity", "complementarity"):
                record[f"kkt_{key}"] = ((), getattr(kkt, key), described(f"final KKT {key}"))
        self.clock.stop()
        record.attrs = {
            "experiment": experiment.description,
            "experiment_hash": experiment.content_hash,
            "homogeneity": experiment.model.homogeneity or 0,
            "own_params": _digest(self._params),
            "ending": trajectory.ending,
            "solver": json.dumps(trajectory.effort._asdict()),
            "seconds": json.dumps(self.clock.seconds),
            "machine": json.dumps(machine()),
            "lazyrich_version": version("lazyrich"),
        }
        return record


@in_double
def simulate_together(
    experiments: Sequence[Experiment],
    *,
    listener: Listener = _silent,
) -> list[xr.Dataset]:
    """Runs experiments of one shape in one compiled solve and returns their records.

    Each run keeps its own clock and step sizes and ends on its own; its record agrees with
    that of [`simulate`][lazyrich.simulate] to rounding. The seconds in a record are those of
    the batch over the number of runs.

    - **Takes** experiments that differ in `init_scale`, `weight_decay`, `t1` and `seed`
        alone, with [`Flow`][lazyrich.dynamics.Flow] dynamics.
    - **Raises** [`InputError`][lazyrich.InputError] for experiments that cannot share a solve.
    """
    dynamics = experiments[0].dynamics if experiments else None
    if not isinstance(dynamics, Flow):
        accepted = "should be one or more experiments with dynamics Flow"
        raise InputError("experiments", type(dynamics).__name__, accepted)
    if any(experiment.dynamics != dynamics for experiment in experiments):
        accepted = "runs of a batch should share their dynamics"
        raise InputError("experiments", f"a batch of {len(experiments)}", accepted)
    with threadpool_limits(limits=1, user_api="blas"):
        runs = [Run(experiment) for experiment in experiments]
        observers = [run.observer() for run in runs]

        def progress(num_ended: int, num_steps: int) -> None:
            done = num_ended / len(runs)
            listener("solving the flow", done, f"{num_ended} of {len(runs)}, {num_steps} steps")

        begun = time.perf_counter()
        problems, times = [run.problem for run in runs], [run.times for run in runs]
        trajectories = dynamics.follow_together(problems, times, progress, observers)
        share = (time.perf_counter() - begun) / len(runs)
        records = []
        for run, trajectory in zip(runs, trajectories, strict=True):
            run.clock.start("measuring")
            run.clock.seconds["solving the flow"] = share
            records.append(run.record(trajectory, trajectory.observed, trajectory.final))
        return records


def build_problem(experiment: Experiment, train: Samples, key: Any, params: Any = None) -> Problem:
    """The flow an experiment describes, from `params` or from the model's own start.

    - **Raises** [`InputError`][lazyrich.InputError] if the outputs' shape is not the labels',
        or if the model is not of the degree that it declares.
    """
    model, loss = experiment.model, experiment.loss
    if params is None:
        start = model.init(key, train.x.shape[1])
        params = jax.tree.map(lambda p: experiment.init_scale * p, start)
    params = jax.tree.map(jnp.asarray, params)
    model.check_inputs(train.x, "task")
    shape = jax.eval_shape(lambda p: model.apply(p, train.x), params).shape
    loss.check_shape(shape, train.y)
    few = train.x[:8]
    measured = measured_homogeneity(model, params, few)
    declared = model.homogeneity
    if declared is not None and measured is not None and measured != declared:
        accepted = f"outputs scale by the power {measured:g} of the parameters"
        raise InputError("model.degree", declared, accepted)
    return Problem(train, params, experiment.weight_decay, model, loss)


def _setting(
    experiment: Experiment, problem: Problem, predictors: dict[str, Predictor], y_test: Array
) -> tuple[Setting, tuple[Any, ...]]:
    """What probes are told, and those of the experiment's that apply."""

    def weights(role: str) -> Array | None:
        return jnp.asarray(predictors[role].weights) if role in predictors else None

    setting = Setting(
        y_train=problem.train.y,
        y_test=y_test,
        params=problem.params,
        init_scale=jnp.asarray(experiment.init_scale),
        weight_decay=jnp.asarray(experiment.weight_decay),
        kernel=weights("kernel"),
        rich=weights("rich"),
        model=experiment.model,
        loss=experiment.loss,
        labels=_labels(problem.train.y, y_test),
    )
    return setting, tuple(p for p in experiment.probe_modules if p.applies(setting))


def _labels(y_train: Array, y_test: Array) -> Labels:
    if jnp.issubdtype(y_train.dtype, jnp.integer):
        return "classes"
    signs = all(bool(jnp.all(jnp.abs(y) == 1)) for y in (y_train, y_test))
    return "signs" if signs and y_train.ndim == 1 else "reals"


def _identity(experiment: Experiment, params: Any) -> str:
    """What must be the same for a run to go on where another stopped, to the last bit."""
    versions = {
        name: version(name)
        for name in ("lazyrich", "jax", "jaxlib", "diffrax", "equinox", "optax", "numpy")
    }
    probes = [probe.name for probe in experiment.probe_modules]
    parts = [experiment.content_hash, _digest(params), probes, versions, machine()]
    return json.dumps(parts)


def _digest(params: Any) -> str:
    """SHA-256 of parameters passed in, which the experiment does not know; else empty."""
    digest = hashlib.sha256()
    for leaf in jax.tree.leaves(params):
        array = np.ascontiguousarray(leaf)
        digest.update(f"{array.dtype.str} {array.shape}".encode() + array.tobytes())
    return "" if params is None else digest.hexdigest()


def machine() -> dict[str, Any]:
    """What a run is computed on."""
    return {
        "device": str(jax.devices()[0].device_kind),
        "cores": os.cpu_count(),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "jax": jax.__version__,
    }


class _Stopwatch:
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

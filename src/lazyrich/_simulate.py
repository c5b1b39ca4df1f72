"""From an experiment to its record."""

import hashlib
import json
import os
import platform
import time
from collections.abc import Callable
from importlib.metadata import version
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import xarray as xr
from jaxtyping import Array, Float
from threadpoolctl import threadpool_limits

from ._dynamics import Problem, Trajectory
from ._experiment import Experiment
from ._models import AbstractModel, DiagonalLinear, LinearPredictor
from ._precision import in_double
from ._predictors import Predictor, diagonal_kkt, l1_max_margin, l2_max_margin, l2_min_norm
from ._probes import AbstractProbe, Moment, Setting, accuracy
from ._tasks import Arrays, Samples, Split

# Times whose parameters are held at once: 20 MB each at d = 100,000 and depth 2.
_BATCH = 20

Listener = Callable[[str, float | None], None]
"""Told the stage and, where it is known, the fraction of it done."""


def _silent(stage: str, fraction: float | None) -> None:
    del stage, fraction


@in_double
def simulate(
    experiment: Experiment, *, params: Any = None, listener: Listener = _silent
) -> xr.Dataset:
    r"""Runs an experiment and returns its record.

    - **Takes** `params`, initial parameters of your own in place of the model's; they are
        $\theta(0)$, not multiplied by `init_scale`. The record keeps
        their SHA-256 as `own_params`, beside the experiment's hash.
    - **Returns** a dataset over `time` (gradient-flow time) with a variable for each probe,
        and over `predictor` with what the kernel and the rich predictor achieve; every
        variable has `units` and `long_name`. Attributes hold the experiment as TOML, its
        hash, how the solve ended and what it cost. A solve that fails keeps what was
        recorded before.
    - **Raises** [`InputError`][lazyrich.InputError] for labels the loss has no meaning for.
    """
    # LAPACK's threads spin after each call and take cores from the compiled products around
    # it: the step of panel 1a takes 185 ms with them and 160 ms without, on two cores.
    with threadpool_limits(limits=1, user_api="blas"):
        return _simulate(experiment, params, listener)


def _simulate(experiment: Experiment, params: Any, listener: Listener) -> xr.Dataset:
    clock = _Stopwatch(listener)
    clock.start("sampling data")
    data_key, init_key = jr.split(jr.key(experiment.seed))
    split = experiment.task.sample(data_key)
    experiment.loss.check_labels(split.train.y, "task.y_train")
    if isinstance(experiment.task, Arrays):
        experiment.loss.check_labels(experiment.task.y_test, "task.y_test")
    problem = build_problem(experiment, split.train, init_key, params)

    clock.start("computing predictors")
    kernel, rich = _references(problem)

    clock.start("solving the flow")
    trajectory = experiment.dynamics.follow(
        problem,
        experiment.times.grid(experiment.t1),
        lambda t: listener("solving the flow", t / experiment.t1),
    )

    clock.start("measuring")
    references = [p for p in (kernel, rich) if p is not None]
    outputs = _outputs(
        problem, trajectory, split, references, lambda done: listener("measuring", done)
    )
    dim = split.train.x.shape[1]
    setting = Setting(
        y_train=split.train.y,
        y_test=outputs.y_test,
        params=problem.params,
        init_scale=jnp.asarray(experiment.init_scale),
        weight_decay=jnp.asarray(experiment.weight_decay),
        kernel=_weights(kernel, dim),
        rich=_weights(rich, dim),
        model=experiment.model,
        loss=experiment.loss,
        binary=_is_binary(split.train.y) and _is_binary(outputs.y_test),
    )
    probes = experiment.probe_modules
    times = jnp.asarray(trajectory.times)
    values = _probe(setting, trajectory.params_at, times, trajectory.states, outputs, probes)
    record = xr.Dataset(
        {
            probe.name: (
                "time",
                np.asarray(values[probe.name]),
                _labels(probe.long_name, probe.units),
            )
            for probe in probes
        },
        coords={"time": ("time", trajectory.times, _labels("gradient-flow time"))},
    )
    record = record.merge(_reference_table(references, outputs, len(trajectory.times), setting))
    if setting.binary and isinstance(experiment.model, DiagonalLinear):
        last = jax.tree.map(lambda a: a[-1], trajectory.states)
        final = trajectory.params_at(trajectory.times[-1], last)
        kkt = diagonal_kkt(final, split.train.x, split.train.y, experiment.model.depth)
        record["kkt_stationarity"] = ((), kkt.stationarity, _labels("final KKT stationarity"))
        record["kkt_complementarity"] = (
            (),
            kkt.complementarity,
            _labels("final KKT complementarity"),
        )
    clock.stop()
    record.attrs = {
        "experiment": _described(experiment),
        "experiment_hash": experiment.content_hash,
        "own_params": _digest(params),
        "ending": trajectory.ending,
        "solver": json.dumps(trajectory.effort._asdict()),
        "seconds": json.dumps(clock.seconds),
        "machine": json.dumps(_machine()),
        "lazyrich_version": version("lazyrich"),
    }
    return record


def build_problem(experiment: Experiment, train: Samples, key: Any, params: Any = None) -> Problem:
    """The flow an experiment describes, from `params` or from the model's own start."""
    if params is None:
        start = experiment.model.init(key, train.x.shape[1])
        params = jax.tree.map(lambda p: experiment.init_scale * p, start)
    return Problem(train, params, experiment.model, experiment.loss, experiment.weight_decay)


def _references(problem: Problem) -> tuple[Predictor | None, Predictor | None]:
    """The kernel and the rich predictor, where theory names one that can be computed."""
    model, train = problem.model, problem.train
    if not isinstance(model, DiagonalLinear):
        return None, None
    # The tangent kernel at the start weighs coordinates so; equally, from the model's own.
    u, v = problem.params
    h = u ** (2 * model.depth - 2) + v ** (2 * model.depth - 2)
    h = h / jnp.max(h)
    if not problem.loss.is_classification:
        return l2_min_norm(train.x, train.y, kernel_weights=h), None
    kernel = l2_max_margin(train.x, train.y, kernel_weights=h)
    rich = l1_max_margin(train.x, train.y) if model.depth == 2 else None
    return kernel, rich


def _weights(predictor: Predictor | None, dim: int) -> Float[Array, " d"]:
    return jnp.zeros(dim) if predictor is None else jnp.asarray(predictor.weights)


def _is_binary(y: Float[Array, " n"]) -> bool:
    return bool(jnp.all(jnp.abs(y) == 1))


class _Outputs(eqx.Module):
    """Functions along a run, then those of the references, and their outputs."""

    weights: Float[Array, "t d"]
    f_train: Float[Array, "t n"]
    f_test: Float[Array, "t m"]
    y_test: Float[Array, " m"]


def _outputs(
    problem: Problem,
    trajectory: Trajectory,
    split: Split,
    references: list[Predictor],
    progress: Callable[[float], None],
) -> _Outputs:
    """One pass over the test data, a block at a time, for all times at once."""
    times = jnp.asarray(trajectory.times)
    weights = _weights_along(problem.model, trajectory.params_at, times, trajectory.states)
    weights = jnp.concatenate([weights, *(jnp.asarray(p.weights)[None] for p in references)])
    f_test, y_test = [], []
    for done, block in enumerate(split.test):
        progress(done / split.test.num_blocks)
        f_test.append(_apply_all(weights, block.x))
        y_test.append(block.y)
    return _Outputs(
        weights,
        _apply_all(weights, split.train.x),
        jnp.concatenate(f_test, axis=1),
        jnp.concatenate(y_test),
    )


# These take a trajectory's parts and not the whole: what it cost would be compiled in.
@eqx.filter_jit
def _weights_along(
    model: AbstractModel, params_at: Callable[[Any, Any], Any], times: Array, states: Any
) -> Float[Array, "t d"]:
    def at(moment: tuple[Array, Any]) -> Array:
        return model.predictor(params_at(*moment)).w

    return jax.lax.map(at, (times, states), batch_size=_BATCH)


@jax.jit
def _apply_all(weights: Float[Array, "t d"], x: Array) -> Float[Array, "t n"]:
    return jax.vmap(lambda w: LinearPredictor(w)(x))(weights)


@eqx.filter_jit
def _probe(
    setting: Setting,
    params_at: Callable[[Any, Any], Any],
    times: Array,
    states: Any,
    outputs: _Outputs,
    probes: tuple[AbstractProbe, ...],
) -> dict[str, Array]:
    along = (outputs.weights, outputs.f_train, outputs.f_test)
    along = jax.tree.map(lambda a: a[: times.size], along)

    def at(moment: tuple[Any, ...]) -> dict[str, Array]:
        time, state, weights, f_train, f_test = moment
        seen = Moment(time, params_at(time, state), weights, f_train, f_test)
        return {probe.name: probe(seen, setting) for probe in probes}

    return jax.lax.map(at, (times, states, *along), batch_size=_BATCH)


def _reference_table(
    references: list[Predictor], outputs: _Outputs, num_times: int, setting: Setting
) -> xr.Dataset:
    f_train, f_test = outputs.f_train[num_times:], outputs.f_test[num_times:]

    def score(f: Array, y: Array) -> Float[np.ndarray, " p"]:
        if not setting.binary:
            return np.full(len(f), np.nan)
        return np.asarray(jax.vmap(lambda f: accuracy(f, y))(f))

    columns: dict[str, tuple[str, Any]] = {
        "label": ("name", [p.name for p in references]),
        "train_accuracy": ("train accuracy", score(f_train, setting.y_train)),
        "test_accuracy": ("test accuracy", score(f_test, setting.y_test)),
        "objective": ("margin or norm achieved", [p.objective for p in references]),
        "bound": ("proven bound on it", [p.bound for p in references]),
        "gap": ("relative duality gap", [p.gap for p in references]),
        "status": ("status", [p.status for p in references]),
    }
    roles = ["kernel", "rich"][: len(references)]
    return xr.Dataset(
        {
            f"predictor_{key}": ("predictor", np.asarray(values), _labels(long_name))
            for key, (long_name, values) in columns.items()
        },
        coords={"predictor": roles},
    )


def _labels(long_name: str, units: str = "1") -> dict[str, str]:
    return {"long_name": long_name, "units": units}


def _described(experiment: Experiment) -> str:
    named = tuple(p for p in experiment.probes if isinstance(p, str))
    return experiment.model_copy(update={"probes": named}).to_toml()


def _digest(params: Any) -> str:
    """SHA-256 of parameters passed in, which the experiment does not know; else empty."""
    digest = hashlib.sha256()
    for leaf in jax.tree.leaves(params):
        digest.update(np.ascontiguousarray(leaf).tobytes())
    return "" if params is None else digest.hexdigest()


def _machine() -> dict[str, Any]:
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
        self._listener(stage, None)

    def stop(self) -> None:
        if self._stage:
            self.seconds[self._stage] = time.perf_counter() - self._since

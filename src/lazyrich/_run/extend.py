"""Continues a run from a record: its parameters, and a later horizon."""

import dataclasses
import json
from typing import Any

import jax
import jax.flatten_util
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import xarray as xr
from jaxtyping import Array
from threadpoolctl import threadpool_limits

from .._core.errors import InputError
from .._core.given import number_of
from .._core.precision import Precision, as_double, in_double
from ..experiments.experiment import Experiment, check_experiment
from ..records.described import check_record, description_of
from ..records.parameters import FINAL, KEPT, KEPT_TIME, LAYOUT, flat_params
from .kept_params import Keep, KeptParams
from .prepared import prepare
from .result import digest_of
from .simulate import listening
from .solve import Listener, Stopwatch, solve_batch
from .watching import Watcher, reporting_failure


@in_double
def parameters(record: xr.Dataset, experiment: Experiment, time: float | None = None) -> Any:
    """The parameters of a run in the structure of its model, as for `simulate(params=...)`.

    - **Takes** `time`, at which parameters were kept. With the probe `parameters` the nearest
        record is used. With None, the parameters at the end of a run with `keep_params`, or of the
        last record.
    - **Returns** a pytree of NumPy arrays in the precision of the experiment.
    - **Raises** [`InputError`][lazyrich.InputError] if the record does not contain parameters, or
        if they do not fit the model of the experiment.
    """
    check_record(record)
    check_experiment(experiment)
    flat = flat_params(record, time, nearest=True)
    split = experiment.task.sample_for(jr.key(experiment.seed), experiment.loss.takes)
    dim = split.train.x.shape[1]

    def followed(key: Array) -> Any:
        params = experiment.model.init(key, dim)
        closed = experiment.dynamics.follows_closure
        return experiment.model.condensed(params).params if closed else params

    shapes = jax.eval_shape(followed, jr.key(0))
    dtype = Precision(experiment.precision).dtype
    leaves = jax.tree.map(lambda leaf: np.zeros(leaf.shape, dtype), shapes)
    zeros, unravel = jax.flatten_util.ravel_pytree(leaves)
    if zeros.size != flat.size:
        accepted = f"the experiment's model has {zeros.size}; pass the experiment of the record"
        raise InputError("record", f"{flat.size} parameters", accepted)
    return jax.tree.map(np.asarray, unravel(jnp.asarray(flat, dtype)))


def check_extends(record: xr.Dataset, experiment: Experiment) -> float:
    """The time from which `experiment` continues the record.

    - **Raises** [`InputError`][lazyrich.InputError] if `experiment` differs from that of the record
        in more than a later `t1`.
    """
    end = float(record["time"].values[-1])
    before = experiment.with_changes({"t1": description_of(record).get("t1", experiment.t1)})
    if before.content_hash != record.attrs["experiment_hash"]:
        accepted = "is of an experiment that differs in more than t1; run this one by itself"
        raise InputError("record", record.attrs["experiment_hash"][:8], accepted)
    if not experiment.t1 > end:
        raise InputError("t1", experiment.t1, f"should be later than {end:g}, the record's end")
    if record.attrs["ending"] != "completed":
        accepted = "only a run that reached its t1 is extended; run it again"
        raise InputError("record", record.attrs["ending"], accepted)
    if not experiment.dynamics.forgets:
        kind = type(experiment.dynamics).__name__
        accepted = "remembers more than its parameters, so the run cannot be extended; run it again"
        raise InputError("dynamics.kind", kind, accepted)
    if FINAL not in record:
        accepted = "should be in it: use simulate(..., keep_params=True)"
        raise InputError("record", FINAL, accepted)
    return end


@in_double
def extend(
    record: xr.Dataset,
    experiment: Experiment,
    t1: float,
    *,
    params: Any = None,
    keep_params: Keep = True,
    listener: Listener | None = None,
    progress: bool = False,
    watcher: Watcher | None = None,
) -> xr.Dataset:
    """Continues a run from its end to a later horizon.

    The existing records are kept. The new records are at the times after the old horizon at which
    a run to `t1` would record. The result agrees with such a run within the tolerance of the
    solver, because the continued run has an additional end of a step at the old horizon.

    - **Takes** a record made with `keep_params`, and its experiment; `params`, if they were
        passed to [`simulate`][lazyrich.simulate]; `keep_params`, with times after the old horizon,
        `listener`, `progress` and `watcher` as for `simulate`. The watcher receives the whole
        record, with the records of before. Parameters kept before stay in the record.
    - **Returns** the record up to `t1`, which can be extended again. Its cost is the sum of the
        costs of both parts. The attribute `extended_at` lists the times of continuation.
    - **Raises** [`InputError`][lazyrich.InputError] if the record is of another experiment, if it
        did not reach its horizon, or if the dynamics have a state in addition to the parameters,
        such as momentum.
    """
    check_record(record)
    check_experiment(experiment)
    keep = KeptParams.of(keep_params)
    longer = experiment.with_changes({"t1": number_of("t1", t1, "a number")})
    end = check_extends(record, longer)
    own = None if params is None else as_double(params, "params")
    if digest_of(own) != record.attrs["own_params"]:
        raise InputError("params", "others", "should be those that the run began with")
    reached = parameters(record, experiment)
    with (
        reporting_failure(watcher),
        threadpool_limits(limits=1, user_api="blas"),
        listening(listener, progress, experiment.name) as listen,
    ):
        clock = Stopwatch(listen)
        clock.start("sampling data")
        prepared = prepare(longer, own).going_on(reached, end)
        watch = None if watcher is None else _Joining(watcher, record, end)
        solved = solve_batch([prepared], listen, clock=clock, watcher=watch, keep=keep)
        whole = _joined(record, solved.record(0, keep), end)
        if watcher is not None:
            watcher(whole)
    return whole


@dataclasses.dataclass(frozen=True)
class _Joining:
    """Calls a watcher with the records of before joined to those of a run that continues them."""

    watcher: Watcher
    before: xr.Dataset
    end: float

    def __call__(self, after: xr.Dataset) -> object:
        return self.watcher(_joined(self.before, after, self.end))


def _joined(before: xr.Dataset, after: xr.Dataset, end: float) -> xr.Dataset:
    """Joins two records. Numbers for the whole run are taken from the second."""
    curves = [name for name, variable in after.data_vars.items() if "time" in variable.dims]
    late = after[curves].isel(time=after["time"].values > end)
    whole = xr.concat([before[curves], late], dim="time", data_vars="all", join="exact")
    joined = after.drop_vars([*curves, "time"]).assign_coords(time=whole["time"])
    joined = joined.assign({name: whole[name] for name in curves})[list(after.data_vars)]
    first, second = (json.loads(record.attrs["solver"]) for record in (before, after))
    counts = {key: first[key] + n for key, n in second.items() if isinstance(n, int)}
    spent, more = (json.loads(record.attrs["seconds"]) for record in (before, after))
    seconds = spent | {stage: spent.get(stage, 0.0) + s for stage, s in more.items()}
    for name in curves:
        joined[name].attrs = after[name].attrs
    joined["time"].attrs = after["time"].attrs
    joined = _with_kept(joined, before, after)
    joined.attrs = {
        **after.attrs,
        "solver": json.dumps({**second, **counts}),
        "seconds": json.dumps(seconds),
        "extended_at": json.dumps([*json.loads(before.attrs.get("extended_at", "[]")), end]),
    }
    return joined


def _with_kept(joined: xr.Dataset, before: xr.Dataset, after: xr.Dataset) -> xr.Dataset:
    """The joined record with the parameters that either part kept at chosen times."""
    parts = [part[[KEPT]] for part in (before, after) if KEPT in part]
    if not parts:
        return joined
    kept = xr.concat(parts, dim=KEPT_TIME, join="exact")
    kept[KEPT].attrs, kept[KEPT_TIME].attrs = parts[-1][KEPT].attrs, parts[-1][KEPT_TIME].attrs
    bare = joined.drop_vars([name for name in (KEPT, KEPT_TIME) if name in joined.variables])
    layout = {LAYOUT: before.attrs[LAYOUT]} if LAYOUT in before.attrs else {}
    return bare.assign({KEPT: kept[KEPT]}).assign_attrs({**layout, **joined.attrs})

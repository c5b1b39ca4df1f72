"""Runs experiments and returns their records."""

import contextlib
import json
import os
from collections.abc import Iterator, Sequence
from importlib.metadata import version
from typing import Any

import xarray as xr
from threadpoolctl import threadpool_limits

from .._core.errors import InputError
from .._core.given import check_function, check_kind, path_of
from .._core.precision import as_double, in_double
from .._core.terminal import progress as shown_progress
from .._integrate.checkpoint import Checkpoint
from ..experiments.experiment import Experiment, check_experiment
from ..records.schema import check_names
from .kept_params import Keep, KeptParams
from .prepared import prepare, prepare_all
from .result import BatchResult, digest_of, machine
from .solve import Listener, Stopwatch, silently, solve_batch
from .watching import Watcher, reporting_failure


def simulate(
    experiment: Experiment,
    *,
    params: Any = None,
    keep_params: Keep = False,
    progress: bool = False,
    listener: Listener | None = None,
    checkpoint: str | os.PathLike[str] | None = None,
    watcher: Watcher | None = None,
) -> xr.Dataset:
    r"""Runs an experiment and returns its record.

    - **Takes** `params`, your own initial parameters in place of those of the model. They are
        $\theta(0)$ and are not multiplied by `init_scale`. The record contains their SHA-256 as
        `own_params`, in addition to the hash of the experiment. `keep_params`, the parameters that
        the record contains: with True those at the end, unless there are more than 16 million;
        with `"end"` those at the end in any case; with a sequence of times, or a number of
        recorded times, also those at these times. `record.params(t)`,
        [`parameters`][lazyrich.parameters] and [`extend`][lazyrich.extend] read them. They do not
        change the other numbers of a run, and are no part of its hash. `progress`, whether
        to show progress and remaining time on stderr. `listener`, a function that receives the
        progress instead. `checkpoint`, a file in which the state of the solve is saved every ten
        seconds. If the file exists, the run is resumed from it, and its record is the same as
        without interruption. The file is not deleted at the end; delete it once the record is
        saved. `watcher`, a function that is called with the record so far, at most five times a
        second, and at the end with the whole record. During the run `ending` is `running`, and
        the KKT residuals at the end are NaN. An exception in the watcher ends the run.
    - **Returns** a dataset over `time` (gradient-flow time) with a variable for each probe
        that applies, and over `predictor` with the scores of the kernel and the rich predictor.
        Every variable has `units` and `long_name`. Attributes contain the experiment as TOML, its
        hash, the ending of the solve and its cost. If a solve fails, the record contains the
        values up to the failure.
    - **Raises** [`InputError`][lazyrich.InputError] if the labels do not fit the loss, if the model
        does not fit the data, if the kept parameters do not fit in memory, or if the checkpoint is
        of another run.
    """
    return simulate_many(
        [experiment],
        params=None if params is None else [params],
        keep_params=keep_params,
        progress=progress,
        listener=listener,
        checkpoint=checkpoint,
        watcher=watcher,
    )[0]


@in_double
def simulate_many(
    experiments: Sequence[Experiment],
    *,
    params: Sequence[Any] | None = None,
    keep_params: Keep = False,
    progress: bool = False,
    listener: Listener | None = None,
    checkpoint: str | os.PathLike[str] | None = None,
    watcher: Watcher | None = None,
) -> list[xr.Dataset]:
    """Runs experiments of the same shapes in one compiled solve and returns their records.

    Each run has its own clock and step sizes and its own end. Its record agrees with that of
    [`simulate`][lazyrich.simulate] up to rounding errors. The seconds in a record are those of the
    batch divided by the number of runs.

    - **Takes** experiments that differ only in `init_scale`, `weight_decay`, `t1`,
        `seed` and `numbers` of the model. With
        [`ReducedFlow`][lazyrich.dynamics.ReducedFlow] or [`Flow`][lazyrich.dynamics.Flow] they
        share a solve. With [`SmallDecayLimit`][lazyrich.dynamics.SmallDecayLimit] those that
        differ only in `weight_decay` and in the times share one solution, and each record is that
        of `simulate`, also in its last bits. With other dynamics they run one after the other.
        `params`, initial parameters for each; `checkpoint` and `watcher`, only for a single
        experiment. All other arguments are those of [`simulate`][lazyrich.simulate].
    - **Raises** [`InputError`][lazyrich.InputError] if the experiments cannot share a solve.
    """
    check_kind("experiments", experiments, Sequence, "a list of lr.Experiment")
    for experiment in experiments:
        check_experiment(experiment)
    if params is not None:
        check_kind("params", params, Sequence, "a list with the parameters of each run")
    title = experiments[0].name if experiments else ""
    keep = KeptParams.of(keep_params)
    with reporting_failure(watcher), listening(listener, progress, title) as listen:
        result = simulate_batch(
            experiments,
            params=params,
            keep=keep,
            listener=listen,
            checkpoint=checkpoint,
            watcher=watcher,
        )
        records = [result.record(i, keep) for i in range(len(experiments))]
        if watcher is not None:
            watcher(records[0])
    return records


@in_double
def simulate_batch(
    experiments: Sequence[Experiment],
    *,
    params: Sequence[Any] | None = None,
    keep: KeptParams = KeptParams(),
    listener: Listener = silently,
    checkpoint: str | os.PathLike[str] | None = None,
    watcher: Watcher | None = None,
) -> BatchResult:
    """The result of [`simulate_many`][lazyrich.simulate_many] as arrays instead of records."""
    _check_batch(experiments, params, checkpoint, watcher)
    own = [None] * len(experiments) if params is None else [as_double(p, "params") for p in params]
    kept = None
    if checkpoint is not None:
        path = path_of("checkpoint", checkpoint)
        kept = Checkpoint(path, identity_of(experiments[0], own[0], keep))
    clock = Stopwatch(listener)
    # LAPACK threads stay active for a while after each call and slow down the compiled products
    # that follow. On two cores, a step of panel 1a takes 185 ms with them and 160 ms without.
    with threadpool_limits(limits=1, user_api="blas"):
        clock.start("sampling data")
        if params is None:
            prepared = prepare_all(experiments)
        else:
            prepared = [prepare(e, p) for e, p in zip(experiments, own, strict=True)]
        return solve_batch(prepared, listener, kept, clock, watcher, keep)


def _check_batch(
    experiments: Sequence[Experiment],
    params: Sequence[Any] | None,
    checkpoint: Any,
    watcher: Watcher | None,
) -> None:
    if not experiments:
        raise InputError("experiments", "none", "should be one or more experiments")
    for experiment in experiments:
        check_names(experiment.probe_modules)
    given = f"a batch of {len(experiments)}"
    dynamics = experiments[0].dynamics
    if any(experiment.dynamics != dynamics for experiment in experiments):
        raise InputError("experiments", given, "runs of a batch should share their dynamics")
    if any(experiment.decayed != experiments[0].decayed for experiment in experiments):
        raise InputError("experiments", given, "runs of a batch should share their decayed")
    if any(experiment.precision != experiments[0].precision for experiment in experiments):
        raise InputError("experiments", given, "runs of a batch should share their precision")
    if params is not None and len(params) != len(experiments):
        raise InputError(
            "params", f"{len(params)} of them", f"should be one for each run of {given}"
        )
    if checkpoint is not None and len(experiments) > 1:
        raise InputError("checkpoint", os.fspath(checkpoint), f"keeps a single run, not {given}")
    if watcher is not None and len(experiments) > 1:
        raise InputError("watcher", given, "watches a single run: call simulate for each")


@contextlib.contextmanager
def listening(listener: Listener | None, progress: bool, title: str) -> Iterator[Listener]:
    """The listener of the user, or one that shows progress, or one that does nothing."""
    check_function("listener", listener, "stage", "fraction", "note")
    if listener is not None or not progress:
        yield listener or silently
        return
    with shown_progress(title) as shown:
        yield shown


def identity_of(experiment: Experiment, params: Any, keep: KeptParams) -> str:
    """Text that must be equal for a run to be resumed with an identical result."""
    versions = {
        name: version(name)
        for name in ("lazyrich", "jax", "jaxlib", "diffrax", "equinox", "optax", "numpy")
    }
    probes = [probe.name for probe in experiment.probe_modules]
    parts = [experiment.content_hash, digest_of(params), probes, versions, machine()]
    asked = [keep.times, keep.number] if keep.times or keep.number else []
    return json.dumps(parts + asked)

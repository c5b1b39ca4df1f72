"""The function that runs a sweep."""

import contextlib
import dataclasses
import os
from collections.abc import Collection, Iterator
from typing import Any

import jax
import jax.random as jr
import xarray as xr
from jaxtyping import Array

from ..._core.errors import ComputationError, InputError
from ..._core.given import check_function
from ..._core.precision import in_double
from ..._core.terminal import sweep_progress
from ...experiments.experiment import Experiment, check_experiment
from ...experiments.sizes import check_fits
from ...forecasts.options import ForecastOptions, How
from ...records.schema import check_names
from ...records.transition import Transition
from .._forecast_in_batch import has_forecasts
from .._store import RESERVED, Store, assemble
from .._sweep import Sweep
from ..axes import Over
from ..batches import of_whole_solves
from ..forecasts import with_forecasts
from ..repeats import refuse_repeats
from .driver import Campaign, Listener, Progress, run_here, run_on
from .workers import WorkerPool, worker_pool


@contextlib.contextmanager
def listening(listener: Listener | None, progress: bool, title: str) -> Iterator[Listener]:
    """The user's listener, or one that shows progress, or one that does nothing."""
    check_function("listener", listener, "progress")
    if listener is not None or not progress:
        yield listener or silent
        return
    with sweep_progress(title) as shown:
        yield shown


def silent(progress: Progress) -> None:
    del progress


def sweep(
    experiment: Experiment,
    over: Over,
    store: str | os.PathLike[str],
    *,
    workers: int | None = None,
    scheduler: Any = None,
    batch_size: int | None = None,
    max_running: int | None = None,
    walltime: float | None = None,
    forecast: How | bool = False,
    progress: bool = False,
    listener: Listener | None = None,
) -> xr.Dataset:
    r"""Runs an experiment for every combination of values, and returns a labelled dataset.

    - **Takes** `over`, values by dotted key, such as `{"init_scale": [1, 10], "seed": range(5)}`.
        A tuple of keys takes tuples of values, which change together. For designs see
        [`sobol`][lazyrich.sweeps.sobol] and [`random`][lazyrich.sweeps.random].
    - `store`, a folder or an fsspec URL, made if it does not exist. Runs that it contains are not
        repeated, so the same call continues a sweep that was interrupted.
    - `workers`, the number of processes to start, by default one for each core; 0 computes in this
        process. `scheduler`, instead of `workers`: the address of a dask scheduler, or a dask
        cluster. An address on another machine must use TLS, or be `insecure+tcp://...`.
    - `batch_size`, the number of runs that are computed and written together, and lost together if
        a worker dies; by default chosen from the size of a run. `max_running`, the number of
        batches that the scheduler has at a time; `walltime`, seconds after which nothing should
        run: a batch that would take longer is not started.
    - `forecast`, whether to forecast every run as well: by `calibrated` constants, `solved`, or
        True for the better of the two. The forecasts are kept in the store. A forecast that fails
        does not end the sweep.
    - `progress`, whether to show on stderr how many runs are done, and the time left;
        `listener`, a function to call with a [`Progress`][lazyrich.sweeps.Progress] instead.
    - **Returns** what [`open_store`][lazyrich.open_store] returns for this sweep; with `forecast`
        also what [`forecast_runs`][lazyrich.sweeps.forecast_runs] adds to it.
    - **Raises** [`InputError`][lazyrich.InputError] for keys or values that the experiment does
        not accept, before anything is computed; [`ComputationError`][lazyrich.ComputationError]
        if the sweep cannot continue. A run that fails does not end a sweep: its outcome is
        `failed`, and its file contains the error.
    """
    check_experiment(experiment)
    options = ForecastOptions(passage=None if forecast is True else forecast) if forecast else None
    if options is not None:
        options.check()
    # Keys and values are checked before data are drawn to find the size.
    described = Sweep.over(experiment, over)
    size = size_for(described) if batch_size is None else batch_size
    described = Sweep(experiment=experiment, axes=described.axes, batch_size=size)
    with (
        listening(listener, progress, experiment.name) as heard,
        worker_pool(workers, scheduler) as pool,
    ):
        run_sweep(
            described,
            store,
            pool,
            max_running=max_running,
            walltime=walltime,
            listener=heard,
            forecast=options,
        )
    dataset = assemble(Store(store), described)
    if options is None:
        return dataset
    return with_forecasts(dataset, described, options, Store(store))


def run_sweep(
    described: Sweep,
    store: str | os.PathLike[str],
    pool: WorkerPool,
    *,
    max_running: int | None = None,
    walltime: float | None = None,
    listener: Listener = silent,
    forecast: ForecastOptions | None = None,
) -> int:
    """Runs the remaining batches of a sweep on a pool of workers, see [`sweep`][lazyrich.sweep].

    - **Takes** `forecast`, how to forecast the runs; None for no forecasts.
    - **Returns** the number of remaining runs: zero, unless there was not enough time.
    """
    if described.known_as:
        accepted = "was read from a file that cannot contain all of it; pass the experiment itself"
        raise InputError("sweep", described.known_as, accepted)
    probes = described.experiment.probe_modules
    columns = {*RESERVED, *(field.name for field in dataclasses.fields(Transition))}
    check_names(probes, columns | {key for axis in described.axes for key in axis.keys})
    refuse_repeats(described)
    recorded = {probe.name for probe in probes}
    for name in ("train_loss", "test_loss"):
        if name not in recorded:
            raise InputError(
                "probes", f"without {name}", "a sweep needs it for the outcomes: add it"
            )
    try:
        kept = Store.begin(store)
        kept.add(described)
        return _finish(kept, described, pool, max_running, walltime, listener, forecast)
    except OSError as error:
        words = " ".join(str(error).split())
        raise ComputationError(f"{os.fspath(store)}: {words}; finished batches are kept") from error


def num_kept(described: Sweep, store: str | os.PathLike[str]) -> int:
    """The number of runs of a sweep that a store holds; zero if there is no store."""
    try:
        kept = Store(store)
    except InputError:
        return 0
    damaged = kept.check(kept.files())
    return len(described) - sum(len(batch.runs) for batch in kept.missing(described, damaged))


def _finish(
    kept: Store,
    described: Sweep,
    pool: WorkerPool,
    max_running: int | None,
    walltime: float | None,
    listener: Listener,
    forecast: ForecastOptions | None,
) -> int:
    damaged = kept.check(kept.files())
    own = [n for n in kept.files() if n not in damaged and kept.owns(described, n)]
    unforecast = {name for name in own if not has_forecasts(kept, name, forecast)}
    left = list(kept.missing(described, {*damaged, *unforecast}))
    num_left = sum(len(batch.runs) for batch in left)
    campaign = Campaign(
        store=kept,
        sweep=described,
        batches=iter(left),
        num_done=len(described) - num_left,
        walltime=walltime,
        listener=listener,
        longest=0.0 if walltime is None else _longest(kept, described, damaged),
        forecast=forecast,
    )
    try:
        for name, how in damaged.items():
            if kept.owns(described, name):
                kept.set_aside(name)
                campaign.report(
                    f"{name} is damaged, is computed again and copied to damaged/: {how}"
                )
        if not left:
            campaign.report()
        elif (client := pool.client()) is None:
            run_here(campaign)
        else:
            run_on(client, campaign, max_running, pool.check)
    finally:
        campaign.end()
    if not campaign.out_of_time:
        return 0
    damaged = kept.check(list(damaged))
    return sum(len(batch.runs) for batch in kept.missing(described, damaged))


def _longest(store: Store, sweep: Sweep, damaged: Collection[str]) -> float:
    """The seconds of the longest finished batch of a sweep."""
    names = [name for name in store.files() if store.owns(sweep, name) and name not in damaged]
    found: list[Any] = [store.summary(name)["seconds"] for name in names]
    return max(map(float, found), default=0.0)


# The products that a batch may take, counted as samples times parameters. This is about ten seconds
# of work, which an interrupted sweep loses.
_BUDGET = 2e8
_LARGEST = 64
# The smallest number of batches of a sweep with enough runs, so that several workers share it.
_FEWEST = 8


def size_for(described: Sweep) -> int:
    """The runs in a batch of a sweep, unless the user chooses another number."""
    size = suggested_size(described.experiment, len(described))
    return of_whole_solves(described, size)


@in_double
def suggested_size(experiment: Experiment, num_runs: int = _LARGEST * _FEWEST) -> int:
    """The runs in a batch: fewer for large runs, and at most 64 or an eighth of the sweep.

    The number depends only on the experiment and `num_runs`, because batches are named by index.
    """
    check_fits(experiment)
    split = experiment.task.sample_for(jr.key(experiment.seed), experiment.loss.takes)

    def integrated_params(key: Array) -> Any:
        params = experiment.model.init(key, split.train.x.shape[1])
        # With a closure, the cost depends on the closed parameters, not on the width.
        closed = experiment.dynamics.follows_closure
        return experiment.model.condensed(params).params if closed else params

    shapes = jax.eval_shape(integrated_params, jr.key(0))
    num_params = sum(leaf.size for leaf in jax.tree.leaves(shapes))
    weight = 32 * len(split.train.x) * num_params
    return max(1, min(_LARGEST, int(_BUDGET // weight), -(-num_runs // _FEWEST)))

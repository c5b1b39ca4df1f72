"""Running a sweep."""

import contextlib
import os
from collections.abc import Collection, Iterator
from typing import Any

import jax
import jax.random as jr
import xarray as xr
from jaxtyping import Array

from ..._core.errors import ComputationError, InputError
from ..._core.precision import in_double
from ..._core.terminal import sweep_progress
from ...experiments.experiment import Experiment
from ...experiments.sizes import check_fits
from ...forecasts.seen import Asked, How
from .._forecast_in_batch import has_forecasts
from .._store import Store, assemble
from .._sweep import Sweep
from ..axes import Over
from ..forecasts import with_forecasts
from ..repeats import refuse_repeats
from .driver import Campaign, Listener, Progress, run_here, run_on
from .workers import WorkerPool, worker_pool


@contextlib.contextmanager
def listening(listener: Listener | None, progress: bool, title: str) -> Iterator[Listener]:
    """A listener of the user's, or one that shows progress, or one that does not listen."""
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
    r"""Runs an experiment for every combination of values, and returns all of them, labelled.

    - **Takes** `over`, values by dotted key, such as `{"init_scale": [1, 10], "seed": range(5)}`;
        a tuple of keys takes tuples of values, set in step; designs come from
        [`sobol`][lazyrich.sweeps.sobol] and [`random`][lazyrich.sweeps.random].
    - `store`, a folder or an fsspec URL, begun if there is none. What it holds already is not
        run again, so the same call goes on after whatever ended it.
    - `workers`, processes to start, as many as there are cores by default; 0 computes in this
        process. `scheduler`, the address of a dask scheduler to use in their place, or a cluster
        of dask's; beyond this machine it has to be one of TLS, or `insecure+tcp://...`.
    - `batch_size`, runs computed, written and, if a worker dies, lost together; chosen
        by size if left out. `max_running`, batches with the scheduler at a time; `walltime`,
        seconds after which nothing should run: what would not fit is not begun.
    - `forecast`, whether to forecast every run, too, beside the run itself: by `calibrated`
        constants, `solved`, or True for the better of the two. The forecasts are kept in the
        store; one that fails ends nothing.
    - `progress`, whether to show on stderr how many runs are done, and how long the rest will take;
        `listener`, a function to call with a [`Progress`][lazyrich.sweeps.Progress] instead.
    - **Returns** what [`open_store`][lazyrich.open_store] returns for this sweep; with `forecast`
        also what [`forecast_runs`][lazyrich.sweeps.forecast_runs] adds to it.
    - **Raises** [`InputError`][lazyrich.InputError] for keys or values that the experiment does
        not take, before anything is computed; [`ComputationError`][lazyrich.ComputationError]
        when the sweep cannot go on. A run that fails does not end a sweep: its outcome is
        `failed`, and its file says why.
    """
    # Keys and values are checked before data are drawn to find the size.
    described = Sweep.over(experiment, over)
    size = suggested_size(experiment, len(described)) if batch_size is None else batch_size
    described = Sweep(experiment=experiment, axes=described.axes, batch_size=size)
    asked = Asked(passage=None if forecast is True else forecast) if forecast else None
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
            forecast=asked,
        )
    dataset = assemble(Store(store), described)
    if asked is None:
        return dataset
    return with_forecasts(dataset, described, asked, Store(store))


def run_sweep(
    described: Sweep,
    store: str | os.PathLike[str],
    pool: WorkerPool,
    *,
    max_running: int | None = None,
    walltime: float | None = None,
    listener: Listener = silent,
    forecast: Asked | None = None,
) -> int:
    """Runs what is left of a sweep on the workers of a pool, see [`sweep`][lazyrich.sweep].

    - **Takes** `forecast`, what is asked of forecasts of its runs; None for none.
    - **Returns** how many runs are left: none, unless there was no time for them.
    """
    if described.known_as:
        accepted = "was read from a file that cannot hold all of it; pass the experiment itself"
        raise InputError("sweep", described.known_as, accepted)
    refuse_repeats(described)
    recorded = {probe.name for probe in described.experiment.probe_modules}
    for name in ("train_loss", "test_loss"):
        if name not in recorded:
            raise InputError("probes", f"without {name}", "a sweep tells outcomes from it: add it")
    try:
        kept = Store.begin(store)
        kept.add(described)
        return _finish(kept, described, pool, max_running, walltime, listener, forecast)
    except OSError as error:
        words = " ".join(str(error).split())
        raise ComputationError(f"{os.fspath(store)}: {words}; what is done is kept") from error


def _finish(
    kept: Store,
    described: Sweep,
    pool: WorkerPool,
    max_running: int | None,
    walltime: float | None,
    listener: Listener,
    forecast: Asked | None,
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
                campaign.tell(f"{name} is damaged, is done again and kept in damaged/: {how}")
        if not left:
            campaign.tell()
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
    """Seconds of the batch of a sweep that has taken longest."""
    names = [name for name in store.files() if store.owns(sweep, name) and name not in damaged]
    found: list[Any] = [store.summary(name)["seconds"] for name in names]
    return max(map(float, found), default=0.0)


# Products that a batch may take, on the scale of samples times numbers that are followed: some ten
# seconds' worth, which is what an interrupted sweep loses.
_BUDGET = 2e8
_LARGEST = 64
# Batches that a sweep is cut into at least, where it has as many runs: two cores share what fewer
# would leave to one.
_FEWEST = 8


@in_double
def suggested_size(experiment: Experiment, num_runs: int = _LARGEST * _FEWEST) -> int:
    """Runs of a batch: few of what is large, and never more than 64 or an eighth of the sweep.

    The same for an experiment wherever it is asked: batches are named by their place.
    """
    check_fits(experiment)
    split = experiment.task.sample_for(jr.key(experiment.seed), experiment.loss.takes)

    def followed(key: Array) -> Any:
        params = experiment.model.init(key, split.train.x.shape[1])
        # A net that is followed by its closure costs what this does, at any width.
        closed = experiment.dynamics.follows_closure
        return experiment.model.condensed(params).params if closed else params

    shapes = jax.eval_shape(followed, jr.key(0))
    num_followed = sum(leaf.size for leaf in jax.tree.leaves(shapes))
    weight = 32 * len(split.train.x) * num_followed
    return max(1, min(_LARGEST, int(_BUDGET // weight), -(-num_runs // _FEWEST)))

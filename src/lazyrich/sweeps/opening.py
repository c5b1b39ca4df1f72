"""The runs of a store with their forecasts."""

import os
from typing import Any

import xarray as xr

from ._forecast_in_batch import forecasts_in
from ._store import Store, open_runs
from ._sweep import Sweep
from .forecasts import with_stored_forecasts


def open_store(
    store: str | os.PathLike[str], sweep: str | Sweep | None = None, *, curves: bool = True
) -> xr.Dataset:
    """All runs of a store, labelled by the keys that vary.

    - **Takes** `store`, a path or an fsspec URL; `sweep`, one of its sweeps or its name, by
        default the runs of all sweeps; `curves`, whether to read the records over time as well.
    - **Returns** for one sweep a dataset over its axes: `outcome` and `ending`, strings, with
        `missing` for runs that were not done; times and other numbers, NaN if undefined;
        `experiment_hash`; `time` and each probe over the axes and `record`, NaN after a run's
        end. For several sweeps the same over `run`, with each varied key as a coordinate.
        Forecasts that are stored with the runs (`lazyrich sweep --forecast`) are variables as of
        [`forecast_runs`][lazyrich.sweeps.forecast_runs].
    - **Raises** [`InputError`][lazyrich.InputError] if there is no store or no such sweep, or if
        the dataset has more than 4 GiB: then [`consolidate`][lazyrich.consolidate] writes it in
        pieces.

    A warning names damaged files, and their runs are missing. Nothing in a store is executed.
    """
    stored: dict[str, dict[str, Any]] = {}
    dataset = open_runs(
        Store(store), sweep, curves=curves, seen=lambda file: stored.update(forecasts_in(file))
    )
    return with_stored_forecasts(dataset, stored)

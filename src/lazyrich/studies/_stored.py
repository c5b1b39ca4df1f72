"""The sweeps of a store, as results for a page."""

import os
import warnings
from typing import Any

from .._core.errors import InputError
from ..records.reclassify import reclassify
from ..records.transition import Thresholds
from ..sweeps._forecast_in_batch import forecasts_in
from ..sweeps._store import Store, assemble
from ..sweeps.forecasts import with_stored_forecasts
from ._result import PanelResult, compare, counts_of


def sweeps_of(
    store: str | os.PathLike[str], thresholds: Thresholds = Thresholds()
) -> list[PanelResult]:
    """Every sweep of a store with its runs, outcomes and published numbers, without running any.

    - **Takes** `store`, a folder or an fsspec URL; `thresholds`, which decide on outcomes.
    - **Raises** [`InputError`][lazyrich.InputError] if there is no store, or no run in it. A
        warning names sweeps that cannot be read or that have no runs.
    """
    opened = Store(store)
    found, damaged = opened.examined_sweeps()
    for place, reason in damaged.items():
        warnings.warn(f"{place}: {reason}", stacklevel=2)
    results: list[PanelResult] = []
    stored: dict[str, dict[str, Any]] = {}
    for digest, sweep in found.items():
        dataset = assemble(opened, sweep, seen=lambda file: stored.update(forecasts_in(file)))
        if "time" not in dataset or not dataset["time"].notnull().any():
            warnings.warn(f"sweep {digest} has no runs yet", stacklevel=2)
            continue
        dataset = with_stored_forecasts(reclassify(dataset, thresholds), stored)
        name = _file_name(sweep.experiment.name, digest, {result.name for result in results})
        rows = compare(sweep.experiment.published, dataset)
        results.append(PanelResult(name, sweep, dataset, counts_of(dataset), rows, []))
    if not results:
        raise InputError("store", opened.url, "should hold a sweep with runs")
    return results


def _file_name(name: str, digest: str, taken: set[str]) -> str:
    """A sweep's name as that of its figure's files."""
    plain = "".join(c if c.isalnum() or c in "-_." else "-" for c in name).strip(".-")[:80]
    return plain if plain and plain not in taken else f"{plain or 'sweep'}-{digest}"

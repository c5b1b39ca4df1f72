"""The record of one run in a store."""

from typing import Any

import numpy as np
import xarray as xr

from ..._core.errors import InputError
from ...records.transition import variables_of_numbers
from .._sweep import Sweep
from ..unbuilt import Unbuilt
from .batch_file import Results
from .sealed import Damaged
from .store import Store
from .table import sources


def record_of(store: Store, sweep: Sweep, number: int) -> xr.Dataset | None:
    """The record of run `number` of a sweep, as far as its store keeps it; None if it was not run.

    Only the file with this run is read. The record has the curves, the scales and the scores of
    the predictors, but not their names, and no arrays over further axes.

    - **Raises** [`InputError`][lazyrich.InputError] for a number that the sweep does not have, for
        a file that is damaged, and for a run that failed, with its error.
    """
    if not 0 <= number < len(sweep):
        raise InputError("run", number, f"should be a number from 0 to {len(sweep) - 1}")
    for source in sources(store, sweep):
        found = np.flatnonzero(source.runs == number)
        if not len(found):
            continue
        row = int(source.rows[found[0]])
        try:
            results = store.read(source.name)
            source.check(len(results.runs))
        except Damaged as error:
            accepted = f"its file {source.name} is damaged: {error}"
            raise InputError("run", number, accepted) from None
        if results.endings[row] == "failed" and np.isnan(results.times[row]).all():
            why = results.about.get("errors", {}).get(str(row), "it says no more")
            raise InputError("run", number, f"failed, and has no curves: {why}")
        return _record(results, row, sweep, number)
    return None


def _record(results: Results, row: int, sweep: Sweep, number: int) -> xr.Dataset:
    times = results.times[row]
    known = ~np.isnan(times)
    variables = {
        name: ("time", values[row][known], results.words.get(name, {}))
        for name, values in results.curves.items()
        if not np.isnan(values[row]).all()
    }
    numbers = {name: float(values[row]) for name, values in results.numbers.items()}
    scales = variables_of_numbers(numbers, results.words)
    coords: dict[str, Any] = {"time": ("time", times[known], results.words.get("time", {}))}
    built = not isinstance(sweep.experiment, Unbuilt)
    run = sweep.run(number) if built else sweep.experiment
    attributes = {
        "experiment": run.description,
        "experiment_hash": results.hashes[row],
        "ending": results.endings[row],
        "lazyrich_version": str(results.about.get("versions", {}).get("lazyrich", "")),
        "homogeneity": (run.homogeneity or 0) if built else 0,
    }
    return xr.Dataset({**variables, **scales}, coords, attributes)

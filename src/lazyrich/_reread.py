"""A sweep's runs by thresholds of one's own."""

from typing import Any

import numpy as np
import xarray as xr

from ._errors import InputError
from ._summary import early_and_late
from ._transition import Thresholds, read_off

# Outcomes of runs without a record.
_UNREAD = ("failed", "missing")


def reread(dataset: xr.Dataset, thresholds: Thresholds) -> xr.Dataset:
    """A sweep's dataset with outcomes, times, early and late values by other thresholds.

    A sweep reads them off with [`Thresholds`][lazyrich.Thresholds] as they are by default. The
    curves are kept, so that nothing has to be run again.

    - **Takes** a sweep's dataset with its curves.
    - **Raises** [`InputError`][lazyrich.InputError] for a dataset without them.
    """
    axes = dataset["outcome"].dims
    if "time" not in dataset or dataset["time"].dims != (*axes, "record"):
        raise InputError("dataset", list(map(str, dataset)), "should be read with its curves")
    curves = {
        str(name): variable.values
        for name, variable in dataset.data_vars.items()
        if variable.dims == (*axes, "record") and name != "time"
    }
    outcomes = dataset["outcome"].values.astype(object)
    numbers = {
        str(name): variable.values.copy()
        for name, variable in dataset.data_vars.items()
        if variable.dims == axes and variable.dtype.kind == "f"
    }
    for place in np.ndindex(outcomes.shape):
        if outcomes[place] in _UNREAD:
            continue
        times = dataset["time"].values[place]
        known = ~np.isnan(times)
        of_run = {name: values[place][known] for name, values in curves.items()}
        ending = str(dataset["ending"].values[place])
        events = read_off(times[known], of_run, ending, thresholds)
        outcomes[place] = events.outcome
        found: dict[str, Any] = events._asdict()
        for when, states in early_and_late(times[known], of_run, events).items():
            found |= {f"{when}_{name}": value for name, value in states.items()}
        for name, values in numbers.items():
            if name in found:
                values[place] = found[name]
    changed = {name: (axes, values, dataset[name].attrs) for name, values in numbers.items()}
    changed["outcome"] = (axes, outcomes.astype(str), dataset["outcome"].attrs)
    return dataset.assign(changed)

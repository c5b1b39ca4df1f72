"""Outcomes of a sweep's runs by other thresholds."""

import json
from typing import Any

import numpy as np
import xarray as xr
from jaxtyping import Float

from .._core.errors import InputError
from .described import number_in
from .summary import early_and_late
from .transition import Thresholds, check_thresholds, read_off, scales_of_numbers

# Endings of runs without a record.
_UNREAD = ("failed", "missing")


def reclassify(dataset: xr.Dataset, thresholds: Thresholds) -> xr.Dataset:
    """A sweep's dataset with outcomes, times, early and late values by other thresholds.

    The dataset of a sweep has them by the default [`Thresholds`][lazyrich.Thresholds]. The new
    ones are computed from the curves, so no run is repeated.

    - **Takes** a sweep's dataset with its curves.
    - **Returns** the dataset without `forecast_right`, which compares forecasts with the former
        outcomes; [`forecast_scores`][lazyrich.sweeps.forecast_scores] counts by the new ones.
    - **Raises** [`InputError`][lazyrich.InputError] for a dataset without curves.
    """
    if not isinstance(dataset, xr.Dataset) or "outcome" not in dataset:
        given = list(map(str, dataset)) if isinstance(dataset, xr.Dataset) else dataset
        raise InputError("dataset", given, "should be that of a sweep, as open_store returns it")
    axes = dataset["outcome"].dims
    if "time" not in dataset or dataset["time"].dims != (*axes, "record"):
        raise InputError("dataset", list(map(str, dataset)), "should be read with its curves")
    check_thresholds(thresholds)
    dataset = dataset.drop_vars("forecast_right", errors="ignore")
    curves = {
        str(name): variable.values
        for name, variable in dataset.data_vars.items()
        if variable.dims == (*axes, "record") and name != "time"
    }
    outcomes = dataset["outcome"].values.astype(object)
    numbers: dict[str, np.ndarray] = {
        str(name): variable.values.copy()
        for name, variable in dataset.data_vars.items()
        if variable.dims == axes and variable.dtype.kind == "f"
    }
    endings, decays = dataset["ending"].values, _decays(dataset)
    measured = {name: values.copy() for name, values in numbers.items()}
    for place in np.ndindex(outcomes.shape):
        ending = str(endings[place])
        if ending in _UNREAD:
            continue
        times = dataset["time"].values[place]
        known = ~np.isnan(times)
        of_run = {name: values[place][known] for name, values in curves.items()}
        of_place = {name: float(values[place]) for name, values in measured.items()}
        scales = scales_of_numbers(of_place, float(decays[place]))
        events = read_off(times[known], of_run, ending, thresholds, scales)
        outcomes[place] = events.outcome
        found: dict[str, Any] = dict(events.numbers())
        for when, states in early_and_late(times[known], of_run, events).items():
            found |= {f"{when}_{name}": value for name, value in states.items()}
        for name, value in found.items():
            if name not in numbers:
                numbers[name] = np.full(outcomes.shape, np.nan)
            numbers[name][place] = value
    changed: dict[str, Any] = {
        name: (axes, values, dataset[name].attrs if name in dataset else _labels(name))
        for name, values in numbers.items()
    }
    changed["outcome"] = (axes, outcomes.astype(str), dataset["outcome"].attrs)
    return dataset.assign(changed).assign_attrs(thresholds=json.dumps(thresholds.table()))


def _labels(name: str) -> dict[str, str]:
    return {"long_name": name.replace("_", " "), "units": "1"}


def _decays(dataset: xr.Dataset) -> Float[np.ndarray, "..."]:
    """The weight decay of every run, NaN if unknown."""
    outcome = dataset["outcome"]
    if "weight_decay" in dataset.coords:
        return xr.broadcast(dataset["weight_decay"], outcome)[0].transpose(*outcome.dims).values
    return np.full(outcome.shape, number_in(dataset, "weight_decay"))

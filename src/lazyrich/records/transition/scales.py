"""Reference values for the scores of a run, from a record or from a sweep's numbers."""

import math
from collections.abc import Mapping

import xarray as xr

from ..described import number_in
from .scores import Scales


def scales_of_record(record: xr.Dataset) -> Scales:
    """The reference values for scores that a record contains."""
    roles = record["predictor"].values.tolist() if "predictor" in record.coords else []
    numbers = {
        str(name): float(record[name])
        for name in record.data_vars
        if record[name].dims == () and record[name].dtype.kind == "f"
    }
    for role in roles:
        row = record.sel(predictor=role)
        for key in ("test_accuracy", "test_loss"):
            if f"predictor_{key}" in row:
                numbers[f"{role}_{key}"] = float(row[f"predictor_{key}"])
        numbers[f"{role}_certified"] = float(row["predictor_status"].item() in _CERTIFIED)
    weight_decay = number_in(record, "weight_decay")
    # Weight decay acts in flow time. How far it has acted by a step or an epoch is unknown.
    if str(record["time"].attrs.get("units", "1")) in ("step", "epoch"):
        weight_decay = math.nan
    return scales_of_numbers(numbers, weight_decay)


_CERTIFIED = ("optimal", "stationary")
_ROLES = ("kernel", "rich")


def scales_of_numbers(numbers: Mapping[str, float], weight_decay: float = math.nan) -> Scales:
    """The same from the numbers of a run in a sweep, by name; missing values are unknown."""

    def number(name: str) -> float:
        return float(numbers.get(name, math.nan))

    certified = [role for role in _ROLES if number(f"{role}_certified") == 1]
    accuracies = [number(f"{role}_test_accuracy") for role in certified]
    losses = [number(f"{role}_test_loss") for role in certified]
    return Scales(
        train_variance=number("train_variance"),
        test_variance=number("test_variance"),
        blank_loss=number("blank_loss"),
        chance=number("test_chance"),
        best_accuracy=max((a for a in accuracies if not math.isnan(a)), default=math.nan),
        best_loss=min((a for a in losses if not math.isnan(a)), default=math.nan),
        weight_decay=weight_decay,
    )

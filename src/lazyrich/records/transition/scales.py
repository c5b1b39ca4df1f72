"""Reference values for the scores of a run, from a record or from a sweep's numbers."""

import math
from collections.abc import Mapping
from typing import Any

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


# Reference values that are variables of a record.
_SCALES = (
    "train_variance", "test_variance", "blank_loss", "test_chance", "num_test", "init_rms",
)  # fmt: skip


def variables_of_numbers(
    numbers: Mapping[str, float], words: Mapping[str, dict[str, Any]]
) -> dict[str, Any]:
    """The variables of a record that hold the numbers of a run in a sweep.

    They are what `scales_of_record` reads, and the scores of the predictors; along `predictor` if
    there are any. `words` are the attributes of variables, by name.
    """
    found: dict[str, Any] = {n: ((), numbers[n], words.get(n, {})) for n in _SCALES if n in numbers}
    roles = [role for role in _ROLES if f"{role}_certified" in numbers]
    if not roles:
        return found
    for key in ("train_accuracy", "test_accuracy", "train_loss", "test_loss"):
        values = [numbers.get(f"{role}_{key}", math.nan) for role in roles]
        if not all(map(math.isnan, values)):
            found[f"predictor_{key}"] = ("predictor", values)
    certified = [numbers[f"{role}_certified"] == 1 for role in roles]
    status = ["optimal" if yes else "not_certified" for yes in certified]
    found["predictor_status"] = ("predictor", status)
    found["predictor_label"] = ("predictor", [f"{role} predictor" for role in roles])
    return found | {"predictor": ("predictor", roles, {})}


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
        num_test=number("num_test"),
    )

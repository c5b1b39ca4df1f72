"""Rows of measurements, and the record made of them."""

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
import xarray as xr

from ...records import Thresholds, record as record_of
from ...records.schema import VARIABLES

# Losses without which a row is not one of a record, and accuracies.
JUDGED = ("train_loss", "test_loss", "train_accuracy", "test_accuracy")
BLOCK = "block"
_SOURCE = "lazyrich.torch.Monitor"


class Rows:
    """One row of numbers and small arrays for each recorded step."""

    def __init__(self) -> None:
        self.steps: list[int] = []
        self.values: list[dict[str, Any]] = []

    def add(self, step: int, row: dict[str, Any]) -> None:
        """A row of a step, after those before."""
        self.steps.append(step)
        self.values.append(row)

    def column(self, name: str) -> np.ndarray:
        """The values of a variable, `(t, ...)`; NaN in rows without one."""
        shape = next(np.shape(row[name]) for row in self.values if name in row)
        gap = np.full(shape, np.nan)
        return np.array([np.asarray(row.get(name, gap), dtype=float) for row in self.values])

    def in_motion(self) -> "Rows":
        """The rows without those of a rest, in which flow time and losses stay the same.

        A learning rate of 0 makes a rest. Its last row stays, and row 0.
        """
        still = ("flow_time", "train_loss", "test_loss")
        found = Rows()
        for step, row in zip(self.steps, self.values, strict=True):
            last = found.values[-1] if found.values else {}
            if last and all(row[name] == last[name] for name in still):
                if len(found.values) == 1:
                    continue
                found.steps.pop()
                found.values.pop()
            found.add(step, row)
        return found

    @property
    def names(self) -> list[str]:
        """The variables of any row."""
        return list(dict.fromkeys(name for row in self.values for name in row))

    def state(self) -> dict[str, Any]:
        """Everything as tensors."""
        columns = {name: torch.as_tensor(self.column(name)) for name in self.names}
        given = {name: torch.tensor([name in row for row in self.values]) for name in self.names}
        return {"steps": torch.tensor(self.steps), "columns": columns, "given": given}

    def load(self, state: dict[str, Any]) -> None:
        """The reverse of `state`."""
        self.steps = [int(step) for step in state["steps"]]
        self.values = [{} for _ in self.steps]
        for name, column in state["columns"].items():
            for row, value, given in zip(
                self.values, column.cpu().numpy(), state["given"][name], strict=True
            ):
                if given:
                    row[name] = float(value) if value.ndim == 0 else value.copy()


def make_record(
    rows: Rows,
    blocks: Sequence[str],
    *,
    in_flow_time: bool,
    name: str,
    weight_decay: float,
    scales: dict[str, float],
    ending: str,
    thresholds: Thresholds | None,
    about: dict[str, Any],
) -> xr.Dataset:
    """The record of the rows.

    - **Takes** `in_flow_time`, whether `time` is the sum of learning rates, and not the step.
    """
    steps = np.array(rows.steps)
    columns = {key: rows.column(key) for key in rows.names}
    lines = {key: column for key, column in columns.items() if column.ndim == 1}
    if in_flow_time:
        axis: dict[str, Any] = {"unit": "time", "steps": steps}
        times = lines.pop("flow_time")
    else:
        axis, times = {"unit": "step"}, steps
    made = record_of(
        times,
        lines,
        **axis,
        name=name,
        weight_decay=weight_decay,
        scales=scales,
        thresholds=thresholds,
        ending=ending,
        source=_SOURCE,
    )
    for key, column in columns.items():
        if column.ndim > 1:
            variable = VARIABLES[key]
            made[key] = (variable.dims, column, variable.labels)
    if any(BLOCK in made[key].dims for key in made.data_vars):
        made = made.assign_coords({BLOCK: (BLOCK, list(blocks), VARIABLES[BLOCK].labels)})
    made.attrs["monitor"] = json.dumps(about)
    return made

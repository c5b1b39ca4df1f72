"""What the source of a panel reports."""

import json
import math
from collections.abc import Callable, Mapping
from typing import Annotated, Any

import pydantic
from annotated_types import Gt

from .._core.description import Description
from .._core.errors import InputError


class PublishedAt(Description):
    """What a source reports of some of a panel's runs alone.

    - **Takes** `where`, the runs: values by dotted key, such as `{"init_scale": 10.0}`, a list
        for any of its values; `numbers`, as those of
        [`Published`][lazyrich.experiments.Published]; `curves`, names in its file by the probe
        that they show, such as `{"test_accuracy": "test_acc_he_x10"}`.
    """

    where: dict[str, Any]
    numbers: dict[str, float] = pydantic.Field(default_factory=dict)
    curves: dict[str, str] = pydantic.Field(default_factory=dict)


class Published(Description):
    """What the source of a panel reports, in our units.

    `numbers` are keyed by the names of `summary.json`, and agree with ours if their ratio is
    within `1 + tolerance`; `note` says where and why they do not. `curves` is a CSV file with
    columns `curve,x,y` beside the panel's file, whose `x` becomes time by `time_per_step`.
    `at` holds numbers and curves that belong to some values of what the panel varies.
    """

    source: str
    numbers: dict[str, float] = pydantic.Field(default_factory=dict)
    tolerance: Annotated[float, Gt(0)] = 0.1
    note: str | None = None
    curves: str | None = None
    time_per_step: Annotated[float, Gt(0)] = 1.0
    at: tuple[PublishedAt, ...] = ()

    @pydantic.field_validator("at", mode="before")
    @classmethod
    def _parts(cls, value: Any) -> Any:
        if not isinstance(value, list | tuple):
            raise InputError("at", value, "should be a list of tables with `where`")
        try:
            return tuple(PublishedAt(**part) if isinstance(part, dict) else part for part in value)
        except InputError as error:
            raise error.under("at") from None

    def table(self) -> dict[str, Any]:
        parts = {"at": [part.table() for part in self.at]} if self.at else {}
        return {key: value for key, value in super().table().items() if key != "at"} | parts

    def numbers_of(self, value: Callable[[str], Any]) -> dict[str, float]:
        """The numbers that hold for one run, whose keys have the values that `value` gives."""
        found = dict(self.numbers)
        for part in self.at:
            if holds(part.where, value):
                found |= part.numbers
        return found

    def curves_of(self, value: Callable[[str], Any]) -> dict[str, str]:
        """The names of the curves that show one run, by probe."""
        found = dict(_CURVES)
        for part in self.at:
            if holds(part.where, value):
                found |= part.curves
        return found


# What a panel with a single run calls its curves.
_CURVES = {
    "train_accuracy": "train_acc",
    "test_accuracy": "test_acc",
    "train_loss": "train_loss",
    "test_loss": "test_loss",
    "param_norm": "norm",
}


def holds(where: Mapping[str, Any], value: Callable[[str], Any]) -> bool:
    """Whether the values of a run are those of `where`."""
    return all(same(value(key), wanted) for key, wanted in where.items())


def same(value: Any, wanted: Any) -> bool:
    """Whether two values are one; of a list, any. Numbers may differ in the tenth digit, and
    datasets hold tables as their JSON."""
    if isinstance(wanted, list | tuple):
        return any(same(value, one) for one in wanted)
    if isinstance(wanted, Mapping) and isinstance(value, str):
        return bool(json.loads(value) == wanted)
    if all(isinstance(v, int | float) and not isinstance(v, bool) for v in (value, wanted)):
        return math.isclose(value, wanted, rel_tol=1e-9)
    return bool(value == wanted)

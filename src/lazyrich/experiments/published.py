"""The numbers and curves that the source of a panel reports."""

import json
import math
from collections.abc import Callable, Mapping
from typing import Annotated, Any

import pydantic
from annotated_types import Gt

from .._core.description import Description
from .._core.errors import InputError


class PublishedAt(Description):
    """Numbers and curves that a source reports for some of a panel's runs only.

    - **Takes** `where`, which selects the runs: values by dotted key, such as
        `{"init_scale": 10.0}`, or a list of accepted values; `numbers`, as those of
        [`Published`][lazyrich.experiments.Published]; `curves`, the names of curves in the file,
        keyed by probe, such as `{"test_accuracy": "test_acc_he_x10"}`.
    """

    where: dict[str, Any]
    numbers: dict[str, float] = pydantic.Field(default_factory=dict)
    curves: dict[str, str] = pydantic.Field(default_factory=dict)


class Published(Description):
    """Numbers and curves that the source of a panel reports, in the units of lazyrich.

    The keys of `numbers` are those of `summary.json`. A number agrees if its ratio to the measured
    one is within `1 + tolerance`; `note` says where numbers disagree and why. `curves` is a CSV
    file with columns `curve,x,y` in the folder of the panel's file; `x` times `time_per_step` is
    the time. `at` contains numbers and curves for some values of the keys that the panel varies.
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
        """The published numbers for one run. `value` gives the value of a key in this run."""
        found = dict(self.numbers)
        for part in self.at:
            if holds(part.where, value):
                found |= part.numbers
        return found

    def curves_of(self, value: Callable[[str], Any]) -> dict[str, str]:
        """The names of the published curves for one run, keyed by probe."""
        found = dict(_CURVES)
        for part in self.at:
            if holds(part.where, value):
                found |= part.curves
        return found


# The name of each curve in the file of a panel with a single run.
_CURVES = {
    "train_accuracy": "train_acc",
    "test_accuracy": "test_acc",
    "train_loss": "train_loss",
    "test_loss": "test_loss",
    "param_norm": "norm",
}


def holds(where: Mapping[str, Any], value: Callable[[str], Any]) -> bool:
    """Whether the values of a run match `where`."""
    return all(same(value(key), wanted) for key, wanted in where.items())


def same(value: Any, wanted: Any) -> bool:
    """Whether two values are equal, or one of the list `wanted` is. Numbers may differ by rounding,
    and datasets hold tables as JSON."""
    if isinstance(wanted, list | tuple):
        return any(same(value, one) for one in wanted)
    if isinstance(wanted, Mapping) and isinstance(value, str):
        return bool(json.loads(value) == wanted)
    if all(isinstance(v, int | float) and not isinstance(v, bool) for v in (value, wanted)):
        return math.isclose(value, wanted, rel_tol=1e-9)
    return bool(value == wanted)

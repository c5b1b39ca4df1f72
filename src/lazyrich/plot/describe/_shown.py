"""Records as they are drawn."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import xarray as xr
from jaxtyping import Float

from ..._core.errors import InputError
from ..._core.given import check_kind
from ..._core.keys import at_key
from ...experiments.published import Published
from ...forecasts import Forecast
from ...records.described import description_of
from ...studies import curves_at
from ..description import Style
from ..description.style import overlaid

Curves = Mapping[str, Float[np.ndarray, "2 k"]]
Records = xr.Dataset | Sequence[xr.Dataset] | Mapping[str, xr.Dataset]


@dataclass(frozen=True)
class Shown:
    """A record as it is drawn.

    - `name`, empty for a single run; `place`, its number among several, None for a single one.
    - `curves`, published ones; `forecast`, None without one.
    """

    record: xr.Dataset
    name: str
    place: int | None
    curves: Curves
    forecast: Forecast | Mapping[str, Any] | None

    @property
    def times(self) -> Float[np.ndarray, " time"]:
        """The times of the records."""
        return np.asarray(self.record["time"].values, dtype=float)

    def has(self, *names: str) -> bool:
        """Whether one of the variables was recorded, with values that are known."""
        return any(n in self.record and bool(self.record[n].notnull().any()) for n in names)

    def values(self, name: str) -> Float[np.ndarray, " time"]:
        """The values of a variable."""
        return np.asarray(self.record[name].values, dtype=float)

    def paint(self, style: Style) -> Style:
        """The style of a single run, or that of one among several, which has its own colour."""
        if self.place is None:
            return style
        colour, marker = overlaid(self.place)
        return replace(style, colour=colour, marker=marker, few=True)

    def named(self, text: str) -> str:
        """A name for hovering."""
        return f"{self.name}, {text}" if self.name else text

    def group(self, part: str) -> str:
        """What is shown and hidden together: a part of a single run, or one of several runs."""
        return self.name or part

    def label(self, text: str, main: bool = False) -> str:
        """The label at the end of a curve; among several, only main curves have one."""
        if self.place is None:
            return text.replace(", ", ",\n")
        return self.name if main else ""


def curves_of(record: xr.Dataset) -> dict[str, Float[np.ndarray, "2 k"]]:
    """The published curves of the library that a record's experiment names."""
    description = description_of(record)
    table = description.get("published")
    published = None if table is None else Published(**table)
    return curves_at(published, lambda key: at_key(description, key))


def shown(
    record: Records, forecast: Forecast | Mapping[str, Any] | None, curves: Curves | None
) -> list[Shown]:
    """The records of an argument, with their names.

    - **Raises** [`InputError`][lazyrich.InputError] for none, and for several with a forecast.
    """
    if forecast is not None:
        accepted = "that of lr.forecast, or its summary"
        check_kind("forecast", forecast, (Forecast, Mapping), accepted)
    if isinstance(record, xr.Dataset):
        return [Shown(record, "", None, curves_of(record) if curves is None else curves, forecast)]
    check_kind("record", record, (Mapping, Sequence), "a record, or several, as a list or by name")
    named: Any = dict(record) if isinstance(record, Mapping) else _by_name(record)
    if not named:
        raise InputError("record", "", "should be one record or more")
    if forecast is not None and len(named) > 1:
        raise InputError("forecast", len(named), "should belong to a single record")
    if len(named) == 1:
        return shown(next(iter(named.values())), forecast, curves)
    return [Shown(one, n, i, {}, None) for i, (n, one) in enumerate(named.items())]


def _by_name(records: Sequence[xr.Dataset]) -> dict[str, xr.Dataset]:
    """Records by the names of their experiments, numbered where these are the same."""
    names = [str(description_of(one).get("name", "run")) for one in records]
    found = {}
    for place, (name, one) in enumerate(zip(names, records, strict=True)):
        found[name if names.count(name) == 1 else f"{name} ({place + 1})"] = one
    return found

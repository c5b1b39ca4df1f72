"""A sweep's dataset along one dimension `run`."""

import json
from typing import Any, NamedTuple

import numpy as np
import xarray as xr
from jaxtyping import Float, Int, Shaped

from .._core.errors import InputError
from .._core.keys import at_key, inside, is_inside, without_key
from ..records.described import description_of
from ..records.transition import CHANGED, LATER, OUTCOMES, time_names

_CHANGE_TIMES = ("t10", "t50", "t90", "t50_sustained", "t10_loss", "t50_loss", "t90_loss")


def as_table(value: Any) -> dict[str, Any] | None:
    """The table in a value of a dataset, which holds tables as JSON; None for other values."""
    if isinstance(value, str) and value.startswith("{"):
        value = json.loads(value)
    return value if isinstance(value, dict) else None


class Runs(NamedTuple):
    """A sweep's dataset with one dimension `run`.

    - `keys`: the names of the swept keys, each a coordinate along `run`.
    - `times`: the names of the transition times in the dataset.
    """

    data: xr.Dataset
    keys: tuple[str, ...]
    times: tuple[str, ...]

    def outcomes(self, name: str = "outcome") -> Shaped[np.ndarray, " run"]:
        """One of `OUTCOMES` for each run; missing for gaps of an outer join."""
        values = self.data[name].values
        found = np.array([v if isinstance(v, str) else "missing" for v in values], dtype=object)
        unknown = sorted({*found} - {*OUTCOMES})
        if unknown:
            raise InputError(name, str(unknown[0]), f"should be among {', '.join(OUTCOMES)}")
        return found

    def key(self, key: str, argument: str) -> Shaped[np.ndarray, " run"]:
        """The value of `key` in every run; `argument` is the caller's name for the key.

        A key that is not swept has the value of the base experiment.
        """
        if key in self.data.coords and self.data[key].dims in (("run",), ()):
            return np.broadcast_to(self.data[key].values, self.data.sizes["run"])
        for table in self.data.coords:
            if is_inside(key, str(table)) and self.data[table].dims == ("run",):
                return self._inside(str(table), key, argument)
        value = at_key(description_of(self.data), key)
        if value is None or isinstance(value, dict | list):
            raise InputError(
                argument,
                key,
                f"should be a swept key ({', '.join(self.keys) or 'there is none'}) "
                "or a number of the base experiment",
            )
        return np.full(self.data.sizes["run"], value)

    def _inside(self, table: str, key: str, argument: str) -> Shaped[np.ndarray, " run"]:
        """The values of a key inside a table that is swept.

        As a `where` argument the key may be absent from some tables; their runs have None.
        """
        found = []
        for text in self.data[table].values.tolist():
            value = at_key(as_table(text), inside(key, table))
            found.append(None if isinstance(value, dict | list) else value)
        lacking = [value is None for value in found]
        if all(lacking) or (any(lacking) and argument not in ("where", "against")):
            text = self.data[table].values[lacking.index(True)]
            accepted = f"should be a key of every swept table {table}; it is missing in {text}"
            raise InputError(argument, key, accepted)
        return np.array(found, dtype=object if any(lacking) else None)

    def without(self, axis: str, key: str, argument: str) -> Shaped[np.ndarray, " run"]:
        """The tables of an axis without one key, as text."""
        table = next(name for name in axis.split(",") if is_inside(key, name))
        texts = self.key(table, argument).tolist()
        rests = (without_key(json.loads(text), inside(key, table)) for text in texts)
        return np.array([json.dumps(rest, sort_keys=True) for rest in rests])

    def time(self, name: str, argument: str = "quantity") -> Float[np.ndarray, " run"]:
        """A time of every run; infinite if later than the horizon, NaN if unknown.

        Times of the test score's change are defined by fractions of the change to the last value.
        Only a settled run has them, because in other runs the last value depends on the horizon.
        """
        if name not in self.data or self.data[name].dims != ("run",):
            raise InputError(
                argument,
                name,
                f"should be a time in the dataset: {', '.join(self.times) or 'there is none'}",
            )
        outcomes, values = self.outcomes(), self.data[name].values.astype(float)
        if name in _CHANGE_TIMES:
            values = np.where(np.isin(outcomes, CHANGED), values, np.nan)
        values[~np.isfinite(values) & np.isin(outcomes, LATER)] = np.inf
        return values


def check_dataset(dataset: object) -> None:
    """Raises [`InputError`][lazyrich.InputError] unless `dataset` is that of a sweep."""
    if not isinstance(dataset, xr.Dataset) or "outcome" not in dataset:
        shown = type(dataset).__name__
        if isinstance(dataset, xr.Dataset):
            shown = ", ".join(map(str, dataset.data_vars)) or "nothing"
        accepted = "should be a sweep's dataset, which has the variable `outcome`"
        raise InputError("dataset", shown, accepted)


def runs_of(dataset: xr.Dataset, *names: str) -> Runs:
    """The outcome and the named variables, if present, flattened to runs."""
    check_dataset(dataset)
    times = tuple(t for t in time_names() if t in dataset)
    # Selected before flattening, which would otherwise read every curve of a large store.
    data = dataset[["outcome", *(name for name in names if name in dataset and name != "outcome")]]
    dims = tuple(str(dim) for dim in data["outcome"].dims)
    if not dims:
        data = data.expand_dims("run")
    elif dims != ("run",):
        data = data.stack(run=dims).reset_index("run")
        return Runs(data.transpose("run", ...), dims, times)
    keys = tuple(str(c) for c in data.coords if data[c].dims == ("run",) and c != "run")
    return Runs(data.transpose("run", ...), keys, times)


def levels(values: Shaped[np.ndarray, " run"]) -> tuple[Shaped[np.ndarray, " k"], Any]:
    """The different values in increasing order, and each run's index among them.

    Numbers that agree to nine digits count as one, because two machines may differ in the last
    digit of a logarithmic grid. A run whose value is NaN has the index -1.
    """
    if values.dtype.kind not in "fiu":
        found, place = np.unique(values.astype(str), return_inverse=True)
        return found, place
    known = ~np.isnan(values.astype(float))
    found, place = np.unique(values[known], return_inverse=True)
    new = np.ones(len(found), bool)
    new[1:] = np.diff(found) > 1e-9 * np.abs(found[1:])
    places = np.full(len(values), -1)
    places[known] = (np.cumsum(new) - 1)[place]
    return found[new], places


def counted(
    outcomes: Shaped[np.ndarray, " run"],
    at: tuple[Int[np.ndarray, " run"], ...],
    shape: tuple[int, ...],
) -> Int[np.ndarray, "kind ..."]:
    """The number of runs with each outcome at every index; runs with index -1 are not counted."""
    count = np.zeros((len(OUTCOMES), *shape), dtype=int)
    kind = np.array([OUTCOMES.index(outcome) for outcome in outcomes], dtype=int)
    placed = np.all([axis >= 0 for axis in at], axis=0)
    np.add.at(count, (kind[placed], *(axis[placed] for axis in at)), 1)
    return count


def majority(count: Int[np.ndarray, "kind ..."]) -> Shaped[np.ndarray, "..."]:
    """The most frequent outcome, among equals the first in `OUTCOMES`; missing without runs."""
    ran = count[:-1]
    names = np.array(OUTCOMES, dtype=object)
    return np.where(ran.sum(0) > 0, names[np.argmax(ran, axis=0)], "missing")

"""A sweep as a map: the outcomes and times of its runs over two of its keys."""

import json
import tomllib
from typing import Any, NamedTuple

import numpy as np
import xarray as xr
from jaxtyping import Float, Int, Shaped

from .._errors import InputError
from .._transition import CHANGED, LATER, OUTCOMES, time_names

_FORECASTS = ("forecast_outcome", "forecast_t50")
_CHANGE_TIMES = ("t10", "t50", "t90", "t50_sustained", "t10_loss", "t50_loss", "t90_loss")


def as_table(value: Any) -> dict[str, Any] | None:
    """A table, which datasets hold as JSON; None for what is none."""
    if isinstance(value, str) and value.startswith("{"):
        value = json.loads(value)
    return value if isinstance(value, dict) else None


class Runs(NamedTuple):
    """A sweep's dataset with one dimension `run`.

    - `keys`: the names of its swept keys, each a coordinate along `run`.
    - `times`: the names of the transition times it was made from.
    """

    data: xr.Dataset
    keys: tuple[str, ...]
    times: tuple[str, ...]

    def outcomes(self, name: str = "outcome") -> Shaped[np.ndarray, " run"]:
        """One of `OUTCOMES` a run; what is no string (a gap of an outer join) is missing."""
        values = self.data[name].values
        found = np.array([v if isinstance(v, str) else "missing" for v in values], dtype=object)
        unknown = sorted({*found} - {*OUTCOMES})
        if unknown:
            raise InputError(name, str(unknown[0]), f"should be among {', '.join(OUTCOMES)}")
        return found

    def key(self, key: str, argument: str) -> Shaped[np.ndarray, " run"]:
        """The value of `key` in every run; `argument` is what the caller gave it as.

        A key that is not swept has the value of the base experiment.
        """
        if key in self.data.coords and self.data[key].dims in (("run",), ()):
            return np.broadcast_to(self.data[key].values, self.data.sizes["run"])
        for table in self.data.coords:
            if key.startswith(f"{table}.") and self.data[table].dims == ("run",):
                return self._inside(str(table), key, argument)
        value: Any = tomllib.loads(self.data.attrs.get("experiment", ""))
        for part in key.split("."):
            value = value.get(part) if isinstance(value, dict) else None
        if value is None or isinstance(value, dict | list):
            raise InputError(
                argument,
                key,
                f"should be a swept key ({', '.join(self.keys) or 'there is none'}) "
                "or a number of the base experiment",
            )
        return np.full(self.data.sizes["run"], value)

    def _inside(self, table: str, key: str, argument: str) -> Shaped[np.ndarray, " run"]:
        """The values of a key that stands inside of a table that is swept.

        To choose runs by, some of the tables may lack it: those runs have None.
        """
        found = []
        for text in self.data[table].values.tolist():
            value: Any = as_table(text)
            for part in key[len(table) + 1 :].split("."):
                value = value.get(part) if isinstance(value, dict) else None
            found.append(None if isinstance(value, dict | list) else value)
        lacking = [value is None for value in found]
        if all(lacking) or (any(lacking) and argument not in ("where", "against")):
            text = self.data[table].values[lacking.index(True)]
            accepted = f"should stand in every table of {table}, which is swept; not in {text}"
            raise InputError(argument, key, accepted)
        return np.array(found, dtype=object if any(lacking) else None)

    def without(self, axis: str, key: str, argument: str) -> Shaped[np.ndarray, " run"]:
        """What an axis of tables has beside a key inside of them, as text."""
        table = next(name for name in axis.split(",") if key.startswith(f"{name}."))
        *parents, leaf = key[len(table) + 1 :].split(".")
        found = []
        for text in self.key(table, argument).tolist():
            place = rest = json.loads(text)
            for parent in parents:
                place = place[parent]
            place.pop(leaf, None)
            found.append(json.dumps(rest, sort_keys=True))
        return np.array(found)

    def time(self, name: str, argument: str = "quantity") -> Float[np.ndarray, " run"]:
        """A time of every run; infinite where it lies past the horizon, NaN where unknown.

        Times of the test score's change are fractions of the way to its last value. Only a
        run that settled has them: in another, that value is where the horizon cut it.
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


def runs_of(dataset: xr.Dataset, *names: str) -> Runs:
    """The outcome and the named variables (those that are there), flattened to runs."""
    if "outcome" not in dataset:
        shown = ", ".join(map(str, dataset.data_vars)) or "nothing"
        raise InputError(
            "dataset", shown, "should be a sweep's dataset, which has the variable `outcome`"
        )
    times = tuple(t for t in time_names() if t in dataset)
    # Chosen before flattening, which would read every curve of a large store.
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
    """The different values in increasing order, and each run's place among them.

    Numbers that agree to nine digits are one: two machines may differ in the last place
    of a logarithmic grid. A run whose value is NaN has the place -1.
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
    """How many runs of each outcome are at every place; a place of -1 is none."""
    count = np.zeros((len(OUTCOMES), *shape), dtype=int)
    kind = np.array([OUTCOMES.index(outcome) for outcome in outcomes], dtype=int)
    placed = np.all([axis >= 0 for axis in at], axis=0)
    np.add.at(count, (kind[placed], *(axis[placed] for axis in at)), 1)
    return count


def majority(count: Int[np.ndarray, "kind ..."]) -> Shaped[np.ndarray, "..."]:
    """The most frequent outcome; of equals the first in `OUTCOMES`; missing if none ran."""
    ran = count[:-1]
    names = np.array(OUTCOMES, dtype=object)
    return np.where(ran.sum(0) > 0, names[np.argmax(ran, axis=0)], "missing")


def phase_diagram(
    dataset: xr.Dataset, x: str = "init_scale", y: str = "weight_decay"
) -> xr.Dataset:
    r"""Outcomes, delays and transition times over two of a sweep's keys.

    Everything else (seeds, and whatever other key is swept) is reduced: select one value
    of a key first, with `dataset.sel`, to keep it out. A run that is censored counts as
    later than all others, so a median or quartile that falls on one is NaN: never zero,
    never the horizon.

    - **Takes** a sweep's dataset, over its keys or over `run`; `x` and `y`, keys that are
        swept or have a number in the base experiment.
    - **Returns** variables over `(y, x)`, in increasing order: `outcome`, the most frequent
        one, of equally frequent ones the one that claims least (failed, unscored, collapsed,
        untrained, unchanged, improved, misgrokked, gradual, immediate, grokked); `num_runs`,
        without missing ones; `agreement`, the share of them with that outcome; `delay`, the median
        of `t_test / t_train`, `lag`, of `t_test - t_train`, and `t50`, the median half time,
        each with quartiles `_low` and `_high`; `width`, the median of $\log(t_{90}/t_{10})$.
        They are NaN where fewer than half of the runs have one. `count`, over `(kind, y, x)`, is
        the number of each outcome, missing included. Of a dataset with forecasts, see
        [`forecast_runs`][lazyrich.forecast_runs], also `forecast_outcome`, the most frequent
        one of those forecast, `forecast_t50`, and `forecast_error`, the median of
        $\log(t_{50} \text{ forecast} / t_{50})$, with quartiles. Attributes: `x`, `y`; `t1`, the
        horizon, unless it is swept; `num_without_place`, the number of runs without a value of
        `x` or `y`.
    - **Raises** [`InputError`][lazyrich.InputError] for a key that is neither swept nor in
        the base experiment, and for a dataset that is not a sweep's.
    """
    if x == y:
        raise InputError("y", y, f"should differ from x = {x!r}")
    runs = runs_of(dataset, "t_train", "t_test", "t10", "t50", "t90", *_FORECASTS)
    xs, column = levels(runs.key(x, "x"))
    ys, row = levels(runs.key(y, "y"))
    placed = (column >= 0) & (row >= 0)
    outcomes, shape = runs.outcomes(), (len(ys), len(xs))
    at = np.where(placed, row, -1), column
    count = counted(outcomes, at, shape)
    num_runs = count[:-1].sum(0)

    cell = np.where(placed & (outcomes != "missing"), row * len(xs) + column, -1)
    with np.errstate(divide="ignore", invalid="ignore"):
        t_train, t_test = runs.time("t_train"), runs.time("t_test")
        # What is fitted from the start has no ratio.
        delay = np.where(t_train > 0, t_test / t_train, np.nan)
        lag = np.where(np.isfinite(t_train), t_test - t_train, np.nan)
        width = np.log(runs.time("t90") / runs.time("t10"))
    numbers = {
        "delay": (delay, "median of t_test / t_train", "1"),
        "lag": (lag, "median of t_test - t_train", "1"),
        "t50": (runs.time("t50"), "median half time of the test score's change", "1"),
        # A width that is not known is not a large one.
        "width": (np.where(np.isfinite(width), width, np.nan), "median of log(t90 / t10)", "1"),
    }
    if all(name in runs.data for name in _FORECASTS):
        said, t50 = runs.data["forecast_t50"].values.astype(float), numbers["t50"][0]
        error = np.log(said / np.where(np.isfinite(t50), t50, np.nan))
        numbers["forecast_t50"] = (said, "median half time as forecast", "1")
        numbers["forecast_error"] = (error, "median of log(forecast_t50 / t50)", "1")
    variables: dict[str, Any] = {
        "outcome": ((y, x), majority(count), _about("most frequent outcome", "1")),
        "count": (("kind", y, x), count, _about("number of runs with an outcome", "1")),
        "num_runs": ((y, x), num_runs, _about("number of runs that were computed", "1")),
        "agreement": (
            (y, x),
            np.where(num_runs > 0, count[:-1].max(0) / np.maximum(num_runs, 1), np.nan),
            _about("share of runs with the most frequent outcome", "1"),
        ),
    }
    for name, (values, meaning, units) in numbers.items():
        low, median, high = _quartiles(values, cell, num_runs.size).reshape(3, *shape)
        variables[name] = ((y, x), median, _about(meaning, units))
        if name != "width":
            variables[f"{name}_low"] = ((y, x), low, _about(f"lower quartile of {name}", units))
            variables[f"{name}_high"] = ((y, x), high, _about(f"upper quartile of {name}", units))
    if "forecast_error" in numbers:
        expected = majority(counted(runs.outcomes("forecast_outcome"), at, shape))
        about = _about("most frequent outcome as forecast", "1")
        variables["forecast_outcome"] = ((y, x), expected, about)
    coords: dict[str, Any] = {
        key: (key, values, _about_key(runs.data, key)) for key, values in ((x, xs), (y, ys))
    }
    coords["kind"] = ("kind", list(OUTCOMES), _about("outcome", "1"))
    attrs: dict[str, Any] = {"x": x, "y": y, "num_without_place": int(np.sum(~placed))}
    horizon = tomllib.loads(dataset.attrs.get("experiment", "")).get("t1")
    if horizon is not None and "t1" not in dataset.coords:
        attrs["t1"] = horizon
    return xr.Dataset(variables, coords, attrs)


def _about(long_name: str, units: str) -> dict[str, str]:
    return {"long_name": long_name, "units": units}


def _about_key(data: xr.Dataset, key: str) -> dict[str, Any]:
    own = dict(data[key].attrs) if key in data.coords else {}
    return {**_about(key, "1"), **own}


def _quartiles(
    values: Float[np.ndarray, " run"], cell: Int[np.ndarray, " run"], num_cells: int
) -> Float[np.ndarray, "3 cell"]:
    """Lower quartile, median and upper quartile of the values in every cell.

    Infinite values count as later than all others. NaN where fewer than half of a cell's
    runs have a finite value.
    """
    quartiles = np.full((3, num_cells), np.nan)
    order = np.argsort(cell, kind="stable")
    starts = np.searchsorted(cell[order], np.arange(num_cells + 1))
    for i in range(num_cells):
        own = values[order[starts[i] : starts[i + 1]]]
        if 2 * np.sum(np.isfinite(own)) < max(len(own), 1):
            continue
        known = np.sort(own[~np.isnan(own)])
        quartiles[:, i] = [quantile(known, q) for q in (0.25, 0.5, 0.75)]
    return quartiles


def quantile(ordered: Float[np.ndarray, " n"], q: float) -> float:
    """The linearly interpolated quantile of increasing values; NaN where it is infinite.

    Between a finite and an infinite value it is the finite one: with two runs of four
    censored, half of the runs have come by the second.
    """
    place = q * (len(ordered) - 1)
    below = ordered[int(np.floor(place))]
    above = ordered[int(np.ceil(place))]
    if not np.isfinite(below):
        return np.nan
    if not np.isfinite(above):
        return float(below)
    return float(below + (place - np.floor(place)) * (above - below))

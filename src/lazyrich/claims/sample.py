"""The values of a quantity in the runs that a claim is about."""

import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import xarray as xr
from jaxtyping import Bool, Float, Shaped

from .._core.errors import InputError
from .._core.keys import is_inside
from ..experiments.published import same
from ..records.transition import LATER, change_times
from ..sweeps.runs import Runs, levels, runs_of

# Outcomes of runs in which a missing time is one that was not reached by the horizon.
_NEVER_REACHED = (*LATER, "untrained", "collapsed", "misgrokked")
_OPERATIONS: dict[str, Callable[[Any, Any], Any]] = {
    "/": operator.truediv,
    "*": operator.mul,
    "-": operator.sub,
    "+": operator.add,
}


@dataclass(frozen=True)
class Sample:
    """A quantity in the selected runs, without the runs that do not have it.

    - `values`, one a run, infinite for a time that was not reached; `runs`, these runs.
    - `num_left_out`, the number of runs without the quantity, failed runs included.
    - `beside`, a second quantity in the same runs, if one was requested.
    """

    values: Float[np.ndarray, " run"]
    runs: Runs
    num_left_out: int
    beside: Float[np.ndarray, " run"] | None = None

    @property
    def never(self) -> Bool[np.ndarray, " run"]:
        """Runs in which the time was not reached."""
        return np.isinf(self.values)

    @property
    def clusters(self) -> tuple[str, Shaped[np.ndarray, " run"]]:
        """The name of the independent units, `seeds` or `runs`, and the unit of each run.

        Seeds are the units if there are several.
        """
        # A seed that changes in step with another key is not an axis of its own.
        seeds = self.runs.data.coords.get("seed")
        if seeds is not None and seeds.dims == ("run",) and len(np.unique(seeds)) > 1:
            return "seeds", seeds.values
        return "runs", np.arange(len(self.values))

    def lines(self, along: str) -> Shaped[np.ndarray, " run"]:
        """The line of each run; runs of a line differ only in `along` and keys in step with it."""
        values = []
        for axis in self.runs.keys:
            names = axis.split(",")
            if any(is_inside(along, name) for name in names):
                # Tables of a line are equal in all other fields; keys in step with them may differ.
                values.append(levels(self.runs.without(axis, along, "along"))[1])
            elif along not in names:
                values.append(levels(self.runs.key(axis, "along"))[1])
        if not values:
            return np.zeros(len(self.values), int)
        return np.unique(np.stack(values), axis=1, return_inverse=True)[1].ravel()


def chosen(runs: Runs, where: Mapping[str, Any]) -> Runs:
    """The runs whose keys have the values in `where`.

    - **Raises** [`InputError`][lazyrich.InputError] if there are none.
    """
    mask = np.ones(runs.data.sizes["run"], bool)
    for key, wanted in where.items():
        mask &= np.array([same(value, wanted) for value in runs.key(key, "where").tolist()], bool)
    if not mask.any():
        raise InputError("where", dict(where), "should hold for some of the runs")
    return runs._replace(data=runs.data.isel(run=mask))


def sample(
    dataset: xr.Dataset, quantity: str, where: Mapping[str, Any], beside: str | None = None
) -> Sample:
    """The quantity that a claim names, in the runs of a sweep's dataset that have it.

    - **Takes** `beside`, a second quantity, which the runs must have as well.
    - **Raises** [`InputError`][lazyrich.InputError] for a quantity that is not there.
    """
    named = [(quantity, words_of(quantity, "quantity"))]
    if beside is not None:
        named.append((beside, words_of(beside, "beside")))
    names = [name for _, words in named for name in words[::2]]
    parts = [name.split(".", 1)[-1] for name in names] + [n.replace(".", "_") for n in names]
    if any(name.partition(".")[0] in _WHEN for name in names):
        parts.append("time")
    runs = chosen(runs_of(dataset, *parts), where)
    found = [_evaluated(runs, words, quantity) for quantity, words in named]
    known = ~np.any(np.isnan(found), axis=0)
    kept = runs._replace(data=runs.data.isel(run=known))
    others = found[1][known] if beside is not None else None
    return Sample(found[0][known], kept, int(np.sum(~known)), others)


def words_of(quantity: str, argument: str) -> list[str]:
    """A quantity's one word, or two operands with the operation between.

    - **Raises** [`InputError`][lazyrich.InputError] for anything else.
    """
    words = quantity.split(" ")
    if len(words) not in (1, 3) or (len(words) == 3 and words[1] not in _OPERATIONS):
        accepted = f"should be a name, or two with {' '.join(_OPERATIONS)} and blanks between"
        raise InputError(argument, quantity, accepted)
    return words


def _evaluated(runs: Runs, words: list[str], quantity: str) -> Float[np.ndarray, " run"]:
    values = [_operand(runs, name, quantity) for name in words[::2]]
    found = values[0]
    if len(values) == 2:
        found = _combined(words[1], *values)
    return found


def paired(
    one: Sample, others: Sample, keys: set[str], compared: Literal["ratio", "difference"]
) -> Sample:
    """Each run's value over, or minus, that of the run that differs from it only in `keys`.

    - **Raises** [`InputError`][lazyrich.InputError] if there are several such runs.
    """
    partners: dict[Any, float] = {}
    for place, value in zip(_places(others.runs, keys), others.values, strict=True):
        if place in partners:
            accepted = "should leave one run to compare each with; several differ in other keys"
            raise InputError("against", sorted(keys), accepted)
        partners[place] = float(value)
    theirs = np.array([partners.get(place, np.nan) for place in _places(one.runs, keys)])
    found = _combined("/" if compared == "ratio" else "-", one.values, theirs)
    known = ~np.isnan(found)
    kept = one.runs._replace(data=one.runs.data.isel(run=known))
    return Sample(found[known], kept, one.num_left_out + int(np.sum(~known)))


def _places(runs: Runs, keys: set[str]) -> list[tuple[Any, ...]]:
    """The values by which each run is matched with the run that it is compared with."""
    kept = []
    for axis in runs.keys:
        names = axis.split(",")
        # A key in a swept table stands for the whole table.
        if not any(key == name or is_inside(key, name) for key in keys for name in names):
            kept += [np.asarray(runs.key(name, "against")).tolist() for name in names]
    return list(zip(*kept, strict=True)) if kept else [()] * runs.data.sizes["run"]


def _combined(operation: str, first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """The result of an operation, infinite where a time was not reached."""
    with np.errstate(divide="ignore", invalid="ignore"):
        found = _OPERATIONS[operation](first, second)
    found = np.where(~np.isfinite(found), np.nan, found)
    # A sum with a time that was not reached is not reached either. A difference from such a time,
    # or a ratio over it, is unknown.
    found = np.where(np.isinf(first) | np.isinf(second), np.inf, found)
    return np.where(np.isinf(second), np.nan, found) if operation in "/-" else found


def _operand(runs: Runs, name: str, quantity: str) -> Float[np.ndarray, " run"]:
    try:
        return np.full(runs.data.sizes["run"], float(name))
    except ValueError:
        pass
    when, _, curve = name.partition(".")
    if when in _OF_CURVES and curve in runs.data and "record" in runs.data[curve].dims:
        return _OF_CURVES[when](runs.data[curve].values)
    if when in _WHEN and curve in runs.data and "record" in runs.data[curve].dims:
        pairs = zip(runs.data["time"].values, runs.data[curve].values, strict=True)
        return np.array([_when(when, times, values) for times, values in pairs])
    plain = name.replace(".", "_")
    if plain in runs.times and plain in runs.data:
        values, outcomes = runs.time(plain), runs.outcomes()
        values[np.isnan(values) & np.isin(outcomes, _NEVER_REACHED)] = np.inf
        return values
    if plain in runs.data and runs.data[plain].dims == ("run",) and plain != "outcome":
        values = runs.data[plain].values.astype(float)
        return np.where(np.isfinite(values), values, np.nan)
    try:
        keys = runs.key(name, "quantity")
    except InputError:
        keys = np.array([])
    if keys.dtype.kind not in "fiu" or not len(keys):
        accepted = f"{name!r} should be a number of the runs, such as t50 or late.test_loss"
        raise InputError("quantity", quantity, accepted)
    return keys.astype(float)


def _extreme(best: Callable[..., Any]) -> Callable[[np.ndarray], np.ndarray]:
    def along(curves: np.ndarray) -> np.ndarray:
        known = np.isfinite(curves).any(axis=1)
        filled = np.where(known[:, None], curves, 0.0)
        return np.where(known, best(filled, axis=1), np.nan)

    return along


def _when(
    what: str, times: Float[np.ndarray, " record"], values: Float[np.ndarray, " record"]
) -> float:
    """The time of a curve's extreme, or of a share of its change from there to its last value."""
    known = np.isfinite(times) & np.isfinite(values)
    if not known.any():
        return np.nan
    times, values = times[known], values[known]
    if what in _EXTREMES:
        return float(times[_EXTREMES[what](values)])
    # From the value farthest from the last one: a distance starts at 1 and may return near 1.
    turn = int(np.argmax(np.abs(values - values[-1])))
    found = change_times(times[turn:], values[turn:], float(values[turn]), float(values[-1]))
    return found[_SHARES.index(what)]


_EXTREMES: dict[str, Callable[[np.ndarray], Any]] = {"when_max": np.argmax, "when_min": np.argmin}
_SHARES = ("t10", "t50", "t90")
_WHEN = (*_EXTREMES, *_SHARES)
_OF_CURVES: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "first": lambda curves: curves[:, 0],
    "max": _extreme(np.nanmax),
    "min": _extreme(np.nanmin),
}

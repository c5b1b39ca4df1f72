"""What is known of a quantity in the runs that a claim is about."""

import operator
from collections.abc import Callable, Mapping
from typing import Any, Literal, NamedTuple

import numpy as np
import xarray as xr
from jaxtyping import Bool, Float, Shaped

from .._core.errors import InputError
from .._core.keys import is_inside
from ..experiments.published import same
from ..records.transition import LATER, change_times
from ..sweeps.runs import Runs, levels, runs_of

# Outcomes of runs in which a time that there is not is one that did not come.
_CAME_TO_NOTHING = (*LATER, "untrained", "collapsed", "misgrokked")
_OPERATIONS: dict[str, Callable[[Any, Any], Any]] = {
    "/": operator.truediv,
    "*": operator.mul,
    "-": operator.sub,
    "+": operator.add,
}


class Sample(NamedTuple):
    """A quantity in the runs chosen, those that have none left out.

    - `values`, infinite where a time did not come; `runs`, what they belong to.
    - `num_left_out`, runs in which the quantity has no meaning or that could not be run.
    - `beside`, another quantity in the same runs, if one was asked for.
    """

    values: Float[np.ndarray, " run"]
    runs: Runs
    num_left_out: int
    beside: Float[np.ndarray, " run"] | None = None

    @property
    def never(self) -> Bool[np.ndarray, " run"]:
        """Runs in which the time did not come."""
        return np.isinf(self.values)

    @property
    def clusters(self) -> tuple[str, Shaped[np.ndarray, " run"]]:
        """What is drawn independently, seeds if there are several, and each run's."""
        # In step with another key a seed is no axis of its own.
        seeds = self.runs.data.coords.get("seed")
        if seeds is not None and seeds.dims == ("run",) and len(np.unique(seeds)) > 1:
            return "seeds", seeds.values
        return "runs", np.arange(len(self.values))

    def lines(self, along: str) -> Shaped[np.ndarray, " run"]:
        """Which runs differ in one key alone, or in those that change in step with it."""
        values = []
        for axis in self.runs.keys:
            names = axis.split(",")
            if any(is_inside(along, name) for name in names):
                # Tables that have all else in common; what changes in step with them may change.
                values.append(levels(self.runs.without(axis, along, "along"))[1])
            elif along not in names:
                values.append(levels(self.runs.key(axis, "along"))[1])
        if not values:
            return np.zeros(len(self.values), int)
        return np.unique(np.stack(values), axis=1, return_inverse=True)[1].ravel()


def chosen(runs: Runs, where: Mapping[str, Any]) -> Runs:
    """The runs whose keys have the values of `where`.

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
    """A quantity, as a claim names it, in the runs of a sweep's dataset that have it.

    - **Takes** `beside`, another one, which the runs should have too.
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
    """Each run's value over that of the run that differs from it in `keys` alone, or less it.

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
    """What each run has in common with those that it is compared with."""
    kept = []
    for axis in runs.keys:
        names = axis.split(",")
        # A key inside of a table that is swept stands for the table.
        if not any(key == name or is_inside(key, name) for key in keys for name in names):
            kept += [np.asarray(runs.key(name, "against")).tolist() for name in names]
    return list(zip(*kept, strict=True)) if kept else [()] * runs.data.sizes["run"]


def _combined(operation: str, first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Two operands' values, infinite where a time did not come."""
    with np.errstate(divide="ignore", invalid="ignore"):
        found = _OPERATIONS[operation](first, second)
    found = np.where(~np.isfinite(found), np.nan, found)
    # What takes in a time that did not come has not come either; after one that did not
    # come, or over it, nothing is known.
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
        values[np.isnan(values) & np.isin(outcomes, _CAME_TO_NOTHING)] = np.inf
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
    """When a curve is at its extreme, or has done a share of the way from there to its end."""
    known = np.isfinite(times) & np.isfinite(values)
    if not known.any():
        return np.nan
    times, values = times[known], values[known]
    if what in _EXTREMES:
        return float(times[_EXTREMES[what](values)])
    # What is farthest from the end: a distance starts at one and may come near to it again.
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

"""Boundaries between two outcomes along one key of a sweep."""

from collections.abc import Callable
from itertools import pairwise
from typing import Any, Literal, NamedTuple

import numpy as np
import xarray as xr
from jaxtyping import Int

from .._core.errors import InputError
from ..records.transition import OUTCOMES
from ..sweeps.runs import Runs, counted, levels, majority, runs_of
from .diagram import quantile

Outcomes = str | tuple[str, ...]

# The status of a line, and how lines of this status are described.
STATUSES = {
    "located": "lines with one change between the two outcomes",
    "one_side": "lines with one of the two outcomes and not the other",
    "several": "lines with more than one change: none of them enters the median",
    "interrupted": "lines on which only a third outcome lies between the two",
    "neither": "lines with neither of the two outcomes",
    "too_few": "lines with fewer than two runs whose outcome is known",
}


class Change(NamedTuple):
    """Two neighbouring known places with outcomes on different sides.

    `through` is the first other outcome between them, None if there is none.
    """

    first: int
    last: int
    through: str | None


def sides_of(between: tuple[Outcomes, Outcomes]) -> dict[str, int]:
    """The side, 0 or 1, of each outcome in `between`. Other outcomes are left out.

    - **Raises** [`InputError`][lazyrich.InputError] unless `between` is two outcomes, or two
        groups of outcomes that do not overlap.
    """
    groups = [(side,) if isinstance(side, str) else tuple(side) for side in between]
    names = [name for group in groups for name in group]
    accepted = [name for name in OUTCOMES if name != "missing"]
    if not all(groups) or len(set(names)) < len(names) or not {*names} <= {*accepted}:
        raise InputError(
            "between",
            between,
            "should be two outcomes, or two groups of outcomes that do not overlap, among "
            + ", ".join(accepted),
        )
    return {name: side for side, group in enumerate(groups) for name in group}


def changes(outcomes: list[str], sides: dict[str, int]) -> list[Change]:
    """Every change of side in a row of known outcomes, by index in the row."""
    decided = [i for i, outcome in enumerate(outcomes) if outcome in sides]
    found = []
    for i, j in pairwise(decided):
        if sides[outcomes[i]] != sides[outcomes[j]]:
            found.append(Change(i, j, outcomes[i + 1] if j > i + 1 else None))
    return found


def boundary(
    dataset: xr.Dataset,
    x: str = "init_scale",
    y: str = "weight_decay",
    between: tuple[Outcomes, Outcomes] = (("immediate", "gradual"), "grokked"),
    of: Literal["outcome", "forecast_outcome"] = "outcome",
) -> xr.Dataset:
    r"""The value of `x` at which the outcome changes between two, for every value of `y`.

    A line is the runs that share every key except `x`: one line for each `y` and each seed. The
    bracket of a line is the pair of neighbouring known places between which the outcome changes.
    The boundary is taken as the middle of the bracket, in logarithms if every `x` is positive.
    Runs that are missing or failed are ignored. Only a line with exactly one change has a
    boundary; other lines are counted by their status.

    - **Takes** a sweep's dataset, with numeric `x` and several places on a line: a grid, or the
        places that a [`Bisection`][lazyrich.maps.Bisection] chose; `between`, two outcomes or two
        groups of outcomes, in either order; `of`, whether to use the outcomes of the runs or those
        that [`forecast_runs`][lazyrich.sweeps.forecast_runs] predicted.
    - **Returns** over `y`: `place`, the median over the lines with a boundary, NaN if fewer than
        half of the lines with two known outcomes have one; `low` and `high`, the 10 % quantile of
        the lower ends of the brackets and the 90 % quantile of the upper ends, an interval that
        contains both the spread over seeds and the spacing of the places; `num_located`,
        `num_one_side`, `num_several`, `num_interrupted`, `num_neither`, `num_too_few`. Over
        `(y, line)`: `crossing`, the boundary; `half_width`, half of the bracket's width, in natural
        logarithms if every `x` is positive; `num_changes`; and `status`, one of the names after
        `num_`. The keys of a line are coordinates along `line`. Undefined values are NaN.
    - **Raises** [`InputError`][lazyrich.InputError] for an unknown key or outcome, if no line has
        two places, and if `of` needs forecasts that the dataset does not have.
    """
    sides = sides_of(between)
    if x == y:
        raise InputError("y", y, f"should differ from x = {x!r}")
    runs = runs_of(dataset, of)
    if of not in runs.data:
        raise InputError("of", of, "should be in the dataset: see lr.sweeps.forecast_runs")
    xs, column = levels(runs.key(x, "x"))
    if xs.dtype.kind not in "fiu":
        raise InputError("x", x, "should be a key whose values are numbers")
    ys, row = levels(runs.key(y, "y"))
    others = [key for key in runs.keys if key not in (x, y)]
    line, coords = _lines(runs, others)
    table = majority(
        counted(
            runs.outcomes(of),
            (row, line, column),
            (len(ys), int(line.max(initial=-1)) + 1, len(xs)),
        )
    )
    known = ~np.isin(table, ("missing", "failed"))
    if not np.any(np.sum(table != "missing", axis=2) > 1):
        raise InputError(
            "x", x, "should take several values at fixed values of the other keys, as on a grid"
        )

    scaled = xs.astype(float)
    positive = bool(np.all(scaled > 0))
    scaled = np.log(scaled) if positive else scaled
    shape = table.shape[:2]
    status, number = np.full(shape, "too_few", dtype=object), np.zeros(shape, dtype=int)
    ends = np.full((2, *shape), np.nan)
    for place in np.ndindex(shape):
        at = np.flatnonzero(known[place])
        status[place], found = _status(table[place][at].tolist(), sides)
        number[place] = len(found)
        if status[place] == "located":
            ends[:, *place] = scaled[at[found[0].first]], scaled[at[found[0].last]]

    middle = ends.mean(0)
    summary = np.full((3, len(ys)), np.nan)
    for i in range(len(ys)):
        if 2 * np.sum(status[i] == "located") >= np.sum(status[i] != "too_few") > 0:
            rows, shares = (middle[i], *ends[:, i]), (0.5, 0.1, 0.9)
            summary[:, i] = [
                quantile(np.sort(values[~np.isnan(values)]), share)
                for values, share in zip(rows, shares, strict=True)
            ]
    back: Callable[[Any], Any] = np.exp if positive else np.asarray
    about = dict(dataset[x].attrs) if x in dataset.coords else {}
    units = str(about.get("units", "1"))
    names = (("place", "median place"), ("low", "10 % quantile"), ("high", "90 % quantile"))
    variables: dict[str, Any] = {
        name: (y, back(values), {"long_name": f"{text} of the boundary in {x}", "units": units})
        for (name, text), values in zip(names, summary, strict=True)
    }
    for name, meaning in STATUSES.items():
        count = np.sum(status == name, axis=1)
        variables[f"num_{name}"] = (y, count, {"long_name": f"number of {meaning}", "units": "1"})
    per_line = {
        "crossing": (back(middle), f"place of the boundary in {x}", units),
        "half_width": ((ends[1] - ends[0]) / 2, "half width", "1" if positive else units),
        "num_changes": (number, "number of changes of side", "1"),
        "status": (status, "what the line shows", "1"),
    }
    for name, (values, meaning, unit) in per_line.items():
        variables[name] = ((y, "line"), values, {"long_name": meaning, "units": unit})
    variables["half_width"][2]["long_name"] = "half width of the bracket, " + (
        f"in log({x})" if positive else f"in {x}"
    )
    about_y = dict(dataset[y].attrs) if y in dataset.coords else {}
    coords[y] = (y, ys, about_y)
    attrs = {"x": x, "y": y, "of": of, "between": " | ".join(_name(side) for side in between)}
    return xr.Dataset(variables, coords, attrs)


def _name(side: Outcomes) -> str:
    return side if isinstance(side, str) else " or ".join(side)


def _status(outcomes: list[str], sides: dict[str, int]) -> tuple[str, list[Change]]:
    found = changes(outcomes, sides)
    if len(outcomes) < 2:
        return "too_few", found
    if len(found) > 1:
        return "several", found
    if len(found) == 1:
        return ("located" if found[0].through is None else "interrupted"), found
    return ("one_side" if any(name in sides for name in outcomes) else "neither"), found


def _lines(runs: Runs, others: list[str]) -> tuple[Int[np.ndarray, " run"], dict[str, Any]]:
    """The line of each run, by the values of the other keys, and these keys along `line`."""
    if not others:
        return np.zeros(runs.data.sizes["run"], dtype=int), {}
    columns = [levels(runs.key(key, key)) for key in others]
    codes = np.stack([place for _, place in columns], axis=1)
    combinations, line = np.unique(codes, axis=0, return_inverse=True)
    shown: dict[str, Any] = {}
    for key, (values, _), code in zip(others, columns, combinations.T, strict=True):
        picked = values[code]
        # Runs without a value of the key form lines of their own.
        shown[key] = ("line", np.where(code < 0, np.nan, picked) if np.any(code < 0) else picked)
    return line.reshape(-1), shown

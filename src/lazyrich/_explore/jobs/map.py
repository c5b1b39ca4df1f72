"""Jobs of the map: the phase diagram of a store."""

from typing import Annotated, Any, Literal

import numpy as np
import pydantic
import xarray as xr

from ..._core.errors import InputError
from ...maps import phase_diagram
from ...plot import describe, plotly
from ...plot.describe._symbols import symbol, worded
from ...plot.figures.map import delay_boundary
from ...records.transition import OUTCOMES
from ...sweeps._store import Store
from ...sweeps.unbuilt import Unbuilt
from ..job import Args, Place, Send
from ._map_cells import letter, tidy, words
from ._store import Opened, opened, store_at

COMMAND = (
    "lazyrich sweep lyu2024/1a --set task.d=500 --set task.n=40 --set task.num_test=1000 "
    "--set t1=2e3 --set weight_decay=0.01 --over init_scale=1,3,10,30,100 --over seed=range:2 "
    "--store map"
)
"""A command that makes a small store, for a page without one."""

# What colours the cells: the panel of the figure, and its name in the menu.
_COLOURS = {
    "outcome": "outcome",
    "delay": "delay t_test / t_train",
    "t50": "half time t50",
    "width": "width t90 / t10",
    "forecast_outcome": "outcome as forecast",
    "forecast_t50": "half time as forecast",
    "errors": "forecast error",
}
_OF_FORECAST = ("forecast_outcome", "forecast_t50", "errors")
# Maps with more cells have hatches only, and no letters; no words for each cell.
_LETTERED, _MANY = 100, 2_500


Name = Annotated[str, pydantic.Field(pattern="^[0-9a-f]{16}$")]
Key = Annotated[str, pydantic.Field(max_length=200)]
Index = Annotated[int, pydantic.Field(ge=0, lt=2**31)]


class _Open(Args):
    sweep: Name | None = None


class View(Args):
    """What is shown: two keys, a value's place for some of the other axes, and a colour."""

    sweep: Name | None = None
    x: Key | None = None
    y: Key | None = None
    slice: dict[Key, Index] = pydantic.Field(default_factory=dict)
    colour: Literal[tuple(_COLOURS)] = "outcome"  # type: ignore[valid-type]


def open_map(args: dict[str, Any], send: Send, place: Place) -> dict[str, Any]:
    """Sweeps of the store, keys and colours of one of them, and its counts."""
    del send
    asked = _Open.read(args)
    store = store_at(place)
    if store is None:
        return {"store": None, "command": COMMAND, "then": "lazyrich explore map"}
    found = opened(place, asked.sweep)
    dataset, sweep = found.dataset, found.sweep
    outcomes = dataset["outcome"].values.astype(str)
    counts = {name: int(np.sum(outcomes == name)) for name in OUTCOMES[::-1]}
    sweeps = [{"name": name, "title": _title(store, name, found)} for name in store.sweep_names()]
    return {
        "store": store.url,
        "sweep": found.name,
        "sweeps": sweeps,
        "keys": keys_of(found),
        "colours": [{"name": n, "label": _COLOURS[n]} for n in _colours(dataset)],
        "counts": {name: count for name, count in counts.items() if count},
        "runs": len(sweep),
        "missing": counts["missing"],
        "can_start": why_not(found) is None,
        "why_not": why_not(found),
        "notes": list(found.notes),
    }


def _title(store: Store, name: str, found: Opened) -> str:
    """The name of a sweep's experiment; its file may be one that cannot be read."""
    try:
        sweep = found.sweep if name == found.name else store.sweep(name)
        table = sweep.experiment
        text = table.value("name") if isinstance(table, Unbuilt) else table.name
    except InputError:
        return f"{name}, cannot be read"
    return f"{text}: {len(sweep):,} runs"


def keys_of(found: Opened) -> list[dict[str, Any]]:
    """The varied keys. Keys of one axis change together, and are selected together."""
    keys = []
    for axis in found.sweep.axes:
        for key in axis.keys:
            values = [worded(value) for value in axis.coordinate(key).tolist()]
            keys.append({"key": key, "label": symbol(key), "axis": axis.name, "values": values})
    return keys


def _colours(dataset: xr.Dataset) -> list[str]:
    has = "forecast_t50" in dataset
    return [name for name in _COLOURS if has or name not in _OF_FORECAST]


def why_not(found: Opened) -> str | None:
    """Why missing runs cannot be started from the page; None if they can."""
    if found.sweep.known_as:
        return (
            "This sweep contains an object that its file cannot contain, such as a model of your "
            "own. Continue it with lr.sweep in your own program."
        )
    return None


def draw_map(args: dict[str, Any], send: Send, place: Place) -> dict[str, Any]:
    """The figure of a phase diagram, and each cell in words."""
    del send
    asked = View.read(args)
    found = opened(place, asked.sweep)
    x, y, part = part_of(found, asked)
    if asked.colour not in _colours(part):
        raise InputError("colour", asked.colour, "needs forecasts: sweep with --forecast")
    diagram = phase_diagram(part, x, y)
    measured = delay_boundary(part, x, y) if x in part.coords else None
    expected = None
    if "forecast_outcome" in part and x in part.coords:
        expected = delay_boundary(part, x, y, "forecast_outcome")
    shown = describe.map(diagram, measured, "ratio", expected, panels=[asked.colour])
    figure = plotly(shown)
    many = diagram["outcome"].size > _MANY
    if diagram["outcome"].size <= _LETTERED:
        letter(figure)
    tidy(figure)
    sizes = [*part["outcome"].sizes.values()]
    whole = ", ".join(f"{symbol(key)} = {text}" for key, text in _chosen(found, asked))
    return {
        "figure": figure,
        "caption": (f"Runs with {whole}. " if whole else "") + shown.caption,
        "x": x,
        "y": y,
        "columns": [worded(value) for value in diagram[x].values.tolist()],
        "rows": [worded(value) for value in diagram[y].values.tolist()],
        "label_x": symbol(x),
        "label_y": symbol(y),
        "words": None if many else words(diagram),
        "missing": int(np.sum(part["outcome"].values == "missing")),
        "runs": int(np.prod(sizes)) if sizes else 1,
        "notes": list(found.notes),
    }


def part_of(found: Opened, asked: View) -> tuple[str, str, xr.Dataset]:
    """The two keys of a view, and the runs that it shows.

    Without keys, those with the most values that are not seeds are used.
    """
    dataset = found.dataset
    keys = [key["key"] for key in keys_of(found)]
    fixed = [key for key in ("weight_decay", "init_scale") if key not in keys]
    accepted = [*keys, *(fixed if len(keys) == 1 else [])]
    for argument, key in (("x", asked.x), ("y", asked.y)):
        if key is not None and key not in accepted:
            raise InputError(argument, key, f"should be one of {', '.join(accepted)}")
    if asked.x is not None and asked.x == asked.y:
        raise InputError("y", asked.y, f"should differ from x = {asked.x!r}")
    sizes = {key: dataset.coords[key].size for key in keys}
    usual = sorted(keys, key=lambda key: (key.endswith("seed"), -min(sizes[key], 3)))
    usual += [key for key in accepted if key not in usual]
    x = asked.x or next(key for key in usual if key != asked.y)
    y = asked.y or next(key for key in usual if key != x)
    places = {}
    for axis, index in asked.slice.items():
        if axis not in dataset.sizes:
            raise InputError("slice", axis, f"should be one of {', '.join(map(str, dataset.dims))}")
        if index >= dataset.sizes[axis]:
            accepted_places = f"should be a place from 0 to {dataset.sizes[axis] - 1}"
            raise InputError(f"slice.{axis}", index, accepted_places)
        if {x, y} & {*axis.split(",")}:
            raise InputError("slice", axis, "is on an axis of the map")
        places[axis] = index
    return x, y, dataset.isel(places)


def _chosen(found: Opened, asked: View) -> list[tuple[str, str]]:
    """The keys that the slice holds fixed, with their values in words."""
    axes = {axis.name: axis for axis in found.sweep.axes}
    return [
        (key, worded(axes[name].coordinate(key).tolist()[index]))
        for name, index in asked.slice.items()
        for key in axes[name].keys
    ]

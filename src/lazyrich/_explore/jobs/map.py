"""Jobs of the map: the phase diagram of a store, its runs, and the runs that are missing."""

import contextlib
import time
from typing import Annotated, Any, Literal

import numpy as np
import pydantic
import xarray as xr

from ... import studies
from ..._core.errors import InputError
from ..._core.keys import at_key, dotted
from ...experiments.experiment import Experiment
from ...forecasts.options import ForecastOptions
from ...maps import phase_diagram
from ...plot import describe, plotly
from ...plot.describe._captions import powers
from ...plot.describe._symbols import symbol, worded
from ...plot.description.style import overlaid
from ...plot.figures.map import delay_boundary
from ...records.transition import OUTCOMES, transition
from ...sweeps import Progress, Sweep
from ...sweeps._execution.sweeping import run_sweep
from ...sweeps._execution.workers import worker_pool
from ...sweeps._forecast_in_batch import key_of
from ...sweeps._store import Damaged, Store, record_of
from ...sweeps.runs import levels, runs_of
from ...sweeps.unbuilt import Unbuilt
from ...tasks._array_task import AbstractArrayTask
from ..job import Args, Place, Send
from ._store import Opened, opened, required_store, store_at

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
# One letter for each outcome, so that cells can be told apart without colours.
_LETTERS = {
    "grokked": "G", "misgrokked": "M", "immediate": "I", "gradual": "S", "improved": "B",
    "unchanged": "U", "not within budget": "U", "untrained": "N", "collapsed": "C",
    "unscored": "?", "diverged": "D", "failed": "F", "missing": "",
}  # fmt: skip
# The letter is in the upper left corner of a cell, where no line of a boundary passes.
_LEFT, _UP = 0.14, 0.8
_ON_DARK = ("M", "D")
# The most values of a key that each have a tick.
_TICKS = 9
# Maps with more cells have no letters, and no words for each cell.
_MANY = 2_500
# The most runs of a cell in its small figure.
_MOST = 12
# Seconds between two messages on a sweep's progress.
_EVERY = 0.5

_NUMBERS = (
    ("delay", "median delay"),
    ("t50", "half time"),
    ("forecast_t50", "half time as forecast"),
)

_Name = Annotated[str, pydantic.Field(pattern="^[0-9a-f]{16}$")]
_Key = Annotated[str, pydantic.Field(max_length=200)]
_Index = Annotated[int, pydantic.Field(ge=0, lt=2**31)]


class _Open(Args):
    sweep: _Name | None = None


class _View(Args):
    """What is shown: two keys, a value's place for some of the other axes, and a colour."""

    sweep: _Name | None = None
    x: _Key | None = None
    y: _Key | None = None
    slice: dict[_Key, _Index] = pydantic.Field(default_factory=dict)
    colour: Literal[tuple(_COLOURS)] = "outcome"  # type: ignore[valid-type]


class _Cell(_View):
    column: _Index
    row: _Index


class _Run(Args):
    sweep: _Name | None = None
    run: _Index
    columns: Literal[1, 2] = 1


class _Start(Args):
    sweep: _Name | None = None


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
        "keys": _keys(found),
        "colours": [{"name": n, "label": _COLOURS[n]} for n in _colours(dataset)],
        "counts": {name: count for name, count in counts.items() if count},
        "runs": len(sweep),
        "missing": counts["missing"],
        "can_start": _why_not(found) is None,
        "why_not": _why_not(found),
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


def _keys(found: Opened) -> list[dict[str, Any]]:
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


def _why_not(found: Opened) -> str | None:
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
    asked = _View.read(args)
    found = opened(place, asked.sweep)
    x, y, part = _part(found, asked)
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
    if not many:
        _letter(figure)
    _tidy(figure, diagram, x, y)
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
        "words": None if many else _words(diagram),
        "missing": int(np.sum(part["outcome"].values == "missing")),
        "runs": int(np.prod(sizes)) if sizes else 1,
        "notes": list(found.notes),
    }


def _part(found: Opened, asked: _View) -> tuple[str, str, xr.Dataset]:
    """The two keys of a view, and the runs that it shows.

    Without keys, those with the most values that are not seeds are used.
    """
    dataset = found.dataset
    keys = [key["key"] for key in _keys(found)]
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


def _chosen(found: Opened, asked: _View) -> list[tuple[str, str]]:
    """The keys that the slice holds fixed, with their values in words."""
    axes = {axis.name: axis for axis in found.sweep.axes}
    return [
        (key, worded(axes[name].coordinate(key).tolist()[index]))
        for name, index in asked.slice.items()
        for key in axes[name].keys
    ]


def _letter(figure: dict[str, Any]) -> None:
    """Writes the letter of its outcome into each cell, and before its name in the key."""
    texts: dict[str, tuple[list[float], list[float]]] = {}
    layout = figure["layout"]
    for trace in figure["data"]:
        letter = _LETTERS.get(trace["name"])
        if trace["type"] != "heatmap" or not letter or "customdata" in trace:
            continue
        trace["name"] = f"{letter} {trace['name']}"
        x = _inside(trace["x"], layout["xaxis"]["type"], _LEFT)
        y = _inside(trace["y"], layout["yaxis"]["type"], _UP)
        xs, ys = texts.setdefault(letter, ([], []))
        for row, column in zip(*np.nonzero(np.array(trace["z"], dtype=float) == 0), strict=True):
            xs.append(float(x[column]))
            ys.append(float(y[row]))
    for letter, (xs, ys) in texts.items():
        dark = letter in _ON_DARK
        figure["data"].append(
            {"type": "scatter", "mode": "text", "x": xs, "y": ys, "text": [letter] * len(xs),
             "name": f"letter {letter}", "legendgroup": f"letter {letter}", "showlegend": False,
             "hoverinfo": "skip", "textposition": "middle center",
             "textfont": {"size": 13, "color": "#ffffff" if dark else "#1a1a1a"}}
        )  # fmt: skip


def _inside(edges: list[float], kind: str, share: float) -> np.ndarray:
    """The place of a share of each cell's width on its axis."""
    at = np.asarray(edges, dtype=float)
    at = np.log(at) if kind == "log" else at
    found = at[:-1] + share * np.diff(at)
    return np.exp(found) if kind == "log" else found


def _tidy(figure: dict[str, Any], diagram: xr.Dataset, x: str, y: str) -> None:
    """One panel has the whole figure; axes with few values have a tick for each."""
    layout = figure["layout"]
    layout["margin"] = {"l": 60, "r": 10, "t": 40, "b": 60}
    layout["hovermode"] = "closest"
    layout["meta"]["white"] = True
    for key, axis in ((x, layout["xaxis"]), (y, layout["yaxis"])):
        values = diagram[key].values
        if len(values) <= _TICKS and values.dtype.kind in "fiu" and "tickvals" not in axis:
            axis["tickvals"] = values.tolist()
            axis["ticktext"] = [worded(value) for value in values.tolist()]
            axis["minor"] = {"ticks": ""}


def _words(diagram: xr.Dataset) -> list[list[str]]:
    """A sentence for each cell, by row and column."""
    counts = diagram["count"].transpose("kind", ...).values
    kinds = [str(kind).replace("_", " ") for kind in diagram["kind"].values]
    found = []
    for row in range(counts.shape[1]):
        line = []
        for column in range(counts.shape[2]):
            each = [(int(counts[k, row, column]), kind) for k, kind in enumerate(kinds)]
            parts = [f"{n} {kind}" for n, kind in each[::-1] if n]
            for name, label in _NUMBERS:
                if name in diagram and np.isfinite(value := diagram[name].values[row, column]):
                    parts.append(f"{label} {value:.3g}")
            line.append(", ".join(parts) or "no run")
        found.append(line)
    return found


def draw_cell(args: dict[str, Any], send: Send, place: Place) -> dict[str, Any]:
    """The runs of one cell, with a small figure of their scores."""
    del send
    asked = _Cell.read(args)
    found = opened(place, asked.sweep)
    x, y, part = _part(found, asked)
    runs = runs_of(part, "number")
    xs, column = levels(runs.key(x, "x"))
    ys, row = levels(runs.key(y, "y"))
    for argument, value, places in (("column", asked.column, xs), ("row", asked.row, ys)):
        if value >= len(places):
            raise InputError(argument, value, f"should be a place from 0 to {len(places) - 1}")
    inside = np.flatnonzero((column == asked.column) & (row == asked.row))
    numbers = [int(number) for number in runs.data["number"].values[inside]]
    outcomes = runs.outcomes()[inside].tolist()
    others = [key for key in (k["key"] for k in _keys(found)) if key not in (x, y)]
    shown = []
    for at, number, outcome in zip(inside, numbers, outcomes, strict=True):
        values = [f"{symbol(key)} {worded(runs.key(key, key)[at].item())}" for key in others]
        label = ", ".join(values) or "the run"
        shown.append({"run": number, "label": label, "outcome": outcome.replace("_", " ")})
    where = f"{symbol(x)} = {worded(xs[asked.column].item())}, "
    where += f"{symbol(y)} = {worded(ys[asked.row].item())}"
    records: dict[str, xr.Dataset] = {}
    for one in [one for one in shown if one["outcome"] != "missing"][:_MOST]:
        record = _readable(found, one)
        if record is not None:
            one["colour"] = overlaid(len(records))[0]
            records[one["label"]] = record
    if len(records) == 1:
        for one in shown:
            one.pop("colour", None)
    figure = None
    if records:
        drawn = describe.run(
            records if len(records) > 1 else next(iter(records.values())),
            panels=["score"],
            curves={},
        )
        figure = plotly(drawn)
        figure["layout"] |= {"title": None, "showlegend": False}
        figure["layout"]["margin"] = {"l": 50, "r": 10, "t": 20, "b": 45}
    return {"figure": figure, "where": where, "runs": shown}


def _readable(found: Opened, one: dict[str, Any]) -> xr.Dataset | None:
    """The record of a run; None, with the reason in `why`, where there is none."""
    try:
        record = record_of(found.store, found.sweep, one["run"])
    except InputError as error:
        one["why"] = str(error)
        return None
    if record is None or not (record["time"].values > 0).any():
        return None
    return record


def draw_run(args: dict[str, Any], send: Send, place: Place) -> dict[str, Any]:
    """One run in full: its figure, what happened in words, and its experiment for the Lab."""
    del send
    asked = _Run.read(args)
    found = opened(place, asked.sweep)
    record = record_of(found.store, found.sweep, asked.run)
    if record is None:
        raise InputError("run", asked.run, "was not computed yet: start the missing runs")
    shown = describe.run(record, columns=asked.columns)
    figure = plotly(shown)
    figure["layout"] |= {"title": None}
    figure["layout"]["margin"]["t"] = 30
    events = transition(record)
    experiment = None
    if not isinstance(found.sweep.experiment, Unbuilt):
        experiment = lab_state(found.sweep.run(asked.run))
    return {
        "figure": figure,
        "caption": shown.caption,
        "outcome": events.outcome,
        "says": powers(events.says),
        "advice": events.advice,
        "sweep": found.name,
        "run": asked.run,
        "changes": [
            {"key": key, "label": symbol(key), "value": worded(value)}
            for key, value in found.sweep.changes(asked.run).items()
        ],
        "experiment": experiment,
    }


def lab_state(experiment: Experiment) -> dict[str, Any] | None:
    """An experiment as the Lab takes it; None if its data are files, which the page cannot name.

    One that differs from a panel of its name in single values is that panel with changes.
    """
    if isinstance(experiment.task, AbstractArrayTask):
        return None
    if experiment.name in studies.names():
        base = studies.load(experiment.name)
        mine, theirs = experiment.table(), base.table()
        keys = [key for key in dotted(mine) if not key.startswith("published")]
        changes = {k: at_key(mine, k) for k in keys if at_key(mine, k) != at_key(theirs, k)}
        changes.pop("name", None)
        try:
            if base.with_changes(changes).content_hash == experiment.content_hash:
                return {"base": experiment.name, "changes": changes}
        except InputError:
            pass
    return {"base": {"toml": experiment.description}, "changes": {}}


def start_missing(args: dict[str, Any], send: Send, place: Place) -> dict[str, Any]:
    """Computes the missing runs of a sweep into its store, one batch after the other.

    Batches that are finished are in the store, whatever happens afterwards.
    """
    asked = _Start.read(args)
    found = opened(place, asked.sweep)
    why = _why_not(found)
    if why is not None:
        raise InputError("sweep", found.name, why)
    begun, last = time.monotonic(), -_EVERY
    kept: list[int] = []

    def listener(progress: Progress) -> None:
        nonlocal last
        kept[:] = [*kept[:1], progress.num_done]
        now = time.monotonic()
        if now - last < _EVERY and progress.num_done < progress.num_runs:
            return
        last = now
        detail = f"{progress.num_done:,} of {progress.num_runs:,} runs"
        if progress.num_done > kept[0]:
            seconds = (now - begun) / (progress.num_done - kept[0])
            detail += f", about {seconds * (progress.num_runs - progress.num_done):.0f} s left"
        if progress.note:
            detail += f"; {progress.note}"
        send(
            "progress",
            {
                "stage": "computing the missing runs",
                "fraction": progress.num_done / progress.num_runs,
                "detail": detail,
                "done": progress.num_done,
            },
        )

    send("progress", {"stage": "reading the store", "fraction": 0.0, "detail": "", "done": -1})
    options = _options(found.store, found.sweep)
    with worker_pool(0, None) as pool:
        left = run_sweep(found.sweep, found.store.url, pool, listener=listener, forecast=options)
    return {"left": left, "runs": len(found.sweep)}


def _options(store: Store, sweep: Sweep) -> ForecastOptions | None:
    """How the finished runs of a sweep were forecast, so that the others are as well."""
    keys = set()
    for name in store.files():
        if store.owns(sweep, name):
            with contextlib.suppress(Damaged):
                keys.add(store.summary(name).get("forecast"))
    for passage in (None, "calibrated", "solved"):
        options = ForecastOptions(passage=passage)
        if key_of(options) in keys:
            return options
    return None


def run_of_cell(place: Place, sweep: str | None, number: int) -> Experiment:
    """The experiment of a run in the store.

    - **Raises** [`InputError`][lazyrich.InputError] if it cannot be made from the store's files.
    """
    required_store(place)
    found = opened(place, sweep)
    if not 0 <= number < len(found.sweep):
        raise InputError("run", number, f"should be a number from 0 to {len(found.sweep) - 1}")
    return found.sweep.run(number)

"""Jobs of the map on single runs: those of a cell, one in full, and those that are missing."""

import contextlib
import time
from typing import Any, Literal

import numpy as np
import xarray as xr

from ... import studies
from ..._core.errors import InputError
from ..._core.keys import at_key, dotted
from ...experiments.experiment import Experiment
from ...forecasts.options import ForecastOptions
from ...plot import describe, plotly
from ...plot.describe._captions import powers
from ...plot.describe._symbols import symbol, worded
from ...plot.description.style import overlaid
from ...records.transition import transition
from ...sweeps import Progress, Sweep
from ...sweeps._execution.sweeping import run_sweep
from ...sweeps._execution.workers import worker_pool
from ...sweeps._forecast_in_batch import key_of
from ...sweeps._store import Damaged, Store, record_of
from ...sweeps.runs import levels, runs_of
from ...sweeps.unbuilt import Unbuilt
from ...tasks._array_task import AbstractArrayTask
from ..job import Args, Place, Send
from ._store import Opened, opened, required_store
from .map import Index, Name, View, keys_of, part_of, why_not

# The most runs of a cell in its small figure.
_MOST = 12
# Seconds between two messages on a sweep's progress.
_EVERY = 0.5


class _Cell(View):
    column: Index
    row: Index


class _Run(Args):
    sweep: Name | None = None
    run: Index
    columns: Literal[1, 2] = 1


class _Start(Args):
    sweep: Name | None = None


def draw_cell(args: dict[str, Any], send: Send, place: Place) -> dict[str, Any]:
    """The runs of one cell, with a small figure of their scores."""
    del send
    asked = _Cell.read(args)
    found = opened(place, asked.sweep)
    x, y, part = part_of(found, asked)
    runs = runs_of(part, "number")
    xs, column = levels(runs.key(x, "x"))
    ys, row = levels(runs.key(y, "y"))
    for argument, value, places in (("column", asked.column, xs), ("row", asked.row, ys)):
        if value >= len(places):
            raise InputError(argument, value, f"should be a place from 0 to {len(places) - 1}")
    inside = np.flatnonzero((column == asked.column) & (row == asked.row))
    numbers = [int(number) for number in runs.data["number"].values[inside]]
    outcomes = runs.outcomes()[inside].tolist()
    others = [key for key in (k["key"] for k in keys_of(found)) if key not in (x, y)]
    shown = []
    for at, number, outcome in zip(inside, numbers, outcomes, strict=True):
        values = [f"{symbol(key)} = {worded(runs.key(key, key)[at].item())}" for key in others]
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
        for one in [one for one in shown if "colour" in one]:
            traces = (t for t in figure["data"] if t["legendgroup"] == one["label"])
            one["mark"] = next(t["marker"]["symbol"] for t in traces if "marker" in t)
        figure["layout"] |= {"title": None, "showlegend": False}
        # Plotly's buttons are above the labels of the phases.
        figure["layout"]["margin"] = {"l": 50, "r": 10, "t": 52, "b": 45}
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
    figure["layout"]["margin"]["t"] = 52
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
    why = why_not(found)
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

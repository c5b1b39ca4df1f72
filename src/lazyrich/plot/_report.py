"""The page of a run."""

import os
from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr
from jaxtyping import Float

from .._core.errors import one_line
from .._core.files import replacing
from ..experiments.published import Published
from ..forecasts import Forecast
from ..records.described import description_of, json_attribute
from ..records.summary import summarise
from ..records.transition import MEANINGS, Thresholds
from . import describe
from ._live import live
from ._page import number, render
from ._run import run
from ._source_steps import steps_of_source


def report(
    record: xr.Dataset,
    path: str | os.PathLike[str],
    forecast: Forecast | Mapping[str, Any] | None = None,
    *,
    thresholds: Thresholds | None = None,
    curves: Mapping[str, Float[np.ndarray, "2 k"]] | None = None,
) -> None:
    """Writes an HTML page: question and outcome, interactive curves, and all numbers.

    The page needs no network, because the curves and the script that shows them are embedded. In
    print and without scripts a still image is shown instead. Text from the experiment is escaped,
    and the page allows no other script.

    - **Takes** a record, of a run or of a log; `path`, that of the page; `forecast`, of the same
        experiment, or its summary, which is drawn over the figure and listed beside the run;
        `thresholds`, those of the record if left out; `curves` as in
        [`plot.run`][lazyrich.plot.run].
    - **Raises** [`ComputationError`][lazyrich.ComputationError] if Plotly is not installed.
    """
    summary = summarise(record, thresholds)
    views = {
        scale: describe.run(record, forecast, curves=curves, time=scale, columns=1)
        for scale in ("log", "linear")
    }
    still = run(record, forecast, curves=curves)
    page = render(
        "report.html",
        summary=summary,
        figure=live(still, still.caption, views),
        asked=_asked(record),
        description=record.attrs["experiment"],
        command=_command(summary["thresholds"]),
        version=record.attrs.get("lazyrich_version", "unknown"),
        source=record.attrs.get("source"),
        decided=_decided(record),
        in_steps=record["time"].attrs.get("units") == "step",
        headline=MEANINGS[summary["outcome"]],
        descent=_descent(record),
        said=forecast.summary() if isinstance(forecast, Forecast) else forecast,
    )
    with replacing(path) as temporary:
        temporary.write_text(page, encoding="utf-8")


def _decided(record: xr.Dataset) -> list[str]:
    """How a log was read, a line for each decision."""
    log = json_attribute(record, "log")
    columns, notes = log.get("columns"), log.get("notes")
    lines = []
    if isinstance(columns, dict) and columns:
        read = ", ".join(f"{one_line(k, 80)} from “{one_line(v, 80)}”" for k, v in columns.items())
        lines.append(f"read: {read}")
    return lines + [one_line(note, 500) for note in (notes if isinstance(notes, list) else [])]


def _asked(record: xr.Dataset) -> str:
    """The question that a run answers, in a sentence."""
    question = "generalise long after it has fitted its training data"
    if "source" in record.attrs:
        return f"Does the model whose training was logged in {record.attrs['source']} {question}?"
    described = description_of(record)
    parts = {key: _named(described.get(key)) for key in ("model", "task", "loss", "dynamics")}
    scale, decay, t1 = (_number(described.get(k)) for k in ("init_scale", "weight_decay", "t1"))
    return (
        f"Does the model {parts['model']}, trained on {parts['task']} with the loss "
        f"{parts['loss']}, initial scale {scale} and weight decay {decay}, {question}? "
        f"Training follows {parts['dynamics']} until t = {t1}."
    )


def _descent(record: xr.Dataset) -> dict[str, float] | None:
    """The step of gradient descent in the source, and how many such steps the run would take.

    None if the source has no curves over steps, or if the run itself makes steps.
    """
    described = description_of(record)
    if "published" not in described or "learning_rate" in (described.get("dynamics") or {}):
        return None
    return steps_of_source(Published(**described["published"]), float(record["time"].values[-1]))


def _number(value: Any) -> str:
    """A number of a description, a dash for anything else: the file can contain it."""
    return number(value if isinstance(value, int | float) else None)


def _named(table: Any) -> str:
    """The kind of a part of an experiment, with its numbers and choices."""
    if not isinstance(table, dict):
        return "–"
    fields = [
        key if value is True else f"{key} = {number(value)}"
        for key, value in table.items()
        if key != "kind" and value is not False and isinstance(value, str | int | float)
    ]
    kind = str(table.get("kind", "of your own"))
    return f"{kind} ({', '.join(fields)})" if fields else kind


def _command(thresholds: dict[str, Any]) -> str:
    """The command that repeats a run whose experiment is in `experiment.toml`."""
    usual = Thresholds().table()
    changed = [
        f" --threshold {key}={value:g}"
        for key, value in thresholds.items()
        if value is not None and value != usual.get(key)
    ]
    return "lazyrich run experiment.toml" + "".join(changed)

"""Runs over time."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from ...forecasts import Forecast
from ...records.described import description_of
from ...records.summary import textbook_time
from ..description import Entry, Figure, Line, Panel, Style
from ..description.style import PUBLISHED, TEXTBOOK, Dash
from ._captions import run_caption
from ._forecast import forecast_marks
from ._panels import contents_of
from ._phases import phases
from ._shown import Curves, Records, Shown, shown
from ._thinned import thinned
from ._time import events_of, scales_of, second_axis, time_axis


def run(
    record: Records,
    forecast: Forecast | Mapping[str, Any] | None = None,
    *,
    curves: Curves | None = None,
    panels: Sequence[str] | None = None,
    time: str = "log",
    columns: int = 2,
    until: float | None = None,
) -> Figure:
    r"""Describes fit, loss, parameter norm and distance from the predictors of a run over time.

    - **Takes** the arguments of [`plot.run`][lazyrich.plot.run]; `columns`, the number of panels
        beside each other; `until`, the end of a linear time axis, if not soon after the change.
    - **Raises** [`InputError`][lazyrich.InputError] for a record with nothing to draw.
    """
    scales = scales_of(time)
    runs = shown(record, forecast, curves)
    events = [events_of(one.record) for one in runs]
    runs = [replace(one, record=thinned(one.record)) for one in runs]
    if scales == ("log",):
        # Time 0 is not on a log axis.
        runs = [replace(one, record=one.record.sel(time=one.times > 0)) for one in runs]
    contents = contents_of(runs, panels)
    marks = forecast_marks(forecast)
    drawn: list[Panel] = []
    single = runs[0] if len(runs) == 1 else None
    upright = _upright(single, marks.lines)
    second = None if len(runs) > 1 else second_axis(runs[0].record)
    if time == "both":
        columns = len(scales)
    elif columns > 1:
        columns = 3 if len(contents) == 3 else min(columns, len(contents))
    below = 1 if time == "both" else columns  # panels from one to the one below it
    for place, content in enumerate(contents):
        for at, scale in enumerate(scales):
            axis = time_axis([one.record for one in runs], scale, events, marks.times, until)
            row, column = (place, at) if time == "both" else divmod(place, columns)
            spans = phases(events[0], axis) if single else ()
            if row:
                spans = tuple(replace(span, label="") for span in spans)
            scored = content.name in ("score", "loss")
            drawn.append(
                content.panel(
                    axis,
                    (*spans, *(marks.spans if scored else ())),
                    tuple(line for line in upright if scored or line not in marks.lines),
                    second if place + below >= len(contents) else None,
                    labelled=at == len(scales) - 1,
                    row=row,
                    column=column,
                )
            )
    name = str(description_of(runs[0].record).get("name", "")) if single else ""
    return Figure(
        tuple(drawn),
        run_caption([one.record for one in runs], [one.name for one in runs], events, drawn),
        title=name,
        key=_key(drawn, several=len(runs) > 1),
        share_x=True,
        share_y=time == "both",
    )  # fmt: skip


def _upright(one: Shown | None, marks: tuple[Line, ...]) -> tuple[Line, ...]:
    """Vertical lines: the textbook time, and those of a forecast."""
    if one is None:
        return ()
    description = description_of(one.record)
    if not one.record.attrs.get("homogeneity"):
        return marks
    at = textbook_time(description["init_scale"], description["weight_decay"])
    if not (np.isfinite(at) and at > 0):
        return marks
    name = "(1/λ) log α, α = init_scale"
    return (Line(at, name, TEXTBOOK, "y", group="textbook"), *marks)


def _key(panels: Sequence[Panel], several: bool) -> tuple[Entry, ...]:
    """What the panels have no labels for."""
    entries = _parts(panels) if several else []
    lines = {line.name: line for panel in panels for line in panel.lines if line.along == "y"}
    entries += [Entry(line.name, line.style) for line in lines.values()]
    spans = {s.name: s for panel in panels for s in panel.spans if s.group == "forecast"}
    entries += [Entry(span.name, span.style, "patch") for span in spans.values()]
    groups = {curve.group: curve.style for panel in panels for curve in panel.curves}
    if "published" in groups:
        entries.append(Entry("published", PUBLISHED))
    if "kernel flow" in groups:
        style = replace(groups["kernel flow"], colour="#606060")
        entries.append(Entry("kernel flow, forecast", style))
    return tuple(entries)


def _parts(panels: Sequence[Panel]) -> list[Entry]:
    """What each dash means where colours are those of several runs."""
    parts: dict[Dash, list[str]] = {}
    for panel in panels:
        for curve in panel.curves:
            part = curve.name.rpartition(", ")[2]
            known = parts.setdefault(curve.style.dash, [])
            if len(panels) == 1 or panel.name != "norm":
                known += [part] if part not in known else []
    return [
        Entry(" / ".join(names), Style("#404040", dash)) for dash, names in parts.items() if names
    ]

"""Sentences that say what a figure shows, made from the records."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

import xarray as xr

from ...forecasts import Forecast
from ...records.described import description_of
from ...records.schema import axis_of
from ...records.transition import MEANINGS, Transition
from ..description.ticks import superscript
from ._content import Content


def run_caption(
    records: Sequence[xr.Dataset],
    names: Sequence[str],
    events: Sequence[Transition | None],
    contents: Sequence[Content],
    *,
    has_published: bool,
    forecast: Forecast | Mapping[str, Any] | None,
) -> str:
    """The caption of runs over time: what happened, and what the panels show."""
    parts = []
    for record, own, event in zip(records, names, events, strict=True):
        name = own or str(description_of(record).get("name", "")) or "The run"
        if event is not None:
            parts.append(f"{name} {MEANINGS[event.outcome]}: {event.says}.")
    quantities = _listed([content.label for content in contents])
    text = f"{quantities} against {axis_of(records[0]).long_name}"
    curves = [curve for content in contents for curve in content.curves]
    lines = [line for content in contents for line in content.lines]
    notes = []
    if {"train", "test"} <= {curve.group for curve in curves}:
        notes.append("training data are dashed, test data solid")
    if lines:
        notes.append("horizontal lines are the test scores of the predictors")
    if has_published and any(curve.group == "published" for curve in curves):
        notes.append("circles are published")
    if forecast is not None:
        notes.append("green is the forecast")
    if len(records) == 1 and events[0] is not None:
        notes.append("shades are the phases of the run")
    parts.append(text[0].upper() + text[1:] + ("; " if notes else "") + ", ".join(notes) + ".")
    return _POWER.sub(_as_power, " ".join(parts))


_POWER = re.compile(r"(\d)e([+-]\d+)")


def _as_power(found: re.Match[str]) -> str:
    """A number as in print, 4.03×10³ for 4.03e+03."""
    return f"{found[1]}×10{superscript(int(found[2]))}"


def _listed(words: Sequence[str]) -> str:
    unique = list(dict.fromkeys(words))
    if len(unique) == 1:
        return unique[0]
    return ", ".join(unique[:-1]) + " and " + unique[-1]

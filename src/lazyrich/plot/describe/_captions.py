"""Sentences that say what a figure shows, made from the records."""

import re
from collections.abc import Sequence

import xarray as xr

from ...records.described import description_of
from ...records.schema import axis_of
from ...records.transition import MEANINGS, Transition
from ..description import Panel
from ..description.ticks import superscript


def run_caption(
    records: Sequence[xr.Dataset],
    names: Sequence[str],
    events: Sequence[Transition | None],
    panels: Sequence[Panel],
) -> str:
    """The caption of runs over time: what happened, and what the panels show."""
    parts = []
    for record, own, event in zip(records, names, events, strict=True):
        name = own or str(description_of(record).get("name", ""))
        if event is not None:
            # A name of several words would not read as the subject of a sentence.
            subject = f"Run “{name}”" if " " in name else name or "The run"
            parts.append(f"{subject} {MEANINGS[event.outcome]}: {event.says}.")
    quantities = _listed([panel.y.label for panel in panels])
    text = f"{quantities} against {axis_of(records[0]).long_name}"
    groups = {curve.group for panel in panels for curve in panel.curves}
    groups |= {line.group for panel in panels for line in panel.lines}
    groups |= {span.group for panel in panels for span in panel.spans}
    parts_shown = {curve.name.rpartition(", ")[2] for panel in panels for curve in panel.curves}
    notes = []
    if {"train", "test"} <= parts_shown:
        notes.append("training data are dashed, test data solid")
    if any(line.along == "x" for panel in panels for line in panel.lines):
        notes.append("horizontal lines are the test scores of the predictors")
    if "published" in groups:
        notes.append("circles are published")
    if groups & {"forecast", "kernel flow"}:
        notes.append("green is the forecast")
    if "phases" in groups:
        notes.append("shades are the phases of the run")
    parts.append(text[0].upper() + text[1:] + ("; " if notes else "") + ", ".join(notes) + ".")
    return powers(" ".join(parts))


def powers(text: str, commas: bool = True) -> str:
    """A text with its numbers as in print: 4,030 for 4.03e+03, 4×10⁵ for 4e+05, 10² for 10^2.

    - **Takes** `commas`, whether they separate thousands; not in lists of numbers.
    """
    raised = _RAISED.sub(lambda found: superscript(int(found[1])), text)
    written = _POWER.sub(_as_power, raised) if commas else _POWER.sub(_without_comma, raised)
    return _MINUS.sub("−", written)


_POWER = re.compile(r"(\d+(?:\.\d+)?)e([+-]\d+)")
_MINUS = re.compile(r"(?<![\w.=-])-(?=\d)")
_RAISED = re.compile(r"\^(-?\d+)(?![\d.]*\d)")
# Times below this power of ten are written out, as they are where numbers have more digits.
_WRITTEN_OUT = 5


def _without_comma(found: re.Match[str]) -> str:
    return _as_power(found).replace(",", "")


def _as_power(found: re.Match[str]) -> str:
    exponent = int(found[2])
    if 0 <= exponent < _WRITTEN_OUT:
        return f"{float(found[0]):,.10g}"
    return f"{found[1]}×10{superscript(exponent)}"


def _listed(words: Sequence[str]) -> str:
    unique = list(dict.fromkeys(words))
    if len(unique) == 1:
        return unique[0]
    return ", ".join(unique[:-1]) + " and " + unique[-1]

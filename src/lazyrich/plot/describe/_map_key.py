"""Looks of cells and lines in maps, and their key."""

from dataclasses import replace

import numpy as np
import xarray as xr

from ...records.transition import OUTCOMES
from ..description import Entry, Style

# Face, hatch and colour of the hatch. Lightness and hatch distinguish them in a grey print.
LOOKS: dict[str, tuple[str, str, str]] = {
    "grokked": ("#d95f0e", "", "#d95f0e"),
    "misgrokked": ("#542788", "\\\\\\", "#e0d8ea"),
    "immediate": ("#fddc8c", "", "#fddc8c"),
    "gradual": ("#fdae6b", "...", "#8c510a"),
    "improved": ("#d8b365", "\\\\", "#8c510a"),
    "unchanged": ("#c6dbef", "////", "#2b5c8a"),
    "not_within_budget": ("#c6dbef", "//", "#2b5c8a"),
    "untrained": ("#a6a6a6", "...", "#303030"),
    "collapsed": ("#a6a6a6", "ooo", "#303030"),
    "unscored": ("#f7f7f7", "...", "#909090"),
    "diverged": ("#252525", "xxx", "#b0b0b0"),
    "failed": ("#e5e5e5", "+++", "#303030"),
    "missing": ("#ffffff", "", "#ffffff"),
}
PALE = "#e9e9e9"
SOLID = Style("#000000", "solid", 1.3, marker="square", size=2.6, filled=True)
DASHED = Style("#000000", "dashed", 1.3)
EDGE = Style("#000000", "long", 0.7)
# Ratios closer to 1 than this count as agreement.
NEAR = 0.1


def map_key(
    diagram: xr.Dataset,
    split: bool,
    boundary: xr.Dataset | None,
    forecast: xr.Dataset | None,
) -> tuple[Entry, ...]:
    """The entries of what a map shows, with numbers of runs."""
    entries = _outcomes(diagram)
    entries.append(Entry("no time: fewer than half of the runs have one", Style(PALE), "patch"))
    if split:
        style = Style("#000000", "none", marker="circle", size=2.6)
        entries.append(Entry("runs disagree", style))
    if boundary is not None:
        sides = boundary.attrs["between"].replace("_", " ")
        located = int(boundary["num_located"].where(boundary["place"].notnull()).sum())
        several = int(boundary["num_several"].sum())
        label = f"boundary {sides}: median of {located} lines"
        label += f", {several} with several left out" if several else ""
        entries.append(Entry(label, SOLID))
        entries.append(Entry("10 to 90 % of the lines", EDGE))
    if forecast is not None:
        entries.append(Entry("the same as forecast", DASHED))
    if "forecast_error" in diagram:
        entries.append(Entry("half times as forecast", Style("#000000", width=0.9)))
        near, mark = f"{NEAR:.0%} or more", Style("#303030", "none", size=3.2)
        entries.append(Entry(f"forecast {near} too late", replace(mark, marker="plus")))
        entries.append(Entry(f"forecast {near} too early", replace(mark, marker="minus")))
        entries.append(Entry("another outcome was forecast", replace(mark, marker="cross")))
    return tuple(entries)


def _outcomes(diagram: xr.Dataset) -> list[Entry]:
    outcome = diagram["outcome"].values
    entries = []
    for name in (*OUTCOMES[-2::-1], "missing"):
        number = int(diagram["count"].sel(kind=name).sum())
        if not number and not np.any(outcome == name):
            continue
        face, hatch, ink = LOOKS[name]
        label = name.replace("_", " ")
        if name == "missing":
            label = "not run" if np.any(outcome == name) else "not run, others in the cell were"
        elif name in ("unchanged", "not_within_budget") and "t1" in diagram.attrs:
            label += f" by t = {diagram.attrs['t1']:,.7g}"
        if number:
            label += f" ({number})"
        entries.append(Entry(label, Style(face), "patch", hatch, ink))
    return entries

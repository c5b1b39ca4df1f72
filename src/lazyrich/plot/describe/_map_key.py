"""Looks of cells and lines in maps, and their key."""

from collections.abc import Collection

import numpy as np
import xarray as xr

from ...records.transition import OUTCOMES
from ..description import Entry, Style
from ..description.style import Marker

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
# Cells without a time, and the dots of those whose outcome has no hatch: in a grey print the
# face is no lighter than a late time.
PALE, DOTS, DOT_INK = "#e9e9e9", ".", "#b0b0b0"
SOLID = Style("#000000", "solid", 1.3, marker="square", size=2.6, filled=True)
DASHED = Style("#000000", "dashed", 1.3)
EDGE = Style("#000000", "long", 0.7)
# The name of the interval of a boundary that has several lines.
RANGE = "range of the boundary, 10 to 90 %"
# Ratios closer to 1 than this count as agreement.
NEAR = 0.1


def has_range(boundary: xr.Dataset) -> bool:
    """Whether the boundary is that of several lines, so that it has a range over them."""
    return boundary.sizes.get("line", 1) > 1


def sides(boundary: xr.Dataset, diagram: xr.Dataset) -> tuple[str, str]:
    """The outcomes on the two sides of a boundary, in words; of several, those of the runs."""
    came = {str(kind) for kind in diagram["kind"].values if diagram["count"].sel(kind=kind).any()}
    words = []
    for side in boundary.attrs["between"].split(" | "):
        names = side.split(" or ")
        shown = [name for name in names if name in came] or names
        words.append(" or ".join(shown).replace("_", " "))
    return words[0], words[1]


def map_key(
    diagram: xr.Dataset,
    drawn: Collection[str],
    boundary: xr.Dataset | None,
    forecast: xr.Dataset | None,
) -> tuple[Entry, ...]:
    """The entries of what a map shows, with numbers of runs; `drawn`, the names of its parts."""
    entries = _outcomes(diagram)
    if "no time" in drawn:
        label = "no time: fewer than half of the runs have one"
        entries.append(Entry(label, Style(PALE), "patch", DOTS, DOT_INK))
    if "runs disagree" in drawn:
        style = Style("#000000", "none", marker="circle", size=2.6)
        entries.append(Entry("runs disagree", style))
    if boundary is not None:
        located = int(boundary["num_located"].where(boundary["place"].notnull()).sum())
        several = int(boundary["num_several"].sum())
        label = f"boundary {' | '.join(sides(boundary, diagram))}: "
        label += f"median of {located} lines" if has_range(boundary) else f"{located} places"
        label += f", {several} with several left out" if several else ""
        entries.append(Entry(label, SOLID))
        if has_range(boundary):
            entries.append(Entry(RANGE, EDGE))
    if forecast is not None:
        entries.append(Entry("the same as forecast", DASHED))
    if "half times as forecast" in drawn:
        entries.append(Entry("half times as forecast", Style("#000000", width=0.9)))
    near = f"{100 * NEAR:.0f} % or more"
    marks: dict[str, tuple[str, Marker]] = {
        "forecast too late": (f"forecast {near} too late", "plus"),
        "forecast too early": (f"forecast {near} too early", "minus"),
        "another outcome was forecast": ("another outcome was forecast", "cross"),
    }
    for name, (label, marker) in marks.items():
        if name in drawn:
            entries.append(Entry(label, Style("#303030", "none", marker=marker)))
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

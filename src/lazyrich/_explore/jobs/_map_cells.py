"""The cells of a map in letters and in words."""

from typing import Any

import numpy as np
import xarray as xr

from ...plot.describe._captions import powers

# A letter for each outcome, for readers who do not distinguish the colours.
_LETTERS = {
    "grokked": "G", "misgrokked": "M", "immediate": "I", "gradual": "S", "improved": "B",
    "unchanged": "U", "not within budget": "U", "untrained": "N", "collapsed": "C",
    "unscored": "?", "diverged": "D", "failed": "F", "missing": "",
}  # fmt: skip
# The letter is in the upper left corner of a cell, where no line of a boundary passes. The page
# surrounds it with white, because cells are dark or hatched.
_LEFT, _UP = 0.14, 0.8
_NUMBERS = (
    ("delay", "median delay"),
    ("t50", "half time"),
    ("forecast_t50", "half time as forecast"),
)


def letter(figure: dict[str, Any]) -> None:
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
        figure["data"].append(
            {"type": "scatter", "mode": "text", "x": xs, "y": ys, "text": [letter] * len(xs),
             "name": f"letter {letter}", "legendgroup": f"letter {letter}", "showlegend": False,
             "hoverinfo": "skip", "textposition": "middle center",
             "textfont": {"size": 13, "color": "#1a1a1a"}}
        )  # fmt: skip


def _inside(edges: list[float], kind: str, share: float) -> np.ndarray:
    """The place of a share of each cell's width on its axis."""
    at = np.asarray(edges, dtype=float)
    at = np.log(at) if kind == "log" else at
    found = at[:-1] + share * np.diff(at)
    return np.exp(found) if kind == "log" else found


def tidy(figure: dict[str, Any]) -> None:
    """One panel has the whole figure."""
    layout = figure["layout"]
    layout["margin"] = {"l": 60, "r": 10, "t": 40, "b": 60}
    layout["hovermode"] = "closest"
    layout["meta"]["white"] = True


def words(diagram: xr.Dataset) -> list[list[str]]:
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
                    parts.append(powers(f"{label} {value:.3g}"))
            line.append(", ".join(parts) or "no run")
        found.append(line)
    return found

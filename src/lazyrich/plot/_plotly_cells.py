"""Cells as Plotly shows them: hatches as traces of their own, and powers on colour bars."""

from typing import Any

import numpy as np
from jaxtyping import Bool

from .description import Cells

# Shape, distance in pixels and thickness, from 0 to 1, of each hatch of matplotlib in use.
_PATTERNS = {
    "//": ("/", 12, 0.14), "////": ("/", 7, 0.2),
    "\\\\": ("\\", 12, 0.14), "\\\\\\": ("\\", 8, 0.2),
    ".": (".", 14, 0.06), "...": (".", 7, 0.22),
    "ooo": (".", 12, 0.35), "xxx": ("x", 10, 0.16), "+++": ("+", 10, 0.16),
}  # fmt: skip


def pattern(cells: Cells) -> dict[str, Any] | None:
    """The hatch of cells as Plotly's `fillpattern`, None without one."""
    if not cells.hatch:
        return None
    shape, size, solidity = _PATTERNS[cells.hatch]
    return {"shape": shape, "size": size, "solidity": solidity, "fgcolor": cells.ink}


def hatched(cells: Cells) -> dict[str, Any] | None:
    """A trace that hatches cells, None without a hatch.

    Each rectangle contains all neighbouring cells of a row.
    """
    found = pattern(cells)
    if found is None:
        return None
    x: list[float | None] = []
    y: list[float | None] = []
    for row, (low, high) in enumerate(zip(cells.y[:-1], cells.y[1:], strict=True)):
        for first, last in _together(cells.shown[row]):
            left, right = float(cells.x[first]), float(cells.x[last])
            x += [left, right, right, left, left, None]
            y += [float(low), float(low), float(high), float(high), float(low), None]
    return {
        "type": "scatter", "mode": "lines", "x": x, "y": y, "fill": "toself", "line": {"width": 0},
        "fillpattern": found, "hoverinfo": "skip", "showlegend": False,
    }  # fmt: skip


def _together(shown: Bool[np.ndarray, " n"]) -> list[tuple[int, int]]:
    """First edge and last edge of the neighbouring cells that are shown."""
    ends = np.flatnonzero(np.diff(np.concatenate([[False], shown, [False]]).astype(int)))
    return [(int(a), int(b)) for a, b in zip(ends[::2], ends[1::2], strict=True)]


def powers(low: float, high: float) -> list[float]:
    """Exponents with a label on a colour bar: whole ones, or the ends if there are too few."""
    ends = np.log10([low, high])
    whole = np.arange(np.ceil(ends[0]), np.floor(ends[1]) + 1)
    return list(whole if len(whole) > 1 else ends)

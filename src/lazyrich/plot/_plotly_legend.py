"""Entries of Plotly's legend: one for each group of elements."""

import html
from typing import Any


def add_legend(data: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The traces, of which the first of each group has its entry in the legend.

    A group whose traces are parts of it, such as `run 1, train` and `run 1, test` of `run 1`, has
    an entry with its own name: a trace without points.
    """
    parts: dict[str, set[str]] = {}
    for trace in data:
        whole, comma, part = trace["name"].rpartition(", ")
        if comma and trace.get("legendgroup") == html.unescape(whole):
            parts.setdefault(trace["legendgroup"], set()).add(part)
    found: list[dict[str, Any]] = []
    named: set[str] = set()
    for trace in data:
        group = trace.get("legendgroup") or trace["name"]
        is_first = group not in named
        named.add(group)
        if is_first and len(parts.get(group, ())) > 1:
            line = trace["line"] | {"dash": "solid"}
            own = {"x": [None], "y": [None], "name": html.escape(group, quote=False)}
            found.append({**trace, **own, "line": line, "showlegend": True})
            is_first = False
        trace.setdefault("showlegend", is_first)
        found.append(trace)
    return found

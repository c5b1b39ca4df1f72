"""How results are shown: a few lines of text, and the same in a notebook."""

import html
import math
from typing import Any

# Letters of a name, a path or the like that are shown.
_MOST = 160


def number(value: float) -> str:
    """A number in few digits, a dash for none."""
    return "–" if math.isnan(value) else f"{value:.4g}"


def interval(ends: tuple[float, float]) -> str:
    """Two numbers in few digits."""
    return f"{number(ends[0])} to {number(ends[1])}"


def rows(**texts: object) -> str:
    """One line for each, of its name and its text; empty ones are left out."""
    lines = []
    for name, text in texts.items():
        words = " ".join(str(text).split())
        if words:
            short = words if len(words) <= _MOST else f"{words[: _MOST - 3]}..."
            lines.append(f"{name.replace('_', ' '):<16} {short}")
    return "\n".join(lines)


def as_html(shown: Any) -> str:
    """What notebooks show of an object: its text, with markup in it made harmless."""
    return f"<pre>{html.escape(str(shown))}</pre>"

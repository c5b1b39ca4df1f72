"""Results as a few lines of text, and as HTML for notebooks."""

import html
import math
from typing import Any

# The largest number of letters shown of a name or a path.
_MOST = 160


def number(value: float) -> str:
    """A number with few digits; a dash for not-a-number."""
    return "–" if math.isnan(value) else f"{value:.4g}"


def interval(ends: tuple[float, float]) -> str:
    """Two numbers with few digits."""
    return f"{number(ends[0])} to {number(ends[1])}"


def rows(**texts: object) -> str:
    """One line for each name and text; empty texts are left out."""
    lines = []
    for name, text in texts.items():
        words = " ".join(str(text).split())
        if words:
            short = words if len(words) <= _MOST else f"{words[: _MOST - 3]}..."
            lines.append(f"{name.replace('_', ' '):<16} {short}")
    return "\n".join(lines)


def as_html(shown: Any) -> str:
    """The text of an object as HTML for notebooks, with escaped markup."""
    return f"<pre>{html.escape(str(shown))}</pre>"

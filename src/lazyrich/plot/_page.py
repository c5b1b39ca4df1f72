"""Self-contained pages: templates, embedded figures and scripts, and what a page may load."""

import base64
import gzip
import hashlib
import io
import json
from functools import cache
from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import jinja2
import matplotlib
from markupsafe import Markup
from matplotlib.figure import Figure

from .._core.errors import require
from .describe._captions import powers


def render(template: str, **fields: Any) -> str:
    """A page from a template; all values are escaped."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("lazyrich.plot"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["number"] = number
    environment.filters["powers"] = powers
    environment.filters["json"] = inert
    script = files("lazyrich.plot").joinpath("templates/page.js").read_text(encoding="utf-8")
    require("plotly", "view", "a page with interactive figures")
    packed, digest = _plotly()
    page = {"policy": _policy(_digest(script), digest), "script": Markup(script)}
    return environment.get_template(template).render(**fields, **page, plotly=packed)


def number(value: Any) -> str:
    """Four significant digits, whole numbers whole; a dash for what is unknown."""
    if value is None:
        return "–"
    if isinstance(value, str):
        return value
    return f"{value:,}" if isinstance(value, int) else powers(f"{value:,.4g}")


def embedded(figure: Figure) -> str:
    """A figure as text for a page; equal figures give equal text."""
    image = io.BytesIO()
    with matplotlib.rc_context({"svg.hashsalt": "lazyrich"}):
        figure.savefig(image, format="svg", metadata={"Date": None})
    return base64.b64encode(image.getvalue()).decode()


# In a script element only these can end the element, begin a comment or, in old parsers, a line.
_INERT = str.maketrans({letter: f"\\u{ord(letter):04x}" for letter in "<>&\u2028\u2029"})


def inert(value: Any) -> Markup:
    """A value as JSON that can stand in a script element, whatever its strings contain."""
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return Markup(text.translate(_INERT))


def _policy(*digests: str) -> str:
    """The content security policy of a page.

    Nothing is loaded from anywhere. Scripts are those with these digests: the one of the page, and
    Plotly's, which the first unpacks. Plotly writes styles into the page, so styles are free; they
    can load only what the other rules allow. Images are in the page; Plotly saves a figure by a
    `blob:`.
    """
    scripts = " ".join(f"'sha256-{digest}'" for digest in digests)
    return (
        f"default-src 'none'; script-src {scripts}; style-src 'unsafe-inline'; "
        "img-src data: blob:; base-uri 'none'; form-action 'none'"
    )


def _digest(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


@cache
def _plotly() -> tuple[str, str]:
    """Plotly's script, compressed as text, and its digest."""
    # The package is not imported, because that takes longer than the rest of the page.
    found = find_spec("plotly")
    assert found is not None
    assert found.origin is not None
    script = Path(found.origin).with_name("package_data") / "plotly.min.js"
    text = script.read_text(encoding="utf-8")
    return base64.b64encode(gzip.compress(text.encode(), 9, mtime=0)).decode(), _digest(text)

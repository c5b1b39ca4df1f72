"""Turns the formulas of the documentation into MathML, which browsers draw by themselves."""

import html
import re
from collections.abc import Iterable
from typing import Any

from latex2mathml.converter import convert

_FORMULA = re.compile(
    r'<(span|div) class="arithmatex">\\(?P<open>[(\[])(?P<tex>.*?)\\[)\]]</\1>', re.DOTALL
)
# In a table of contents a formula is text.
_IN_TITLE = re.compile(r"\\\((?P<tex>.*?)\\\)", re.DOTALL)


# Browsers no longer read `mathvariant`: a letter of another style is another character.
_LETTERS = {r"\mathcal L": "ℒ", r"\mathbb R": "ℝ", r"\mathbf 1": "𝟏"}


def _as_mathml(found: re.Match[str]) -> str:
    display = "block" if found.groupdict().get("open") == "[" else "inline"
    tex = html.unescape(found["tex"]).strip()
    for plain, letter in _LETTERS.items():
        tex = tex.replace(plain, letter)
    return _with_spaces(convert(tex, display=display))


# The converter puts no space around names of functions.
_SPACE = '<mspace width="0.17em" />'
_NAMES = "<mi>(?:log|exp|sinh|cosh|tanh|sin|cos)</mi>"
_BEFORE = re.compile(f"(</mi>|</mn>|</msub>|</msup>|</mfrac>|&#x00029;</mo>)((?:<msub>)?{_NAMES})")
_AFTER = re.compile(f"(?<!<msub>)(?<!<msup>)({_NAMES})(?=<mi|<mn|<msu|<mfrac|<msqrt)")


def _with_spaces(mathml: str) -> str:
    return _AFTER.sub(rf"\1{_SPACE}", _BEFORE.sub(rf"\1{_SPACE}\2", mathml))


def on_page_content(content: str, page: Any, **context: Any) -> str:
    """Called by mkdocs for each page's HTML."""
    del context
    _convert_titles(page.toc)
    return _FORMULA.sub(_as_mathml, content)


def _convert_titles(items: Iterable[Any]) -> None:
    """Formulas in the table of contents of a page, which the theme writes as HTML."""
    for item in items:
        item.title = _IN_TITLE.sub(_as_mathml, item.title)
        _convert_titles(item.children)

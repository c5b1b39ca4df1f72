"""Explains the terms of the glossary on every page: as hover text, and by a link at the end."""

import re
from pathlib import Path
from typing import Any

GLOSSARY = Path(__file__).parent / "docs" / "reference" / "glossary.md"
_ROW = re.compile(r"^\| (?P<term>[^|]+) \| (?P<meaning>[^|]+) \| (?P<code>[^|]*) \|$", re.MULTILINE)
# Words that texts use too often, or in other senses too, to be marked.
_NOT_MARKED = {
    "chance", "claim", "delay", "drift", "dual", "ending", "experiment", "fit", "forecast",
    "grokking", "homogeneous", "horizon", "margin", "moving", "outcome", "panel", "pilot",
    "plateau", "predictor", "probe", "record", "score", "settled", "stiff", "store", "study",
    "transition", "verdict",
}  # fmt: skip


def terms() -> dict[str, str]:
    """The meaning of each term of the glossary, in Markdown."""
    rows = _ROW.finditer(GLOSSARY.read_text(encoding="utf-8"))
    found = {row["term"].strip(): row["meaning"].strip() for row in rows}
    return {term: text for term, text in found.items() if term not in ("term", "---")}


def abbreviations() -> str:
    """The terms that are marked on pages, as abbreviations of Markdown; none with formulas."""
    marked = {term: text.replace("`", "") for term, text in terms().items() if "$" not in term}
    shown = [f"*[{term}]: {text}" for term, text in marked.items() if term not in _NOT_MARKED]
    return "\n".join(shown)


def on_page_markdown(markdown: str, page: Any, **context: Any) -> str:
    """Called by mkdocs for each page's Markdown."""
    del context
    place = page.file.src_uri
    if place.startswith("reference/glossary"):
        return markdown
    up = "../" * place.count("/")
    link = f"*Terms are explained in the [glossary]({up}reference/glossary.md).*"
    if place.startswith("tutorials/"):
        link += f" *This page is also a [notebook](notebooks/{Path(place).stem}.ipynb).*"
    # Words of the API are names of the code, too, and are not marked.
    marked = "" if place.startswith("reference/api/") else abbreviations()
    return f"{markdown}\n\n---\n\n{link}\n\n{marked}\n"

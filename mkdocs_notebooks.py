"""Writes the tutorials as notebooks: text and code of a page, without outputs."""

import json
import re
from pathlib import Path
from typing import Any

TUTORIALS = Path(__file__).parent / "docs" / "tutorials"
FOLDER = TUTORIALS / "notebooks"

_CODE = re.compile(r"^```python\n(.*?)^```\n", re.DOTALL | re.MULTILINE)
_NOTE = re.compile(r"^<!-- .* -->\n", re.MULTILINE)
_LINK = re.compile(r"\]\((?!https?:|#)([^)]+)\)")
_NAME = re.compile(r"\[(`[^`]+`)\]\[lazyrich[\w.]*\]")


def notebooks() -> dict[str, str]:
    """Every notebook as JSON, by the name of its file."""
    pages = sorted(TUTORIALS.glob("*.md"))
    return {f"{page.stem}.ipynb": notebook(page.read_text(encoding="utf-8")) for page in pages}


def notebook(text: str) -> str:
    """A page as a notebook; its links are relative to the folder of the notebooks."""
    parts = _CODE.split(text)
    cells = []
    for number, part in enumerate(parts):
        source = part.strip() if number % 2 else _words(part)
        if source:
            cells.append(_cell("code" if number % 2 else "markdown", source))
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    content = {
        "cells": cells,
        "metadata": {"kernelspec": kernel, "language_info": {"name": "python"}},
        "nbformat": 4,
        "nbformat_minor": 4,
    }
    return json.dumps(content, indent=1, ensure_ascii=False) + "\n"


def _words(part: str) -> str:
    """Markdown for a notebook: no comments, no references to the API, links one folder up."""
    return _LINK.sub(r"](../\1)", _NAME.sub(r"\1", _NOTE.sub("", part))).strip()


def _cell(kind: str, source: str) -> dict[str, Any]:
    cell: dict[str, Any] = {"cell_type": kind, "metadata": {}}
    if kind == "code":
        cell |= {"execution_count": None, "outputs": []}
    return cell | {"source": source.splitlines(keepends=True)}


def main() -> None:
    """Writes all notebooks, and removes those whose page is gone."""
    FOLDER.mkdir(exist_ok=True)
    written = notebooks()
    for path in FOLDER.glob("*.ipynb"):
        if path.name not in written:
            path.unlink()
    for name, text in written.items():
        (FOLDER / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()

"""Writes what pages and `--help` show of code and results: `python mkdocs_tables.py`."""

import re
import sys
from pathlib import Path

import mkdocs_api
import mkdocs_measured
import mkdocs_notebooks
import mkdocs_reference
import mkdocs_results

from lazyrich._explore.first import FILE as FIRST_FILE, first_answers
from lazyrich.cli.kinds import KEYS_FILE, keys_text
from lazyrich.records.schema import attributes_table, variables_table

ROOT = Path(__file__).parent


def tables() -> dict[str, str]:
    """Every generated table by its name, which stands in the comments around it."""
    return {
        "time": variables_table("time"),
        "curves": variables_table("curve"),
        "requested": variables_table("on request"),
        "predictors": variables_table("predictor"),
        "monitored": variables_table("monitor"),
        "numbers": variables_table("scale", "kkt", "end"),
        "attributes": attributes_table(),
        **mkdocs_reference.tables(),
        **mkdocs_results.tables(),
        **mkdocs_measured.tables(),
    }


def filled(page: str) -> str:
    """A page with every table in it as the code has it now."""
    for name, table in tables().items():
        begin, end = f"<!-- table {name} -->", f"<!-- end of {name} -->"
        pattern = re.compile(f"{re.escape(begin)}.*?{re.escape(end)}", re.DOTALL)
        text = f"{begin}\n{table}\n{end}".replace("\\", r"\\")
        page = pattern.sub(text, page)
    return page


def main() -> None:
    """Writes the pages, the keys of `--help`, and what the explorer says first."""
    mkdocs_api.main()
    for path, text in mkdocs_reference.pages().items():
        _write(path, text)
    for path in (ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))):
        _write(path, filled(path.read_text(encoding="utf-8")))
    mkdocs_notebooks.main()
    _write(KEYS_FILE, keys_text())
    _write(FIRST_FILE, first_answers())


def _write(path: Path, text: str) -> None:
    if not path.exists() or path.read_text(encoding="utf-8") != text:
        path.write_text(text, encoding="utf-8")
        print(f"written to {path}", file=sys.stderr)


if __name__ == "__main__":
    main()

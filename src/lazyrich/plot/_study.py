"""A study as one self-contained page."""

import json
import math
import os
import shlex
from dataclasses import fields
from pathlib import Path
from typing import Any

from .._core.files import replacing
from ..claims import ClaimResult
from ..studies import PanelResult, Row
from ._live import live
from ._page import render
from ._tables import markdown, notes, overview
from .figures import Drawing, drawings


def write_study(
    title: str, preset: str, results: list[PanelResult], folder: str | os.PathLike[str]
) -> None:
    """Writes `report.html`, `report.md`, `report.json` and a figure a panel into `folder`.

    The page has for every panel its figures, how its runs came out, a table *published,
    measured, ratio, agrees*, and what is claimed of it and whether that holds; it needs no
    network. Figures are PDF and PNG. `report.md` has the tables alone.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    _write_page(title, preset, results, folder / "report.html")
    with replacing(folder / "report.md") as path:
        path.write_text(markdown(results), encoding="utf-8")
    content = {"study": title, "preset": preset, "panels": [_numbers(r) for r in results]}
    with replacing(folder / "report.json") as path:
        path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def write_sweeps(
    title: str, results: list[PanelResult], page: str | os.PathLike[str]
) -> list[Path]:
    """Writes the page of a store's sweeps, see [`sweeps_of`][lazyrich.studies.sweeps_of].

    A figure a sweep goes beside it, as PDF and PNG, with the name of the page in front unless that
    is `report.html`. Returns the paths of all that was written.
    """
    return _write_page(title, None, results, Path(page))


def _write_page(
    title: str, preset: str | None, results: list[PanelResult], page: Path
) -> list[Path]:
    """Writes a page and its figures; returns their paths."""
    sections, written = [], [page]
    # Pages of other names can be in the same folder, each with figures of its own.
    prefix = "" if page.stem == "report" else f"{page.stem}-"
    for result in results:
        figures = []
        for own_name, drawing in drawings(result):
            name = f"{prefix}{own_name}"
            _save(page.parent, name, drawing)
            views = {} if drawing.described is None else {"all": drawing.described}
            figures.append(live(drawing.figure, drawing.caption, views))
            written += [page.parent / f"{name}.{suffix}" for suffix in ("pdf", "png")]
        sections.append({**_numbers(result), "overview": overview(result), "figures": figures})
    command = None
    if preset is not None:
        command = f"lazyrich reproduce {shlex.quote(title)} --preset {preset}"
    text = render("study.html", title=title, preset=preset, sections=sections, command=command)
    with replacing(page) as path:
        path.write_text(text, encoding="utf-8")
    return written


def _numbers(result: PanelResult) -> dict[str, Any]:
    """The results of a panel, ready for JSON."""
    published = result.published
    return {
        "name": result.name,
        "runs": len(result.sweep),
        "over": {axis.name: len(axis) for axis in result.sweep.axes},
        "outcomes": result.outcomes,
        "source": None if published is None else published.source,
        "notes": notes(result),
        "tolerance": None if published is None else published.tolerance,
        "rows": [_plain(row) for row in result.rows],
        "claims": [_claim(claim) for claim in result.claims],
        "experiment": result.sweep.experiment.description,
        "sweep": result.sweep.content_hash,
    }


def _claim(result: ClaimResult) -> dict[str, Any]:
    return {**_plain(result), "claim": result.claim.text, "source": result.claim.source}


def _plain(result: Row | ClaimResult) -> dict[str, Any]:
    """The fields of a result, unknown numbers as None."""
    return {field.name: _known(getattr(result, field.name)) for field in fields(result)}


def _known(value: Any) -> Any:
    return None if isinstance(value, float) and math.isnan(value) else value


def _save(folder: Path, name: str, drawing: Drawing) -> None:
    """Saves a figure in files of its own."""
    for suffix in ("pdf", "png"):
        with replacing(folder / f"{name}.{suffix}") as path:
            drawing.figure.savefig(path, dpi=300)

"""A study as one self-contained page."""

import json
import math
import os
import shlex
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np

from .._core.files import replacing
from ..claims import ClaimResult
from ..studies import PanelResult, Row
from ._live import live
from ._page import render
from ._source_steps import steps_of_source
from ._tables import markdown, notes, overview
from .figures import Drawing, drawings


def write_study(
    title: str,
    preset: str,
    results: list[PanelResult],
    folder: str | os.PathLike[str],
    *,
    command: str | None = None,
) -> None:
    """Writes `report.html`, `report.md`, `report.json` and a figure a panel into `folder`.

    The page has for every panel its figures, how its runs came out, a table *published,
    measured, ratio, agrees*, and what is claimed of it and whether that holds; it needs no
    network. Figures are PDF and PNG. `report.md` has the same tables without figures. The page
    names `command` to repeat the study, by default `lazyrich reproduce` with the title and the
    preset.
    """
    if command is None:
        command = shlex.join(["lazyrich", "reproduce", title, "--preset", preset])
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    _write_page(title, preset, results, folder / "report.html", command)
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
    return _write_page(title, None, results, Path(page), None)


def _write_page(
    title: str, preset: str | None, results: list[PanelResult], page: Path, command: str | None
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
            figures.append(live(drawing.figure, drawing.caption, drawing.views))
            written += [page.parent / f"{name}.{suffix}" for suffix in ("pdf", "png")]
        sections.append(
            {
                **_numbers(result),
                "overview": overview(result),
                "figures": figures,
                "cost": _cost(result),
                "descent": _descent(result),
            }
        )
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


def _cost(result: PanelResult) -> dict[str, int | None] | None:
    """The median numbers of steps and gradients of the runs, None if none is known."""
    found = {}
    for name in ("num_steps", "num_rejected", "num_gradients"):
        counts = result.dataset[name].values if name in result.dataset else np.zeros(0)
        known = counts[np.isfinite(counts)]
        found[name] = round(float(np.median(known))) if known.size else None
    return None if found["num_steps"] is None else found


def _descent(result: PanelResult) -> dict[str, float] | None:
    """The steps that the source would take for the time of the longest run.

    None for runs that make steps themselves.
    """
    times = result.dataset["time"].values if "time" in result.dataset else np.zeros(0)
    varied = [key for axis in result.sweep.axes for key in axis.keys]
    keys = result.sweep.experiment.keys()
    steps = "dynamics.learning_rate" in keys or "dynamics" in varied
    if steps or not np.isfinite(times).any():
        return None
    return steps_of_source(result.published, float(np.nanmax(times)))


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

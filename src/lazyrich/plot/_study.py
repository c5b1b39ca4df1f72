"""A study as one self-contained page."""

import json
import math
import os
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any, Literal

import xarray as xr
from matplotlib.figure import Figure

from .._core.files import replacing
from ..claims import AbstractQuantityClaim, ChangesSign, ClaimResult
from ..maps import boundary, phase_diagram
from ..studies._reproduce import PanelResult
from ..sweeps.forecasts import forecast_scores, num_timed
from ._family import family as plot_family
from ._forecasts import forecasts as plot_forecasts
from ._maps import map as plot_map
from ._rates import has_rates, rates as plot_rates
from ._report import embedded, render
from ._run import run as plot_run
from ._scores import scores as plot_scores
from ._tables import markdown, notes, overview


def write_study(
    title: str, preset: str, results: list[PanelResult], folder: str | os.PathLike[str]
) -> None:
    """Writes `report.html`, `report.md`, `report.json` and a figure a panel into `folder`.

    The page has for every panel its figures, how its runs came out, a table *published,
    measured, ratio, agrees*, and what is claimed of it and whether that holds; it needs no
    network. Figures are PDF and PNG. `report.md` has the tables alone.
    """
    folder = Path(folder)
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

    A figure a sweep goes beside it, as PDF and PNG. Returns the paths of all that was written.
    """
    return _write_page(title, None, results, Path(page))


def _write_page(
    title: str, preset: str | None, results: list[PanelResult], page: Path
) -> list[Path]:
    """Writes a page and its figures; returns their paths."""
    sections, written = [], [page]
    for result in results:
        figures = []
        for name, figure, caption in _figures(result):
            figures.append(_drawn(page.parent, name, figure, caption))
            written += [page.parent / f"{name}.{suffix}" for suffix in ("pdf", "png")]
        sections.append({**_numbers(result), "overview": overview(result), "figures": figures})
    text = render("study.html", title=title, preset=preset, sections=sections)
    with replacing(page) as path:
        path.write_text(text, encoding="utf-8")
    return written


def _numbers(result: PanelResult) -> dict[str, Any]:
    """What a panel came to, ready for JSON."""
    published = result.published
    return {
        "name": result.name,
        "runs": len(result.sweep),
        "over": {axis.name: len(axis) for axis in result.sweep.axes},
        "outcomes": result.outcomes,
        "source": None if published is None else published.source,
        "notes": notes(result),
        "tolerance": None if published is None else published.tolerance,
        "rows": [{k: _known(v) for k, v in row._asdict().items()} for row in result.rows],
        "claims": [_claim(claim) for claim in result.claims],
        "experiment": result.sweep.experiment.description,
        "sweep": result.sweep.content_hash,
    }


def _claim(result: ClaimResult) -> dict[str, Any]:
    numbers = {field.name: _known(getattr(result, field.name)) for field in fields(result)}
    return {**numbers, "claim": result.claim.text, "source": result.claim.source}


def _known(value: Any) -> Any:
    return None if isinstance(value, float) and math.isnan(value) else value


def _drawn(folder: Path, name: str, figure: Figure, caption: str) -> dict[str, str]:
    """A figure in files of its own, and as it goes into the page."""
    for suffix in ("pdf", "png"):
        with replacing(folder / f"{name}.{suffix}") as path:
            figure.savefig(path, dpi=160)
    return {"image": embedded(figure), "caption": caption}


def _figures(result: PanelResult) -> Iterator[tuple[str, Figure, str]]:
    """A panel's figures, their names, and what they show: a run, a family of runs, or a map; and
    forecasts against what came of them, if there are several."""
    dataset = result.dataset
    # Of keys that change in step the first stands for all.
    varied = [axis.keys[0] for axis in result.sweep.axes if len(axis) > 1]
    keys = [key for key in varied if key != "seed"]
    turns = [c.claim.along for c in result.claims if isinstance(c.claim, ChangesSign)]
    if result.forecast is not None and turns:
        caption = "Test scores of every run over those that were forecast, medians and ranges."
        yield result.name, plot_scores(dataset, turns[0]), caption
    elif "dynamics" in keys and has_rates(dataset["dynamics"].values.tolist()):
        caption = "Half times, plateaus and last norms beside the gradient flow's, over the rate."
        yield result.name, plot_rates(dataset), caption
    elif len(keys) == 2:
        yield result.name, *_map(result, *keys)
    elif len(keys) == 1 or (keys and result.forecast is None):
        yield result.name, *_family(result, keys[0])
    elif not keys:
        yield result.name, *_run(result)
    if result.forecast is None:
        return
    name = f"{result.name}-forecast" if len(keys) < 3 or turns else result.name
    if keys and num_timed(dataset) > 1:
        caption = "Every run with a forecast; bars are its interval, the dashed line agreement."
        yield name, plot_forecasts(dataset), f"{caption} {_scored(dataset)}"


def _map(result: PanelResult, x: str, y: str) -> tuple[Figure, str]:
    dataset = result.dataset
    line = _line(dataset, x, y, "outcome")
    caption = "Outcomes, delays and times of half the test change."
    if line is not None:
        caption += (
            " The line is where runs go from immediate to a change that is late, for the better or "
            "the worse; its band has 10 to 90 % of the seeds."
        )
    expected = None
    if result.forecast is not None:
        expected = _line(dataset, x, y, "forecast_outcome")
        caption += (
            " Contours are times as forecast before training, over those that came; the last map "
            "has their ratio."
        )
    quantities = [c.claim for c in result.claims if isinstance(c.claim, AbstractQuantityClaim)]
    differs = any(claim.quantity == "t_test - t_train" for claim in quantities)
    delay: Literal["ratio", "difference"] = "difference" if differs else "ratio"
    return plot_map(phase_diagram(dataset, x, y), line, delay, expected), caption


# Outcomes without a long delay, and with one.
_EARLY, _LATE = ("immediate", "gradual"), ("grokked", "improved", "misgrokked")


def _line(
    dataset: xr.Dataset, x: str, y: str, of: Literal["outcome", "forecast_outcome"]
) -> xr.Dataset | None:
    """From what comes soon to what comes late, None where there is no such line."""
    if (dataset[of] == "missing").all() or dataset[x].dtype.kind not in "fiu":
        return None
    line = boundary(dataset, x, y, between=(_EARLY, _LATE), of=of)
    return line if line["place"].notnull().any() else None


def _family(result: PanelResult, key: str) -> tuple[Figure, str]:
    figure = plot_family(result.dataset, key, result.published)
    shown = "; circles are published" if result.published and result.published.at else ""
    if result.forecast is not None:
        shown += "; diamonds are half of the change as forecast"
    (axis,) = (axis for axis in result.sweep.axes if axis.keys[0] == key)
    alike = len({json.dumps(point[0]) for point in axis.points}) < len(axis)
    others = f", whatever its {' and '.join(axis.keys[1:])}" if alike else ""
    return figure, f"Every run, by {key}{others}{shown}."


def _run(result: PanelResult) -> tuple[Figure, str]:
    first = result.dataset.isel(dict.fromkeys(result.dataset["outcome"].dims, 0))
    several = "The run of the first seed" if len(result.sweep) > 1 else "The run"
    shown = "; circles are published" if result.published and result.published.curves else ""
    if result.forecast is not None:
        shown += f"; green and faint is what was forecast. {_scored(result.dataset)}"
    return plot_run(_record(first, result), result.forecast), f"{several}{shown}".rstrip(".") + "."


def _scored(dataset: xr.Dataset) -> str:
    """How the forecasts of a panel's runs did, in a sentence or two."""
    found = forecast_scores(dataset)
    verdicts = f"{found.num_right} of {found.num_ventured} verdicts came true."
    if not found.num_ventured:
        verdicts = "No verdict was ventured."
    if not found.num_timed:
        return verdicts
    textbook = f" ({found.baseline:.2f} of the textbook's time)" if found.baseline > 0 else ""
    return (
        f"Half times as forecast are off by {found.error:.3f}{textbook}, the median |log ratio|, "
        f"with a bias of {found.bias:+.3f}; {found.coverage:.0%} of {found.num_timed} came in "
        f"their intervals. {verdicts}"
    )


def _record(run: xr.Dataset, result: PanelResult) -> xr.Dataset:
    """The curves of one run of a dataset, as a record's."""
    known = run["time"].notnull().values
    curves = {
        name: ("time", variable.values[known], variable.attrs)
        for name, variable in run.data_vars.items()
        if variable.dims == ("record",) and name != "time"
    }
    experiment = result.sweep.experiment
    attributes = {
        "experiment": experiment.description,
        "homogeneity": experiment.model.homogeneity or 0,
    }
    long_name, units = experiment.time_axis
    labels = {"long_name": long_name, "units": units}
    return xr.Dataset(curves, {"time": ("time", run["time"].values[known], labels)}, attributes)

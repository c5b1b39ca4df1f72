"""A study as one self-contained page."""

import base64
import io
import json
import math
import os
from pathlib import Path
from typing import Any, Literal

import xarray as xr
from matplotlib.figure import Figure

from .._claims import Verdict
from .._files import replacing
from .._phase import boundary, phase_diagram
from .._reproduce import PanelResult
from .._trial import forecast_scores
from .family import plot_family
from .figure import plot
from .forecasts import plot_forecasts
from .maps import plot_map
from .report import render
from .scores import plot_scores
from .tables import markdown, notes, overview


def write_study(
    title: str, preset: str, results: list[PanelResult], folder: str | os.PathLike[str]
) -> None:
    """Writes `report.html`, `report.md`, `report.json` and a figure a panel into `folder`.

    The page has for every panel its figure, how its runs came out, a table *published,
    measured, ratio, agrees*, and what is claimed of it and whether that holds; it needs no
    network. Figures are PDF and PNG. `report.md` has the tables alone.
    """
    folder = Path(folder)
    sections = []
    for result in results:
        figure, caption = _figure(result)
        for suffix in ("pdf", "png"):
            with replacing(folder / f"{result.name}.{suffix}") as path:
                figure.savefig(path, dpi=160)
        image = io.BytesIO()
        figure.savefig(image, format="svg")
        encoded = base64.b64encode(image.getvalue()).decode()
        sections.append(
            {
                **_numbers(result),
                "overview": overview(result),
                "figure": encoded,
                "caption": caption,
            }
        )
    page = render("study.html", title=title, preset=preset, sections=sections)
    with replacing(folder / "report.html") as path:
        path.write_text(page, encoding="utf-8")
    with replacing(folder / "report.md") as path:
        path.write_text(markdown(results), encoding="utf-8")
    content = {"study": title, "preset": preset, "panels": [_numbers(r) for r in results]}
    with replacing(folder / "report.json") as path:
        path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


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
        "claims": [_claim(verdict) for verdict in result.verdicts],
        "experiment": result.sweep.experiment.description,
        "sweep": result.sweep.content_hash,
    }


def _claim(verdict: Verdict) -> dict[str, Any]:
    fields = {k: _known(v) for k, v in verdict._asdict().items()}
    return {**fields, "claim": verdict.claim.text, "source": verdict.claim.source}


def _known(value: Any) -> Any:
    return None if isinstance(value, float) and math.isnan(value) else value


def _figure(result: PanelResult) -> tuple[Figure, str]:
    """A panel's figure and what it shows: a run, a family of runs, or a map."""
    dataset = result.dataset
    turns = [str(v.claim.along) for v in result.verdicts if v.claim.kind == "changes_sign"]
    if "forecast_t50" in dataset and turns:
        caption = "Test scores of every run over those that were forecast, medians and ranges."
        return plot_scores(dataset, turns[0]), f"{caption} {_scored(dataset)}"
    if "forecast_t50" in dataset:
        caption = "Every run with a forecast; bars are its interval, the dashed line agreement."
        return plot_forecasts(dataset), f"{caption} {_scored(dataset)}"
    # Of keys that change in step the first stands for all.
    varied = [axis.keys[0] for axis in result.sweep.axes if len(axis) > 1]
    keys = [key for key in varied if key != "seed"]
    if len(keys) == 2:
        x, y = keys
        line: xr.Dataset | None = boundary(dataset, x, y)
        if line is not None and not line["place"].notnull().any():
            line = None
        caption = "Outcomes, delays and times of half the test change."
        if line is not None:
            caption += (
                " The line is where runs go from immediate to grokked, its band 10 to 90 % of "
                "the seeds."
            )
        differs = any(v.claim.quantity == "t_test - t_train" for v in result.verdicts)
        delay: Literal["ratio", "difference"] = "difference" if differs else "ratio"
        return plot_map(phase_diagram(dataset, x, y), line, delay), caption
    if keys:
        figure = plot_family(dataset, keys[0], result.published)
        shown = "; circles are published" if result.published and result.published.at else ""
        (axis,) = (axis for axis in result.sweep.axes if axis.keys[0] == keys[0])
        alike = len({point[0] for point in axis.points}) < len(axis)
        others = f", whatever its {' and '.join(axis.keys[1:])}" if alike else ""
        return figure, f"Every run, by {keys[0]}{others}{shown}."
    first = dataset.isel(dict.fromkeys(dataset["outcome"].dims, 0))
    several = "The run of the first seed" if len(result.sweep) > 1 else "The run"
    shown = "; circles are published" if result.published and result.published.curves else ""
    return plot(_record(first, result)), f"{several}{shown}."


def _scored(dataset: xr.Dataset) -> str:
    found = forecast_scores(dataset)
    return (
        f"Median |log ratio| {found.error:.3f} ({found.baseline:.2f} of the textbook's time), bias "
        f"{found.bias:+.3f}, {found.coverage:.0%} of {found.num_timed} times in their intervals; "
        f"{found.num_right} of {found.num_ventured} verdicts came true."
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

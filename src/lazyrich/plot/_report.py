"""The page of a run."""

import base64
import io
import os
from collections.abc import Mapping
from typing import Any

import jinja2
import matplotlib
import numpy as np
import xarray as xr
from jaxtyping import Float
from matplotlib.figure import Figure

from .._core.files import replacing
from ..forecasts import Forecast
from ..records.summary import summarise
from ..records.transition import MEANINGS, Thresholds
from ._run import run


def report(
    record: xr.Dataset,
    path: str | os.PathLike[str],
    forecast: Forecast | Mapping[str, Any] | None = None,
    *,
    thresholds: Thresholds | None = None,
    curves: Mapping[str, Float[np.ndarray, "2 k"]] | None = None,
) -> None:
    """Writes an HTML page with the figure, the outcome and every number of the summary.

    The page needs no network, as the figure is embedded. All text from the experiment is escaped.

    - **Takes** a record, of a run or of a log; `path`, that of the page; `forecast`, of the same
        experiment, or its summary, which is drawn over the figure and listed beside the run;
        `thresholds`, those of the record if left out; `curves` as in
        [`plot.run`][lazyrich.plot.run].
    """
    summary = summarise(record, thresholds)
    figure = run(record, forecast, curves=curves)
    page = render(
        "report.html",
        summary=summary,
        figure=embedded(figure),
        caption=figure.caption,
        description=record.attrs["experiment"],
        version=record.attrs.get("lazyrich_version", "unknown"),
        source=record.attrs.get("source"),
        headline=MEANINGS[summary["outcome"]],
        said=forecast.summary() if isinstance(forecast, Forecast) else forecast,
    )
    with replacing(path) as temporary:
        temporary.write_text(page, encoding="utf-8")


def embedded(figure: Figure) -> str:
    """A figure as text for a page; equal figures give equal text."""
    image = io.BytesIO()
    with matplotlib.rc_context({"svg.hashsalt": "lazyrich"}):
        figure.savefig(image, format="svg", metadata={"Date": None})
    return base64.b64encode(image.getvalue()).decode()


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
    return environment.get_template(template).render(**fields)


def number(value: Any) -> str:
    """Four significant digits, whole numbers whole; a dash for what is unknown."""
    if value is None:
        return "–"
    if isinstance(value, str):
        return value
    return f"{value:,}" if isinstance(value, int) else f"{value:.4g}"

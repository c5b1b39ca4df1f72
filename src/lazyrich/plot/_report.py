"""A run as one self-contained page."""

import base64
import io
import os
from typing import Any

import jinja2
import xarray as xr

from .._core.files import replacing
from ..forecasts import Forecast
from ..records.transition import MEANINGS
from ._run import run


def write_report(
    record: xr.Dataset,
    summary: dict[str, Any],
    path: str | os.PathLike[str],
    forecast: Forecast | None = None,
) -> None:
    """Writes an HTML page with the figure, the outcome and every number of the summary.

    The page needs no network: the figure is embedded. Everything that a user's file put
    into the experiment is escaped. A `forecast` of the same experiment is laid over the figure,
    and set beside what came.
    """
    image = io.BytesIO()
    run(record, forecast).savefig(image, format="svg")
    page = render(
        "report.html",
        summary=summary,
        figure=base64.b64encode(image.getvalue()).decode(),
        description=record.attrs["experiment"],
        version=record.attrs["lazyrich_version"],
        headline=MEANINGS[summary["outcome"]],
        said=None if forecast is None else forecast.summary(),
    )
    with replacing(path) as temporary:
        temporary.write_text(page, encoding="utf-8")


def render(template: str, **fields: Any) -> str:
    """A page from a template; whatever is filled in is escaped."""
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

"""`lazyrich report`: the page and figures of results on disk."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .._core.errors import InputError, one_line
from .._core.files import contents, replacing
from .settings import Threshold, can_draw

if TYPE_CHECKING:
    import xarray as xr

    from ..records.transition import Thresholds

HELP = """Write the page and the figures of a record, a run or a store again, without running.

PLACE is a record (a .nc file), the folder of a run, or a store (a folder or its URL). The page
FILE.html is self-contained and needs no network. Figures are .pdf and .png in the same folder.

\b
Examples:
  lazyrich report runs/lyu2024-1a-3fa9c1d2
  lazyrich report record.nc --out 1a.html
  lazyrich report runs --out map.html --threshold test=0.9

\b
The outcomes of a run use the thresholds in its record, those of a store the default ones, both
with the changes of --threshold.
Exit codes: 0 done, 1 the computation failed, 2 the input is not accepted.
"""

# The largest summary of a forecast in bytes; most have a few thousand.
_MAX_FORECAST = 2**20


def report(
    place: Annotated[str, typer.Argument(metavar="PLACE")],
    out: Annotated[
        Path | None, typer.Option(metavar="FILE.html", help="The page to write [next to PLACE].")
    ] = None,
    threshold: Threshold = None,
) -> None:
    """Write a report; users see `HELP`."""
    path = Path(place)
    _check_out(place, out)
    if path.is_file():
        written = _of_record(path, out, None, threshold)
    elif (path / "record.nc").is_file():
        written = _of_record(path / "record.nc", out, path / "forecast.json", threshold)
    elif "://" in place or (path / "store.json").is_file():
        written = _of_store(place, out, threshold)
    elif (path / "store" / "store.json").is_file():
        written = _of_store(str(path / "store"), out or path / "report.html", threshold)
    else:
        accepted = "should be a record (.nc), the folder of a run, or a store"
        raise InputError("PLACE", place, accepted)
    for file in written:
        print(f"written to       {file}")


def _check_out(place: str, out: Path | None) -> None:
    if not can_draw():
        raise InputError("PLACE", place, "a report needs pip install 'lazyrich[view]'")
    if out is not None:
        check_page("--out", out)


def check_page(option: str, page: Path) -> None:
    """Refuses a page that cannot be written."""
    if not can_draw():
        raise InputError(option, str(page), "a report needs pip install 'lazyrich[view]'")
    if page.suffix != ".html":
        raise InputError(option, str(page), "should end in .html")
    if not page.parent.is_dir():
        raise InputError(option, str(page), "should be in an existing folder")


def _of_record(
    path: Path, out: Path | None, forecast: Path | None, threshold: list[str] | None
) -> list[Path]:
    from ..records.file import open_record
    from ..records.transition import thresholds_of

    record = open_record(path)
    thresholds = thresholds_of(record).changed(threshold or [])
    page = out or (
        path.with_name("report.html") if path.name == "record.nc" else path.with_suffix(".html")
    )
    return write(record, page, _forecast_of(forecast), thresholds)


def write(
    record: "xr.Dataset", page: Path, forecast: dict[str, Any] | None, thresholds: "Thresholds"
) -> list[Path]:
    """Writes a record's page, and its figure in the same folder; returns the files."""
    _check_out(str(page), page)
    from .. import plot

    figure = plot.run(record, forecast)
    stem = page.with_name("figure") if page.name == "report.html" else page.with_suffix("")
    written = [page]
    plot.report(record, page, forecast, thresholds=thresholds)
    for suffix in (".pdf", ".png"):
        with replacing(stem.with_name(stem.name + suffix)) as temporary:
            figure.savefig(temporary)
        written.append(stem.with_name(stem.name + suffix))
    return written


def _forecast_of(path: Path | None) -> dict[str, Any] | None:
    """The summary of a run's forecast, or None if there is no file."""
    if path is None or not path.is_file():
        return None
    try:
        found = json.loads(contents(path, _MAX_FORECAST))
    except (OSError, ValueError, RecursionError) as error:
        accepted = f"should be the summary of a forecast ({one_line(error, 200)})"
        raise InputError("forecast", str(path), accepted) from None
    _check_forecast(path, found)
    return dict(found)


_TEXTS = ("verdict", "confidence")
_NUMBERS = ("t50", "t_fit", "t_kernel_end")


def _check_forecast(path: Path, found: Any) -> None:
    """Refuses a forecast that a page cannot show, because anyone may have written the file."""

    def is_number(value: Any) -> bool:
        return value is None or (isinstance(value, int | float) and not isinstance(value, bool))

    sound = (
        isinstance(found, dict)
        and all(isinstance(found.get(key), str) for key in _TEXTS)
        and all(is_number(found.get(key, "")) for key in _NUMBERS)
        and isinstance(found.get("t50_interval"), list)
        and len(found["t50_interval"]) == 2
        and all(map(is_number, found["t50_interval"]))
        and all(isinstance(found.get(key), dict) for key in ("early", "late"))
        and isinstance(found.get("reasons"), list)
        and isinstance(found.get("calibration"), dict)
        and isinstance(found["calibration"].get("name"), str)
    )
    if not sound:
        raise InputError("forecast", str(path), "should be the summary of a forecast")


def _of_store(url: str, out: Path | None, threshold: list[str] | None) -> list[Path]:
    from ..plot import write_sweeps
    from ..records.transition import Thresholds
    from ..studies import sweeps_of

    thresholds = Thresholds().changed(threshold or [])
    results = sweeps_of(url, thresholds)
    page = out or (Path("report.html") if "://" in url else Path(url) / "report.html")
    return write_sweeps(Path(url).name or "store", results, page)

"""Forecasts and records of this server, kept in its scratch folder between jobs."""

import json
import re
from pathlib import Path
from typing import Any

import xarray as xr

from .._core.errors import InputError
from .._core.files import replacing
from ..forecasts import Forecast
from ..records.file import open_record, save_record
from ..records.summary import jsonable
from .job import Place, encoded

_RUN = re.compile(r"[0-9a-f]{64}")
# The most records that are kept, and their bytes: the folder may be in memory. A forecast is kept
# for every place of a slider, until there are so many.
MAX_RECORDS, MAX_BYTES, MAX_FORECASTS = 200, 2**30, 300


def keep_record(record: xr.Dataset, facts: dict[str, Any], run: str, place: Place) -> None:
    """Keeps a record, and what a list of runs says of it. The oldest records may go for it."""
    save_record(record, _file(place, "record", run, "nc"))
    with replacing(_file(place, "facts", run, "json")) as path:
        path.write_bytes(encoded(facts))
    left = MAX_BYTES
    for number, kept in enumerate(_newest_first(place, "record-*.nc")):
        left -= kept.stat().st_size
        if number and (number >= MAX_RECORDS or left < 0):
            kept.unlink(missing_ok=True)
            _file(place, "facts", kept.stem.removeprefix("record-"), "json").unlink(missing_ok=True)


def facts_of(run: str, place: Place) -> dict[str, Any] | None:
    """What a list of runs says of a run; None if it is not kept."""
    file = _file(place, "facts", run, "json")
    return dict(json.loads(file.read_bytes())) if file.is_file() else None


def record_of(run: str, place: Place) -> xr.Dataset:
    """The record of a run.

    - **Raises** [`InputError`][lazyrich.InputError] if the run has no record here.
    """
    file = record_file(run, place)
    return open_record(file)


def record_file(run: str, place: Place) -> Path:
    """The file of a run's record.

    - **Raises** [`InputError`][lazyrich.InputError] if the run has no record here.
    """
    file = _file(place, "record", run, "nc")
    if not file.is_file():
        raise InputError("run", run[:8], "is not kept here: press Run first")
    return file


def is_kept(run: str, place: Place) -> bool:
    """Whether a run has a record."""
    return _file(place, "record", run, "nc").is_file()


def keep_forecast(forecast: Forecast, run: str, place: Place) -> None:
    """Keeps what figures and reports show of a forecast."""
    curves = {name: values.tolist() for name, values in forecast.curves.items()}
    content = forecast.summary() | jsonable({"times": forecast.times.tolist(), "curves": curves})
    with replacing(_file(place, "forecast", run, "json")) as path:
        path.write_text(json.dumps(content), encoding="utf-8")
    for kept in _newest_first(place, "forecast-*.json")[MAX_FORECASTS:]:
        if not is_kept(kept.stem.removeprefix("forecast-"), place):
            kept.unlink(missing_ok=True)


def forecast_of(run: str, place: Place) -> dict[str, Any] | None:
    """What is kept of the forecast of a run; None if there is none."""
    file = _file(place, "forecast", run, "json")
    if not file.is_file():
        return None
    found: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    curves = {name: _floats(values) for name, values in found["curves"].items()}
    return {**found, "times": _floats(found["times"]), "curves": curves}


def _floats(values: list[float | None]) -> list[float]:
    return [float("nan") if value is None else value for value in values]


def _newest_first(place: Place, pattern: str) -> list[Path]:
    return sorted(place.scratch.glob(pattern), key=lambda p: p.stat().st_mtime_ns, reverse=True)


def _file(place: Place, kind: str, run: str, suffix: str) -> Path:
    if not _RUN.fullmatch(run):
        raise InputError("run", run, "should be 64 hexadecimal digits")
    return place.scratch / f"{kind}-{run}.{suffix}"

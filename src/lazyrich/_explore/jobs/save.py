"""The job that saves an experiment, its forecast or its run as a file."""

import base64
import io
import tempfile
from pathlib import Path
from typing import Any, Literal

from ... import plot
from ..._core.errors import InputError
from ...forecasts import forecast
from ...records.transition import thresholds_of
from ..asked import Asked, Found, file_name, find, python_of, toml_of
from ..finished import forecast_of, record_file, record_of
from ..job import Args, Place, Send

What = Literal["toml", "python", "record", "pdf", "png", "report"]

_TYPES: dict[str, tuple[str, str]] = {
    "toml": ("toml", "application/toml"),
    "python": ("py", "text/x-python"),
    "record": ("nc", "application/x-netcdf"),
    "pdf": ("pdf", "application/pdf"),
    "png": ("png", "image/png"),
    "report": ("html", "text/html"),
}


class _Save(Args):
    what: What
    experiment: Asked | None = None
    run: str | None = None


def save(args: dict[str, Any], send: Send, place: Place) -> dict[str, Any]:
    """A file's name, its media type and its content; figures are of the run, or of the forecast."""
    del send
    asked = _Save.read(args)
    found = None if asked.experiment is None else find(asked.experiment, place)
    name = "run" if found is None else file_name(found.experiment.name)
    content = _content(asked, found, place)
    ending, media = _TYPES[asked.what]
    return {
        "name": f"{name}.{ending}",
        "type": media,
        "base64": base64.b64encode(content).decode(),
    }


def save_text(args: dict[str, Any], send: Send, place: Place) -> dict[str, Any]:
    """The same for the texts of an experiment."""
    if args.get("what") not in ("toml", "python"):
        raise InputError("what", args.get("what"), "should be toml or python")
    return save(args, send, place)


def _content(asked: _Save, found: Found | None, place: Place) -> bytes:
    what = asked.what
    if what in ("toml", "python"):
        if found is None:
            raise InputError("experiment", None, "missing; the text is made from the experiment")
        return (toml_of(found) if what == "toml" else python_of(found)).encode()
    if asked.run is None:
        if what in ("pdf", "png") and found is not None:
            expected = forecast(found.experiment, thresholds=found.thresholds)
            if expected.curves:  # otherwise there are only those of a run
                return _image(plot.forecast(expected), what)
        raise InputError("run", None, "missing; press Run first")
    if what == "record":
        return record_file(asked.run, place).read_bytes()
    record, said = record_of(asked.run, place), forecast_of(asked.run, place)
    if what == "report":
        with tempfile.TemporaryDirectory(dir=place.scratch) as folder:
            page = Path(folder) / "report.html"
            plot.report(record, page, said, thresholds=thresholds_of(record))
            return page.read_bytes()
    return _image(plot.run(record, said), what)


def _image(figure: Any, ending: str) -> bytes:
    image = io.BytesIO()
    figure.savefig(image, format=ending, dpi=160)
    return image.getvalue()

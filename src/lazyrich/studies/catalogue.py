"""Papers as data: one TOML file a figure panel, with the published numbers beside it."""

import csv
import os
from collections.abc import Callable
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from .._core.errors import InputError, did_you_mean
from .._core.given import check_kind, path_of
from ..experiments.experiment import Experiment
from ..experiments.published import Published
from ..records.transition import Thresholds
from .panel import Panel


def names() -> list[str]:
    """Every panel's name, such as `lyu2024/1a`."""
    return sorted(f"{file.parent.name}/{file.stem}" for file in _folder().glob("*/*.toml"))


def load(name: str) -> Experiment:
    """The experiment of a panel, its published numbers included.

    - **Raises** [`InputError`][lazyrich.InputError] for a name that is not in `names()`.
    """
    return _panel(name).experiment


def thresholds(name: str) -> Thresholds:
    """The thresholds by which the runs of a panel are judged.

    - **Raises** [`InputError`][lazyrich.InputError] for a name that is not in `names()`.
    """
    return _panel(name).thresholds


def _panel(name: str) -> Panel:
    check_kind("experiment", name, str, "the name of a panel, such as lyu2024/1a")
    if name not in names():
        studies = ", ".join(sorted({known.partition("/")[0] for known in names()}))
        accepted = (
            f"should be a TOML file, or the name of a panel{did_you_mean(name, names())}; panels "
            f"of {studies} are listed by 'lazyrich list' and lazyrich.studies.names()"
        )
        raise InputError("experiment", name, accepted)
    return Panel.load(_folder() / f"{name}.toml")


def panels(study: str | os.PathLike[str]) -> dict[str, Panel]:
    """Every panel of a study by its name: one that comes with the library, or a folder of TOML.

    - **Raises** [`InputError`][lazyrich.InputError] if there is no such study.
    """
    path = path_of("study", study)
    own = _folder() / path
    folder = own if own.is_dir() else path
    files = sorted(folder.glob("*.toml"), key=lambda file: file.stem)
    if not files:
        known = ", ".join(sorted({name.split("/")[0] for name in names()}))
        accepted = f"should be one of {known}, or a folder with a TOML file a panel"
        raise InputError("study", os.fspath(study), accepted)
    found = {file.stem: Panel.load(file) for file in files}
    for panel in found.values():
        published_curves(panel.experiment.published, panel.folder)
    return found


def published_curves(
    published: Published | None, folder: Path | None = None
) -> dict[str, Float[np.ndarray, "2 k"]]:
    """A panel's digitised curves: name to times and values, empty if there are none.

    Curves are named as in the source; times are gradient-flow times.

    - **Takes** `folder`, the panel's own. Without it only curves that come with the library are
        found; a record of a panel elsewhere has none.
    - **Raises** [`InputError`][lazyrich.InputError] for a file outside of both folders, and for
        one that is not there although the folder is given.
    """
    if published is None or published.curves is None:
        return {}
    points: dict[str, list[tuple[float, float]]] = {}
    file = _curves_file(published.curves, folder)
    if file is None:
        return {}
    try:
        with file.open(encoding="utf-8", newline="") as lines:
            for row in csv.DictReader(lines):
                time = float(row["x"]) * published.time_per_step
                points.setdefault(row["curve"], []).append((time, float(row["y"])))
    except (KeyError, TypeError, ValueError) as error:
        accepted = f"should be a CSV file with columns curve, x and y ({error!r})"
        raise InputError("published.curves", published.curves, accepted) from None
    return {name: np.array(curve).T for name, curve in points.items()}


def _curves_file(name: str, own: Path | None) -> Path | None:
    """The file of a panel's curves, in its own folder or in that of all panels."""
    inside = False
    for folder in filter(None, (own, _folder())):
        file = (folder / name).resolve()
        if file.is_relative_to(folder.resolve()):
            inside = True
            if file.is_file():
                return file
    if inside and own is None:
        return None
    raise InputError("published.curves", name, f"should be a file in {own or _folder()}")


def curves_at(
    published: Published | None, value: Callable[[str], Any], folder: Path | None = None
) -> dict[str, Float[np.ndarray, "2 k"]]:
    """The digitised curves that show one run, by probe: times and values.

    - **Takes** `value`, which gives the run's value of a dotted key; `folder` as
        [`published_curves`][lazyrich.studies.published_curves] does.
    """
    if published is None:
        return {}
    curves = published_curves(published, folder)
    names = published.curves_of(value)
    return {probe: curves[name] for probe, name in names.items() if name in curves}


def _folder() -> Path:
    with resources.as_file(resources.files(__package__)) as folder:
        return folder

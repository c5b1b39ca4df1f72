"""What all trackers have in common: what they write of a record, and when."""

import abc
import math
import os
from collections.abc import Mapping
from importlib import import_module
from importlib.util import find_spec
from typing import Any, ClassVar

import numpy as np
import xarray as xr
from jaxtyping import Int

from .._core.errors import ComputationError, InputError
from .._run.watching import AbstractWatcher
from ..records.described import description_of
from ..records.summary import summarise
from ..records.transition import is_broken

Value = float | str
"""A number, or a text."""

# The entries of a summary that trackers write at the end.
_TIMES = ("t_train", "t_test", "t10", "t50", "t90", "t_change", "delay_ratio")
_NUMBERS = (*_TIMES, "t_train_is_bound", "plateau_score", "final_score", "wall_seconds")
_WORDS = ("outcome", "state", "says", "advice", "ending")


class AbstractTracker(AbstractWatcher):
    """Writes runs for another program, while they go on or afterwards.

    A tracker is a `watcher` of [`simulate`][lazyrich.simulate]. It can watch several runs, one
    after the other. What it writes:

    - At the beginning: the fields of the experiment as settings, such as `weight_decay` and
        `task.n`.
    - For each recorded time: every curve of the record that is one number at each time, and the
        time as `t`. Values that are not finite are left out. The step is that of the optimiser
        for discrete optimisers and for logs with steps. For flows, whose times are not in equal
        steps, it is the number of the record, from 0; show curves over `t`.
    - At the end: numbers of the summary, such as `summary/t50`, and its words, such as the outcome.
        If the run ends by an exception, the tracked run ends as failed.
    """

    package: ClassVar[str]
    """What to install, as for pip."""
    module: ClassVar[str]
    """The module that the package provides."""
    settings: ClassVar[dict[str, str]] = {}
    """Environment variables that are set, unless they are, before the module is imported."""

    def __init__(self) -> None:
        if find_spec(self.module) is None:
            raise ComputationError(f"{type(self).__name__} needs pip install {self.package}")
        self._run: Any = None
        self._hash = ""
        self._num_written = 0

    def __call__(self, record: xr.Dataset) -> None:
        """Writes what is new in a record, and the summary if its run has ended."""
        identity = record.attrs.get("experiment_hash", "")
        if self._run is not None and identity != self._hash:
            self.failed(RuntimeError("another run has begun"))
        described = description_of(record)
        if self._run is None:
            for name, value in self.settings.items():
                os.environ.setdefault(name, value)
            config = {**flat(described), "experiment_hash": identity}
            config["lazyrich_version"] = str(record.attrs.get("lazyrich_version", ""))
            name = str(described.get("name", "experiment"))
            self._hash, self._num_written = identity, 0
            self._run = self._begin(import_module(self.module), name, config)
        steps, rows = steps_of(record), rows_of(record)
        new = slice(self._num_written, None)
        self._write(self._run, [int(step) for step in steps[new]], rows[new])
        self._num_written = len(rows)
        if record.attrs.get("ending") != "running":
            self._finish(ended(record), broken=is_broken(str(record.attrs.get("ending", ""))))

    def write(self, record: xr.Dataset) -> None:
        """Writes the record of a run that has ended, such as one from a file."""
        self(record)

    def failed(self, error: BaseException) -> None:
        """Ends the tracked run as failed. Does nothing if none has begun."""
        if self._run is not None:
            words = " ".join(f"{type(error).__name__}: {error}".split())
            self._finish({"ending": words[:1000]}, broken=True)

    def _finish(self, summary: dict[str, Value], *, broken: bool) -> None:
        run, self._run = self._run, None
        self._end(run, summary, broken=broken)

    @abc.abstractmethod
    def _begin(self, library: Any, name: str, config: dict[str, Value]) -> Any:
        """Begins a run of the library, and returns what the other methods need."""

    @abc.abstractmethod
    def _write(self, run: Any, steps: list[int], rows: list[dict[str, float]]) -> None:
        """Writes the values at some steps."""

    @abc.abstractmethod
    def _end(self, run: Any, summary: dict[str, Value], *, broken: bool) -> None:
        """Writes the summary and ends the run."""


def flat(table: Mapping[str, Any], before: str = "") -> dict[str, Value]:
    """A nested table as one with dotted keys. Published numbers are left out."""
    found: dict[str, Value] = {}
    for key, value in table.items():
        name = f"{before}{key}"
        if isinstance(value, Mapping):
            found |= {} if name == "published" else flat(value, f"{name}.")
        else:
            is_number = isinstance(value, int | float) and not isinstance(value, bool)
            found[name] = float(value) if is_number else str(value)
    return found


def steps_of(record: xr.Dataset) -> Int[np.ndarray, " t"]:
    """The step of every recorded time: of the optimiser if there is one, else its number."""
    times = record["time"].values
    if "step" in record:
        return np.rint(record["step"].values).astype(int)
    if record["time"].attrs.get("units") == "step":
        return np.rint(times).astype(int)
    rate = description_of(record).get("dynamics", {}).get("learning_rate")
    return np.arange(len(times)) if rate is None else np.rint(times / rate).astype(int)


def rows_of(record: xr.Dataset) -> list[dict[str, float]]:
    """The finite values at every recorded time, and the time as `t`."""
    # Trackio has a `time` of its own.
    curves = {
        "t" if name == "time" else str(name): variable.values
        for name, variable in record.variables.items()
        if variable.dims == ("time",) and variable.dtype.kind in "biuf" and name != "step"
    }
    return [
        {name: float(values[i]) for name, values in curves.items() if math.isfinite(values[i])}
        for i in range(record.sizes["time"])
    ]


def ended(record: xr.Dataset) -> dict[str, Value]:
    """The part of the summary of a run that trackers write."""
    try:
        summary = summarise(record)
    except InputError:  # the curves that an outcome needs are not recorded
        return {"ending": str(record.attrs.get("ending", ""))}
    numbers = {name: summary[name] for name in _NUMBERS if summary[name] is not None}
    return {name: str(summary[name]) for name in _WORDS} | {
        f"summary/{name}": float(number) for name, number in numbers.items()
    }


def split(summary: dict[str, Value]) -> tuple[dict[str, float], dict[str, str]]:
    """The numbers and the words of a summary."""
    numbers = {name: value for name, value in summary.items() if isinstance(value, float)}
    return numbers, {name: v for name, v in summary.items() if isinstance(v, str)}

"""A sweep: an experiment and the keys to vary, as one description with a hash."""

import functools
import hashlib
import itertools
import json
import math
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import tomli_w
from annotated_types import Ge

from .._core.description import Description
from .._core.errors import InputError
from .._core.fingerprint import fingerprint, is_own
from .._core.toml import parse_toml
from ..experiments.changes import check_same_folder
from ..experiments.experiment import Experiment
from ..tasks._array_task import AbstractArrayTask
from .axes import Axis, Over, axes_of
from .unbuilt import Unbuilt, classes, lost

# Limits on runs (planning holds 56 bytes for each), on shapes (each is checked), on axes (NumPy's
# limit for arrays), and on letters of a sweep's file (Python parses 2**20 in four seconds).
MAX_RUNS, _MAX_SHAPES, _MAX_AXES, MAX_BYTES = 4_000_000, 20_000, 32, 2**22


class Sweep(Description):
    """Every combination of the points of `axes`, set in `experiment`.

    Runs are numbered like the entries of an array over the axes, the last axis varying fastest.
    `batch_size` is the largest number of runs that are computed and written together.
    `known_as` is for sweeps read from a file that could not contain everything, such as a model
    of your own: the hash in the file. It identifies the runs, which cannot be made here.

    - **Raises** [`InputError`][lazyrich.InputError] for a key or a value that the experiment
        does not accept. The sweep checks every combination of the keys that change shapes, and
        every value of the other keys.
    """

    experiment: Experiment
    axes: tuple[Axis, ...]
    batch_size: Annotated[int, Ge(1)] = 64
    known_as: str = ""

    def model_post_init(self, context: object) -> None:
        del context
        # Keys that keep shapes are checked one by one, because their combinations are then valid.
        shaped = [axis for axis in self.axes if not axis.keeps_shape]
        plain = [axis for axis in self.axes if axis.keeps_shape]
        for what, most, axes in (
            ("runs", MAX_RUNS, self.axes), ("shapes of runs", _MAX_SHAPES, shaped),
        ):  # fmt: skip
            num = math.prod(map(len, axes))
            if num > most or len(axes) > _MAX_AXES:
                accepted = f"makes {num:,} {what} on {len(axes)} axes; a sweep has at most {most:,}"
                raise InputError("over", [axis.name for axis in axes], accepted)
        if isinstance(self.experiment, Unbuilt):
            return
        try:
            for places in itertools.product(*(range(len(axis)) for axis in shaped)):
                _check_numbers(self.experiment.with_changes(_merged(shaped, places)))
            for axis in plain:
                for index in range(len(axis)):
                    _check_numbers(self.experiment.with_changes(axis.changes(index)))
        except InputError as error:
            raise error.under("over") from None

    @classmethod
    def over(cls, experiment: Experiment, over: Over, batch_size: int = 64) -> "Sweep":
        """The sweep of `experiment` over keys and their values, see [`sweep`][lazyrich.sweep]."""
        return cls(experiment=experiment, axes=axes_of(over), batch_size=batch_size)

    @property
    def shape(self) -> tuple[int, ...]:
        """The number of points on each axis."""
        return tuple(len(axis) for axis in self.axes)

    def __len__(self) -> int:
        return math.prod(self.shape)

    def changes(self, index: int) -> dict[str, Any]:
        """The changes that run number `index` makes to the experiment."""
        return _merged(self.axes, map(int, np.unravel_index(index, self.shape)))

    def shape_of(self, index: int) -> tuple[int, ...]:
        """The indices of run number `index` on the axes along which shapes change."""
        places = np.unravel_index(index, self.shape)
        pairs = zip(self.axes, places, strict=True)
        return tuple(int(place) for axis, place in pairs if not axis.keeps_shape)

    def run(self, index: int) -> Experiment:
        """The experiment of run number `index`."""
        return self.experiment.with_changes(self.changes(index))

    def runs(self) -> Iterator[Experiment]:
        """Every experiment in order, made on demand."""
        return map(self.run, range(len(self)))

    @functools.cached_property
    def content_hash(self) -> str:
        """SHA-256 of the experiment's content, the axes and the batch size, in hexadecimal."""
        if self.known_as:
            return self.known_as
        axes = [[axis.keys, axis.points] for axis in self.axes]
        content = [self.experiment.content_hash, axes, self.batch_size]
        # The user's own kinds on the axes are hashed by their code, which tables do not contain.
        tables = [dict(zip(a.keys, p, strict=True)) for a in self.axes for p in a.points]
        tables += [{"kind": v} for t in tables for k, v in t.items() if k.endswith(".kind")]
        own = [kind for kind in classes(tables) if is_own(kind)]
        if own:
            content.append([fingerprint(kind, "over") for kind in own])
        canonical = json.dumps(content, separators=(",", ":"))
        return hashlib.sha256(canonical.encode()).hexdigest()

    @property
    def arrays(self) -> str | None:
        """The name of a file for the arrays of the task; None if the task has no arrays."""
        if isinstance(self.experiment, Unbuilt):
            return None
        task = self.experiment.task
        return f"{task.digest}.npz" if isinstance(task, AbstractArrayTask) else None

    @property
    def description(self) -> str:
        """The experiment as TOML, as far as a file can contain it; arrays in the file `arrays`."""
        if isinstance(self.experiment, Unbuilt):
            return self.experiment.description
        named = tuple(probe for probe in self.experiment.probes if isinstance(probe, str))
        return self.experiment.model_copy(update={"probes": named}).to_toml(self.arrays)

    def to_toml(self) -> str:
        """The sweep as TOML: `sha256`, `[experiment]` and one `[[axes]]` for each dimension."""
        table = {
            "sha256": self.content_hash,
            "batch_size": self.batch_size,
            "axes": [
                {"keys": list(a.keys), "points": [list(p) for p in a.points]} for a in self.axes
            ],
            "experiment": parse_toml(self.description, len(self.description)),
        }
        text = tomli_w.dumps(table)
        if len(text) > MAX_BYTES:
            accepted = f"would have {len(text):,} letters in a file; divide it into several sweeps"
            raise InputError("over", f"{len(self)} runs", accepted)
        return text

    @classmethod
    def from_toml(cls, text: str, folder: Path, key: str = "toml") -> "Sweep":
        """Parses the text of a TOML file whose arrays are in `folder`."""
        try:
            table = parse_toml(text, MAX_BYTES)
            experiment, digest = dict(table["experiment"]), str(table["sha256"])
            over: Over = {tuple(axis["keys"]): axis["points"] for axis in table["axes"]}
            size = table["batch_size"]
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise InputError("sweep", key, f"should be a sweep's TOML ({error})") from None
        task = experiment.get("task")
        if isinstance(task, dict):
            check_same_folder(task)
        axes = axes_of(over)
        try:
            sweep = cls.over(Experiment.from_table(experiment, folder), over, size)
        except InputError as error:
            why = lost(experiment, [axis.points for axis in axes], error)
            if why is None:
                raise
            unbuilt = Unbuilt.of(experiment, why)
            return cls(experiment=unbuilt, axes=axes, batch_size=size, known_as=digest)
        if sweep.content_hash == digest:
            return sweep
        return cls(experiment=sweep.experiment, axes=sweep.axes, batch_size=size, known_as=digest)


def _check_numbers(experiment: Experiment) -> None:
    """Raises [`InputError`][lazyrich.InputError] for probes with several numbers at one time."""
    for probe in experiment.probe_modules:
        if probe.dims:
            accepted = (
                f"is an array over {', '.join(probe.dims)}, which sweeps do not keep: leave it "
                "out, or use lr.simulate or lr.simulate_many"
            )
            raise InputError("probes", probe.name, accepted)


def _merged(axes: Sequence[Axis], places: Iterable[int]) -> dict[str, Any]:
    """The changes at points of several axes. Keys inside a table come after the table.

    A new `kind` drops the fields of the old kind, so it comes before new fields.
    """
    found = (axis.changes(place) for axis, place in zip(axes, places, strict=True))
    changes = dict(itertools.chain.from_iterable(one.items() for one in found))
    return ordered(changes)


def ordered(changes: dict[str, Any]) -> dict[str, Any]:
    """Changes with keys inside a table after the table, and its kind before its fields."""
    keys = sorted(changes, key=lambda key: (key.count("."), not key.endswith(".kind")))
    return {key: changes[key] for key in keys}

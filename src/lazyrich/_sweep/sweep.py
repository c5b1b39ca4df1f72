"""A sweep: an experiment and what varies, one description with a hash."""

import functools
import hashlib
import itertools
import json
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import tomli_w
from annotated_types import Ge

from .._description import Description
from .._errors import InputError
from .._experiment import Experiment
from .axes import Axis, Over, axes_of


class Sweep(Description):
    """Every combination of the points of `axes`, set in `experiment`.

    Runs are numbered as the entries of an array over the axes, the last varying fastest.
    `batch_size` is how many of them, at most, are computed, written and lost as one.

    - **Raises** [`InputError`][lazyrich.InputError] for a key or a value that the experiment
        does not take; every point of every axis is tried when the sweep is made.
    """

    experiment: Experiment
    axes: tuple[Axis, ...]
    batch_size: Annotated[int, Ge(1)] = 64

    def model_post_init(self, context: object) -> None:
        del context
        for axis in self.axes:
            for index in range(len(axis)):
                try:
                    self.experiment.with_changes(axis.changes(index))
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
        return int(np.prod(self.shape))

    def changes(self, index: int) -> dict[str, Any]:
        """What run number `index` sets."""
        places = np.unravel_index(index, self.shape)
        found = (axis.changes(int(i)) for axis, i in zip(self.axes, places, strict=True))
        return dict(itertools.chain.from_iterable(changes.items() for changes in found))

    def shape_of(self, index: int) -> tuple[int, ...]:
        """Where run number `index` stands on the axes along which shapes change."""
        places = np.unravel_index(index, self.shape)
        pairs = zip(self.axes, places, strict=True)
        return tuple(int(place) for axis, place in pairs if not axis.keeps_shape)

    def run(self, index: int) -> Experiment:
        """The experiment of run number `index`."""
        return self.experiment.with_changes(self.changes(index))

    def runs(self) -> Iterator[Experiment]:
        """Every experiment in order, made as it is asked for."""
        return map(self.run, range(len(self)))

    @functools.cached_property
    def content_hash(self) -> str:
        """SHA-256 of the experiment's content, the axes and the batches' size, in hexadecimal."""
        axes = [[axis.keys, axis.points] for axis in self.axes]
        content = [self.experiment.content_hash, axes, self.batch_size]
        canonical = json.dumps(content, separators=(",", ":"))
        return hashlib.sha256(canonical.encode()).hexdigest()

    def to_toml(self, arrays_path: str | None = None) -> str:
        """The sweep as TOML, `[experiment]` and one `[[axes]]` a dimension."""
        table = {
            "batch_size": self.batch_size,
            "axes": [
                {"keys": list(a.keys), "points": [list(p) for p in a.points]} for a in self.axes
            ],
            "experiment": tomllib.loads(self.experiment.to_toml(arrays_path)),
        }
        return tomli_w.dumps(table)

    @classmethod
    def from_toml(cls, text: str, folder: Path, key: str = "toml") -> "Sweep":
        """Parses the text of a TOML file that stands in `folder`."""
        try:
            table = tomllib.loads(text)
            experiment, axes = table["experiment"], table["axes"]
            over: Over = {tuple(axis["keys"]): axis["points"] for axis in axes}
            size = table["batch_size"]
        except (tomllib.TOMLDecodeError, KeyError, TypeError) as error:
            raise InputError("sweep", key, f"should be a sweep's TOML ({error})") from None
        described = Experiment.from_toml(tomli_w.dumps(experiment), folder, key)
        return cls.over(described, over, size)

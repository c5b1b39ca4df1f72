"""A figure panel: an experiment, what it varies, and a quick version of both."""

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import pydantic

from .._description import Description
from .._errors import InputError
from .._experiment import Experiment
from .._sweep import Over, parse_values

Preset = Literal["paper", "quick"]
"""The source's own setting, or one that shows the same in a small part of the time."""


class Panel(Description):
    """One panel of a study.

    In its file an experiment's keys stand at the top level. `[over]` holds what is varied, as
    lists or in the short form of the command line (`seed = "range:5"`); without it, the
    panel is a single run. `[quick]` holds changes to the experiment, by dotted keys, and
    `[quick.over]` replaces what is varied.
    """

    experiment: Experiment
    over: dict[str, list[Any]] = pydantic.Field(default_factory=dict)
    quick: dict[str, Any] = pydantic.Field(default_factory=dict)
    quick_over: dict[str, list[Any]] | None = None

    @classmethod
    def load(cls, path: Path) -> "Panel":
        """Reads a panel's file.

        - **Raises** [`InputError`][lazyrich.InputError] if there is none, or it is no panel.
        """
        try:
            table = tomllib.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise InputError("panel", str(path), f"should be a TOML file ({error})") from None
        over = _varied("over", table.pop("over", {}))
        quick = table.pop("quick", {})
        quick_over = quick.pop("over", None)
        return cls(
            experiment=Experiment.from_table(table, path.parent),
            over=over,
            quick=quick,
            quick_over=None if quick_over is None else _varied("quick.over", quick_over),
        )

    def varied(self, preset: Preset) -> tuple[Experiment, Over]:
        """The experiment of a preset and what it varies; a single run varies its one seed."""
        experiment, over = self.experiment, self.over
        if preset == "quick":
            experiment = experiment.with_changes(self.quick)
            over = over if self.quick_over is None else self.quick_over
        return experiment, over or {"seed": [experiment.seed]}


def _varied(name: str, table: Any) -> dict[str, list[Any]]:
    if not isinstance(table, Mapping):
        raise InputError(name, table, "should be a table of keys and their values")
    found = {}
    for key, values in table.items():
        parsed = parse_values(f"{name}.{key}", values) if isinstance(values, str) else values
        if not isinstance(parsed, list):
            raise InputError(f"{name}.{key}", values, 'should be a list, or like "log:1:100:5"')
        found[key] = parsed
    return found

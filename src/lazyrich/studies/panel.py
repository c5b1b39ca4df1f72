"""A figure panel: an experiment, what it varies, what is claimed of it, and a quick version."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import pydantic

from .._core.description import Description
from .._core.errors import InputError
from .._core.files import contents
from .._core.toml import MAX_BYTES, parse_toml
from ..claims import AbstractClaim
from ..experiments.experiment import Experiment
from ..forecasts.options import How
from ..records.transition import Thresholds
from ..sweeps import Over, parse_values

Preset = Literal["paper", "quick"]
"""The source's own setting, or one that shows the same in a fraction of the time."""


class Panel(Description):
    """One panel of a study.

    In its file the keys of the experiment are at the top level. `[over]` has the keys to vary,
    with lists or the short form of the command line (`seed = "range:5"`). Keys that change in step
    share one entry (`"init_scale,t1" = [[1.0, 1e3], [10.0, 1e4]]`). Without `[over]` the panel is
    a single run. `[[claims]]` are statements to check in the runs, each a
    [claim][lazyrich.claims.AbstractClaim]. `note` says where and why our numbers differ from the
    published ones. `[thresholds]` decide on outcomes and times. With `forecast = true` every run is
    forecast as well, see
    [`forecast_runs`][lazyrich.sweeps.forecast_runs], and claims may be about that:
    `t50 / forecast_t50`.

    `[figure]` says how the runs are drawn: a `kind` of
    [`lazyrich.plot.figures`][lazyrich.plot.figures.AbstractFigure] and its fields. Without it, a
    single run, runs over one key and runs over two each have a figure.

    `[quick]` holds changes to the experiment, by dotted keys. `[quick.over]`, `[[quick.claims]]`,
    `[quick.figure]`, `[quick.thresholds]` and `quick.note` replace what stands above; a note is
    not taken over. `folder` is where the panel's file is, and the published curves beside it.
    """

    experiment: Experiment
    over: dict[str, list[Any]] = pydantic.Field(default_factory=dict)
    claims: tuple[AbstractClaim, ...] = ()
    note: str | None = None
    forecast: bool | How = False
    thresholds: Thresholds = Thresholds()
    figure: dict[str, Any] | None = None
    folder: Path | None = None
    quick: dict[str, Any] = pydantic.Field(default_factory=dict)
    quick_over: dict[str, list[Any]] | None = None
    quick_claims: tuple[AbstractClaim, ...] | None = None
    quick_note: str | None = None
    quick_thresholds: Thresholds | None = None
    quick_figure: dict[str, Any] | None = None

    @classmethod
    def load(cls, path: Path) -> "Panel":
        """Reads a panel's file.

        - **Raises** [`InputError`][lazyrich.InputError] if there is none, or it is no panel.
        """
        try:
            table = parse_toml(contents(path, MAX_BYTES).decode())
        except (OSError, ValueError) as error:
            raise InputError("panel", str(path), f"should be a TOML file ({error})") from None
        quick = table.pop("quick", {})
        own = _own("", table)
        of_quick = _own("quick.", quick)
        own["forecast"] = table.pop("forecast", False)
        return cls(
            experiment=Experiment.from_table(table, path.parent),
            **own,
            folder=path.parent,
            quick=quick,
            **{f"quick_{key}": value for key, value in of_quick.items()},
        )

    def at(self, preset: Preset) -> "Panel":
        """The panel in a preset, without the other preset."""
        changes: dict[str, Any] = {"quick": {}}
        for key in _PARTS:
            changes[f"quick_{key}"] = None
            replaced = getattr(self, f"quick_{key}")
            if preset == "quick" and (replaced is not None or key == "note"):
                changes[key] = replaced
        if preset == "quick":
            changes["experiment"] = self.experiment.with_changes(self.quick)
        return self.model_copy(update=changes)

    def varied(self, preset: Preset) -> tuple[Experiment, Over]:
        """The experiment of a preset and the keys to vary; a single run varies its one seed."""
        panel = self.at(preset)
        over = {tuple(k.split(",")) if "," in k else k: v for k, v in panel.over.items()}
        return panel.experiment, over or {"seed": [panel.experiment.seed]}


_PARTS = ("over", "claims", "note", "thresholds", "figure")


def _own(prefix: str, table: dict[str, Any]) -> dict[str, Any]:
    """Takes the keys of the panel, which are not those of the experiment, out of a table."""
    found = {key: table.pop(key) for key in _PARTS if key in table}
    if "over" in found:
        found["over"] = _varied(f"{prefix}over", found["over"])
    if "claims" in found:
        found["claims"] = _claims(f"{prefix}claims", found["claims"])
    figure = found.get("figure")
    if figure is not None and not (isinstance(figure, dict) and "kind" in figure):
        raise InputError(f"{prefix}figure", figure, "should be a table with a `kind`")
    if "thresholds" in found:
        if not isinstance(found["thresholds"], dict):
            raise InputError(f"{prefix}thresholds", found["thresholds"], "should be a table")
        try:
            found["thresholds"] = Thresholds(**found["thresholds"])
        except InputError as error:
            raise error.under(f"{prefix}thresholds") from None
    return found


def _claims(name: str, tables: Any) -> tuple[AbstractClaim, ...]:
    if not isinstance(tables, list) or not all(isinstance(table, dict) for table in tables):
        raise InputError(name, tables, f"should be tables under [[{name}]]")
    return tuple(AbstractClaim.from_table(table, name) for table in tables)


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

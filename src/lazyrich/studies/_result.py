"""A panel with its sweep, and its runs compared with the published numbers."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr

from .._core.errors import InputError
from .._core.keys import at_key, inside, is_inside
from ..claims import AbstractClaim, ClaimResult
from ..claims.sample import sample
from ..experiments.published import Published, holds
from ..forecasts import Forecast
from ..forecasts.options import ForecastOptions
from ..maps.diagram import quantile
from ..records.reclassify import reclassify
from ..records.transition import CODES
from ..sweeps import Sweep
from ..sweeps._execution import suggested_size
from ..sweeps._store import Store, assemble
from ..sweeps.forecasts import forecast_first, with_forecasts
from .panel import Panel, Preset

# The least number of batches of a panel that has as many runs.
_PARTS = 8


@dataclass(frozen=True)
class Row:
    """A published number beside ours: the median over runs, and their range.

    `where` names the runs, empty for all of them. A time that was not reached by the horizon
    counts as later than all others in the median, and in `num_never`.
    """

    key: str
    published: float
    median: float
    low: float
    high: float
    ratio: float
    agrees: bool
    where: str = ""
    num_runs: int = 0
    num_never: int = 0


@dataclass(frozen=True)
class PanelResult:
    """The runs of a panel and their comparison with the source.

    - `sweep` and `dataset`, its runs; `outcomes`, how many have each outcome; `rows`, the published
        numbers beside ours; `claims`, each with its result.
    - `panel`, the panel in its preset, None for a sweep that belongs to no panel; `forecast`, that
        of the first run.
    """

    name: str
    sweep: Sweep
    dataset: xr.Dataset
    outcomes: dict[str, int]
    rows: list[Row]
    claims: list[ClaimResult]
    panel: Panel | None = None
    forecast: Forecast | None = None

    @property
    def published(self) -> Published | None:
        """The published numbers of the panel."""
        return self.sweep.experiment.published

    @property
    def keys(self) -> list[str]:
        """The keys that its runs vary, without the seed; of keys in step, the first."""
        varied = [axis.keys[0] for axis in self.sweep.axes if len(axis) > 1]
        return [key for key in varied if key != "seed"]


def planned(panel: Panel, preset: Preset) -> tuple[Panel, Sweep]:
    """A panel in a preset and its sweep; every claim is about some of its runs."""
    experiment, over = panel.varied(preset)
    # Few runs are split as well: one batch would occupy one worker only.
    sweep = Sweep.over(experiment, over)
    size = min(suggested_size(experiment), -(-len(sweep) // _PARTS))
    sweep = Sweep.over(experiment, over, _even(size, sweep))
    version = panel.at(preset)
    check_selections(version, sweep, preset)
    return version, sweep


def _even(size: int, sweep: Sweep) -> int:
    """A batch size near `size` that divides the runs evenly, if there is one.

    A smaller last batch would be compiled separately, which takes longer than running it.
    """
    num_together = math.prod(
        len(axis) for axis in sweep.axes if axis.keeps_shape and "seed" not in axis.keys
    )
    near = [d for d in range(1, 2 * size + 1) if num_together % d == 0 and size <= 2 * d]
    if size >= num_together or not near:
        return size
    return min(near, key=lambda d: max(d / size, size / d))


def check_selections(panel: Panel, sweep: Sweep, preset: Preset) -> None:
    """Checks that claims and published numbers are about runs of the sweep.

    - **Raises** [`InputError`][lazyrich.InputError] for one that is about none of them.
    """
    places = [(f"claims.{key}", where) for c in panel.claims for key, where in c.selections()]
    if preset == "paper" and panel.experiment.published is not None:
        places += [("published.at.where", part.where) for part in panel.experiment.published.at]
    for name, where in places:
        if not any(_is_met(where, sweep, index) for index in range(len(sweep))):
            raise InputError(name, where, "should hold for some of the panel's runs")


def _is_met(where: Mapping[str, Any], sweep: Sweep, index: int) -> bool:
    changes = sweep.changes(index)

    def value(key: str) -> Any:
        if key in changes:
            return changes[key]
        for name, table in changes.items():
            if is_inside(key, name):
                return at_key(table, inside(key, name))
        return sweep.experiment.value(key)

    return holds(where, value)


def result_of(
    name: str,
    panel: Panel,
    sweep: Sweep,
    store: Store,
    listener: Callable[[int, int], None] = lambda done, of: None,
) -> PanelResult:
    """A panel's runs as they are in a store, compared; `panel` as it is in its preset; `listener`,
    told how many are forecast."""
    # Always, so that runs of a store that an earlier version wrote are judged by the rules of this.
    dataset = reclassify(assemble(store, sweep), panel.thresholds)
    first = None
    if (options := forecast_options(panel)) is not None:
        dataset = with_forecasts(dataset, sweep, options, store, listener)
        first = forecast_first(sweep, options)
    rows = compare(sweep.experiment.published, dataset)
    claims = [_checked(claim, dataset) for claim in panel.claims]
    return PanelResult(name, sweep, dataset, counts_of(dataset), rows, claims, panel, first)


def forecast_options(panel: Panel) -> ForecastOptions | None:
    """The arguments of the forecasts of a panel's runs; None where it has none."""
    if not panel.forecast:
        return None
    passage = None if panel.forecast is True else panel.forecast
    return ForecastOptions(passage=passage, thresholds=panel.thresholds)


def _checked(claim: AbstractClaim, dataset: xr.Dataset) -> ClaimResult:
    """A claim in a panel's runs; its errors say which claim."""
    try:
        return claim.check(dataset)
    except InputError as error:
        raise error.under(f"claims[{claim.text!r}]") from None


def counts_of(dataset: xr.Dataset) -> dict[str, int]:
    """How many runs of a sweep's dataset have each outcome."""
    found = dataset["outcome"].values.ravel().tolist()
    return {kind: found.count(kind) for kind in CODES if kind in found}


def compare(published: Published | None, dataset: xr.Dataset) -> list[Row]:
    """Every published number beside the median over the runs that it describes.

    Dotted keys such as `late.test_loss` name the dataset's `late_test_loss`. A quantity that none
    of the runs has is NaN and does not agree. Numbers for runs that are not in the dataset are
    left out.
    """
    if published is None:
        return []
    rows = [_row(key, n, {}, published, dataset) for key, n in published.numbers.items()]
    for part in published.at:
        try:
            sample(dataset, "1", part.where)
        except InputError:
            continue
        rows += [_row(k, n, part.where, published, dataset) for k, n in part.numbers.items()]
    return rows


def _row(
    key: str, theirs: float, where: dict[str, Any], published: Published, dataset: xr.Dataset
) -> Row:
    try:
        values = sample(dataset, key, where).values
    except InputError:  # none of the runs has it
        values = np.array([])
    said = ", ".join(f"{k} = {_plain(v)}" for k, v in where.items())
    came, num_never = values[np.isfinite(values)], int(np.sum(np.isinf(values)))
    median = quantile(np.sort(values), 0.5) if len(values) else math.nan
    low, high = (float(came.min()), float(came.max())) if len(came) else (math.nan, math.nan)
    ratio = median / theirs if theirs else math.nan
    agrees = ratio > 0 and abs(math.log(ratio)) <= math.log1p(published.tolerance)
    return Row(key, theirs, median, low, high, ratio, agrees, said, len(values), num_never)


def _plain(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)

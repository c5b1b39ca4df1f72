"""A study from beginning to end: what is missing is run, then everything is compared."""

import math
import os
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import xarray as xr

from ._errors import InputError
from ._execution import Progress, crew, run_sweep, suggested_size
from ._experiment import Published
from ._store import OUTCOMES, Store, assemble
from ._sweep import Sweep
from .studies import Panel, Preset, panels

Listener = Callable[[str, Progress], None]


class Row(NamedTuple):
    """A published number beside ours: the median over seeds, and their range."""

    key: str
    published: float
    median: float
    low: float
    high: float
    ratio: float
    agrees: bool


class PanelResult(NamedTuple):
    """What a panel came to: its runs, how they came out, and the comparison."""

    name: str
    sweep: Sweep
    dataset: xr.Dataset
    outcomes: dict[str, int]
    rows: list[Row]

    @property
    def published(self) -> Published | None:
        """What it is compared with."""
        return self.sweep.experiment.published


def reproduce(
    study: str | os.PathLike[str],
    store: str | os.PathLike[str],
    *,
    panel: str | None = None,
    preset: Preset = "quick",
    workers: int | None = None,
    scheduler: str | None = None,
    listener: Listener | None = None,
) -> list[PanelResult]:
    """Runs what a study's panels miss, and compares them with what was published.

    - **Takes** `study`, one that comes with the library or a folder with a TOML file a panel;
        `store`, which holds what has been run: the same call goes on after whatever ended
        it; `panel`, one of them alone; `preset`, `paper` for the source's own settings;
        `workers`, `scheduler` as [`sweep`][lazyrich.sweep] does; `listener`, told the
        panel's name and how far it is.
    - **Raises** [`InputError`][lazyrich.InputError] for names that there are not,
        [`ComputationError`][lazyrich.ComputationError] when runs cannot go on.
    """
    found = panels(study)
    if panel is not None and panel not in found:
        raise InputError("panel", panel, f"should be one of {', '.join(found)}")
    results = []
    with crew(workers, scheduler) as hands:
        for name, one in found.items() if panel is None else [(panel, found[panel])]:
            sweep = _planned(one, preset)

            def tell(progress: Progress, name: str = name) -> None:
                if listener is not None:
                    listener(name, progress)

            run_sweep(sweep, store, hands, listener=tell)
            results.append(result_of(name, sweep, Store(store)))
    return results


def _planned(panel: Panel, preset: Preset) -> Sweep:
    experiment, over = panel.varied(preset)
    return Sweep.over(experiment, over, suggested_size(experiment))


def result_of(name: str, sweep: Sweep, store: Store) -> PanelResult:
    """A panel's runs as they are in a store, compared."""
    dataset = assemble(store, sweep)
    found = dataset["outcome"].values.ravel().tolist()
    counts = {kind: found.count(kind) for kind in OUTCOMES if kind in found}
    return PanelResult(name, sweep, dataset, counts, compare(sweep.experiment.published, dataset))


def compare(published: Published | None, dataset: xr.Dataset) -> list[Row]:
    """Every published number beside the median over the runs of a dataset.

    Dotted keys such as `late.test_loss` name the dataset's `late_test_loss`. A number that
    none of the runs has is NaN, and does not agree.
    """
    if published is None:
        return []
    rows = []
    for key, theirs in published.numbers.items():
        name = key.replace(".", "_")
        values: Any = dataset[name].values.ravel() if name in dataset else np.array([])
        known = values[~np.isnan(values)]
        if len(known) == 0:
            nan = math.nan
            rows.append(Row(key, theirs, nan, nan, nan, nan, agrees=False))
            continue
        median = float(np.median(known))
        ratio = median / theirs if theirs else math.nan
        agrees = ratio > 0 and abs(math.log(ratio)) <= math.log1p(published.tolerance)
        low, high = float(known.min()), float(known.max())
        rows.append(Row(key, theirs, median, low, high, ratio, agrees))
    return rows

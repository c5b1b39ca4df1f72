"""Runs the missing runs of a study and compares all of them with the published numbers."""

import os
from collections.abc import Callable
from importlib.util import find_spec

from .._core.errors import InputError
from .._core.given import check_function
from ..studies import Panel, PanelResult, Preset, panels
from ..studies._result import forecast_options, planned, result_of
from ..sweeps._execution import Progress, run_sweep, worker_pool
from ..sweeps._store import Store

Listener = Callable[[str, Progress], None]


def reproduce(
    study: str | os.PathLike[str],
    store: str | os.PathLike[str],
    *,
    panel: str | None = None,
    preset: Preset = "quick",
    workers: int | None = None,
    scheduler: str | None = None,
    data: str | os.PathLike[str] | None = None,
    listener: Listener | None = None,
) -> list[PanelResult]:
    """Runs all runs of a study that its store does not have, and compares them with the source.

    - **Takes** `study`, the name of one in the library, or a folder with a TOML file for each
        panel; `store`, where runs are kept: the same call continues after an interruption;
        `panel`, the name of the only panel to run; `preset`, `paper` for the source's own
        settings; `workers` and `scheduler` as [`sweep`][lazyrich.sweep]; `data`, a folder with
        data files that panels read, such as MNIST; `listener`, called with a panel's name and
        its progress.
    - **Raises** [`InputError`][lazyrich.InputError] for an unknown name, and for claims or a figure
        that the runs of a panel cannot have, before anything is run;
        [`ComputationError`][lazyrich.ComputationError] when runs cannot continue.
    """
    check_function("listener", listener, "panel", "progress")
    found = panels(study)
    if panel is not None and panel not in found:
        raise InputError("panel", panel, f"should be one of {', '.join(found)}")
    results = []
    chosen = found if panel is None else {panel: found[panel]}
    if data is not None:
        chosen = _on_data(chosen, data)
    # All panels are checked before the first is run.
    plans = {name: planned(one, preset) for name, one in chosen.items()}
    if find_spec("matplotlib"):  # otherwise nothing can be drawn
        from ..plot.figures import check_figure

        for one in chosen.values():
            check_figure(one, preset)
    with worker_pool(workers, scheduler) as pool:
        for name, (version, sweep) in plans.items():

            def run_progress(progress: Progress, name: str = name) -> None:
                if listener is not None:
                    listener(name, progress)

            def forecast_progress(done: int, of: int, name: str = name) -> None:
                if listener is not None:
                    listener(f"{name}, forecasts", Progress(of, done, 0, 0.0))

            run_sweep(sweep, store, pool, listener=run_progress, forecast=forecast_options(version))
            results.append(result_of(name, version, sweep, Store(store), forecast_progress))
    return results


def _on_data(chosen: dict[str, Panel], data: str | os.PathLike[str]) -> dict[str, Panel]:
    """The panels, with data files read from a folder."""
    read = {name: panel.experiment.with_data(data) for name, panel in chosen.items()}
    if not any(read.values()):
        accepted = f"is read by none of the panels {', '.join(chosen)}"
        raise InputError("data", os.fspath(data), accepted)
    return {
        name: panel.model_copy(update={"experiment": read[name] or panel.experiment})
        for name, panel in chosen.items()
    }

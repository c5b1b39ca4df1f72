"""The computation of one batch of a sweep, from descriptions to a file."""

import dataclasses
import datetime
import functools
import math
import os
import time
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from ..._core.errors import InputError
from ..._run.result import BatchResult, machine
from ..._run.simulate import simulate_batch
from ...dynamics import Effort
from ...experiments.experiment import Experiment
from ...forecasts.options import ForecastOptions
from ...predictors import CERTIFIED
from ...records.summary import early_and_late
from ...records.transition import read_off, scales_of_numbers
from .._forecast_in_batch import has_forecasts, with_forecasts_of
from .._store import Results, Store
from .._sweep import Sweep
from ..batches import Batch
from .environment import ENVIRONMENT

_PACKAGES = ("lazyrich", "jax", "jaxlib", "diffrax", "equinox", "optax", "numpy", "scipy")
# The largest number of letters of a failed run's message.
_MAX_MESSAGE = 500


@dataclasses.dataclass(frozen=True)
class Job:
    """The description of a batch for a worker, which does not need the rest of the sweep.

    - `forecast`, how to forecast the runs; None for no forecasts.
    - `name`, of its file; `sweep`, the sweep's hash; `description`, its experiment as TOML.
    - `runs`, their numbers in the sweep; `changes`, the changes of each run to `experiment`;
        `hashes`, of the content of each run. The hashes are included because a user's function can
        have another hash after pickling.
    """

    name: str
    sweep: str
    description: str
    experiment: Experiment
    runs: np.ndarray
    changes: list[dict[str, Any]]
    hashes: list[str]
    forecast: ForecastOptions | None = None

    @classmethod
    def of(
        cls, store: Store, sweep: Sweep, batch: Batch, forecast: ForecastOptions | None = None
    ) -> "Job":
        """The job for a batch of a sweep in a store."""
        runs = batch.runs.tolist()
        return cls(
            name=store.file_of(sweep, batch.number),
            sweep=sweep.content_hash,
            description=sweep.description,
            experiment=sweep.experiment,
            runs=np.asarray(batch.runs, dtype=np.int64),
            changes=[sweep.changes(run) for run in runs],
            hashes=[sweep.run(run).content_hash for run in runs],
            forecast=forecast,
        )

    @property
    def experiments(self) -> list[Experiment]:
        """The experiments of the runs."""
        return [self.experiment.with_changes(changes) for changes in self.changes]


@dataclasses.dataclass(frozen=True)
class Done:
    """A worker's report on a batch: its file, whether the file existed, and the cost."""

    name: str
    num_runs: int
    num_failed: int
    seconds: float
    was_there: bool


def is_done(store: Store, name: str, forecast: ForecastOptions | None) -> bool:
    """Whether a batch file exists, is not damaged, and has the requested forecasts."""
    return store.is_whole(name) and has_forecasts(store, name, forecast)


def run_batch(store: Store, job: Job) -> Done:
    """Computes a batch and writes its file, unless the file exists.

    A file without the requested forecasts gets them.

    - **Raises** `OSError` if the file cannot be written. Errors of runs are kept in the file.
    """
    if is_done(store, job.name, job.forecast):
        return Done(job.name, len(job.runs), 0, 0.0, was_there=True)
    begun = time.perf_counter()
    results = store.read(job.name) if store.is_whole(job.name) else compute(job)
    if job.forecast is not None:
        results = with_forecasts_of(results, job.experiments, job.forecast)
    seconds = time.perf_counter() - begun
    results.about["seconds"] = results.about.get("seconds", 0.0) + seconds
    store.write(job.name, results)
    num_failed = results.endings.count("failed")
    return Done(job.name, len(job.runs), num_failed, seconds, was_there=False)


def compute(job: Job) -> Results:
    """The results of some runs of a sweep, from one solve if possible, otherwise one by one."""
    experiments = job.experiments
    errors: dict[int, str] = {}
    try:
        parts = [(np.arange(len(experiments)), simulate_batch(experiments))]
    except MemoryError:
        raise
    except Exception:
        # At least one run failed. Running them one by one shows which run, and why.
        parts = []
        for place, experiment in enumerate(experiments):
            try:
                parts.append((np.array([place]), simulate_batch([experiment])))
            except MemoryError:
                raise
            except Exception as error:
                message = f"{type(error).__name__}: {' '.join(str(error).split())}"
                errors[place] = message[:_MAX_MESSAGE]
    return _results(job, experiments, parts, errors)


def rerun(results: Results, arrays: Path | None = None) -> list[Experiment]:
    """The experiments in a batch's file, in order, for running them again.

    The last bits of a run's numbers depend on the other runs of its batch. To reproduce them, run
    all experiments as one batch, with the environment `about["environment"]`.

    - **Takes** `arrays`, the folder of the `.npz` file of a task made of arrays, which is the
        store's `sweeps`.
    - **Raises** [`InputError`][lazyrich.InputError] if the file cannot describe all of them, such
        as a model of your own.
    """
    about = results.about
    if not {"experiment", "changes", "environment", "versions"} <= set(about):
        raise InputError("experiment", results.hashes[0], "should be described in its batch file")
    if len(about["changes"]) != len(results.hashes):
        accepted = f"describes {len(about['changes'])} runs, but contains {len(results.hashes)}"
        raise InputError("experiment", results.hashes[0], accepted)
    text = about["experiment"]
    base = Experiment.from_toml(text, Path() if arrays is None else arrays, same_folder=True)
    experiments = [base.with_changes(changes) for changes in about["changes"]]
    for experiment, digest in zip(experiments, results.hashes, strict=True):
        if experiment.content_hash != digest:
            accepted = (
                "differs from its description in the file: it contained a model or a probe of your "
                f"own, or lazyrich {about['versions'].get('lazyrich', '')} described it otherwise"
            )
            raise InputError("experiment_hash", digest, accepted)
    return experiments


@functools.cache
def _versions() -> dict[str, str]:
    return {name: version(name) for name in _PACKAGES}


_COSTS = ("num_steps", "num_rejected", "num_gradients", "num_jacobians", "num_products")


def _costs(effort: Effort) -> dict[str, float]:
    """What a run took, not-a-number where its solver does not count."""
    table = effort.table()
    return {name: math.nan if table[name] is None else float(table[name]) for name in _COSTS}


def _results(
    job: Job,
    experiments: list[Experiment],
    parts: list[tuple[np.ndarray, BatchResult]],
    errors: dict[int, str],
) -> Results:
    num_runs = len(job.runs)
    num_records = max((part.times.shape[1] for _, part in parts), default=0)
    times = np.full((num_runs, num_records), np.nan)
    curves: dict[str, np.ndarray] = {}
    numbers: dict[str, np.ndarray] = {}
    outcomes, endings = ["failed"] * num_runs, ["failed"] * num_runs
    long_name, units = experiments[0].time_axis
    words = {"time": {"long_name": long_name, "units": units}}
    stages: dict[str, float] = {}
    rows: list[dict[str, float]] = [{} for _ in experiments]

    for places, part in parts:
        for stage, seconds in part.seconds.items():
            stages[stage] = stages.get(stage, 0.0) + seconds
        words |= {name: part.words(name) for name in part.values}
        length = part.times.shape[1]
        times[places, :length] = part.times
        for name, values in part.values.items():
            curves.setdefault(name, np.full(times.shape, np.nan))[places, :length] = values
        for name, column, long_name in _achieved(part):
            numbers.setdefault(name, np.full(num_runs, np.nan))[places] = column
            words[name] = {"long_name": long_name, "units": "1"}
        for row, place in enumerate(places.tolist()):
            recorded, its_curves = part.recorded(row), part.curves(row)
            its_numbers = {name: float(values[place]) for name, values in numbers.items()}
            scales = scales_of_numbers(its_numbers, experiments[place].weight_decay)
            events = read_off(recorded, its_curves, part.endings[row], scales=scales)
            outcomes[place], endings[place] = events.outcome, part.endings[row]
            states = early_and_late(recorded, its_curves, events)
            rows[place] = {
                **events.numbers(),
                **{
                    f"{when}_{name}": v
                    for when, found in states.items()
                    for name, v in found.items()
                },
                **_costs(part.efforts[row]),
            }
    for name in dict.fromkeys(name for row in rows for name in row):
        numbers[name] = np.array([row.get(name, np.nan) for row in rows])
    return Results(
        runs=job.runs,
        hashes=job.hashes,
        outcomes=outcomes,
        endings=endings,
        numbers=numbers,
        times=times,
        curves=curves,
        words=words | {name: _words(name, words) for name in numbers},
        about={
            "experiment": job.description,
            "changes": job.changes,
            "sweep": job.sweep,
            "stages": stages,
            "errors": {str(place): message for place, message in errors.items()},
            "versions": _versions(),
            "machine": machine(),
            "environment": {key: os.environ[key] for key in ENVIRONMENT if key in os.environ},
            "written": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        },
    )


def _achieved(part: BatchResult) -> Iterator[tuple[str, np.ndarray, str]]:
    """The values of the predictors and the final KKT residuals, as numbers by name."""
    for key, table in part.table.items():
        for place, role in enumerate(part.roles):
            if table.dtype.kind == "f":
                words = part.words(f"predictor_{key}")
                long_name = f"{words['long_name']} of the {role} predictor"
                yield f"{role}_{key}", table[:, place], long_name
            elif key == "status":
                certified = np.isin(table[:, place], CERTIFIED).astype(float)
                yield f"{role}_certified", certified, f"whether the {role} predictor is certified"
    for name, column in part.scales.items():
        yield name, column, part.words(name)["long_name"]
    for name, residuals in part.kkt.items():
        yield f"kkt_{name}", residuals, part.words(f"kkt_{name}")["long_name"]


def _words(name: str, words: dict[str, dict[str, str]]) -> dict[str, str]:
    """The long name and units of a number."""
    if name in words:
        return words[name]
    when, _, curve = name.partition("_")
    if when in ("early", "late") and curve in words:
        place = "median over the kernel plateau" if when == "early" else "last value"
        return {**words[curve], "long_name": f"{words[curve]['long_name']}, {place}"}
    return {"long_name": name.replace("_", " "), "units": "1"}

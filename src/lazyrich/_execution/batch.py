"""One batch of a sweep: from descriptions to a file."""

import datetime
import time
from collections.abc import Iterator
from importlib.metadata import version
from typing import NamedTuple

import numpy as np

from .._experiment import Experiment
from .._stacked import Stacked, machine
from .._store import Results, Store
from .._summary import early_and_late
from .._sweep import Sweep
from .._together import simulate_stacked
from .._transition import read_off


class Done(NamedTuple):
    """What a worker says of a batch: its file, whether it was there already, what it cost."""

    name: str
    num_runs: int
    num_failed: int
    seconds: float
    was_there: bool


def run_batch(store: Store, sweep: Sweep, number: int, runs: np.ndarray) -> Done:
    """Computes a batch and writes its file, unless it is there.

    - **Raises** `OSError` if it cannot be written; what runs raise is kept in the file.
    """
    name = store.file_of(sweep, number)
    if store.has(name):
        return Done(name, len(runs), 0, 0.0, was_there=True)
    begun = time.perf_counter()
    results = compute(sweep, runs)
    seconds = time.perf_counter() - begun
    results.about["seconds"] = seconds
    store.write(name, results)
    return Done(name, len(runs), results.outcomes.count("failed"), seconds, was_there=False)


def compute(sweep: Sweep, runs: np.ndarray) -> Results:
    """The results of some runs of a sweep, together where they can be, else one by one."""
    experiments = [sweep.run(int(run)) for run in runs]
    errors: dict[int, str] = {}
    try:
        parts = [(np.arange(len(runs)), simulate_stacked(experiments))]
    except (OSError, MemoryError):
        raise
    except Exception:
        # One of them at least cannot be run: which, and why, is found out one by one.
        parts = []
        for place, experiment in enumerate(experiments):
            try:
                parts.append((np.array([place]), simulate_stacked([experiment])))
            except (OSError, MemoryError):
                raise
            except Exception as error:
                errors[place] = f"{type(error).__name__}: {' '.join(str(error).split())}"
    return _results(sweep, runs, experiments, parts, errors)


_COSTS = ("num_steps", "num_rejected", "num_gradients", "num_jacobians", "num_products")


def _results(
    sweep: Sweep,
    runs: np.ndarray,
    experiments: list[Experiment],
    parts: list[tuple[np.ndarray, Stacked]],
    errors: dict[int, str],
) -> Results:
    num_runs = len(runs)
    num_records = max((part.times.shape[1] for _, part in parts), default=0)
    times = np.full((num_runs, num_records), np.nan)
    curves: dict[str, np.ndarray] = {}
    numbers: dict[str, np.ndarray] = {}
    outcomes, endings = ["failed"] * num_runs, ["failed"] * num_runs
    words: dict[str, dict[str, str]] = {}

    def put(place: int, values: dict[str, float]) -> None:
        for name, value in values.items():
            numbers.setdefault(name, np.full(num_runs, np.nan))[place] = value

    for places, part in parts:
        words |= {
            name: {"long_name": part.long_names[name], "units": part.units.get(name, "1")}
            for name in part.values
        }
        length = part.times.shape[1]
        times[places, :length] = part.times
        for name, values in part.values.items():
            curves.setdefault(name, np.full(times.shape, np.nan))[places, :length] = values
        for name, column, long_name in _achieved(part):
            numbers.setdefault(name, np.full(num_runs, np.nan))[places] = column
            words[name] = {"long_name": long_name, "units": "1"}
        for row, place in enumerate(places.tolist()):
            known = ~np.isnan(part.times[row])
            its_curves = {name: values[row][known] for name, values in part.values.items()}
            events = read_off(part.times[row][known], its_curves, part.endings[row])
            outcomes[place], endings[place] = events.outcome, part.endings[row]
            put(place, {n: v for n, v in events._asdict().items() if isinstance(v, float)})
            states = early_and_late(part.times[row][known], its_curves, events)
            for when, found in states.items():
                put(place, {f"{when}_{name}": value for name, value in found.items()})
            effort = part.efforts[row]._asdict()
            put(place, {name: float(effort[name]) for name in _COSTS})
    return Results(
        runs=np.asarray(runs, dtype=np.int64),
        hashes=[experiment.content_hash for experiment in experiments],
        outcomes=outcomes,
        endings=endings,
        numbers=numbers,
        times=times,
        curves=curves,
        words=words | {name: _words(name, words) for name in numbers},
        about={
            "experiment": sweep.experiment.description,
            "changes": [sweep.changes(int(run)) for run in runs],
            "sweep": sweep.content_hash,
            "errors": {str(place): message for place, message in errors.items()},
            "lazyrich_version": version("lazyrich"),
            "machine": machine(),
            "written": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        },
    )


def _achieved(part: Stacked) -> Iterator[tuple[str, np.ndarray, str]]:
    """What the predictors achieve and how near to KKT the runs end, as numbers by name."""
    for key, table in part.table.items():
        for place, role in enumerate(part.roles):
            if table.dtype.kind == "f":
                long_name = f"{part.long_names[f'predictor_{key}']} of the {role} predictor"
                yield f"{role}_{key}", table[:, place], long_name
            elif key == "status":
                certified = np.where(table[:, place] == "optimal", 1.0, 0.0)
                yield f"{role}_certified", certified, f"whether the {role} predictor is certified"
    for name, residuals in part.kkt.items():
        yield f"kkt_{name}", residuals, part.long_names[f"kkt_{name}"]


def _words(name: str, words: dict[str, dict[str, str]]) -> dict[str, str]:
    """What a number is called."""
    if name in words:
        return words[name]
    when, _, curve = name.partition("_")
    if when in ("early", "late") and curve in words:
        place = "median over the kernel plateau" if when == "early" else "last value"
        return {**words[curve], "long_name": f"{words[curve]['long_name']}, {place}"}
    return {"long_name": name.replace("_", " "), "units": "1"}

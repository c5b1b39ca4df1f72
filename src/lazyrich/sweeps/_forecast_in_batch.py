"""Forecasts of the runs of a batch, computed and stored together with the runs."""

import hashlib
import json
import math
from collections.abc import Sequence
from dataclasses import replace
from importlib.metadata import version
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

from .._core.errors import one_line
from .._core.precision import in_double
from ..experiments.experiment import Experiment
from ..forecasts.answer import Forecast
from ..forecasts.forecast import forecast_run
from ..forecasts.options import ForecastOptions
from ..records.transition import read_off, scales_of_numbers
from ._store import Damaged, Results, Store
from ._sweep import Sweep

# The largest number of letters in the message of a failed forecast.
_MAX_MESSAGE = 300

NONE: dict[str, Any] = {
    **dict.fromkeys(
        (
            "forecast_t50", "forecast_low", "forecast_high", "forecast_t_kernel_end", "textbook",
            "forecast_clock", "clock", "forecast_num_gradients", "forecast_seconds",
            "forecast_early", "forecast_late",
        ),
        math.nan,
    ),
    "forecast_outcome": "missing",
    "forecast_verdict": "cannot_say",
    "forecast_confidence": "low",
    "forecast_family": "",
}  # fmt: skip
"""The values for a run whose forecast failed."""


def key_of(options: ForecastOptions) -> str:
    """An identifier of how forecasts are made: settings, and the version of lazyrich."""
    parts = (options.num_samples, options.passage, options.max_test, options.thresholds.table())
    text = json.dumps([*parts, version("lazyrich")])
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def forecast_of(run: Experiment, options: ForecastOptions, t50: float) -> dict[str, Any]:
    """The forecast of a run, as numbers and strings keyed by the variables of a dataset.

    - **Takes** `t50` of the run itself, NaN if there is none.
    - **Returns** [`NONE`][] and an `error` if the forecast fails.
    """
    try:
        return numbers_of(forecast_run(run, options), t50)
    except Exception as error:
        return {**NONE, "error": one_line(f"{type(error).__name__}: {error}", _MAX_MESSAGE)}


def numbers_of(found: Forecast, t50: float) -> dict[str, Any]:
    """A forecast as numbers and strings."""
    low, high = found.t50_interval
    return {
        "forecast_t50": found.t50,
        "forecast_low": low,
        "forecast_high": high,
        "forecast_t_kernel_end": found.t_kernel_end,
        "textbook": found.textbook,
        "forecast_clock": found.family.middle,
        "clock": found.clock.shows(t50),
        "forecast_num_gradients": float(found.num_gradients),
        "forecast_seconds": sum(found.seconds.values()),
        "forecast_early": found.scores.early,
        "forecast_late": found.scores.late,
        "forecast_outcome": found.outcome or "missing",
        "forecast_verdict": found.verdict,
        "forecast_confidence": found.confidence,
        "forecast_family": found.family.name,
    }


@in_double
def with_forecasts_of(
    results: Results, experiments: Sequence[Experiment], options: ForecastOptions
) -> Results:
    """The results of a batch with the forecasts of its runs, under `forecast` in `about`."""
    with threadpool_limits(limits=1, user_api="blas"):
        found = [
            forecast_of(run, options, _t50(results, place, run, options))
            for place, run in enumerate(experiments)
        ]
    return replace(
        results, about={**results.about, "forecast": {"key": key_of(options), "runs": found}}
    )


def _t50(results: Results, place: int, run: Experiment, options: ForecastOptions) -> float:
    """The t50 of a run by the thresholds of the forecast."""
    known = ~np.isnan(results.times[place])
    if not known.any():
        return math.nan
    curves = {name: values[place][known] for name, values in results.curves.items()}
    numbers = {name: float(values[place]) for name, values in results.numbers.items()}
    scales = scales_of_numbers(numbers, run.weight_decay)
    times, ending = results.times[place][known], results.endings[place]
    return read_off(times, curves, ending, options.thresholds, scales).t50


def has_forecasts(store: Store, name: str, options: ForecastOptions | None) -> bool:
    """Whether a complete batch file has the requested forecasts."""
    return options is None or store.summary(name).get("forecast") == key_of(options)


def kept_forecasts(
    store: Store, sweep: Sweep, options: ForecastOptions
) -> dict[str, dict[str, Any]]:
    """The forecasts in a store for the runs of a sweep, keyed by the hash of the experiment."""
    wanted = {sweep.run(index).content_hash for index in range(len(sweep))}
    found: dict[str, dict[str, Any]] = {}
    for name in {name for name, _ in store.index(store.files()).values()}:
        try:
            if has_forecasts(store, name, options):
                found |= forecasts_in(store.read(name))
        except Damaged:
            continue
    return {digest: values for digest, values in found.items() if digest in wanted}


def forecasts_in(results: Results) -> dict[str, dict[str, Any]]:
    """The forecasts in a file, keyed by the hash of the experiment; wrong types are ignored."""
    runs = results.about.get("forecast", {}).get("runs", [])
    return {
        digest: values
        for digest, values in zip(results.hashes, runs, strict=False)
        if all(type(values.get(k)) is type(v) for k, v in NONE.items())
    }

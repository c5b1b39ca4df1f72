"""Forecasts of many runs, compared with their results."""

import math
import os
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr
from jaxtyping import Bool, Float
from threadpoolctl import threadpool_limits

from .._core.errors import InputError
from .._core.given import check_function
from .._core.precision import in_double
from .._run.prepared import key_of_data
from ..experiments.experiment import Experiment, check_experiment
from ..forecasts.answer import Forecast
from ..forecasts.forecast import forecast_run
from ..forecasts.options import ForecastOptions, How
from ..forecasts.verdict import is_expected
from ..records.transition import Thresholds
from ._forecast_in_batch import NONE, forecast_of, kept_forecasts
from ._store import Store
from ._sweep import Sweep
from .axes import Over
from .runs import check_dataset, runs_of

_NUMBERS = {
    "forecast_t50": "predicted t50, half of the test change",
    "forecast_low": "lower end of the interval of the predicted t50",
    "forecast_high": "upper end of the interval of the predicted t50",
    "forecast_t_kernel_end": "predicted end of the kernel phase",
    "textbook": "log(init_scale) / weight_decay",
    "forecast_clock": "calibrated constant of the family",
    "clock": "constant that would have predicted t50 exactly",
    "forecast_num_gradients": "gradients used to solve the transition",
    "forecast_seconds": "time to compute the forecast",
}
_SCORES = {
    "forecast_early": "predicted test score on the kernel plateau",
    "forecast_late": "test score of the rich predictor, or at the end of the solved transition",
    "forecast_right": "1 if the verdict was right, 0 if wrong, NaN without a verdict",
}
_WORDS = {
    "forecast_outcome": "predicted outcome at the horizon",
    "forecast_verdict": "verdict of the forecast",
    "forecast_confidence": "confidence of the forecast",
    "forecast_family": "family whose calibrated constant is used",
}


def forecast_runs(
    dataset: xr.Dataset,
    experiment: Experiment,
    over: Over,
    *,
    passage: How | None = None,
    thresholds: Thresholds = Thresholds(),
    store: str | os.PathLike[str] | None = None,
    listener: Callable[[int, int], None] = lambda done, of: None,
) -> xr.Dataset:
    r"""Forecasts every run of a sweep and compares the forecasts with the results.

    - **Takes** `dataset`, that of [`sweep`][lazyrich.sweep] of `experiment` over `over`;
        `passage` and `thresholds` as [`forecast`][lazyrich.forecast] does; `store`, whose
        forecasts are used instead of computing them again; `listener`, called with the number of
        finished forecasts and of runs.
    - **Returns** the dataset with `forecast_t50`, `forecast_low`, `forecast_high`,
        `forecast_t_kernel_end`, `textbook`, NaN if there is none; `forecast_outcome`, the
        predicted outcome at the horizon, `missing` if there is no prediction; `forecast_verdict`,
        `forecast_confidence`, `forecast_family` and `forecast_seconds`;
        `forecast_clock`, the $\kappa$ of the family, and `clock`, the value that
        would have predicted $t_{50}$ exactly; `forecast_early` and `forecast_late`, test scores
        (accuracy, or one minus the loss over its scale); `forecast_right`, 1 if the verdict was
        right, 0 if it was wrong, NaN if there was no verdict.
    - **Raises** [`InputError`][lazyrich.InputError] if the dataset is not one of this sweep.
    """
    check_dataset(dataset)
    check_experiment(experiment)
    check_function("listener", listener, "done", "of")
    sweep = Sweep.over(experiment, over)
    options = ForecastOptions(passage=passage, thresholds=thresholds)
    options.check()
    kept = None if store is None else Store(store)
    return with_forecasts(dataset, sweep, options, kept, listener)


@in_double
def with_forecasts(
    dataset: xr.Dataset,
    sweep: Sweep,
    options: ForecastOptions,
    store: Store | None = None,
    listener: Callable[[int, int], None] = lambda done, of: None,
) -> xr.Dataset:
    """The same for a sweep. Forecasts in a store are not computed again."""
    shape = dataset["outcome"].shape
    if shape != sweep.shape:
        raise InputError("dataset", shape, f"should be over the sweep's axes, {sweep.shape}")
    runs = [sweep.run(index) for index in range(len(sweep))]
    kept = {} if store is None else kept_forecasts(store, sweep, options)
    found, t50 = [NONE] * len(runs), dataset["t50"].values.ravel().tolist()
    with threadpool_limits(limits=1, user_api="blas"):
        for done, index in enumerate(_by_data(runs)):
            run = runs[index]
            found[index] = kept.get(run.content_hash) or forecast_of(run, options, t50[index])
            listener(done + 1, len(sweep))
    return _assigned(dataset, found)


def with_stored_forecasts(dataset: xr.Dataset, stored: Mapping[str, dict[str, Any]]) -> xr.Dataset:
    """The dataset of a sweep with the forecasts in its files, without computing any.

    Runs without a forecast have NaN and `missing`. The dataset is returned as it is if no run has a
    forecast.

    - **Takes** `stored`, what `forecasts_in` finds in the files, keyed by the hash of the
        experiment.
    """
    hashes = dataset["experiment_hash"].values.ravel().tolist()
    if not any(digest in stored for digest in hashes):
        return dataset
    return _assigned(dataset, [stored.get(digest, NONE) for digest in hashes])


def _assigned(dataset: xr.Dataset, found: Sequence[dict[str, Any]]) -> xr.Dataset:
    """The dataset with the forecasts of its runs, one for each in the order of the axes."""
    outcome = dataset["outcome"]
    by_run = [
        of | {"forecast_right": is_right(of["forecast_verdict"], of["forecast_outcome"], came)}
        for of, came in zip(found, outcome.values.ravel().tolist(), strict=True)
    ]
    variables: dict[str, Any] = {}
    for name, text in (_NUMBERS | _SCORES | _WORDS).items():
        values = np.array([of[name] for of in by_run], str if name in _WORDS else float)
        attributes = {"long_name": text, "units": "s" if name == "forecast_seconds" else "1"}
        variables[name] = (outcome.dims, values.reshape(outcome.shape), attributes)
    return dataset.assign(variables)


@in_double
def forecast_first(sweep: Sweep, options: ForecastOptions) -> Forecast | None:
    """The complete forecast of a sweep's first run, with its curves; None if it fails."""
    with threadpool_limits(limits=1, user_api="blas"):
        try:
            return forecast_run(sweep.run(0), options)
        except Exception:
            return None


def _by_data(runs: Sequence[Experiment]) -> list[int]:
    """The indices of runs, ordered so that runs with the same data are adjacent."""
    first: dict[Hashable, int] = {}
    return sorted(range(len(runs)), key=lambda i: (first.setdefault(key_of_data(runs[i]), i), i))


_VERDICT = ("forecast_verdict", "forecast_outcome")


def is_right(verdict: str, by_t1: str, outcome: str) -> float:
    """1 if the verdict or the predicted outcome at the horizon was right, 0 if not.

    NaN if there is no verdict, or no run to compare with."""
    right = is_expected(verdict, outcome)
    return math.nan if right is None else float(right or by_t1 == outcome)


def as_runs(dataset: xr.Dataset) -> xr.Dataset:
    """Outcomes and forecasts along one dimension `run`, from one sweep or several."""
    for name in ("t50", *_NUMBERS, *_WORDS):
        if name not in dataset:
            raise InputError(
                "dataset", name, "should be in the dataset: see lr.sweeps.forecast_runs"
            )
    return runs_of(dataset, "t50", *_NUMBERS, *_SCORES, *_WORDS).data


def num_timed(dataset: xr.Dataset) -> int:
    """The number of runs with both a predicted and a simulated time."""
    return int(np.sum(_timed(as_runs(dataset))))


def _timed(runs: xr.Dataset) -> Bool[np.ndarray, " run"]:
    found: Any = np.isfinite(runs["t50"].values) & (runs["forecast_t50"].values > 0)
    return found


@dataclass(frozen=True, kw_only=True)
class ForecastScores:
    r"""The accuracy of forecasts, with $r = \log(t_{50} \text{ forecast} / t_{50} \text{ run})$.

    - `num_runs`; `num_timed`, the number of runs with both times, on which the next four are based.
    - `bias`, the median of $r$; `error`, that of $|r|$; `spread`, half of the distance between the
        10 % and 90 % quantiles of $r$; `coverage`, the share with $t_{50}$ in its interval.
    - `baseline`, the median of $|\log((1/\lambda) \log \alpha / t_{50})|$, NaN without decay.
    - `num_verdicts`, the number of verdicts; `num_right`, the number of those that were right.
    """

    num_runs: int
    num_timed: int
    bias: float
    error: float
    spread: float
    coverage: float
    baseline: float
    num_verdicts: int
    num_right: int


def forecast_scores(dataset: xr.Dataset) -> ForecastScores:
    """The accuracy of the forecasts in a dataset, or in a part of a dataset.

    - **Takes** the result of [`forecast_runs`][lazyrich.sweeps.forecast_runs].
    """
    check_dataset(dataset)
    runs = as_runs(dataset)
    t50, forecast_t50 = runs["t50"].values, runs["forecast_t50"].values
    timed = _timed(runs)
    ratio = np.log(forecast_t50[timed] / t50[timed])
    inside = (runs["forecast_low"].values <= t50) & (t50 <= runs["forecast_high"].values)
    textbook = runs["textbook"].values
    known = np.isfinite(t50) & (textbook > 0)
    words = [runs[name].values.astype(str) for name in (*_VERDICT, "outcome")]
    right = [r for row in zip(*words, strict=True) if not math.isnan(r := is_right(*row))]
    low, high = _quantile(ratio, 0.1), _quantile(ratio, 0.9)
    return ForecastScores(
        num_runs=len(t50),
        num_timed=int(np.sum(timed)),
        bias=_quantile(ratio, 0.5),
        error=_quantile(np.abs(ratio), 0.5),
        spread=0.5 * (high - low),
        coverage=float(np.mean(inside[timed])) if timed.any() else math.nan,
        baseline=_quantile(np.abs(np.log(textbook[known] / t50[known])), 0.5),
        num_verdicts=len(right),
        num_right=int(sum(right)),
    )


def _quantile(values: Float[np.ndarray, " n"], share: float) -> float:
    return float(np.quantile(values, share)) if len(values) else math.nan

"""Forecasts of many runs beside what came of them."""

import math
import os
from collections.abc import Callable, Hashable, Sequence
from typing import Any, NamedTuple

import numpy as np
import xarray as xr
from jaxtyping import Bool, Float
from threadpoolctl import threadpool_limits

from .._core.errors import InputError
from .._core.precision import in_double
from .._run.prepared import key_of_data, prepare
from ..experiments.experiment import Experiment
from ..forecasts.forecast import Forecast, forecast_on
from ..forecasts.seen import Asked, How
from ..forecasts.verdict import is_foreseen
from ..records.transition import Thresholds
from ._forecast_in_batch import forecast_of, kept_forecasts
from ._store import Store
from ._sweep import Sweep
from .axes import Over
from .runs import runs_of

_NUMBERS = {
    "forecast_t50": "half of the test change, forecast",
    "forecast_low": "its interval begins",
    "forecast_high": "its interval ends",
    "forecast_t_kernel_end": "end of the kernel phase, forecast",
    "textbook": "log(init_scale) / weight_decay",
    "forecast_clock": "what the clock shows when half of the change is expected",
    "clock": "what the clock showed when half of the change was done",
    "forecast_num_gradients": "gradients that solving the passage took",
    "forecast_seconds": "what the forecast took",
}
_SCORES = {
    "forecast_early": "test score on the kernel plateau, forecast",
    "forecast_late": "test score of the rich predictor, or at the end of the solved passage",
    "forecast_right": "whether the verdict was right; not a number where there was none",
}
_WORDS = {
    "forecast_outcome": "how the run should come out",
    "forecast_verdict": "what was forecast",
    "forecast_confidence": "how far it is to be trusted",
    "forecast_family": "whose constant it rests on",
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
    r"""Forecasts every run of a sweep and sets that beside what came of it.

    - **Takes** `dataset`, that of [`sweep`][lazyrich.sweep] of `experiment` over `over`;
        `passage` as [`forecast`][lazyrich.forecast] does; `thresholds`, those by which it is
        read; `store`, of which forecasts that it holds are taken and not computed again;
        `listener`, told how many runs are done.
    - **Returns** the dataset with `forecast_t50`, `forecast_low`, `forecast_high`,
        `forecast_t_kernel_end`, `textbook`, all NaN where there is none; `forecast_outcome`, how
        the run should come out by its horizon, `missing` if that is not said; `forecast_verdict`,
        `forecast_confidence`, `forecast_family` and `forecast_seconds`;
        `forecast_clock`, the $\kappa$ of the family, and `clock`, the one that
        would have forecast $t_{50}$ exactly; `forecast_early` and `forecast_late`, test scores
        (accuracy, or the fraction of the loss that is gone); `forecast_right`, 1 where the verdict
        came true, 0 where it did not, NaN where none was ventured.
    - **Raises** [`InputError`][lazyrich.InputError] if the dataset is not one of this sweep.
    """
    sweep, asked = Sweep.over(experiment, over), Asked(passage=passage, thresholds=thresholds)
    return with_forecasts(dataset, sweep, asked, None if store is None else Store(store), listener)


@in_double
def with_forecasts(
    dataset: xr.Dataset,
    sweep: Sweep,
    asked: Asked,
    store: Store | None = None,
    listener: Callable[[int, int], None] = lambda done, of: None,
) -> xr.Dataset:
    """The same of a sweep; forecasts that a store holds are not computed again."""
    shape = dataset["outcome"].shape
    if shape != sweep.shape:
        raise InputError("dataset", shape, f"should be over the sweep's axes, {sweep.shape}")
    numbers = {name: np.full(shape, np.nan) for name in _NUMBERS | _SCORES}
    words = {name: np.full(shape, "", dtype=object) for name in _WORDS}
    runs = [sweep.run(index) for index in range(len(sweep))]
    kept = {} if store is None else kept_forecasts(store, sweep, asked)
    with threadpool_limits(limits=1, user_api="blas"):
        for done, index in enumerate(_by_data(runs)):
            place, run = np.unravel_index(index, shape), runs[index]
            t50 = float(dataset["t50"].values[place])
            found = kept.get(run.content_hash) or forecast_of(run, asked, t50)
            came = str(dataset["outcome"].values[place])
            right = is_right(found["forecast_verdict"], found["forecast_outcome"], came)
            for name in _NUMBERS | _SCORES | _WORDS:
                values = words if name in words else numbers
                values[name][place] = right if name == "forecast_right" else found[name]
            listener(done + 1, len(sweep))
    axes = dataset["outcome"].dims
    variables: dict[str, Any] = {}
    for name, text in (_NUMBERS | _SCORES).items():
        units = "s" if name == "forecast_seconds" else "1"
        variables[name] = (axes, numbers[name], {"long_name": text, "units": units})
    for name, text in _WORDS.items():
        variables[name] = (axes, words[name].astype(str), {"long_name": text, "units": "1"})
    return dataset.assign(variables)


@in_double
def forecast_first(sweep: Sweep, asked: Asked) -> Forecast | None:
    """The whole forecast of a sweep's first run, with its curves; None if it fails."""
    with threadpool_limits(limits=1, user_api="blas"):
        try:
            return forecast_on(prepare(sweep.run(0)), asked)
        except Exception:
            return None


def _by_data(runs: Sequence[Experiment]) -> list[int]:
    """The places of runs in an order in which those that share data follow each other."""
    first: dict[Hashable, int] = {}
    return sorted(range(len(runs)), key=lambda i: (first.setdefault(key_of_data(runs[i]), i), i))


_VERDICT = ("forecast_verdict", "forecast_outcome")


def is_right(said: str, by_t1: str, came: str) -> float:
    """1 if a verdict was right, or the outcome foreseen for the horizon; 0 if not, NaN where there
    is no verdict or no run to compare it with."""
    right = is_foreseen(said, came)
    return math.nan if right is None else float(right or by_t1 == came)


def as_runs(dataset: xr.Dataset) -> xr.Dataset:
    """Outcomes and forecasts along one dimension `run`, joined or not."""
    for name in ("t50", *_NUMBERS, *_WORDS):
        if name not in dataset:
            raise InputError("dataset", name, "should be in it: see lr.sweeps.forecast_runs")
    return runs_of(dataset, "t50", *_NUMBERS, *_SCORES, *_WORDS).data


def num_timed(dataset: xr.Dataset) -> int:
    """How many runs have both times."""
    return int(np.sum(_timed(as_runs(dataset))))


def _timed(runs: xr.Dataset) -> Bool[np.ndarray, " run"]:
    found: Any = np.isfinite(runs["t50"].values) & (runs["forecast_t50"].values > 0)
    return found


class ForecastScores(NamedTuple):
    r"""How forecasts did. With $r = \log(t_{50} \text{ forecast} / t_{50} \text{ simulated})$:

    - `num_runs`; `num_timed`, those with both times, of which the next four are.
    - `bias`, the median of $r$; `error`, that of $|r|$; `spread`, half of the distance between the
        10 % and 90 % quantiles of $r$; `coverage`, the share with $t_{50}$ in its interval.
    - `baseline`, the median of $|\log((1/\lambda) \log \alpha / t_{50})|$, NaN without decay.
    - `num_ventured`, forecasts with a verdict; `num_right`, those that came true.
    """

    num_runs: int
    num_timed: int
    bias: float
    error: float
    spread: float
    coverage: float
    baseline: float
    num_ventured: int
    num_right: int


def forecast_scores(dataset: xr.Dataset) -> ForecastScores:
    """How the forecasts of a dataset, or of a part of it, did.

    - **Takes** what [`forecast_runs`][lazyrich.sweeps.forecast_runs] returns.
    """
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
        num_ventured=len(right),
        num_right=int(sum(right)),
    )


def _quantile(values: Float[np.ndarray, " n"], share: float) -> float:
    return float(np.quantile(values, share)) if len(values) else math.nan

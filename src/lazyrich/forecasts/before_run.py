"""One run, with its forecast reported before the run begins."""

from collections.abc import Callable
from typing import Any

import xarray as xr
from threadpoolctl import threadpool_limits

from .._core.precision import in_double
from .._integrate.checkpoint import Checkpoint
from .._run.kept_params import Keep, KeptParams
from .._run.prepared import prepare
from .._run.simulate import identity_of
from .._run.solve import Listener, Stopwatch, silently, solve_batch
from .._run.watching import Watcher, reporting_failure
from ..experiments.experiment import Experiment
from ..records.transition import Thresholds
from .answer import Forecast
from .forecast import forecast_on
from .options import ForecastOptions

# The maximal length of the message that says why there is no forecast, in characters.
_MAX_WORDS = 300


def follows_the_flow(experiment: Experiment) -> bool:
    """Whether the times of a run are gradient-flow times, as those of a forecast are."""
    dynamics = experiment.dynamics
    return not (dynamics.in_log_time or dynamics.rescales_gradients)


@in_double
def forecast_and_simulate(
    experiment: Experiment,
    on_forecast: Callable[[Forecast | str], None],
    *,
    listener: Listener = silently,
    checkpoint: Any = None,
    thresholds: Thresholds = Thresholds(),
    watcher: Watcher | None = None,
    keep_params: Keep = True,
) -> xr.Dataset:
    """A run and its forecast. Data and predictors are computed once and used for both.

    - **Takes** `on_forecast`, called before the run begins with the forecast by calibrated
        constants, or with one line that says why there is no forecast; `listener`,
        `checkpoint`, `watcher` and `keep_params` as [`simulate`][lazyrich.simulate] does;
        `thresholds`, by which the run will be judged.
    - **Returns** the same record as [`simulate`][lazyrich.simulate].
    """
    keep = KeptParams.of(keep_params)
    with reporting_failure(watcher), threadpool_limits(limits=1, user_api="blas"):
        clock = Stopwatch(listener)
        clock.start("sampling data")
        prepared = prepare(experiment)
        clock.stop()
        listener("forecasting", None, "")
        found: Forecast | str
        try:
            found = forecast_on(
                prepared, ForecastOptions(passage="calibrated", thresholds=thresholds)
            )
        except Exception as error:  # of any kind: a forecast that fails must not end the run
            found = " ".join(str(error).split())[:_MAX_WORDS] or type(error).__name__
        on_forecast(found)
        kept = None
        if checkpoint is not None:
            kept = Checkpoint(checkpoint, identity_of(experiment, None, keep))
        solved = solve_batch([prepared], listener, kept, clock, watcher, keep)
        record = solved.record(0, keep)
        if watcher is not None:
            watcher(record)
    return record

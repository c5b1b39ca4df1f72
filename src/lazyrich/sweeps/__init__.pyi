from ._execution import (
    Estimate as Estimate,
    Progress as Progress,
    estimate as estimate,
    sweep as sweep,
)
from ._store import (
    Status as Status,
    consolidate as consolidate,
    status as status,
)
from ._sweep import MAX_BYTES as MAX_BYTES, MAX_RUNS as MAX_RUNS, Sweep as Sweep
from .axes import (
    Axis as Axis,
    Over as Over,
    axes_of as axes_of,
    parse_axes as parse_axes,
    parse_box as parse_box,
    parse_values as parse_values,
)
from .batches import Batch as Batch, batches as batches
from .designs import random as random, sobol as sobol
from .forecasts import (
    ForecastScores as ForecastScores,
    forecast_runs as forecast_runs,
    forecast_scores as forecast_scores,
)
from .opening import open_store as open_store

from . import (
    claims as claims,
    dynamics as dynamics,
    experiments as experiments,
    forecasts as forecasts,
    kernel as kernel,
    losses as losses,
    maps as maps,
    models as models,
    plot as plot,
    predictors as predictors,
    probes as probes,
    records as records,
    solvers as solvers,
    studies as studies,
    sweeps as sweeps,
    tasks as tasks,
    torch as torch,
    trackers as trackers,
)
from ._core.errors import ComputationError as ComputationError, InputError as InputError
from ._explore.explore import explore as explore
from ._reproduce.reproduce import reproduce as reproduce
from ._run.at_weight_decay import at_weight_decay as at_weight_decay
from ._run.extend import extend as extend, parameters as parameters
from ._run.invariant import invariant_run as invariant_run
from ._run.simulate import simulate as simulate, simulate_many as simulate_many
from .experiments import Experiment as Experiment, linearise as linearise
from .forecasts import (
    Forecast as Forecast,
    Remaining as Remaining,
    forecast as forecast,
    remaining as remaining,
)
from .plot import report as report
from .records import (
    Thresholds as Thresholds,
    Transition as Transition,
    open_record as open_record,
    record as record,
    save_record as save_record,
    summarise as summarise,
    transition as transition,
)
from .sweeps import (
    consolidate as consolidate,
    open_store as open_store,
    status as status,
    sweep as sweep,
)

__version__: str

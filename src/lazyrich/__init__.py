"""lazyrich: a laboratory for grokking, from the lazy to the rich regime."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from . import (
        _dynamics as dynamics,
        _kernel as kernel,
        _losses as losses,
        _models as models,
        _predictors as predictors,
        _probes as probes,
        _sweep as sweeps,
        _tasks as tasks,
        studies,
    )
    from ._claims import Claim, Verdict, check_claim
    from ._dynamics import _solver as solvers
    from ._errors import ComputationError, InputError
    from ._execution import Estimate, Progress, Refined, estimate, refine, sweep
    from ._experiment import Experiment
    from ._extend import extend, parameters
    from ._forecast import Family, Forecast, forecast
    from ._linearise import linearise
    from ._phase import (
        Bisection,
        Collapse,
        Crossings,
        ScalingFit,
        boundary,
        collapse,
        phase_diagram,
        scaling_fit,
    )
    from ._published import Published, PublishedAt
    from ._record import open_record, save_record
    from ._reproduce import PanelResult, Row, reproduce
    from ._reread import reread
    from ._simulate import simulate
    from ._store import Status, consolidate, open_store, status
    from ._summary import summarise, textbook_time
    from ._together import simulate_together
    from ._transition import Thresholds, Transition, transition
    from ._trial import ForecastScores, forecast_runs, forecast_scores
    from ._view import (
        plot,
        plot_collapse,
        plot_family,
        plot_forecasts,
        plot_map,
        plot_rates,
        plot_scaling,
        plot_scores,
        write_report,
        write_study,
    )

__all__ = [
    "Bisection",
    "Claim",
    "Collapse",
    "ComputationError",
    "Crossings",
    "Estimate",
    "Experiment",
    "Family",
    "Forecast",
    "ForecastScores",
    "InputError",
    "PanelResult",
    "Progress",
    "Published",
    "PublishedAt",
    "Refined",
    "Row",
    "ScalingFit",
    "Status",
    "Thresholds",
    "Transition",
    "Verdict",
    "boundary",
    "check_claim",
    "collapse",
    "consolidate",
    "dynamics",
    "estimate",
    "extend",
    "forecast",
    "forecast_runs",
    "forecast_scores",
    "kernel",
    "linearise",
    "losses",
    "models",
    "open_record",
    "open_store",
    "parameters",
    "phase_diagram",
    "plot",
    "plot_collapse",
    "plot_family",
    "plot_forecasts",
    "plot_map",
    "plot_rates",
    "plot_scaling",
    "plot_scores",
    "predictors",
    "probes",
    "refine",
    "reproduce",
    "reread",
    "save_record",
    "scaling_fit",
    "simulate",
    "simulate_together",
    "solvers",
    "status",
    "studies",
    "summarise",
    "sweep",
    "sweeps",
    "tasks",
    "textbook_time",
    "transition",
    "write_report",
    "write_study",
]

# Imported when first asked for: JAX and its kin take three seconds, and figures are an extra.
_PLACES = {
    "Bisection": "_phase",
    "Claim": "_claims",
    "Collapse": "_phase",
    "ComputationError": "_errors",
    "Crossings": "_phase",
    "Estimate": "_execution",
    "Experiment": "_experiment",
    "Family": "_forecast",
    "Forecast": "_forecast",
    "ForecastScores": "_trial",
    "InputError": "_errors",
    "PanelResult": "_reproduce",
    "Progress": "_execution",
    "Published": "_published",
    "PublishedAt": "_published",
    "Refined": "_execution",
    "Row": "_reproduce",
    "ScalingFit": "_phase",
    "Status": "_store",
    "Thresholds": "_transition",
    "Transition": "_transition",
    "Verdict": "_claims",
    "boundary": "_phase",
    "check_claim": "_claims",
    "collapse": "_phase",
    "consolidate": "_store",
    "estimate": "_execution",
    "extend": "_extend",
    "forecast": "_forecast",
    "forecast_runs": "_trial",
    "forecast_scores": "_trial",
    "linearise": "_linearise",
    "open_record": "_record",
    "open_store": "_store",
    "parameters": "_extend",
    "phase_diagram": "_phase",
    "plot": "_view",
    "plot_collapse": "_view",
    "plot_family": "_view",
    "plot_forecasts": "_view",
    "plot_map": "_view",
    "plot_rates": "_view",
    "plot_scaling": "_view",
    "plot_scores": "_view",
    "refine": "_execution",
    "reproduce": "_reproduce",
    "reread": "_reread",
    "save_record": "_record",
    "scaling_fit": "_phase",
    "simulate": "_simulate",
    "simulate_together": "_together",
    "status": "_store",
    "summarise": "_summary",
    "sweep": "_execution",
    "textbook_time": "_summary",
    "transition": "_transition",
    "write_report": "_view",
    "write_study": "_view",
}
_NAMESPACES = {
    "dynamics": "_dynamics",
    "kernel": "_kernel",
    "losses": "_losses",
    "models": "_models",
    "predictors": "_predictors",
    "probes": "_probes",
    "solvers": "_dynamics._solver",
    "studies": "studies",
    "sweeps": "_sweep",
    "tasks": "_tasks",
}


def __getattr__(name: str) -> Any:
    if name in _NAMESPACES:
        value: Any = import_module(f".{_NAMESPACES[name]}", __name__)
    elif name in _PLACES:
        value = getattr(import_module(f".{_PLACES[name]}", __name__), name)
    else:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__

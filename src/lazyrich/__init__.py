"""lazyrich: a laboratory for grokking, from the lazy to the rich regime."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from . import (
        _dynamics as dynamics,
        _losses as losses,
        _models as models,
        _predictors as predictors,
        _probes as probes,
        _tasks as tasks,
        studies,
    )
    from ._dynamics import _solver as solvers
    from ._errors import ComputationError, InputError
    from ._experiment import Experiment, Published
    from ._record import open_record, save_record
    from ._simulate import simulate
    from ._summary import summarise, textbook_time
    from ._together import simulate_together
    from ._transition import Thresholds, Transition, transition
    from ._view import plot, write_report

__all__ = [
    "ComputationError",
    "Experiment",
    "InputError",
    "Published",
    "Thresholds",
    "Transition",
    "dynamics",
    "losses",
    "models",
    "open_record",
    "plot",
    "predictors",
    "probes",
    "save_record",
    "simulate",
    "simulate_together",
    "solvers",
    "studies",
    "summarise",
    "tasks",
    "textbook_time",
    "transition",
    "write_report",
]

# Imported when first asked for: JAX and its kin take three seconds, and figures are an extra.
_PLACES = {
    "ComputationError": "_errors",
    "Experiment": "_experiment",
    "InputError": "_errors",
    "Published": "_experiment",
    "Thresholds": "_transition",
    "Transition": "_transition",
    "open_record": "_record",
    "plot": "_view",
    "save_record": "_record",
    "simulate": "_simulate",
    "simulate_together": "_together",
    "summarise": "_summary",
    "textbook_time": "_summary",
    "transition": "_transition",
    "write_report": "_view",
}
_NAMESPACES = {
    "dynamics": "_dynamics",
    "losses": "_losses",
    "models": "_models",
    "predictors": "_predictors",
    "probes": "_probes",
    "solvers": "_dynamics._solver",
    "studies": "studies",
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

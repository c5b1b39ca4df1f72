"""lazyrich: a laboratory for grokking, from the lazy to the rich regime."""

from typing import TYPE_CHECKING, Any

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
from ._transition import Thresholds, Transition, transition

if TYPE_CHECKING:
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
    "solvers",
    "studies",
    "summarise",
    "tasks",
    "textbook_time",
    "transition",
    "write_report",
]


def __getattr__(name: str) -> Any:
    # Figures are an extra: what draws them is imported when first asked for.
    if name in ("plot", "write_report"):
        from . import _view

        return getattr(_view, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

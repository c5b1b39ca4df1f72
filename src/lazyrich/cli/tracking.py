"""`--track`: trackers on the command line."""

import json
import threading
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .._core.errors import ComputationError, InputError

if TYPE_CHECKING:
    import xarray as xr

    from .._run.watching import AbstractWatcher
    from ..records.transition import Thresholds
    from ..trackers import AbstractTracker

Track = Annotated[
    list[str] | None,
    typer.Option(
        metavar="TRACKER=PLACE",
        help="Write the run also for tensorboard=DIR, wandb=DIR, mlflow=URI or trackio=PROJECT; "
        "can be repeated.",
    ),
]


def trackers_of(options: list[str]) -> "list[AbstractTracker]":
    """The trackers that `--track` names.

    - **Raises** [`InputError`][lazyrich.InputError] for another name, without a place, or if a
        library is not installed.
    """
    from .. import trackers

    kinds: dict[str, Any] = {
        "tensorboard": trackers.TensorBoard,
        "wandb": lambda folder: trackers.WandB(folder=folder),
        "mlflow": trackers.MLflow,
        "trackio": trackers.Trackio,
    }
    found = []
    for option in options:
        name, _, place = option.partition("=")
        if name not in kinds or not place:
            accepted = "should be tensorboard=DIR, wandb=DIR, mlflow=URI or trackio=PROJECT"
            raise InputError("--track", option, accepted)
        try:
            found.append(kinds[name](place))
        except ComputationError as error:
            raise InputError("--track", option, str(error)) from None
    return found


def together(trackers: "list[AbstractTracker]", thresholds: "Thresholds") -> "AbstractWatcher":
    """One watcher that passes everything on to several trackers, which judge by `thresholds`."""
    from .._run.watching import AbstractWatcher
    from ..records.transition import Thresholds

    judged = {} if thresholds == Thresholds() else {"thresholds": json.dumps(thresholds.table())}

    class Together(AbstractWatcher):
        """On Ctrl-C `failed` is called from another thread than the one that computes."""

        def __init__(self) -> None:
            self._lock, self._is_over = threading.Lock(), False

        def __call__(self, record: "xr.Dataset") -> None:
            with self._lock:
                for tracker in () if self._is_over else trackers:
                    tracker(record.assign_attrs(judged))

        def failed(self, error: BaseException) -> None:
            with self._lock:
                self._is_over = True
                for tracker in trackers:
                    tracker.failed(error)

    return Together()

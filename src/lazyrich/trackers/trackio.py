"""Runs for Trackio."""

import contextlib
import contextvars
import io
from typing import Any, ClassVar

from ._base import AbstractTracker, Value


class Trackio(AbstractTracker):
    """Writes runs to the local database of Trackio.

    `trackio show` shows them. The database is in the folder that the environment variable
    `TRACKIO_DIR` names when Trackio is imported. Requires `trackio`; see
    [`AbstractTracker`][lazyrich.trackers.AbstractTracker] for what is written. The summary is one
    more entry at the last step.

    - **Takes** `project`.
    - **Raises** [`ComputationError`][lazyrich.ComputationError] if `trackio` is not installed.
    """

    package: ClassVar = "trackio"
    module: ClassVar = "trackio"
    settings: ClassVar = {"HF_HUB_DISABLE_TELEMETRY": "1"}

    def __init__(self, project: str = "lazyrich"):
        super().__init__()
        self.project = project
        self._last = 0

    def _begin(self, library: Any, name: str, config: dict[str, Value]) -> Any:
        self._last = 0
        with contextlib.redirect_stdout(io.StringIO()):
            # In a context of its own, so that a run of the user that is in progress goes on.
            return contextvars.Context().run(
                library.init,
                project=self.project,
                name=f"{name}-{str(config['experiment_hash'])[:8]}",
                config=config,
                embed=False,
                auto_log_gpu=False,
                auto_log_cpu=False,
            )

    def _write(self, run: Any, steps: list[int], rows: list[dict[str, float]]) -> None:
        for step, row in zip(steps, rows, strict=True):
            run.log(row, step=step)
            self._last = step

    def _end(self, run: Any, summary: dict[str, Value], *, broken: bool) -> None:
        del broken
        run.log(dict(summary), step=self._last)
        with contextlib.redirect_stdout(io.StringIO()):
            run.finish()

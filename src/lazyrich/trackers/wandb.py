"""Runs for Weights & Biases."""

import os
from pathlib import Path
from typing import Any, ClassVar, Literal

from ._base import AbstractTracker, Value


class WandB(AbstractTracker):
    """Writes runs for Weights & Biases, by default only to files.

    Curves are shown over `t`. Requires `wandb`; see
    [`AbstractTracker`][lazyrich.trackers.AbstractTracker] for what is written.

    - **Takes** `project`; `folder`, in which the folder `wandb` is made; `mode`. With `offline`
        nothing is sent; `wandb sync FOLDER` can send a run later.
    - **Raises** [`ComputationError`][lazyrich.ComputationError] if `wandb` is not installed.
    """

    package: ClassVar = "wandb"
    module: ClassVar = "wandb"
    settings: ClassVar = {"WANDB_ERROR_REPORTING": "false"}

    def __init__(
        self,
        project: str = "lazyrich",
        folder: str | os.PathLike[str] = ".",
        mode: Literal["offline", "online"] = "offline",
    ):
        super().__init__()
        self.project, self.folder, self.mode = project, os.fspath(folder), mode

    def _begin(self, library: Any, name: str, config: dict[str, Value]) -> Any:
        # Nothing but the record: no output, statistics of the machine, code or repository.
        quiet = library.Settings(
            silent=True, console="off", x_disable_stats=True, disable_git=True, save_code=False
        )
        Path(self.folder).mkdir(parents=True, exist_ok=True)
        run = library.init(
            project=self.project,
            name=name,
            dir=self.folder,
            mode=self.mode,
            config=config,
            reinit="create_new",
            settings=quiet,
        )
        run.define_metric("t")
        run.define_metric("*", step_metric="t")
        return run

    def _write(self, run: Any, steps: list[int], rows: list[dict[str, float]]) -> None:
        for step, row in zip(steps, rows, strict=True):
            run.log(row, step=step)

    def _end(self, run: Any, summary: dict[str, Value], *, broken: bool) -> None:
        run.summary.update(summary)
        run.finish(exit_code=int(broken))

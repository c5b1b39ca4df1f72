"""Event files for TensorBoard."""

import os
from pathlib import Path
from typing import Any, ClassVar

from ._base import AbstractTracker, Value, split


class TensorBoard(AbstractTracker):
    """Writes event files for TensorBoard, one folder for each run.

    The experiment and the outcome are texts and hyperparameters (tab HPARAMS). Requires
    `tensorboardX`, which writes the files without TensorBoard; see
    [`AbstractTracker`][lazyrich.trackers.AbstractTracker] for what is written.

    - **Takes** `folder`, in which each run gets a folder `NAME-HASH`, and `NAME-HASH-2` for a
        second run of the same experiment.
    - **Raises** [`ComputationError`][lazyrich.ComputationError] if `tensorboardX` is not installed.
    """

    package: ClassVar = "'lazyrich[track]'"
    module: ClassVar = "tensorboardX"

    def __init__(self, folder: str | os.PathLike[str]):
        super().__init__()
        self.folder = Path(folder)

    def _begin(self, library: Any, name: str, config: dict[str, Value]) -> Any:
        plain = "".join(c if c.isalnum() or c in "-_." else "-" for c in name).strip(".")
        start = f"{plain[:80] or 'experiment'}-{str(config['experiment_hash'])[:8]}".rstrip("-")
        place, again = self.folder / start, 1
        while place.exists():
            again += 1
            place = self.folder / f"{start}-{again}"
        writer = library.SummaryWriter(logdir=str(place))
        lines = "\n".join(f"    {key} = {value}" for key, value in config.items())
        writer.add_text("experiment", lines, 0)
        return library, writer, config

    def _write(self, run: Any, steps: list[int], rows: list[dict[str, float]]) -> None:
        _, writer, _ = run
        for step, row in zip(steps, rows, strict=True):
            for name, value in row.items():
                writer.add_scalar(name, value, step)
        writer.flush()

    def _end(self, run: Any, summary: dict[str, Value], *, broken: bool) -> None:
        del broken
        library, writer, config = run
        numbers, words = split(summary)
        for name, text in words.items():
            writer.add_text(name, text, 0)
        for name, number in numbers.items():
            writer.add_scalar(name, number, 0)
        for part in library.summary.hparams(config | words, numbers):
            writer.file_writer.add_summary(part)
        writer.close()

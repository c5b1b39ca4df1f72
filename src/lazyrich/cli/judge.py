"""`lazyrich judge`: the outcome of a run that another program logged."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .._core.errors import InputError
from .settings import Threshold

if TYPE_CHECKING:
    from ..records.log_file import Log

HELP = """Find the outcome and the times of a run that another program logged.

LOG is a CSV file with a header, or a file of JSON lines, of one run. It needs a step (or an
epoch, or a time) and the accuracies or the losses of training and test data. Columns are
recognised by their usual names, such as step, train_loss, val/accuracy; for other names use
--column. Rows without test values are left out. For missing training values the last earlier
ones are used.

\b
Examples:
  lazyrich judge log.csv
  lazyrich judge log.jsonl --json
  lazyrich judge log.csv --column test_accuracy=probe_3 --threshold test=0.9
  lazyrich judge log.csv --time-per-step 1e-3 --out log.html

\b
With --time-per-step times are gradient-flow times, otherwise steps. --out writes a page with the
figure and all numbers, and the figure as .pdf and .png in the same folder.
Exit codes: 0 done, 1 the computation failed, 2 the input is not accepted.
"""


def judge(
    log: Annotated[Path, typer.Argument(metavar="LOG")],
    column: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=COLUMN", help="The column for a quantity; repeatable."),
    ] = None,
    threshold: Threshold = None,
    time_per_step: Annotated[
        float | None,
        typer.Option(
            metavar="T", help="Flow time per step: the learning rate of plain gradient descent."
        ),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(metavar="FILE.html", help="Write a report and figures.")
    ] = None,
    json_: Annotated[bool, typer.Option("--json", help="Print only the summary, as JSON.")] = False,
) -> None:
    """Judge a log; users see `HELP`."""
    from ..records.log_file import read_log
    from ..records.summary import summarise
    from ..records.transition import Thresholds

    thresholds = Thresholds().changed(threshold or [])
    found = read_log(
        log,
        columns=dict(map(_named, column or [])),
        time_per_step=time_per_step,
        thresholds=thresholds,
    )
    summary = summarise(found.record, thresholds)
    summary["log"] = {
        "columns": found.columns,
        "unused": list(found.unused),
        "notes": list(found.notes),
    }
    written = []
    if out is not None:
        from .report import write

        written = write(found.record, out, None, thresholds)
    if json_:
        print(json.dumps(summary, indent=2))
        return
    _print(summary, found)
    for place in written[:1]:
        print(f"written to       {place}")


def _named(text: str) -> tuple[str, str]:
    name, equals, column = text.partition("=")
    if not equals or not name or not column:
        raise InputError("--column", text, "should be NAME=COLUMN, such as test_accuracy=val_acc")
    return name, column


def _print(summary: dict[str, Any], log: "Log") -> None:
    units = log.record["time"].attrs["units"]
    epochs = log.record["epoch"].values if "epoch" in log.record.coords else None
    times = log.record["time"].values

    def at(time: float | None) -> str:
        if time is None:
            return "–"
        shown = f"step {round(time):,}" if units == "step" else f"{time:.4g}"
        shown = f"epoch {time:.4g}" if units == "epoch" else shown
        if epochs is None:
            return shown
        import numpy as np

        return f"{shown} (epoch {np.interp(time, times, epochs):.3g})"

    print(f"outcome          {summary['outcome']}: {summary['says']}")
    print(f"next             {summary['advice']}")
    for key in ("t_train", "t_test", "t10", "t50", "t90"):
        print(f"{key:<16} {at(summary[key])}")
    ratio, difference = summary["delay_ratio"], summary["delay_difference"]
    if ratio is not None and difference is not None:
        later = f"{round(difference):,} steps" if units == "step" else f"{difference:.4g}"
        least = "at least " if summary["t_train_is_bound"] else ""
        print(f"delay            {least}{ratio:.3g} times the time of the fit; {later} later")
    if summary["t10"] and summary["t90"]:
        print(f"width            t90 is {summary['t90'] / summary['t10']:.3g} times t10")
    early, late = summary["early"], summary["late"]
    for key in late:
        before = "–" if early[key] is None else f"{early[key]:.4g}"
        after = "–" if late[key] is None else f"{late[key]:.4g}"
        print(f"{key:<16} early {before}, late {after}")
    read = ", ".join(f"{name} from {column!r}" for name, column in log.columns.items())
    print(f"read             {read}")
    for note in log.notes:
        print(f"                 {note}")

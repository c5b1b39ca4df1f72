"""`lazyrich judge`: the outcome of a run that another program logged."""

import json
import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .._core.errors import InputError
from .._core.files import replacing
from .report import check_page, write
from .settings import Threshold, can_draw

if TYPE_CHECKING:
    import xarray as xr

    from ..records.logs import Log
    from ..records.transition import Thresholds

HELP = """Find the outcome and the times of a run that another program logged.

LOG is a CSV file with a header, JSON lines, an event file of TensorBoard or the folder with it, or
a file of Weights & Biases: a .wandb file, or a CSV file exported from its page. Several LOGs are
files of one run, and are joined by their step.

The log needs a step (or an epoch, or a time) and the accuracies or the losses of training and test
data. Columns are recognised by their usual names, such as step, train_loss, val/accuracy; for
other names use --column. Only rows with test values are used; for missing training values the last
earlier ones are taken. What is decided in reading is printed.

\b
Examples:
  lazyrich judge log.csv
  lazyrich judge runs/Nov29_17-31-01 --json
  lazyrich judge train.csv test.csv --report run.html --figure run.pdf --save run.nc
  lazyrich judge log.csv --column test_accuracy=probe_3 --threshold test=0.9
  lazyrich judge log.csv --column epoch=# --scale test_chance=0.1
  lazyrich judge log.csv --time-per-step 1e-3 --weight-decay 1e-2

If the test accuracy has not passed its threshold yet, 'remaining' says when it will, or why that is
not known: t half is the time of an accuracy of one half.

\b
Times are steps or epochs; with --time-per-step they are gradient-flow times. --report writes a
page with the figure and all numbers, and the figure as .pdf and .png in the same folder. --save
writes the record, which 'lazyrich report' and lr.open_record read.
Exit codes: 0 done, 1 the computation failed, 2 the input is not accepted.
"""

# Chance accuracies that are tried where the log has none: of 2, 4, 10 and 100 classes.
_CHANCES = (0.5, 0.25, 0.1, 0.01)
_FIGURES = (".pdf", ".png", ".svg")


def judge(
    log: Annotated[list[Path], typer.Argument(metavar="LOG")],
    column: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=COLUMN",
            help="The column for a quantity, or # for the number of the row; repeatable.",
        ),
    ] = None,
    run: Annotated[
        str | None, typer.Option(metavar="NAME", help="The run to read, of a log with several.")
    ] = None,
    threshold: Threshold = None,
    time_per_step: Annotated[
        float | None,
        typer.Option(
            metavar="T", help="Flow time per step: the learning rate of plain gradient descent."
        ),
    ] = None,
    weight_decay: Annotated[
        float | None, typer.Option(metavar="L", help="Weight decay, for logs with flow times.")
    ] = None,
    scale: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=NUMBER",
            help="A reference value: test_chance (largest share of one label), num_test (number "
            "of test samples), blank_loss (training loss of zero outputs), train_variance, "
            "test_variance; repeatable.",
        ),
    ] = None,
    percent: Annotated[
        bool | None, typer.Option(help="Accuracies are percents, or are not [recognised].")
    ] = None,
    report: Annotated[
        Path | None,
        typer.Option("--report", "--out", metavar="FILE.html", help="Write a page and figures."),
    ] = None,
    figure: Annotated[
        Path | None, typer.Option(metavar="FILE.pdf", help="Write the figure: .pdf, .png or .svg.")
    ] = None,
    save: Annotated[Path | None, typer.Option(metavar="FILE.nc", help="Write the record.")] = None,
    json_: Annotated[bool, typer.Option("--json", help="Print only the summary, as JSON.")] = False,
) -> None:
    """Judge a log; users see `HELP`."""
    from ..forecasts import remaining
    from ..records.logs import read_log
    from ..records.summary import summarise
    from ..records.transition import Thresholds

    thresholds = Thresholds().changed(threshold or [])
    _check_files(report, figure, save)
    found = read_log(
        log,
        columns=dict(_named(text, "--column", "test_accuracy=val_acc") for text in column or []),
        run=run,
        time_per_step=time_per_step,
        percent=percent,
        scales=dict(map(_number, scale or [])),
        weight_decay=weight_decay,
        thresholds=thresholds,
    )
    summary = summarise(found.record, thresholds)
    undecided = _undecided(found.record, thresholds)
    summary["log"] = {
        "columns": found.columns,
        "unused": list(found.unused),
        "notes": [*found.notes, *undecided],
    }
    ahead = remaining(found.record, thresholds)
    summary["remaining"] = ahead.summary()
    written = _write(found.record, report, figure, save, thresholds)
    if json_:
        print(json.dumps(summary, indent=2))
        return
    _print(summary, found, undecided)
    if ahead.t_test > ahead.now:
        times = str(ahead).replace("\n", "\n" + 17 * " ")
        print(f"remaining        {times}")
    elif ahead.verdict == "cannot_say" and summary["outcome"] != "failed":
        print(f"remaining        not known: {ahead.reasons[0]}")
    for place in written:
        print(f"written to       {place}")


def _undecided(record: "xr.Dataset", thresholds: "Thresholds") -> list[str]:
    """What the outcome does not say of a log without a chance accuracy, and what decides it."""
    from ..records.transition import transition

    events = transition(record, thresholds)
    if events.scored_by != "accuracy" or not math.isnan(events.chance):
        return []
    found, first = [], float(record["test_accuracy"][0])
    if events.outcome == "unchanged" and events.plateau_score - first >= thresholds.change:
        scores = f"{first:.3g} to {events.plateau_score:.3g}"
        found.append(f"the test accuracy rose before the fit, from {scores}")
    for chance in _CHANCES:
        outcome = transition(record.assign(test_chance=chance), thresholds).outcome
        if outcome != events.outcome:
            text = f"{outcome} if the chance accuracy is {chance:g} or less: say so by"
            return [*found, f"{text} --scale test_chance=NUMBER, the largest share of one label"]
    return found


def _check_files(report: Path | None, figure: Path | None, save: Path | None) -> None:
    """Refuses files that cannot be written, before anything is read."""
    if report is not None:
        check_page("--report", report)
    if figure is not None and not can_draw():
        raise InputError("--figure", str(figure), "a figure needs pip install 'lazyrich[view]'")
    for option, path, endings in (("--figure", figure, _FIGURES), ("--save", save, (".nc",))):
        if path is not None and path.suffix not in endings:
            raise InputError(option, str(path), f"should end in {', '.join(endings)}")
        if path is not None and not path.parent.is_dir():
            raise InputError(option, str(path), "should be in an existing folder")


def _write(
    record: "xr.Dataset",
    report: Path | None,
    figure: Path | None,
    save: Path | None,
    thresholds: "Thresholds",
) -> list[Path]:
    written = []
    if save is not None:
        from ..records.file import save_record

        save_record(record, save)
        written.append(save)
    if report is not None:
        written.append(write(record, report, None, thresholds)[0])
    if figure is not None:
        from .. import plot

        drawn = plot.run(record)
        with replacing(figure) as temporary:
            drawn.savefig(temporary, dpi=160)
        written.append(figure)
    return written


def _named(text: str, option: str, example: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals or not name or not value:
        kind = example.partition("=")[2]
        kind = "NUMBER" if kind.replace(".", "").isdecimal() else "COLUMN"
        raise InputError(option, text, f"should be NAME={kind}, such as {example}")
    return name, value


def _number(text: str) -> tuple[str, float]:
    name, value = _named(text, "--scale", "test_chance=0.1")
    try:
        return name, float(value)
    except ValueError:
        raise InputError(
            "--scale", text, "should be NAME=NUMBER, such as test_chance=0.1"
        ) from None


def apart(difference: float, units: str) -> str:
    """A difference of two times with its unit."""
    if units == "step":
        return f"{round(difference):,} steps"
    return f"{difference:.4g} epochs" if units == "epoch" else f"{difference:.4g}"


def _print(summary: dict[str, Any], log: "Log", undecided: list[str]) -> None:
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
    for line in undecided:
        print(f"                 {line}")
    print(f"next             {summary['advice']}")
    for key in ("t_train", "t_test", "t10", "t50", "t90"):
        bound = "< " if key == "t_train" and summary["t_train_is_bound"] else ""
        print(f"{key:<16} {bound}{at(summary[key])}")
    if summary["t_change"] not in (None, summary["t50"]):
        print(f"t_change         {at(summary['t_change'])}: half of the change above chance, held")
    ratio, difference = summary["delay_ratio"], summary["delay_difference"]
    if ratio is not None and difference is not None:
        least = "at least " if summary["t_train_is_bound"] else ""
        later = f"{least}{apart(difference, units)} later"
        print(f"delay            {least}{ratio:.3g} times the time of the fit; {later}")
    elif difference is not None:
        print(f"delay            {apart(difference, units)}, from the beginning on")
    if summary["t10"] and summary["t90"]:
        width = apart(summary["t90"] - summary["t10"], units)
        print(f"width            t90 is {summary['t90'] / summary['t10']:.3g} times t10; {width}")
    begin, end = summary["plateau"]
    if begin is not None:
        # Without a change nothing ends the plateau.
        score, span = summary["plateau_score"], "on" if summary["t50"] is None else f"to {at(end)}"
        print(f"plateau          {at(begin)} {span}: test score {score:.4g}")
    early, late = summary["early"], summary["late"]
    for key in late:
        before = "–" if early[key] is None else f"{early[key]:.4g}"
        after = "–" if late[key] is None else f"{late[key]:.4g}"
        print(f"{key:<16} early {before}, late {after}")
    read = ", ".join(f"{name} from {column!r}" for name, column in log.columns.items())
    print(f"read             {read}")
    for note in log.notes:
        print(f"                 {note}")

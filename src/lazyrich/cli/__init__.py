"""The command line."""

import os
import sys
import warnings
from typing import Annotated

import typer

from .._core.errors import InputError, one_line
from .cache import keep_compiled
from .explore import HELP as EXPLORE_HELP, explore
from .forecast import HELP as FORECAST_HELP, forecast
from .judge import HELP as JUDGE_HELP, judge
from .kinds import kinds_text
from .report import HELP as REPORT_HELP, report
from .reproduce import HELP as REPRODUCE_HELP, reproduce
from .run import HELP as RUN_HELP, run
from .sweep import HELP as SWEEP_HELP, consolidate, status, sweep


def _print_version(wanted: bool) -> bool:
    if wanted:
        from .. import __version__

        print(__version__)
        raise typer.Exit
    return wanted


_VERSION = typer.Option(
    "--version", help="Print the version.", is_eager=True, callback=_print_version
)

# The largest number of letters in an error message.
_MAX_LINE = 2000

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    help="A laboratory for grokking as the transition from the lazy to the rich regime.",
)
app.command(help=RUN_HELP)(run)
app.command(help=FORECAST_HELP)(forecast)
app.command(help=SWEEP_HELP)(sweep)
app.command()(status)
app.command(help=REPRODUCE_HELP)(reproduce)
app.command()(consolidate)
app.command(help=REPORT_HELP)(report)
app.command(help=JUDGE_HELP)(judge)
app.command(help=EXPLORE_HELP)(explore)


@app.callback()
def _options(version: Annotated[bool, _VERSION] = False) -> None:
    del version


@app.command("list")
def list_(
    kinds: Annotated[
        bool,
        typer.Option("--kinds", help="List every kind with its keys, and every probe, instead."),
    ] = False,
) -> None:
    """List every panel, one line each."""
    from .. import studies

    if kinds:
        print(kinds_text())
        return
    for name in studies.names():
        experiment = studies.load(name)
        task, model = type(experiment.task).__name__, type(experiment.model).__name__
        print(
            f"{name:<14} {task}, {model}, {type(experiment.loss).__name__}, "
            f"init_scale {experiment.init_scale:g}, weight_decay {experiment.weight_decay:g}, "
            f"t1 {experiment.t1:g}"
        )


def main() -> None:
    """Runs the command line; errors that a user can resolve are one line on stderr."""
    keep_compiled()
    warnings.showwarning = _warned
    try:
        app()
    except InputError as error:
        print(f"lazyrich: {error}", file=sys.stderr)
        sys.exit(2)
    except Exception as error:
        if "LAZYRICH_TRACEBACK" in os.environ:
            raise
        message = one_line(error, _MAX_LINE) or type(error).__name__
        print(f"lazyrich: {message}", file=sys.stderr)
        sys.exit(1)


def _warned(message: Warning | str, *where: object, **named: object) -> None:
    """Prints a warning of Python, such as one on a damaged file, as one line."""
    del where, named
    print(f"lazyrich: {one_line(message, _MAX_LINE)}", file=sys.stderr)

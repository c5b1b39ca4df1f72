"""`lazyrich forecast`: what is to be expected of an experiment."""

import json
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from .._core.errors import ComputationError
from .._core.terminal import interruptible
from .settings import Data, Set, Threshold, on_data, resolve, thresholds_for, worded_textbook

if TYPE_CHECKING:
    from ..experiments.experiment import Experiment
    from ..records.transition import Thresholds

HELP = """Say before any training when a run leaves the kernel regime, and into what.

EXPERIMENT is a panel's name ('lazyrich list' shows them) or a TOML file. The kernel flow is
followed to the end of the kernel phase; nothing is trained. With --solve the run itself is followed
from there on, which saves the steps before.

\b
Examples:
  lazyrich forecast lyu2024/1a
  lazyrich forecast lyu2024/3 --set init_scale=100 --json
  lazyrich forecast lyu2024/2b --samples 800
  lazyrich forecast lyu2024/1b --solve

\b
Verdicts, of a run that is long enough: grok (the test score rises long after the fit), misgrok (it
falls), immediate (no delay), none (no change, or the training data are not fitted), cannot_say (use
--solve). Beside it stands the outcome by t1, in the words of 'lazyrich run'. Keys for --set and
--threshold are those of 'lazyrich run'; 'lazyrich list --kinds' lists every kind.
Exit codes: 0 done, 1 the computation failed, 2 the input cannot be used, 130 interrupted.
"""


def forecast(
    experiment: Annotated[str, typer.Argument(metavar="EXPERIMENT")],
    set_: Set = None,
    data: Data = None,
    threshold: Threshold = None,
    samples: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            help="Take random subsets of N training samples [400 of more than 20,000 outputs].",
        ),
    ] = None,
    solve: Annotated[
        bool,
        typer.Option("--solve", help="Follow the run from the end of the kernel phase on."),
    ] = False,
    json_: Annotated[
        bool, typer.Option("--json", help="Print the forecast as JSON and nothing else.")
    ] = False,
) -> None:
    """Forecast one experiment; `HELP` is what users read."""
    described = on_data(resolve(experiment, set_ or []), data)
    thresholds = thresholds_for(experiment, threshold)
    summary = interruptible(lambda: _forecast(described, samples, solve, thresholds))
    if json_:
        print(json.dumps(summary, indent=2))
    else:
        _print_summary(summary)
    if summary["ending"] != "completed":
        accepted = "the kernel flow ended early: see the reasons; fewer samples may help"
        raise ComputationError(f"{summary['ending']}: {accepted}")


def _forecast(
    described: "Experiment", samples: int | None, solve: bool, thresholds: "Thresholds"
) -> dict[str, Any]:
    from ..forecasts import forecast

    passage: Literal["solved"] | None = "solved" if solve else None
    found = forecast(described, num_samples=samples, passage=passage, thresholds=thresholds)
    return found.summary()


def _print_summary(summary: dict[str, Any]) -> None:
    def show(value: Any) -> str:
        if isinstance(value, str):
            return value
        return "–" if value is None else f"{value:.4g}"

    foreseen = f", {summary['outcome']} by t1" if summary["outcome"] else ""
    print(f"verdict          {summary['verdict']}{foreseen} (confidence: {summary['confidence']})")
    print(f"next             {summary['advice']}")
    for key in ("t_fit", "t_kernel_end", "t50"):
        print(f"{key:<16} {show(summary[key])}")
    low, high = summary["t50_interval"]
    print(f"t50 between      {show(low)} and {show(high)}")
    print(f"(1/λ) log α      {worded_textbook(summary)}")
    for part in ("early", "late"):
        words = ", ".join(
            f"{key.replace('_', ' ')} {show(value)}" for key, value in summary[part].items()
        )
        print(f"{part:<16} {words or '–'}")
    for reason in summary["reasons"]:
        print(f"because          {reason}")
    print(f"computed         {summary['method']}")
    stages = ", ".join(f"{stage} {show(s)} s" for stage, s in summary["seconds"].items())
    print(f"time             {show(sum(summary['seconds'].values()))} s: {stages}")

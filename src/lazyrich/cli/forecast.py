"""`lazyrich forecast`: a forecast of an experiment without training."""

import json
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from .._core.errors import ComputationError, InputError
from .._core.terminal import interruptible
from .kinds import KEYS
from .settings import Data, Set, Threshold, on_data, resolve, textbook_text, thresholds_for

if TYPE_CHECKING:
    from ..experiments.experiment import Experiment
    from ..records.transition import Thresholds

HELP = f"""Forecast a run without training: when it leaves the kernel regime, and its outcome.

EXPERIMENT is a panel's name ('lazyrich list' shows them) or a TOML file. The kernel flow is solved
to the end of the kernel phase. With --solve the model is then trained from the end of the kernel
phase on, which saves the steps before. With --pilot, for optimisers with a learning rate, nothing
is taken from the kernel: the model is trained at 16 and 8 times the learning rate. For Adam and
AdamW, whose steps do not follow the gradient, nothing is computed without --pilot.

\b
Examples:
  lazyrich forecast lyu2024/1a
  lazyrich forecast lyu2024/3 --set init_scale=100 --json
  lazyrich forecast lyu2024/2b --samples 800
  lazyrich forecast lyu2024/1b --solve
  lazyrich forecast kumar2024/6b --pilot

\b
Verdicts, for a sufficiently long run: grok (the test score rises long after the fit), misgrok (the
test score falls), immediate (no delay), none (no change, or no fit of the training data),
cannot_say (use --solve or --pilot). The outcome by t1 is given as in 'lazyrich run'. A threshold is
that of 'lazyrich run'.

\b
Keys for --set:
{KEYS}

Exit codes: 0 done, 1 the computation failed, 2 the input is not accepted, 130 interrupted.
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
            help="Use random subsets of N training samples [400 for more than 20,000 outputs].",
        ),
    ] = None,
    solve: Annotated[
        bool,
        typer.Option("--solve", help="Train from the end of the kernel phase on."),
    ] = False,
    pilot: Annotated[
        bool,
        typer.Option("--pilot", help="Run it at higher learning rates, in fewer steps."),
    ] = False,
    json_: Annotated[
        bool, typer.Option("--json", help="Print only the forecast, as JSON.")
    ] = False,
) -> None:
    """Forecast one experiment; users see `HELP`."""
    if solve and pilot:
        raise InputError("--pilot", True, "excludes --solve")
    described = on_data(resolve(experiment, set_ or []), data)
    thresholds = thresholds_for(experiment, threshold)
    passage: Literal["solved", "pilot"] | None = "solved" if solve else "pilot" if pilot else None
    summary = interruptible(lambda: _forecast(described, samples, passage, thresholds))
    if json_:
        print(json.dumps(summary, indent=2))
    else:
        _print_summary(summary)
    if summary["ending"] != "completed":
        accepted = (
            "the solve of the kernel flow ended early; see the reasons. Fewer samples may help"
        )
        raise ComputationError(f"{summary['ending']}: {accepted}")


def _forecast(
    described: "Experiment",
    samples: int | None,
    passage: Literal["solved", "pilot"] | None,
    thresholds: "Thresholds",
) -> dict[str, Any]:
    from ..forecasts import forecast

    found = forecast(described, num_samples=samples, passage=passage, thresholds=thresholds)
    return found.summary()


def _print_summary(summary: dict[str, Any]) -> None:
    from ..forecasts.verdict import condition_of_t50

    def show(value: Any) -> str:
        if isinstance(value, str):
            return value
        return "–" if value is None else f"{value:.4g}"

    outcome = f", {summary['outcome']} by t1" if summary["outcome"] else ""
    print(f"verdict          {summary['verdict']}{outcome} (confidence: {summary['confidence']})")
    print(f"next             {summary['advice']}")
    for key in ("t_fit", "t_kernel_end", "t50"):
        print(f"{key:<16} {show(summary[key])}")
    low, high = summary["t50_interval"]
    condition = condition_of_t50(summary["verdict"]) if low is not None else ""
    print(f"t50 between      {show(low)} and {show(high)}{condition}")
    print(f"textbook time    {textbook_text(summary)}")
    for part in ("early", "late"):
        words = ", ".join(
            f"{key.replace('_', ' ')} {show(value)}" for key, value in summary[part].items()
        )
        print(f"{part:<16} {words or '–'}")
    for reason in summary["reasons"]:
        print(f"because          {reason}")
    print(f"computed         {summary['method']}")
    stages = ", ".join(f"{stage} {show(s)} s" for stage, s in summary["seconds"].items())
    if stages:
        print(f"time             {show(sum(summary['seconds'].values()))} s: {stages}")

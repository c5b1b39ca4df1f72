"""`lazyrich reproduce`: all panels of a study."""

import contextlib
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from .._core.errors import InputError
from .._core.terminal import sweep_progress
from .kinds import KEYS
from .settings import Data, Scheduler, Workers, can_draw, import_own

if TYPE_CHECKING:
    from ..studies import PanelResult

HELP = f"""Run all panels of a study that are not in the store yet, and compare them with the
published numbers.

STUDY is a study of the library ('lazyrich list' shows the panels), or a folder with one TOML
file for each panel; STUDY/P is only panel P. DIR receives report.html, report.md (only the
tables), report.json, one figure for each panel, and the store with every run. After an
interruption the same command continues.

\b
Examples:
  lazyrich reproduce lyu2024 --preset quick
  lazyrich reproduce lyu2024 --panel 3 --preset paper --out lyu
  lazyrich reproduce open/tightness
  lazyrich reproduce kumar2024 --panel 6a --preset paper --data mnist
  lazyrich reproduce my_study --import my_claims
  lazyrich reproduce maps --scheduler tls://10.0.0.1:8786

\b
Keys of a panel's TOML file:
{KEYS}
"""


def reproduce(
    study: Annotated[str, typer.Argument(metavar="STUDY")],
    panel: Annotated[str | None, typer.Option(metavar="P", help="Only this panel.")] = None,
    preset: Annotated[
        Literal["quick", "paper"], typer.Option(help="Reduced settings, or those of the source.")
    ] = "quick",
    out: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="The folder to write [reproduced/STUDY-PRESET]."),
    ] = None,
    data: Data = None,
    own: Annotated[
        list[str] | None,
        typer.Option(
            "--import", metavar="MODULE", help="Your module with kinds of claims or figures."
        ),
    ] = None,
    workers: Workers = None,
    scheduler: Scheduler = None,
) -> None:
    """Reproduce a study; users see `HELP`."""
    if not can_draw():
        raise InputError("study", study, "a report needs pip install 'lazyrich[view]'")
    from ..plot import write_study

    for module in own or ():
        import_own(module)

    command = ["lazyrich", "reproduce", study]
    if panel is not None:
        command += ["--panel", panel]
    command += ["--preset", preset]
    if data is not None:
        command += ["--data", str(data)]
    for module in own or ():
        command += ["--import", module]

    if panel is None and "/" in study and not Path(study).exists():
        study, _, panel = study.rpartition("/")
    title = Path(study).name
    folder = out or Path("reproduced") / f"{title}-{preset}"
    try:
        results = _results(study, title, folder / "store", panel, preset, data, workers, scheduler)
    except KeyboardInterrupt:
        words = f"finished runs are kept in {folder / 'store'}; the same command continues"
        print(f"lazyrich: interrupted: {words}", file=sys.stderr)
        raise typer.Exit(130) from None
    write_study(title, preset, results, folder, command=shlex.join(command))
    for result in results:
        _print(result)
    print(f"written to       {folder / 'report.html'}")


def _results(
    study: str,
    title: str,
    store: Path,
    panel: str | None,
    preset: Literal["quick", "paper"],
    data: Path | None,
    workers: int | None,
    scheduler: str | None,
) -> "list[PanelResult]":
    """Runs a study with progress on stderr."""
    from .._reproduce.reproduce import reproduce as run

    with contextlib.ExitStack() as stack:
        shown: dict[str, object] = {}

        def listener(name: str, progress: object) -> None:
            if name not in shown:
                stack.pop_all().close()
                shown[name] = stack.enter_context(sweep_progress(f"{title}/{name}"))
            shown[name](progress)  # type: ignore[operator]

        return run(
            study,
            store,
            panel=panel,
            preset=preset,
            data=data,
            workers=workers,
            scheduler=scheduler,
            listener=listener,
        )


def _print(result: "PanelResult") -> None:
    counts = ", ".join(f"{count} {outcome}" for outcome, count in result.outcomes.items())
    print(f"{result.name:<16} {len(result.sweep)} runs: {counts}")
    for row in result.rows:
        key = f"{row.key}, {row.where}" if row.where else row.key
        print(
            f"  {key:<22} published {row.published:<10.4g} measured {row.median:<10.4g} "
            f"ratio {row.ratio:<8.3f} {'agrees' if row.agrees else 'differs'}"
        )
    for checked in result.claims:
        print(f"  {checked.claim.text}: {checked.holds} ({checked.ours})")

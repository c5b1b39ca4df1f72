"""`lazyrich run`: one experiment."""

import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .._core.errors import ComputationError, InputError
from .._core.files import discard, replacing
from .._core.terminal import interruptible, progress
from .kinds import KEYS
from .settings import (
    Data,
    KeepParams,
    Set,
    Threshold,
    can_draw,
    kept_params,
    on_data,
    resolve,
    resolve_row,
    textbook_text,
    thresholds_for,
)
from .tracking import Track, together, trackers_of

if TYPE_CHECKING:
    import xarray as xr

    from .._run.watching import AbstractWatcher
    from ..experiments.experiment import Experiment
    from ..forecasts import Forecast
    from ..records.transition import Thresholds

HELP = f"""Run one experiment and write its record, summary, figures and report.

EXPERIMENT is a panel's name ('lazyrich list' shows them), a TOML file, or a batch file of a
store. With a batch file, --row selects a run, which is computed again exactly.

\b
Examples:
  lazyrich run lyu2024/1a
  lazyrich run lyu2024/1a --set seed=3 --set weight_decay=1e-4 --set t1=2e5
  lazyrich run kumar2024/1 --threshold loss=0.2 --threshold delay=5
  lazyrich run lyu2024/1b --set task.n=64 --set name="twice the data" --out runs/n64
  lazyrich run mine.toml --json
  lazyrich run lyu2024/1a --set task.path=data.csv --set task.label=species --set task.num_train=100
  lazyrich run runs/batches/3fa9c1d2e4b07a65-000017.nc --row 3

\b
Keys for --set:
{KEYS}

\b
Before the run, a forecast is written to forecast.json, and later drawn in the figures;
--no-forecast leaves it out. A run by Adam or AdamW, or in logarithmic time, is forecast only with
--forecast, because its times are not those of the flow.

\b
To continue a finished run to a later t1, repeat the command with --out and another --set t1=... .

\b
DIR receives record.nc (xarray opens it), experiment.toml, summary.json, report.html,
figure.pdf and figure.png. During the run, checkpoint.npz keeps the present state: after an
interruption the same command continues from it. Exit codes: 0 done, 1 the computation failed
(the results so far are kept), 2 the input is not accepted.
"""


def run(
    experiment: Annotated[str, typer.Argument(metavar="EXPERIMENT")],
    set_: Set = None,
    data: Data = None,
    threshold: Threshold = None,
    out: Annotated[
        Path | None, typer.Option(metavar="DIR", help="The folder to write [runs/NAME-HASH].")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace an existing record.")] = False,
    json_: Annotated[bool, typer.Option("--json", help="Print only summary.json.")] = False,
    forecast: Annotated[
        bool | None, typer.Option(help="Forecast the run before it begins, or do not.")
    ] = None,
    row: Annotated[
        int | None, typer.Option(min=0, metavar="N", help="The run of a batch file, from 0.")
    ] = None,
    track: Track = None,
    keep_params: KeepParams = "end",
) -> None:
    """Run one experiment; users see `HELP`."""
    again = experiment.endswith(".nc")
    batch, place = resolve_row(experiment, row) if again else ([], 0)
    described = batch[place] if again else on_data(resolve(experiment, set_ or []), data)
    thresholds = thresholds_for(experiment, threshold)
    keep = kept_params(keep_params)
    given_data = None if data is None else str(data)
    for option, value, given in (
        ("--row", row, not again),
        ("--set", set_, again),
        ("--data", given_data, again),
        ("--forecast", forecast, again and forecast is True),
    ):
        if value is not None and given:
            accepted = (
                "is for a batch file" if option == "--row" else "cannot change a finished run"
            )
            raise InputError(option, value, accepted)
    curves = None
    if not again:
        described, curves = _judged(described), _published_curves(experiment, described)
    watcher = together(trackers_of(track), thresholds) if track else None
    folder = out or Path("runs") / f"{_file_name(described.name)}-{described.content_hash[:8]}"
    before = _prepare(folder, force, None if again else described)
    summary = interruptible(
        lambda: _run(
            described, folder, batch, place, forecast, thresholds, before, curves, watcher, keep
        ),
        None if watcher is None else watcher.failed,
    )
    if json_:
        print(json.dumps(summary, indent=2))
    else:
        _print_summary(summary, folder)
    if summary["ending"] not in _GOOD_ENDINGS:
        from ..records.transition import advice_on_ending

        word = advice_on_ending(summary["ending"], summary["state"])
        word = word or f"ended by {summary['ending']}"
        raise ComputationError(f"{summary['solver']['name']} {word}")


_GOOD_ENDINGS = ("completed", "crossed", "stationary")


def _file_name(name: str) -> str:
    kept = "".join(c if c.isalnum() or c in "-_." else "-" for c in name).strip(".")
    return kept[:80] or "experiment"


# The probes that outcome and times are computed from.
_NEEDED = ("train_loss", "test_loss", "train_accuracy", "test_accuracy")


def _judged(described: "Experiment") -> "Experiment":
    """The experiment with the probes that the outcome needs."""
    missing = [name for name in _NEEDED if name not in described.probes]
    if not missing:
        return described
    words = f"also records {', '.join(missing)}, which the outcome needs"
    print(f"lazyrich: {described.name}: {words}", file=sys.stderr)
    return described.with_changes({"probes": [*described.probes, *missing]})


def _published_curves(name: str, described: "Experiment") -> dict[str, Any]:
    """The published curves of an experiment, those of a file in the folder of that file."""
    from ..studies import curves_at

    folder = Path(name).parent if name.endswith(".toml") else None
    return curves_at(described.published, described.value, folder)


def _prepare(folder: Path, force: bool, described: "Experiment | None") -> "xr.Dataset | None":
    """Checks before the computation whether its results can be kept.

    - **Returns** the existing record if the run continues it to a later `t1`.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe = folder / f".lazyrich-{os.getpid()}"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise InputError("--out", str(folder), f"should be a writable folder ({error})") from None
    if not (folder / "record.nc").exists() or force:
        return None
    from .._run.extend import check_extends
    from ..records.file import open_record

    refused = "contains a record; --force replaces it"
    if described is None:
        raise InputError("--out", str(folder), refused)
    try:
        record = open_record(folder / "record.nc")
        check_extends(record, described)
    except InputError as error:
        accepted = f"{refused}, and a later t1 continues it ({error})"
        raise InputError("--out", str(folder), accepted) from None
    return record


def _run(
    described: "Experiment",
    folder: Path,
    batch: list["Experiment"],
    place: int,
    wanted: bool | None,
    thresholds: "Thresholds",
    before: "xr.Dataset | None",
    curves: "dict[str, Any] | None",
    watcher: "AbstractWatcher | None",
    keep: "bool | int | list[float]",
) -> dict[str, Any]:
    from .._run.extend import extend
    from .._run.simulate import simulate, simulate_many
    from ..forecasts.before_run import follows_the_flow, forecast_and_simulate
    from ..records.file import save_record
    from ..records.summary import summarise
    from ..records.transition import Thresholds

    checkpoint = folder / "checkpoint.npz"
    if checkpoint.exists():
        print(f"lazyrich: {described.name}: continuing from {checkpoint}", file=sys.stderr)
    forecasts: list[Forecast] = []
    discard(folder / "forecast.json")  # the forecast of the replaced record

    def on_forecast(found: "Forecast | str") -> None:
        if isinstance(found, str):
            print(f"lazyrich: {described.name}: no forecast: {found}", file=sys.stderr)
            return
        forecasts.append(found)
        _write_json(folder / "forecast.json", found.summary())

    with progress(described.name) as listener:
        if batch:
            # The whole batch, because the last bits of a run depend on the other runs.
            record = simulate_many(batch, keep_params=keep, listener=listener)[place]
            if watcher is not None:
                watcher(record)
        elif before is not None:
            print(f"lazyrich: {described.name}: continuing from record.nc", file=sys.stderr)
            record = extend(
                before,
                described,
                described.t1,
                keep_params=keep,
                listener=listener,
                watcher=watcher,
            )
        elif follows_the_flow(described) if wanted is None else wanted:
            record = forecast_and_simulate(
                described,
                on_forecast,
                listener=listener,
                checkpoint=checkpoint,
                thresholds=thresholds,
                watcher=watcher,
                keep_params=keep,
            )
        else:
            record = simulate(
                described,
                keep_params=keep,
                listener=listener,
                checkpoint=checkpoint,
                watcher=watcher,
            )
    forecast = forecasts[0] if forecasts else None
    # The record first, because everything else can be made from it.
    if thresholds != Thresholds():
        record.attrs["thresholds"] = json.dumps(thresholds.table())
    save_record(record, folder / "record.nc")
    discard(checkpoint)
    described.save(folder / "experiment.toml")
    summary = summarise(record, thresholds)
    if "labels" in record.attrs:
        summary["labels"] = record.attrs["labels"]
    if forecast is not None:
        summary["forecast"] = forecast.summary()
    _write_json(folder / "summary.json", summary)
    if can_draw():
        from .. import plot

        figure = plot.run(record, forecast, curves=curves)
        for suffix in ("pdf", "png"):
            with replacing(folder / f"figure.{suffix}") as path:
                figure.savefig(path, dpi=160)
        page = folder / "report.html"
        plot.report(record, page, forecast, thresholds=thresholds, curves=curves)
    else:
        print("No figures or report: they need pip install 'lazyrich[view]'.", file=sys.stderr)
    return summary


def _write_json(place: Path, content: dict[str, Any]) -> None:
    with replacing(place) as path:
        path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def _print_summary(summary: dict[str, Any], folder: Path) -> None:
    from ..forecasts.verdict import condition_of_t50

    def show(value: Any) -> str:
        return "–" if value is None else f"{value:.4g}"

    if "labels" in summary:
        print(f"labels           {summary['labels']}")
    early, late, solver = summary["early"], summary["late"], summary["solver"]
    print(f"outcome          {summary['outcome']}: {summary['says']}")
    print(f"next             {summary['advice']}")
    for key in ("t_train", "t_test", "t_change", "t10", "t50", "t90"):
        bound = "< " if key == "t_train" and summary["t_train_is_bound"] else ""
        print(f"{key:<16} {bound}{show(summary[key])}")
    print(f"textbook time    {textbook_text(summary)}")
    if "forecast" in summary:
        said = summary["forecast"]
        words = f"{said['verdict']} (confidence: {said['confidence']})"
        if said["t50"] is not None:
            low, high = map(show, said["t50_interval"])
            words += f", t50 {show(said['t50'])}, from {low} to {high}"
            words += condition_of_t50(said["verdict"])
        print(f"forecast         {words}")
    for key in (
        "train_accuracy",
        "test_accuracy",
        "train_loss",
        "test_loss",
        "cosine_to_kernel",
        "cosine_to_rich",
        "distance_to_kernel",
        "distance_to_rich",
        "param_norm",
    ):
        if key in late:
            print(f"{key:<16} early {show(early[key])}, late {show(late[key])}")
    for role, row in summary["predictors"].items():
        score = "test_accuracy" if "test_accuracy" in row else "test_loss"
        words = f"{score.replace('_', ' ')} {show(row.get(score))}, gap {show(row['gap'])}"
        print(f"{role:<16} {row['label']}: {words} ({row['status']})")
    for line in summary["warnings"]:
        print(f"warning          {line}")
    print(
        f"solver           {solver['name']}: {solver['num_steps']} steps, "
        f"{solver['num_rejected']} rejected, {solver['num_gradients']} gradients, "
        f"{solver['num_jacobians']} Jacobians"
    )
    if solver["reason"]:
        print(f"                 {solver['reason']}")
    stages = ", ".join(f"{stage} {show(s)} s" for stage, s in summary["seconds"].items())
    print(f"time             {show(summary['wall_seconds'])} s: {stages}")
    for key, row in summary.get("published", {}).get("numbers", {}).items():
        print(
            f"published        {key}: {show(row['published'])}, measured {show(row['measured'])}, "
            f"ratio {show(row['ratio'])}"
        )
    print(f"written to       {folder / 'report.html'}")

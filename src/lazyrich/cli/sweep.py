"""`lazyrich sweep`, `status` and `consolidate`: many experiments."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .._core.terminal import interruptible, sweep_progress
from .kinds import KEYS
from .settings import Data, Scheduler, Set, Threshold, Workers, on_data, resolve, thresholds_for

if TYPE_CHECKING:
    from ..records.transition import Thresholds

HELP = f"""Run an experiment for every combination of values, and keep all runs in a store.

Runs that are in the store are not repeated, so the same command continues after an interruption.
Batches of runs go to worker processes, or to the workers of a dask scheduler. With --forecast the
store also keeps a forecast of every run; lr.sweep(..., forecast=True) in Python returns both.

\b
Examples:
  lazyrich sweep mine.toml --over init_scale=log:1:1000:20 --over weight_decay=log:1e-5:1e-2:20 \\
                           --over seed=range:5 --store runs
  lazyrich sweep lyu2024/3 --over init_scale=3,10,30 --over seed=0,1,2 --store runs --dry-run
  lazyrich sweep mine.toml --zip init_scale=1,10,100 --zip t1=1e3,1e4,1e5 --store runs
  lazyrich sweep mine.toml --sobol init_scale=1:1000 --sobol weight_decay=1e-5:1e-2 --num 256 \\
                           --over seed=range:3 --store s3://bucket/runs --scheduler tls://10.0.0.1:8786

\b
Values: 1,10,100   log:LOW:HIGH:COUNT   linear:LOW:HIGH:COUNT   range:COUNT

\b
Keys for --set and for axes:
{KEYS}

Exit codes: 0 done, 1 the sweep cannot continue, 2 the input is not accepted, 3 the walltime
ended before all runs were done, 130 interrupted. Finished batches are always kept.
"""


def sweep(
    experiment: Annotated[str, typer.Argument(metavar="EXPERIMENT")],
    store: Annotated[str, typer.Option(metavar="DIR", help="A folder or an fsspec URL.")],
    over: Annotated[
        list[str] | None,
        typer.Option(metavar="KEY=VALUES", help="Vary a key; repeatable, all combinations."),
    ] = None,
    zip_: Annotated[
        list[str] | None,
        typer.Option("--zip", metavar="KEY=VALUES", help="Vary keys together; repeatable."),
    ] = None,
    sobol: Annotated[
        list[str] | None,
        typer.Option(metavar="KEY=LOW:HIGH", help="Fill a box, evenly in logarithms; repeatable."),
    ] = None,
    random: Annotated[
        list[str] | None, typer.Option(metavar="KEY=LOW:HIGH", help="The same, at random.")
    ] = None,
    num: Annotated[
        int, typer.Option(min=1, help="The number of points of --sobol or --random.")
    ] = 64,
    set_: Set = None,
    data: Data = None,
    threshold: Threshold = None,
    workers: Workers = None,
    scheduler: Scheduler = None,
    batch_size: Annotated[
        int | None, typer.Option(min=1, help="The largest number of runs in a batch.")
    ] = None,
    max_running: Annotated[
        int | None,
        typer.Option(min=1, help="The largest number of batches that the scheduler has."),
    ] = None,
    walltime: Annotated[
        float | None,
        typer.Option(min=0, metavar="SECONDS", help="Start no batch that would end later."),
    ] = None,
    forecast: Annotated[
        bool,
        typer.Option("--forecast", help="Forecast every run as well, and keep the forecasts."),
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Estimate the cost from a few runs.")
    ] = False,
) -> None:
    """Run a sweep; users see `HELP`."""
    from ..forecasts.options import ForecastOptions
    from ..sweeps import Sweep, parse_axes, parse_box, random as at_random, sobol as evenly
    from ..sweeps._execution import estimate, num_kept, run_sweep, size_for, worker_pool

    varied = dict(parse_axes(over or [], zip_ or []))
    if sobol:
        varied |= evenly(parse_box("--sobol", sobol), num)
    if random:
        varied |= at_random(parse_box("--random", random), num)
    described = on_data(resolve(experiment, set_ or []), data)
    thresholds = thresholds_for(experiment, threshold)
    planned = Sweep.over(described, varied)
    size = batch_size or size_for(planned)
    planned = Sweep(experiment=described, axes=planned.axes, batch_size=size)
    if dry_run:
        print(interruptible(lambda: estimate(planned, workers)))
        return
    try:
        with sweep_progress(described.name) as listener, worker_pool(workers, scheduler) as pool:
            num_left = run_sweep(
                planned,
                store,
                pool,
                max_running=max_running,
                walltime=walltime,
                listener=listener,
                forecast=ForecastOptions(thresholds=thresholds) if forecast else None,
            )
    except KeyboardInterrupt:
        words = f"{num_kept(planned, store)} of {len(planned)} runs are kept in {store}"
        print(f"lazyrich: interrupted: {words}; the same command continues", file=sys.stderr)
        raise typer.Exit(130) from None
    _print_status(store, thresholds)
    if num_left:
        print(f"lazyrich: {num_left} runs are left; repeat the command", file=sys.stderr)
        raise typer.Exit(3)


def status(
    store: Annotated[str, typer.Argument(metavar="STORE")], threshold: Threshold = None
) -> None:
    """Show the progress of the sweeps in a store."""
    from ..records.transition import Thresholds

    _print_status(store, Thresholds().changed(threshold or []))


def consolidate(
    store: Annotated[str, typer.Argument(metavar="STORE")],
    out: Annotated[Path, typer.Argument(metavar="OUT.zarr")],
    sweep: Annotated[
        str | None, typer.Option(help="The name of the sweep, if the store has several.")
    ] = None,
) -> None:
    """Write the dataset of a sweep as a labelled Zarr store, piece by piece."""
    from ..sweeps._store import consolidate as write

    write(store, out, sweep)
    print(f"written to       {out}")


def _print_status(store: str, thresholds: "Thresholds") -> None:
    from ..records.reclassify import reclassify
    from ..records.transition import MEANINGS, OUTCOMES, Thresholds
    from ..sweeps._store import Store, open_runs, status as states

    for row in states(store):
        print(f"sweep            {row.sweep}")
        print(f"done             {row.num_done} of {row.num_runs} runs")
        counts = row.outcomes
        if thresholds != Thresholds() and row.num_done:
            # The outcomes kept with the runs use the default thresholds.
            found = reclassify(open_runs(Store(store), row.sweep), thresholds)
            words = found["outcome"].values.ravel().tolist()
            counts = {kind: words.count(kind) for kind in OUTCOMES[:-1] if kind in words}
        for outcome, count in counts.items():
            meaning = MEANINGS.get(outcome, "")
            print(f"  {outcome:<18} {count}{f' ({meaning})' if meaning else ''}")
        print(f"running          {row.num_running}")
        print(f"failed           {row.num_failed}")
        print(f"missing          {row.num_missing}")
        if row.num_forecast:
            print(f"forecasts        {row.num_forecast} of {row.num_done} finished runs")
        if row.seconds_per_run is not None:
            print(f"seconds a run    {row.seconds_per_run:.3g} on one worker")
        if row.rate is not None and row.seconds_left is not None:
            print(f"rate             {row.rate:.3g} runs a second, {row.seconds_left:.0f} s left")
        for name, how in row.damaged.items():
            print(f"damaged          {name}: {how}")

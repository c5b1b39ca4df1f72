"""Locating a boundary with few runs."""

import itertools
import os
from typing import Any, NamedTuple

import numpy as np
import xarray as xr

from .._core.errors import InputError
from ..experiments.experiment import Experiment
from ..sweeps import Over, Sweep, axes_of
from ..sweeps._execution.driver import Listener
from ..sweeps._execution.sweeping import run_sweep, silent, suggested_size
from ..sweeps._execution.workers import worker_pool
from ..sweeps._store import Store, assemble
from .refinement import Bisection, Crossings

Line = tuple[Any, ...]


class Refined(NamedTuple):
    """A boundary located with few runs.

    - `dataset`, over `run`, everything that was run, ready for
        [`boundary`][lazyrich.maps.boundary] and [`phase_diagram`][lazyrich.maps.phase_diagram].
    - `crossings`, by the values of all keys but `x`, in the order of `keys`, where on the
        lattice the outcome changes.
    - `num_runs`, and `num_lattice`, those of the full grid; `num_rounds`, of proposals.
    """

    dataset: xr.Dataset
    keys: tuple[str, ...]
    crossings: dict[Line, Crossings]
    num_runs: int
    num_lattice: int
    num_rounds: int


def refine(
    experiment: Experiment,
    over: Over,
    store: str | os.PathLike[str],
    *,
    x: str = "init_scale",
    between: tuple[Any, Any] = (("immediate", "gradual"), "grokked"),
    every: int = 10,
    workers: int | None = None,
    scheduler: Any = None,
    listener: Listener = silent,
) -> Refined:
    """Puts runs where the outcome changes, until the change lies between neighbours on a grid.

    Every line of the grid along `x` is bisected, see [`Bisection`][lazyrich.maps.Bisection]; each
    round is a sweep of its own in `store`, so the same call goes on after whatever ended it,
    and what a full grid has computed there already is not computed again.

    - **Takes** `over`, the full grid: the values of `x`, increasing and as dense as the boundary
        is to be known, and those of the other keys, such that neighbours resemble one
        another; `between`, the two outcomes, or two groups of them; `every`, the first pass's
        stride along `x`; the rest as [`sweep`][lazyrich.sweep] does.
    - **Raises** what [`sweep`][lazyrich.sweep] raises.
    """
    axes = {axis.name: [point[0] for point in axis.points] for axis in axes_of(over)}
    if x not in axes:
        raise InputError("x", x, f"should be one of {', '.join(axes)}")
    search = Bisection(tuple(axes[x]), between, every)
    keys = tuple(key for key in axes if key != x)
    lines: list[Line] = list(itertools.product(*(axes[key] for key in keys)))
    known: dict[Line, dict[Any, str]] = {line: {} for line in lines}
    size = suggested_size(experiment)
    rounds = []
    with worker_pool(workers, scheduler) as pool:
        while proposed := search.propose(known):
            points: Over = {(*keys, x): [(*line, place) for line, place in proposed]}
            planned = Sweep.over(experiment, points, size)
            run_sweep(planned, store, pool, listener=listener)
            dataset = assemble(Store(store), planned)
            rounds.append(_by_run(dataset, (*keys, x)))
            for (line, place), outcome in zip(proposed, dataset["outcome"].values, strict=True):
                known[line][place] = str(outcome)
    return Refined(
        dataset=xr.concat(rounds, "run", join="outer", combine_attrs="drop_conflicts"),
        keys=keys,
        crossings=search.located(known),
        num_runs=sum(map(len, known.values())),
        num_lattice=len(lines) * len(axes[x]),
        num_rounds=len(rounds),
    )


def _by_run(dataset: xr.Dataset, keys: tuple[str, ...]) -> xr.Dataset:
    """The same with its one dimension named `run`."""
    (dim,) = dataset["outcome"].dims
    columns = {key: ("run", np.asarray(dataset[key].values)) for key in keys}
    return dataset.drop_vars(keys).rename({dim: "run"}).assign_coords(columns)

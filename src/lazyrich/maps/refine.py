"""Boundaries located with few runs."""

import itertools
import os
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr

from .._core.errors import InputError
from .._core.given import check_function
from ..experiments.experiment import Experiment, check_experiment
from ..sweeps import Over, Sweep, axes_of
from ..sweeps._execution.driver import Listener
from ..sweeps._execution.sweeping import run_sweep, silent, suggested_size
from ..sweeps._execution.workers import worker_pool
from ..sweeps._store import Store, assemble
from .refinement import Bisection, Crossings

Line = tuple[Any, ...]


@dataclass(frozen=True, kw_only=True)
class Refined:
    """A boundary located with few runs.

    - `dataset`, all runs over `run`, for [`boundary`][lazyrich.maps.boundary] and
        [`phase_diagram`][lazyrich.maps.phase_diagram].
    - `crossings`, the places on the lattice where the outcome changes, by the values of all keys
        except `x`, in the order of `keys`.
    - `num_runs`, and `num_lattice`, the number of runs of the full grid; `num_rounds`, the number
        of proposals.
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
    """Adds runs where the outcome changes, until the change lies between neighbours of a grid.

    Every line of the grid along `x` is bisected, see [`Bisection`][lazyrich.maps.Bisection]. Each
    round is a separate sweep in `store`. The same call therefore continues after an interruption,
    and runs of a full grid in the same store are not repeated.

    - **Takes** `over`, the full grid: the values of `x`, increasing and with the spacing that the
        boundary should be known to, and values of the other keys, in an order in which neighbours
        have similar boundaries; `between`, the two outcomes, or two groups of outcomes; `every`,
        the stride of the first pass along `x`; the rest as in [`sweep`][lazyrich.sweep].
    - **Raises** what [`sweep`][lazyrich.sweep] raises.
    """
    check_experiment(experiment)
    check_function("listener", listener, "progress")
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
    """The dataset with its one dimension named `run`."""
    (dim,) = dataset["outcome"].dims
    columns = {key: ("run", np.asarray(dataset[key].values)) for key in keys}
    return dataset.drop_vars(keys).rename({dim: "run"}).assign_coords(columns)

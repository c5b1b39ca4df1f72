"""From experiments to their records."""

import contextlib
import json
import os
from collections.abc import Iterator, Sequence
from importlib.metadata import version
from typing import Any

import xarray as xr
from threadpoolctl import threadpool_limits

from .._core.errors import InputError
from .._core.precision import as_double, in_double
from .._core.terminal import progress as shown_progress
from .._integrate.checkpoint import Checkpoint
from ..experiments.experiment import Experiment
from .prepared import prepare, prepare_all
from .result import BatchResult, digest_of, machine
from .solve import Listener, Stopwatch, silently, solve_batch


def simulate(
    experiment: Experiment,
    *,
    params: Any = None,
    keep_params: bool = False,
    progress: bool = False,
    listener: Listener | None = None,
    checkpoint: str | os.PathLike[str] | None = None,
) -> xr.Dataset:
    r"""Runs an experiment and returns its record.

    - **Takes** `params`, initial parameters of your own in place of the model's; they are
        $\theta(0)$, not multiplied by `init_scale`. The record keeps
        their SHA-256 as `own_params`, beside the experiment's hash. `keep_params`, whether the
        record holds the parameters at the end, as `final_parameters`, which
        [`parameters`][lazyrich.parameters] reads and [`extend`][lazyrich.extend] goes on from.
        `progress`, whether to show on stderr how far the run is, and how long the rest will
        take; `listener`, a function that hears it in place. `checkpoint`, a file
        that keeps what the solve has reached, every ten seconds; if it is there, the run
        goes on from it, and ends in the same record as one that was never interrupted.
        It is left in place, to be removed once the record is safe.
    - **Returns** a dataset over `time` (gradient-flow time) with a variable for each probe
        that applies, and over `predictor` with what the kernel and the rich predictor
        achieve; every variable has `units` and `long_name`. Attributes hold the experiment
        as TOML, its hash, how the solve ended and what it cost. A solve that fails keeps
        what was recorded before.
    - **Raises** [`InputError`][lazyrich.InputError] for labels the loss has no meaning for,
        a model that does not fit the data, or a checkpoint of another run.
    """
    return simulate_many(
        [experiment],
        params=None if params is None else [params],
        keep_params=keep_params,
        progress=progress,
        listener=listener,
        checkpoint=checkpoint,
    )[0]


@in_double
def simulate_many(
    experiments: Sequence[Experiment],
    *,
    params: Sequence[Any] | None = None,
    keep_params: bool = False,
    progress: bool = False,
    listener: Listener | None = None,
    checkpoint: str | os.PathLike[str] | None = None,
) -> list[xr.Dataset]:
    """Runs experiments of one shape in one compiled solve and returns their records.

    Each run keeps its own clock and step sizes and ends on its own; its record agrees with
    that of [`simulate`][lazyrich.simulate] to rounding. The seconds in a record are those of
    the batch over the number of runs.

    - **Takes** experiments that differ only in `init_scale`, `weight_decay`, `t1`,
        `seed` and `numbers` of the model. With
        [`ReducedFlow`][lazyrich.dynamics.ReducedFlow] or [`Flow`][lazyrich.dynamics.Flow] they
        share a solve; with other dynamics they run one after the other. `params`, initial
        parameters for each; `checkpoint`, for one experiment only; all else as
        [`simulate`][lazyrich.simulate] takes it.
    - **Raises** [`InputError`][lazyrich.InputError] for experiments that cannot share a solve.
    """
    title = experiments[0].name if experiments else ""
    with listening(listener, progress, title) as told:
        result = simulate_batch(experiments, params=params, listener=told, checkpoint=checkpoint)
    return [result.record(i, keep_params=keep_params) for i in range(len(experiments))]


@in_double
def simulate_batch(
    experiments: Sequence[Experiment],
    *,
    params: Sequence[Any] | None = None,
    listener: Listener = silently,
    checkpoint: str | os.PathLike[str] | None = None,
) -> BatchResult:
    """What [`simulate_many`][lazyrich.simulate_many] makes records of, as whole arrays."""
    _check_batch(experiments, params, checkpoint)
    own = [None] * len(experiments) if params is None else [as_double(p, "params") for p in params]
    kept = None
    if checkpoint is not None:
        kept = Checkpoint(checkpoint, identity_of(experiments[0], own[0]))
    clock = Stopwatch(listener)
    # LAPACK's threads spin after each call and take cores from the compiled products around
    # it: the step of panel 1a takes 185 ms with them and 160 ms without, on two cores.
    with threadpool_limits(limits=1, user_api="blas"):
        clock.start("sampling data")
        if params is None:
            prepared = prepare_all(experiments)
        else:
            prepared = [prepare(e, p) for e, p in zip(experiments, own, strict=True)]
        return solve_batch(prepared, listener, kept, clock)


def _check_batch(
    experiments: Sequence[Experiment], params: Sequence[Any] | None, checkpoint: Any
) -> None:
    if not experiments:
        raise InputError("experiments", "none", "should be one or more experiments")
    given = f"a batch of {len(experiments)}"
    dynamics = experiments[0].dynamics
    if any(experiment.dynamics != dynamics for experiment in experiments):
        raise InputError("experiments", given, "runs of a batch should share their dynamics")
    if params is not None and len(params) != len(experiments):
        raise InputError(
            "params", f"{len(params)} of them", f"should be one for each run of {given}"
        )
    if checkpoint is not None and len(experiments) > 1:
        raise InputError("checkpoint", os.fspath(checkpoint), f"keeps a single run, not {given}")


@contextlib.contextmanager
def listening(listener: Listener | None, progress: bool, title: str) -> Iterator[Listener]:
    """A listener of the user's, or one that shows progress, or one that does not listen."""
    if listener is not None or not progress:
        yield listener or silently
        return
    with shown_progress(title) as shown:
        yield shown


def identity_of(experiment: Experiment, params: Any) -> str:
    """What must be the same for a run to go on where another stopped, to the last bit."""
    versions = {
        name: version(name)
        for name in ("lazyrich", "jax", "jaxlib", "diffrax", "equinox", "optax", "numpy")
    }
    probes = [probe.name for probe in experiment.probe_modules]
    parts = [experiment.content_hash, digest_of(params), probes, versions, machine()]
    return json.dumps(parts)

"""Many experiments at once, and what they share done once."""

from collections.abc import Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from jaxtyping import Array, Bool, Int
from threadpoolctl import threadpool_limits

from .._core.errors import InputError
from .._core.precision import in_double
from .._integrate.lanes import Lanes, unlike
from ..dynamics import Flow, Problem, ReducedFlow
from ..dynamics.diagonal.reduction import Replay
from ..experiments.experiment import Experiment
from ..models import DiagonalLinear, DiagonalParams
from ..predictors.constraints import KKTSystem, Limits
from ..predictors.kkt import kkt_multipliers, kkt_residual, kkt_system
from ..probes import AbstractProbe, Labels, Setting
from .measure import evaluate_all, probe_along, rms, weights_along
from .prepared import Ground, grounds_of
from .results import KKT, SCALES, Outcome, Stacked, long_names
from .simulate import Listener, Run, Stopwatch, follow_alone, grids, replayed, silently

# Test data of a batch that may be held; beyond, they are drawn again for every run.
_TEST_BYTES = 2**28


@in_double
def simulate_many(
    experiments: Sequence[Experiment],
    *,
    listener: Listener = silently,
) -> list[xr.Dataset]:
    """Runs experiments of one shape in one compiled solve and returns their records.

    Each run keeps its own clock and step sizes and ends on its own; its record agrees with
    that of [`simulate`][lazyrich.simulate] to rounding. The seconds in a record are those of
    the batch over the number of runs.

    - **Takes** experiments that differ in `init_scale`, `weight_decay`, `t1`,
        `seed` and `numbers` of the model alone. With
        [`ReducedFlow`][lazyrich.dynamics.ReducedFlow] or [`Flow`][lazyrich.dynamics.Flow] they
        share a solve; with other dynamics they run one after the other.
    - **Raises** [`InputError`][lazyrich.InputError] for experiments that cannot share a solve.
    """
    stacked = simulate_stacked(experiments, listener=listener)
    return [stacked.record(experiment, i) for i, experiment in enumerate(experiments)]


@in_double
def simulate_stacked(
    experiments: Sequence[Experiment], *, listener: Listener = silently
) -> Stacked:
    """What [`simulate_many`][lazyrich.simulate_many] makes records of, as whole arrays."""
    if not experiments:
        raise InputError("experiments", "none", "should be one or more experiments")
    dynamics = experiments[0].dynamics
    if any(experiment.dynamics != dynamics for experiment in experiments):
        accepted = "runs of a batch should share their dynamics"
        raise InputError("experiments", f"a batch of {len(experiments)}", accepted)
    with threadpool_limits(limits=1, user_api="blas"):
        if isinstance(dynamics, ReducedFlow):
            return _follow_reduced(experiments, dynamics, listener)
        if isinstance(dynamics, Flow):
            return Stacked.of(_follow_flows(experiments, dynamics, listener))
        return Stacked.of([follow_alone(e, None, listener, None) for e in experiments])


def _follow_flows(
    experiments: Sequence[Experiment], dynamics: Flow, listener: Listener
) -> list[Outcome]:
    clock = Stopwatch(listener)
    clock.start("sampling data")
    grounds = grounds_of(experiments)
    clock.start("computing predictors")
    problems = [g.problem_of(e) for g, e in zip(grounds, experiments, strict=True)]
    each = zip(experiments, grounds, grids(experiments, problems), strict=True)
    runs = [Run(e, ground=ground, times=times) for e, ground, times in each]
    observers = [run.observer() for run in runs]
    clock.start("solving the flow")
    trajectories = dynamics.follow_together(
        [run.problem for run in runs],
        [run.times for run in runs],
        _told(listener, len(runs)),
        observers,
    )
    clock.start("measuring")
    outcomes = [
        run.outcome(trajectory, trajectory.observed, trajectory.final)
        for run, trajectory in zip(runs, trajectories, strict=True)
    ]
    clock.stop()
    outcomes[0] = outcomes[0]._replace(seconds=clock.seconds)
    return outcomes


def _told(listener: Listener, num_runs: int) -> Any:
    def progress(num_ended: int, num_steps: int) -> None:
        detail = f"{num_ended} of {num_runs}, {num_steps} steps"
        listener("solving the flow", num_ended / num_runs, detail)

    return progress


def _follow_reduced(
    experiments: Sequence[Experiment], dynamics: ReducedFlow, listener: Listener
) -> Stacked:
    clock = Stopwatch(listener)
    clock.start("sampling data")
    grounds = grounds_of(experiments)
    problems = [g.problem_of(e) for g, e in zip(grounds, experiments, strict=True)]
    times = grids(experiments, problems)
    clock.start("computing predictors")
    for ground in grounds:
        assert ground.predictors is not None
    for place in {id(ground): i for i, ground in enumerate(grounds)}.values():
        Run(experiments[place], ground=grounds[place], times=times[place]).check()
    clock.start("solving the flow")
    solved = dynamics.follow_all(problems, times, _told(listener, len(experiments)))
    clock.start("measuring")
    distinct = {id(ground): ground for ground in grounds}
    if sum(ground.test_bytes for ground in distinct.values()) > _TEST_BYTES:
        each = zip(experiments, grounds, times, strict=True)
        runs = [Run(e, ground=ground, times=grid) for e, ground, grid in each]
        outcomes = [replayed(run, solved.one(i), listener) for i, run in enumerate(runs)]
        clock.stop()
        outcomes[0] = outcomes[0]._replace(seconds=clock.seconds)
        return Stacked.of(outcomes)
    numbered = {key: place for place, key in enumerate(distinct)}
    index = np.array([numbered[id(ground)] for ground in grounds])
    rows, probes = _rows(experiments, problems, list(distinct.values()), index, solved.replay)
    states = jax.tree.map(np.nan_to_num, solved.states)
    values, systems = rows.call(_measure, solved.times, states)
    recorded = np.isfinite(solved.times)
    kkt: dict[str, np.ndarray] = {}
    if systems is not None:
        clock.start("KKT residuals")
        pairs = zip(np.asarray(systems.matrix), np.asarray(systems.linear), strict=True)
        mu = np.stack([kkt_multipliers(matrix, linear) for matrix, linear in pairs])
        found = rows.call(_residuals, solved.times, states, mu)
        kkt = dict(zip(KKT, map(np.asarray, found), strict=True))
    clock.stop()
    tables = [ground.table for ground in distinct.values()]
    return Stacked(
        times=solved.times,
        values={p.name: _where(recorded, values[p.name]) for p in probes},
        roles=tuple(grounds[0].predictors),
        table={key: np.stack([t[key][1] for t in tables])[index] for key in tables[0]},
        kkt=kkt,
        scales={
            **{name: np.array([ground.scales[name] for ground in grounds]) for name in SCALES},
            "init_rms": np.array([rms(problem.params) for problem in problems]),
        },
        endings=solved.endings,
        efforts=solved.efforts,
        seconds=clock.seconds,
        long_names=long_names(probes, tables[0]),
        units={probe.name: probe.units for probe in probes},
        own_params=[""] * len(experiments),
        against={probe.name: probe.against for probe in probes if probe.against},
        dims={probe.name: probe.dims for probe in probes},
        loss_floors=[dynamics.loss_floor(problem) for problem in problems],
    )


def _where(recorded: Bool[np.ndarray, "r t"], values: Any) -> np.ndarray:
    """Values at the records that there are, NaN elsewhere."""
    whole = np.asarray(values)
    return np.where(recorded.reshape(*recorded.shape, *[1] * (whole.ndim - 2)), whole, np.nan)


class _Row(eqx.Module):
    """A run to measure; what hangs on its ground alone has a leading axis over grounds."""

    replay: Replay
    ground: Any  # its place among them
    params: Any
    init_scale: Any
    weight_decay: Any
    x_test: Any
    y_test: Any
    kernel: Any
    rich: Any
    probes: tuple[AbstractProbe, ...]
    model: DiagonalLinear = eqx.field(static=True)
    labels: Labels = eqx.field(static=True)

    @property
    def setting(self) -> Setting:
        system = self.replay.system
        return Setting(
            y_train=system.y,
            y_test=self.y_test[self.ground],
            params=self.params,
            init_scale=self.init_scale,
            weight_decay=self.weight_decay,
            kernel=None if self.kernel is None else self.kernel[self.ground],
            rich=None if self.rich is None else self.rich[self.ground],
            model=self.model,
            loss=system.loss,
            labels=self.labels,
            x_train=system.x,
        )

    def final(self, times: Array, states: Any) -> DiagonalParams:
        """The parameters at the last record."""
        last = jnp.sum(jnp.isfinite(times)) - 1
        return self.replay(times[last], jax.tree.map(lambda a: a[last], states))


def _rows(
    experiments: Sequence[Experiment],
    problems: Sequence[Problem],
    grounds: Sequence[Ground],
    index: Int[np.ndarray, " r"],
    replay: Lanes,
) -> tuple[Lanes, tuple[AbstractProbe, ...]]:
    """Every run with what is asked of it, and the probes that apply."""
    first, model = grounds[0].setting, grounds[0].problem.model
    assert isinstance(model, DiagonalLinear)  # the solve has made sure
    alike = all(e.probes == experiments[0].probes for e in experiments)
    if not alike or any(ground.setting.labels != first.labels for ground in grounds):
        raise unlike(len(experiments))
    probes = tuple(p for p in experiments[0].probe_modules if p.applies(first))

    def over_grounds(leaves: Sequence[Any]) -> Any:
        return None if leaves[0] is None else np.stack([np.asarray(leaf) for leaf in leaves])

    together = _Row(
        replay=replay.together,
        ground=index,
        params=jax.tree.map(lambda *p: np.stack(p), *(problem.params for problem in problems)),
        init_scale=np.array([e.init_scale for e in experiments]),
        weight_decay=np.array([e.weight_decay for e in experiments]),
        x_test=over_grounds([ground.test.x for ground in grounds]),
        y_test=over_grounds([ground.test.y for ground in grounds]),
        kernel=over_grounds([ground.setting.kernel for ground in grounds]),
        rich=over_grounds([ground.setting.rich for ground in grounds]),
        probes=probes,
        model=model,
        labels=first.labels,
    )
    one = eqx.tree_at(
        lambda row: (row.replay, row.ground, row.params, row.init_scale, row.weight_decay),
        together,
        (
            replay.take(0).together,
            index[0],
            problems[0].params,
            together.init_scale[0],
            together.weight_decay[0],
        ),
    )
    return Lanes.spread(one, together), probes


def _measure(row: _Row, times: Array, states: Any) -> tuple[dict[str, Array], KKTSystem | None]:
    """Every probe at every time, and what the multipliers at the end solve."""
    system, setting = row.replay.system, row.setting
    x_test = row.x_test[row.ground]
    weights = weights_along(row.model, row.replay, times, states)
    f_train = evaluate_all(row.model, weights, system.x)
    f_test = evaluate_all(row.model, weights, x_test)
    along = (times, states, weights, f_train, f_test)
    values = probe_along(setting, row.replay, along, row.probes)
    if row.labels != "signs":
        return values, None
    limits = Limits(len(system.y), np.inf)
    return values, kkt_system(row.model, row.final(times, states), system.x, system.y, limits)


def _residuals(row: _Row, times: Array, states: Any, mu: Array) -> tuple[Array, Array]:
    system, limits = row.replay.system, Limits(len(mu), np.inf)
    return kkt_residual(row.model, row.final(times, states), system.x, system.y, limits, mu)

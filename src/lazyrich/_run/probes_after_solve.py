"""Probes of runs of linear models, computed after the solve from its states."""

from collections.abc import Callable, Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Shaped

from .._integrate.lanes import Lanes
from ..dynamics import Trajectory
from ..models import AbstractLinearModel
from ..probes import AbstractProbe, RunContext, RunState
from .achieved import HeldOut
from .context import ProbedRun, probed
from .data import MOST_HELD
from .prepared import PreparedProblem
from .weights import BATCH, evaluate_all, weights_along


class _Solved(eqx.Module):
    """A solved run. `x_test` is None if outputs on test data are known."""

    params_at: Callable[[Any, Any], Any]
    context: RunContext
    x_train: Shaped[Array, "n d"]
    x_test: Shaped[Array, "m d"] | None
    probes: tuple[AbstractProbe, ...]
    begin: Float[Array, ""]


def measure_after(
    prepared: Sequence[PreparedProblem],
    trajectories: Sequence[Trajectory],
    progress: Callable[[float], None],
    known_runs: Sequence[ProbedRun] = (),
) -> tuple[list[ProbedRun], list[dict[str, np.ndarray]]]:
    """Contexts of the runs of a batch, and values of their probes by name, `(t, ...)`.

    - **Takes** `known_runs`, the contexts if they are known from an earlier call.

    If the test data fit in memory, all runs are measured in one compiled call. Otherwise test data
    are processed in blocks, which are drawn again for every run.
    """
    if fits_in_memory(prepared):
        runs = [*known_runs] or [probed(each, each.data.held_out.y) for each in prepared]
        inputs = [each.data.test.x for each in prepared]
        return runs, _measured(prepared, trajectories, runs, inputs, [None, None])
    runs, values = [*known_runs], []
    for place, (each, trajectory) in enumerate(zip(prepared, trajectories, strict=True)):
        weights, f_test = _pass_over_test(each, trajectory, progress)
        if not known_runs:
            runs.append(probed(each, each.data.held_out.y))
        known = [weights[None], f_test[None]]
        values += _measured([each], [trajectory], [runs[place]], [None], known)
    return runs, values


def fits_in_memory(prepared: Sequence[PreparedProblem]) -> bool:
    """Whether the test data of all runs are held in memory at once."""
    distinct = {id(each.data): each.data for each in prepared}
    return sum(data.num_test_bytes for data in distinct.values()) <= MOST_HELD


def _measured(
    prepared: Sequence[PreparedProblem],
    trajectories: Sequence[Trajectory],
    runs: Sequence[ProbedRun],
    inputs: Sequence[Any],
    known: Sequence[Any],
) -> list[dict[str, np.ndarray]]:
    lanes = Lanes.of(
        [
            _Solved(
                solved.params_at,
                run.context,
                each.problem.train.x,
                x_test,
                run.probes,
                jnp.asarray(each.begin),
            )
            for each, solved, run, x_test in zip(prepared, trajectories, runs, inputs, strict=True)
        ]
    )
    num = max(len(solved.times) for solved in trajectories)

    def padded(leaves: Sequence[Any]) -> np.ndarray:
        # Padded with the last record, because a state of zeros may have no parameters.
        rows = [np.asarray(leaf) for leaf in leaves]
        return np.stack([np.concatenate([r, np.repeat(r[-1:], num - len(r), 0)]) for r in rows])

    times = padded([solved.times for solved in trajectories])
    states = jax.tree.map(lambda *leaves: padded(leaves), *(s.states for s in trajectories))
    found = lanes.call(_measure, times, states, *known)
    return [
        {name: np.asarray(values[place, : len(solved.times)]) for name, values in found.items()}
        for place, solved in enumerate(trajectories)
    ]


def _measure(
    run: _Solved,
    times: Float[Array, " t"],
    states: Any,
    weights: Float[Array, "t ..."] | None,
    f_test: Float[Array, "t m"] | None,
) -> dict[str, Array]:
    """The values of every probe at every time."""
    model = run.context.model
    assert isinstance(model, AbstractLinearModel)  # only dynamics of linear models keep states
    if weights is None:
        assert run.x_test is not None
        weights = weights_along(model, run.params_at, times, states)
        f_test = evaluate_all(model, weights, run.x_test)
    f_train = evaluate_all(model, weights, run.x_train)

    def at(parts: tuple[Any, ...]) -> dict[str, Array]:
        time, state, weights, f_train, f_test = parts
        params = run.params_at(time, state)
        now = RunState(time + run.begin, params, weights, f_train, f_test)
        return {probe.name: probe(now, run.context) for probe in run.probes}

    along = (times, states, weights, f_train, f_test)
    return jax.lax.map(at, along, batch_size=BATCH)


def _pass_over_test(
    prepared: PreparedProblem, trajectory: Trajectory, progress: Callable[[float], None]
) -> tuple[Float[Array, "t ..."], Float[Array, "t m"]]:
    """Weights along a run and their outputs on test data. Predictor outputs are kept in the data.

    Each block is processed for all times at once. The test data of panel 1b would take 8 GB, and
    drawing them takes half of the time of this panel.
    """
    model, data = prepared.problem.model, prepared.data
    assert isinstance(model, AbstractLinearModel)  # only dynamics of linear models keep states
    times = jnp.asarray(trajectory.times)
    weights = weights_along(model, trajectory.params_at, times, trajectory.states)
    predictors = [jnp.asarray(p.weights)[None] for p in data.predictors.values()]
    every = jnp.concatenate([weights, *predictors])
    f, y, test = [], [], data.split.test
    for done, block in enumerate(test):
        progress(done / test.num_blocks)
        f.append(evaluate_all(model, every, block.x))
        y.append(block.y)
    outputs = jnp.concatenate(f, axis=1)
    data.remember(HeldOut(jnp.concatenate(y), outputs[len(weights) :]))
    return weights, outputs[: len(weights)]

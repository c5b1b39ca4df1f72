"""The context that a run gives to its probes."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Shaped

from ..probes import BUILT_IN, AbstractProbe, RunContext, follows_twin, twin_of
from .prepared import PreparedProblem
from .probes_in_solve import Observer, check_probes


@dataclasses.dataclass(frozen=True)
class ProbedRun:
    """The context of a run, and the probes of its experiment that apply."""

    context: RunContext
    probes: tuple[AbstractProbe, ...]


def probed(
    prepared: PreparedProblem,
    y_test: Shaped[Array, " m *c"],
    x_test: Shaped[Array, "m d"] | None = None,
) -> ProbedRun:
    """The context of a run, and the probes that apply.

    - **Takes** test data. If they do not fit in memory, `x_test` is left out, and there is no
        linearised twin.
    """
    experiment, problem = prepared.experiment, prepared.problem
    predictors = prepared.data.predictors

    def weights(role: str) -> Array | None:
        return jnp.asarray(predictors[role].weights) if role in predictors else None

    context = RunContext(
        y_train=problem.train.y,
        y_test=y_test,
        params=problem.params,
        init_scale=jnp.asarray(experiment.init_scale),
        weight_decay=jnp.asarray(experiment.weight_decay),
        kernel=weights("kernel"),
        rich=weights("rich"),
        # Numbers of the model are arrays, so that they are not constants of the compilation.
        model=jax.tree.map(jnp.asarray, problem.model),
        loss=experiment.loss,
        labels=experiment.loss.meaning(problem.train.y, y_test),
        loss_divisor=jnp.asarray(problem.loss_divisor),
        teacher=prepared.data.teacher(problem),
    )
    probes, x_train = experiment.probe_modules, problem.train.x
    if any(probe.needs_inputs for probe in probes):
        context = dataclasses.replace(context, x_train=x_train)
    if any(p.needs_twin for p in probes) and x_test is not None and follows_twin(context):
        twin = twin_of(context.model, problem.params, x_train, problem.train.y, x_test)
        context = dataclasses.replace(context, twin=twin)
    forceless = experiment.dynamics.is_small_decay_limit
    known = [probe for probe in probes if not (forceless and probe.needs_forces)]
    if not experiment.dynamics.ends_in_balance:
        known = [probe for probe in known if not probe.needs_balance]
    return ProbedRun(context, tuple(probe for probe in known if probe.applies(context)))


def observer_of(
    prepared: PreparedProblem, x_test: Shaped[Array, "m d"], run: ProbedRun
) -> Observer:
    """The function that computes the probes of a run inside a solver."""
    begin: Any = 0.0 if prepared.begin == 0 else jnp.asarray(prepared.begin)
    x_train, x_test = prepared.precision.cast((prepared.problem.train.x, x_test))
    return Observer(run.context, x_train, x_test, run.probes, begin)


def check_own_probes(prepared: PreparedProblem, num_records: int) -> None:
    """Evaluates probes of the user on a block of test data.

    - **Raises** [`InputError`][lazyrich.InputError] if a probe fails.
    """
    if all(probe in BUILT_IN for probe in prepared.experiment.probes):
        return
    block = next(iter(prepared.data.split.test))
    observer = observer_of(prepared, block.x, probed(prepared, block.y, block.x))
    check_probes(observer, prepared.to_solve.params, num_records)

"""The transition, solved from the end of the kernel phase on."""

import dataclasses
import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from .._run.prepared import PreparedProblem
from .._run.solve import solve_batch
from ..dynamics import Flow
from ..dynamics.diagonal.reduction import reduce
from ..models import AbstractLinearModel
from ..records.transition import Thresholds, Transition
from .course import Course
from .kernel import pull
from .phase import KernelPhase
from .verdict import Reason

# The solve begins when the kernel has changed by 5 % along the dual. The error of the expansion is
# about as large there, and the steps before that time are saved. Where the indicator grows slowly
# in log t, such an error is a large error of the time. A diagonal net is then solved from an
# earlier time on. For other nets an earlier begin is not measured.
_LOG_BEGIN, _LOG_EARLY, _SLOW = math.log(0.05), math.log(5e-4), 0.7


@dataclasses.dataclass(frozen=True)
class SolvedTransition:
    """A solve of the run from the parameters of the kernel flow at time `begin`.

    - `course`, the kernel flow up to `begin` and the solve after it; `events`, its transition.
    - `late`, the last value of every curve; `num_steps`, `num_gradients`, the cost of the solve.
    """

    begin: float
    course: Course
    events: Transition
    late: dict[str, float]
    num_steps: int
    num_gradients: int

    def interval(self, error: float) -> tuple[float, float]:
        """The interval of $t_{50}$, correct for eight runs in ten.

        - **Takes** `error`, the error of $\\log t_{50}$.
        """
        t50 = self.events.t50
        return t50 * math.exp(-error), t50 * math.exp(error)

    @property
    def reason(self) -> Reason:
        """The reason that says so in the forecast."""
        text = f"the run is solved from t = {self.begin:.4g} on ({self.num_steps} steps"
        # A solver defined by the user does not count gradients.
        gradients = f", {self.num_gradients} gradients" if self.num_gradients else ""
        return Reason(0, f"{text}{gradients}); the outcome is {self.events.outcome}")


def params_at(phase: KernelPhase, index: int) -> Any:
    """The parameters of the kernel flow at the time with number `index`.

    For a diagonal net the parameters are an exact function of the dual, see the
    [reduction](../../explanation/reduction.md). Only the dual is that of the kernel flow.
    """
    problem, flow = phase.problem, phase.flow
    time, model = phase.times[index], problem.model
    v = jnp.asarray(phase.solved.duals[index])
    grown = jnp.where(flow.has_degree, jnp.exp(flow.loss_rate * time), 1.0)
    if model.diagonal_depth is not None:
        system = reduce(problem, problem.params)
        return system.params(system.clock(jnp.asarray(time)), grown * v)
    left = jnp.exp(-flow.weight_decay * time)
    # Parameters without decay stay as they are.
    phi = pull(model, problem.params, problem.train.x, v)
    shrink = jnp.where(flow.has_degree, left * grown, 1.0)
    decayed = model.decayed(problem.params)
    return jax.tree.map(
        lambda p, d, f: p + jnp.expm1(-flow.weight_decay * time) * d + shrink * f,
        problem.params,
        decayed,
        phi,
    )


def _begin(phase: KernelPhase) -> float:
    """The time at which the solve begins; NaN if the indicator is small up to the horizon."""
    begin, doubled = (phase.clock.when(_LOG_BEGIN + more) for more in (0.0, math.log(2)))
    if phase.problem.model.diagonal_depth is None or not begin > 0:
        return begin
    slope = math.log(doubled / begin) / math.log(2)
    early = phase.clock.when(_LOG_EARLY) if slope > _SLOW else begin
    return early if early > 0 else begin


def solve_transition(
    prepared: PreparedProblem,
    phase: KernelPhase,
    flow: Course,
    thresholds: Thresholds,
    max_test: int,
) -> SolvedTransition | None:
    """Solves a prepared problem from the end of the kernel phase to its horizon.

    Returns None if the kernel phase does not end before the horizon.

    - **Takes** `flow`, the course of the kernel flow.
    """
    experiment, data = prepared.experiment, prepared.data
    begin = _begin(phase)
    if math.isnan(phase.t_end) or not 0 < begin < experiment.t1:
        return None
    index = int(np.searchsorted(phase.times, begin))
    begin = float(phase.times[index])
    rest = experiment.t1 - begin
    if rest <= 0 or index + 1 == len(phase.times):
        return None
    times = experiment.times.model_copy(update={"first": min(0.01 * begin, 0.1 * rest)})
    if isinstance(experiment.model, AbstractLinearModel):
        # With 100,000 inputs one pass over all test data costs more than the solve.
        data = data.with_few_tests(max_test)
    changed = experiment.model_copy(
        update={
            "t1": rest,
            "times": times,
            "probes": tuple(flow.curves),
            "dynamics": experiment.dynamics.as_flow() or Flow(),
            "precision": "float64",
        }
    )
    problem = dataclasses.replace(prepared.problem, params=params_at(phase, index))
    result = solve_batch([PreparedProblem(changed, problem, data)])
    later, curves = result.recorded(0), result.curves(0)
    joined = {
        name: np.concatenate([values[: index + 1], curves[name][1:]])
        for name, values in flow.curves.items()
    }
    every = np.concatenate([phase.times[: index + 1], begin + later[1:]])
    course = Course(every, joined, flow.scales)
    effort = result.efforts[0]
    return SolvedTransition(
        begin,
        course,
        course.events(thresholds, result.endings[0]),
        {name: float(values[-1]) for name, values in joined.items()},
        effort.num_steps + effort.num_rejected,
        effort.num_gradients,
    )

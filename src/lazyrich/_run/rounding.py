"""Whether errors spoil a run: rounded outputs in float32, and losses of flows that rise."""

from collections.abc import Mapping, Sequence
from typing import Any

import equinox as eqx
import numpy as np
from jaxtyping import Array, Shaped

from .._core.errors import InputError
from .._core.norms import rms
from .._core.precision import doubled
from ..dynamics import Trajectory
from ..models import AbstractModel
from ..models._outputs import outputs_of
from .prepared import PreparedProblem


def check_start(prepared: PreparedProblem) -> None:
    """Refuses a run whose outputs at the start have too large a rounding error.

    - **Raises** [`InputError`][lazyrich.InputError] if the error exceeds the `output_error` of the
        dynamics, if an output overflows, or if the model returns another type than it gets.
    """
    problem = prepared.to_solve
    outputs_of(problem.model, problem.params, problem.train.x)
    start = prepared.problem.params if prepared.reached is None else prepared.reached
    error, allowed = rounding_error(prepared, start), prepared.experiment.dynamics.output_error
    if not error <= allowed:
        accepted = (
            f"rounds the outputs at the start with a relative error of {error:.1g}, and at most "
            f"{allowed:g} is accurate: use float64, or a smaller init_scale or output_scale"
        )
        raise InputError("precision", prepared.experiment.precision, accepted)


def checked_ends(
    prepared: Sequence[PreparedProblem], trajectories: Sequence[Trajectory]
) -> list[Trajectory]:
    """The trajectories, with the ending `imprecise` where rounding has spoiled the outputs."""
    return [
        trajectory.ended("imprecise") if _is_spoiled(each, trajectory) else trajectory
        for each, trajectory in zip(prepared, trajectories, strict=True)
    ]


def _is_spoiled(prepared: PreparedProblem, trajectory: Trajectory) -> bool:
    error = rounding_error(prepared, trajectory.final)
    return trajectory.is_whole and not error <= prepared.experiment.dynamics.output_error


# A rise of the loss by more than _RISEN units is an error. The unit is the loss of zero outputs, or
# the first loss if that is larger and the loss never fell below _FITTED of that of zero outputs.
_RISEN, _FITTED = 1e-2, 1e-6
# Up to this value of lambda t decay has not acted, and a flow cannot raise its loss.
_UNDECAYED = 1e-3
# Endings of runs that stopped early and claim to be right up to there.
_STOPPED = frozenset(
    {"max_steps", "max_gradients", "max_seconds", "too_stiff", "chattering", "step_underflow"}
)


def risen_ends(
    prepared: Sequence[PreparedProblem],
    trajectories: Sequence[Trajectory],
    values: Sequence[Mapping[str, np.ndarray]],
) -> list[Trajectory]:
    """The trajectories, with the ending `imprecise` where the loss of a flow rises without decay.

    A gradient flow lowers its loss. Where the data are fitted, the gradient is zero up to rounding;
    over a time of more than about 1e16 units the rounding moves the parameters. Before the fit, a
    step whose error is larger than its estimate can raise the loss, as where units of tanh become
    steps.
    """
    return [
        trajectory.ended("imprecise") if _rises(each, trajectory, found) else trajectory
        for each, trajectory, found in zip(prepared, trajectories, values, strict=True)
    ]


def _rises(
    prepared: PreparedProblem, trajectory: Trajectory, values: Mapping[str, np.ndarray]
) -> bool:
    experiment, loss = prepared.experiment, values.get("train_loss")
    if experiment.dynamics.as_flow() is None or loss is None or not len(loss):
        return False
    if not (trajectory.is_whole or trajectory.ending in _STOPPED):  # a failure keeps its name
        return False
    decayed = experiment.weight_decay * float(trajectory.times[-1])
    blank = prepared.data.scales["blank_loss"]
    risen = np.max(loss - np.minimum.accumulate(loss))
    unit = blank if np.min(loss) < _FITTED * blank else max(blank, loss[0])
    return bool(decayed < _UNDECAYED and risen > _RISEN * unit)


def rounding_error(prepared: PreparedProblem, params: Any) -> float:
    """The error of the training outputs in the precision of the run, against float64.

    It is the root mean square of the error over the unit of outputs plus their root mean square.
    Not-a-number if an output is not finite.

    - **Takes** `params`. Those that the run cannot represent are rounded.
    """
    problem, precision = prepared.problem, prepared.precision
    exact = doubled((problem.model, params, problem.train.x))
    with precision.context():
        right, found = doubled((_outputs(*exact), _outputs(*precision.cast(exact))))
    unit = problem.loss.typical_output(problem.outputs, problem.train.y)
    return float(rms(found - right) / (unit + rms(right)))


@eqx.filter_jit
def _outputs(model: AbstractModel, params: Any, x: Shaped[Array, "n d"]) -> Array:
    return model.apply(params, x)

"""What dynamics take and return."""

import abc
from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import equinox as eqx
import numpy as np
from jaxtyping import Float

from .._description import Choice
from .._losses import AbstractLoss
from .._models import AbstractModel
from .._tasks import Samples


class Problem(eqx.Module):
    r"""The flow $\dot\theta = -\nabla \mathcal L(\theta) - \lambda\theta$ to follow from `params`.

    `params` is $\theta(0)$, `init_scale` included.
    """

    train: Samples
    params: Any
    model: AbstractModel = eqx.field(static=True)
    loss: AbstractLoss = eqx.field(static=True)
    weight_decay: float = eqx.field(static=True)


Ending = Literal["completed", "max_steps", "step_underflow", "diverged"]


class Effort(NamedTuple):
    """What a solve cost. `num_gradients` counts right-hand sides over the whole data."""

    name: str
    num_steps: int
    num_rejected: int
    num_gradients: int
    num_jacobians: int


class Trajectory(eqx.Module):
    """States at the recorded times; `params_at(time, state)` gives the parameters.

    A solve that failed ends early: `times` holds what was reached, `ending` says why.
    """

    times: Float[np.ndarray, " t"]
    states: Any
    params_at: Callable[[Any, Any], Any]
    ending: Ending = eqx.field(static=True)
    effort: Effort = eqx.field(static=True)


class AbstractDynamics(Choice):
    """How parameters move."""

    @abc.abstractmethod
    def follow(
        self, problem: Problem, times: Float[np.ndarray, " t"], progress: Callable[[float], None]
    ) -> Trajectory:
        """Follows `problem` from time 0 and keeps the states at `times`, increasing.

        `progress` is told the simulated time now and then.
        """

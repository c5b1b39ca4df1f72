"""What dynamics take and return."""

import abc
import dataclasses
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import equinox as eqx
import jax
import numpy as np
from jaxtyping import Array, Float, Shaped

from .._core.description import Choice
from .._integrate.checkpoint import Checkpoint
from .._integrate.status import Ending
from ..losses import AbstractLoss
from ..models import AbstractModel
from ..tasks import Samples


class Problem(eqx.Module):
    r"""The flow $\dot\theta = -\nabla \mathcal L(\theta) - \lambda\theta$ to follow from `params`.

    `params` is $\theta(0)$, `init_scale` included. $\mathcal L$ is the mean loss over
    `loss_divisor`. `watched`, shape `(m, d)`, are inputs beside the training ones on which
    outputs are to be accurate.
    """

    train: Samples
    params: Any
    weight_decay: float | Float[Array, ""]
    model: AbstractModel
    loss: AbstractLoss = eqx.field(static=True)
    watched: Shaped[Array, "m d"] | None = None
    loss_divisor: float | Float[Array, ""] = 1.0

    @property
    def outputs(self) -> tuple[int, ...]:
        """The shape of the outputs on the training inputs."""
        x = self.train.x
        return tuple(jax.eval_shape(lambda p: self.model.apply(p, x), self.params).shape)


@dataclasses.dataclass(frozen=True)
class Part:
    """What one of several methods took of a solve, from the time `since` on."""

    name: str
    since: float
    num_steps: int
    num_rejected: int
    num_gradients: int
    num_jacobians: int
    num_products: int


@dataclasses.dataclass(frozen=True)
class Effort:
    """What a solve cost, and why this way.

    - `num_gradients` counts right-hand sides over the whole data; `num_products` those of
        a Jacobian with a vector; `num_jacobians` Jacobians or kernels formed and factored;
        `num_jittered` factorisations that needed a raised diagonal.
    - `reason`, why this method; empty if it was named by the user.
    - `methods`, what each took, where the method was changed on the way.
    - `counted`, whether the solver counts its gradients; of one that does not only the steps are
        known.
    """

    name: str
    num_steps: int
    num_rejected: int
    num_gradients: int
    num_jacobians: int
    num_products: int = 0
    num_jittered: int = 0
    reason: str = ""
    methods: tuple[Part, ...] = ()
    counted: bool = True

    def table(self) -> dict[str, Any]:
        """As plain values, None for what is unknown; `methods` only where there are several."""
        table = dataclasses.asdict(self) | {"methods": [*map(dataclasses.asdict, self.methods)]}
        if not self.methods:
            del table["methods"]
        if not table.pop("counted"):
            table |= dict.fromkeys(_COUNTS)
        return table


_COUNTS = ("num_gradients", "num_jacobians", "num_products", "num_jittered")


class Trajectory(eqx.Module):
    """States at the recorded times; `params_at(time, state)` gives the parameters.

    A solve that failed ends early: `times` holds what was reached, `ending` says why. What
    was observed on the way has a leading axis over `times`; then there are no states.
    """

    times: Float[np.ndarray, " t"]
    states: Any
    params_at: Callable[[Any, Any], Any]
    ending: Ending = eqx.field(static=True)
    effort: Effort = eqx.field(static=True)
    observed: Any = None
    final: Any = None


FIRST = 0.01
"""The latest of the first times after 0 that are recorded, unless it is named."""

Progress = Callable[[float, int], None]
"""Told the simulated time and the number of steps now and then."""

Observe = Callable[[Any, Any], Any]
"""What to record at a time, with the parameters there: a pytree of arrays."""


@dataclasses.dataclass(frozen=True)
class SolveProgress:
    """How far the solve of a batch is.

    - `fraction` of it that is done; `num_ended`, problems that have reached their end.
    - `time`, reached by the problem that is being solved; None where several are at once.
    - `num_steps`, taken by the problems that are being solved.
    """

    fraction: float
    num_ended: int
    time: float | None
    num_steps: int


Report = Callable[[SolveProgress], None]
"""Told now and then how far a solve is."""


def reporting(report: Report, num_problems: int, num_before: int) -> Callable[[int, int], None]:
    """A function to tell how many of the problems that share a call have ended, and their steps.

    - **Takes** `num_before`, of all `num_problems`, those that had ended before.
    """

    def told(num_ended: int, num_steps: int) -> None:
        ended = num_before + num_ended
        report(SolveProgress(ended / num_problems, ended, None, num_steps))

    return told


def recorded_params(time: Any, params: Any) -> Any:
    """Parameters from a state that is the parameters."""
    del time
    return params


class AbstractDynamics(Choice):
    """How parameters move."""

    keeps_states: ClassVar[bool] = False
    """Whether the parameters at every recorded time follow from small states that are kept.

    If they do, probes are computed after the solve, and test data come in blocks. If not, probes
    are computed inside the solve, and test data are in memory.
    """

    @property
    def follows_closure(self) -> bool:
        """Whether the closed statistics of a model are followed in place of its parameters."""
        return False

    @property
    def rescales_gradients(self) -> bool:
        """Whether steps are not in proportion to the gradient, so that time is not the flow's."""
        return False

    def as_flow(self) -> "AbstractDynamics | None":
        """These dynamics if they solve the gradient flow with error control, else None."""
        return None

    def can_follow(self, model: AbstractModel) -> bool:
        """Whether these dynamics are defined for a model."""
        del model
        return True

    @property
    def in_log_time(self) -> bool:
        """Whether times are logarithms of gradient-flow time."""
        return False

    @property
    def forgets(self) -> bool:
        """Whether a run goes on from the parameters it has reached as if it had never stopped."""
        return False

    def normal_form(self, num_samples: int) -> "AbstractDynamics":
        """Dynamics that move alike on so many samples, with what changes nothing at one value."""
        del num_samples
        return self

    @abc.abstractmethod
    def follow(
        self,
        problem: Problem,
        times: Float[np.ndarray, " t"],
        progress: Progress,
        observe: Observe | None = None,
        checkpoint: Checkpoint | None = None,
    ) -> Trajectory:
        """Follows `problem` from time 0 and keeps the states at `times`, increasing.

        - **Takes** `progress`, told the simulated time and the steps taken now and then;
            `observe(time, params)`, a pytree of arrays to keep in place of the states, which
            dynamics that keep states leave to their caller; `checkpoint`, where to keep what has
            been reached and from where to go on.
        """

    def solve(
        self,
        problems: Sequence[Problem],
        times: Sequence[Float[np.ndarray, " _"]],
        report: Report,
        observers: Sequence[Observe] | None = None,
        checkpoint: Checkpoint | None = None,
    ) -> list[Trajectory]:
        """Follows every problem of a batch to its end; by default one after the other.

        - **Takes** for each problem its times and, unless these dynamics keep states, what to
            observe, as `follow` does; `report`, told how far the solve is; `checkpoint`, for a
            batch of one problem.
        """
        found: list[Trajectory] = []
        for place, (problem, grid) in enumerate(zip(problems, times, strict=True)):

            def progress(time: float, num_steps: int, place: int = place, grid: Any = grid) -> None:
                # Records are spread as the interest is; time itself is nearly all late phase.
                done = float(np.searchsorted(grid, time)) / len(grid)
                report(SolveProgress((place + done) / len(problems), place, time, num_steps))

            observe = None if observers is None else observers[place]
            found.append(self.follow(problem, grid, progress, observe, checkpoint))
        return found

    def first_times(self, problems: Sequence[Problem]) -> list[float]:
        """The first time after 0 to record for each of these problems, unless it is named."""
        return [FIRST] * len(problems)

    def loss_floor(self, problem: Problem) -> float:
        """The training loss below which a trajectory shows its solver's error and not the flow's.

        Zero where there is none: optimisers take the steps that they are described by.
        """
        del problem
        return 0.0

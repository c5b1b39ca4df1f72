"""The base class of dynamics, and what dynamics take and return."""

import abc
import dataclasses
import inspect
from collections.abc import Callable, Sequence
from typing import Any, ClassVar, Protocol, runtime_checkable

import equinox as eqx
import jax
import numpy as np
from jaxtyping import Array, Float, Int, Shaped

from .._core.description import Choice
from .._core.errors import InputError
from .._core.precision import Precision, in_double
from .._integrate.checkpoint import Checkpoint
from .._integrate.status import Ending, Running
from ..losses import AbstractLoss
from ..models import AbstractModel
from ..tasks import Samples
from ._effort import Effort


class Problem(eqx.Module):
    r"""The flow $\dot\theta = -\nabla \mathcal L(\theta) - \lambda\theta$ from given parameters.

    `params` is $\theta(0)$, `init_scale` included. $\mathcal L$ is the mean loss divided by
    `loss_divisor`. `watched`, shape `(m, d)`, are inputs in addition to the training inputs on
    which outputs should be accurate.
    """

    train: Samples
    params: Any
    weight_decay: float | Float[Array, ""]
    model: AbstractModel
    loss: AbstractLoss = eqx.field(static=True)
    watched: Shaped[Array, "m d"] | None = None
    loss_divisor: float | Float[Array, ""] = 1.0

    def in_precision(self, precision: Precision) -> "Problem":
        """The problem with parameters and inputs in the type of a run. Labels stay in float64."""
        params, x, watched = precision.cast((self.params, self.train.x, self.watched))
        train = Samples(x, self.train.y)
        return dataclasses.replace(self, train=train, params=params, watched=watched)

    @property
    def outputs(self) -> tuple[int, ...]:
        """The shape of the outputs on the training inputs."""
        x = self.train.x
        return tuple(jax.eval_shape(lambda p: self.model.apply(p, x), self.params).shape)


class Snapshots(eqx.Module):
    """Parameters at some times of a solve, with a leading axis over `times`.

    `within` is the largest distance of these times from the requested times.
    """

    times: Float[np.ndarray, " k"]
    params: Any
    within: float = 0.0


class Trajectory(eqx.Module):
    """The result of a solve: states at the recorded times.

    `params_at(time, state)` gives the parameters. If the solve observed values, `observed` contains
    them with a leading axis over `times`, and there are no states. A solve that failed ends early:
    `times` contains the recorded times and `ending` the reason. While a solve goes on, `ending` is
    `running`, `times` contains the times recorded so far, and `final` is None. `snapshots` contains
    the parameters at the times for which they were requested, as far as the solve came.
    """

    times: Float[np.ndarray, " t"]
    states: Any
    params_at: Callable[[Any, Any], Any]
    ending: Ending | Running = eqx.field(static=True)
    effort: Effort = eqx.field(static=True)
    observed: Any = None
    final: Any = None
    snapshots: Snapshots | None = None

    @property
    def is_whole(self) -> bool:
        """Whether the solve reached its horizon or a condition of the user."""
        return self.ending in ("completed", "crossed", "stationary")

    def at(self, rows: Int[np.ndarray, " r"]) -> "Trajectory":
        """The trajectory at some of the recorded times."""
        states, observed = jax.tree.map(
            lambda leaf: np.asarray(leaf)[rows], (self.states, self.observed)
        )
        return dataclasses.replace(self, times=self.times[rows], states=states, observed=observed)

    def ended(self, ending: Ending) -> "Trajectory":
        """The same trajectory with another ending."""
        return dataclasses.replace(self, ending=ending)


FIRST = 0.01
"""The first recorded time after 0 is at most this, unless the user sets it."""

SoFar = Callable[[], Trajectory]
"""Returns the trajectory so far; only valid until the solve takes its next step."""


@runtime_checkable
class Progress(Protocol):
    """Called repeatedly with the simulated time and the number of steps.

    Dynamics that can show their records before the end also pass `so_far`.
    """

    def __call__(self, time: float, num_steps: int, so_far: SoFar | None = None, /) -> None: ...


Observe = Callable[[Any, Any], Any]
"""Called with a time and the parameters; returns the values to record, a pytree of arrays."""


@dataclasses.dataclass(frozen=True)
class SolveProgress:
    """The progress of the solve of a batch.

    - `fraction`: the part that is done, from 0 to 1. `num_ended`: the number of ended problems.
    - `time`: the simulated time of the current problem; None if several are solved at once.
    - `num_steps`: the number of steps of the current problems.
    - `so_far`: the trajectory so far of the current problem; None if it is not known.
    """

    fraction: float
    num_ended: int
    time: float | None
    num_steps: int
    so_far: SoFar | None = None


Report = Callable[[SolveProgress], None]
"""Called repeatedly with the progress of a solve."""


def reporting(report: Report, num_problems: int, num_before: int) -> Callable[[int, int], None]:
    """Converts a report into a function of the numbers of ended problems and steps of one call.

    - **Takes** `num_problems`, the size of the batch; `num_before`, the number of problems in the
        batch that had ended before the call.
    """

    def report_ended(num_ended: int, num_steps: int) -> None:
        ended = num_before + num_ended
        report(SolveProgress(ended / num_problems, ended, None, num_steps))

    return report_ended


@dataclasses.dataclass(frozen=True)
class _Reporting:
    """Converts the progress of the problem at `place` of a batch into that of the batch."""

    report: Report
    place: int
    num_problems: int
    times: Float[np.ndarray, " t"]

    def __call__(self, time: float, num_steps: int, so_far: SoFar | None = None, /) -> None:
        # Measured in records: most of the simulated time belongs to the late phase.
        done = float(np.searchsorted(self.times, time)) / len(self.times)
        fraction = (self.place + done) / self.num_problems
        self.report(SolveProgress(fraction, self.place, time, num_steps, so_far))


def recorded_params(time: Any, params: Any) -> Any:
    """The parameters, for states that are the parameters."""
    del time
    return params


class AbstractDynamics(Choice):
    """How parameters change during training."""

    keeps_states: ClassVar[bool] = False
    """Whether a solve keeps small states that determine the parameters at every recorded time.

    If so, probes are computed after the solve, and test data are processed in blocks. If not,
    probes are computed inside the solve, and test data are in memory.
    """

    @property
    def follows_closure(self) -> bool:
        """Whether the closed statistics of a model are solved instead of its parameters."""
        return False

    @property
    def rescales_gradients(self) -> bool:
        """Whether steps are not proportional to the gradient, so that time is not flow time."""
        return False

    @property
    def ends_in_balance(self) -> bool:
        """Whether training ends where weight decay and the gradient of the loss balance."""
        return True

    def as_flow(self) -> "AbstractDynamics | None":
        """These dynamics if they solve gradient flow with error control; otherwise None."""
        return None

    def faster(self, factor: int) -> "AbstractDynamics | None":
        """Dynamics with a learning rate `factor` times as large; None if they have no such rate.

        A run by them needs fewer steps by this factor, and stays as close to this one as possible.
        """
        del factor
        return None

    def can_follow(self, model: AbstractModel) -> bool:
        """Whether these dynamics are defined for the model."""
        del model
        return True

    def check_derivatives(self, model: AbstractModel) -> None:
        """Raises [`InputError`][lazyrich.InputError] if the model lacks derivatives they need."""
        del model

    def needs_double(self, weight_decay: float) -> str:
        """Why these dynamics need float64 and what to do instead; empty if float32 is enough."""
        del weight_decay
        return ""

    @property
    def output_error(self) -> float:
        """The relative error of outputs above which rounding spoils a run."""
        return 1e-3

    @property
    def in_log_time(self) -> bool:
        """Whether times are logarithms of gradient-flow time."""
        return False

    @property
    def is_small_decay_limit(self) -> bool:
        """Whether these are the limit of small weight decay, where outputs equal the labels.

        The forces on the outputs are then not known, and their records can be moved to another
        weight decay.
        """
        return False

    @property
    def solves_all_decays(self) -> bool:
        """Whether `solve` makes one solve of all problems that differ only in `weight_decay`."""
        return False

    @property
    def forgets(self) -> bool:
        """Whether the last parameters are sufficient to continue a run exactly."""
        return False

    def normal_form(self, num_samples: int) -> "AbstractDynamics":
        """Equivalent dynamics for this number of samples, with unused fields at fixed values."""
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
        snapshots: Float[np.ndarray, " k"] | None = None,
    ) -> Trajectory:
        """Solves `problem` from time 0 and keeps the states at `times`, which increase.

        - **Takes** `progress`, called with the simulated time, the number of steps, and a function
            that returns the trajectory so far; `observe(time, params)`, a pytree of arrays that is
            kept instead of the states, unless these dynamics keep states; `checkpoint`, the file in
            which the state of the solve is saved and from which it is resumed; `snapshots`,
            increasing times at which the parameters are kept. The last of `times` is at least the
            last of these.
        """

    @in_double
    def solve(
        self,
        problems: Sequence[Problem],
        times: Sequence[Float[np.ndarray, " _"]],
        report: Report,
        observers: Sequence[Observe] | None = None,
        checkpoint: Checkpoint | None = None,
        snapshots: Sequence[Float[np.ndarray, " _"]] | None = None,
    ) -> list[Trajectory]:
        """Solves every problem of a batch to its end; by default one after the other.

        - **Takes** `times` for each problem; `observers` for each problem, as `observe` in
            `follow`, unless these dynamics keep states; `report`, called with the progress;
            `checkpoint`, only for a batch of one problem; `snapshots`, as many times for each.
        """
        found: list[Trajectory] = []
        for place, (problem, grid) in enumerate(zip(problems, times, strict=True)):
            observe = None if observers is None else observers[place]
            progress = _Reporting(report, place, len(problems), grid)
            asked: dict[str, Any] = {}
            if snapshots is not None:
                if "snapshots" not in inspect.signature(self.follow).parameters:
                    accepted = f"{type(self).__name__} can keep only parameters at the end"
                    raise InputError("keep_params", len(snapshots[place]), accepted)
                asked["snapshots"] = snapshots[place]
            found.append(self.follow(problem, grid, progress, observe, checkpoint, **asked))
        return found

    def first_times(self, problems: Sequence[Problem]) -> list[float]:
        """The first time after 0 to record for each problem, unless the user sets it."""
        return [FIRST] * len(problems)

    def loss_floor(self, problem: Problem) -> float:
        """The training loss below which a trajectory is dominated by the error of the solver.

        Zero if there is none, as for optimisers, whose steps have no discretisation error.
        """
        del problem
        return 0.0

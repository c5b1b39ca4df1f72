"""The limit of small weight decay in regression, in the time of the flow."""

import dataclasses
from collections.abc import Sequence
from typing import Annotated, Any

import numpy as np
from annotated_types import Ge, Gt, Lt
from jaxtyping import Float

from ..._core.errors import InputError
from ..._core.precision import in_double
from ..._integrate.checkpoint import Checkpoint
from ...models import AbstractModel
from .._base import (
    AbstractDynamics,
    Observe,
    Problem,
    Progress,
    Report,
    SolveProgress,
    Trajectory,
)
from .._rate import first_times, loss_floor
from ..flow import Flow
from ..gauss_newton import MAX_OUTPUTS
from .phases import Phases, without_decay
from .sharing import Run, alike

_NAME = "SmallDecayLimit"


class SmallDecayLimit(AbstractDynamics):
    r"""The limit $\lambda \to 0$ of gradient flow in regression, in the time of the flow.

    For small $\lambda$ a regression has two phases. First the data are fitted: until then
    $\dot\theta = -\nabla\mathcal L(\theta)$, without decay, is solved by
    [`Flow`][lazyrich.dynamics.Flow]. Then parameters stay on the manifold $M = \{\theta :
    f(\theta; x_i) = y_i\}$ and move at a speed proportional to $\lambda$. With $s = \lambda t$,

    $$ d\theta/ds = -P_{T_\theta M}\,\theta, $$

    from the point at which the flow without decay ends. $P$ is the projection onto the tangent
    space. The rates of this flow are of order one, so it is not stiff for any $\lambda$. Runs of a
    sweep or of [`simulate_many`][lazyrich.simulate_many] that differ only in `weight_decay`, `t1`
    and `times` share one solve; each has the record that it has by itself.

    Records are in gradient-flow time: up to the time $t_\text{fit}$ at which the data are fitted
    they are those of the first phase, then those of the second at $s = \lambda t$. The second
    phase is the same for every $\lambda$, so [`at_weight_decay`][lazyrich.at_weight_decay] gives
    the record for another $\lambda$ without a solve. The relative error of times of a run at a
    finite $\lambda$ is of order $\lambda t_\text{fit}$. The training loss of the second phase is
    zero up to the error of the solver; that of a run at $\lambda$ is of order $\lambda^2$.

    - **Takes** `rtol`, the allowed error of a step, measured as for `Flow`; residuals below
        `rtol / 10` of the root mean square of the labels count as zero. `densify` as for `Flow`.
        `max_steps`, the largest number of attempted steps of each phase.
    - **Ends** with `not_interpolated` if the data are not fitted at time $1/\lambda$ or $t_1$: its
        records stop where decay would have acted. Ends with `off_manifold` if the second phase
        cannot stay on $M$.
    - **Raises** [`InputError`][lazyrich.InputError] without decay, for a loss other than
        [`Squared`][lazyrich.losses.Squared], and for more than 8,192 outputs on the training data.
    - **Source** Boursier, Pesme & Dragomir, arXiv:2505.20172: the limit, and "Riemannian gradient
        flow of the norm". The clock $s = \lambda t$ from $t = 0$, and not from $t_\text{fit}$, is
        exact for a linear model.
    """

    rtol: Annotated[float, Gt(0), Lt(0.1)] = 1e-4
    densify: Annotated[float, Ge(0)] = 0.05
    max_steps: Annotated[int, Ge(1)] = 10_000

    @property
    def is_small_decay_limit(self) -> bool:
        return True

    @property
    def solves_all_decays(self) -> bool:
        return True

    def can_follow(self, model: AbstractModel) -> bool:
        # The constraints of these models depend on what decays and is not trained.
        return not (model.origin_decays or model.has_mobility)

    def needs_double(self, weight_decay: float) -> str:
        del weight_decay
        return "follows a manifold more closely than float32 resolves: set dynamics.kind to Flow"

    @in_double
    def first_times(self, problems: Sequence[Problem]) -> list[float]:
        return first_times([without_decay(problem) for problem in problems])

    @in_double
    def loss_floor(self, problem: Problem) -> float:
        return loss_floor(problem, self.rtol)

    @in_double
    def follow(
        self,
        problem: Problem,
        times: Float[np.ndarray, " t"],
        progress: Progress,
        observe: Observe | None = None,
        checkpoint: Checkpoint | None = None,
        snapshots: Float[np.ndarray, " k"] | None = None,
    ) -> Trajectory:
        observers = None if observe is None else [observe]
        asked = None if snapshots is None else [snapshots]
        return self._together([problem], [times], progress, observers, checkpoint, asked)[0]

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
        """Solves once for all problems that differ only in `weight_decay`."""
        if len(problems) == 1:  # only then a checkpoint is possible
            return super().solve(problems, times, report, observers, checkpoint, snapshots)
        found: dict[int, Trajectory] = {}
        for group in alike(problems, times, observers):
            progress = _GroupProgress(report, len(found), len(group), len(problems))
            trajectories = self._together(
                [problems[i] for i in group],
                [times[i] for i in group],
                progress,
                None if observers is None else [observers[i] for i in group],
                None,
                None if snapshots is None else [snapshots[i] for i in group],
            )
            found |= dict(zip(group, trajectories, strict=True))
        return [found[i] for i in range(len(problems))]

    def _together(
        self,
        problems: Sequence[Problem],
        times: Sequence[Float[np.ndarray, " _"]],
        progress: "Progress | _GroupProgress",
        observers: Sequence[Observe] | None,
        checkpoint: Checkpoint | None,
        snapshots: Sequence[Float[np.ndarray, " _"]] | None,
    ) -> list[Trajectory]:
        """The trajectories of problems that differ only in `weight_decay`, from one solve."""
        for problem in problems:
            _check(problem)
        flow = Flow(rtol=self.rtol, densify=self.densify, max_steps=self.max_steps)
        asked: Sequence[Any] = [None] * len(problems) if snapshots is None else snapshots
        decays = [float(problem.weight_decay) for problem in problems]
        runs = [Run(*its) for its in zip(decays, times, asked, strict=True)]
        solve = Phases(flow, problems[0], runs, observers)
        if checkpoint is not None and (saved := checkpoint.load(solve.kept())) is not None:
            solve.take_up(saved)
        while solve.goes_on:
            solve.advance()
            if isinstance(progress, _GroupProgress):
                progress.report_part(solve.fraction, solve.num_steps)
            else:
                progress(solve.time, solve.num_steps, solve.so_far)
            if checkpoint is not None:
                checkpoint.offer(solve.kept())
        return solve.trajectories()


@dataclasses.dataclass(frozen=True)
class _GroupProgress:
    """The progress of a group of runs that share a solve, as that of its batch."""

    report: Report
    num_before: int
    num_runs: int
    num_all: int

    def report_part(self, fraction: float, num_steps: int) -> None:
        done = (self.num_before + fraction * self.num_runs) / self.num_all
        self.report(SolveProgress(done, self.num_before, None, num_steps))


def _check(problem: Problem) -> None:
    """Raises [`InputError`][lazyrich.InputError] for a problem without this limit."""
    if not float(problem.weight_decay) > 0:
        accepted = f"should be positive for {_NAME}, which needs the clock lambda * t; use Flow"
        raise InputError("weight_decay", float(problem.weight_decay), accepted)
    if problem.loss.is_classification or problem.loss.constant_curvature is None:
        accepted = f"{_NAME} is the limit for regression: use Squared, or dynamics Flow"
        raise InputError("loss.kind", type(problem.loss).__name__, accepted)
    num_outputs = int(np.prod(problem.outputs))
    if num_outputs > MAX_OUTPUTS:
        accepted = f"{_NAME} factors a kernel of at most {MAX_OUTPUTS} outputs; use Flow"
        raise InputError("dynamics.kind", f"{num_outputs} outputs", accepted)

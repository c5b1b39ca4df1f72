"""The base classes of optimisers with discrete steps."""

import abc
import functools
import time
from collections.abc import Callable, Sequence
from typing import Annotated, Any

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import optax
from annotated_types import Gt
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray, PyTree

from .._core.errors import InputError
from .._core.norms import tree_norm
from .._core.precision import doubled, float_type, in_double
from .._integrate.checkpoint import Checkpoint
from .._integrate.kept import kept
from .._integrate.status import Ending, Running
from ..losses import AbstractLoss
from ..models import AbstractModel
from ..tasks import Samples
from ._base import (
    AbstractDynamics,
    Observe,
    Problem,
    Progress,
    Trajectory,
    recorded_params,
)
from ._effort import Effort
from ._rate import loss_floor
from ._step_snapshots import StepSnapshots

# The intended time of a chunk of steps in seconds, and the number of steps of the first chunk.
_CHUNK_SECONDS, _FIRST_CHUNK = 0.25, 1

# Beyond this number of steps, float64 cannot distinguish the times of successive steps.
_MOST_STEPS = 2.0**53

# Rounding changes a parameter by at most 2^-24 of its size. A step of pure decay that changes it by
# 2^-20 or more is off by at most 6 %, up or down, and the mean over many parameters by far less.
_LEAST_SHRINK = 2.0**-20
# If rounding removes more than this part of a step, the parameters hardly move.
_LARGEST_LOST = 0.5

# Uses of randomness. Each has its own keys.
SHUFFLES, LABEL_NOISE = range(2)


class AbstractDiscrete(AbstractDynamics):
    r"""Steps $\theta \leftarrow \theta - \eta\, \Delta$ at times $t = \eta \times$ step, from 0.

    Recorded times are rounded to whole steps. All steps between two records run in one
    compiled loop of any length.

    - **Takes** `learning_rate`, $\eta$.
    """

    learning_rate: Annotated[float, Gt(0)] = 1e-2

    def faster(self, factor: int) -> "AbstractDiscrete":
        return self.model_copy(update={"learning_rate": factor * self.learning_rate})

    def first_times(self, problems: Sequence[Problem]) -> list[float]:
        return [self.learning_rate] * len(problems)

    @abc.abstractmethod
    def transformation(self, weight_decay: Array) -> optax.GradientTransformation:
        """The optax transformation of a gradient of the mean loss, with `weight_decay`."""

    def draw(self, train: Samples, draws: "Draws", step: Array) -> tuple[Samples, "Draws"]:
        """The samples of a step."""
        del step
        return train, draws

    @in_double
    def first_draws(self, train: Samples) -> "Draws":
        """The state of the random draws before the first step."""
        del train
        return Draws(jr.key_data(jr.key(0)), jnp.zeros(0, int))

    def _at_any_rate_and_seed(self) -> "AbstractDiscrete":
        """The compiled part. Rate and seed are arguments, so that a sweep compiles only once."""
        return self.model_copy(update={"learning_rate": 1.0})

    def samples_per_step(self, num_samples: int) -> int:
        """The number of samples in a step."""
        return num_samples

    def check(self, problem: Problem) -> None:
        """Raises [`InputError`][lazyrich.InputError] if the optimiser cannot solve the problem."""
        del problem

    def needs_double(self, weight_decay: float) -> str:
        shrink = self.learning_rate * weight_decay
        if 0 < shrink < _LEAST_SHRINK:
            return (
                f"shrinks parameters by learning_rate * weight_decay = {shrink:.2g} in a step, "
                f"and float32 rounds away what is below {_LEAST_SHRINK:.2g}"
            )
        return ""

    def _is_stopped(self, problem: Problem, walk: "_Walk", state: "_State") -> bool:
        """Whether rounding of the parameters has stopped a run in float32 that had to go on.

        Without decay, updates become ever smaller. A regression that has fitted its data is at its
        end. With decay, `needs_double` ensures that parameters keep moving.
        """
        if float_type(state.params) == jnp.float64 or float(problem.weight_decay) > 0:
            return False
        if not float(_part_lost(walk, state)) > _LARGEST_LOST:
            return False
        loss, train = problem.loss, problem.train
        outputs = doubled(problem.model.apply(state.params, train.x))
        return not float(loss.mean(outputs, train.y)) < loss_floor(problem, self.output_error)

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
        self.check(problem)
        if not times[-1] / self.learning_rate < _MOST_STEPS:
            accepted = f"takes {times[-1] / self.learning_rate:.2g} steps to time {times[-1]:g}"
            raise InputError("dynamics.learning_rate", self.learning_rate, accepted)
        marks = np.unique(self._steps(times))
        asked = None if snapshots is None else jnp.asarray(self._steps(snapshots))
        see = observe if observe is not None else recorded_params
        dtype = float_type(problem.params)
        decay, rate = jnp.asarray(problem.weight_decay, dtype), jnp.asarray(self.learning_rate)
        alike = self._at_any_rate_and_seed()
        divisor = jnp.asarray(problem.loss_divisor)
        model = jax.tree.map(lambda number: jnp.asarray(number, dtype), problem.model)
        walk = _Walk(problem.train, model, problem.loss, decay, divisor, rate, see, alike)
        params = jax.tree.map(jnp.asarray, problem.params)
        state = _begin(walk, params, self.first_draws(problem.train), jnp.asarray(marks), asked)
        if checkpoint is not None:
            state = checkpoint.load(state) or state
        finish = functools.partial(self._trajectory, problem, marks, observed=observe is not None)
        chunk, last = _FIRST_CHUNK, int(marks[-1])
        while not bool(state.failed) and int(state.num_saved) < len(marks):
            begun = time.perf_counter()
            stop = min(int(state.step) + chunk, last)
            state = jax.block_until_ready(_go(walk, jnp.asarray(marks), jnp.asarray(stop), state))
            # The steps do not depend on how they are divided into chunks.
            chunk = _next_chunk(chunk, time.perf_counter() - begun)
            so_far = functools.partial(finish, state, "running")
            progress(int(state.step) * self.learning_rate, int(state.step), so_far)
            if checkpoint is not None:
                checkpoint.offer(state)
        ending: Ending = "diverged" if bool(state.failed) else "completed"
        if ending == "completed" and self._is_stopped(problem, walk, state):
            ending = "imprecise"
        return finish(state, ending)

    def _steps(self, times: Float[np.ndarray, " t"]) -> Int[np.ndarray, " t"]:
        """The steps nearest to these times."""
        return np.rint(times / self.learning_rate).astype(np.int64)

    def _trajectory(
        self,
        problem: Problem,
        marks: Int[np.ndarray, " t"],
        state: "_State",
        ending: Ending | Running,
        *,
        observed: bool,
    ) -> Trajectory:
        """The trajectory of an ended solve, or of one that goes on."""
        num_saved, num_steps = int(state.num_saved), int(state.step)
        values = kept(state.values, num_saved)
        num_samples = problem.train.x.shape[0]
        passes = num_steps * self.samples_per_step(num_samples) / num_samples
        return Trajectory(
            times=marks[:num_saved] * self.learning_rate,
            states=None if observed else values,
            params_at=recorded_params,
            ending=ending,
            effort=Effort(type(self).__name__, num_steps, 0, round(passes), 0),
            observed=values if observed else None,
            final=None if ending == "running" else state.params,
            snapshots=None
            if state.snapshots is None
            else state.snapshots.reached(self.learning_rate),
        )


class Draws(eqx.Module):
    """The state of the random draws: the data of a key, and the order of samples in this pass."""

    key_data: Array
    order: Int[Array, " n"]

    def key(self, stream: int, step: Array) -> PRNGKeyArray:
        """The key of a step for one of the uses of randomness.

        The step is not sufficient. A split in JAX is a fold-in of 0 and 1, so sampling from a key
        and then folding into it again would give some of the same bits twice.
        """
        return jr.fold_in(jr.fold_in(jr.wrap_key_data(self.key_data), stream), step)


class _Walk(eqx.Module):
    """The constants of a run."""

    train: Samples
    model: AbstractModel
    loss: AbstractLoss = eqx.field(static=True)
    weight_decay: Array
    loss_divisor: Array
    learning_rate: Array
    observe: Callable[[Any, Any], Any]
    optimiser: AbstractDiscrete = eqx.field(static=True)  # the same for all rates and seeds

    def updates(self, state: "_State") -> tuple[PyTree, PyTree, Draws]:
        """The change of the parameters in a step, with the next memory and draws."""
        optimiser = self.optimiser
        batch, draws = optimiser.draw(self.train, state.draws, state.step)

        def mean_loss(params: PyTree) -> Array:
            outputs = doubled(self.model.apply(params, batch.x))
            return self.loss.mean(outputs, batch.y) / self.loss_divisor

        gradient = jax.grad(mean_loss)(state.params)
        transformation = optimiser.transformation(self.weight_decay)
        decayed = self.model.decayed(state.params)  # optax uses parameters only for the decay
        updates, memory = transformation.update(gradient, state.memory, decayed)
        # If the decay has a wider type than the parameters, the memory would become wider, too.
        memory = jax.tree.map(lambda new, old: new.astype(old.dtype), memory, state.memory)
        rate = self.learning_rate
        return jax.tree.map(lambda u: -rate.astype(u.dtype) * u, updates), memory, draws

    def step(self, state: "_State") -> "_State":
        updates, memory, draws = self.updates(state)
        return eqx.tree_at(
            lambda s: (s.params, s.memory, s.draws, s.step),
            state,
            (optax.apply_updates(state.params, updates), memory, draws, state.step + 1),
        )


class _State(eqx.Module):
    """The state of a run between two steps."""

    params: PyTree
    memory: PyTree  # the state of the optimiser
    draws: Draws
    step: Int[Array, ""]
    values: PyTree  # recorded so far, with a leading axis over the marks
    num_saved: Int[Array, ""]
    failed: Bool[Array, ""]
    snapshots: StepSnapshots | None = None


@eqx.filter_jit
def _begin(
    walk: _Walk,
    params: PyTree,
    draws: Draws,
    marks: Int[Array, " t"],
    asked: Int[Array, " k"] | None,
) -> _State:
    first = jax.eval_shape(walk.observe, jnp.zeros(()), params)
    zero = jnp.zeros((), marks.dtype)
    return _State(
        params=params,
        memory=walk.optimiser.transformation(walk.weight_decay).init(params),
        draws=draws,
        step=zero,
        values=jax.tree.map(lambda v: jnp.zeros((marks.size, *v.shape), v.dtype), first),
        num_saved=zero,
        failed=jnp.zeros((), bool),
        snapshots=None if asked is None else StepSnapshots.begin(asked, params),
    )


@eqx.filter_jit
def _go(walk: _Walk, marks: Int[Array, " t"], stop: Array, state: _State) -> _State:
    """Runs up to step `stop` and makes a record at every mark."""

    def mark(state: _State) -> Array:
        return marks[jnp.minimum(state.num_saved, marks.size - 1)]

    def more(state: _State) -> Array:
        unserved = (state.num_saved < marks.size) & (mark(state) <= stop)
        return ~state.failed & ((state.step < stop) | unserved)

    def segment(state: _State) -> _State:
        target = jnp.minimum(mark(state), stop)
        if state.snapshots is not None:
            target = jnp.minimum(target, state.snapshots.next)
        state = jax.lax.fori_loop(state.step, target, lambda _, s: walk.step(s), state)
        if state.snapshots is not None:
            found = state.snapshots.at(state.step, state.params)
            state = eqx.tree_at(lambda s: s.snapshots, state, found)
        return jax.lax.cond(state.step == mark(state), save, lambda s: s, state)

    def save(state: _State) -> _State:
        leaves = jax.tree.leaves(state.params)
        ok = jnp.all(jnp.stack([jnp.all(jnp.isfinite(leaf)) for leaf in leaves]))
        value = walk.observe(state.step * walk.learning_rate, state.params)
        slot = state.num_saved
        return eqx.tree_at(
            lambda s: (s.values, s.num_saved, s.failed),
            state,
            (
                jax.tree.map(lambda a, v: a.at[slot].set(v), state.values, value),
                slot + ok,
                ~ok,
            ),
        )

    return jax.lax.while_loop(more, segment, state)


@eqx.filter_jit
def _part_lost(walk: _Walk, state: _State) -> Float[Array, ""]:
    """The norm of the rounding error of the next step, over the norm of the step."""
    updates, _, _ = walk.updates(state)
    moved = doubled(optax.apply_updates(state.params, updates))
    wanted = jax.tree.map(jnp.add, doubled(state.params), doubled(updates))
    return tree_norm(jax.tree.map(jnp.subtract, moved, wanted)) / tree_norm(updates)


def _next_chunk(chunk: int, seconds: float) -> int:
    if seconds < 0.5 * _CHUNK_SECONDS:
        return 4 * chunk
    return max(1, chunk // 2) if seconds > 4 * _CHUNK_SECONDS else chunk

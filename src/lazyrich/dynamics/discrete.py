"""Optimisers that take steps of their own: what all of them share."""

import abc
import time
from collections.abc import Callable, Sequence
from typing import Annotated, Any

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import optax
from annotated_types import Ge, Gt
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray, PyTree
from pydantic import Field

from .._core.errors import InputError
from .._integrate.checkpoint import Checkpoint
from .._integrate.status import Ending
from ..losses import AbstractLoss
from ..models import AbstractModel
from ..tasks import Samples
from ._base import (
    AbstractDynamics,
    Effort,
    Observe,
    Problem,
    Progress,
    Trajectory,
    recorded_params,
)

# Between two looks from outside: seconds aimed at, and the steps of the first chunk.
_CHUNK_SECONDS, _FIRST_CHUNK = 1.0, 256

# Beyond it float64 cannot tell a step's time from the next one's.
_MOST_STEPS = 2.0**53

# Uses of randomness, each with keys of its own.
SHUFFLES, LABEL_NOISE = range(2)


class AbstractDiscrete(AbstractDynamics):
    r"""Steps $\theta \leftarrow \theta - \eta\, \Delta$ at times $t = \eta \times$ step, from 0.

    Recorded times are rounded to whole steps. All steps between two records run in one
    compiled loop, whatever their number.

    - **Takes** `learning_rate`, $\eta$.
    """

    learning_rate: Annotated[float, Gt(0)] = 1e-2

    def first_times(self, problems: Sequence[Problem]) -> list[float]:
        return [self.learning_rate] * len(problems)

    @abc.abstractmethod
    def transformation(self, weight_decay: Array) -> optax.GradientTransformation:
        """What makes a step of a gradient of the mean loss, `weight_decay` included."""

    def draw(self, train: Samples, draws: "Draws", step: Array) -> tuple[Samples, "Draws"]:
        """The samples that a step sees."""
        del step
        return train, draws

    def first_draws(self, train: Samples) -> "Draws":
        """What drawing samples needs to remember, before the first step."""
        del train
        return Draws(jr.key_data(jr.key(0)), jnp.zeros(0, int))

    def _at_any_rate_and_seed(self) -> "AbstractDiscrete":
        """What is compiled in; rate and seed are passed beside it, for a sweep to compile once."""
        return self.model_copy(update={"learning_rate": 1.0})

    def samples_per_step(self, num_samples: int) -> int:
        """How many samples a step sees."""
        return num_samples

    def check(self, problem: Problem) -> None:
        """Raises [`InputError`][lazyrich.InputError] for what the optimiser cannot follow."""
        del problem

    def follow(
        self,
        problem: Problem,
        times: Float[np.ndarray, " t"],
        progress: Progress,
        observe: Observe | None = None,
        checkpoint: Checkpoint | None = None,
    ) -> Trajectory:
        self.check(problem)
        if not times[-1] / self.learning_rate < _MOST_STEPS:
            accepted = f"takes {times[-1] / self.learning_rate:.2g} steps to time {times[-1]:g}"
            raise InputError("dynamics.learning_rate", self.learning_rate, accepted)
        marks = np.unique(np.rint(times / self.learning_rate).astype(np.int64))
        see = observe if observe is not None else recorded_params
        decay, rate = jnp.asarray(problem.weight_decay), jnp.asarray(self.learning_rate)
        alike = self._at_any_rate_and_seed()
        divisor = jnp.asarray(problem.loss_divisor)
        model = jax.tree.map(jnp.asarray, problem.model)
        walk = _Walk(problem.train, model, problem.loss, decay, divisor, rate, see, alike)
        params = jax.tree.map(jnp.asarray, problem.params)
        state = _begin(walk, params, self.first_draws(problem.train), jnp.asarray(marks))
        if checkpoint is not None:
            state = checkpoint.load(state) or state
        chunk, last = _FIRST_CHUNK, int(marks[-1])
        while not bool(state.failed) and int(state.num_saved) < len(marks):
            begun = time.perf_counter()
            stop = min(int(state.step) + chunk, last)
            state = jax.block_until_ready(_go(walk, jnp.asarray(marks), jnp.asarray(stop), state))
            # The steps are the same however they are cut into chunks.
            chunk = _next_chunk(chunk, time.perf_counter() - begun)
            progress(int(state.step) * self.learning_rate, int(state.step))
            if checkpoint is not None:
                checkpoint.offer(state)
        num_saved = int(state.num_saved)
        values = jax.tree.map(lambda a: a[:num_saved], state.values)
        ending: Ending = "diverged" if bool(state.failed) else "completed"
        num_steps, num_samples = int(state.step), problem.train.x.shape[0]
        passes = num_steps * self.samples_per_step(num_samples) / num_samples
        return Trajectory(
            times=marks[:num_saved] * self.learning_rate,
            states=None if observe is not None else values,
            params_at=recorded_params,
            ending=ending,
            effort=Effort(type(self).__name__, num_steps, 0, round(passes), 0),
            observed=values if observe is not None else None,
            final=state.params,
        )


class Draws(eqx.Module):
    """What drawing samples remembers: a key's data and this pass's order of samples."""

    key_data: Array
    order: Int[Array, " n"]

    def key(self, stream: int, step: Array) -> PRNGKeyArray:
        """The key of a step for one of the uses of randomness.

        The step alone would not do: a split of JAX's is a fold-in of 0 and 1, so that a key
        that was sampled from and then folded again gives some of the same bits twice.
        """
        return jr.fold_in(jr.fold_in(jr.wrap_key_data(self.key_data), stream), step)


class AbstractStochastic(AbstractDiscrete):
    """Steps that see a batch of samples, every sample once a pass, in random order.

    - **Takes** `batch_size`, at most the number of samples, zero for all of them (what is
        left of a pass once no full batch remains is not seen in it); `seed`, which fixes
        the order.
    """

    batch_size: Annotated[int, Ge(0)] = 0
    seed: Annotated[int, Field(ge=0, lt=2**63)] = 0

    def check(self, problem: Problem) -> None:
        num_samples = problem.train.x.shape[0]
        if self.batch_size > num_samples:
            accepted = f"should be at most the number of samples, {num_samples}"
            raise InputError("dynamics.batch_size", self.batch_size, accepted)

    def samples_per_step(self, num_samples: int) -> int:
        return self.batch_size or num_samples

    def _at_any_rate_and_seed(self) -> AbstractDiscrete:
        return self.model_copy(update={"learning_rate": 1.0, "seed": 0})

    @property
    def draws_beside(self) -> bool:
        """Whether steps draw more than the order of samples."""
        return False

    def normal_form(self, num_samples: int) -> "AbstractStochastic":
        if self.samples_per_step(num_samples) < num_samples:
            return self
        changes: dict[str, int] = {"batch_size": 0} | ({} if self.draws_beside else {"seed": 0})
        return self.model_copy(update=changes)

    def first_draws(self, train: Samples) -> Draws:
        return Draws(jr.key_data(jr.key(self.seed)), jnp.arange(train.x.shape[0]))

    def draw(self, train: Samples, draws: Draws, step: Array) -> tuple[Samples, Draws]:
        num_samples = train.x.shape[0]
        size = self.samples_per_step(num_samples)
        if size == num_samples:
            return train, draws
        num_batches = num_samples // size
        place = step % num_batches

        def shuffle() -> Array:
            return jr.permutation(draws.key(SHUFFLES, step), num_samples)

        order = jax.lax.cond(place == 0, shuffle, lambda: draws.order)
        chosen = jax.lax.dynamic_slice_in_dim(order, place * size, size)
        batch = Samples(train.x[chosen], train.y[chosen])
        return batch, eqx.tree_at(lambda d: d.order, draws, order)


class _Walk(eqx.Module):
    """What stays the same over a run."""

    train: Samples
    model: AbstractModel
    loss: AbstractLoss = eqx.field(static=True)
    weight_decay: Array
    loss_divisor: Array
    learning_rate: Array
    observe: Callable[[Any, Any], Any]
    optimiser: AbstractDiscrete = eqx.field(static=True)  # one for all rates and seeds

    def step(self, state: "_State") -> "_State":
        optimiser = self.optimiser
        batch, draws = optimiser.draw(self.train, state.draws, state.step)

        def mean_loss(params: PyTree) -> Array:
            mean = self.loss.mean(self.model.apply(params, batch.x), batch.y)
            return mean / self.loss_divisor

        gradient = jax.grad(mean_loss)(state.params)
        transformation = optimiser.transformation(self.weight_decay)
        decayed = self.model.decayed(state.params)  # nothing else is done with parameters
        updates, memory = transformation.update(gradient, state.memory, decayed)
        # A decay of a wider type than the parameters' would widen what is remembered too.
        memory = jax.tree.map(lambda new, old: new.astype(old.dtype), memory, state.memory)
        updates = jax.tree.map(lambda u: -self.learning_rate * u, updates)
        return eqx.tree_at(
            lambda s: (s.params, s.memory, s.draws, s.step),
            state,
            (optax.apply_updates(state.params, updates), memory, draws, state.step + 1),
        )


class _State(eqx.Module):
    """A run between two steps."""

    params: PyTree
    memory: PyTree  # the optimiser's own
    draws: Draws
    step: Int[Array, ""]
    values: PyTree  # recorded so far, a leading axis over the marks
    num_saved: Int[Array, ""]
    failed: Bool[Array, ""]


@eqx.filter_jit
def _begin(walk: _Walk, params: PyTree, draws: Draws, marks: Int[Array, " t"]) -> _State:
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
    )


@eqx.filter_jit
def _go(walk: _Walk, marks: Int[Array, " t"], stop: Array, state: _State) -> _State:
    """Up to step `stop`, with a record at every mark on the way."""

    def mark(state: _State) -> Array:
        return marks[jnp.minimum(state.num_saved, marks.size - 1)]

    def more(state: _State) -> Array:
        unserved = (state.num_saved < marks.size) & (mark(state) <= stop)
        return ~state.failed & ((state.step < stop) | unserved)

    def segment(state: _State) -> _State:
        target = jnp.minimum(mark(state), stop)
        state = jax.lax.fori_loop(state.step, target, lambda _, s: walk.step(s), state)
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


def _next_chunk(chunk: int, seconds: float) -> int:
    if seconds < 0.5 * _CHUNK_SECONDS:
        return 4 * chunk
    return max(1, chunk // 2) if seconds > 4 * _CHUNK_SECONDS else chunk

"""The base class of optimisers with steps on batches of samples."""

from typing import Annotated

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
from annotated_types import Ge
from jaxtyping import Array
from pydantic import Field

from .._core.errors import InputError
from .._core.precision import in_double
from ..tasks import Samples
from ._base import Problem
from .discrete import SHUFFLES, AbstractDiscrete, Draws


class AbstractStochastic(AbstractDiscrete):
    """Steps on batches of samples. A pass takes every sample once, in random order.

    - **Takes** `batch_size`, at most the number of samples, zero for all samples (samples that
        do not fill a batch at the end of a pass are skipped); `seed`, which determines the
        order.
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
        """Whether steps use random numbers in addition to the order of samples."""
        return False

    def normal_form(self, num_samples: int) -> "AbstractStochastic":
        if self.samples_per_step(num_samples) < num_samples:
            return self
        changes: dict[str, int] = {"batch_size": 0} | ({} if self.draws_beside else {"seed": 0})
        return self.model_copy(update=changes)

    @in_double
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

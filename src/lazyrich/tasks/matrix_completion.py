"""Entries of a low-rank matrix."""

from typing import Annotated

import jax.numpy as jnp
import jax.random as jr
from annotated_types import Ge
from jaxtyping import Array, Int, PRNGKeyArray

from .._core.errors import InputError
from .._core.precision import in_double
from ._base import AbstractTask, Blocks, Samples, Sizes, Split


class MatrixCompletion(AbstractTask):
    r"""Some entries of the multiplication table $M_{ij} = ij/d^2$, $0 \le i, j < d$.

    Inputs are pairs $(i, j)$, shape `(n, 2)`. The training pairs are drawn without replacement
    from all $d^2$ pairs, and the test set is all other pairs. $M$ is symmetric, of rank one, with
    nuclear norm $\sum_i i^2 / d^2$.

    - **Raises** [`InputError`][lazyrich.InputError] if no pair remains for the test set.
    - **Source** Lyu et al., ICLR 2024, arXiv:2311.18817, figure 3: $d = 97$ and 470 pairs.
    """

    d: Annotated[int, Ge(2)] = 97
    num_observed: Annotated[int, Ge(1)] = 470

    def model_post_init(self, context: object) -> None:
        del context
        if self.num_observed >= self.d**2:
            accepted = f"should be below d² = {self.d**2}, to leave pairs to test"
            raise InputError("num_observed", self.num_observed, accepted)

    @property
    def num_indices(self) -> int:
        return self.d

    def sizes(self) -> Sizes:
        left = self.d**2 - self.num_observed
        keys = ("num_observed", "d", "d")
        return Sizes(self.num_observed, 2, left, num_bytes=4, keys=keys, block=left)

    @in_double
    def sample(self, key: PRNGKeyArray) -> Split:
        order = jr.permutation(key, self.d**2)
        pairs = jnp.stack(jnp.divmod(order, self.d), axis=1).astype(jnp.int32)
        train, test = (self._entries(p) for p in jnp.split(pairs, [self.num_observed]))
        return Split(train, Blocks(lambda index: test, 1))

    def _entries(self, pairs: Int[Array, "n 2"]) -> Samples:
        return Samples(pairs, jnp.prod(pairs.astype(jnp.float64), axis=1) / self.d**2)

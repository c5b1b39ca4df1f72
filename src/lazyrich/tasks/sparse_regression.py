"""Regression on the first few of many coordinates."""

from typing import Annotated

import jax.numpy as jnp
import jax.random as jr
from annotated_types import Ge
from jaxtyping import PRNGKeyArray

from .._core.errors import InputError
from .._core.precision import in_double
from ._base import AbstractTask, Samples, Sizes, Split, test_blocks
from .sparse_classification import signs


class SparseRegression(AbstractTask):
    r"""Random signs as inputs, labelled by a linear function of the first few.

    $x \sim \mathrm{Unif}\{\pm 1\}^d$ and $y = \langle x_{1:k}, w^* \rangle / \sqrt k$ with
    $w^* \in \{\pm 1\}^k$ drawn once, so $y$ has variance 1. Inputs are `int8`.

    - **Raises** [`InputError`][lazyrich.InputError] if `k` exceeds `d`.
    - **Source** sparse linear regression as in appendix B.2 of Lyu et al., ICLR 2024,
        arXiv:2311.18817, which does not state sizes.
    """

    n: Annotated[int, Ge(1)] = 40
    d: Annotated[int, Ge(1)] = 100
    k: Annotated[int, Ge(1)] = 3
    num_test: Annotated[int, Ge(1)] = 1000

    def model_post_init(self, context: object) -> None:
        del context
        if self.k > self.d:
            raise InputError("k", self.k, f"should be at most d = {self.d}")

    def sizes(self) -> Sizes:
        return Sizes(self.n, self.d, self.num_test, num_bytes=1)

    @in_double
    def sample(self, key: PRNGKeyArray) -> Split:
        teacher_key, train_key, test_key = jr.split(key, 3)
        teacher = jr.rademacher(teacher_key, (self.k,), jnp.float64) / jnp.sqrt(self.k)

        def draw(key: PRNGKeyArray, num: int) -> Samples:
            x = signs(key, num, self.d)
            return Samples(x, x[:, : self.k].astype(jnp.float64) @ teacher)

        return Split(draw(train_key, self.n), test_blocks(draw, test_key, self.num_test))

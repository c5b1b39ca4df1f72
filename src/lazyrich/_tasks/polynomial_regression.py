"""Regression on the square of a linear function."""

from typing import Annotated

import jax.numpy as jnp
import jax.random as jr
from annotated_types import Ge
from jaxtyping import PRNGKeyArray

from .._precision import in_double
from ._base import AbstractTask, Blocks, Samples, Split


class PolynomialRegression(AbstractTask):
    r"""$y = \frac12 (\beta \cdot x)^2$ with $x \sim N(0, I/D)$ and $\beta \sim N(0, I)$.

    - **Source** Kumar et al., ICLR 2024, arXiv:2310.06110: $D = 100$, 550 samples.
    """

    n: Annotated[int, Ge(1)] = 550
    d: Annotated[int, Ge(1)] = 100
    num_test: Annotated[int, Ge(1)] = 1000

    @in_double
    def sample(self, key: PRNGKeyArray) -> Split:
        teacher_key, train_key, test_key = jr.split(key, 3)
        teacher = jr.normal(teacher_key, (self.d,))

        def draw(key: PRNGKeyArray, num: int) -> Samples:
            x = jr.normal(key, (num, self.d)) / jnp.sqrt(self.d)
            return Samples(x, 0.5 * (x @ teacher) ** 2)

        test = draw(test_key, self.num_test)
        return Split(draw(train_key, self.n), Blocks(lambda index: test, 1))

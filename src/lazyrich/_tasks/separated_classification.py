"""Gaussian clouds pushed apart along one dense direction."""

from typing import Annotated

import jax.numpy as jnp
import jax.random as jr
from annotated_types import Ge
from jaxtyping import PRNGKeyArray

from .._columns import matvec
from .._precision import in_double
from ._base import AbstractTask, Samples, Split, test_blocks


class SeparatedClassification(AbstractTask):
    r"""L2-separated classes: a Gaussian, cut by a hyperplane and pulled apart.

    $z \sim N(0, I_d)$, $y = \operatorname{sign}\langle z, w^*\rangle$ and $x = z +
    \tfrac{\gamma}{2} y w^*$ with $\|w^*\|_2 = 1$: the direction $w^*$ separates the classes
    with L2 margin above $\gamma / 2$. Here $w^* = \{\pm 1\}^d / \sqrt d$ with signs drawn
    once, so that no small set of coordinates stands for it. Inputs are `float32`.

    - **Source** Lyu et al., ICLR 2024, arXiv:2311.18817, figure 1 (b);
        the paper leaves the direction of $w^*$ open.
    """

    n: Annotated[int, Ge(1)] = 32
    d: Annotated[int, Ge(1)] = 100_000
    gamma: Annotated[float, Ge(0)] = 25.0
    num_test: Annotated[int, Ge(1)] = 10_000

    @in_double
    def sample(self, key: PRNGKeyArray) -> Split:
        teacher_key, train_key, test_key = jr.split(key, 3)
        signs = jr.rademacher(teacher_key, (self.d,), jnp.float64)
        teacher = signs / jnp.sqrt(self.d)
        push = (0.5 * self.gamma * teacher).astype(jnp.float32)

        def draw(key: PRNGKeyArray, num: int) -> Samples:
            z = jr.normal(key, (num, self.d), jnp.float32)
            side = matvec(z, teacher)
            y = jnp.where(side < 0, -1.0, 1.0)
            return Samples(z + y.astype(jnp.float32)[:, None] * push[None], y)

        return Split(draw(train_key, self.n), test_blocks(draw, test_key, self.num_test))

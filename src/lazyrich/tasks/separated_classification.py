"""Gaussian clouds pushed apart along one dense direction."""

from typing import Annotated

import jax.numpy as jnp
import jax.random as jr
from annotated_types import Ge
from jaxtyping import PRNGKeyArray

from .._core.columns import matvec
from .._core.errors import InputError
from .._core.precision import in_double
from ._base import AbstractTask, Samples, Sizes, Split, test_blocks


class SeparatedClassification(AbstractTask):
    r"""L2-separated classes: a Gaussian, cut by a hyperplane and pulled apart.

    $z \sim N(0, I_d)$, $y = \operatorname{sign}\langle z, w^*\rangle$ and $x = z +
    \tfrac{\gamma}{2} y w^*$ with $\|w^*\|_2 = 1$: the direction $w^*$ separates the classes
    with L2 margin above $\gamma / 2$. Here $w^*$ has entries $\pm 1/\sqrt k$, signs drawn once,
    in its first $k$ coordinates, and zeros after them. With $k = d$ no small set of coordinates
    stands for it; with $k = 1$ one coordinate does. Gaussians are alike in all directions, so
    whatever hangs on inner products of inputs alone, the max L2 margin above all, has one law
    for every $k$. Inputs are `float32`.

    - **Takes** `gamma`, $\gamma$; `k`, zero for $d$; `random_labels`, whether labels are fair signs
        independent of the inputs, whose law stays: a control in which there is nothing to be
        learned.
    - **Raises** [`InputError`][lazyrich.InputError] if `k` exceeds `d`.
    - **Source** Lyu et al., ICLR 2024, arXiv:2311.18817, figure 1 (b);
        the paper leaves the direction of $w^*$ open.
    """

    n: Annotated[int, Ge(1)] = 32
    d: Annotated[int, Ge(1)] = 100_000
    gamma: Annotated[float, Ge(0)] = 25.0
    num_test: Annotated[int, Ge(1)] = 10_000
    k: Annotated[int, Ge(0)] = 0
    random_labels: bool = False

    def model_post_init(self, context: object) -> None:
        del context
        if self.k > self.d:
            raise InputError("k", self.k, f"should be at most d = {self.d}")

    def sizes(self) -> Sizes:
        return Sizes(self.n, self.d, self.num_test, num_bytes=4)

    @in_double
    def sample(self, key: PRNGKeyArray) -> Split:
        teacher_key, train_key, test_key = jr.split(key, 3)
        signs = jr.rademacher(teacher_key, (self.d,), jnp.float64)
        k = self.k or self.d
        teacher = jnp.where(jnp.arange(self.d) < k, signs, 0.0) / jnp.sqrt(k)
        push = (0.5 * self.gamma * teacher).astype(jnp.float32)

        def draw(key: PRNGKeyArray, num: int) -> Samples:
            z = jr.normal(key, (num, self.d), jnp.float32)
            side = matvec(z, teacher)
            y = jnp.where(side < 0, -1.0, 1.0)
            x = z + y.astype(jnp.float32)[:, None] * push[None]
            if self.random_labels:
                y = jr.rademacher(jr.fold_in(key, 1), (num,), jnp.float64)
            return Samples(x, y)

        return Split(draw(train_key, self.n), test_blocks(draw, test_key, self.num_test))

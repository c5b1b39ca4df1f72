"""Gaussian classes separated along one dense direction."""

from typing import Annotated, Any

import jax.numpy as jnp
import jax.random as jr
from annotated_types import Ge
from jaxtyping import PRNGKeyArray

from .._core.columns import matvec
from .._core.errors import InputError
from .._core.precision import in_double
from ._base import AbstractTask, Samples, Sizes, Split, test_blocks


class SeparatedClassification(AbstractTask):
    r"""Gaussian inputs, divided into two classes by a hyperplane and moved apart.

    $z \sim N(0, I_d)$, $y = \operatorname{sign}\langle z, w^*\rangle$ and $x = z +
    \tfrac{\gamma}{2} y w^*$ with $\|w^*\|_2 = 1$. The direction $w^*$ separates the classes with an
    L2 margin above $\gamma / 2$. The first $k$ entries of $w^*$ are $\pm 1/\sqrt k$, with signs
    drawn once; the others are zero. With $k = d$ the labels depend on all coordinates, with
    $k = 1$ on one. The Gaussian distribution is isotropic, so quantities that depend only on inner
    products of inputs, such as the max L2 margin, have the same distribution for every $k$.
    Inputs are `float32`.

    - **Takes** `gamma`, $\gamma$; `k`, where zero means $d$; `random_labels`, whether labels are
        random signs independent of the inputs, whose distribution is unchanged. This is a control:
        training samples then contain no information on test labels.
    - **Raises** [`InputError`][lazyrich.InputError] if `k` exceeds `d`.
    - **Source** Lyu et al., ICLR 2024, arXiv:2311.18817, figure 1 (b);
        the paper does not state the direction of $w^*$.
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

    def null_control(self) -> dict[str, Any] | None:
        return {} if self.random_labels else {"random_labels": True}

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

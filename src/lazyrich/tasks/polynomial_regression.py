"""Regression on the square of a linear function."""

from typing import Annotated, Literal

import jax.numpy as jnp
import jax.random as jr
from annotated_types import Ge
from jaxtyping import Array, Float, PRNGKeyArray

from .._core.precision import in_double
from ._base import AbstractTask, Blocks, Samples, Sizes, Split


class PolynomialRegression(AbstractTask):
    r"""The square of a linear function, with $\beta \sim N(0, I)$.

    - **Takes** `convention`: `small_inputs` is $x \sim N(0, I/D)$, $y = \frac12 (\beta \cdot
        x)^2$; `unit_inputs` is $x \sim N(0, I)$, $y = (\beta \cdot x / \sqrt D)^2$, which is twice
        as large, for models that divide their inputs by $\sqrt D$.
    - `coupled`, whether $\beta$ and the training inputs are drawn from the key that initialises
        the model, as in the source's notebook. The first $n$ initial weight vectors of a
        [`CommitteeMachine`][lazyrich.models.CommitteeMachine] are then the training inputs, and
        the first of them is $\beta$.
    - **Source** Kumar et al., ICLR 2024, arXiv:2310.06110: $D = 100$, 550 samples.
    """

    n: Annotated[int, Ge(1)] = 550
    d: Annotated[int, Ge(1)] = 100
    num_test: Annotated[int, Ge(1)] = 1000
    convention: Literal["small_inputs", "unit_inputs"] = "small_inputs"
    coupled: bool = False

    @property
    def drawn_with_model(self) -> bool:
        return self.coupled

    @property
    def unit_inputs(self) -> bool:
        """Whether inputs have unit variance."""
        return self.convention == "unit_inputs"

    @property
    def label_scale(self) -> float:
        r"""$\tau$ in $y = \frac\tau2 (\beta \cdot x)^2$, for $x$ of variance $1/D$."""
        return 1.0 if self.convention == "small_inputs" else 2.0

    @in_double
    def teacher(self, key: PRNGKeyArray) -> Float[Array, " d"]:
        r"""The $\beta$ of the data that `sample` draws from the same key."""
        return jr.normal(key if self.coupled else jr.split(key, 3)[0], (self.d,))

    @in_double
    def quadratic_teacher(self, key: PRNGKeyArray) -> Float[Array, " d"]:
        r"""$v = \sqrt\tau \beta$, shape `(d,)`: labels are $\frac12 (v \cdot x)^2$."""
        return jnp.sqrt(self.label_scale) * self.teacher(key)

    def sizes(self) -> Sizes:
        return Sizes(self.n, self.d, self.num_test, block=self.num_test)

    @in_double
    def sample(self, key: PRNGKeyArray) -> Split:
        _, train_key, test_key = jr.split(key, 3)
        teacher = self.teacher(key)
        root, unit = jnp.sqrt(self.d), self.unit_inputs

        def draw(key: PRNGKeyArray, num: int) -> Samples:
            x = jr.normal(key, (num, self.d))
            small = x / root
            return Samples(x if unit else small, 0.5 * self.label_scale * (small @ teacher) ** 2)

        test = draw(test_key, self.num_test)
        return Split(
            draw(key if self.coupled else train_key, self.n), Blocks(lambda index: test, 1)
        )

"""Classification by the first few of many coordinates."""

import functools
from typing import Annotated, Any

import jax
import jax.numpy as jnp
import jax.random as jr
from annotated_types import Ge
from jaxtyping import Array, Int8, PRNGKeyArray

from .._core.errors import InputError
from .._core.precision import in_double
from ._base import AbstractTask, Samples, Sizes, Split, test_blocks


class SparseClassification(AbstractTask):
    r"""Random signs as inputs, labelled by a weighted vote of the first few.

    $x \sim \mathrm{Unif}\{\pm 1\}^d$ and $y = \operatorname{sign}\langle x_{1:k}, w^*
    \rangle$ with $w^* \in \{\pm 1\}^k$ drawn once. $k$ is odd, so the sum is never zero.
    Inputs are `int8`.

    - **Takes** `random_labels`, whether labels are random signs independent of the inputs. This is
        a control: training samples then contain no information on test labels.
    - **Raises** [`InputError`][lazyrich.InputError] if `k` is even or exceeds `d`.
    - **Source** Lyu et al., ICLR 2024, arXiv:2311.18817, figure 1 (a).
    """

    n: Annotated[int, Ge(1)] = 256
    d: Annotated[int, Ge(1)] = 100_000
    k: Annotated[int, Ge(1)] = 3
    num_test: Annotated[int, Ge(1)] = 10_000
    random_labels: bool = False

    def model_post_init(self, context: object) -> None:
        del context
        if self.k % 2 == 0 or self.k > self.d:
            raise InputError("k", self.k, f"should be odd and at most d = {self.d}")

    def null_control(self) -> dict[str, Any] | None:
        return {} if self.random_labels else {"random_labels": True}

    def sizes(self) -> Sizes:
        return Sizes(self.n, self.d, self.num_test, num_bytes=1)

    @in_double
    def sample(self, key: PRNGKeyArray) -> Split:
        teacher_key, train_key, test_key = jr.split(key, 3)
        teacher = jr.rademacher(teacher_key, (self.k,), jnp.int8)

        def draw(key: PRNGKeyArray, num: int) -> Samples:
            if self.random_labels:
                input_key, label_key = jr.split(key)
                labels = jr.rademacher(label_key, (num,), jnp.float64)
                return Samples(signs(input_key, num, self.d), labels)
            x = signs(key, num, self.d)
            vote = jnp.sum(x[:, : self.k] * teacher[None], axis=1, dtype=jnp.int32)
            return Samples(x, jnp.sign(vote).astype(jnp.float64))

        return Split(draw(train_key, self.n), test_blocks(draw, test_key, self.num_test))


def signs(key: PRNGKeyArray, num: int, dim: int) -> Int8[Array, "{num} {dim}"]:
    """Independent random signs, one random bit each; `jr.rademacher` uses a word for each."""
    return _unpack(jr.bits(key, (num, -(-dim // 32)), jnp.uint32), dim)


@functools.partial(jax.jit, static_argnums=1)
def _unpack(words: Array, dim: int) -> Array:
    places = jnp.arange(32, dtype=jnp.uint32)[None, None]
    bits = (words[:, :, None] >> places) & 1
    return (2 * bits.astype(jnp.int8) - 1).reshape(words.shape[0], -1)[:, :dim]

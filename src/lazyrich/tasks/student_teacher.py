"""Regression on the outputs of a random network."""

import itertools
from typing import Annotated, Literal

import jax
import jax.numpy as jnp
import jax.random as jr
from annotated_types import Ge, Gt
from jaxtyping import Array, Float, PRNGKeyArray

from .._core.precision import in_double
from ._base import AbstractTask, Samples, Sizes, Split, test_blocks

Size = Annotated[int, Ge(1)]
# Weights `(out, in)` and bias of each layer.
Teacher = list[tuple[Array, Array]]


class StudentTeacher(AbstractTask):
    r"""Inputs $x \sim N(0, I_d)$, labelled by a random network.

    The teacher has hidden layers of `widths`, then `outputs`, with a bias in every layer. Weights
    and biases are uniform in $\pm$ `gain` over the root of the fan-in. With `gain = 1` this is the
    `initialisation` `uniform` of an [`MLP`][lazyrich.models.MLP]. Labels have shape
    `(n, outputs)`.

    - **Takes** `n` and `num_test`, numbers of samples; `d`; `widths`; `outputs`; `activation`,
        `tanh` or `relu`; `bias`, whether the teacher has biases; `gain`.
    - **Source** Liu et al., ICLR 2023, arXiv:2210.01117, as used by Kumar et al., ICLR
        2024, arXiv:2310.06110, figure 8.
    """

    n: Size = 100
    d: Size = 5
    widths: tuple[Size, ...] = (100, 100)
    outputs: Size = 5
    num_test: Size = 100
    activation: Literal["tanh", "relu"] = "tanh"
    bias: bool = True
    gain: Annotated[float, Gt(0)] = 1.0

    def sizes(self) -> Sizes:
        layers = (self.d, *self.widths, self.outputs)
        teacher = sum(a * b for a, b in itertools.pairwise(layers))
        labels = (self.n + self.num_test) * self.outputs
        other = {"widths": 8 * teacher, "outputs": 8 * labels}
        return Sizes(self.n, self.d, self.num_test, other=other)

    @in_double
    def sample(self, key: PRNGKeyArray) -> Split:
        teacher_key, train_key, test_key = jr.split(key, 3)
        layers = self.teacher(teacher_key)

        def draw(key: PRNGKeyArray, num: int) -> Samples:
            x = jr.normal(key, (num, self.d))
            return Samples(x, labelled(layers, x, self.activation))

        return Split(draw(train_key, self.n), test_blocks(draw, test_key, self.num_test))

    @in_double
    def teacher(self, key: PRNGKeyArray) -> Teacher:
        """Weights and biases of each layer of a teacher drawn from `key`."""
        sizes = [self.d, *self.widths, self.outputs]
        layers = []
        keys = jr.split(key, 2 * (len(sizes) - 1)).reshape(-1, 2)
        for pair, fan_in, out in zip(keys, sizes[:-1], sizes[1:], strict=True):
            shapes, bound = ((out, fan_in), (out,)), self.gain * fan_in**-0.5
            weights, bias = (
                jr.uniform(key, shape, minval=-bound, maxval=bound)
                for key, shape in zip(pair, shapes, strict=True)
            )
            layers.append((weights, bias if self.bias else jnp.zeros(out)))
        return layers


def labelled(
    teacher: Teacher, x: Float[Array, "n d"], activation: Literal["tanh", "relu"] = "tanh"
) -> Float[Array, "n c"]:
    """The outputs of a teacher."""
    *hidden, (weights, bias) = teacher
    phi = {"tanh": jnp.tanh, "relu": jax.nn.relu}[activation]
    for w, b in hidden:
        x = phi(x @ w.T + b[None])
    return x @ weights.T + bias[None]

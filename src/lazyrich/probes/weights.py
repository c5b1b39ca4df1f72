"""The weights of a linear model."""

from typing import ClassVar, Literal

import equinox as eqx
from jaxtyping import Array, Float

from .._core.precision import promoted
from ._base import AbstractProbe, RunContext, RunState
from .norms import weights_of


class Weights(AbstractProbe):
    r"""The weights $w$ of a linear model, with $f(x) = \langle w, x\rangle$, or the matrix $W$.

    For a diagonal net $w = u^{\odot L} - v^{\odot L}$, shape `(d,)`. For matrix factorisation $W =
    UU^\top - VV^\top$, shape `(size, size)`. A record of `t` times takes $8 t d$ or $8 t d^2$
    bytes: 240 MB for 300 times at $d = 10^5$. Use [`Times`][lazyrich.dynamics.Times] to choose
    fewer.

    - **Takes** `num_axes`: 1 for models whose weights are a vector, 2 for those with a matrix.
    """

    meaning: ClassVar = (
        "weights of a linear model: $w$ along the dimension `input`, or the matrix $W$ along "
        "`row` and `column`"
    )
    num_axes: Literal[1, 2] = eqx.field(static=True, default=1)

    @property
    def name(self) -> str:
        return "weights" if self.num_axes == 1 else "weight_matrix"

    @property
    def long_name(self) -> str:
        return "weights" if self.num_axes == 1 else "matrix of the weights"

    @property
    def dims(self) -> tuple[str, ...]:
        return ("input",) if self.num_axes == 1 else ("row", "column")

    def num_values(self, num_train: int, dim: int, num_params: int) -> int:
        del num_train, num_params
        return dim if self.num_axes == 1 else 1  # the size of a matrix is known to the model

    def applies(self, context: RunContext) -> bool:
        return len(context.weights_shape) == self.num_axes

    @promoted
    def __call__(self, state: RunState, context: RunContext) -> Float[Array, "..."]:
        del context
        return weights_of(state)

"""Committee machines with fixed readouts."""

from typing import Annotated

import jax.numpy as jnp
import jax.random as jr
from annotated_types import Ge, Gt
from jax import lax
from jaxtyping import Array, Float, PRNGKeyArray, Shaped

from .._precision import in_double
from ._base import AbstractModel


class CommitteeMachine(AbstractModel):
    r"""$f(x) = \frac{\alpha_\text{out}}{N} \sum_i \phi(w_i \cdot x)$, readouts fixed at one.

    $\phi(h) = h + \frac\epsilon2 h^2$. The parameters are the weights, shape `(width, d)`,
    standard normal at `init_scale` 1.
    Not homogeneous.

    - **Takes** `width`, $N$; `epsilon`, $\epsilon$; `output_scale`, $\alpha_\text{out}$.
    - **Source** Kumar et al., ICLR 2024, arXiv:2310.06110: polynomial regression.
    """

    width: Annotated[int, Ge(1)] = 500
    epsilon: float = 0.25
    output_scale: Annotated[float, Gt(0)] = 1.0

    @property
    def homogeneity(self) -> None:
        return None

    @in_double
    def init(self, key: PRNGKeyArray, dim: int) -> Float[Array, "h d"]:
        return jr.normal(key, (self.width, dim))

    def apply(self, params: Float[Array, "h d"], x: Shaped[Array, "n d"]) -> Float[Array, " n"]:
        h = x @ params.T
        return self.output_scale * jnp.mean(h + 0.5 * self.epsilon * h**2, axis=1)

    def tangent_kernel(
        self, params: Float[Array, "h d"], x: Shaped[Array, "n d"]
    ) -> Float[Array, "n n"]:
        r"""$(\alpha_\text{out}/N)^2\, (X X^\top) \circ (\Phi' \Phi'^\top)$."""
        slopes = self.output_scale / self.width * (1 + self.epsilon * (x @ params.T))

        # Some rows at a time, in place: a whole product more would be as large as the kernel.
        n = x.shape[0]
        rows = min(n, 256)

        def fill(block: Array, kernel: Array) -> Array:
            start = jnp.minimum(block * rows, n - rows)
            some_x, some_slopes = (
                lax.dynamic_slice_in_dim(a, start, rows, axis=0) for a in (x, slopes)
            )
            products = (some_x @ x.T) * (some_slopes @ slopes.T)
            return lax.dynamic_update_slice_in_dim(kernel, products, start, axis=0)

        return lax.fori_loop(0, -(-n // rows), fill, jnp.zeros((n, n), slopes.dtype))

"""Symmetric matrix factorisation."""

from typing import Annotated, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from annotated_types import Ge
from jaxtyping import Array, Float, Int, PRNGKeyArray, Shaped

from .._core.errors import InputError
from .._core.precision import in_double, promoted
from .linear import AbstractLinearModel
from .theory import Theory


class FactorParams(NamedTuple):
    """Parameters `u` and `v` of a factorised matrix, each of shape `(size, size)`."""

    u: Float[Array, "d d"]
    v: Float[Array, "d d"]


class MatrixFactorisation(AbstractLinearModel):
    r"""The entries of $W = U U^\top - V V^\top$: $f((i, j)) = W_{ij}$.

    Inputs are pairs of indices smaller than `size`, integers of any type. At `init_scale` 1, $U = V
    = I$. Then $\|\theta(0)\|_2 = \alpha \sqrt{2 \cdot \text{size}}$ and $W(0) = 0$.

    - **Source** Lyu et al., ICLR 2024, arXiv:2311.18817: matrix completion; the
        over-parametrised factorisation is from Gunasekar et al., NeurIPS 2017,
        arXiv:1705.09280.
    """

    size: Annotated[int, Ge(1)]

    @property
    def homogeneity(self) -> int:
        return 2

    @in_double
    def init(self, key: PRNGKeyArray, dim: int) -> FactorParams:
        del key, dim
        identity = jnp.eye(self.size, dtype=jnp.float64)
        return FactorParams(identity, identity)

    def check_inputs(self, x: Shaped[Array, "n d"], key: str) -> None:
        index = np.asarray(x)
        if index.shape[1:] != (2,) or np.any(index != np.floor(index)):
            accepted = (
                "MatrixFactorisation needs pairs of whole numbers, such as MatrixCompletion's"
            )
            raise InputError(key, f"inputs {index.dtype} {index.shape}", accepted)
        if index.min() < 0:
            accepted = "MatrixFactorisation needs indices from 0 on"
            raise InputError(key, f"an index of {int(index.min())}", accepted)
        if index.max() >= self.size:
            accepted = f"should exceed every index; the largest of {key} is {int(index.max())}"
            raise InputError("model.size", self.size, accepted)

    def check_indices(self, num: int) -> None:
        # Rows of U and V that no sample has would only decay, and count in every norm.
        if self.size > num:
            accepted = f"should be {num}, the size of the task's matrix (task.d)"
            raise InputError("model.size", self.size, accepted)

    @in_double
    def cast_inputs(self, x: Shaped[Array, "n 2"]) -> Int[Array, "n 2"]:
        return jnp.asarray(x).astype(jnp.int32)

    @promoted
    def weights(self, params: FactorParams) -> Float[Array, "d d"]:
        return params.u @ params.u.T - params.v @ params.v.T

    def theory(self, classification: bool) -> Theory:
        entries, family = self.size**2, type(self).__name__
        if classification:
            return Theory(entries=entries, family=family, of_any_task=True)
        return Theory("completion", "nuclear", 1.0, entries, family, of_any_task=True)

    @promoted
    def kernel_weights(self, params: FactorParams) -> Float[Array, "d d"] | None:
        # At multiples of the identity, all entries of a symmetric matrix have the same weight.
        if all(bool(jnp.all(f == f[0, 0] * jnp.eye(len(f)))) for f in params):
            return jnp.ones((self.size, self.size))
        return None

    @promoted
    def evaluate(self, weights: Float[Array, "d d"], x: Shaped[Array, "n 2"]) -> Float[Array, " n"]:
        i, j = self.cast_inputs(x).T
        return weights[i, j]

    @promoted
    def apply(self, params: FactorParams, x: Shaped[Array, "n 2"]) -> Float[Array, " n"]:
        # For few entries, inner products of rows are cheaper than the whole of W.
        if x.shape[0] > self.size * self.size // 4:
            return self.evaluate(self.weights(params), x)
        i, j = self.cast_inputs(x).T
        return jnp.sum(params.u[i] * params.u[j] - params.v[i] * params.v[j], axis=1)

    @promoted
    def tangent_kernel(self, params: FactorParams, x: Shaped[Array, "n 2"]) -> Float[Array, "n n"]:
        r"""Entries of $G = U U^\top + V V^\top$ for pairs that share an index.

        $K_{(ij),(kl)} = \delta_{ik} G_{jl} + \delta_{il} G_{jk} + \delta_{jk} G_{il} +
        \delta_{jl} G_{ik}$. This takes four gathers; a row of the Jacobian would have $n d$
        numbers.
        """
        g = params.u @ params.u.T + params.v @ params.v.T
        x = self.cast_inputs(x)
        i, j = x.T

        def row(pair: Int[Array, " 2"]) -> Float[Array, " n"]:
            first, second = pair
            return (
                jnp.where(i == first, g[second][j], 0.0)
                + jnp.where(i == second, g[first][j], 0.0)
                + jnp.where(j == first, g[second][i], 0.0)
                + jnp.where(j == second, g[first][i], 0.0)
            )

        # A few rows at a time: four gathered matrices would each be as large as the kernel.
        return jax.lax.map(row, x, batch_size=16)

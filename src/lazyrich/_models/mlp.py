"""Multi-layer perceptrons."""

from collections.abc import Callable
from typing import Annotated, Literal, NamedTuple

import jax
import jax.numpy as jnp
import jax.random as jr
from annotated_types import Ge
from jaxtyping import Array, Float, PRNGKeyArray, Shaped

from .._precision import in_double
from ._base import AbstractModel

Width = Annotated[int, Ge(1)]


class MLPParams(NamedTuple):
    """Weights `(out, in)` of every layer, and the bias of the first, empty if it has none."""

    weights: tuple[Float[Array, "out in"], ...]
    bias: Float[Array, " h"]


class MLP(AbstractModel):
    r"""A fully connected net whose only bias is in its first layer.

    $h_1 = \phi(W_1 x + b)$, $h_l = \phi(W_l h_{l-1})$ and $f = W h_L$. With a homogeneous
    activation the net is homogeneous: of degree $L + 1$ for ReLU, leaky ReLU (slope 0.01)
    and the identity.

    - **Takes** `widths` of the hidden layers; `outputs`, zero for one output without an
        axis; `activation`; `bias`; `zero_last`, whether the last layer starts at zero, so
        that the net does.
    - At `init_scale` 1, weights are Gaussian of variance 2 over the fan-in (He); the bias
        is zero.
    - **Source** the modular-addition net of Lyu et al., ICLR 2024, arXiv:2311.18817: one
        hidden layer of 1024 ReLUs.
    """

    widths: tuple[Width, ...] = (1024,)
    outputs: Annotated[int, Ge(0)] = 0
    activation: Literal["relu", "leaky_relu", "quadratic", "identity", "tanh"] = "relu"
    bias: bool = True
    zero_last: bool = False

    @property
    def homogeneity(self) -> int | None:
        if self.activation == "tanh":
            return None
        power, degree = (2 if self.activation == "quadratic" else 1), 0
        for _ in self.widths:
            degree = power * (degree + 1)
        return degree + 1

    @in_double
    def init(self, key: PRNGKeyArray, dim: int) -> MLPParams:
        sizes = [dim, *self.widths, max(1, self.outputs)]
        keys = jr.split(key, len(sizes) - 1)
        weights = [
            jr.normal(key, (out, fan_in)) * jnp.sqrt(2 / fan_in)
            for key, out, fan_in in zip(keys, sizes[1:], sizes[:-1], strict=True)
        ]
        if self.zero_last:
            weights[-1] = jnp.zeros_like(weights[-1])
        return MLPParams(tuple(weights), jnp.zeros(sizes[1] if self.bias else 0))

    def apply(self, params: MLPParams, x: Shaped[Array, "n d"]) -> Float[Array, " n *c"]:
        f = self._layers(params, x)[1][-1] @ params.weights[-1].T
        return f if self.outputs else f[:, 0]

    def tangent_kernel(self, params: MLPParams, x: Shaped[Array, "n d"]) -> Float[Array, "m m"]:
        r"""Layer by layer: $K_{(ia),(jb)} = \sum_l \langle h_{l-1,i}, h_{l-1,j} \rangle
        \langle \delta_{l,ia}, \delta_{l,jb} \rangle$ with $\delta_l = \partial f / \partial
        z_l$, so that no Jacobian with respect to the parameters is made."""
        before, after = self._layers(params, x)
        n, c = x.shape[0], max(1, self.outputs)
        slope = jax.vmap(jax.vmap(jax.grad(_ACTIVATIONS[self.activation])))
        kernel = jnp.einsum("ij,ab->iajb", after[-1] @ after[-1].T, jnp.eye(c))
        delta = jnp.broadcast_to(params.weights[-1][None], (n, *params.weights[-1].shape))
        for layer in range(len(self.widths), 0, -1):
            delta = delta * slope(before[layer - 1])[:, None, :]
            inputs = after[layer - 1] @ after[layer - 1].T
            if layer == 1 and self.bias:
                inputs = inputs + 1.0
            flat = delta.reshape(n * c, -1)
            kernel += (flat @ flat.T).reshape(n, c, n, c) * inputs[:, None, :, None]
            delta = delta @ params.weights[layer - 1]
        return kernel.reshape(n * c, n * c)

    def _layers(self, params: MLPParams, x: Array) -> tuple[list[Array], list[Array]]:
        """Every hidden layer before its activation; the input and every layer after it."""
        phi = _ACTIVATIONS[self.activation]
        before, after = [], [x.astype(params.weights[0].dtype)]
        for layer, weights in enumerate(params.weights[:-1]):
            z = after[-1] @ weights.T
            if layer == 0 and self.bias:
                z = z + params.bias[None]
            before.append(z)
            after.append(phi(z))
        return before, after


_ACTIVATIONS: dict[str, Callable[[Array], Array]] = {
    "relu": jax.nn.relu,
    "leaky_relu": jax.nn.leaky_relu,
    "quadratic": jnp.square,
    "identity": lambda z: z,
    "tanh": jnp.tanh,
}

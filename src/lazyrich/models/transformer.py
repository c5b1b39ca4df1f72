"""A transformer with one layer."""

from typing import Annotated, ClassVar, NamedTuple

import jax
import jax.numpy as jnp
import jax.random as jr
from annotated_types import Ge
from jaxtyping import Array, Float, PRNGKeyArray, Shaped

from .._core.errors import InputError
from .._core.precision import in_double, promoted
from ._base import AbstractModel, OutputScale
from ._linear_maps import with_bias
from .normalisation import Normalisation, normalised
from .theory import Theory


class TransformerParams(NamedTuple):
    """Sizes: vocabulary `v`, width `d`, `h` heads of size `k`, `m` ReLUs."""

    embedding: Float[Array, "v d"]
    positions: Float[Array, "t d"]
    queries: Float[Array, "h k d"]
    keys: Float[Array, "h k d"]
    values: Float[Array, "h k d"]
    heads_out: Float[Array, "d h k"]
    mlp_in: Float[Array, "m d"]
    mlp_in_bias: Float[Array, " m"]
    mlp_out: Float[Array, "d m"]
    mlp_out_bias: Float[Array, " d"]
    unembedding: Float[Array, "d v"]


class Transformer(AbstractModel):
    r"""Attention and one hidden layer of ReLUs, both with residual connections.

    Inputs are `num_tokens` one-hot blocks, as in
    [`ModularArithmetic`][lazyrich.tasks.ModularArithmetic]. A last token, "=", is appended. The
    outputs are read at its position: one number for each token of the vocabulary, "=" included,
    times $\alpha_\text{out}$.

    A causal mask does not affect the last position, and with one layer no other position affects
    the outputs. Only the last position is computed.

    - **Takes** `width`, $d$, the size of a position; `heads`, a divisor of `width`; `mlp_width`;
        `num_tokens`, without "="; `output_scale`, $\alpha_\text{out}$.
    - `normalisation`, of the inputs of the attention, of the hidden layer and of the last map
        ("pre-norm"): `none`, `layer` or `rms`, without an $\varepsilon$. Gains are left out: the
        maps that follow contain them. $f$ then does not depend on the common scale of all that
        adds to the residual stream: `embedding`, `positions`, `heads_out`, `mlp_out` and
        `mlp_out_bias`. Queries, keys, values, `mlp_in` and `unembedding` are not invariant.
    - At `init_scale` 1, weights are Gaussian of variance $1/d$, except in the output layer, where
        the variance is one over the size of the vocabulary. Biases are zero.
    - **Raises** [`InputError`][lazyrich.InputError] if the inputs are not `num_tokens` blocks of
        equal length.
    - **Source** Nanda et al., ICLR 2023, arXiv:2301.05217; Kumar et al., ICLR 2024,
        arXiv:2310.06110, figure 6b.
    """

    numbers: ClassVar[tuple[str, ...]] = ("output_scale",)

    width: Annotated[int, Ge(1)] = 128
    heads: Annotated[int, Ge(1)] = 4
    mlp_width: Annotated[int, Ge(1)] = 512
    num_tokens: Annotated[int, Ge(1)] = 2
    output_scale: OutputScale = 1.0
    normalisation: Normalisation = "none"

    def model_post_init(self, context: object) -> None:
        del context
        if self.normalisation == "layer" and self.width == 1:
            accepted = "should be 2 or more with layer: one number minus its mean is zero"
            raise InputError("width", self.width, accepted)
        if self.width % self.heads:
            raise InputError("heads", self.heads, f"should divide the width, {self.width}")

    @property
    def homogeneity(self) -> None:
        return None

    def theory(self, classification: bool) -> Theory:
        del classification
        # The calibrated constants of the family "Transformer" are of nets without normalisation.
        whole = self.normalisation == "none"
        return Theory(family="Transformer" if whole else "NormalisedTransformer")

    @property
    def has_kinks(self) -> bool:
        return True

    @property
    def alpha_out(self) -> float:
        return self.output_scale

    @in_double
    def init(self, key: PRNGKeyArray, dim: int) -> TransformerParams:
        vocabulary, size = dim // self.num_tokens + 1, self.width // self.heads
        head = (self.heads, size, self.width)
        shapes = {
            "embedding": (vocabulary, self.width),
            "positions": (self.num_tokens + 1, self.width),
            "queries": head,
            "keys": head,
            "values": head,
            "heads_out": (self.width, self.heads, size),
            "mlp_in": (self.mlp_width, self.width),
            "mlp_out": (self.width, self.mlp_width),
        }
        *keys, last = jr.split(key, len(shapes) + 1)
        drawn = {
            name: jr.normal(key, shape) * self.width**-0.5
            for key, (name, shape) in zip(keys, shapes.items(), strict=True)
        }
        return TransformerParams(
            **drawn,
            mlp_in_bias=jnp.zeros(self.mlp_width),
            mlp_out_bias=jnp.zeros(self.width),
            unembedding=jr.normal(last, (self.width, vocabulary)) * vocabulary**-0.5,
        )

    @promoted
    def apply(self, params: TransformerParams, x: Shaped[Array, "n d"]) -> Float[Array, "n v"]:
        n, embedding = x.shape[0], params.embedding
        blocks = x.reshape(n, self.num_tokens, -1).astype(embedding.dtype)
        tokens = blocks @ embedding[:-1]
        end = jnp.broadcast_to(embedding[-1], (n, 1, self.width))
        stream = jnp.concatenate([tokens, end], axis=1) + params.positions[None]
        last = stream[:, -1]

        read = normalised(stream, self.normalisation)
        query = jnp.einsum("hkd,nd->nhk", params.queries, read[:, -1])
        key = jnp.einsum("hkd,ntd->nhtk", params.keys, read)
        value = jnp.einsum("hkd,ntd->nhtk", params.values, read)
        scores = jnp.einsum("nhk,nhtk->nht", query, key) * (self.width // self.heads) ** -0.5
        attended = jnp.einsum("nht,nhtk->nhk", jax.nn.softmax(scores, axis=2), value)
        last = last + jnp.einsum("dhk,nhk->nd", params.heads_out, attended)

        read = normalised(last, self.normalisation)
        hidden = jax.nn.relu(read @ params.mlp_in.T + params.mlp_in_bias[None])
        last = last + hidden @ params.mlp_out.T + params.mlp_out_bias[None]
        last = normalised(last, self.normalisation)
        return self.output_scale * (last @ params.unembedding)

    def linear_maps(self, params: TransformerParams) -> list[Array]:
        width = self.width
        return [
            params.embedding,
            params.positions,
            *(heads.reshape(-1, width) for heads in (params.queries, params.keys, params.values)),
            params.heads_out.reshape(width, -1),
            with_bias(params.mlp_in, params.mlp_in_bias),
            with_bias(params.mlp_out, params.mlp_out_bias),
            params.unembedding.T,
        ]

    @in_double
    def cast_inputs(self, x: Shaped[Array, "n d"]) -> Shaped[Array, "n d"]:
        return jnp.asarray(x)

    def check_inputs(self, x: Shaped[Array, "n d"], key: str) -> None:
        if x.shape[1] % self.num_tokens or x.shape[1] < self.num_tokens:
            accepted = f"Transformer needs {self.num_tokens} one-hot blocks of one size"
            raise InputError(key, f"inputs of length {x.shape[1]}", accepted)

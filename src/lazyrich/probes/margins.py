"""Margins of any classifier, and whether its softmax has saturated."""

from typing import ClassVar

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Shaped

from .._core.precision import promoted
from ._base import AbstractProbe, RunContext, RunState
from .norms import ParamNorm


@promoted
def margins(f: Float[Array, " n *c"], y: Shaped[Array, " n"]) -> Float[Array, " n"]:
    r"""How far each sample is on its side: $y_i f_i$, or the label's output less the largest other.

    - **Takes** outputs `(n,)` with signs, or `(n, c)` with classes.
    """
    if f.ndim == 1:
        return f * y
    right = jnp.arange(f.shape[1])[None] == y[:, None]
    return jnp.sum(jnp.where(right, f, 0.0), axis=1) - jnp.max(
        jnp.where(right, -jnp.inf, f), axis=1
    )


class Margin(AbstractProbe):
    """The smallest training margin, see [`margins`][lazyrich.probes.margins].

    Positive exactly when every training sample is fitted.
    """

    named: ClassVar = ("margin", "smallest training margin")
    meaning: ClassVar = (
        "smallest training margin of any classifier: $y_i f_i$, or the output of the right class "
        "minus the largest other output"
    )

    def applies(self, context: RunContext) -> bool:
        return context.labels != "reals"

    def __call__(self, state: RunState, context: RunContext) -> Float[Array, ""]:
        return jnp.min(margins(state.f_train, context.y_train))


class HomogeneousMargin(Margin):
    r"""The smallest training margin over $\|\theta\|_2^L$, for a model of degree $L$.

    In a rich phase it rises towards a KKT point's. NaN at $\theta = 0$, which has no direction.

    - **Source** Lyu & Li, ICLR 2020, arXiv:1906.05890: "normalized margin".
    """

    named: ClassVar = ("normalised_margin", "smallest training margin over the norm to the degree")
    meaning: ClassVar = r"`margin` divided by $\lVert\theta\rVert_2^L$, for a model of degree $L$"

    def applies(self, context: RunContext) -> bool:
        return super().applies(context) and context.model.homogeneity is not None

    def __call__(self, state: RunState, context: RunContext) -> Float[Array, ""]:
        degree = context.model.homogeneity
        assert degree is not None  # `applies` has made sure
        # Of parameters scaled to norm one, as a power of a norm of 1e4 or 1e-4 goes far.
        norm = ParamNorm()(state, context)
        return super().__call__(state, context) * jnp.exp(-degree * jnp.log(norm))


class SoftmaxSaturation(AbstractProbe):
    r"""Fraction of training samples whose softmax gives the label exactly 1 in float64.

    All other probabilities together are then below half a unit in the last place, $2^{-53}$. A
    loss $-\log p_y$ is exactly zero there and so is its pull $1 - p_y$ on the right output:
    optimisers that compute them so stop learning from the sample. Ours do not, whose dual keeps
    the doubt as such; this tells where others' would have stopped.

    - **Source** Prieto et al., ICLR 2025, arXiv:2501.04697: "softmax collapse".
    """

    named: ClassVar = ("softmax_saturation", "training samples with a saturated softmax")
    meaning: ClassVar = (
        "fraction of training samples whose softmax is exactly 1 at the label in float64, "
        r"so that $-\log p$ and its gradient are exactly zero; for cross-entropy"
    )

    def applies(self, context: RunContext) -> bool:
        return context.loss.is_softmax

    def __call__(self, state: RunState, context: RunContext) -> Float[Array, ""]:
        p = jax.nn.softmax(state.f_train, axis=1)
        right = jnp.take_along_axis(p, context.y_train[:, None], axis=1)
        return jnp.mean(right == 1.0)

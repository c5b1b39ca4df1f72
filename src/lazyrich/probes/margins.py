"""Margins of any classifier, and the saturation of its softmax."""

from typing import ClassVar

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Shaped

from .._core.precision import promoted
from ..predictors.differences import every_margin
from ._base import AbstractProbe, RunContext, RunState
from .norms import ParamNorm


@promoted
def margins(f: Float[Array, " n *c"], y: Shaped[Array, " n"]) -> Float[Array, " n"]:
    r"""Margins: $y_i f_i$, or the output at the label minus the largest other output.

    - **Takes** outputs `(n,)` with labels that are signs, or `(n, c)` with classes.
    """
    if f.ndim == 1:
        return f * y
    return jnp.min(every_margin(f, y.astype(jnp.int32)), axis=1)


class Margin(AbstractProbe):
    """The smallest training margin; see [`margins`][lazyrich.probes.margins].

    It is positive exactly if every training sample is fitted.
    """

    named: ClassVar = ("margin", "smallest training margin")
    meaning: ClassVar = (
        "smallest training margin of any classifier: $y_i f_i$, or the output of the right class "
        "minus the largest other output"
    )

    def applies(self, context: RunContext) -> bool:
        return context.labels != "reals"

    @property
    def scale_degree(self) -> int:
        return 0

    @promoted
    def __call__(self, state: RunState, context: RunContext) -> Float[Array, ""]:
        return jnp.min(margins(state.f_train, context.y_train))


class HomogeneousMargin(Margin):
    r"""The smallest training margin over $\|\theta\|_2^L$, for a model of degree $L$.

    In a rich phase it rises towards the value at a KKT point. NaN at $\theta = 0$.

    - **Source** Lyu & Li, ICLR 2020, arXiv:1906.05890: "normalized margin".
    """

    named: ClassVar = ("normalised_margin", "smallest training margin over the norm to the degree")
    meaning: ClassVar = r"`margin` divided by $\lVert\theta\rVert_2^L$, for a model of degree $L$"

    def applies(self, context: RunContext) -> bool:
        return super().applies(context) and context.model.homogeneity is not None

    @promoted
    def __call__(self, state: RunState, context: RunContext) -> Float[Array, ""]:
        degree = context.model.homogeneity
        assert degree is not None  # ensured by `applies`
        # Through the logarithm, because powers of norms such as 1e4 or 1e-4 may overflow.
        norm = ParamNorm()(state, context)
        return super().__call__(state, context) * jnp.exp(-degree * jnp.log(norm))


class SoftmaxSaturation(AbstractProbe):
    r"""Fraction of training samples whose softmax gives the label exactly 1 in float64.

    The sum of all other probabilities is then below half a unit in the last place, $2^{-53}$. If
    the loss is computed as $-\log p_y$ and its gradient from $1 - p_y$, both are exactly zero, and
    an optimiser stops learning from the sample. Optimisers in lazyrich compute the sum of the other
    probabilities directly and do not stop. This probe shows where others would have stopped.

    - **Source** Prieto et al., ICLR 2025, arXiv:2501.04697: "softmax collapse".
    """

    named: ClassVar = ("softmax_saturation", "training samples with a saturated softmax")
    meaning: ClassVar = (
        "fraction of training samples whose softmax is exactly 1 at the label in float64, "
        r"so that $-\log p$ and its gradient are exactly zero; for cross-entropy"
    )

    def applies(self, context: RunContext) -> bool:
        return context.loss.is_softmax

    @property
    def scale_degree(self) -> int:
        return 0

    @promoted
    def __call__(self, state: RunState, context: RunContext) -> Float[Array, ""]:
        p = jax.nn.softmax(state.f_train, axis=1)
        right = jnp.take_along_axis(p, context.y_train[:, None], axis=1)
        return jnp.mean((right == 1.0).astype(right.dtype))  # a mean of booleans is float32

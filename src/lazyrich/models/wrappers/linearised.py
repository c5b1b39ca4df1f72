"""The first-order Taylor expansion of a model."""

from typing import Literal

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Shaped

from ..._core.precision import promoted
from .._base import Factors
from ..theory import Theory
from ._base import AbstractExpanded, Expansion


class Linearised(AbstractExpanded):
    r"""$f(\theta_0; x) + J(\theta_0; x)(\theta - \theta_0)$: the linearised twin of `model`.

    If it is trained in the same way, it shows how the model would behave with a constant tangent
    kernel. The parameters are an [`Expansion`][lazyrich.models.Expansion]: $\theta$, which is
    trained, and its initial value $\theta_0$. `init_scale` multiplies both.

    - **Takes** `model`, the model to expand; `base_point`, the effect of weight decay on
        $\theta_0$. With `fixed` there is none, as in Kumar et al. With `decaying`, the base point
        is $e^{-\lambda t}\theta_0$. Without decay the two are equal.
    - With $\theta = e^{-\lambda t}(\theta_0 + J_0^\top c)$, the `decaying` twin of an
        $L$-homogeneous model follows $f = e^{-L\lambda t}(f_0 + K_0 c)$ and $\dot c =
        e^{-(L-2)\lambda t} s(f)/n$. This is the kernel phase of Lyu et al., for any
        nonlinearity. The `fixed` twin keeps the initial tangent features at full size while
        $\theta$ decays, and converges to ridge regression.
    - **Source** Kumar et al., ICLR 2024, arXiv:2310.06110: "linearized model"; for
        `decaying`, Lyu et al., ICLR 2024, arXiv:2311.18817: kernel regime.
    """

    base_point: Literal["fixed", "decaying"] = "fixed"

    @property
    def has_kinks(self) -> bool:
        return False

    @property
    def keeps_signs(self) -> bool:
        return False

    @property
    def origin_decays(self) -> bool:
        return self.base_point == "decaying"

    def theory(self, classification: bool) -> Theory:
        # The twin stays lazy, so it is in no family of runs that leave the kernel phase.
        del classification
        return Theory(family=type(self).__name__)

    @promoted
    def apply(self, params: Expansion, x: Shaped[Array, "n d"]) -> Float[Array, " n *c"]:
        # The origin is constant: a gradient through it would change the kernel.
        origin = jax.lax.stop_gradient(params.origin)
        step = jax.tree.map(jnp.subtract, params.moved, origin)
        f, moved = jax.jvp(lambda p: self.model.apply(p, x), (origin,), (step,))
        return f + moved

    @promoted
    def tangent_kernel(self, params: Expansion, x: Shaped[Array, "n d"]) -> Float[Array, "m m"]:
        """The tangent kernel of the model at the origin."""
        return self.model.tangent_kernel(params.origin, x)

    @promoted
    def gradient_factors(
        self, params: Expansion, x: Shaped[Array, "n d"], r: Float[Array, " n *c"]
    ) -> Factors | None:
        return self.model.gradient_factors(params.origin, x, r)

    def decayed(self, params: Expansion) -> Expansion:
        return params if self.origin_decays else super().decayed(params)

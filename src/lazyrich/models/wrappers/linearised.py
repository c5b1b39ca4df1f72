"""A model's first-order Taylor expansion."""

from typing import Literal

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Shaped

from ..._core.precision import promoted
from .._base import Factors
from ..theory import Theory
from ._base import AbstractExpanded, Expansion


class Linearised(AbstractExpanded):
    r"""$f(\theta_0; x) + J(\theta_0; x)(\theta - \theta_0)$: the twin of `model` that stays lazy.

    Trained alike it is what the model would do if its tangent kernel never changed. Its
    parameters are an [`Expansion`][lazyrich.models.Expansion]: $\theta$, the model's own, is
    trained, $\theta_0$ is where it began. `init_scale` multiplies both.

    - **Takes** `model`, the one expanded; `base_point`, what weight decay does to $\theta_0$:
        `fixed`, nothing, the plain expansion of Kumar et al.; `decaying`, it shrinks as
        $e^{-\lambda t}\theta_0$. Without decay the two are one.
    - With $\theta = e^{-\lambda t}(\theta_0 + J_0^\top c)$, the decaying twin of an
        $L$-homogeneous model follows $f = e^{-L\lambda t}(f_0 + K_0 c)$ and $\dot c =
        e^{-(L-2)\lambda t} s(f)/n$: the kernel phase of Lyu et al., whatever its
        nonlinearity. The fixed one keeps the tangent features of time 0 at full size while
        $\theta$ decays, and ends in ridge regression.
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
        # Lazy to the end, it is in no family of runs that leave the kernel phase.
        del classification
        return Theory(family=type(self).__name__)

    @promoted
    def apply(self, params: Expansion, x: Shaped[Array, "n d"]) -> Float[Array, " n *c"]:
        # Training moves nothing else: a gradient would see the kernel turn.
        origin = jax.lax.stop_gradient(params.origin)
        step = jax.tree.map(jnp.subtract, params.moved, origin)
        f, moved = jax.jvp(lambda p: self.model.apply(p, x), (origin,), (step,))
        return f + moved

    @promoted
    def tangent_kernel(self, params: Expansion, x: Shaped[Array, "n d"]) -> Float[Array, "m m"]:
        """The model's at its origin."""
        return self.model.tangent_kernel(params.origin, x)

    def gradient_factors(
        self, params: Expansion, x: Shaped[Array, "n d"], r: Float[Array, " n *c"]
    ) -> Factors | None:
        return self.model.gradient_factors(params.origin, x, r)

    def decayed(self, params: Expansion) -> Expansion:
        return params if self.origin_decays else super().decayed(params)

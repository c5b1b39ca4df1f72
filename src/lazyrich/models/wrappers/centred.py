"""A model minus its outputs at initialisation."""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Shaped

from ..._core.precision import promoted
from .._base import Factors, Posed
from ._base import AbstractExpanded, Expansion


class Centred(AbstractExpanded):
    r"""$f(\theta; x) - f(\theta_0; x)$: outputs start at exactly zero, with the kernel of $f$.

    The parameters are an [`Expansion`][lazyrich.models.Expansion]: $\theta$, which is trained, and
    its initial value $\theta_0$, which is constant. `init_scale` multiplies both. Without the
    subtraction, a large output scale would make the initial outputs larger than the labels.

    - **Takes** `model`, $f$.
    - **Source** Kumar et al., ICLR 2024, arXiv:2310.06110: "centered"; Chizat, Oyallon & Bach,
        NeurIPS 2019, arXiv:1812.07956.
    """

    @promoted
    def apply(self, params: Expansion, x: Shaped[Array, "n d"]) -> Float[Array, " n *c"]:
        origin = jax.lax.stop_gradient(params.origin)
        return self.model.apply(params.moved, x) - self.model.apply(origin, x)

    @promoted
    def tangent_kernel(self, params: Expansion, x: Shaped[Array, "n d"]) -> Float[Array, "m m"]:
        return self.model.tangent_kernel(params.moved, x)

    @property
    def has_mobility(self) -> bool:
        return self.model.has_mobility

    @promoted
    def mobility(self, params: Expansion, forces: Expansion) -> Expansion:
        return Expansion(self.model.mobility(params.moved, forces.moved), forces.origin)

    @promoted
    def gradient_factors(
        self, params: Expansion, x: Shaped[Array, "n d"], r: Float[Array, " n *c"]
    ) -> Factors | None:
        return self.model.gradient_factors(params.moved, x, r)

    @promoted
    def kernels_onto(
        self, params: Expansion, x: Shaped[Array, "n d"], other: Shaped[Array, "m d"]
    ) -> tuple[Float[Array, "k k"], Float[Array, "l k"]]:
        return self.model.kernels_onto(params.moved, x, other)

    @property
    def closes(self) -> bool:
        return self.model.closes

    @property
    def is_closed(self) -> bool:
        return self.model.is_closed

    @promoted
    def closed(self, params: Expansion) -> Posed:
        return _centred(*map(self.model.closed, params))

    @promoted
    def condensed(self, params: Expansion) -> Posed:
        return _centred(*map(self.model.condensed, params))

    @promoted
    def statistics(self, params: Expansion) -> tuple[Any, Any]:
        """The statistics of the parameters minus those of the initial parameters."""
        (model, moved), (_, origin) = map(self.model.statistics, params)
        return model, jax.tree.map(jnp.subtract, moved, origin)


def _centred(moved: Posed, origin: Posed) -> Posed:
    """The centred model in other variables, from its current and its initial parameters."""
    return Posed(Centred(model=moved.model), Expansion(moved.params, origin.params))

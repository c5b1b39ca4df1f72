"""Any model, its outputs counted from those of its start."""

from typing import Any, ClassVar

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray, Shaped

from ..._core.precision import promoted
from .._base import AbstractModel
from .linearised import Expansion


class Centred(AbstractModel):
    r"""$f(\theta; x) - f(\theta_0; x)$: outputs start at exactly zero, with the kernel of $f$.

    Its parameters are an [`Expansion`][lazyrich.models.Expansion]: $\theta$, which is trained,
    and $\theta_0$, where it began and which nothing moves. `init_scale` multiplies both. At a
    large output scale the outputs at the start would else drown the labels.

    - **Takes** `model`, $f$.
    - **Source** Kumar et al., ICLR 2024, arXiv:2310.06110: "centered"; Chizat, Oyallon & Bach,
        NeurIPS 2019, arXiv:1812.07956.
    """

    numbers: ClassVar[tuple[str, ...]] = ("model",)

    model: AbstractModel

    @property
    def homogeneity(self) -> None:
        return None

    @property
    def has_kinks(self) -> bool:
        return self.model.has_kinks

    @property
    def keeps_signs(self) -> bool:
        return self.model.keeps_signs

    def init(self, key: PRNGKeyArray, dim: int) -> Expansion:
        start = self.model.init(key, dim)
        return Expansion(start, start)

    def cast_inputs(self, x: Shaped[Array, "n d"]) -> Shaped[Array, "n d"]:
        return self.model.cast_inputs(x)

    def check_inputs(self, x: Shaped[Array, "n d"], key: str) -> None:
        self.model.check_inputs(x, key)

    @promoted
    def apply(self, params: Expansion, x: Shaped[Array, "n d"]) -> Float[Array, " n *c"]:
        origin = jax.lax.stop_gradient(params.origin)
        return self.model.apply(params.moved, x) - self.model.apply(origin, x)

    @promoted
    def tangent_kernel(self, params: Expansion, x: Shaped[Array, "n d"]) -> Float[Array, "m m"]:
        return self.model.tangent_kernel(params.moved, x)

    def trained(self, params: Expansion) -> Any:
        return self.model.trained(params.moved)

    def decayed(self, params: Expansion) -> Expansion:
        moved = self.model.decayed(params.moved)
        return Expansion(moved, jax.tree.map(jnp.zeros_like, params.origin))

    @property
    def has_mobility(self) -> bool:
        return self.model.has_mobility

    def mobility(self, params: Expansion, forces: Expansion) -> Expansion:
        return Expansion(self.model.mobility(params.moved, forces.moved), forces.origin)

    @promoted
    def norm(self, params: Expansion) -> Float[Array, ""]:
        return self.model.norm(params.moved)

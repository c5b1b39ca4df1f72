"""A model's first-order Taylor expansion."""

from typing import Any, ClassVar, Literal, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray, Shaped

from ..._core.errors import InputError
from ..._core.precision import promoted
from .._base import AbstractModel


class Expansion(NamedTuple):
    """Parameters of a linearised model: `moved`, which are trained, and the `origin` around
    which the model was expanded; two pytrees alike."""

    moved: Any
    origin: Any


class Linearised(AbstractModel):
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

    numbers: ClassVar[tuple[str, ...]] = ("model",)

    model: AbstractModel
    base_point: Literal["fixed", "decaying"] = "fixed"

    @property
    def homogeneity(self) -> None:
        return None

    def init(self, key: PRNGKeyArray, dim: int) -> Expansion:
        return self.expand(self.model.init(key, dim))

    def expand(self, params: Any) -> Expansion:
        """The start of a twin around `params` of the model."""
        return Expansion(params, params)

    def cast_inputs(self, x: Shaped[Array, "n d"]) -> Shaped[Array, "n d"]:
        return self.model.cast_inputs(x)

    def check_inputs(self, x: Shaped[Array, "n d"], key: str) -> None:
        self.model.check_inputs(x, key)

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

    def trained(self, params: Expansion) -> Any:
        return params.moved

    def decayed(self, params: Expansion) -> Expansion:
        if self.base_point == "decaying":
            return params
        return params._replace(origin=jax.tree.map(jnp.zeros_like, params.origin))


def refuse_decaying_origin(model: AbstractModel, kind: str) -> None:
    """Raises for an optimiser whose decay does not shrink all parameters by one factor."""
    if isinstance(model, Linearised) and model.base_point == "decaying":
        accepted = f"{kind} puts decay into its gradient; use fixed, or AdamW"
        raise InputError("model.base_point", "decaying", accepted)

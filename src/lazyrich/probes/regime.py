"""Which regime a run is in: drift from the start, and directions of the predictors."""

from typing import ClassVar, Literal

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ._base import AbstractProbe, RunContext, RunState
from .norms import weights_of


class Drift(AbstractProbe):
    r"""$\|e^{\lambda t}\theta(t)/\alpha - \bar\theta\|_2$: departure from pure decay.

    $\alpha$ is `init_scale` and $\bar\theta = \theta(0)/\alpha$. Small as long as the
    network is its own linearisation, although $\theta$ itself shrinks.

    - **Source** Lyu et al., ICLR 2024, arXiv:2311.18817: the kernel regime.
    """

    named: ClassVar = ("drift", "drift from decayed initialisation")
    meaning: ClassVar = (
        r"$\lVert e^{\lambda t}\theta(t)/\alpha - \bar\theta\rVert_2$, the distance from "
        "pure decay of the initial parameters"
    )

    def applies(self, context: RunContext) -> bool:
        # Of statistics it would be no distance between parameters.
        return not context.model.is_closed

    def __call__(self, state: RunState, context: RunContext) -> Float[Array, ""]:
        # Parameters are shrunk, not the start blown up: e^{lambda t} overflows late.
        shrink = jnp.exp(-context.weight_decay * state.time)
        now, start = map(context.model.trained, (state.params, context.params))
        gaps = jax.tree.map(lambda p, p0: p - shrink * p0, now, start)
        norm = jnp.sqrt(sum(jnp.sum(gap**2) for gap in jax.tree.leaves(gaps)))
        log_drift = jnp.log(norm / context.init_scale) + context.weight_decay * state.time
        return jnp.exp(log_drift)


class _Towards(AbstractProbe):
    """What relates the weights to those of the `kernel` or the `rich` predictor."""

    predictor: Literal["kernel", "rich"] = eqx.field(static=True)

    @property
    def against(self) -> str:
        return self.predictor

    def target(self, context: RunContext) -> Float[Array, "..."] | None:
        """The predictor's weights, if it has been computed."""
        return context.kernel if self.predictor == "kernel" else context.rich

    def pair(self, state: RunState, context: RunContext) -> tuple[Array, Array]:
        """Weights and target, raveled."""
        target = self.target(context)
        assert target is not None  # `applies` has made sure
        return jnp.ravel(weights_of(state)), jnp.ravel(target)

    def applies(self, context: RunContext) -> bool:
        return context.is_linear and self.target(context) is not None


class CosineTo(_Towards):
    """Cosine between the weights and those of the `kernel` or the `rich` predictor.

    NaN while the weights are zero.
    """

    named: ClassVar = ("cosine_to_{predictor}", "cosine to the {predictor} predictor")
    meaning: ClassVar = "cosine of $w$ with the weights of the predictor, where it exists"

    def __call__(self, state: RunState, context: RunContext) -> Float[Array, ""]:
        weights, target = self.pair(state, context)
        return weights @ target / (jnp.linalg.norm(weights) * jnp.linalg.norm(target))


class DistanceTo(_Towards):
    r"""$\|w - w^*\|_2 / \|w^*\|_2$ from the `kernel` or the `rich` predictor's weights.

    For regression, where a predictor has a length; a margin predictor has a direction only.
    """

    named: ClassVar = ("distance_to_{predictor}", "relative distance to the {predictor} predictor")
    meaning: ClassVar = (
        r"$\lVert w - w^*\rVert_2 / \lVert w^*\rVert_2$, the distance from the weights $w^*$ of "
        "the predictor; for regression"
    )

    def applies(self, context: RunContext) -> bool:
        return super().applies(context) and not context.loss.is_classification

    def __call__(self, state: RunState, context: RunContext) -> Float[Array, ""]:
        weights, target = self.pair(state, context)
        return jnp.linalg.norm(weights - target) / jnp.linalg.norm(target)

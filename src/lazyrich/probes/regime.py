"""Signs of the regime of a run: drift, and distances of the weights from predictors."""

from typing import ClassVar, Literal

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from .._core.norms import tree_norm
from .._core.precision import promoted
from ._base import AbstractProbe, RunContext, RunState
from .norms import weights_of


class Drift(AbstractProbe):
    r"""$\|e^{\lambda t}\theta(t)/\alpha - \bar\theta\|_2$: deviation from pure decay.

    $\alpha$ is `init_scale` and $\bar\theta = \theta(0)/\alpha$. The drift is small as long as the
    linearisation of the net holds, even if $\theta$ itself shrinks. Parameters without decay enter
    with $\theta/\alpha - \bar\theta$.

    - **Source** Lyu et al., ICLR 2024, arXiv:2311.18817: the kernel regime.
    """

    named: ClassVar = ("drift", "drift from decayed initialisation")
    meaning: ClassVar = (
        r"$\lVert e^{\lambda t}\theta(t)/\alpha - \bar\theta\rVert_2$, the distance from "
        "pure decay of the initial parameters"
    )

    def applies(self, context: RunContext) -> bool:
        # A difference of statistics is not a distance between parameters.
        return not context.model.is_closed

    @property
    def scale_degree(self) -> int:
        return 0

    @promoted
    def __call__(self, state: RunState, context: RunContext) -> Float[Array, ""]:
        # The initial parameters are shrunk, because e^{lambda t} overflows at late times.
        shrink = jnp.exp(-context.weight_decay * state.time)
        now, start = map(context.model.trained, (state.params, context.params))
        if context.model.decays_all:
            gaps = jax.tree.map(lambda p, p0: p - shrink * p0, now, start)
        else:
            ones = context.model.decayed(jax.tree.map(jnp.ones_like, context.params))
            # Gaps are in units of the shrinking parameters, and so those of the others shrink.
            gaps = jax.tree.map(
                lambda p, p0, d: jnp.where(d > 0, p - shrink * p0, shrink * (p - p0)),
                now,
                start,
                context.model.trained(ones),
            )
        log_drift = (
            jnp.log(tree_norm(gaps) / context.init_scale) + context.weight_decay * state.time
        )
        return jnp.exp(log_drift)


class _Towards(AbstractProbe):
    """A probe that compares the weights with those of the `kernel` or the `rich` predictor."""

    predictor: Literal["kernel", "rich"] = eqx.field(static=True)

    @property
    def against(self) -> str:
        return self.predictor

    def target(self, context: RunContext) -> Float[Array, "..."] | None:
        """The weights of the predictor; None if it has not been computed."""
        return context.kernel if self.predictor == "kernel" else context.rich

    def pair(self, state: RunState, context: RunContext) -> tuple[Array, Array]:
        """Weights and target, raveled."""
        target = self.target(context)
        assert target is not None  # ensured by `applies`
        return jnp.ravel(weights_of(state)), jnp.ravel(target)

    def applies(self, context: RunContext) -> bool:
        return context.is_linear and self.target(context) is not None


class CosineTo(_Towards):
    """Cosine between the weights and those of the `kernel` or the `rich` predictor.

    NaN while the weights are zero.
    """

    named: ClassVar = ("cosine_to_{predictor}", "cosine to the {predictor} predictor")
    meaning: ClassVar = "cosine between $w$ and the weights of the predictor, if there is one"

    @promoted
    def __call__(self, state: RunState, context: RunContext) -> Float[Array, ""]:
        weights, target = self.pair(state, context)
        return (weights / tree_norm(weights)) @ (target / tree_norm(target))


class DistanceTo(_Towards):
    r"""$\|w - w^*\|_2 / \|w^*\|_2$ with $w^*$ the weights of the `kernel` or `rich` predictor.

    Only for regression: a margin predictor has a direction but no length.
    """

    named: ClassVar = ("distance_to_{predictor}", "relative distance to the {predictor} predictor")
    meaning: ClassVar = (
        r"$\lVert w - w^*\rVert_2 / \lVert w^*\rVert_2$, the distance from the weights $w^*$ of "
        "the predictor; for regression"
    )

    def applies(self, context: RunContext) -> bool:
        return super().applies(context) and not context.loss.is_classification

    @promoted
    def __call__(self, state: RunState, context: RunContext) -> Float[Array, ""]:
        weights, target = self.pair(state, context)
        return tree_norm(weights - target) / tree_norm(target)

"""Which regime a run is in: drift from the start, and directions of the predictors."""

from typing import ClassVar, Literal

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ._base import AbstractProbe, Moment, Setting
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

    def applies(self, setting: Setting) -> bool:
        # Of statistics it would be no distance between parameters.
        return not setting.model.is_closed

    def __call__(self, moment: Moment, setting: Setting) -> Float[Array, ""]:
        # Parameters are shrunk, not the start blown up: e^{lambda t} overflows late.
        shrink = jnp.exp(-setting.weight_decay * moment.time)
        now, start = map(setting.model.trained, (moment.params, setting.params))
        gaps = jax.tree.map(lambda p, p0: p - shrink * p0, now, start)
        norm = jnp.sqrt(sum(jnp.sum(gap**2) for gap in jax.tree.leaves(gaps)))
        log_drift = jnp.log(norm / setting.init_scale) + setting.weight_decay * moment.time
        return jnp.exp(log_drift)


class _Towards(AbstractProbe):
    """What relates the weights to those of the `kernel` or the `rich` predictor."""

    predictor: Literal["kernel", "rich"] = eqx.field(static=True)

    @property
    def against(self) -> str:
        return self.predictor

    def target(self, setting: Setting) -> Float[Array, "..."] | None:
        """The predictor's weights, if it has been computed."""
        return setting.kernel if self.predictor == "kernel" else setting.rich

    def pair(self, moment: Moment, setting: Setting) -> tuple[Array, Array]:
        """Weights and target, raveled."""
        target = self.target(setting)
        assert target is not None  # `applies` has made sure
        return jnp.ravel(weights_of(moment)), jnp.ravel(target)

    def applies(self, setting: Setting) -> bool:
        return setting.is_linear and self.target(setting) is not None


class CosineTo(_Towards):
    """Cosine between the weights and those of the `kernel` or the `rich` predictor.

    NaN while the weights are zero.
    """

    named: ClassVar = ("cosine_to_{predictor}", "cosine to the {predictor} predictor")
    meaning: ClassVar = "cosine of $w$ with the weights of the predictor, where it exists"

    def __call__(self, moment: Moment, setting: Setting) -> Float[Array, ""]:
        weights, target = self.pair(moment, setting)
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

    def applies(self, setting: Setting) -> bool:
        return super().applies(setting) and not setting.loss.is_classification

    def __call__(self, moment: Moment, setting: Setting) -> Float[Array, ""]:
        weights, target = self.pair(moment, setting)
        return jnp.linalg.norm(weights - target) / jnp.linalg.norm(target)

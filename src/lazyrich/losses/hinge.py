"""The hinge loss and its square, with smoothed kinks."""

from typing import Annotated, ClassVar

import jax
import jax.numpy as jnp
from annotated_types import Gt
from jaxtyping import Array

from .._core.precision import promoted
from ._base import AbstractLoss
from .logistic import Logistic


class Hinge(AbstractLoss):
    r"""$\ell(f, y) = \delta \log(1 + e^{(1 - yf)/\delta})$, which is $\max(0, 1 - yf)$ as $\delta
    \to 0$.

    With $\delta = 0$ the flow has no unique right-hand side at the kink $yf = 1$: it slides along
    the kink, where the dual is any number from 0 to 1. The smoothed dual is a function of the
    output. The loss exceeds the hinge loss by $\delta \log 2$ at $yf = 1$, and by a smaller number
    elsewhere. If a dual of size $s$ balances the weight decay of a sample, its margin exceeds 1
    by $\delta \log(1/s - 1)$.

    - **Takes** `width`, $\delta$, in units of outputs. Half the default width changes t50 of a
        diagonal net by less than $0.01 / \lambda$ (study `open/losses-width`), and takes two to
        three times as many steps.
    """

    is_classification: ClassVar[bool] = True

    width: Annotated[float, Gt(0)] = 0.002

    @property
    def steepest(self) -> float | None:
        return 0.25 / self.width

    @promoted
    def value(self, f: Array, y: Array) -> Array:
        return self.width * jax.nn.softplus(self._shortfall(f, y))

    @promoted
    def dual(self, f: Array, y: Array) -> Array:
        return y * jax.nn.sigmoid(self._shortfall(f, y))

    @promoted
    def curvature(self, f: Array, y: Array) -> Array:
        shortfall = self._shortfall(f, y)
        return y**2 * jax.nn.sigmoid(shortfall) * jax.nn.sigmoid(-shortfall) / self.width

    @promoted
    def log_value(self, f: Array, y: Array) -> Array:
        beyond = -self._shortfall(f, y)
        return jnp.log(self.width) + Logistic().log_value(beyond, jnp.ones_like(beyond))

    def _shortfall(self, f: Array, y: Array) -> Array:
        """One minus the margin, in units of the width."""
        return (1 - y * f) / self.width


class SquaredHinge(Hinge):
    r"""$\ell(f, y) = \delta^2 \log^2(1 + e^{(1 - yf)/\delta})$, which is $\max(0, 1 - yf)^2$ as
    $\delta \to 0$; no factor ½.

    With $\delta = 0$ the dual is continuous, but the curvature jumps from 2 to 0 at $yf = 1$, and
    weight decay keeps samples close to this point. After a large initialisation the distance of
    their equilibrium from the jump is a fraction $1/\alpha^2$, which no step size resolves. In a
    measurement 4,096 steps did not reach half of a transition that takes 200 steps with the
    smoothed jump. The loss exceeds the squared hinge loss by at most $0.74\, \delta^2$.

    - **Takes** `width` as [`Hinge`][lazyrich.losses.Hinge] does.
    """

    width: Annotated[float, Gt(0)] = 0.005

    @property
    def steepest(self) -> float | None:
        return 2.1  # at three widths below the hinge; 2 far below the hinge

    @promoted
    def value(self, f: Array, y: Array) -> Array:
        return super().value(f, y) ** 2

    @promoted
    def dual(self, f: Array, y: Array) -> Array:
        return 2 * super().value(f, y) * super().dual(f, y)

    @promoted
    def curvature(self, f: Array, y: Array) -> Array:
        return 2 * (super().dual(f, y) ** 2 + super().value(f, y) * super().curvature(f, y))

    @promoted
    def log_value(self, f: Array, y: Array) -> Array:
        return 2 * super().log_value(f, y)

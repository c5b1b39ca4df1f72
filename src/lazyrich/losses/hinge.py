"""The hinge loss and its square, their kinks rounded off."""

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

    At the hinge's kink the flow has no right-hand side: it slides along $yf = 1$, where the dual is
    any number from 0 to 1. Rounded off, the dual is a function of the output. The loss exceeds the
    hinge by $\delta \log 2$ at $yf = 1$, and by less elsewhere; where a dual of size $s$ holds a
    sample against decay, its margin exceeds 1 by $\delta \log(1/s - 1)$.

    - **Takes** `width`, $\delta$, in units of outputs. Halving the default moves half of a diagonal
        net's test change by less than $0.01 / \lambda$, see the study `open/losses-width`, and
        takes two to three times the steps.
    """

    is_classification: ClassVar[bool] = True

    width: Annotated[float, Gt(0)] = 0.002

    @property
    def steepest(self) -> float | None:
        return 0.25 / self.width

    @promoted
    def value(self, f: Array, y: Array) -> Array:
        return self.width * jax.nn.softplus(self._short(f, y))

    @promoted
    def dual(self, f: Array, y: Array) -> Array:
        return y * jax.nn.sigmoid(self._short(f, y))

    @promoted
    def curvature(self, f: Array, y: Array) -> Array:
        short = self._short(f, y)
        return y**2 * jax.nn.sigmoid(short) * jax.nn.sigmoid(-short) / self.width

    @promoted
    def log_value(self, f: Array, y: Array) -> Array:
        beyond = -self._short(f, y)
        return jnp.log(self.width) + Logistic().log_value(beyond, jnp.ones_like(beyond))

    def _short(self, f: Array, y: Array) -> Array:
        """What a margin is short of one, in widths."""
        return (1 - y * f) / self.width


class SquaredHinge(Hinge):
    r"""$\ell(f, y) = \delta^2 \log^2(1 + e^{(1 - yf)/\delta})$, which is $\max(0, 1 - yf)^2$ as
    $\delta \to 0$; no factor ½.

    Its dual is continuous even at $\delta = 0$, but its curvature jumps from 2 to 0 at $yf = 1$,
    which is where decay keeps samples: from a large start their rest lies within a fraction
    $1/\alpha^2$ of the jump, which no step size resolves (measured: 4,096 steps do not reach
    half of a transition that takes 200 with the jump rounded off). The loss exceeds the squared
    hinge by at most $0.74\, \delta^2$.

    - **Takes** `width` as [`Hinge`][lazyrich.losses.Hinge] does.
    """

    width: Annotated[float, Gt(0)] = 0.005

    @property
    def steepest(self) -> float | None:
        return 2.1  # three widths below the hinge; 2 far below it

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

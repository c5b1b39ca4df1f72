"""Half of the logistic loss of twice the output."""

from typing import ClassVar

import jax.numpy as jnp

from lazyrich.losses import AbstractLoss, Logistic


class HalfLogistic(AbstractLoss):
    is_classification: ClassVar[bool] = True

    def value(self, f, y):
        return Logistic().value(2 * f, y) / 2

    def dual(self, f, y):
        return Logistic().dual(2 * f, y)

    def curvature(self, f, y):
        return 2 * Logistic().curvature(2 * f, y)

    def log_value(self, f, y):
        return Logistic().log_value(2 * f, y) - jnp.log(2.0)

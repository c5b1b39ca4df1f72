"""Heun's method of order 2 with Euler's inside, as a diffrax solver."""

from typing import ClassVar

import diffrax
import numpy as np


class HeunEuler(diffrax.AbstractERK):
    tableau: ClassVar[diffrax.ButcherTableau] = diffrax.ButcherTableau(
        a_lower=(np.array([1.0]),),
        b_sol=np.array([0.5, 0.5]),
        b_error=np.array([-0.5, 0.5]),
        c=np.array([1.0]),
    )
    interpolation_cls: ClassVar = diffrax.ThirdOrderHermitePolynomialInterpolation.from_k

    def order(self, terms):
        return 2

r"""The norm law of arXiv:2605.18845, a baseline for forecasts of what people train.

$T_{test} - T_{fit} = \log(V_{fit} / V^*) / 2 \kappa \eta \lambda$ in steps, with $V =
\lVert\theta\rVert^2$. It needs the run up to the fit, and $\kappa$ and $V^*$ from other runs.
"""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Rows:
    r"""Of runs the times of fit and test, $V$ at the fit, and the rate at which decay shrinks $V$.

    The rate is $2 \eta \lambda$ if times are steps, and $2 \lambda$ if they are rate times steps.
    """

    t_fit: np.ndarray
    t_test: np.ndarray
    v: np.ndarray
    rate: np.ndarray


@dataclass(frozen=True)
class NormLaw:
    """The law with its constants; `error`, the median of |log| on the runs that they are from."""

    kappa: float
    v_star: float
    error: float

    @classmethod
    def fitted(cls, rows: Rows) -> "NormLaw":
        """The constants with the least median error of the time of the test."""
        return min(
            (
                cls(k, v, float(np.median(cls(k, v, 0.0).off(rows))))
                for k in np.geomspace(0.003, 10, 120)
                for v in np.geomspace(rows.v.min() / 1e4, rows.v.max(), 160)
            ),
            key=lambda law: law.error,
        )

    def delay(self, rows: Rows) -> np.ndarray:
        """The predicted times from the fit to the test."""
        return np.maximum(np.log(rows.v / self.v_star), 0) / (self.kappa * rows.rate)

    def off(self, rows: Rows) -> np.ndarray:
        """The errors of the logarithm of the time of the test."""
        return np.abs(np.log((rows.t_fit + self.delay(rows)) / rows.t_test))

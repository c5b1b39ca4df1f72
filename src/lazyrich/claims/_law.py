"""What laws over the logarithm of a key have in common."""

import abc
import math
from typing import Annotated

import numpy as np
from annotated_types import Gt
from jaxtyping import Bool, Float

from ..maps.scaling import half_widths
from ._base import ClaimResult
from ._quantity import AbstractTrendClaim, within
from ._text import interval, medians
from .sample import Sample


class AbstractLaw(AbstractTrendClaim):
    r"""A straight line over $\log x$, $x$ the key `along`, with slope `value` within `tolerance`.

    The interval is cluster-robust, as in [`scaling_fit`][lazyrich.maps.scaling_fit]. A slope
    cannot take in times that did not come: where there are any, nothing is said.
    """

    value: float
    tolerance: Annotated[float, Gt(0)] = 0.1

    @abc.abstractmethod
    def ordinate(self, values: Float[np.ndarray, " run"]) -> Float[np.ndarray, " run"]:
        """What is on the line, as a function of the quantity."""

    @abc.abstractmethod
    def ordinate_name(self) -> str:
        """The same in words."""

    @abc.abstractmethod
    def usable(self, values: Float[np.ndarray, " run"]) -> Bool[np.ndarray, " run"]:
        """Which values can be on the line."""

    def judge(self, found: Sample) -> ClaimResult:
        x = self.values_along(found)
        usable = ~found.never & (x > 0) & self.usable(found.values)
        name, clusters = found.clusters
        slope = low = high = math.nan
        why = ""
        if not usable.all():
            why = f"{int(np.sum(~usable))} runs have no logarithm or did not come by the horizon"
        elif len(np.unique(x)) < 2 or len(x) < 3:
            why = "too few runs"
        else:
            log_x, y = np.log(x), self.ordinate(found.values)
            design = np.stack([np.ones(len(x)), log_x], axis=1)
            (offset, slope), *_ = np.linalg.lstsq(design, y, rcond=None)
            residuals = y - offset - slope * log_x
            places = np.unique(clusters, return_inverse=True)[1]
            width = float(half_widths(design, residuals, places)[1])
            low, high = float(slope - width), float(slope + width)
            slope = float(slope)
            if math.isnan(width):
                why = "too few runs for an interval"
        band = (self.value - self.tolerance, self.value + self.tolerance)
        return self.result(
            found,
            how=f"slope of {self.ordinate_name()} against log {self.along}, 95 % interval over "
            f"{name}",
            published=f"{self.value:g} ± {self.tolerance:g}",
            ours=f"{slope:.4g}{interval(low, high)}{medians(found.values, x)}",
            numbers=(slope, low, high),
            holds=within(low, high, band, why),
            why=why,
        )

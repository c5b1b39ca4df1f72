"""A quantity with a lower bound."""

import math

from ._level import AbstractLevel


class AtLeast(AbstractLevel):
    """The quantity is at least `value`."""

    def band(self) -> tuple[float, float]:
        return self.value, math.inf

    def band_text(self) -> str:
        return f"≥ {self.value:g}"

"""A quantity with an upper bound."""

import math

from ._level import AbstractLevel


class AtMost(AbstractLevel):
    """The quantity is at most `value`."""

    def band(self) -> tuple[float, float]:
        return -math.inf, self.value

    def band_text(self) -> str:
        return f"≤ {self.value:g}"

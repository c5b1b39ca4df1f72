"""A quantity with a published value."""

from typing import Annotated

from annotated_types import Gt

from ._level import AbstractLevel
from ._text import percent


class Equals(AbstractLevel):
    """The quantity is `value` within a ratio of 1 + `tolerance`; within `tolerance` if it is 0."""

    tolerance: Annotated[float, Gt(0)] = 0.1

    def band(self) -> tuple[float, float]:
        if not self.value:
            return -self.tolerance, self.tolerance
        low, high = sorted((self.value / (1 + self.tolerance), self.value * (1 + self.tolerance)))
        return low, high

    def band_text(self) -> str:
        return f"{self.value:g} ± {percent(self.tolerance)}"

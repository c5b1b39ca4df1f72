"""A quantity that is a power of a key."""

import numpy as np
from jaxtyping import Bool, Float

from ._law import AbstractLaw


class PowerLaw(AbstractLaw):
    r"""The quantity is a power of the key `along`, with exponent `value` within `tolerance`."""

    def ordinate(self, values: Float[np.ndarray, " run"]) -> Float[np.ndarray, " run"]:
        return np.log(values)

    def ordinate_name(self) -> str:
        return f"log {self.subject}"

    def usable(self, values: Float[np.ndarray, " run"]) -> Bool[np.ndarray, " run"]:
        return values > 0

"""A quantity that is linear in the logarithm of a key."""

import numpy as np
from jaxtyping import Bool, Float

from ._law import AbstractLaw


class LogLaw(AbstractLaw):
    r"""The quantity is linear in the logarithm of `along`, slope `value` within `tolerance`."""

    def ordinate(self, values: Float[np.ndarray, " run"]) -> Float[np.ndarray, " run"]:
        return values

    def ordinate_name(self) -> str:
        return self.subject

    def usable(self, values: Float[np.ndarray, " run"]) -> Bool[np.ndarray, " run"]:
        return np.ones(len(values), bool)

"""At which steps records are made."""

import bisect
import math

from ..._core.errors import InputError

_MOST_PER_DECADE = 1000


class LogSteps:
    """Steps in equal ratios: 0, 1, and whole numbers nearest to $10^{k/q}$ for $q$ a decade."""

    def __init__(self, per_decade: int = 20):
        right = isinstance(per_decade, int) and not isinstance(per_decade, bool)
        if not right or not 1 <= per_decade <= _MOST_PER_DECADE:
            accepted = f"should be a whole number from 1 to {_MOST_PER_DECADE}"
            raise InputError("records_per_decade", per_decade, accepted)
        self.per_decade = per_decade

    def after(self, step: int) -> int:
        """The first step of the schedule after `step`."""
        if step < 1:
            return step + 1 if step < 0 else 1
        k = math.floor(self.per_decade * math.log10(step))
        while (found := round(10 ** (k / self.per_decade))) <= step:
            k += 1
        return found

    def until(self, step: int) -> list[int]:
        """All steps of the schedule up to `step`."""
        found = [0]
        while (after := self.after(found[-1])) <= step:
            found.append(after)
        return found[: bisect.bisect_right(found, step)]

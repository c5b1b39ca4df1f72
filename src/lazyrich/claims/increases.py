"""A quantity that grows along a key."""

from ._rank_order import AbstractRankOrder


class Increases(AbstractRankOrder):
    """The quantity grows with the key `along`: the rank correlation is above `value` (0)."""

    @property
    def sign(self) -> int:
        return 1

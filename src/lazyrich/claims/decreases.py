"""A quantity that falls along a key."""

from ._rank_order import AbstractRankOrder


class Decreases(AbstractRankOrder):
    """The quantity falls with the key `along`: the rank correlation is below -`value` (0)."""

    @property
    def sign(self) -> int:
        return -1

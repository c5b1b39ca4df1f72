"""Locating boundaries with few runs: which places of a lattice to run next."""

from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeVar

import numpy as np

from .._core.errors import InputError
from .boundary import Outcomes, changes, sides_of

Place = int | float
# Places are keys: integers for some lattices, floats for others.
Known = Mapping[Any, str]
Line = TypeVar("Line", bound=Hashable)


class Crossings(NamedTuple):
    """What is known of the boundaries on one line.

    - `brackets`: adjacent places of the lattice between which a boundary lies.
    - `ended`: pairs of places between which the outcome passes through a third one, and
        that outcome: the search ends there.
    - `done`: whether nothing more is to be run on this line.
    """

    brackets: tuple[tuple[Place, Place], ...]
    ended: tuple[tuple[Place, Place, str], ...]
    done: bool


@dataclass(frozen=True)
class Bisection:
    r"""Finds where outcomes change along the lines of a lattice, with few runs.

    A line is the values of one key, all other keys fixed. Every `lead`-th line leads: it
    is first run at both ends and at every `every`-th place between. The lines between wait
    for the leading ones next to them and are then first run at both ends and just outside
    the brackets found there, `margin` places away. If a line that follows shows another
    number of changes than both its leaders, it gets the coarse pass as well. After that,
    every pair of neighbouring known places on different sides is halved until they are
    adjacent. So each boundary that the first pass separates is found: between any two
    neighbouring places that were run, either the side is the same, or they are adjacent, or
    a third outcome lies between them. An island of one outcome narrower than the first
    pass can be missed; with `lead = 1` no line rests on its neighbours.

    It holds no state: `propose` depends on the outcomes alone, so a search goes on from
    whatever a store holds. Outcomes at places that are not on the lattice are passed over,
    and `missing` is not known.

    - **Takes** `lattice`, places in increasing order, at least two; `between`, two outcomes
        or two groups of outcomes; `every`, `lead` and `margin`, whole numbers from 1.
    - **Raises** [`InputError`][lazyrich.InputError] for a value out of these ranges.
    """

    lattice: tuple[Place, ...]
    between: tuple[Outcomes, Outcomes] = (("immediate", "gradual"), "grokked")
    every: int = 10
    lead: int = 4
    margin: int = 1

    def __post_init__(self) -> None:
        sides_of(self.between)
        # Plain numbers, of the kind given: a whole number stays one in an experiment.
        object.__setattr__(self, "lattice", tuple(np.asarray(self.lattice).tolist()))
        places = np.asarray(self.lattice, dtype=float)
        if len(places) < 2 or not np.all(np.diff(places) > 0):
            raise InputError(
                "lattice", self.lattice, "should be at least two places in increasing order"
            )
        for key in ("every", "lead", "margin"):
            if getattr(self, key) < 1:
                raise InputError(key, getattr(self, key), "should be at least 1")

    def propose(self, known: Mapping[Line, Known]) -> list[tuple[Line, Place]]:
        """The places to run next, all of which may be run at once; none when it is done.

        - **Takes** for each line, in an order in which neighbours resemble one another,
            the outcome at every place that was run; an empty mapping for a new line.
        - **Returns** pairs of line and place, in the order of the lines.
        """
        wanted = self._wanted(known)
        return [(line, self.lattice[i]) for line, places in wanted.items() for i in places]

    def done(self, known: Mapping[Line, Known]) -> bool:
        """Whether nothing is left to run."""
        return not self.propose(known)

    def located(self, known: Mapping[Line, Known]) -> dict[Line, Crossings]:
        """What is known of every line's boundaries; exact to the lattice where it is done."""
        wanted = self._wanted(known)
        found = {}
        for i, line in enumerate(known):
            row = self._row(known[line])
            brackets, ended = [], []
            for first, last, through in self._changes(row):
                low, high = self.lattice[first], self.lattice[last]
                if through is not None:
                    ended.append((low, high, through))
                elif last == first + 1:
                    brackets.append((low, high))
            # A line that waits for its leaders wants nothing yet and is not done.
            done = not wanted[line] and not self._waits(i, known, wanted)
            found[line] = Crossings(tuple(brackets), tuple(ended), done)
        return found

    def _row(self, known: Known) -> dict[int, str]:
        """Outcomes by place on the lattice, in increasing order."""
        places = np.asarray(self.lattice, dtype=float)
        row = {}
        for place, outcome in known.items():
            i = int(np.argmin(np.abs(places - place)))
            # As exact as the axes of a phase diagram are.
            if outcome != "missing" and abs(places[i] - place) <= 1e-9 * abs(place):
                row[i] = outcome
        return dict(sorted(row.items()))

    def _changes(self, row: dict[int, str]) -> list[tuple[int, int, str | None]]:
        places = list(row)
        found = changes(list(row.values()), sides_of(self.between))
        return [(places[first], places[last], through) for first, last, through in found]

    def _coarse(self) -> set[int]:
        return {*range(0, len(self.lattice), self.every), len(self.lattice) - 1}

    def _leaders(self, i: int, num_lines: int) -> list[int]:
        """The lines that line `i` rests on; none if it leads itself."""
        before = i - i % self.lead
        after = before + self.lead
        return [] if i == before else [before] + ([after] if after < num_lines else [])

    def _waits(self, i: int, known: Mapping[Line, Known], wanted: dict[Line, list[int]]) -> bool:
        names = list(known)
        return any(wanted[names[j]] for j in self._leaders(i, len(names)))

    def _wanted(self, known: Mapping[Line, Known]) -> dict[Line, list[int]]:
        """The places each line wants next."""
        rows = [self._row(line) for line in known.values()]
        wanted: list[list[int]] = [[] for _ in rows]
        for i, row in enumerate(rows):
            if not self._leaders(i, len(rows)):
                wanted[i] = self._next(row, self._coarse())
        for i, row in enumerate(rows):
            leaders = self._leaders(i, len(rows))
            if leaders and not any(wanted[j] for j in leaders):
                wanted[i] = self._follow(row, [self._changes(rows[j]) for j in leaders])
        return dict(zip(known, wanted, strict=True))

    def _follow(
        self, row: dict[int, str], leading: list[list[tuple[int, int, str | None]]]
    ) -> list[int]:
        """What a line wants whose leaders have these changes."""
        end = len(self.lattice) - 1
        first = {0, end}
        if len({len(found) for found in leading}) == 1:
            # The leaders agree: what lies between their boundaries is this line's bracket.
            for same in zip(*leading, strict=True):
                first.add(max(min(low for low, _, _ in same) - self.margin, 0))
                first.add(min(max(high for _, high, _ in same) + self.margin, end))
        else:
            for low, high, _ in (change for found in leading for change in found):
                first |= {max(low - self.margin, 0), min(high + self.margin, end)}
        if first <= row.keys() and len(self._changes(row)) not in {len(f) for f in leading}:
            first = self._coarse()
        return self._next(row, first)

    def _next(self, row: dict[int, str], first: set[int]) -> list[int]:
        """What is missing of the first pass; after it, the middles of all open brackets."""
        if first - row.keys():
            return sorted(first - row.keys())
        open_brackets = [
            (low, high)
            for low, high, through in self._changes(row)
            if through is None and high > low + 1
        ]
        return [(low + high) // 2 for low, high in open_brackets]

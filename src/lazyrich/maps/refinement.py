"""The choice of the next runs for locating a boundary with few runs."""

from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeVar

import numpy as np

from .._core.errors import InputError
from .boundary import Outcomes, changes, sides_of

Place = int | float
# Places are dictionary keys: integers for some lattices, floats for others.
Known = Mapping[Any, str]
Line = TypeVar("Line", bound=Hashable)


class Crossings(NamedTuple):
    """What is known of the boundaries on one line.

    - `brackets`: neighbouring places of the lattice with a boundary between them.
    - `ended`: pairs of places with a third outcome between them, and that outcome. The search
        between them has ended.
    - `done`: whether the line needs no more runs.
    """

    brackets: tuple[tuple[Place, Place], ...]
    ended: tuple[tuple[Place, Place, str], ...]
    done: bool


@dataclass(frozen=True)
class Bisection:
    r"""Finds where outcomes change along the lines of a lattice, with few runs.

    A line is the values of one key at fixed values of all other keys. Every `lead`-th line is a
    leader. A leader is first run at both ends and at every `every`-th place between. The lines
    between two leaders wait for both. They are then run at both ends and at places `margin`
    outside the brackets of the leaders. If the number of changes on a line differs from that on
    both leaders, the line gets the coarse pass as well. After that, every pair of neighbouring
    known places on different sides is bisected until the places are adjacent. At the end, any two
    neighbouring known places are on the same side, or adjacent, or have a third outcome between
    them, so every boundary that the first pass separates is found. The search can miss an interval
    of one outcome that is narrower than the first pass. With `lead = 1` all lines are independent.

    The search has no state: `propose` depends only on the outcomes, so the search continues from
    the contents of a store. Outcomes at places outside the lattice are ignored, and `missing`
    counts as unknown.

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
        # Plain numbers of the given type: a whole number stays a whole number in an experiment.
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
        """The places to run next, in any order or at once; empty when the search is done.

        - **Takes** the outcomes at all places that were run, for each line, in an order in which
            neighbouring lines have similar boundaries; an empty mapping for a new line.
        - **Returns** pairs of line and place, in the order of the lines.
        """
        needed = self._needed(known)
        return [(line, self.lattice[i]) for line, places in needed.items() for i in places]

    def done(self, known: Mapping[Line, Known]) -> bool:
        """Whether no more runs are needed."""
        return not self.propose(known)

    def located(self, known: Mapping[Line, Known]) -> dict[Line, Crossings]:
        """The known boundaries of every line, exact on the lattice for lines that are done."""
        needed = self._needed(known)
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
            # A line that waits for its leaders needs no runs yet, but is not done.
            done = not needed[line] and not self._waits(i, known, needed)
            found[line] = Crossings(tuple(brackets), tuple(ended), done)
        return found

    def _row(self, known: Known) -> dict[int, str]:
        """Outcomes by index on the lattice, in increasing order."""
        places = np.asarray(self.lattice, dtype=float)
        row = {}
        for place, outcome in known.items():
            i = int(np.argmin(np.abs(places - place)))
            # The same tolerance as for the axes of a phase diagram.
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
        """The leaders of line `i`; none if the line is a leader itself."""
        before = i - i % self.lead
        after = before + self.lead
        return [] if i == before else [before] + ([after] if after < num_lines else [])

    def _waits(self, i: int, known: Mapping[Line, Known], needed: dict[Line, list[int]]) -> bool:
        names = list(known)
        return any(needed[names[j]] for j in self._leaders(i, len(names)))

    def _needed(self, known: Mapping[Line, Known]) -> dict[Line, list[int]]:
        """The places that each line needs next."""
        rows = [self._row(line) for line in known.values()]
        needed: list[list[int]] = [[] for _ in rows]
        for i, row in enumerate(rows):
            if not self._leaders(i, len(rows)):
                needed[i] = self._next(row, self._coarse())
        for i, row in enumerate(rows):
            leaders = self._leaders(i, len(rows))
            if leaders and not any(needed[j] for j in leaders):
                needed[i] = self._follow(row, [self._changes(rows[j]) for j in leaders])
        return dict(zip(known, needed, strict=True))

    def _follow(
        self, row: dict[int, str], leading: list[list[tuple[int, int, str | None]]]
    ) -> list[int]:
        """The places that a line needs whose leaders have these changes."""
        end = len(self.lattice) - 1
        first = {0, end}
        if len({len(found) for found in leading}) == 1:
            # The leaders agree, so this line's bracket is expected between their boundaries.
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
        """The missing places of the first pass; after the first pass, the middles of brackets."""
        if first - row.keys():
            return sorted(first - row.keys())
        open_brackets = [
            (low, high)
            for low, high, through in self._changes(row)
            if through is None and high > low + 1
        ]
        return [(low + high) // 2 for low, high in open_brackets]

"""The predicted course of a run, judged by the same rules as a record."""

import math
from collections.abc import Iterator, Mapping
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float

from ..records.transition import (
    Scales,
    Thresholds,
    Transition,
    read_off,
    score_of_loss,
    scored_by,
)
from ..records.transition.crossing import crossing
from .verdict import Verdict, verdict_of

# Half of the width, in log time, of the ramp that replaces a change: its shape is not predicted.
_RAMP = 0.02
# The largest distance from half of a change, as a share of it.
_MOST = 0.4
# The course ends at this multiple of the time of the change.
_AFTER = 20.0


class Course(NamedTuple):
    """Losses and accuracies over time, by their names in records; `scales`, the reference values of
    scores."""

    times: Float[np.ndarray, " t"]
    curves: dict[str, Float[np.ndarray, " t"]]
    scales: Scales

    def until(self, t1: float) -> "Course":
        """The part up to a time."""
        return self._where(self.times <= t1 * (1 + 1e-12))

    def at(self, times: Float[np.ndarray, " s"]) -> "Course":
        """The part at the given times, as in a record."""
        return self._where(np.isin(self.times, times))

    def _where(self, keep: Bool[np.ndarray, " t"]) -> "Course":
        curves = {name: row[keep] for name, row in self.curves.items()}
        return Course(self.times[keep], curves, self.scales)

    def events(self, thresholds: Thresholds, ending: str = "completed") -> Transition:
        """The transition that a record of this course shows; `ending`, the ending of the run."""
        return read_off(self.times, self.curves, ending, thresholds, self.scales)

    def changed(self, late: Mapping[str, float], until: float, t50: float, t1: float) -> "Course":
        """This course up to `until`, then constant, then a step at `t50` to the `late` values."""
        begin, finish = t50 * math.exp(-_RAMP), t50 * math.exp(_RAMP)
        kept = self.until(max(min(until, begin), self.times[0]))
        held = np.geomspace(max(kept.times[-1], 1e-3 * t50), begin, 12)[1:-1]
        ramp = np.geomspace(begin, finish, 9)
        after = np.geomspace(finish, max(t1, _AFTER * t50), 40)[1:]
        share = np.concatenate([np.zeros(len(held)), np.linspace(0, 1, 9), np.ones(len(after))])
        curves = {}
        for name, row in kept.curves.items():
            change = late.get(name, row[-1]) - row[-1]
            curves[name] = np.concatenate([row, row[-1] + share * change])
        times = np.concatenate([kept.times, held, ramp, after])
        return Course(times, curves, self.scales)

    def around_half(self, events: Transition, slack: float) -> tuple[float, float]:
        """The first times at half of the change of the test score, less `slack` and plus `slack`.

        They are far apart if the score changes in steps with a plateau near the middle. NaN if the
        score does not change.
        """
        size = events.final_score - events.plateau_score
        if not abs(size) > 0:
            return math.nan, math.nan
        if scored_by(self.curves, self.scales) == "accuracy":
            score = self.curves["test_accuracy"]
        else:
            score = score_of_loss(self.curves["test_loss"], self.scales.test_variance)
        after = ~(self.times < events.t_train)
        done = (score[after] - events.plateau_score) / size
        share = min(slack / abs(size), _MOST)
        low, high = (
            crossing(self.times[after], done, done >= level, level)
            for level in (0.5 - share, 0.5 + share)
        )
        return low, high

    def is_early(self, events: Transition, t50: float) -> bool:
        """Whether half of the change of the test score is passed before the ramp at `t50`."""
        return events.t50 < t50 * math.exp(-_RAMP)

    def is_delay_undecided(self, events: Transition, thresholds: Thresholds, slack: float) -> bool:
        """Whether an error of the score by `slack` decides if a rise is late enough to count."""
        if events.outcome not in ("grokked", "gradual", "immediate"):
            return False
        first, last = self.around_half(events, slack)
        return first < thresholds.delay * events.t_train <= last

    def near(self, thresholds: Thresholds, slack: float, verdict: Verdict) -> list[str]:
        """The names of the thresholds for which a change by about `slack` changes the verdict."""
        found = []
        for name, moved in _moved(thresholds, slack):
            if name not in found and verdict_of(self.events(moved)) != verdict:
                found.append(name)
        return found


def _moved(thresholds: Thresholds, slack: float) -> Iterator[tuple[str, Thresholds]]:
    """Copies of the thresholds with one of them changed, and its name."""
    for sign in (-1, 1):
        for name, size in (("train", 0.1), ("test", 1.0), ("change", 1.0)):
            value = getattr(thresholds, name) + sign * size * slack
            if 0 < value < 1:
                yield name, thresholds.model_copy(update={name: value})
        factor = (1 + 10 * slack) ** sign
        delay = max(1.001, thresholds.delay * factor)
        yield "delay", thresholds.model_copy(update={"delay": delay})
        if thresholds.loss is not None:
            loss = thresholds.loss * (1 + slack) ** sign
            yield "loss", thresholds.model_copy(update={"loss": loss})

"""The phases of a run: fit, kernel plateau, transition, rich."""

import math

from ...records.transition import Transition
from ..description import Axis, Span, Style

_PHASES: dict[str, Style] = {
    "fit": Style("#ffffff"),
    "kernel plateau": Style("#f1f1f1"),
    "transition": Style("#d6d6d6"),
    "rich": Style("#ffffff"),
    "after the fit": Style("#f1f1f1"),
}
"""The phases and the shades of their spans."""

# Outcomes with a change of the test score that comes after the fit.
_CHANGED = ("grokked", "misgrokked", "improved", "gradual")
_FITTED = (*_CHANGED, "immediate", "unchanged", "not_within_budget")


def phases(events: Transition | None, axis: Axis) -> tuple[Span, ...]:
    """The phases that are within the range of the axis.

    The plateau is from the fit of the training data to 10 % of the change of the test score, the
    transition from 10 to 90 %. Without such a change there are only the fit and what follows.
    """
    if events is None or events.outcome not in _FITTED or math.isnan(events.t_train):
        return ()
    fit, t10, t90 = events.t_train, events.t10, events.t90
    if events.outcome in _CHANGED and fit < t10 < t90:
        ends = {"fit": fit, "kernel plateau": t10, "transition": t90, "rich": axis.high}
    else:
        ends = {"fit": fit, "after the fit": axis.high}
    spans, low = [], axis.low
    for name, end in ends.items():
        high = min(end, axis.high)
        if high > low:
            spans.append(Span(low, high, name, _PHASES[name], label=name, group="phases"))
            low = high
    return tuple(spans)

"""The time axis of runs: its range, its scale, and steps or epochs below it."""

import math
from collections.abc import Sequence
from typing import Literal

import numpy as np
import xarray as xr

from ..._core.errors import InputError
from ...records.described import description_of
from ...records.schema import axis_of
from ...records.transition import Transition, transition
from ..description import Axis, Scale, Second

TimeScale = Literal["log", "linear", "both"]

# On a log axis, the part before the first event is at most this factor.
_BEFORE = 100.0
# On a linear axis, the part after the transition is at most this factor.
_AFTER = 4.0
# The transition is in this fraction of the axis.
_LATEST = 0.87


def scales_of(time: str) -> tuple[Scale, ...]:
    """The scales of time that a figure has.

    - **Raises** [`InputError`][lazyrich.InputError] for another word.
    """
    found: dict[str, tuple[Scale, ...]]
    found = {"log": ("log",), "linear": ("linear",), "both": ("linear", "log")}
    if time not in found:
        raise InputError("time", time, f"should be one of {', '.join(found)}")
    return found[time]


def events_of(record: xr.Dataset) -> Transition | None:
    """The transition of a record, None if it has no curves that define one."""
    try:
        return transition(record)
    except InputError:
        return None


def time_axis(
    records: Sequence[xr.Dataset],
    scale: Scale,
    events: Sequence[Transition | None],
    marks: Sequence[float] = (),
    until: float | None = None,
) -> Axis:
    """The axis of time of some runs.

    Its range follows from the transitions: a log axis begins shortly before the first event, a
    linear axis ends some time after the last one, and no transition is in the last tenth.

    - **Takes** `marks`, further times to show, such as those of a forecast; `until`, the end of a
        linear axis, if it is given.
    """
    times = np.concatenate([record["time"].values for record in records])
    marks = [m for m in marks if m > 0]
    low, high = time_range(times, scale, _times_of(events), marks, until)
    return Axis(axis_of(records[0]).label, low, high, scale)


def _times_of(events: Sequence[Transition | None]) -> list[tuple[float, float, float]]:
    """The times of the fit, and of 10 and 90 % of the change."""
    return [(e.t_train, e.t10, e.t90) for e in events if e is not None]


def time_range(
    times: np.ndarray,
    scale: Scale,
    events: Sequence[tuple[float, float, float]],
    marks: Sequence[float],
    until: float | None = None,
) -> tuple[float, float]:
    """The range of an axis of time.

    - **Takes** `events`: for each run the times of the fit, and of 10 and 90 % of the change;
        `marks`, further times; `until`, the end of a linear axis, if it is given.
    """
    positive = times[times > 0]
    if not positive.size:
        return (0.5, 2.0) if scale == "log" else (-0.5, 0.5)
    first, last = float(positive.min()), float(positive.max())
    early = [t for ts in events for t in ts if t > 0]
    late = [t90 for *_, t90 in events if t90 > 0]
    if scale == "log":
        low = max(first, min(early) / _BEFORE) if early else first
        high = max([last, *(m for m in marks if m < 10 * last)])
        if high <= low:
            low, high = low / 10, 10 * low
        for t90 in late:
            # Space after the last record, which holds the labels.
            high = max(high, low * (t90 / low) ** (1 / _LATEST))
        return low, high
    high = last
    if late:
        high = min(last, _AFTER * max([*late, *(m for m in marks if m < _AFTER * max(late))]))
        high = max(high, max(late) / _LATEST)
    low = min(0.0, float(times.min()))
    return low, high if until is None else until


def second_axis(record: xr.Dataset) -> Second | None:
    """An axis of steps, or of epochs, of a discrete optimiser or of a log that has them."""
    times = record["time"].values
    for name in ("step", "epoch"):
        if name not in record.coords or axis_of(record).long_name == name or len(times) < 2:
            continue
        counts = record[name].values
        if not (times[-1] > 0 and counts[-1] > 0):
            continue
        # Epochs in whole numbers grow in stairs. Their mean rate is that at the end.
        rate = float(counts[-1] / times[-1])
        if name == "epoch" or np.allclose(counts, rate * times, rtol=1e-3):
            return Second.proportional(name, rate)
        # The learning rate changes; where it is zero, the time stands still.
        points = np.array([(0.0, 0.0), *zip(times.tolist(), counts.tolist(), strict=True)])
        grows = np.all(np.diff(np.maximum.accumulate(points), axis=0, prepend=-1.0) > 0, axis=1)
        return Second(name, *points[grows].T)
    return steps_axis(record)


def steps_axis(record: xr.Dataset) -> Second | None:
    """An axis of the steps of a discrete optimiser, whose time is the learning rate × steps."""
    dynamics = description_of(record).get("dynamics")
    found = dynamics.get("learning_rate") if isinstance(dynamics, dict) else None
    if axis_of(record).long_name != "gradient-flow time" or not isinstance(found, int | float):
        return None
    return (
        Second.proportional("step", 1 / found) if found > 0 and math.isfinite(1 / found) else None
    )

"""What a diagnosis reads from a record: last values, changes, and events in steps."""

import dataclasses
import math
from typing import Any

import numpy as np
import xarray as xr

from ...forecasts.training_curves import RESTING, rates_of
from ...records.described import json_attribute, number_in
from ...records.transition import (
    Transition,
    curves_of_record,
    scales_of_record,
    score_of,
    thresholds_of,
    time_names,
    transition,
)

WINDOW = 2.0
"""The time over which norm and alignment are compared: the last factor of this many in steps."""


class Reader:
    """The last values of a record, and its changes. `evidence` holds what was read."""

    def __init__(self, record: xr.Dataset):
        self.record = record
        self.about = json_attribute(record, "monitor")
        self.evidence: dict[str, float] = {}
        self.steps = record["step" if "step" in record.coords else "time"].values.astype(float)
        flow = record["flow_time"] if "flow_time" in record else record["time"]
        self.flow = flow.values.astype(float)
        self.decay = number_in(record, "weight_decay")
        if math.isnan(self.decay):
            self.decay = 0.0

    def last(self, name: str) -> float:
        """The last known value of a variable; it counts as evidence."""
        if name not in self.record:
            return math.nan
        values = self.record[name].values
        known = values[np.isfinite(values)]
        if not len(known):
            return math.nan
        self.evidence[name] = float(known[-1])
        return self.evidence[name]

    def earlier(self, name: str) -> float:
        """Its value when the training had done a part of its steps."""
        return math.nan if name not in self.record else float(self.record[name].values[self._place])

    @property
    def _place(self) -> int:
        place = int(np.searchsorted(self.steps, self.steps[-1] / WINDOW))
        return min(place, len(self.steps) - 1)

    @property
    def flow_since(self) -> float:
        """Flow time since that moment."""
        return float(self.flow[-1] - self.flow[self._place])

    def rate_ahead(self) -> float:
        """The present learning rate over its mean until now; NaN if unknown.

        It is the sum of learning rates that as many steps again would add, over that until now."""
        now, found = rates_of(self.record, self.steps)
        if not math.isnan(found):
            self.evidence["learning_rate"] = now
        if math.isfinite(found):
            self.evidence["learning_rate_over_mean"] = found
        return found

    def is_resting(self) -> bool:
        """Whether the learning rate is so low that nothing moves any more."""
        return bool(self.rate_ahead() < RESTING)

    def lost_since(self, events: Transition) -> tuple[float, float]:
        """The step since which fitted training data are not fitted, and their last score; NaN."""
        thresholds = thresholds_of(self.record)
        if math.isnan(events.t_train) or thresholds.loss is not None:
            return math.nan, math.nan
        curves, scales = curves_of_record(self.record), scales_of_record(self.record)
        score = score_of(curves, "train", scales)
        fits = np.flatnonzero(score >= thresholds.train)
        if not len(fits) or fits[-1] == len(score) - 1:
            return math.nan, math.nan
        return float(self.steps[fits[-1] + 1]), float(score[-1])


def events_in_steps(record: xr.Dataset, steps: np.ndarray) -> Transition:
    """The transition of a record, with its times in steps; the outcome is that in flow time.

    - **Raises** [`InputError`][lazyrich.InputError] for a record without scores.
    """
    found = transition(record)
    if found.unit == "step":
        return found
    times = record["time"].values.astype(float)

    def step(time: float) -> float:
        return math.nan if math.isnan(time) else float(np.interp(time, times, steps))

    moved: dict[str, Any] = {name: step(getattr(found, name)) for name in time_names()}
    moved["plateau"] = (step(found.plateau[0]), step(found.plateau[1]))
    begin, extreme, end = (step(time) for time in found.excursion_times)
    moved["excursion_times"] = (begin, extreme, end)
    fit, change = moved["t_train"], moved["t_change"]
    moved["delay_difference"] = change - fit
    if fit > 0 and not math.isnan(change):
        moved["delay_ratio"] = change / fit
    return dataclasses.replace(found, unit="step", **moved)

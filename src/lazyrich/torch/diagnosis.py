"""What a record of a monitor says of a training, its evidence, and what to try next."""

import json
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr

from .._core.errors import InputError
from .._core.shown import as_html
from ..records.described import number_in
from ..records.transition import Transition, transition

# The kernel has hardly moved below the first angle, in radians, and is another one above the
# second.
_LAZY, _RICH = 0.1, 0.5
# A norm that falls at this share of the rate of decay, or more, falls by decay only.
_FALLS = 0.7
# A residual below this value is that of parameters that have arrived.
_ARRIVED = 0.05
# The share of samples without a gradient from which a softmax counts as saturated.
_SATURATED = 0.5
# The largest cosine of a block with its gradient for which its scale does not matter.
_INVARIANT = 1e-3
# The time over which norm and alignment are compared: the last factor of this many.
_WINDOW = 2.0


@dataclass(frozen=True)
class Diagnosis:
    """What a training has done until now.

    - `text`, sentences; `evidence`, the numbers they are based on, by name; `next_steps`, what to
        try; `cannot_say`, what the record does not show, and why.
    """

    text: str
    evidence: dict[str, float]
    next_steps: tuple[str, ...]
    cannot_say: tuple[str, ...]

    def __str__(self) -> str:
        return self.text

    def _repr_html_(self) -> str:
        return as_html(self)


class _Reader:
    """The last values of a record, and its changes."""

    def __init__(self, record: xr.Dataset):
        self.record = record
        self.about: dict[str, Any] = json.loads(record.attrs.get("monitor", "{}"))
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
        if name not in self.record:
            return math.nan
        place = int(np.searchsorted(self.steps, self.steps[-1] / _WINDOW))
        return float(self.record[name].values[min(place, len(self.steps) - 1)])

    @property
    def flow_since(self) -> float:
        """Flow time since that moment."""
        place = int(np.searchsorted(self.steps, self.steps[-1] / _WINDOW))
        return float(self.flow[-1] - self.flow[min(place, len(self.flow) - 1)])


def diagnose(record: xr.Dataset) -> Diagnosis:
    """The diagnosis of the record of a [`Monitor`][lazyrich.torch.Monitor]."""
    seen = _Reader(record)
    said: list[str] = []
    unknown: list[str] = []
    events = _events(record, seen, said, unknown)
    regime = _regime(seen, said, unknown)
    falls = _norm(seen, said, unknown)
    arrived = _arrival(seen, said, unknown)
    stuck = _softmax(seen, said)
    _invariance(seen, said)
    advice = _advice(seen, events, regime, falls, arrived, stuck)
    part, whole = seen.about.get("num_train", [0, 0])
    if part < whole:
        unknown.append(f"how the other {whole - part:,} of {whole:,} training samples are fitted")
    parts = [*said, *(f"Next: {line}." for line in advice)]
    parts += [f"Cannot say: {line}." for line in unknown]
    return Diagnosis("\n".join(parts), seen.evidence, tuple(advice), tuple(unknown))


def _events(
    record: xr.Dataset, seen: _Reader, said: list[str], unknown: list[str]
) -> Transition | None:
    try:
        events = transition(record)
    except InputError as error:
        unknown.append(f"whether it generalises ({error.accepted})")
        return None
    seen.evidence["step"] = float(seen.steps[-1])
    for name in ("train_accuracy", "test_accuracy", "train_loss", "test_loss"):
        seen.last(name)
    said.append(f"Step {int(seen.steps[-1]):,}: {events.outcome}; {events.says}.")
    if record.attrs["ending"] == "diverged":
        said.append("The losses became infinite or not-a-number; the record ends before.")
    return events


def _regime(seen: _Reader, said: list[str], unknown: list[str]) -> str:
    distance = seen.last("kernel_distance")
    if math.isnan(distance):
        unknown.append("whether it is lazy or rich: the tangent kernel could not be measured")
        return "unknown"
    angle = math.sqrt(2 * max(distance, 0.0))
    seen.evidence["kernel_moved"] = angle
    labels, before = seen.last("kernel_alignment_labels"), seen.earlier("kernel_alignment_labels")
    share = seen.last("drift_share")
    moved = f"the direction of the tangent kernel moved by {_percent(angle)} since the start"
    if angle < _LAZY:
        said.append(f"Still lazy: {moved}.")
        regime = "lazy"
    elif angle < _RICH:
        said.append(f"Leaving the lazy regime: {moved}.")
        regime = "leaving"
    else:
        said.append(f"Rich: {moved}, so features are not those of the initialisation.")
        regime = "rich"
    if not math.isnan(share):
        words = "the decayed initialisation" if seen.decay > 0 else "the initialisation"
        said.append(f"The parameters differ from {words} by {_percent(share)} of their norm.")
    if not math.isnan(labels - before):
        trend = "rises" if labels > before + 0.02 else "does not rise"
        words = f"The kernel's alignment with the labels {trend}: {before:.2g} to {labels:.2g}"
        said.append(f"{words} in the last factor of {_WINDOW:g} in steps.")
        seen.evidence["kernel_alignment_labels_before"] = before
        if labels > before + 0.02:
            seen.evidence["alignment_rises"] = 1.0
    return regime


def _norm(seen: _Reader, said: list[str], unknown: list[str]) -> bool:
    """Whether the norm falls at the rate of decay."""
    now, before, flow = seen.last("param_norm"), seen.earlier("param_norm"), seen.flow_since
    if seen.decay == 0:
        said.append("There is no weight decay.")
        return False
    if not (now > 0 and before > 0 and flow > 0):
        unknown.append("how fast the norm falls: there are too few records")
        return False
    share = -math.log(now / before) / (seen.decay * flow)
    seen.evidence["norm_rate_over_decay"] = share
    acted = seen.decay * float(seen.flow[-1])
    seen.evidence["decay_time"] = acted
    if share >= _FALLS:
        said.append(f"The norm falls at {share:.2g} times the rate ηλ of weight decay.")
    elif share > 0.05:
        said.append(f"The norm falls at {share:.2g} times the rate ηλ: the loss holds it up.")
    else:
        grows = share < -0.05
        words = "grows: the loss exceeds" if grows else "no longer falls: the loss balances"
        said.append(f"The norm {words} weight decay.")
    said.append(f"Weight decay has acted for λt = {acted:.2g}.")
    return share >= _FALLS


def _arrival(seen: _Reader, said: list[str], unknown: list[str]) -> bool:
    found = seen.last("arrival_residual")
    if math.isnan(found):
        unknown.append("whether it has arrived: that needs weight decay on a matrix")
        return False
    if found < _ARRIVED:
        said.append(f"Arrived: loss and weight decay balance up to {_percent(found)}.")
        return True
    said.append(f"Not arrived: {_percent(found)} of loss and weight decay do not balance.")
    return False


def _softmax(seen: _Reader, said: list[str]) -> bool:
    found = seen.last("softmax_saturation_own")
    if not found > 0:
        return False
    said.append(
        f"The softmax is exactly 1 on {_percent(found)} of training samples, in the precision of "
        "the outputs: they give no gradient (softmax collapse)."
    )
    return found >= _SATURATED


def _invariance(seen: _Reader, said: list[str]) -> None:
    if "block_invariance" not in seen.record:
        return
    values = seen.record["block_invariance"].values[1:]
    if not len(values):
        return
    with np.errstate(all="ignore"):
        invariant = np.nan_to_num(np.nanmedian(values, axis=0), nan=1.0) < _INVARIANT
    norms = seen.record["block_norm"].values[-1]
    share = float(np.sum(norms[invariant] ** 2) / max(np.sum(norms**2), 1e-300))
    seen.evidence["scale_invariant_share"] = share
    if share > 0.1:
        said.append(
            f"{_percent(share)} of the squared norm is in blocks whose scale does not matter: "
            "there, weight decay only changes the effective learning rate."
        )


def _advice(
    seen: _Reader,
    events: Transition | None,
    regime: str,
    falls: bool,
    arrived: bool,
    stuck: bool,
) -> list[str]:
    found: list[str] = []
    outcome = "" if events is None else events.outcome
    if outcome == "failed":
        return ["lower the learning rate, or clip gradients"]
    if stuck:
        found.append("compute the loss in float64 or raise weight decay: most gradients are zero")
    if outcome in ("grokked", "immediate", "gradual"):
        return [*found, "it generalises: stop, or repeat with other seeds and with random labels"]
    if outcome == "untrained":
        return [*found, "train on until the training data are fitted, or raise the learning rate"]
    if regime == "lazy" and seen.decay > 0:
        acted = seen.evidence.get("decay_time", math.nan)
        if falls or acted < 1:
            found.append("wait: weight decay shrinks the initialisation, and features can follow")
        found.append("for a shorter wait, raise weight decay or start from smaller parameters")
    elif regime == "lazy":
        found.append("add weight decay, or start from smaller parameters: nothing ends this regime")
    elif arrived:
        found.append("a longer run changes little: more data, or another weight decay")
    elif regime in ("leaving", "rich"):
        more = "alignment_rises" in seen.evidence
        found.append("wait: features still change" if more else "wait until the norm settles")
    elif events is not None and events.advice:
        found.append(events.advice)
    return found


def _percent(share: float) -> str:
    """A share in percent, in two digits or as a whole number."""
    percent = 100 * share
    return f"{percent:.0f} %" if percent >= 10 else f"{percent:.2g} %"

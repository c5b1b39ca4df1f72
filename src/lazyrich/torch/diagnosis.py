"""What a record of a monitor says of a training, its evidence, and what to try next."""

import math
from dataclasses import dataclass

import numpy as np
import xarray as xr

from .._core.errors import InputError
from .._core.shown import as_html
from ..forecasts.remaining import LATER, Remaining, remaining
from ..records.described import check_record
from ..records.transition import Transition, thresholds_of
from ._monitor.advice import Facts, Norm, advice_on
from ._monitor.ahead import ahead, is_ahead, margins
from ._monitor.reading import WINDOW, Reader, events_in_steps
from ._monitor.rounded import digits, percent

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
# A change of the alignment by more than this is a rise.
_RISES = 0.02
# Before this value of lambda t weight decay has hardly acted.
_ACTED = 0.3
# With fewer steps nothing can be said of what no longer changes.
_FEW_STEPS = 10
# A training loss of this many times that of the start, or more, has exploded.
_EXPLODED = 10.0
# The optimisers that pilots serve.
_PILOTED = ("SGD", "Adam", "AdamW")


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


def diagnose(record: xr.Dataset) -> Diagnosis:
    """The diagnosis of the record of a [`Monitor`][lazyrich.torch.Monitor]. Times are steps."""
    check_record(record)
    seen = Reader(record)
    said: list[str] = []
    unknown: list[str] = []
    facts = Facts(decay=seen.decay)
    events = _events(record, seen, said, unknown, facts)
    facts.resting = seen.is_resting()
    facts.num_test = seen.about.get("num_test", [0])[0]
    _trained(seen, said)
    found = None if events is None else remaining(record)
    if found is not None:
        said += margins(record, seen.evidence)
        _outlook(found, seen, facts)
    _regime(seen, said, unknown, facts)
    _norm(seen, said, unknown, facts, events)
    _motion(seen, said, unknown, facts, events)
    _softmax(seen, said, facts)
    _invariance(seen, said)
    if found is not None:
        said += ahead(found, record, seen.evidence)
    advice = advice_on(facts)
    part, whole = seen.about.get("num_train", [0, 0])
    if part < whole:
        unknown.append(f"how the other {whole - part:,} of {whole:,} training samples are fitted")
    parts = [*said, *(f"Next: {line}." for line in advice)]
    parts += [f"Cannot say: {line}." for line in unknown]
    return Diagnosis("\n".join(parts), seen.evidence, tuple(advice), tuple(unknown))


def _events(
    record: xr.Dataset, seen: Reader, said: list[str], unknown: list[str], facts: Facts
) -> Transition | None:
    try:
        events = events_in_steps(record, seen.steps)
    except InputError as error:
        unknown.append(f"whether it generalises ({error.accepted})")
        return None
    seen.evidence["step"] = float(seen.steps[-1])
    for name in ("train_accuracy", "test_accuracy", "train_loss", "test_loss"):
        seen.last(name)
    facts.outcome = events.outcome
    # The state has a sentence of its own, which also knows learning rate and weight decay.
    says = [part for part in events.says.split("; ") if part not in ("settled", "moving")]
    said.append(f"Step {int(seen.steps[-1]):,}: {'; '.join([events.outcome, *says])}.")
    if record.attrs["ending"] == "diverged":
        said.append("The losses became infinite or not-a-number; the record ends before.")
    first = float(record["train_loss"].values[0]) if "train_loss" in record else math.nan
    times = seen.evidence.get("train_loss", math.nan) / first if first > 0 else math.nan
    if times >= _EXPLODED:
        facts.exploded = True
        seen.evidence["train_loss_over_start"] = times
        said.append(f"The training loss has exploded: it is {times:.2g} times that of the start.")
    since, score = seen.lost_since(events)
    if not math.isnan(since) and events.outcome not in ("untrained", "collapsed"):
        facts.lost = True
        seen.evidence["lost_since"] = since
        name = "accuracy" if events.scored_by == "accuracy" else "score"
        now = f"training {name} {score:.3g}"
        if name == "accuracy":
            now += f", test accuracy {seen.evidence['test_accuracy']:.3g}"
        said.append(f"The fit is lost again since step {int(since):,}: {now} at the last record.")
    return events


def _trained(seen: Reader, said: list[str]) -> None:
    trained, whole = seen.about.get("num_trained", 0), seen.about.get("num_params", 0)
    if 0 < trained < whole:
        said.append(f"The optimiser trains only {trained:,} of {whole:,} parameters.")


def _outlook(found: Remaining, seen: Reader, facts: Facts) -> None:
    """What the forecast of the time that remains says for the advice."""
    facts.until = found.shown(found.t_test_interval[1]) if is_ahead(found) else ""
    facts.sure = found.verdict != "cannot_say"
    facts.later = found.advice == LATER
    facts.piloted = facts.later and seen.about.get("optimizer") in _PILOTED


def _regime(seen: Reader, said: list[str], unknown: list[str], facts: Facts) -> None:
    if seen.about.get("random"):
        why = "the net draws random numbers in eval mode, so that each kernel is another one"
        unknown.append(f"whether it is lazy or rich: {why}")
        return
    distance = seen.last("kernel_distance")
    if math.isnan(distance):
        unknown.append("whether it is lazy or rich: the tangent kernel could not be measured")
        return
    angle, moved = _moved(seen, distance)
    labels, before = seen.last("kernel_alignment_labels"), seen.earlier("kernel_alignment_labels")
    share = seen.last("drift_share")
    if angle < _LAZY:
        said.append(f"Still lazy: {moved}.")
        facts.regime = "lazy"
    elif angle < _RICH:
        said.append(f"Between lazy and rich: {moved}.")
        facts.regime = "between"
    else:
        said.append(f"Rich: {moved}, so features are not those of the initialisation.")
        facts.regime = "rich"
    if not math.isnan(share):
        words = "the decayed initialisation" if seen.decay > 0 else "the initialisation"
        said.append(f"The parameters differ from {words} by {percent(share)} of their norm.")
    if not math.isnan(labels - before):
        labels, before = round(labels, 3), round(before, 3)  # as they are shown
        facts.learns = labels - before > _RISES
        trend = "rose" if facts.learns else "did not rise"
        words = f"The kernel's alignment with the labels {trend}: {before:.3g} to {labels:.3g}"
        said.append(f"{words} in the last factor of {WINDOW:g} in steps.")
        seen.evidence["kernel_alignment_labels_before"] = before
        if facts.learns:
            seen.evidence["alignment_rises"] = 1.0


def _moved(seen: Reader, distance: float) -> tuple[float, str]:
    """How far the tangent kernel turned, in radians, and words for it.

    A part of the kernel is the same for all samples. It tells none from another, and where it is
    most of the kernel it hides how far the rest turned. The larger angle counts.
    """
    angle = math.sqrt(2 * max(distance, 0.0))
    cosine = seen.last("kernel_alignment_start")
    centred = math.sqrt(2 * max(1 - cosine, 0.0)) if math.isfinite(cosine) else 0.0
    seen.evidence["kernel_moved"] = angle
    if math.isfinite(cosine):
        seen.evidence["kernel_moved_centred"] = centred
    whole = percent(angle, _LAZY, _RICH)
    if not any(angle < limit <= centred for limit in (_LAZY, _RICH)):
        return angle, f"the direction of the tangent kernel moved by {whole} since the start"
    rest = f"without the part that all samples share moved by {percent(centred, _LAZY, _RICH)}"
    return centred, f"the tangent kernel {rest} since the start (with it, {whole})"


def _norm(
    seen: Reader, said: list[str], unknown: list[str], facts: Facts, events: Transition | None
) -> None:
    """How the norm has changed, compared with the rate of decay."""
    now, before, flow = seen.last("param_norm"), seen.earlier("param_norm"), seen.flow_since
    if seen.decay == 0:
        said.append("There is no weight decay.")
        return
    acted = seen.decay * float(seen.flow[-1])
    seen.evidence["decay_time"] = facts.acted = acted
    if not (now > 0 and before > 0 and seen.steps[-1] > 0):
        unknown.append("how fast the norm falls: there are too few records")
        return
    change = math.log(now / before)
    seen.evidence["norm_change"] = now / before - 1
    share = math.nan
    if flow > 0:
        share = seen.evidence["norm_rate_over_decay"] = -change / (seen.decay * flow)
    facts.norm = _kind(change, share, thresholds_of(seen.record).settled)
    if events is not None and events.settled and acted >= _ACTED and not facts.until:
        facts.norm = "still"  # over the time in which scores are compared
    window = f"in the last factor of {WINDOW:g} in steps"
    if facts.norm == "still":
        said.append(f"The norm hardly changed {window}.")
    elif facts.resting:
        verb = "rose" if facts.norm == "rises" else "fell"
        said.append(f"The norm {verb} by {percent(abs(now / before - 1))} {window}.")
    elif facts.norm == "rises":
        by = percent(now / before - 1)
        said.append(f"The norm rises, by {by} {window}.")
    else:
        rate = f"The norm falls at {digits(share, _FALLS)} times the rate ηλ"
        end = " of weight decay." if facts.norm == "falls" else ": the loss holds it up."
        said.append(rate + end)
    by = f"{math.exp(-acted):.2g} (λt = {acted:.2g})"
    decayed, whole = seen.about.get("num_decayed", 0), seen.about.get("num_params", 0)
    which = f"the {decayed:,} of {whole:,} parameters that decay" if 0 < decayed < whole else ""
    which = which or "the parameters"
    said.append(f"Without the loss, weight decay would have multiplied {which} by {by}.")


def _kind(change: float, share: float, still: float) -> Norm:
    if abs(change) < still or math.isnan(share):
        return "still"
    if change > 0:
        return "rises"
    return "falls" if share >= _FALLS else "held"


def _motion(
    seen: Reader, said: list[str], unknown: list[str], facts: Facts, events: Transition | None
) -> None:
    """One sentence on what still moves, of learning rate, scores, norm and residual together."""
    residual = seen.last("arrival_residual")
    balanced = residual < _ARRIVED
    if math.isnan(residual):
        unknown.append("whether it has arrived: that needs weight decay on a matrix")
    share = percent(residual, _ARRIVED) if not math.isnan(residual) else ""
    together = f"loss and weight decay balance up to {share}"
    apart = f"{share} of loss and weight decay do not balance"
    if facts.resting:
        said.append(_rests(seen))
        if share:
            text = together.capitalize() if balanced else f"It has not arrived: {apart}"
            said.append(f"{text}.")
        return
    if events is None or facts.outcome in ("failed", "unscored") or seen.steps[-1] < _FEW_STEPS:
        if events is not None and facts.outcome != "failed":
            few = seen.steps[-1] < _FEW_STEPS
            why = "there are too few steps" if few else "there is no score"
            unknown.append(f"whether it has settled: {why}")
        if share:
            said.append(f"{together.capitalize()}." if balanced else f"Not arrived: {apart}.")
        return
    acted = seen.decay == 0 or facts.acted >= _ACTED
    facts.settled = events.settled and acted and not facts.until
    facts.arrived = facts.settled and balanced
    what = "scores and norm" if facts.norm != "unknown" else "scores"
    moves = "test margins still grow" if facts.until else "scores or norm still change"
    moves = moves if acted else "weight decay has hardly acted"
    if not share:
        text = f"{what} have settled" if facts.settled else f"not settled: {moves}"
    elif facts.arrived:
        text = f"Arrived: {together}, and {what} have settled"
    elif balanced:
        text = f"Not settled: {moves}, though {together} at the present parameters"
    elif facts.settled:
        text = f"{what} have settled, though {apart}: directions can still turn"
    else:
        text = f"Not arrived: {apart}, and {moves}"
    said.append(f"{text[0].upper()}{text[1:]}.")


def _rests(seen: Reader) -> str:
    rate, share = seen.evidence["learning_rate"], seen.evidence["learning_rate_over_mean"]
    if rate == 0:
        return "The learning rate is 0: nothing can move."
    return (
        f"The learning rate has fallen to {rate:.2g}, {share:.1g} times its mean until now: hardly "
        "anything can move."
    )


def _softmax(seen: Reader, said: list[str], facts: Facts) -> None:
    found = seen.last("softmax_saturation_own")
    if not found > 0:
        return
    said.append(
        f"The softmax is exactly 1 on {percent(found, _SATURATED)} of training samples, in the "
        "precision of the outputs: they give no gradient (softmax collapse)."
    )
    facts.stuck = found >= _SATURATED


def _invariance(seen: Reader, said: list[str]) -> None:
    if "block_invariance" not in seen.record:
        return
    values = seen.record["block_invariance"].values[1:]
    known = np.isfinite(values)
    if not known.any():
        return
    invariant = np.array(
        [
            bool(seen_at.any()) and bool(np.median(value[seen_at]) < _INVARIANT)
            for value, seen_at in zip(values.T, known.T, strict=True)
        ]
    )
    squares = seen.record["block_norm"].values[-1].astype(float) ** 2
    share = float(np.sum(squares[invariant]) / max(np.sum(squares), 1e-300))
    if not math.isfinite(share):
        return
    seen.evidence["scale_invariant_share"] = share
    if share > 0.1:
        said.append(
            f"{percent(share)} of the squared norm is in blocks whose scale does not matter: "
            "there, weight decay only changes the effective learning rate."
        )

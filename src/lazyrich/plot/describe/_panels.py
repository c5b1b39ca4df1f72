"""The panels of runs over time."""

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from ..._core.errors import InputError
from ...predictors import CERTIFIED
from ...records.schema import VARIABLES
from ..description import Scale
from ..description.axis import is_wide
from ..description.style import KERNEL, PUBLISHED, RICH, TEST, TRAIN
from ._content import Content
from ._forecast import kernel_flow
from ._shown import Shown

# The least exponent of a loss on a log axis; below it, exponents are shown instead of losses.
_LEAST_EXPONENT = -300.0
_ONLY = replace(TRAIN, dash="solid")


def contents_of(runs: Sequence[Shown], panels: Sequence[str] | None) -> list[Content]:
    """The panels with something in them: those that are asked for, or all that were recorded."""
    for one in runs:
        if not (one.times > 0).any():
            raise InputError("record", "time", "should have times after 0")
    if panels is not None:
        return [_one(runs, name) for name in ([panels] if isinstance(panels, str) else panels)]
    found = [content for make in _USUAL if (content := make(runs)) is not None]
    last = (content for make in _LAST if (content := make(runs)) is not None)
    found += [content for content in (next(last, None),) if content is not None]
    if not found:
        recorded = sorted({str(name) for one in runs for name in one.record.data_vars})
        accepted = "should have losses, accuracies or norms at times after 0"
        raise InputError("record", recorded, accepted)
    return found


def _one(runs: Sequence[Shown], name: str) -> Content:
    """The panel of a name, or of a variable."""
    content = PANELS[name](runs) if name in PANELS else _variable(runs, name)
    if content is None:
        variables = (v for one in runs for v in one.record.data_vars)
        known = [str(v) for v in variables if runs[0].record[v].dims == ("time",)]
        accepted = f"was not recorded; accepted are {', '.join([*PANELS, *dict.fromkeys(known)])}"
        raise InputError("panels", name, accepted)
    return content


def _variable(runs: Sequence[Shown], name: str) -> Content | None:
    """A variable of the record over time, on a log axis if it spans decades."""
    having = [one for one in runs if one.has(name) and one.record[name].dims == ("time",)]
    if not having:
        return None
    values = np.concatenate([one.values(name) for one in having])
    scale: Scale = "log" if is_wide(values) and np.nanmin(values) > 0 else "linear"
    known = VARIABLES.get(name)
    label = str(having[0].record[name].attrs.get("long_name", known.long_name if known else name))
    content = Content(name, label, scale)
    for one in having:
        style = one.paint(TRAIN if name.startswith("train_") else TEST)
        content.curve(
            one.times, one.values(name), one.named(label), style,
            label=one.label("", True), group=one.group(""),
        )  # fmt: skip
    return _or_none(content)


def _score(runs: Sequence[Shown]) -> Content | None:
    """Accuracies, or for regression losses on a linear axis, with the predictors' scores."""
    if any(one.has("train_accuracy", "test_accuracy") for one in runs):
        content = Content("score", "accuracy", top=1.0)
        for one in runs:
            _fit(content, one, "accuracy")
            _references(content, one, "test_accuracy")
        return _or_none(content)
    content = Content("score", "loss (linear axis)", bottom=0.0)
    for one in runs:
        _fit(content, one, "loss")
        _references(content, one, "test_loss")
    return _or_none(content)


def _loss(runs: Sequence[Shown]) -> Content | None:
    """Losses on a log axis; their exponents where one is below the range of floats."""
    exponents = [one.values("train_log_loss") for one in runs if one.has("train_log_loss")]
    if any(np.nanmin(e) / np.log(10) < _LEAST_EXPONENT for e in exponents):
        return _exponents(runs)
    content = Content("loss", "loss", "log")
    for one in runs:
        _fit(content, one, "loss")
        if not one.has("train_loss") and one.has("train_log_loss"):
            losses = np.exp(one.values("train_log_loss"))
            content.curve(one.times, losses, one.named("train"), one.paint(TRAIN),
                          label=one.label("train"), group=one.group("train"))  # fmt: skip
    return _or_none(content)


def _exponents(runs: Sequence[Shown]) -> Content | None:
    content = Content("loss", "log₁₀ of the loss")
    for one in runs:
        for part, style in (("train", TRAIN), ("test", TEST)):
            name = f"{part}_log_loss" if one.has(f"{part}_log_loss") else f"{part}_loss"
            if not one.has(name):
                continue
            values = one.values(name)
            if name.endswith("log_loss"):
                exponents = values / np.log(10)
            else:
                exponents = np.log10(np.where(values > 0, values, np.nan))
            content.curve(one.times, exponents, one.named(part), one.paint(style),
                          label=one.label(part, part == "test"), group=one.group(part))  # fmt: skip
    return _or_none(content)


def _norm(runs: Sequence[Shown]) -> Content | None:
    content = Content("norm", "parameter norm ‖θ‖₂", "log")
    for one in runs:
        if one.has("param_norm"):
            content.curve(one.times, one.values("param_norm"), one.named("norm"),
                          one.paint(TEST if one.place is not None else _ONLY),
                          label=one.name, group=one.group(""))  # fmt: skip
        _circles(content, one, "param_norm", TRAIN.colour)
    return _or_none(content)


def _direction(runs: Sequence[Shown]) -> Content | None:
    """How near the weights are to those of the predictors: by angle, for regression by distance."""
    by_distance = any(one.has("distance_to_kernel", "distance_to_rich") for one in runs)
    kind = "distance" if by_distance else "cosine"
    words = "relative distance to" if by_distance else "cosine to"
    content = Content("direction", f"{words} predictor")
    content.bottom, content.top = (0.0, None) if by_distance else (0.0, 1.0)
    for one in runs:
        for role, style in (("kernel", replace(KERNEL, width=1.3)), ("rich", TEST)):
            if one.has(f"{kind}_to_{role}"):
                content.curve(one.times, one.values(f"{kind}_to_{role}"), one.named(f"to {role}"),
                              one.paint(style), label=one.label(f"to {role}", role == "rich"),
                              group=one.group(role))  # fmt: skip
    return _or_none(content)


_ALIGNED = {"labels": ("with labels", TEST), "start": ("with initial\nkernel", TRAIN)}


def _alignment(runs: Sequence[Shown]) -> Content | None:
    """The alignments of the kernel over those at the start, as both can be near 0 or near 1."""
    content = Content("alignment", "kernel alignment over its start")
    for one in runs:
        for of, (label, style) in _ALIGNED.items():
            name = f"kernel_alignment_{of}"
            if one.has(name):
                values = one.values(name)
                first = values[one.times > 0][0]
                content.curve(one.times, values / first, one.named(label.replace("\n", " ")),
                              one.paint(style), label=one.label(label, of == "labels"),
                              group=one.group(""))  # fmt: skip
    return _or_none(content)


def _margin(runs: Sequence[Shown]) -> Content | None:
    values = np.concatenate([one.values("normalised_margin") for one in runs
                             if one.has("normalised_margin")] or [np.zeros(0)])  # fmt: skip
    content = Content("margin", "margin / ‖θ‖₂ᴸ, where positive", "log")
    if (values > 0).sum() < 2:
        content = Content("margin", "margin / ‖θ‖₂ᴸ")
    for one in runs:
        if one.has("normalised_margin"):
            style = one.paint(_ONLY)
            content.curve(one.times, one.values("normalised_margin"), one.named("margin"), style,
                          label=one.name, group=one.group(""))  # fmt: skip
    return _or_none(content)


Make = Callable[[Sequence[Shown]], Content | None]
_USUAL: tuple[Make, ...] = (_score, _loss, _norm)
# Of these a figure has the first that was recorded.
_LAST: tuple[Make, ...] = (_direction, _alignment, _margin)
PANELS: dict[str, Make] = {
    "score": _score, "loss": _loss, "norm": _norm, "direction": _direction,
    "alignment": _alignment, "margin": _margin,
}  # fmt: skip
"""The panels of a run by name."""


def _or_none(content: Content) -> Content | None:
    return None if content.empty else content


def _fit(content: Content, one: Shown, quantity: str) -> None:
    for part, style in (("train", TRAIN), ("test", TEST)):
        name = f"{part}_{quantity}"
        if one.has(name):
            content.curve(one.times, one.values(name), one.named(part), one.paint(style),
                          label=one.label(part, part == "test"), group=one.group(part))  # fmt: skip
    if quantity == "loss":
        _baselines(content, one)
    for part, style in (("train", TRAIN), ("test", TEST)):
        _circles(content, one, f"{part}_{quantity}", style.colour, f"{part}, ")
    kernel_flow(content, one.forecast, quantity)


def _baselines(content: Content, one: Shown) -> None:
    """The linearised model, and ridge-less regression with the initial kernel."""
    for part, style in (("train", TRAIN), ("test", TEST)):
        name = f"twin_{part}_loss"
        if one.has(name):
            own = replace(one.paint(style), dash="dashdot", width=0.9, marker="")
            content.curve(one.times, one.values(name), one.named(f"{part}, linearised"), own,
                          label=one.label(f"{part}, linearised"), group=one.group(""))  # fmt: skip
    if one.has("kernel_regression_loss"):
        content.curve(one.times, one.values("kernel_regression_loss"),
                      one.named("test, initial kernel"), replace(one.paint(RICH), marker=""),
                      label=one.label("test, initial kernel"), group=one.group(""))  # fmt: skip


def _circles(content: Content, one: Shown, name: str, colour: str, part: str = "") -> None:
    if name in one.curves:
        times, values = np.asarray(one.curves[name], dtype=float)
        style = replace(PUBLISHED, colour=colour)
        content.curve(times, values, f"{part}published", style, group="published")


def _references(content: Content, one: Shown, score: str) -> None:
    record = one.record
    if one.place is not None or f"predictor_{score}" not in record:
        return
    roles = record["predictor"].values.tolist() if "predictor" in record else []
    for role, style in (("kernel", KERNEL), ("rich", RICH)):
        if role not in roles:
            continue
        row = record.sel(predictor=role)
        if row["predictor_status"].item() in CERTIFIED:
            label = str(row["predictor_label"].item())
            name = label if label.startswith(role) else f"{role}: {label}"
            content.line(float(row[f"predictor_{score}"]), name, style,
                         label=name.replace(": ", ":\n"))  # fmt: skip

"""The fields of an experiment as controls of a page, from the classes."""

import inspect
import math
import re
import types
from collections.abc import Iterator
from typing import Annotated, Any, Literal, NamedTuple, Union, get_args, get_origin

from .._core.description import Choice, Description
from .._core.errors import InputError
from ..experiments import Experiment
from ..plot.describe._symbols import symbol

# Fields of an experiment without a control: numbers to compare with, and a list of many names.
_WITHOUT = frozenset({"published", "probes"})

# The keys that come first, with their names in figures and papers. All others follow in the order
# of the classes.
_FIRST = {
    "init_scale": "",
    "weight_decay": "",
    "task.n": "",
    "task.d": "inputs d",
    "task.p": "modulus p",
    "task.train_fraction": "share of training data",
    "task.num_observed": "observed entries",
    "task.k": "",
    "task.gamma": "",
    "task.random_labels": "",
    "model.depth": "depth L",
    "model.width": "width N",
    "model.widths": "widths of hidden layers",
    "model.epsilon": "",
    "model.output_scale": "",
    "loss.kind": "loss",
    "dynamics.learning_rate": "learning rate η",
    "t1": "last time t₁",
    "seed": "seed",
}
_NAMES = {
    "task.kind": "task", "model.kind": "model", "dynamics.kind": "dynamics",
    "task.num_test": "test samples",
}  # fmt: skip

# Sizes of a new task for which the Lab answers at once. Other sizes are those of the class.
_SMALL = {"n": 64, "d": 1000, "num_test": 1000, "p": 23}


class _Field(NamedTuple):
    """A field of a description in an experiment: its dotted key, its owner, and its value."""

    key: str
    owner: type[Description]
    name: str
    value: Any


class _Bounds(NamedTuple):
    """The interval of a number; `low_open`, `high_open`: whether the ends do not belong to it."""

    low: float = -math.inf
    high: float = math.inf
    low_open: bool = False
    high_open: bool = False


def fields_of(experiment: Experiment, base: Experiment) -> list[dict[str, Any]]:
    """The controls of an experiment, the main ones first.

    - **Takes** `base`, the experiment before the changes of the page. Ranges of sliders are around
        its values, so that they stay where they are while a slider moves.
    """
    found = []
    for field in _walk("", Experiment, experiment):
        control = _control(field, experiment, base)
        if control is not None:
            found.append(control)
    order = list(_FIRST)
    main = [control for control in found if control["group"] == "main"]
    main.sort(key=lambda control: order.index(_plain_key(control["key"])))
    return main + [control for control in found if control["group"] == "more"]


def _walk(prefix: str, owner: type[Description], value: Any) -> Iterator[_Field]:
    """The fields of a description and of the descriptions in it."""
    for name, field in owner.model_fields.items():
        key, item = f"{prefix}{name}", getattr(value, name)
        if (not prefix and name in _WITHOUT) or name in owner.incidental:
            continue
        kind = field.annotation
        if isinstance(kind, type) and issubclass(kind, Choice):
            yield _Field(key, owner, name, item)
            if not item.own_code:
                yield from _walk(f"{key}.", type(item), item)
        elif isinstance(item, Description):
            yield from _walk(f"{key}.", type(item), item)
        else:
            yield _Field(key, owner, name, item)


def _control(field: _Field, experiment: Experiment, base: Experiment) -> dict[str, Any] | None:
    annotation, metadata = _parts(field.owner.model_fields[field.name])
    if isinstance(annotation, type) and issubclass(annotation, Choice):
        return _kinds(field, annotation, experiment)
    kind, choices = _type_of(annotation)
    if kind is None or field.value is None:
        return None
    found = _named(field.key) | {
        "help": _help(field.owner, field.name),
        "type": kind,
        "value": list(field.value) if isinstance(field.value, tuple) else field.value,
        "choices": [{"value": value, "label": _worded(value)} for value in choices],
    }
    if kind in ("number", "integer"):
        center = field.value
        if field.key in base.keys():  # noqa: SIM118, a method of descriptions
            was = base.value(field.key)
            center = was if isinstance(was, int | float) else center
        found |= _range(kind, float(center), _bounds(metadata))
    return found


def _named(key: str) -> dict[str, Any]:
    plain = _plain_key(key)
    words = _FIRST.get(plain) or _NAMES.get(plain) or symbol(key)
    return {"key": key, "label": words, "group": "main" if plain in _FIRST else "more"}


def _plain_key(key: str) -> str:
    """The key of a wrapped model as that of the model."""
    while key.startswith("model.model."):
        key = key.removeprefix("model.")
    return key


def _parts(field: Any) -> tuple[Any, list[Any]]:
    """The type of a field without `Annotated` and `None`, and its constraints."""
    annotation, metadata = field.annotation, list(field.metadata)
    while True:
        if get_origin(annotation) is Annotated:
            annotation, *more = get_args(annotation)
            metadata += more
        elif get_origin(annotation) in (Union, types.UnionType):
            left = [part for part in get_args(annotation) if part is not type(None)]
            if len(left) > 1:
                return annotation, metadata
            annotation = left[0]
        else:
            return annotation, metadata


def _type_of(annotation: Any) -> tuple[str | None, list[Any]]:
    """The type of a control and its choices; None for a type that a page cannot give."""
    plain = {bool: "flag", int: "integer", float: "number", str: "text"}
    if annotation in plain:
        return plain[annotation], []
    if get_origin(annotation) is Literal:
        return "choice", list(get_args(annotation))
    if get_origin(annotation) in (Union, types.UnionType):
        return _of_union(get_args(annotation))
    if get_origin(annotation) is tuple and len(get_args(annotation)) == 2:
        item, _ = get_args(annotation)
        inner = get_args(item)[0] if get_origin(item) is Annotated else item
        if inner in (int, float):
            return "numbers", []
    return None, []


def _of_union(parts: tuple[Any, ...]) -> tuple[str | None, list[Any]]:
    """A union as choices of its words and flags, else as text if it has texts."""
    words = [value for part in parts if get_origin(part) is Literal for value in get_args(part)]
    if words:
        return "choice", [*([False, True] if bool in parts else []), *words]
    return ("text", []) if str in parts else (None, [])


def _bounds(metadata: list[Any]) -> _Bounds:
    """The interval that constraints leave."""
    low, high, low_open, high_open = _Bounds()
    for item in metadata:
        for part in (item, *getattr(item, "metadata", ())):
            for name, is_open in (("ge", False), ("gt", True)):
                value = getattr(part, name, None)
                if value is not None and value >= low:
                    low, low_open = float(value), is_open
            for name, is_open in (("le", False), ("lt", True)):
                value = getattr(part, name, None)
                if value is not None and value <= high:
                    high, high_open = float(value), is_open
    return _Bounds(low, high, low_open, high_open)


# A slider reaches from the value over this to the value times this; that of a whole number from
# small ones to the value times 4, because larger sizes take long.
_SPAN, _LOWEST, _SPAN_UP = 1e3, 16, 4
# The value around which a slider is, where the experiment has zero.
_IF_ZERO = 1e-3
# The number of places of a slider between two bounds, and the most whole numbers on a linear one.
_PLACES, _FEW = 100, 32
# A number up to this much can be a key for random draws, and is not a size.
_KEY = 2.0**60


def _range(kind: str, center: float, bounds: _Bounds) -> dict[str, Any]:
    """The scale of a slider and its ends, within the bounds; and the bounds."""
    low, high, low_open, high_open = bounds
    limits = {
        "minimum": None if math.isinf(low) else low,
        "maximum": None if math.isinf(high) else high,
        "zero": False,
    }
    if high > _KEY and math.isfinite(high):
        return limits | {"scale": "none", "low": None, "high": None}
    if kind == "integer":
        first = max(low, 1.0) if low >= 0 else min(low, 0.0)
        begin = max(first, min(_LOWEST, center // 4)) if math.isfinite(first) else -center
        end = min(high, max(_SPAN_UP * center, begin + 8))
        scale = "log" if begin > 0 and end - begin > _FEW else "linear"
        return limits | {"scale": scale, "low": min(begin, center), "high": max(end, center)}
    if math.isfinite(low) and math.isfinite(high):
        step = (high - low) / _PLACES
        ends = low + step * low_open, high - step * high_open
        return limits | {
            "scale": "linear", "low": min(ends[0], center), "high": max(ends[1], center),
        }  # fmt: skip
    if low >= 0:
        middle = center if center > 0 else _IF_ZERO
        zero = low == 0 and not low_open
        return limits | {
            "scale": "log", "low": middle / _SPAN, "high": min(middle * _SPAN, high), "zero": zero,
        }  # fmt: skip
    reach = 4 * abs(center) or 1.0
    return limits | {
        "scale": "linear",
        "low": max(low, min(0.0, 4 * center, -reach if center == 0 else 0.0)),
        "high": min(high, max(0.0, 4 * center, reach if center == 0 else 0.0)),
    }


def _kinds(field: _Field, family: type[Choice], experiment: Experiment) -> dict[str, Any]:
    """The kinds that can be at a key, each with the changes that choose it, or why it cannot be."""
    key, choices = field.key, []
    for name, kind in sorted(family.kinds.items()):
        if kind.own_code and not isinstance(field.value, kind):
            continue
        choice: dict[str, Any] = {"value": name, "label": name, "changes": {}, "why": ""}
        if not isinstance(field.value, kind) or name != field.value.kind_name():
            choice |= _choosing(key, kind, field.value, experiment)
        choices.append(choice)
    help_text = f"the kind of {_plain_key(key)}; a new kind begins with its own values"
    named = _named(f"{key}.kind")
    return named | {"help": help_text, "type": "choice", "value": field.value.kind_name(),
                    "choices": choices}  # fmt: skip


def _choosing(
    key: str, kind: type[Choice], current: Choice, experiment: Experiment
) -> dict[str, Any]:
    table: dict[str, Any] = {"kind": kind.kind_name()}
    inner = getattr(current, "model", None)
    wraps = kind.model_fields.get("model")
    if wraps is not None and isinstance(wraps.annotation, type):
        table["model"] = current.table()
    elif isinstance(inner, kind):
        table = inner.table()
    elif key == "task":
        for name, small in _SMALL.items():
            usual = kind.model_fields.get(name)
            if usual is not None and isinstance(usual.default, int):
                table[name] = min(usual.default, small)
    changes = {key: _listed(table)}
    try:
        experiment.with_changes(changes)
    except InputError as error:
        return {"changes": {}, "why": error.accepted}
    return {"changes": changes}


def _listed(value: Any) -> Any:
    """Tuples as lists, as in JSON."""
    if isinstance(value, dict):
        return {name: _listed(item) for name, item in value.items()}
    return [_listed(item) for item in value] if isinstance(value, tuple | list) else value


def _worded(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return str(value).replace("_", " ")


def _help(owner: type[Description], name: str) -> str:
    """What a field means: its description, or the clause of the docstring that begins with it."""
    described = owner.model_fields[name].description
    if described:
        return _with_letters(described)
    text = " ".join((inspect.getdoc(owner) or "").split())
    text = text.partition("- **Raises**")[0].partition("- **Source**")[0]
    begin, end = r"(?:Takes\*\*|[;.]|- )\s*", r"(?:;|\.(?=\s|$))"
    clause = re.search(rf"{begin}`{re.escape(name)}`[,:] ([^;]*?){end}", text)
    found = _readable(clause[1]) if clause else ""
    return found if len(found) > _FEW_LETTERS else ""


# A text of so few letters is a symbol, which the label has already.
_FEW_LETTERS = 2


def _with_letters(text: str) -> str:
    """A text in ASCII with Greek letters and squares."""
    for name, letter in (("alpha", "α"), ("lambda", "λ"), ("theta", "θ")):
        text = re.sub(rf"\b{name}\b", letter, text)
    return text.replace("^2", "²").replace("learning rate x", "learning rate ×")


_LETTERS = {
    r"\alpha": "α", r"\beta": "β", r"\gamma": "γ", r"\delta": "δ", r"\epsilon": "ε",
    r"\sigma": "σ", r"\theta": "θ", r"\lambda": "λ", r"\cdot": "·", r"\ne": "≠", r"\sim": "~",
    r"_\text{out}": "_out",
}  # fmt: skip


def _readable(text: str) -> str:
    """Markdown and formulas as plain text; empty if a formula has no plain form."""
    text = re.sub(r"\[([^\]]*)\]\[[^\]]*\]", r"\1", text).replace("`", "")
    for command, letter in _LETTERS.items():
        text = text.replace(command, letter)
    return "" if "\\" in text or "^" in text else text.replace("$", "").strip(" ,")

"""The axes of a sweep: keys of an experiment and the values they take."""

import copy
import json
import math
import re
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from .._core.description import Description, plain
from .._core.errors import InputError, did_you_mean
from .._core.given import check_kind
from .._core.toml import parse_toml

# Runs that differ only in these keys have one shape and share a compiled solve.
_SAME_SHAPE = frozenset({"init_scale", "weight_decay", "t1", "seed", "name"})
# The same for the `numbers` of any model, also inside another model.
_NUMBERS = frozenset({"epsilon", "output_scale"})

MAX_POINTS = 1_000_000
"""The largest number of values of a key."""

Over = Mapping[Any, Iterable[Any]]
"""Values by key, a string. A tuple of keys takes tuples of values, which change together."""


class Axis(Description):
    """One dimension of a sweep: `keys` that change together, and their values at each point."""

    keys: tuple[str, ...]
    points: tuple[tuple[Any, ...], ...]

    @property
    def name(self) -> str:
        """The name of the dimension: the key, or the keys joined by a comma."""
        return ",".join(self.keys)

    @property
    def keeps_shape(self) -> bool:
        """Whether runs along the axis can share a compiled solve."""
        return all(key in _SAME_SHAPE or _is_number(key) for key in self.keys)

    def __len__(self) -> int:
        return len(self.points)

    def changes(self, index: int) -> dict[str, Any]:
        """The changes at point `index`, in new tables and lists."""
        return dict(zip(self.keys, copy.deepcopy(self.points[index]), strict=True))

    def coordinate(self, key: str) -> np.ndarray:
        """The values of one key along the axis; tables and lists as JSON."""
        place = self.keys.index(key)
        values = [point[place] for point in self.points]
        if any(isinstance(value, dict | list | tuple) for value in values):
            values = [json.dumps(value) for value in values]
        return np.asarray(values)


def _is_number(key: str) -> bool:
    *parents, leaf = key.split(".")
    return leaf in _NUMBERS and set(parents) == {"model"}


def axes_of(over: Over) -> tuple[Axis, ...]:
    """The axes for a mapping of keys to values, in its order.

    - **Raises** [`InputError`][lazyrich.InputError] for an axis without values, a repeated key or
        point, points of the wrong length, or values that a file cannot contain.
    """
    check_kind("over", over, Mapping, "values by key, such as {'seed': range(5)}")
    axes, seen = [], set[str]()
    for name, values in over.items():
        keys = name if isinstance(name, tuple) else (name,)
        if not keys:
            raise InputError("over", dict(over), "should name at least one key for every axis")
        if isinstance(values, str | bytes | Mapping) or not isinstance(values, Iterable):
            raise InputError(f"over.{','.join(keys)}", values, "should be a sequence of values")
        points = [_plain(value) for value in values]
        rows = points if isinstance(name, tuple) else [[point] for point in points]
        if not rows:
            raise InputError(f"over.{','.join(keys)}", points, "should have at least one value")
        for row in rows:
            if not isinstance(row, list) or len(row) != len(keys):
                accepted = f"every point should have {len(keys)} values, one for each key"
                raise InputError(f"over.{','.join(keys)}", row, accepted)
        for key in keys:
            if key in seen:
                raise InputError(f"over.{key}", points, "is given twice")
            seen.add(key)
        known = set[str]()
        for row in rows:
            try:
                text = json.dumps(_as_known(row), sort_keys=True)
            except TypeError:
                accepted = "values should be numbers, words, lists or tables, as in a file"
                raise InputError(f"over.{','.join(keys)}", row, accepted) from None
            if text in known:
                shown = row if isinstance(name, tuple) else row[0]
                raise InputError(f"over.{','.join(keys)}", shown, "is given twice")
            known.add(text)
        axes.append(Axis(keys=keys, points=tuple(map(tuple, rows))))
    if not axes:
        raise InputError("over", {}, "should vary at least one key")
    return tuple(axes)


def parse_axes(over: list[str], zipped: list[str]) -> Over:
    """The same from a command line: `KEY=VALUES`. The keys in `zipped` change together.

    Values are separated by commas (`1,10,100`), or given as a range: `log:1:1000:7` and
    `linear:0:1:11` include both ends, `range:5` is 0 to 4.
    """
    found: dict[str | tuple[str, ...], Iterable[Any]] = {}
    for text in over:
        key, values = _parse(text)
        if key in found:
            raise InputError("--over", text, f"{key} is given twice")
        found[key] = values
    if zipped:
        columns = dict(map(_parse, zipped))
        lengths = {len(values) for values in columns.values()}
        if len(lengths) > 1 or len(columns) < len(zipped):
            accepted = "should name different keys with equal numbers of values"
            raise InputError("--zip", " ".join(zipped), accepted)
        found[tuple(columns)] = list(zip(*columns.values(), strict=True))
    return found


def parse_box(option: str, texts: list[str]) -> dict[str, tuple[float, float]]:
    """The smallest and the largest value by key, from `KEY=LOW:HIGH`."""
    box = {}
    for text in texts:
        key, _, bounds = text.partition("=")
        try:
            low, high = map(float, bounds.split(":"))
        except ValueError:
            raise InputError(option, text, "should be KEY=LOW:HIGH") from None
        box[key] = (low, high)
    return box


def _parse(text: str) -> tuple[str, list[Any]]:
    key, equals, values = text.partition("=")
    if not equals or not key or not values:
        raise InputError("--over", text, "should be KEY=V1,V2,... or KEY=log:LOW:HIGH:COUNT")
    return key, parse_values(f"--over {key}", values)


_RANGES = ("log", "linear", "range")
_FORMS = "log:LOW:HIGH:COUNT, linear:LOW:HIGH:COUNT, range:COUNT"


def parse_values(name: str, text: str) -> list[Any]:
    """Values from their short form, see [`parse_axes`][lazyrich.sweeps.parse_axes].

    - **Raises** [`InputError`][lazyrich.InputError] under `name`.
    """
    kind, colon, rest = text.partition(":")
    if kind not in _RANGES and re.fullmatch(r"[a-z]+(:[-+.\de]+)+", text):
        raise InputError(name, text, f"should be one of {_FORMS}{did_you_mean(kind, _RANGES)}")
    if not colon or kind not in _RANGES:
        return [_value(part) for part in _split(text)]
    try:
        numbers = [float(part) for part in rest.split(":")]
        if not all(map(math.isfinite, numbers)):
            raise ValueError("numbers should be finite")
        if any(number % 1 for number in (numbers if kind == "range" else numbers[2:])):
            raise ValueError("counts should be whole numbers")
        if kind == "range":
            values = range(*map(int, numbers))
            _check_count(len(values))
            return list(values)
        low, high, count = numbers
        _check_count(int(count))
        space = np.geomspace if kind == "log" else np.linspace
        return [float(value) for value in space(low, high, int(count))]
    except (ValueError, TypeError) as error:
        accepted = f"should be one of {_FORMS} ({error})"
        raise InputError(name, text, accepted) from None


def _check_count(num: int) -> None:
    if num > MAX_POINTS:
        raise ValueError(f"{num:,} values are more than {MAX_POINTS:,}")


def _split(text: str) -> list[str]:
    """The parts between commas that are outside of brackets and quotes."""
    parts, depth, quoted = [""], 0, False
    for letter in text:
        quoted ^= letter == '"'
        depth += not quoted and letter in "[{"
        depth -= not quoted and letter in "]}"
        if letter == "," and depth == 0 and not quoted:
            parts.append("")
        else:
            parts[-1] += letter
    return parts


def _value(text: str) -> Any:
    try:
        return parse_toml(f"value = {text}")["value"]
    except ValueError:
        return text.strip()


def _plain(value: Any) -> Any:
    """Values as in a file: scalars and arrays as Python's numbers and lists, objects as tables."""
    value = plain(value)
    if isinstance(value, tuple | list):
        return [_plain(item) for item in value]
    if isinstance(value, Description):
        return {key: _plain(item) for key, item in value.table().items()}
    return value


def _as_known(value: Any) -> Any:
    """The same with equal numbers made identical: 1 and 1.0 are the same setting."""
    if isinstance(value, list):
        return [_as_known(item) for item in value]
    if isinstance(value, dict):
        return {key: _as_known(item) for key, item in value.items()}
    is_whole = isinstance(value, float) and value.is_integer() and abs(value) < 2.0**53
    return int(value) if is_whole else value

"""Errors that users can resolve, and their texts."""

import contextlib
import math
from collections.abc import Iterable
from difflib import get_close_matches
from importlib.util import find_spec
from numbers import Real


class InputError(ValueError):
    """A value given by the user is not accepted; raised before anything is computed.

    The message has one line: the key, the value received, and what is accepted.
    """

    def __init__(self, key: str, value: object, accepted: str):
        self.key, self.value, self.accepted = key, value, accepted
        super().__init__(f"{one_line(key, 200)} = {_shown(value)}: {one_line(accepted, 2000)}")

    def under(self, prefix: str) -> "InputError":
        """The same error with the key of an outer table in front."""
        return InputError(f"{prefix}.{self.key}", self.value, self.accepted)


def one_line(text: object, most: int) -> str:
    """A text as one line of at most `most` letters, without control characters."""
    words = " ".join(str(text).split())
    words = words if len(words) <= most else f"{words[: most - 3]}..."
    return words if words.isprintable() else "".join(map(_printable, words))


def _printable(letter: str) -> str:
    return letter if letter.isprintable() else repr(letter)[1:-1]


def _shown(value: object) -> str:
    # Very long values are not formatted.
    short = isinstance(value, str) and len(value) > 300
    try:
        return one_line(repr(value[:300] if short else value), 300)  # type: ignore[index]
    except RecursionError:
        return f"a deeply nested {type(value).__name__}"


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """` (did you mean ...?)` with a similar known name, or one of which `name` is the first part.

    Parts end at underscores, and capitals do not count. Empty if there is no such name.
    """
    known = list(known)
    near = get_close_matches(name, known, n=1)
    near = near or [other for other in known if f"{other.lower()}_".startswith(f"{name.lower()}_")]
    return f" (did you mean {near[0]}?)" if near else ""


def number_of(key: str, value: object, *, positive: bool = False) -> float:
    """A finite number that is not negative; with `positive`, not zero either.

    - **Raises** [`InputError`][lazyrich.InputError] under `key` for anything else.
    """
    number = math.nan
    # A bool is an integer in Python, and not a number that a user means.
    if not isinstance(value, bool) and isinstance(value, Real):
        with contextlib.suppress(OverflowError):  # a whole number beyond float64
            number = float(value)
    if not (math.isfinite(number) and number >= 0 and (number > 0 or not positive)):
        accepted = "should be a positive number" if positive else "should be a number, 0 or more"
        raise InputError(key, value, accepted)
    return number


class ComputationError(RuntimeError):
    """A computation failed; the message says why and what to try."""


def require(module: str, extra: str, purpose: str) -> None:
    """Raises [`ComputationError`][lazyrich.ComputationError] if an extra is not installed."""
    if find_spec(module) is None:
        raise ComputationError(f"{purpose} needs pip install 'lazyrich[{extra}]'")

"""The two ways a call can fail that are not bugs."""

from collections.abc import Iterable
from difflib import get_close_matches
from importlib.util import find_spec


class InputError(ValueError):
    """A value a user gave cannot be used; known before anything is computed.

    One line: the key, the value received, and what would be accepted.
    """

    def __init__(self, key: str, value: object, accepted: str):
        self.key, self.value, self.accepted = key, value, accepted
        super().__init__(f"{one_line(key, 200)} = {_shown(value)}: {one_line(accepted, 2000)}")

    def under(self, prefix: str) -> "InputError":
        """The same error, its key seen from a table above."""
        return InputError(f"{prefix}.{self.key}", self.value, self.accepted)


def one_line(text: object, most: int) -> str:
    """A text in one line of at most `most` letters, with nothing that a terminal acts upon."""
    words = " ".join(str(text).split())
    words = words if len(words) <= most else f"{words[: most - 3]}..."
    return words if words.isprintable() else "".join(map(_printable, words))


def _printable(letter: str) -> str:
    return letter if letter.isprintable() else repr(letter)[1:-1]


def _shown(value: object) -> str:
    # Texts of megabytes are not written out first.
    short = isinstance(value, str) and len(value) > 300
    try:
        return one_line(repr(value[:300] if short else value), 300)  # type: ignore[index]
    except RecursionError:
        return f"a {type(value).__name__} nested deep"


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """` (did you mean ...?)` for a name that is near to a known one, else empty."""
    near = get_close_matches(name, list(known), n=1)
    return f" (did you mean {near[0]}?)" if near else ""


class ComputationError(RuntimeError):
    """A computation failed; the message says what failed and what to try."""


def require(module: str, extra: str, purpose: str) -> None:
    """Raises [`ComputationError`][lazyrich.ComputationError] if an extra is not installed."""
    if find_spec(module) is None:
        raise ComputationError(f"{purpose} needs pip install 'lazyrich[{extra}]'")

"""The two ways a call can fail that are not bugs."""

from importlib.util import find_spec


class InputError(ValueError):
    """A value a user gave cannot be used; known before anything is computed.

    One line: the key, the value received, and what would be accepted.
    """

    def __init__(self, key: str, value: object, accepted: str):
        self.key, self.value, self.accepted = key, value, accepted
        shown = repr(value)
        shown = shown if len(shown) <= 300 else shown[:297] + "..."
        super().__init__(f"{key} = {shown}: {' '.join(accepted.split())}")

    def under(self, prefix: str) -> "InputError":
        """The same error, its key seen from a table above."""
        return InputError(f"{prefix}.{self.key}", self.value, self.accepted)


class ComputationError(RuntimeError):
    """A computation failed; the message says what failed and what to try."""


def require(module: str, extra: str, purpose: str) -> None:
    """Raises [`ComputationError`][lazyrich.ComputationError] if an extra is not installed."""
    if find_spec(module) is None:
        raise ComputationError(f"{purpose} needs pip install 'lazyrich[{extra}]'")

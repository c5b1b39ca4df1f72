"""Telling the outside how far a compiled solve has come."""

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import diffrax
import jax

_listeners: list[Callable[[float], None]] = []


@contextlib.contextmanager
def listening(listener: Callable[[float], None]) -> Iterator[None]:
    """Inside, `listener` hears the fraction of time covered, step by step."""
    _listeners.append(listener)
    try:
        yield
        jax.effects_barrier()
    finally:
        _listeners.remove(listener)


def _tell(fraction: Any) -> None:
    for listener in _listeners:
        listener(float(fraction))


class Meter(diffrax.AbstractProgressMeter[None]):
    """Passes progress on to whoever listens, without being compiled in.

    The listener is looked up when called: a solve compiled for one serves the next.
    """

    def init(self) -> None:
        return None

    def step(self, state: None, progress: Any) -> None:
        del state
        jax.debug.callback(_tell, progress)

    def close(self, state: None) -> None:
        del state

"""Imports at the first use of a name, which leave the random numbers of NumPy as they are."""

import contextlib
import sys
from collections.abc import Iterator


@contextlib.contextmanager
def keeping_numpy_state() -> Iterator[None]:
    """Restores the global random state of NumPy: JAX draws from it when it is first imported."""
    numpy = sys.modules.get("numpy")
    if numpy is None or "jax" in sys.modules:
        yield
        return
    state = numpy.random.get_state()
    try:
        yield
    finally:
        numpy.random.set_state(state)

"""lazyrich: a laboratory for grokking, from the lazy to the rich regime."""

from typing import Any

import lazy_loader

from ._core.imports import keeping_numpy_state as _keeping_numpy_state

_find, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        return version(__name__)
    with _keeping_numpy_state():
        return _find(name)

"""PyTorch modules: forecasts, and the net as a pure function."""

from typing import Any

import lazy_loader

from .._core.errors import require as _require
from .._core.imports import keeping_numpy_state as _keeping_numpy_state

_find, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)


def __getattr__(name: str) -> Any:
    if name in __all__:
        _require("torch", "torch", f"lazyrich.torch.{name}")
    with _keeping_numpy_state():
        return _find(name)

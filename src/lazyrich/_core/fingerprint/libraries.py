"""Whose a thing is: the user's own, or an installed library's, named by its version."""

import functools
import importlib.metadata
import os
import site
import sys
import sysconfig
from typing import Any

_PACKAGE = __name__.partition(".")[0]


def is_own(kind: type) -> bool:
    """Whether a class is the user's, and not one of this package."""
    return kind.__module__.partition(".")[0] != _PACKAGE


def name_of(value: Any) -> str:
    """Its module and name; files of this package may move within `lazyrich.probes` and so on."""
    name = getattr(value, "__qualname__", None) or getattr(value, "__name__", "")
    module = module_of(value)
    if module.startswith(f"{_PACKAGE}."):
        module = ".".join(module.split(".")[:2])
    return f"{module}.{name}".removeprefix("builtins.")


def is_findable(value: Any) -> bool:
    """Whether a name leads to it, so that the name and a version say what it is."""
    place: Any = sys.modules.get(module_of(value))
    name = getattr(value, "__qualname__", None) or getattr(value, "__name__", None)
    if not isinstance(name, str) or "<locals>" in name:
        return False
    for part in name.split("."):
        place = getattr(place, part, None)
    return place is value


def module_of(value: Any) -> str:
    return str(getattr(value, "__module__", None) or "builtins")


_LIBRARIES = tuple(
    str(folder) + os.sep
    for folder in {
        *site.getsitepackages(),
        site.getusersitepackages(),
        *(sysconfig.get_path(name) for name in ("purelib", "platlib", "stdlib")),
    }
)


@functools.cache
def version_of(module: str) -> str | None:
    """What names the contents of a module that is installed; None for one of the user's own."""
    top = module.partition(".")[0]
    if top == _PACKAGE:
        return _PACKAGE  # its kinds keep their meaning from version to version
    if top in sys.stdlib_module_names:
        return f"python {sys.version_info.major}.{sys.version_info.minor}"
    found = sys.modules.get(top)
    places = [getattr(found, "__file__", None), *getattr(found, "__path__", [])]
    # What is installed to be edited lies elsewhere, and is read like any code of the user's.
    if not any(place is not None and place.startswith(_LIBRARIES) for place in places):
        return None
    names = _distributions().get(top, [top])
    try:
        return " ".join(f"{name} {importlib.metadata.version(name)}" for name in names)
    except importlib.metadata.PackageNotFoundError:
        return None


@functools.cache
def _distributions() -> dict[str, list[str]]:
    found = importlib.metadata.packages_distributions()
    return {name: sorted(set(owners)) for name, owners in found.items()}

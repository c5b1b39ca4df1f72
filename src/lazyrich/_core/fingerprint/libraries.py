"""Whether an object belongs to the user or to an installed library, and the library's version."""

import functools
import importlib.metadata
import os
import site
import sys
import sysconfig
from typing import Any

_PACKAGE = __name__.partition(".")[0]


def is_own(kind: type) -> bool:
    """Whether a class is the user's own and not one of this package."""
    return kind.__module__.partition(".")[0] != _PACKAGE


def name_of(value: Any) -> str:
    """Module and name of an object; for this package only its public package and the name."""
    name = getattr(value, "__qualname__", None) or getattr(value, "__name__", "")
    module = module_of(value)
    if module.startswith(f"{_PACKAGE}."):
        module = ".".join(module.split(".")[:2])
    return f"{module}.{name}".removeprefix("builtins.")


def is_findable(value: Any) -> bool:
    """Whether a name leads to the object, so that the name and a version identify it."""
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
    """The version of an installed module; None for a module of the user."""
    top = module.partition(".")[0]
    if top == _PACKAGE:
        return _PACKAGE  # kinds of this package keep their meaning in all versions
    if top in sys.stdlib_module_names:
        return f"python {sys.version_info.major}.{sys.version_info.minor}"
    found = sys.modules.get(top)
    places = [getattr(found, "__file__", None), *getattr(found, "__path__", [])]
    # An editable installation is in another folder, and is read like the user's own code.
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

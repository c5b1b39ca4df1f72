"""Tasks whose data are arrays, which a description names and a file holds."""

import abc
import hashlib
import os
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from .._core.description import unknown_key
from .._core.errors import InputError
from .._core.files import replacing
from ._base import AbstractTask
from ._data_files import names_in


class AbstractHeld(AbstractTask):
    """A task made of arrays: `array_names` are its fields that hold them.

    Two of them are equal when their contents are, wherever they came from. In a TOML file the
    arrays are a `path` from the file's folder, checked against `sha256` where that is given.
    """

    array_names: ClassVar[tuple[str, ...]]
    file_options: ClassVar[tuple[str, ...]] = ()
    """Keys beside `path` that say how a file is read."""

    @classmethod
    @abc.abstractmethod
    def read(cls, path: Path, **options: Any) -> dict[str, np.ndarray]:
        """The arrays in a file, by field."""

    @classmethod
    def file_keys(cls) -> list[str]:
        others = [name for name in cls.model_fields if name not in cls.array_names]
        return ["path", "sha256", *cls.file_options, *others]

    @classmethod
    def from_file(cls, table: dict[str, Any], folder: Path) -> "AbstractHeld":
        """Builds the task from a table with a `path`, which starts from `folder`.

        - **Raises** [`InputError`][lazyrich.InputError] for a key that nothing reads, a file that
            cannot be read, or contents of another digest than `sha256`.
        """
        fields = {key: value for key, value in table.items() if key != "kind"}
        accepted = cls.file_keys()
        for key, value in fields.items():
            if key not in accepted:
                raise unknown_key(key, value, accepted)
        path, digest = fields.pop("path", None), fields.pop("sha256", None)
        if not isinstance(path, str):
            raise InputError("path", path, "should name a file of arrays")
        options = {key: fields.pop(key) for key in cls.file_options if key in fields}
        task = cls(**cls.read(folder / path, **options), **fields)
        if digest is not None and digest != task.digest:
            raise InputError("sha256", digest, f"the arrays' contents are {task.digest}")
        return task

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes the arrays as a `.npz` file, which can be read back."""
        with replacing(path) as temporary, temporary.open("wb") as file:
            np.savez_compressed(file, **{name: getattr(self, name) for name in self.array_names})

    @property
    def digest(self) -> str:
        """SHA-256 of the arrays' contents: values, types and shapes."""
        digest = hashlib.sha256()
        for name in self.array_names:
            array = np.ascontiguousarray(getattr(self, name))
            digest.update(f"{name} {array.dtype.str} {array.shape}".encode())
            digest.update(array.data)
        return digest.hexdigest()

    def named(self, *, defaults: bool = True) -> dict[str, Any]:
        """The description with the digest in place of the arrays; `defaults` may be left out."""
        found = {"kind": type(self).__name__, "sha256": self.digest}
        for name, field in type(self).model_fields.items():
            value = getattr(self, name)
            if name in self.array_names or value is None:
                continue
            if defaults or field.is_required() or value != field.default:
                found[name] = value
        return found

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and self.named() == other.named()

    def __hash__(self) -> int:
        return hash(tuple(self.named().items()))


def held_task(table: dict[str, Any], folder: Path) -> AbstractHeld | None:
    """The task of a table that names a file of arrays in `folder`; None if it does not.

    Without a `kind` the file says which it is, by the arrays that it holds.
    """
    path, kind = table.get("path"), table.get("kind")
    if kind is None and isinstance(path, str):
        kind = "Arrays" if "x_train" in names_in(folder / path) else "SplitArrays"
    cls = AbstractTask.kinds.get(kind) if isinstance(kind, str) else None
    if cls is None or not issubclass(cls, AbstractHeld):
        return None
    return cls.from_file(table, folder)

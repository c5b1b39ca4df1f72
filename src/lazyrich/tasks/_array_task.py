"""The base class of tasks that consist of arrays, given in Python or in a file."""

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


class AbstractArrayTask(AbstractTask):
    """A task made of arrays. `array_names` are the fields that hold them.

    Two tasks are equal if their arrays are equal, from whatever source. In a TOML file the arrays
    are given by a `path` relative to the file's folder, and checked if `sha256` is given.
    """

    array_names: ClassVar[tuple[str, ...]]

    @classmethod
    @abc.abstractmethod
    def read(cls, path: Path, **options: Any) -> dict[str, np.ndarray]:
        """The arrays in a file, keyed by field."""

    @classmethod
    def file_keys(cls) -> list[str]:
        others = [name for name in cls.model_fields if name not in cls.array_names]
        return ["path", "sha256", *cls.file_options, *others]

    @classmethod
    def from_file(cls, table: dict[str, Any], folder: Path) -> "AbstractArrayTask":
        """Builds the task from a table with a `path` relative to `folder`.

        - **Raises** [`InputError`][lazyrich.InputError] for an unknown key, a file that cannot be
            read, or arrays whose digest differs from `sha256`.
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
            raise InputError("sha256", digest, f"the arrays have the digest {task.digest}")
        return task

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes the arrays to a `.npz` file that can be read back."""
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
        """The description with the digest in place of the arrays, with or without `defaults`."""
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


def array_task(table: dict[str, Any], folder: Path) -> AbstractArrayTask | None:
    """The task of a table that names a file of arrays in `folder`; None for other tables.

    A table with the arrays themselves, as made from a task in memory, names no file. If the table
    has no `kind`, the names of the arrays in the file decide the kind.
    """
    path, kind = table.get("path"), table.get("kind")
    if kind is None and isinstance(path, str):
        kind = "Arrays" if "x_train" in names_in(folder / path) else "SplitArrays"
    cls = AbstractTask.kinds.get(kind) if isinstance(kind, str) else None
    if cls is None or not issubclass(cls, AbstractArrayTask):
        return None
    if any(isinstance(table.get(name), np.ndarray) for name in cls.array_names):
        return None
    return cls.from_file(table, folder)

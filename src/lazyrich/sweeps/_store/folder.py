"""Bytes under names, in a folder or at any fsspec URL."""

import errno
import os
from pathlib import Path
from typing import Any

import fsspec
from fsspec.implementations.local import LocalFileSystem

from ..._core.errors import InputError
from ..._core.files import contents, opened, replacing


class Folder:
    """A place that holds named files; each appears whole or not at all.

    - **Takes** `url`, a path or anything [fsspec](https://filesystem-spec.readthedocs.io)
        opens, such as `s3://bucket/runs`. Object stores put an object whole; a local file
        is written under another name, brought to disk, and moved in place.
    """

    def __init__(self, url: str | os.PathLike[str]):
        self.url = os.fspath(url)
        try:
            self._fs, self._root = fsspec.core.url_to_fs(self.url)
        except (ValueError, ImportError) as error:
            accepted = f"should be a folder or a URL that fsspec opens ({error})"
            raise InputError("store", self.url, accepted) from None
        self.is_local = isinstance(self._fs, LocalFileSystem)

    @property
    def place(self) -> str:
        """Its URL in full, the same however `url` was written."""
        return str(self._fs.unstrip_protocol(self._root))

    def write(self, name: str, data: bytes) -> None:
        """Puts `data` under `name`, in place of what is there."""
        path = self._path(name)
        if not self.is_local:
            self._fs.pipe_file(path, data)
            return
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as temporary:
            temporary.write_bytes(data)

    def read(self, name: str, most: int) -> bytes:
        """What is under `name`, `most` bytes at most.

        - **Raises** `FileNotFoundError` if nothing is, another `OSError` if it is more, or no
            ordinary file.
        """
        path = self._path(name)
        if self.is_local:
            return contents(path, most)
        if self.size(name) > most:
            raise OSError(errno.EFBIG, f"has more bytes than the {most:,} that are read", name)
        return bytes(self._fs.cat_file(path))

    def size(self, name: str) -> int:
        """The bytes of a file."""
        return int(self._fs.size(self._path(name)) or 0)

    def tail(self, name: str, num: int) -> bytes:
        """The last `num` bytes of a file, all of it if it is shorter; raises as `read` does."""
        path = self._path(name)
        if self.is_local:
            with opened(path) as file:
                file.seek(max(0, os.fstat(file.fileno()).st_size - num))
                return file.read(num)
        return bytes(self._fs.cat_file(path, start=max(0, self.size(name) - num)))

    def names(self, under: str = "") -> list[str]:
        """Names of the files in a folder of this one, sorted; without those being written."""
        try:
            leaves = self._leaves(self._path(under))
        except (FileNotFoundError, NotADirectoryError):
            return []
        return sorted(leaf for leaf in leaves if not leaf.startswith("."))

    def exists(self, name: str) -> bool:
        """Whether there is a file of this name."""
        if self.is_local:
            return Path(self._path(name)).is_file()
        self._fs.invalidate_cache()
        return bool(self._fs.isfile(self._path(name)))

    def is_file(self) -> bool:
        """Whether the folder is none, but a file."""
        return bool(self._fs.isfile(self._root))

    def remove(self, name: str) -> None:
        """Removes a file, if it is there."""
        if self.exists(name):
            self._fs.rm_file(self._path(name))

    def _leaves(self, path: str) -> list[str]:
        if self.is_local:
            # Not by fsspec, which asks for the size of each, and may find it gone by then.
            with os.scandir(path) as entries:
                return [entry.name for entry in entries if entry.is_file()]
        self._fs.invalidate_cache()
        rows: list[Any] = self._fs.ls(path, detail=True)
        return [row["name"].rsplit("/", 1)[-1] for row in rows if row["type"] == "file"]

    def _path(self, name: str) -> str:
        return f"{self._root.rstrip('/')}/{name}" if name else self._root

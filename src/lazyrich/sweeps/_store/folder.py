"""Named files in a folder or at an fsspec URL."""

import errno
import os
from pathlib import Path
from typing import Any

import fsspec
from fsspec.implementations.local import LocalFileSystem

from ..._core.errors import InputError
from ..._core.files import contents, opened, replacing
from ..._core.given import check_kind


class Folder:
    """A place with named files. Each file appears only when it is complete.

    - **Takes** `url`, a path or any URL that [fsspec](https://filesystem-spec.readthedocs.io)
        opens, such as `s3://bucket/runs`. Object stores write an object at once. A local file
        is written under a temporary name, synchronised to disk, and renamed.
    """

    def __init__(self, url: str | os.PathLike[str]):
        check_kind("store", url, (str, os.PathLike), "a folder or a URL, as text or pathlib.Path")
        self.url = os.fspath(url)
        try:
            self._fs, self._root = fsspec.core.url_to_fs(self.url)
        except (ValueError, ImportError) as error:
            accepted = f"should be a folder or a URL that fsspec opens ({error})"
            raise InputError("store", self.url, accepted) from None
        self.is_local = isinstance(self._fs, LocalFileSystem)

    @property
    def place(self) -> str:
        """The full URL, the same for every spelling of `url`."""
        return str(self._fs.unstrip_protocol(self._root))

    def write(self, name: str, data: bytes) -> None:
        """Writes `data` under `name`, replacing an existing file."""
        path = self._path(name)
        if not self.is_local:
            self._fs.pipe_file(path, data)
            return
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as temporary:
            temporary.write_bytes(data)

    def read(self, name: str, most: int) -> bytes:
        """The content of the file `name`, at most `most` bytes.

        - **Raises** `FileNotFoundError` if there is no such file; another `OSError` if it is
            larger, or not an ordinary file.
        """
        path = self._path(name)
        if self.is_local:
            return contents(path, most)
        if self.size(name) > most:
            raise OSError(errno.EFBIG, f"has more bytes than the {most:,} that are read", name)
        return bytes(self._fs.cat_file(path))

    def size(self, name: str) -> int:
        """The size of a file in bytes; raises `OSError` if the place does not tell it."""
        found = self._fs.size(self._path(name))
        if found is None:
            raise OSError(errno.EFBIG, "has a size that is not known before it is read", name)
        return int(found)

    def tail(self, name: str, num: int) -> bytes:
        """The last `num` bytes of a file, or all of a shorter file; raises as `read` does."""
        path = self._path(name)
        if self.is_local:
            with opened(path) as file:
                file.seek(max(0, os.fstat(file.fileno()).st_size - num))
                return file.read(num)
        return bytes(self._fs.cat_file(path, start=max(0, self.size(name) - num)))

    def names(self, under: str = "") -> list[str]:
        """The names of files in a subfolder, sorted, without temporary files."""
        try:
            leaves = self._leaves(self._path(under))
        except (FileNotFoundError, NotADirectoryError):
            return []
        return sorted(leaf for leaf in leaves if not leaf.startswith("."))

    def exists(self, name: str) -> bool:
        """Whether a file of this name exists."""
        if self.is_local:
            return Path(self._path(name)).is_file()
        self._fs.invalidate_cache()
        return bool(self._fs.isfile(self._path(name)))

    def is_file(self) -> bool:
        """Whether the URL is a file instead of a folder."""
        return bool(self._fs.isfile(self._root))

    def remove(self, name: str) -> None:
        """Removes a file if it exists."""
        if self.exists(name):
            self._fs.rm_file(self._path(name))

    def _leaves(self, path: str) -> list[str]:
        if self.is_local:
            # fsspec would request the size of each file, which may be deleted meanwhile.
            with os.scandir(path) as entries:
                return [entry.name for entry in entries if entry.is_file()]
        self._fs.invalidate_cache()
        rows: list[Any] = self._fs.ls(path, detail=True)
        return [row["name"].rsplit("/", 1)[-1] for row in rows if row["type"] == "file"]

    def _path(self, name: str) -> str:
        return f"{self._root.rstrip('/')}/{name}" if name else self._root

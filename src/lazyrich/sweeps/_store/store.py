"""A folder that many runs come to, and that outlives whatever makes them."""

import contextlib
import errno
import json
import os
import re
import tempfile
from collections.abc import Collection, Iterator
from importlib.metadata import version
from pathlib import Path

from ..._core.errors import InputError
from ..._core.room import available
from ...tasks._array_task import AbstractArrayTask
from .._sweep import MAX_BYTES, Sweep
from ..batches import Batch, batches
from .batch_file import FORMAT, Results, check_format, check_summary, from_bytes, to_bytes
from .checked import MAX_FILE
from .folder import Folder
from .sealed import Damaged, summary_of, unseal

# Bytes of the file that says which version began a store.
_MAX_ABOUT = 2**16
_IS_BATCH = re.compile(r"[0-9a-f]{16}-[0-9]{6,12}\.nc").fullmatch
_DIGITS = 16  # of a sweep's hash in names: 10^9 sweeps in a store meet with probability 3e-2


class Store:
    """Sweeps and the batches of runs done so far, in a folder or at an fsspec URL.

    `store.json` says which version began it; `sweeps/HASH.toml` describes each sweep;
    `batches/HASH-NUMBER.nc` holds one batch each, whole or not at all, with a checksum;
    `damaged/` copies of what was found to be broken; `running/` who is at work. A file of
    `batches/` is never removed, only replaced in one move by a whole one. So two processes
    that compute the same batch, or find the same damage, do each other no harm. Nothing in a
    store is executed when it is read.

    - **Raises** [`InputError`][lazyrich.InputError] if there is no store at `url`, or one that
        a later version made.
    """

    def __init__(self, url: str | os.PathLike[str]):
        self.folder = Folder(url)
        try:
            about = json.loads(self.folder.read("store.json", _MAX_ABOUT))
        except (OSError, ValueError, RecursionError):
            accepted = "should be a store, made by lr.sweep or 'lazyrich sweep'"
            raise InputError("store", self.url, accepted) from None
        check_format("store", about.get("format") if isinstance(about, dict) else None)

    @classmethod
    def begin(cls, url: str | os.PathLike[str]) -> "Store":
        """The store at `url`, begun if there is none."""
        folder = Folder(url)
        if not folder.exists("store.json"):
            # Another process may have begun it since.
            if folder.is_file() or set(folder.names()) - {"store.json"}:
                accepted = "should be a store, or a folder without files"
                raise InputError("store", os.fspath(url), accepted)
            about = {"format": FORMAT, "lazyrich_version": version("lazyrich")}
            folder.write("store.json", json.dumps(about).encode())
        return cls(url)

    @property
    def url(self) -> str:
        """Where it is."""
        return self.folder.url

    def add(self, sweep: Sweep) -> str:
        """Writes a sweep's description, if it is not there yet, and returns its name."""
        name = sweep.content_hash[:_DIGITS]
        if not self.folder.exists(f"sweeps/{name}.toml"):
            task, arrays = sweep.experiment.task, sweep.arrays
            if isinstance(task, AbstractArrayTask) and arrays is not None:
                with tempfile.TemporaryDirectory() as scratch:
                    task.save(Path(scratch) / arrays)
                    self.folder.write(f"sweeps/{arrays}", (Path(scratch) / arrays).read_bytes())
            self.folder.write(f"sweeps/{name}.toml", sweep.to_toml().encode())
        return name

    def sweeps(self) -> dict[str, Sweep]:
        """Every sweep by its name, those that can be read."""
        return self.examined_sweeps()[0]

    def examined_sweeps(self) -> tuple[dict[str, Sweep], dict[str, str]]:
        """Every sweep by its name, and which files describe none, and why."""
        found, damaged = {}, {}
        for name in self.sweep_names():
            try:
                found[name] = self.sweep(name)
            except InputError as error:
                damaged[f"sweeps/{name}.toml"] = str(error)
        return found, damaged

    def sweep_names(self) -> list[str]:
        """Names of its sweeps."""
        leaves = self.folder.names("sweeps")
        return [leaf[: -len(".toml")] for leaf in leaves if leaf.endswith(".toml")]

    def sweep(self, name: str) -> Sweep:
        """The sweep of this name, or of this hash.

        - **Raises** [`InputError`][lazyrich.InputError] if there is none, or it is no sweep.
        """
        place = f"sweeps/{name[:_DIGITS]}.toml"
        if not self.folder.exists(place):
            known = ", ".join(self.sweep_names()) or "none yet"
            raise InputError("sweep", name, f"should be one of {known}")
        with tempfile.TemporaryDirectory() as scratch:
            try:
                text = self.folder.read(place, MAX_BYTES).decode()
                for leaf in self.folder.names("sweeps"):
                    if leaf.endswith(".npz") and leaf in text:
                        data = self.folder.read(f"sweeps/{leaf}", available())
                        (Path(scratch) / leaf).write_bytes(data)
            except (OSError, UnicodeDecodeError) as error:
                raise InputError("sweep", place, f"should be a sweep's TOML ({error})") from None
            return Sweep.from_toml(text, Path(scratch), place)

    def file_of(self, sweep: Sweep, number: int) -> str:
        """Name of the file for batch `number` of a sweep."""
        return f"{sweep.content_hash[:_DIGITS]}-{number:06d}.nc"

    def owns(self, sweep: Sweep, name: str) -> bool:
        """Whether a file is of a batch of this sweep."""
        return name.startswith(sweep.content_hash[:_DIGITS])

    def files(self) -> list[str]:
        """Names of the batches' files that are there."""
        return [name for name in self.folder.names("batches") if _IS_BATCH(name)]

    def write(self, name: str, results: Results) -> None:
        """Writes a batch's file, whole or not at all."""
        self.folder.write(f"batches/{name}", to_bytes(results, name))

    def read(self, name: str) -> Results:
        """What is in a batch's file; `Damaged` if it is not whole."""
        try:
            return from_bytes(self._bytes(name), name)
        except FileNotFoundError:
            raise Damaged("it is not there any more") from None
        except InputError as error:
            raise Damaged(str(error)) from None

    def _bytes(self, name: str) -> bytes:
        try:
            return self.folder.read(f"batches/{name}", MAX_FILE)
        except OSError as error:
            if error.errno in (errno.EFBIG, errno.EINVAL, errno.EISDIR):
                raise Damaged(f"it {error.strerror}") from None
            raise

    def has(self, name: str) -> bool:
        """Whether a batch's file is there."""
        return self.folder.exists(f"batches/{name}")

    def is_whole(self, name: str) -> bool:
        """Whether a batch's file is there, and not damaged."""
        return self.has(name) and not self.check([name])

    def summary(self, name: str) -> dict[str, object]:
        """What a batch's file says of itself in its last bytes; the rest goes unread."""
        num = 1 << 14
        while True:
            try:
                tail = self.folder.tail(f"batches/{name}", num)
                found = summary_of(tail)
                if found is not None:
                    check_summary(found, name, self.folder.size(f"batches/{name}"))
                    return found
            except FileNotFoundError:
                raise Damaged("it is not there any more") from None
            except InputError as error:
                raise Damaged(str(error)) from None
            if len(tail) < num:
                raise Damaged("its summary is not whole")
            num *= 8

    def set_aside(self, name: str) -> None:
        """Keeps a copy of a damaged file in `damaged/`, if there is room for it."""
        with contextlib.suppress(OSError, Damaged):
            self.folder.write(f"damaged/{name}", self._bytes(name))

    def check(self, names: list[str]) -> dict[str, str]:
        """Which files are damaged, and how; every byte is read.

        - **Raises** [`InputError`][lazyrich.InputError] for a file of a later version.
        """
        damaged = {}
        for name in names:
            try:
                data = self._bytes(name)
                check_summary(unseal(data).summary, name, len(data))
            except FileNotFoundError:
                continue
            except Damaged as error:
                damaged[name] = str(error)
        return damaged

    def missing(self, sweep: Sweep, damaged: Collection[str] = ()) -> Iterator[Batch]:
        """Batches of a sweep with a run that is in no file, but for those known to be damaged.

        A run that another sweep has done is not done again: it is known by the hash of its
        experiment, not by where it stands.
        """
        present = set(self.files()).difference(damaged)
        own = {name for name in present if self.owns(sweep, name)}
        elsewhere: set[str] | None = None
        for batch in batches(sweep):
            if self.file_of(sweep, batch.number) in own:
                continue
            if present != own and not sweep.known_as:
                if elsewhere is None:
                    elsewhere = set(self.index(sorted(present - own)))
                if all(sweep.run(int(run)).content_hash in elsewhere for run in batch.runs):
                    continue
            yield batch

    def index(self, names: list[str]) -> dict[str, tuple[str, int]]:
        """For every run in these files, by the hash of its experiment: file and place in it.

        Of two files with one run, the first by name counts.
        """
        found: dict[str, tuple[str, int]] = {}
        for name in names:
            try:
                hashes = self.summary(name)["hashes"]
            except Damaged:
                continue
            assert isinstance(hashes, list)
            for place, digest in enumerate(hashes):
                found.setdefault(str(digest), (name, place))
        return found

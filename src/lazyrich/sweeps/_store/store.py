"""A folder or URL where several processes write runs."""

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

# The largest size in bytes of the file that says which version made a store.
_MAX_ABOUT = 2**16
_IS_BATCH = re.compile(r"[0-9a-f]{16}-[0-9]{6,12}\.nc").fullmatch
_DIGITS = 16  # of a sweep's hash in file names: 10^9 sweeps collide with probability 3e-2


class Store:
    """Sweeps and their finished batches, in a folder or at an fsspec URL.

    `store.json` says which version made the store; `sweeps/HASH.toml` describes each sweep;
    `batches/HASH-NUMBER.nc` contains one batch each, with a checksum; `damaged/` has copies of
    damaged files; `running/` has heartbeats of processes at work. A file in `batches/` appears
    complete, is never removed, and is only replaced by another complete file. So two processes
    can compute the same batch, or find the same damage, without conflict. Reading a store executes
    nothing in it.

    - **Raises** [`InputError`][lazyrich.InputError] if there is no store at `url`, or a store that
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
        """The store at `url`, which is made if it does not exist."""
        folder = Folder(url)
        if not folder.exists("store.json"):
            # Another process may have made it meanwhile.
            if folder.is_file() or set(folder.names()) - {"store.json"}:
                accepted = "should be a store, or a folder without files"
                raise InputError("store", os.fspath(url), accepted)
            about = {"format": FORMAT, "lazyrich_version": version("lazyrich")}
            folder.write("store.json", json.dumps(about).encode())
        return cls(url)

    @property
    def url(self) -> str:
        """The URL of the store."""
        return self.folder.url

    def add(self, sweep: Sweep) -> str:
        """Writes a sweep's description if it is not there yet, and returns the sweep's name."""
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
        """Every sweep that can be read, by name."""
        return self.examined_sweeps()[0]

    def examined_sweeps(self) -> tuple[dict[str, Sweep], dict[str, str]]:
        """Every sweep by name, and the files that do not describe a sweep, with the reason."""
        found, damaged = {}, {}
        for name in self.sweep_names():
            try:
                found[name] = self.sweep(name)
            except InputError as error:
                damaged[f"sweeps/{name}.toml"] = str(error)
        return found, damaged

    def sweep_names(self) -> list[str]:
        """The names of the sweeps."""
        leaves = self.folder.names("sweeps")
        return [leaf[: -len(".toml")] for leaf in leaves if leaf.endswith(".toml")]

    def sweep(self, name: str) -> Sweep:
        """The sweep of this name, or of this hash.

        - **Raises** [`InputError`][lazyrich.InputError] if there is no sweep of this name.
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
        """The name of the file for batch `number` of a sweep."""
        return f"{sweep.content_hash[:_DIGITS]}-{number:06d}.nc"

    def owns(self, sweep: Sweep, name: str) -> bool:
        """Whether a file belongs to a batch of this sweep."""
        return name.startswith(sweep.content_hash[:_DIGITS])

    def files(self) -> list[str]:
        """The names of all batch files."""
        return [name for name in self.folder.names("batches") if _IS_BATCH(name)]

    def write(self, name: str, results: Results) -> None:
        """Writes the file of a batch. It appears only when it is complete."""
        self.folder.write(f"batches/{name}", to_bytes(results, name))

    def read(self, name: str) -> Results:
        """The results in a batch file; raises `Damaged` if it is not complete."""
        try:
            return from_bytes(self._bytes(name), name)
        except FileNotFoundError:
            raise Damaged("it no longer exists") from None
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
        """Whether the file of a batch exists."""
        return self.folder.exists(f"batches/{name}")

    def is_whole(self, name: str) -> bool:
        """Whether the file of a batch exists and is not damaged."""
        return self.has(name) and not self.check([name])

    def summary(self, name: str) -> dict[str, object]:
        """The summary in the last bytes of a batch file; the rest is not read."""
        num = 1 << 14
        while True:
            try:
                tail = self.folder.tail(f"batches/{name}", num)
                found = summary_of(tail)
                if found is not None:
                    check_summary(found, name, self.folder.size(f"batches/{name}"))
                    return found
            except FileNotFoundError:
                raise Damaged("it no longer exists") from None
            except InputError as error:
                raise Damaged(str(error)) from None
            if len(tail) < num:
                raise Damaged("its summary is incomplete")
            num *= 8

    def set_aside(self, name: str) -> None:
        """Copies a damaged file to `damaged/` if there is room."""
        with contextlib.suppress(OSError, Damaged):
            self.folder.write(f"damaged/{name}", self._bytes(name))

    def check(self, names: list[str]) -> dict[str, str]:
        """The damaged files and their damage, from all bytes of each file.

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
        """Batches of a sweep with a run that is in no file. Files named in `damaged` are ignored.

        A run of another sweep with the same hash of its experiment counts as done, if the file that
        is read for it, the first that names it, is none of `damaged`.
        """
        present = set(self.files()).difference(damaged)
        own = {name for name in present if self.owns(sweep, name)}
        elsewhere: set[str] | None = None
        for batch in batches(sweep):
            if self.file_of(sweep, batch.number) in own:
                continue
            if present != own and not sweep.known_as:
                if elsewhere is None:
                    others = sorted(name for name in self.files() if not self.owns(sweep, name))
                    places = self.index(others).items()
                    elsewhere = {digest for digest, (name, _) in places if name not in damaged}
                if all(sweep.run(int(run)).content_hash in elsewhere for run in batch.runs):
                    continue
            yield batch

    def index(self, names: list[str]) -> dict[str, tuple[str, int]]:
        """File and index of every run in these files, keyed by the hash of its experiment.

        If two files contain one run, the first file in the order of names is used.
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

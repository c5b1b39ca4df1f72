"""Event files of TensorBoard, one or the folder of a run."""

import os
import struct
from array import array
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from ..._core.errors import InputError
from ..._core.files import contents
from .columns import parts_of, words_of
from .crc32c import masked_crc32c
from .protobuf import fields, raw, real, signed
from .several import chosen_run
from .table import MAX_BYTES, MAX_NAME, MAX_ROWS, Table, listed

# A record: its length in eight bytes, their checksum in four, the event, and its checksum.
_HEAD, _FOOT = 12, 4
# Larger events hold images, audio or graphs, and no curves.
_MAX_EVENT = 2**16
# A folder with more files, or deeper ones, is not that of a run.
_MAX_FILES, _MAX_DEPTH = 1000, 4
# How types of tensors are stored, by their number in TensorFlow: float32, float64, int32, int64.
_STORED = {1: "<f", 2: "<d", 3: "<i", 9: "<q"}


def is_one(head: bytes) -> bool:
    """Whether a file begins as an event file does."""
    return len(head) >= _HEAD and _is_sound(head, [0], [8])


def read(path: Path, table: Table, run: str | None, prefix: str = "") -> None:
    """Adds the scalars of an event file to a table; `prefix` comes before every tag."""
    if run is not None:
        raise InputError("--run", run, "is for a folder with the event files of several runs")
    data = contents(path, MAX_BYTES)
    offset = table.begin(path.name, "event")
    step_of = table.column("step")
    # Most programs write an event for each scalar. Those of one step in a row are one row.
    row, at, seen = 0, None, set[str]()
    for number, (place, event) in enumerate(_events(data, path, table.notes), 1):
        try:
            step, scalars = _scalars(event)
        except (ValueError, struct.error) as error:
            key = f"{path.name}, byte {place:,}"
            raise InputError(key, "an event", f"cannot be read ({error})") from None
        for tag, value in scalars:
            if step != at or tag in seen:
                row, at, seen = number, step, set()
                if step_of is not None:
                    step_of.add(offset + row, step)
            seen.add(tag)
            column = table.column(f"{prefix}{tag}"[:MAX_NAME])
            # The steps of a tag with this name would be mixed with those of events.
            if column is not None and column is not step_of:
                column.add(offset + row, value)
        table.ended(offset + number, 1 + len(scalars))


def read_folder(path: Path, table: Table, run: str | None) -> None:
    """Adds the event files of a run to a table, from the folder that contains them.

    Event files of one folder are of one run, in the order of their names, which contain the time.
    Several folders are several runs, unless they are named for training and test data.
    """
    folders = _folders(path)
    if not folders:
        accepted = "should be a file, or a folder with event files; it has none"
        raise InputError("log", str(path), accepted)
    if run is not None:
        folders = {run: folders[chosen_run(path.name, list(folders), run)]}
    elif len(folders) > 1 and not _is_one_run(list(folders)):
        chosen_run(path.name, list(folders), None)
    named = len(folders) > 1
    if named:
        words = f"{listed(name for name in folders if name != '.')}: folders of one run"
        table.notes.append(words)
    for name, files in folders.items():
        prefix = "" if name == "." or not named else f"{Path(name).name}/"
        for file in files:
            read(file, table, None, prefix)


def _folders(path: Path) -> dict[str, list[Path]]:
    """The event files in a folder and in those inside of it, by the name of the folder."""
    found: dict[str, list[Path]] = {}
    num = 0
    for place, inner, names in os.walk(path):
        own = Path(place).relative_to(path)
        if len(own.parts) >= _MAX_DEPTH:
            inner.clear()
        inner.sort()
        files = sorted(Path(place) / name for name in names if ".tfevents." in name)
        num += len(files)
        if num > _MAX_FILES:
            accepted = f"has more than {_MAX_FILES:,} event files: choose the folder of a run"
            raise InputError("log", str(path), accepted)
        if files:
            found[own.as_posix()] = files
    return found


def _is_one_run(names: list[str]) -> bool:
    """Whether folders are parts of one run, such as `train` and `validation`."""
    inner = [Path(name) for name in names if name != "."]
    parts = [parts_of(name.name) for name in inner]
    apart = len({name.parent for name in inner}) == 1 and all(len(part) == 1 for part in parts)
    # Runs called test1 and test2 are two.
    unlike = len({frozenset(words_of(name.name)) for name in inner}) == len(inner)
    return apart and unlike and ("." in names or len(set().union(*parts)) == 2)


def _events(data: bytes, path: Path, notes: list[str]) -> Iterator[tuple[int, bytes]]:
    """The events that can hold scalars, with their places. Their checksums have been compared."""
    starts, sizes = array("q"), array("q")
    place, end = 0, len(data)
    while place < end:
        if end - place < _HEAD:
            break
        (size,) = struct.unpack_from("<Q", data, place)
        if size > end - place - _HEAD - _FOOT:
            break
        starts.append(place)
        sizes.append(size)
        place += _HEAD + size + _FOOT
        if len(starts) > MAX_ROWS:
            raise InputError("log", path.name, f"should have at most {MAX_ROWS:,} events")
    all_bytes = np.frombuffer(data, dtype=np.uint8)
    begins, lengths = np.array(starts, dtype=np.int64), np.array(sizes, dtype=np.int64)
    _check(all_bytes, begins, np.full_like(begins, 8), path)
    if place < end:
        # The length of the last record has a checksum of its own.
        if end - place >= _HEAD:
            _check(all_bytes, np.array([place]), np.array([8]), path)
        notes.append(f"{path.name}: the last event is cut off, and left out")
    small = lengths <= _MAX_EVENT
    _check(all_bytes, begins[small] + _HEAD, lengths[small], path)
    for start, size in zip(begins[small].tolist(), lengths[small].tolist(), strict=True):
        yield start, data[start + _HEAD : start + _HEAD + size]


def _is_sound(data: bytes, starts: list[int], lengths: list[int]) -> bool:
    found = np.frombuffer(data, dtype=np.uint8)
    return not len(_damaged(found, np.array(starts), np.array(lengths)))


def _damaged(data: np.ndarray, starts: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """The places of parts whose checksum, which follows them, is another one."""
    ends = starts + lengths
    kept = np.zeros(len(starts), dtype=np.uint32)
    for byte in range(4):
        kept |= data[ends + byte].astype(np.uint32) << np.uint32(8 * byte)
    return starts[masked_crc32c(data, starts, lengths) != kept]


def _check(data: np.ndarray, starts: np.ndarray, lengths: np.ndarray, path: Path) -> None:
    damaged = _damaged(data, starts, lengths)
    if len(damaged):
        key = f"{path.name}, byte {int(damaged.min()):,}"
        raise InputError(key, "an event", "is damaged: its checksum is another one")


def _scalars(event: bytes) -> tuple[int, list[tuple[str, float]]]:
    """The step of an event, and its scalars by tag."""
    step, found = 0, []
    for number, wire, value in fields(event):
        if number == 2 and wire == 0:
            step = signed(value)
        elif number == 5:
            for inner, _, part in fields(raw(value)):
                scalar = _scalar(raw(part)) if inner == 1 else None
                if scalar is not None:
                    found.append(scalar)
    return step, found


def _scalar(value: bytes) -> tuple[str, float] | None:
    """The tag and the number of a value; None for images, histograms and texts."""
    tag, number = "", None
    for field, _, part in fields(value):
        if field == 1:
            tag = raw(part).decode("utf-8", "replace")
        elif field == 2:
            number = real(part)
        elif field == 8:
            number = _of_tensor(raw(part))
    return None if number is None else (tag, number)


def _of_tensor(tensor: bytes) -> float | None:
    """The number in a tensor with one entry; None for others."""
    kind, content = 0, b""
    for number, wire, value in fields(tensor):
        if number == 1 and wire == 0:
            kind = signed(value)
        elif number in (4, 5, 6) and wire != 0:
            content = raw(value)
        elif number in (7, 10):
            # A number of its own, or one of a packed list.
            part = next((v for _, _, v in fields(b"\x08" + raw(value))), 0) if wire == 2 else value
            return float(signed(part))
    form = _STORED.get(kind)
    if form is None or len(content) != struct.calcsize(form):
        return None
    return float(struct.unpack(form, content)[0])

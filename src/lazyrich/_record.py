"""A record on disk: one netCDF file, written whole or not at all."""

import contextlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import xarray as xr

from ._errors import InputError


@contextlib.contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yields a path to write to; moves it to `path` when the block succeeds.

    A reader, a crash or a full disk never meets half a file: the old content stays until the
    new is on disk, and what was begun is removed.
    """
    path = Path(path)
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=path.suffix, dir=path.parent)
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        with temporary.open("rb") as written:
            os.fsync(written.fileno())
        temporary.chmod(0o666 & ~_umask())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def save_record(record: xr.Dataset, path: str | os.PathLike[str]) -> None:
    """Writes a record as one netCDF file, replacing what is there in one move."""
    with replacing(path) as temporary:
        record.to_netcdf(temporary, engine="h5netcdf")


def open_record(path: str | os.PathLike[str]) -> xr.Dataset:
    """Reads a record into memory; identical to the one that was saved.

    - **Raises** [`InputError`][lazyrich.InputError] if the file cannot be read or holds no
        record.
    """
    try:
        record = xr.load_dataset(path, engine="h5netcdf")
    except (OSError, ValueError) as error:
        raise InputError(
            "record", str(path), f"should be a record's netCDF file ({error})"
        ) from None
    if "experiment" not in record.attrs:
        raise InputError("record", str(path), "should be a record that lazyrich wrote")
    return record

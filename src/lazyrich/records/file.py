"""A record on disk: one netCDF file, replaced in one step."""

import math
import os
from typing import Any

import h5py
import xarray as xr

from .._core.errors import InputError, one_line
from .._core.files import opened, replacing
from .described import check_record
from .schema import CURVES


def save_record(record: xr.Dataset, path: str | os.PathLike[str]) -> None:
    """Writes a record as one netCDF file. An existing file is replaced in one step."""
    check_record(record)
    with replacing(path) as temporary:
        record.to_netcdf(temporary, engine="h5netcdf")


def open_record(path: str | os.PathLike[str]) -> xr.Dataset:
    """Reads a record into memory. It is identical to the saved record.

    - **Raises** [`InputError`][lazyrich.InputError] if the file cannot be read or does not
        contain a record.
    """
    try:
        with opened(path) as file:
            _check_plain(file)
            file.seek(0)
            record = xr.load_dataset(file, engine="h5netcdf")
    # HDF5 and the decoding of times and scales raise errors of different types.
    except Exception as error:
        accepted = f"should be a record's netCDF file ({one_line(error, 200)})"
        raise InputError("record", str(path), accepted) from None
    if not isinstance(record.attrs.get("experiment"), str) or "time" not in record.coords:
        raise InputError("record", str(path), "should be a record written by lazyrich")
    for name in ("time", *(curve for curve in CURVES if curve in record)):
        if record[name].dims != ("time",) or record[name].dtype.kind not in "fiu":
            raise InputError("record", f"{path}: {name}", "should be numbers over time")
    return record


# The largest number of variables in a record, and of strings in one of them, such as names of
# predictors. Each string can be as long as the file, so a large file may have few.
_MAX_VARIABLES, _MAX_TEXTS, _MAX_TEXT_BYTES = 1000, 16, 2**28


def _check_plain(file: Any) -> None:
    """Refuses a file whose arrays are larger than the file, before an array is read.

    A record contains no links to other files, no virtual arrays and no compressed arrays. Their
    size is not limited by the size of the file.
    """
    size = os.fstat(file.fileno()).st_size
    with h5py.File(file, "r") as held:
        if len(held) > _MAX_VARIABLES:
            raise ValueError(f"it has {len(held):,} variables")
        for name in held:
            its: Any = (
                held[name] if isinstance(held.get(name, getlink=True), h5py.HardLink) else None
            )
            plain = isinstance(its, h5py.Dataset) and not its.is_virtual and not its.external
            # An empty array, such as that of no predictors, is always stored in chunks.
            if not plain or (its.chunks is not None and its.size > 0):
                raise ValueError(f"{one_line(name, 80)} is not stored as in a record")
            texts = its.size if its.dtype.hasobject else 0
            if its.size * its.dtype.itemsize > size or _too_many(texts, size):
                raise ValueError(f"{one_line(name, 80)} has shape {its.shape}, more than the file")
            _check_attributes(its, size)
        _check_attributes(held, size)


def _check_attributes(holder: Any, size: int) -> None:
    for name in holder.attrs:
        shape = holder.attrs.get_id(name).shape
        if _too_many(math.prod(shape or ()), size):
            raise ValueError(f"attribute {one_line(name, 80)} has shape {shape}")


def _too_many(texts: int, size: int) -> bool:
    return texts > _MAX_TEXTS and texts * size > _MAX_TEXT_BYTES

"""A record on disk: one netCDF file, written whole or not at all."""

import os

import xarray as xr

from ._errors import InputError
from ._files import replacing


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

"""The runs of a store as one labelled dataset, in memory or as Zarr."""

import contextlib
import json
import math
import os
import secrets
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from ..._core.errors import InputError, require
from ..._core.given import path_of
from .._sweep import Sweep
from .batch_file import Results
from .status import warn_damaged
from .store import Store
from .table import MAX_BYTES, Layout, Source, layout, read_into, sources

# The bytes in memory at once while a store is consolidated, and the size of a shard.
_SLAB_BYTES = 2**28
# The bytes in a chunk, which are read for a single curve.
_CHUNK_BYTES = 2**20

WORDS = {"outcome": "how the run came out", "ending": "how the solve ended"}


def open_runs(
    store: Store,
    sweep: str | Sweep | None = None,
    *,
    curves: bool = True,
    seen: Callable[[Results], object] = lambda results: None,
) -> xr.Dataset:
    """What [`open_store`][lazyrich.open_store] returns, without forecasts.

    - **Takes** `seen`, which is called with each file that is read.
    """
    sweeps = _chosen(store, sweep)
    datasets = [assemble(store, one, curves=curves, seen=seen) for one in sweeps.values()]
    if len(datasets) == 1:
        return datasets[0]
    return _joined(list(sweeps.values()), datasets)


def assemble(
    store: Store,
    sweep: Sweep,
    *,
    curves: bool = True,
    seen: Callable[[Results], object] = lambda results: None,
) -> xr.Dataset:
    """The dataset of one sweep, over its axes. `seen` is called with each file that is read."""
    found = sources(store, sweep)
    shape, found, damaged = layout(store, sweep, found)
    if not curves:
        shape = replace(shape, curves=[])
    num_bytes = shape.bytes_per_run * len(sweep)
    if num_bytes > MAX_BYTES:
        accepted = (
            f"would take {num_bytes / 2**30:.1f} GiB of memory; use lr.consolidate and open the "
            "Zarr store that it writes, or curves=False"
        )
        raise InputError("store", store.url, accepted)
    columns = shape.empty(len(sweep))
    words, unreadable = read_into(columns, shape, store, found, seen=seen)
    _warn(store, damaged | unreadable)
    variables = {}
    for name, column in columns.items():
        if name in WORDS:
            column = np.asarray(shape.words[name])[column]  # noqa: PLW2901
        dims = (*_dims(sweep), *(("record",) if column.ndim > 1 else ()))
        values = column.reshape(*sweep.shape, *column.shape[1:])
        variables[name] = (dims, values, _attributes(name, words))
    return xr.Dataset(variables, coordinates(sweep), about(sweep))


def coordinates(sweep: Sweep) -> dict[str, Any]:
    """Every varied key, along its axis."""
    return {
        key: (axis.name, axis.coordinate(key), {"long_name": key, "units": "1"})
        for axis in sweep.axes
        for key in axis.keys
    }


def about(sweep: Sweep) -> dict[str, Any]:
    """The attributes of a sweep's dataset."""
    return {"experiment": sweep.experiment.description, "sweep": sweep.content_hash}


def consolidate(
    store: str | os.PathLike[str], out: str | os.PathLike[str], sweep: str | Sweep | None = None
) -> None:
    """Writes a sweep's dataset as one Zarr store (format 3, sharded), piece by piece.

    It needs less than half a gigabyte of memory for any number of runs. The same runs give the
    same bytes. Strings are stored as codes with `flag_values` and `flag_meanings`.

    - **Takes** `store`; `out`, a new folder, which appears when it is complete; `sweep`, the name
        of the sweep, not needed if the store has only one.
    - **Raises** [`InputError`][lazyrich.InputError] if `out` exists, or if the sweep must be
        named.
    """
    opened, path = Store(store), path_of("out", out)
    sweeps = _chosen(opened, sweep)
    if len(sweeps) != 1:
        raise InputError("sweep", sweep, f"should be one of {', '.join(sweeps)}")
    (only,) = sweeps.values()
    found = sources(opened, only)
    shape, found, damaged = layout(opened, only, found)
    _warn(opened, damaged)
    with _appearing(path) as folder:
        unreadable = _write_zarr(folder, opened, only, found, shape)
    _warn(opened, unreadable)


def _write_zarr(
    folder: Path, store: Store, sweep: Sweep, found: list[Source], shape: Layout
) -> dict[str, str]:
    """Fills a Zarr group slab by slab; returns the damaged files and their damage."""
    require("zarr", "maps", "consolidating a store")
    import zarr

    group = zarr.open_group(folder, mode="w", attributes=about(sweep))
    for key, (dim, values, attributes) in coordinates(sweep).items():
        words = values if values.dtype.kind in "iufb" else values.astype(np.dtypes.StringDType())
        group.create_array(key, data=words, dimension_names=[dim], attributes=attributes)
    axis, rows = _slab(sweep.shape, max(1, _SLAB_BYTES // shape.bytes_per_run))
    per_row = math.prod(sweep.shape[axis + 1 :])
    arrays: dict[str, Any] = {}
    damaged: dict[str, str] = {}
    begin = 0  # the runs of a slab have consecutive numbers
    for lead in np.ndindex(sweep.shape[:axis]):
        for first in range(0, sweep.shape[axis], rows):
            last = min(first + rows, sweep.shape[axis])
            end = begin + (last - first) * per_row
            columns = shape.empty(end - begin)
            words_of, unreadable = read_into(columns, shape, store, found, begin, end)
            damaged |= unreadable
            for name, column in columns.items():
                values = _digests(column) if name == "experiment_hash" else column
                block = values.reshape(last - first, *sweep.shape[axis + 1 :], *values.shape[1:])
                if name not in arrays:
                    arrays[name] = _new_array(group, name, values, sweep, (axis, rows))
                arrays[name][(*lead, slice(first, last))] = block
                arrays[name].attrs.update(_attributes(name, words_of))
                if name in shape.words:
                    arrays[name].attrs.update(_legend(shape.words[name]))
            begin = end
    return damaged


def _slab(shape: tuple[int, ...], max_runs: int) -> tuple[int, int]:
    """The axis along which a grid is divided, and how many of its points are in memory at once.

    The axes before it are traversed point by point, the axes after it are complete.
    """
    axis = 0
    while axis < len(shape) - 1 and math.prod(shape[axis + 1 :]) > max_runs:
        axis += 1
    return axis, min(shape[axis], max(1, max_runs // math.prod(shape[axis + 1 :])))


def _new_array(
    group: Any, name: str, values: np.ndarray, sweep: Sweep, slab: tuple[int, int]
) -> Any:
    """An array over the axes. A shard is a slab, and a chunk is some rows of a slab."""
    (axis, rows), own = slab, values.shape[1:]
    inner = (*sweep.shape[axis + 1 :], *own)
    most = max(1, _CHUNK_BYTES // max(1, values.dtype.itemsize * math.prod(inner)))
    chunk_rows = next(n for n in range(min(most, rows), 0, -1) if rows % n == 0)
    last_dim = "byte" if name == "experiment_hash" else "record"
    return group.create_array(
        name,
        shape=(*sweep.shape, *own),
        chunks=(*(1,) * axis, chunk_rows, *inner),
        shards=(*(1,) * axis, rows, *inner),
        dtype=values.dtype,
        dimension_names=[*_dims(sweep), *([last_dim] if own else [])],
        fill_value=np.nan if values.dtype.kind == "f" else 0,
    )


def _legend(words: list[str]) -> dict[str, Any]:
    return {"flag_values": [*range(len(words))], "flag_meanings": " ".join(words)}


def _digests(hashes: np.ndarray) -> np.ndarray:
    """Hexadecimal hashes as 32 bytes each. Zarr has no standard for strings of fixed length."""
    joined = "".join(text or 64 * "0" for text in hashes.tolist())
    return np.frombuffer(bytes.fromhex(joined), dtype=np.uint8).reshape(-1, 32)


@contextlib.contextmanager
def _appearing(path: Path) -> Iterator[Path]:
    """A folder to fill, which gets its final name when the block succeeds."""
    if path.exists():
        raise InputError("out", str(path), "exists already; use another name, or remove it")
    path.parent.mkdir(parents=True, exist_ok=True)
    # With a temporary name, and with the usual permissions for a new folder of the user.
    scratch = path.with_name(f".{path.name[:150]}.{os.getpid()}-{secrets.token_hex(8)}")
    scratch.mkdir()
    try:
        yield scratch
        scratch.rename(path)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _chosen(store: Store, sweep: str | Sweep | None) -> dict[str, Sweep]:
    """One sweep of a store, or all of them."""
    if isinstance(sweep, Sweep):
        return {sweep.content_hash: sweep}
    damaged: dict[str, str] = {}
    if sweep is None:
        sweeps, damaged = store.examined_sweeps()
    else:
        sweeps = {sweep: store.sweep(sweep)}
    _warn(store, damaged)
    if not sweeps:
        raise InputError("store", store.url, "contains no sweep yet")
    return sweeps


def _joined(sweeps: list[Sweep], datasets: list[xr.Dataset]) -> xr.Dataset:
    """The completed runs of several sweeps along one dimension, without repetitions."""
    keys = list(dict.fromkeys(str(key) for dataset in datasets for key in dataset.coords))
    names: dict[str, Any] = {}
    for dataset in datasets:
        names = {str(name): variable for name, variable in dataset.data_vars.items()} | names
    num_records = max(dataset.sizes.get("record", 0) for dataset in datasets)
    pairs = list(zip(sweeps, datasets, strict=True))
    variables = {}
    for name, variable in names.items():
        length = num_records if "record" in variable.dims else None
        values = np.concatenate([_rows(*pair, name, length) for pair in pairs])
        variables[name] = (("run", "record")[: values.ndim], values, variable.attrs)
    coords = {
        key: (
            "run",
            np.concatenate([_column(sweep, dataset, key) for sweep, dataset in pairs]),
            {"long_name": key, "units": "1"},
        )
        for key in keys
    }
    first, *others = (dataset.attrs for dataset in datasets)
    attributes = {k: v for k, v in first.items() if all(other[k] == v for other in others)}
    joined = xr.Dataset(variables, coords, attributes)
    done = np.flatnonzero(joined["outcome"].values != "missing")
    _, once = np.unique(joined["experiment_hash"].values[done], return_index=True)
    return joined.isel(run=np.sort(done[once]))


def _rows(sweep: Sweep, dataset: xr.Dataset, name: str, length: int | None) -> np.ndarray:
    """A variable over a sweep's runs, filled with NaN up to `length` records."""
    # If two sweeps use one name for different variables, the first sweep's attributes are kept.
    known = name in dataset and ("record" in dataset[name].dims) == (length is not None)
    if length is None and known:
        return dataset[name].values.ravel()
    whole = np.full((len(sweep), *([] if length is None else [length])), np.nan)
    if known:
        whole[:, : dataset.sizes["record"]] = dataset[name].values.reshape(len(sweep), -1)
    return whole


def _column(sweep: Sweep, dataset: xr.Dataset, key: str) -> np.ndarray:
    """The value of a key in every run of a sweep; NaN if its experiment has no such key."""
    if key in dataset.coords:
        (dim,) = dataset[key].dims
        values = dataset[key].values.reshape([-1 if d == dim else 1 for d in _dims(sweep)])
    else:
        try:
            value = sweep.experiment.value(key)
        except InputError:
            value = np.nan
        values = np.asarray(json.dumps(value) if isinstance(value, dict | list | tuple) else value)
    return np.broadcast_to(values, sweep.shape).ravel()


def _dims(sweep: Sweep) -> tuple[str, ...]:
    return tuple(axis.name for axis in sweep.axes)


def _attributes(name: str, words: dict[str, dict[str, str]]) -> dict[str, str]:
    if name in WORDS:
        return {"long_name": WORDS[name], "units": "1"}
    if name == "experiment_hash":
        return {"long_name": "SHA-256 of the run's experiment", "units": "1"}
    return words.get(name, {})


def _warn(store: Store, damaged: dict[str, str]) -> None:
    warn_damaged(store, damaged, "its runs are missing")

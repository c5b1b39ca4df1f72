"""The store that the page shows, as it is at the moment."""

import warnings
from collections import OrderedDict
from collections.abc import Hashable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from ..._core.errors import InputError, one_line
from ...sweeps import Sweep
from ...sweeps._forecast_in_batch import forecasts_in
from ...sweeps._store import Store, assemble
from ...sweeps.forecasts import with_stored_forecasts
from ..job import Place

# Sweeps whose numbers are kept between questions of the page.
_MAX_KEPT = 4


@dataclass(frozen=True)
class Opened:
    """One sweep of a store, without its curves.

    - `dataset`, with the forecasts of the store and the variable `number`, the runs' numbers.
    - `notes`, a line for each damaged file.
    """

    store: Store
    name: str
    sweep: Sweep
    dataset: xr.Dataset
    notes: tuple[str, ...]


def store_at(place: Place) -> Store | None:
    """The store that the command named, None if it named none.

    - **Raises** [`InputError`][lazyrich.InputError] if the store is no longer there.
    """
    source = place.source
    if source is None or source.endswith(".toml"):
        return None
    return Store(source)


def required_store(place: Place) -> Store:
    """The store that the command named.

    - **Raises** [`InputError`][lazyrich.InputError] if it named none.
    """
    store = store_at(place)
    if store is None:
        raise InputError("store", "none", "start the explorer with one: lazyrich explore STORE")
    return store


_kept: OrderedDict[Hashable, Opened] = OrderedDict()


def opened(place: Place, name: str | None) -> Opened:
    """A sweep of the store, read again if a file has changed; the first one without a name.

    - **Raises** [`InputError`][lazyrich.InputError] if there is no store, or no such sweep in it.
    """
    store = required_store(place)
    known = store.sweep_names()
    if not known:
        raise InputError("store", store.url, "contains no sweep yet")
    if name is None:
        name = known[0]
    if name not in known:
        raise InputError("sweep", name, f"should be one of {', '.join(known)}")
    key = (store.url, name, _state(store))
    if key not in _kept:
        for old in [old for old in _kept if isinstance(old, tuple) and old[:2] == key[:2]]:
            del _kept[old]
        _kept[key] = _read(store, name)
        while len(_kept) > _MAX_KEPT:
            _kept.popitem(last=False)
    return _kept[key]


def _read(store: Store, name: str) -> Opened:
    sweep = store.sweep(name)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        stored: dict[str, dict[str, Any]] = {}
        dataset = assemble(
            store, sweep, curves=False, seen=lambda file: stored.update(forecasts_in(file))
        )
        dataset = with_stored_forecasts(dataset, stored)
    numbers = np.arange(len(sweep)).reshape(sweep.shape)
    dataset = dataset.assign(number=(dataset["outcome"].dims, numbers))
    notes = tuple(one_line(warning.message, 300) for warning in caught)
    return Opened(store, name, sweep, dataset, notes)


def _state(store: Store) -> Hashable:
    """Something that changes whenever a file of the store does."""
    names = [("sweeps", n) for n in store.folder.names("sweeps")]
    names += [("batches", n) for n in store.files()]
    if not store.folder.is_local:
        return tuple(names)
    found = []
    for folder, name in names:
        try:
            about = Path(store.url, folder, name).stat()
            found.append((name, about.st_size, about.st_mtime_ns))
        except OSError:
            found.append((name, -1, -1))
    return tuple(found)

"""The samples on which a monitor measures, from what a training script has."""

import contextlib
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, IterableDataset, default_collate

from ..._core.errors import InputError, one_line
from ..._core.precision import are_words

_LABELS = ("labels", "label")


@dataclass(frozen=True)
class Samples:
    """Inputs and labels; `num_all`, the number of samples from which they were chosen."""

    x: Any
    y: Tensor
    num_all: int


def samples_of(key: str, data: Any, num: int, seed: int, device: torch.device) -> Samples:
    """At most `num` samples, chosen at random once, in random order.

    - **Takes** `data`: a pair of tensors or arrays, a dict with `labels`, a `Dataset` whose items
        are pairs or such dicts, or a `DataLoader` of one. A loader is not iterated, so its sampler
        draws nothing. Global random states are as before, also if items draw random numbers.
    - **Raises** [`InputError`][lazyrich.InputError] for other data.
    """
    collate = default_collate
    if isinstance(data, DataLoader):
        data, collate = data.dataset, data.collate_fn or default_collate
    if isinstance(data, IterableDataset):
        accepted = "should have a length: pass a pair of tensors with some of its samples"
        raise InputError(key, type(data).__name__, accepted)
    rng = np.random.default_rng(seed)
    if isinstance(data, Dataset) or _is_sequence_of_items(data):
        num_all = len(data)
        with same_randomness():
            items = [data[int(i)] for i in _chosen(rng, num_all, num, key)]
            x, y = _pair(key, _collated(key, items, collate))
            _check_lengths(key, data, x, y)
    else:
        x, y = _pair(key, data)
        _check_lengths(key, data, x, y)
        num_all = len(y)
        rows = torch.as_tensor(_chosen(rng, num_all, num, key))
        x, y = _each(x, lambda part: part[rows.to(part.device)]), y[rows.to(y.device)]
    return Samples(_each(x, lambda part: part.to(device)), y.to(device), num_all)


def some(samples: Samples, rows: Sequence[int]) -> Samples:
    """Some of the samples."""
    at = torch.as_tensor(rows, dtype=torch.long, device=samples.y.device)
    return Samples(_each(samples.x, lambda part: part[at]), samples.y[at], samples.num_all)


def balanced(classes: np.ndarray | None, num: int, total: int, most_classes: int) -> list[int]:
    """Places of `num` samples, equally many of each of at most `most_classes` classes.

    - **Takes** `classes`, `(total,)`, or None if labels are no classes: then the first samples.
    """
    if classes is None:
        return list(range(min(num, total)))
    names, first, counts = np.unique(classes, return_index=True, return_counts=True)
    # Classes with many samples first; among equals, in the random order of the samples.
    order = np.lexsort((first, -np.minimum(counts, -(-num // most_classes))))
    chosen = [np.flatnonzero(classes == names[i]) for i in order[:most_classes]]
    found: list[int] = []
    for round_ in range(max(map(len, chosen))):
        found += [int(places[round_]) for places in chosen if round_ < len(places)]
    rest = [i for i in range(total) if i not in set(found)]
    return [*found, *rest][: min(num, total)]


@contextlib.contextmanager
def same_randomness() -> Iterator[None]:
    """Restores the random states of Python, NumPy and PyTorch at the end of the block."""
    own, of_numpy = random.getstate(), np.random.get_state()
    devices = list(range(torch.cuda.device_count())) if torch.cuda.is_initialized() else []
    with torch.random.fork_rng(devices):
        try:
            yield
        finally:
            random.setstate(own)
            np.random.set_state(of_numpy)


def _is_sequence_of_items(data: Any) -> bool:
    """Whether data is like a `Dataset` without being one, as those of Hugging Face are."""
    plain = isinstance(data, tuple | list | Mapping | Tensor | np.ndarray)
    return not plain and hasattr(data, "__getitem__") and hasattr(data, "__len__")


def _check_lengths(key: str, data: Any, x: Any, y: Tensor) -> None:
    lengths = {len(part) if part.ndim else 0 for part in (*_parts(x), y)}
    if len(lengths) > 1:
        accepted = f"inputs and labels should have one length, and have {sorted(lengths)}"
        raise InputError(key, type(data).__name__, accepted)


def _chosen(rng: np.random.Generator, num_all: int, num: int, key: str) -> np.ndarray:
    if num_all < 1:
        raise InputError(key, "no samples", "should have at least one sample")
    return rng.permutation(num_all)[:num]


def _collated(key: str, items: list[Any], collate: Any) -> Any:
    try:
        if collate is default_collate and isinstance(items[0], Mapping):
            return {
                name: torch.stack([torch.as_tensor(item[name]) for item in items])
                for name in items[0]
            }
        return collate(items)
    except Exception as error:
        accepted = f"its items should make a batch ({one_line(error, 200)})"
        raise InputError(key, type(items[0]).__name__, accepted) from None


def _pair(key: str, data: Any) -> tuple[Any, Tensor]:
    if isinstance(data, Mapping):
        parts = dict(data)
        for name in _LABELS:
            if name in parts:
                y = _tensor(key, parts.pop(name))
                return {name: _tensor(key, part) for name, part in parts.items()}, y
    elif isinstance(data, tuple | list) and len(data) == 2:
        x, y = data
        if isinstance(x, tuple | list) and all(isinstance(part, Tensor) for part in x):
            return tuple(x), _tensor(key, y)
        if isinstance(x, Mapping):
            return {name: _tensor(key, part) for name, part in x.items()}, _tensor(key, y)
        return _tensor(key, x), _tensor(key, y)
    accepted = "should be (inputs, labels), a dict with labels, or a Dataset or DataLoader of such"
    raise InputError(key, type(data).__name__, accepted)


def _tensor(key: str, value: Any) -> Tensor:
    try:
        found = torch.as_tensor(value).detach()
        return found.float() if isinstance(value, np.ndarray) and _is_double(found) else found
    except (TypeError, ValueError, RuntimeError) as error:
        accepted = f"should be a tensor or an array ({one_line(error, 120)})"
        if _are_words(value):
            accepted = "should be numbers: number words by np.unique(y, return_inverse=True)"
        raise InputError(key, type(value).__name__, accepted) from None


def _are_words(value: Any) -> bool:
    try:
        return are_words(np.asarray(value))
    except (TypeError, ValueError, RuntimeError):  # rows of different lengths, or of no numbers
        return False


def _is_double(value: Tensor) -> bool:
    # An array of NumPy is of float64 unasked; a script passes torch.float32 to its net.
    return value.dtype == torch.float64 and torch.get_default_dtype() == torch.float32


def _parts(x: Any) -> list[Tensor]:
    if isinstance(x, dict):
        return list(x.values())
    return list(x) if isinstance(x, tuple) else [x]


def _each(x: Any, change: Any) -> Any:
    if isinstance(x, dict):
        return {name: change(part) for name, part in x.items()}
    return tuple(map(change, x)) if isinstance(x, tuple) else change(x)

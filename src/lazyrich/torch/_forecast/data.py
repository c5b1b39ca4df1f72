"""Data of a PyTorch training as arrays of lazyrich."""

from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset, IterableDataset, TensorDataset

from ..._core.errors import InputError

Pair = tuple[np.ndarray, np.ndarray]


def arrays_of(data: Any, most: int, seed: int, key: str) -> tuple[Pair, int]:
    """Inputs and labels as arrays, and the number of samples that there are.

    - **Takes** `data`, a pair of arrays or tensors, a `Dataset` of pairs, or a `DataLoader`, whose
        dataset is read in its order; `most`, the number of samples to take: of more, a random
        choice by `seed`.
    - **Raises** [`InputError`][lazyrich.InputError] under `key` for anything else.
    """
    if isinstance(data, DataLoader):
        data = data.dataset
    if isinstance(data, TensorDataset):
        data = data.tensors
    if isinstance(data, tuple | list) and len(data) == 2:
        x, y = (_array(part) for part in data)
        if len(x) != len(y) or not len(x):
            accepted = "should have as many labels as inputs, and at least one"
            raise InputError(key, f"{len(x)} inputs and {len(y)} labels", accepted)
        rows = _chosen(len(x), most, seed)
        return (x[rows], y[rows]), len(x)
    if not isinstance(data, Dataset) or isinstance(data, IterableDataset):
        accepted = "should be a pair (x, y) of tensors, a Dataset with a length, or its DataLoader"
        raise InputError(key, type(data).__name__, accepted)
    num = len(data)  # type: ignore[arg-type]
    with torch.random.fork_rng([]):
        pairs = [data[int(row)] for row in _chosen(num, most, seed)]
    if not pairs or not all(isinstance(pair, tuple | list) and len(pair) == 2 for pair in pairs):
        raise InputError(key, type(data).__name__, "should have pairs (x, y) as samples")
    x, y = (np.stack([_array(pair[place]) for pair in pairs]) for place in (0, 1))
    return (x, y), num


def batch_size_of(data: Any, num: int) -> int:
    """The size of a batch of a `DataLoader`; 0 for all samples."""
    size = data.batch_size if isinstance(data, DataLoader) else None
    return 0 if size is None or size >= num else int(size)


def _array(value: Any) -> np.ndarray:
    if isinstance(value, torch.Tensor):
        value = value.detach().cpu()
        return (value.float() if value.dtype == torch.bfloat16 else value).numpy()
    return np.asarray(value)


def _chosen(num: int, most: int, seed: int) -> np.ndarray:
    if num <= most:
        return np.arange(num)
    return np.sort(np.random.default_rng(seed).permutation(num)[:most])

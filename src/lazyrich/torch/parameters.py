"""The parameters that a record keeps, as tensors."""

import torch
import xarray as xr
from torch import Tensor

# Importing registers `record.params`.
from ..records import parameters as _parameters  # noqa: F401


def state_dict(record: xr.Dataset, time: float | None = None) -> dict[str, Tensor]:
    """The parameters of a record as tensors, for `net.load_state_dict`.

    - **Takes** a record with parameters, of a run with `keep_params`; `time`, one of
        `record.params.times`, or None for the end.
    - **Returns** float64 tensors by name, which `load_state_dict` converts to the type of the
        net. They are the trainable parameters. A net with buffers, frozen or tied parameters keeps
        its own with `net.load_state_dict(..., strict=False)`.
    - **Raises** [`InputError`][lazyrich.InputError] if the record does not contain them.
    """
    arrays = record.params.state_dict(time)
    return {name: torch.from_numpy(value.copy()) for name, value in arrays.items()}

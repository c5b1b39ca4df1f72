"""The net as a pure function: what the monitor, the bridge and forecasts share."""

from .._torch.deterministic import check_deterministic
from .._torch.functional import (
    Parameters,
    gram,
    loss_gradient,
    num_samples,
    outputs,
    parameters_of,
    per_sample_jacobian,
    per_sample_rows,
    taken,
)
from .._torch.undisturbed import undisturbed, unwrapped

__all__ = [
    "Parameters",
    "check_deterministic",
    "gram",
    "loss_gradient",
    "num_samples",
    "outputs",
    "parameters_of",
    "per_sample_jacobian",
    "per_sample_rows",
    "taken",
    "undisturbed",
    "unwrapped",
]

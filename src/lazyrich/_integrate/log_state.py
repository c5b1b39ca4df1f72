"""The state of a flow on the log clock."""

import equinox as eqx
from jaxtyping import Array, Float, PyTree


class LogState(eqx.Module):
    """Parameters together with $\\log(1 + t)$, which does not overflow at any horizon."""

    params: PyTree
    log_time: Float[Array, ""]


def params_of(y: PyTree) -> PyTree:
    """The parameters in a state, for states with and without a clock."""
    return y.params if isinstance(y, LogState) else y

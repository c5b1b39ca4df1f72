"""Parameters together with the logarithm of the time."""

import equinox as eqx
from jaxtyping import Array, Float, PyTree


class LogState(eqx.Module):
    """Parameters together with $\\log(1 + t)$, which no horizon overflows."""

    params: PyTree
    log_time: Float[Array, ""]

"""A condition on observed values that ends a run."""

import equinox as eqx
from jaxtyping import Array, Float


class Stop(eqx.Module):
    """Ends a run once an observed value has reached `level` for `sustained` records in a row."""

    level: Float[Array, ""]
    sign: Float[Array, ""]  # 1 if the value should rise to the level, -1 if it should fall
    sustained: int = eqx.field(static=True)
    name: str | None = eqx.field(static=True)  # of the value; with None a run never stops

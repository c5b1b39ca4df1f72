"""Labels that are class numbers, each naming an output of the model."""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Int

from ._base import are_whole, label_error


def classes_of(loss: str, labels: np.ndarray, num_outputs: int, key: str) -> Int[Array, " n"]:
    """Labels of any real type as classes, `int32`.

    - **Raises** [`InputError`][lazyrich.InputError] for a label that is not a whole number from 0
        to `num_outputs` minus 1.
    """
    flat = labels.reshape(-1)
    broken = np.flatnonzero(~are_whole(flat))
    if len(broken):
        accepted = (
            f"{loss} needs classes for {num_outputs} outputs, whole numbers from 0 on; for "
            "other numbers use Squared and a model with one output"
        )
        raise label_error(key, flat, broken[0], accepted)
    if set(np.unique(flat).tolist()) == {-1, 1}:
        accepted = f"{loss} needs classes from 0 on; convert labels -1 and 1 by (y + 1) // 2"
        raise label_error(key, flat, np.flatnonzero(flat < 0)[0], accepted)
    below = np.flatnonzero(flat < 0)
    if len(below):
        raise label_error(key, flat, below[0], f"{loss} needs classes from 0 on")
    beyond = np.flatnonzero(flat >= num_outputs)
    if len(beyond):
        accepted = (
            f"{loss} needs classes below the model's {num_outputs} outputs; "
            "use a model with more outputs, or number the classes from 0 on"
        )
        raise label_error(key, flat, beyond[0], accepted)
    return jnp.asarray(flat.astype(np.int32))

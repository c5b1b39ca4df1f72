"""Labels that name one of a model's outputs."""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Int

from ._base import are_whole, label_error


def classes_of(loss: str, labels: np.ndarray, num_outputs: int, key: str) -> Int[Array, " n"]:
    """Labels of any real type as classes, `int32`.

    - **Raises** [`InputError`][lazyrich.InputError] for one that is no whole number from 0 to
        the number of outputs, less one.
    """
    flat = labels.reshape(-1)
    broken = np.flatnonzero(~are_whole(flat))
    if len(broken):
        accepted = (
            f"{loss} needs classes, whole numbers from 0 on, beside {num_outputs} outputs; for "
            "numbers use Squared and a model of one output"
        )
        raise label_error(key, flat, broken[0], accepted)
    if set(np.unique(flat).tolist()) == {-1, 1}:
        accepted = f"{loss} needs classes from 0 on; of labels -1 and 1 make (y + 1) // 2"
        raise label_error(key, flat, np.flatnonzero(flat < 0)[0], accepted)
    below = np.flatnonzero(flat < 0)
    if len(below):
        raise label_error(key, flat, below[0], f"{loss} needs classes from 0 on")
    beyond = np.flatnonzero(flat >= num_outputs)
    if len(beyond):
        accepted = (
            f"{loss} needs classes below the model's {num_outputs} outputs; "
            "use a model of more outputs, or number the classes from 0 on"
        )
        raise label_error(key, flat, beyond[0], accepted)
    return jnp.asarray(flat.astype(np.int32))

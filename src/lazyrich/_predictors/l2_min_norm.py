"""The minimum-norm linear interpolant."""

import jax.numpy as jnp
import numpy as np
import scipy.linalg
from jaxtyping import ArrayLike, Float, Shaped

from .._columns import gram, matvec, rmatvec
from .._precision import in_double
from ._base import Predictor, Status, as_data


@in_double
def l2_min_norm(
    x: Shaped[ArrayLike, "n d"],
    y: Shaped[ArrayLike, " n"],
    tolerance: float = 1e-6,
    kernel_weights: Float[ArrayLike, " d"] | None = None,
) -> Predictor:
    r"""The minimum-norm linear interpolant: the early predictor of regression.

    $\min \|w\|_2$ subject to $\langle w, x_i \rangle = y_i$: in closed form $w = X^\top (X
    X^\top)^{+} y$. The certificate compares the norm with the dual value $\nu^\top y /
    \|X^\top \nu\|$, which no interpolant goes below.

    - **Takes** `kernel_weights` as [`l2_max_margin`][lazyrich.predictors.l2_max_margin].
    - **Returns** weights that are not normalised, `objective` their norm; `not_separable` if
        no weights interpolate.
    - **Source** Lyu et al., ICLR 2024, arXiv:2311.18817: kernel regime of regression.
    """
    x, y = as_data(x, y, signs=False)
    h = jnp.ones(x.shape[1]) if kernel_weights is None else jnp.asarray(kernel_weights)
    kernel = np.asarray(gram(x, h))
    dual = scipy.linalg.lstsq(kernel, np.asarray(y), cond=1e-12)[0]
    pull = rmatvec(x, jnp.asarray(dual))
    weights = h * pull
    objective = float(jnp.sqrt(h @ pull**2))
    misfit = float(jnp.max(jnp.abs(matvec(x, weights) - y)))
    bound = float(dual @ np.asarray(y)) / max(objective, np.finfo(float).tiny)
    gap = abs(objective - bound) / max(objective, np.finfo(float).tiny)
    fits = misfit <= tolerance * float(jnp.max(jnp.abs(y)))
    status: Status = "not_separable"
    if fits:
        status = "optimal" if gap <= tolerance else "not_proven"
    return Predictor("L2 min norm", np.asarray(weights), objective, bound, dual, gap, status)

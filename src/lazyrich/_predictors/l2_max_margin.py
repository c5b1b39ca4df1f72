"""The hard-margin linear support vector machine."""

import jax.numpy as jnp
import numpy as np
from jaxtyping import ArrayLike, Float, Shaped

from .._columns import gram, matvec, rmatvec
from .._precision import in_double
from ._base import Predictor, as_data, certify_margin, minimise_nonnegative


@in_double
def l2_max_margin(
    x: Shaped[ArrayLike, "n d"],
    y: Shaped[ArrayLike, " n"],
    tolerance: float = 1e-6,
    kernel_weights: Float[ArrayLike, " d"] | None = None,
) -> Predictor:
    r"""The hard-margin linear support vector machine: the early predictor of a diagonal net.

    It attains $\max_{\|w\|_2 = 1} \min_i y_i \langle w, x_i \rangle$. The dual is the point
    of the convex hull of the $y_i x_i$ nearest to the origin, $\min_\mu \|\sum_i \mu_i y_i
    x_i\|_2$ over the simplex, whose value bounds every margin. In the $n \times n$ Gram
    matrix $Q$ that is the non-negative least-squares problem $\min_{a \ge 0} a^\top Q a +
    (1^\top a - 1)^2$, whose minimiser is a multiple of $\mu$.

    - **Takes** labels -1 or 1; needs no intercept; `tolerance`, the relative gap at which
        it counts as optimal; `kernel_weights`, $h \ge 0$ of a kernel $\sum_j h_j x_j x'_j$,
        whose support vector machine is then meant: $\|w\|_2$ becomes $(\sum_j w_j^2 /
        h_j)^{1/2}$.
    - **Source** Cortes & Vapnik 1995; as the early predictor, Lyu et al. 2024.
    """
    x, y = as_data(x, y, signs=True)
    labels = np.asarray(y)
    h = jnp.ones(x.shape[1]) if kernel_weights is None else jnp.asarray(kernel_weights)
    kernel = np.asarray(gram(x, h)) * np.outer(labels, labels)
    weight = float(np.mean(np.diag(kernel))) or 1.0
    # Scaling the constraint like the kernel keeps the sum well conditioned.
    mu = minimise_nonnegative(kernel / weight + 1.0, np.ones(len(labels)))
    mu = mu / mu.sum()
    pull = rmatvec(x, jnp.asarray(mu * labels))
    bound = float(jnp.sqrt(h @ pull**2))
    weights = h * pull / max(bound, np.finfo(float).tiny)
    achieved = float(jnp.min(matvec(x, weights) * y))
    scale = float(np.sqrt(np.max(np.diag(kernel))))
    return certify_margin(
        "L2 max margin", np.asarray(weights), achieved, bound, mu, scale, tolerance
    )

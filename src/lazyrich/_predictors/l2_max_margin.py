"""The hard-margin linear support vector machine."""

import jax.numpy as jnp
import numpy as np
import scipy.optimize
from jaxtyping import Array, Float, Shaped

from .._columns import gram, matvec, rmatvec
from .._precision import in_double
from ._base import Predictor, certify_margin, square_root


@in_double
def l2_max_margin(
    x: Shaped[Array, "n d"], y: Float[Array, " n"], tolerance: float = 1e-6
) -> Predictor:
    r"""The hard-margin linear support vector machine: the early predictor of a diagonal net.

    It attains $\max_{\|w\|_2 = 1} \min_i y_i \langle w, x_i \rangle$. The dual is the point
    of the convex hull of the $y_i x_i$ nearest to the origin, $\min_\mu \|\sum_i \mu_i y_i
    x_i\|_2$ over the simplex, whose value bounds every margin. In the $n \times n$ Gram
    matrix $Q$ that is the non-negative least-squares problem $\min_{a \ge 0} a^\top Q a +
    (1^\top a - 1)^2$, whose minimiser is a multiple of $\mu$.

    - **Takes** labels -1 or 1; needs no intercept; `tolerance`, the relative gap at which
        it counts as optimal.
    - **Source** Cortes & Vapnik 1995; as the early predictor, Lyu et al. 2024, theorem 3.3.
    """
    labels = np.asarray(y)
    kernel = np.asarray(gram(x, jnp.ones(1))) * np.outer(labels, labels)
    weight = float(np.mean(np.diag(kernel))) or 1.0
    # Scaling the constraint like the kernel keeps the factor well conditioned.
    factor, root = square_root(kernel / weight + 1.0)
    mu, _ = scipy.optimize.nnls(factor, root @ np.ones(len(labels)), maxiter=30 * len(labels))
    mu = mu / mu.sum()
    weights = rmatvec(x, jnp.asarray(mu * labels))
    bound = float(jnp.linalg.norm(weights))
    weights = weights / max(bound, np.finfo(float).tiny)
    achieved = float(jnp.min(matvec(x, weights) * y))
    scale = float(np.sqrt(np.max(np.diag(kernel))))
    return certify_margin(
        "L2 max margin", np.asarray(weights), achieved, bound, mu, scale, tolerance
    )

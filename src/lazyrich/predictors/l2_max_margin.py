"""The hard-margin linear support vector machine."""

import numpy as np
from jaxtyping import ArrayLike, Float, Shaped

from .._core.precision import in_double
from ._base import Predictor, kernel_scale
from .margin import Margin, certify_margin, exchange_samples, nearest, triangle
from .products import against, row_exponents, shifted


@in_double
def l2_max_margin(
    x: Shaped[ArrayLike, "..."],
    y: Shaped[ArrayLike, "..."],
    tolerance: float = 1e-6,
    kernel_weights: Float[ArrayLike, " d"] | None = None,
) -> Predictor:
    r"""The hard-margin linear support vector machine: the early predictor of a diagonal net.

    It attains $\max_{\|w\|_2 = 1} \min_i y_i \langle w, x_i \rangle$. The dual solution is the
    point of the convex hull of the $y_i x_i$ that is nearest to the origin, $\min_\mu \|\sum_i
    \mu_i y_i x_i\|_2$ over the simplex. Its value bounds every margin. Let $R$ be a triangular
    factor of the labelled samples, each scaled to one. Then the dual is the non-negative
    least-squares problem $\min_{a \ge 0} \|R a\|^2 + \kappa (b^\top a - 1)^2$, whose minimiser is
    a multiple of $\mu$.

    - **Takes** labels -1 or 1; there is no intercept; `tolerance`, the relative gap for the status
        `optimal`; `kernel_weights`, the $h \ge 0$ of a kernel $\sum_j h_j x_j x'_j$. The result is
        then the support vector machine of this kernel: $\|w\|_2$ becomes $(\sum_j w_j^2 /
        h_j)^{1/2}$.
    - **Raises** [`InputError`][lazyrich.InputError] for labels that are not signs, and unless `x`
        is a matrix of finite numbers.
    - **Source** Cortes & Vapnik 1995; as the early predictor, Lyu et al. 2024.
    """
    h = kernel_scale(kernel_weights)
    posed = Margin.of(x, y, 2, h)
    # The multiplier of a sample scaled by 2^by is 2^-by times the original multiplier.
    by = -row_exponents(posed.x)
    scaled, back = shifted(posed.x, by), by - np.max(by)
    level = np.ldexp(1.0, back)
    nu = nearest(triangle(scaled) * posed.y, level)
    nu = np.where(np.isfinite(nu), nu, 0.0)
    mu = np.ldexp(nu, back)
    u = against(posed.x, mu * posed.y)
    found = certify_margin("L2 max margin", posed, u, mu, tolerance, h)
    if found.status in ("optimal", "not_separable"):
        return found
    better = exchange_samples(scaled * posed.y[:, None], level, nu > 0)
    if better is None:
        return found
    u, mu = better[0], np.ldexp(better[1], back)
    return certify_margin("L2 max margin", posed, u, mu, tolerance, h)

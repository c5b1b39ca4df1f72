"""The minimum-norm linear interpolant."""

from jaxtyping import ArrayLike, Float, Shaped

from .._core.precision import in_double
from ._base import Predictor, kernel_scale
from .interpolation import Interpolation, certify_interpolant
from .products import measured_against


@in_double
def l2_min_norm(
    x: Shaped[ArrayLike, "..."],
    y: Shaped[ArrayLike, "..."],
    tolerance: float = 1e-6,
    kernel_weights: Float[ArrayLike, " d"] | None = None,
) -> Predictor:
    r"""The minimum-norm linear interpolant: the early predictor of regression.

    The solution of $\min \|w\|_2$ subject to $\langle w, x_i \rangle = y_i$ is $w = X^\top (X
    X^\top)^{+} y$. The certificate compares its norm with the dual value $\nu^\top y /
    \|X^\top \nu\|$, a lower bound for all interpolants.

    - **Takes** `kernel_weights` as [`l2_max_margin`][lazyrich.predictors.l2_max_margin].
    - **Returns** weights that are not normalised, with their norm as `objective`; `dual`, $\nu$
        with $\|X^\top \nu\| = 1$; `not_separable` if it is proven that no weights interpolate.
    - **Raises** [`InputError`][lazyrich.InputError] unless `x` is a matrix of finite numbers.
    - **Source** Lyu et al., ICLR 2024, arXiv:2311.18817: kernel regime of regression.
    """
    h = kernel_scale(kernel_weights)
    posed = Interpolation.of(x, y, 2, h)
    rows, (kept, labels) = posed.independent, posed.kept
    weights = posed.refined(rows.shortest(kept, labels))
    nu = rows.multipliers(kept, weights)
    for _ in range(2):
        nu = nu + rows.multipliers(kept, weights - measured_against(kept, nu)[0])
    return certify_interpolant("L2 min norm", posed, weights, nu, tolerance, h)

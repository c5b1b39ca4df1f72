"""The result type of predictors, with its certificate, and helpers that predictors share."""

from dataclasses import dataclass
from typing import Any, Literal

import jax.numpy as jnp
import numpy as np
import scipy.linalg
import scipy.optimize
from jaxtyping import Array, ArrayLike, Float, Shaped

from .._core.errors import InputError
from .._core.precision import native, real_array
from ..losses import CrossEntropy, Logistic

Status = Literal[
    "optimal", "stationary", "not_separable", "not_proven", "ill_conditioned", "out_of_range"
]
# The statuses of certified predictors.
CERTIFIED: tuple[Status, ...] = ("optimal", "stationary")


@dataclass(frozen=True)
class Predictor:
    r"""A linear predictor $x \mapsto \langle w, x\rangle$ with its certificate.

    - `weights`, shape `(d,)`, of norm one in the norm of the problem, or zero if there is no
        solution. An interpolant is not normalised, and has shape `(d, d)` if it completes a matrix.
    - `objective`, the value for `weights`: the margin, or the norm of an interpolant.
    - `bound`, a bound that no weights can exceed, proven by `dual`.
    - `dual`, shape `(n,)`, or `(n, c)` for classes.
    - `gap`, $|$bound − objective$|$ relative to the bound: the certificate.
    - `status`: `optimal` if `gap` is within the tolerance; `stationary` if the point of a
        non-convex problem is proven to be stationary; `not_separable` if it is proven that no
        weights classify, or fit, every sample; `ill_conditioned` if rounding hides both;
        `out_of_range` if the result does not fit in float64 with all its digits; `not_proven` if
        the gap is larger than the tolerance for another reason.
    - `why`, one line if the predictor is not certified, otherwise empty.
    """

    name: str
    weights: Float[np.ndarray, "..."]
    objective: float
    bound: float
    dual: Float[np.ndarray, " n *c"]
    gap: float
    status: Status
    why: str = ""

    @property
    def is_certified(self) -> bool:
        """Whether `gap` proves that the predictor is optimal or stationary."""
        return self.status in CERTIFIED

    @property
    def doubt(self) -> str:
        """One line of warning about comparisons with the predictor; empty if it is certified."""
        return doubt_of(self.name, self.status, self.why)


def doubt_of(name: str, status: str, why: str = "") -> str:
    """A warning about numbers compared with a predictor of this status; empty if certified."""
    if status in CERTIFIED:
        return ""
    reason = f": {why}" if why else ""
    if status == "not_separable":
        return f"{name} does not exist ({status}{reason}); quantities relative to it are undefined"
    return f"{name} is not certified ({status}{reason}); quantities relative to it may be wrong"


def why_lost(what: str, value: float, unit: int, remedy: str) -> str:
    """Why `value * 2**unit` does not fit in float64 with all its digits; empty if it does."""
    with np.errstate(over="ignore", under="ignore"):
        size = np.ldexp(abs(value), unit)
    if value == 0 or np.finfo(float).tiny <= size < np.inf:
        return ""
    if not np.isfinite(value):
        return f"the {what} is out of range of float64: {remedy}"
    power = round(float(np.log10(abs(value))) + unit * float(np.log10(2)))
    return f"the {what} is about 1e{power}, out of range of float64: {remedy}"


def kernel_scale(kernel_weights: ArrayLike | None) -> Float[np.ndarray, " d"] | None:
    """The weights of a kernel, None if all are one; raises if one is negative."""
    if kernel_weights is None:
        return None
    h = np.asarray(kernel_weights, np.float64)
    for j in np.flatnonzero(~((h >= 0) & np.isfinite(h)))[:1]:
        raise InputError(f"kernel_weights[{j}]", float(h[j]), "should be finite and not negative")
    return None if np.all(h == 1) else h


def as_data(
    x: ArrayLike, y: ArrayLike, *, signs: bool
) -> tuple[Shaped[Array, "n d"], Float[Array, " n"]]:
    """Inputs and labels as arrays; raises if `signs` are required and a label is not a sign."""
    labels = real_array(y, "y").astype(np.float64)
    bad = np.flatnonzero(np.abs(labels) != 1)
    if signs and len(bad):
        raise InputError(
            f"y[{bad[0]}]",
            float(labels[bad[0]]),
            "labels should be -1 or 1; convert labels 0 and 1 by 2*y - 1",
        )
    return jnp.asarray(native(x)), jnp.asarray(labels)


def constrained_labels(y: Any, outputs: tuple[int, ...]) -> Shaped[Array, " n"]:
    """The labels of margin constraints: signs for one output, otherwise classes, of any type."""
    loss = Logistic() if len(outputs) == 1 else CrossEntropy()
    return loss.labels(y, outputs, "y")


def minimise_nonnegative(
    matrix: Float[np.ndarray, "n n"], linear: Float[np.ndarray, " n"]
) -> Float[np.ndarray, " n"]:
    r"""$\arg\min_{a \ge 0} \frac12 a^\top M a - b^\top a$ for $M \succeq 0$, $b$ in its range.

    Uses active sets, so it is exact after finitely many exchanges; NaN if there are too many.
    """
    # With M = A^T A and A^T c = b this is the least-squares problem of A a against c.
    values, vectors = scipy.linalg.eigh(matrix)
    keep = values > 1e-13 * values[-1]
    roots, basis = np.sqrt(values[keep])[:, None], vectors[:, keep].T
    try:
        return scipy.optimize.nnls(
            roots * basis, basis @ linear / roots[:, 0], maxiter=30 * len(linear)
        )[0]
    except RuntimeError:
        return np.full(len(linear), np.nan)

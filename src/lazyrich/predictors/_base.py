"""What a predictor is: where theory says training must end, with a proof."""

from typing import Any, Literal, NamedTuple

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
# Of a predictor that is what it is said to be.
CERTIFIED: tuple[Status, ...] = ("optimal", "stationary")


class Predictor(NamedTuple):
    r"""A linear predictor $x \mapsto \langle w, x\rangle$ with its certificate.

    - `weights`, shape `(d,)`, of norm one in the norm that the predictor is about, zero if
        there is none; an interpolant is not normalised, and has shape `(d, d)` if it completes
        a matrix.
    - `objective`, what `weights` achieve: the margin, or the norm for an interpolant.
    - `bound`, what nothing can beat, proven by `dual`.
    - `dual`, shape `(n,)`, or `(n, c)` for classes.
    - `gap`, $|$bound − objective$|$ relative to the bound: the certificate.
    - `status`: `optimal` if `gap` is within the tolerance asked for, `stationary` if it is one of
        what is not convex; `not_separable` if it is proven that no weights classify, or fit, every
        sample; `ill_conditioned` if rounding hides both; `out_of_range` if the answer is no
        double; `not_proven` if the gap stayed open for another reason.
    - `why`, one line where it is not certified, else empty.
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
        """Whether `gap` proves what the predictor is said to be."""
        return self.status in CERTIFIED

    @property
    def doubt(self) -> str:
        """One line on what is measured against it, empty if it is certified."""
        return doubt_of(self.name, self.status, self.why)


def doubt_of(name: str, status: str, why: str = "") -> str:
    """What to know of numbers measured against a predictor of that status; empty if certified."""
    if status in CERTIFIED:
        return ""
    reason = f": {why}" if why else ""
    if status == "not_separable":
        return f"{name} does not exist ({status}{reason}); nothing can be near it"
    return f"{name} is not certified ({status}{reason}); what is measured against it may be wrong"


def kernel_scale(kernel_weights: ArrayLike | None) -> Float[np.ndarray, " d"] | None:
    """Weights of a kernel, None where they are all one; raises where one is negative."""
    if kernel_weights is None:
        return None
    h = np.asarray(kernel_weights, np.float64)
    for j in np.flatnonzero(~((h >= 0) & np.isfinite(h)))[:1]:
        raise InputError(f"kernel_weights[{j}]", float(h[j]), "should be finite and not negative")
    return None if np.all(h == 1) else h


def as_data(
    x: ArrayLike, y: ArrayLike, *, signs: bool
) -> tuple[Shaped[Array, "n d"], Float[Array, " n"]]:
    """Inputs and labels as arrays; raises if `signs` are asked for and a label is none."""
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
    """The labels of margin constraints: signs beside one output, else classes, of any type."""
    loss = Logistic() if len(outputs) == 1 else CrossEntropy()
    return loss.labels(y, outputs, "y")


def room(values: Float[Array, "..."], change: Float[Array, "..."]) -> Float[Array, ""]:
    """The longest step that keeps `values` positive."""
    return jnp.min(jnp.where(change < 0, -values / change, jnp.inf))


def minimise_nonnegative(
    matrix: Float[np.ndarray, "n n"], linear: Float[np.ndarray, " n"]
) -> Float[np.ndarray, " n"]:
    r"""$\arg\min_{a \ge 0} \frac12 a^\top M a - b^\top a$ for $M \succeq 0$, $b$ in its range.

    By active sets, so exactly, after finitely many exchanges; NaN if these run out.
    """
    # M = A^T A and A^T c = b turn it into the least squares of A a against c.
    values, vectors = scipy.linalg.eigh(matrix)
    keep = values > 1e-13 * values[-1]
    roots, basis = np.sqrt(values[keep])[:, None], vectors[:, keep].T
    try:
        return scipy.optimize.nnls(
            roots * basis, basis @ linear / roots[:, 0], maxiter=30 * len(linear)
        )[0]
    except RuntimeError:
        return np.full(len(linear), np.nan)

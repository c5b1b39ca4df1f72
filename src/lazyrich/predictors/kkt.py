"""KKT residuals of margin maximisation and interpolation, for any homogeneous model."""

from dataclasses import dataclass
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float, Int, Shaped

from .._core.errors import InputError
from .._core.precision import promoted
from ..losses import Squared
from ..models import AbstractModel, DiagonalLinear, DiagonalParams
from ..models._net import check_net
from ._base import as_data, constrained_labels, minimise_nonnegative
from .constraints import (
    KKTSystem,
    Limits,
    min_norm_gap,
    own_point,
    residual_at,
    system_at,
    tightest,
    with_smallest,
)
from .multipliers import Explained, explain

# The number of projected gradient steps, if there are too many constraints for a Gram matrix.
_STEPS = 2000


@dataclass(frozen=True)
class KKTResidual:
    r"""Residuals at parameters scaled to a smallest margin of 1; all dimensionless.

    - `stationarity`, $\|\theta - \sum_i \mu_i \nabla q_i\|_2 / \|\theta\|_2$, where $q_i$ are the
        margins.
    - `complementarity`, $\sum_i \mu_i (q_i - 1) / \|\theta\|_2^2$.
    - `multipliers`, $\mu \ge 0$, shape `(m,)`: they minimise the sum of both squared residuals,
        with complementarity taken constraint by constraint.
    - `num_active`, the number of constraints within `factor` of the smallest margin;
        `samples` and `classes`, shape `(m,)`, the sample of each constraint and the other class
        (zero for signs).

    After the scaling all constraints are fulfilled. The residuals are NaN if a sample is not
    fitted, because then no scaling is feasible, or if the search for multipliers did not end.
    """

    stationarity: float
    complementarity: float
    multipliers: Float[np.ndarray, " m"]
    num_active: int
    samples: Int[np.ndarray, " m"]
    classes: Int[np.ndarray, " m"]


@promoted
def margin_kkt(
    model: AbstractModel,
    params: Any,
    x: Shaped[ArrayLike, "n d"],
    y: Shaped[ArrayLike, " n"],
    factor: float = 2.0,
    max_active: int = 1024,
) -> KKTResidual:
    r"""KKT residual of a homogeneous model in margin maximisation.

    The problem is $\min \frac12 \|\theta\|_2^2$ subject to $y_i f(\theta; x_i) \ge 1$ for
    signs, and to $f_{y_i}(\theta; x_i) - f_j(\theta; x_i) \ge 1$, $j \ne y_i$, for classes.
    Non-negative least squares finds the multipliers. For up to `max_active` active constraints
    the method is exact: active sets with the Gram matrix of the gradients. For more constraints it
    is 2000 accelerated projected gradient steps that start from the multipliers of training.

    - **Takes** `factor`, of the smallest margin: constraints with at most this margin are active;
        `max_active`, see above. Classes have $n(C-1)$ constraints.
    - **Raises** [`InputError`][lazyrich.InputError] for a model that is not homogeneous.
    - **Source** Lyu & Li, ICLR 2020, arXiv:1906.05890: approximate KKT points, in relative form.
    """
    check_net(model, params, jnp.asarray(x))
    degree = model.homogeneity
    if degree is None:
        raise InputError("model", type(model).__name__, "should be homogeneous")
    x, params = model.cast_inputs(jnp.asarray(x)), jax.tree.map(jnp.asarray, params)
    f = model.apply(params, x)
    y = constrained_labels(y, f.shape)
    every, smallest = with_smallest(f, y)
    num_active = int(jnp.sum((every <= factor * smallest) & jnp.isfinite(every)))
    if num_active > max_active:
        return _without_gram(model, params, x, y, factor)
    limits = Limits(max(1, num_active), factor)
    system = kkt_system(model, params, x, y, limits)
    mu = kkt_multipliers(np.asarray(system.matrix), np.asarray(system.linear))
    found = kkt_residual(model, params, x, y, limits, jnp.asarray(mu))
    samples, classes = map(np.asarray, (system.constraints.sample, system.constraints.other))
    order = np.lexsort((classes, samples))
    chosen = mu[order], num_active, samples[order], classes[order]
    return KKTResidual(float(found[0]), float(found[1]), *chosen)


def _without_gram(
    model: AbstractModel, params: Any, x: Array, y: Array, factor: float
) -> KKTResidual:
    def at(params: Any) -> Explained:
        return explain(model, own_point(model, params, x), x, y, factor, _STEPS)

    found = jax.jit(at)(params)
    active = np.asarray(found.active)
    samples, *classes = np.nonzero(active)
    return KKTResidual(
        float(found.stationarity),
        float(found.complementarity),
        np.asarray(found.mu)[active],
        int(active.sum()),
        samples,
        classes[0] if classes else np.zeros_like(samples),
    )


@promoted
def diagonal_kkt(
    params: DiagonalParams, x: Shaped[ArrayLike, "n d"], y: Shaped[ArrayLike, " n"], depth: int
) -> KKTResidual:
    r"""KKT residual of a diagonal net in margin maximisation, with a constraint for every sample.

    The problem is $\min \frac12 \|\theta\|_2^2$ subject to $y_i f(\theta; x_i) \ge 1$. In
    terms of $w = u^{\odot L} - v^{\odot L}$ this is $\min \|w\|_{2/L}$ subject to $y_i
    \langle w, x_i\rangle \ge 1$. It is convex for $L = 2$, where
    [`l1_max_margin`][lazyrich.predictors.l1_max_margin] solves it. For larger $L$ it has a
    quasi-norm and many KKT points.
    """
    x, y = as_data(x, y, signs=True)
    params = DiagonalParams(*map(jnp.asarray, params))
    return margin_kkt(DiagonalLinear(depth=depth), params, x, y, np.inf, len(y))


@eqx.filter_jit
def kkt_system(
    model: AbstractModel, params: Any, x: Shaped[Array, "n d"], y: Array, limits: Limits
) -> KKTSystem:
    """The system for the multipliers of parameters."""
    return system_at(model, own_point(model, params, x), x, y, limits)


def kkt_multipliers(
    matrix: Float[np.ndarray, "n n"], linear: Float[np.ndarray, " n"]
) -> Float[np.ndarray, " n"]:
    """The multipliers; NaN if the system is not finite or the search did not end.

    It is not finite for parameters whose powers underflow, as after a long decay.
    """
    if not (np.all(np.isfinite(matrix)) and np.all(np.isfinite(linear))):
        return np.full(len(linear), np.nan)
    return minimise_nonnegative(matrix, linear)


@eqx.filter_jit
def kkt_residual(
    model: AbstractModel,
    params: Any,
    x: Shaped[Array, "n d"],
    y: Array,
    limits: Limits,
    mu: Float[Array, " m"],
) -> tuple[Float[Array, ""], Float[Array, ""]]:
    """Stationarity and complementarity of parameters for given multipliers."""
    point = own_point(model, params, x)
    return residual_at(model, point, x, tightest(point.f, y, limits), mu)


class MinNormResidual(NamedTuple):
    r"""Residuals of minimum-norm interpolation, dimensionless.

    - `stationarity`, $\min_\mu \|\theta - J^\top \mu\|_2 / \|\theta\|_2$.
    - `feasibility`, $\|f - y\|_2 / \|y\|_2$.
    """

    stationarity: float
    feasibility: float


@promoted
def min_norm_kkt(
    model: AbstractModel,
    params: Any,
    x: Shaped[ArrayLike, "n d"],
    y: Shaped[ArrayLike, " n *c"],
) -> MinNormResidual:
    r"""KKT residual of a homogeneous model in minimum-norm interpolation.

    The problem is $\min \frac12 \|\theta\|_2^2$ subject to $f(\theta; x_i) = y_i$. The
    multipliers, of either sign, come from least squares with the tangent kernel.

    - **Raises** [`InputError`][lazyrich.InputError] for a model that is not homogeneous.
    - **Source** Lyu et al., ICLR 2024, arXiv:2311.18817: rich regime of regression.
    """
    check_net(model, params, jnp.asarray(x))
    if model.homogeneity is None:
        raise InputError("model", type(model).__name__, "should be homogeneous")
    x, params = model.cast_inputs(jnp.asarray(x)), jax.tree.map(jnp.asarray, params)
    point = own_point(model, params, x)
    y = Squared().labels(y, point.f.shape, "y")
    misfit = jnp.linalg.norm(point.f - y) / jnp.linalg.norm(y)
    return MinNormResidual(float(min_norm_gap(model, point, x)), float(misfit))

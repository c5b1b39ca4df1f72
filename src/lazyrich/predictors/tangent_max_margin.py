"""The max-margin direction for a model's tangent features: early predictor of classification."""

import time
from dataclasses import dataclass, replace
from typing import Any, Literal, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, ArrayLike, Float, Shaped

from .._core.norms import tree_norm
from .._core.precision import promoted
from ..kernel import row_gram
from ..models import AbstractModel, Readout
from ..models._net import check_net
from ._base import Predictor, constrained_labels, minimise_nonnegative
from .differences import constrained, differences, every_margin, forces
from .l2_max_margin import l2_max_margin
from .margin import status_for
from .multiclass_max_margin import multiclass_max_margin
from .nonnegative import descend_by_products

# Projected gradient steps between two evaluations of the gap, and the largest number of steps.
_STEPS, _MOST_STEPS = 100, 20_000
# The largest Jacobian that is formed, in entries. A factor of it squares no condition number.
_FEW_ENTRIES = 2**22
# The relative rounding error of products with a Jacobian, compared with the gradients.
_ROUNDING = 1e-14
# Compiled code takes numbers below this as zero.
_TINY = float(np.finfo(np.float64).tiny)
_FLUSHED = f"inputs or parameters below {_TINY:.2g} are taken as zero: scale them"

How = Literal["gram", "last layer", "products"]


@dataclass(frozen=True)
class TangentMargin:
    r"""The direction $h$ of unit norm with the largest margin of $\langle \nabla f(x), h\rangle$.

    - `direction`, a pytree like the model's parameters;
        [`tangent_outputs`][lazyrich.kernel.tangent_outputs] gives its outputs for any input.
    - `objective`, the achieved margin; `bound`, an upper bound on margins, proven by `dual`, shape
        `(n,)` or `(n, c)`; `gap`, `status` and `why` as in
        [`Predictor`][lazyrich.predictors.Predictor].
    - `how` it was computed: with a Gram matrix of the samples, with the features of the
        `last layer`, or with `products` with Jacobians.
    """

    direction: Any
    objective: float
    bound: float
    dual: Float[np.ndarray, " n *c"]
    gap: float
    status: str
    how: How
    why: str = ""


@promoted
def tangent_max_margin(
    model: AbstractModel,
    params: Any,
    x: Shaped[ArrayLike, "n d"],
    y: Shaped[ArrayLike, " n"],
    tolerance: float = 1e-3,
    max_seconds: float = 300.0,
) -> TangentMargin:
    r"""The support vector machine of the tangent kernel at `params`, binary or multi-class.

    The problem is $\min \frac12 \|h\|^2$ subject to $\langle \nabla f_{y_i} - \nabla f_j, h\rangle
    \ge 1$. If the initial outputs are zero, the kernel phase of classification converges to this
    direction. The kernel of all outputs is never formed. Signs need an $n \times n$ Gram matrix.
    A network with a zero last layer (which a model reports by `zero_readout`, as an MLP does) has
    the kernel (hidden Gram matrix) $\otimes$ identity; then
    [`multiclass_max_margin`][lazyrich.predictors.multiclass_max_margin] of its hidden layer is
    used. For other models a step of accelerated projected gradients costs a product with $J$ and
    one with $J^\top$, and the gap decreases far more slowly.

    - **Takes** `tolerance`, the relative gap to reach; `max_seconds`, a time limit, after which
        the status is `not_proven` and `gap` is the remaining gap.
    - **Source** Lyu et al., ICLR 2024, arXiv:2311.18817: the kernel regime of classification.
    """
    check_net(model, params, jnp.asarray(x))
    x, params = model.cast_inputs(jnp.asarray(x)), jax.tree.map(jnp.asarray, params)
    one = jax.eval_shape(lambda p: model.apply(p, x), params)
    y = constrained_labels(y, one.shape)
    last = model.zero_readout(params, x) if one.ndim > 1 else None
    if one.ndim == 1:
        found = _of_signs(model, params, x, y, tolerance)
    elif last is not None:
        found = _of_last_layer(last, y, one.shape[1], tolerance, max_seconds)
    else:
        found = _by_products(model, params, x, y, one.shape, tolerance, max_seconds)
    if found.status != "optimal" and _has_subnormal((x, params)):
        return replace(found, status="out_of_range", why=_FLUSHED)
    return found


def _of_signs(
    model: AbstractModel, params: Any, x: Array, y: Array, tolerance: float
) -> TangentMargin:
    flat, unravel = ravel_pytree(params)
    if len(x) * len(flat) <= _FEW_ENTRIES:
        rows = jax.jacrev(lambda v: model.apply(unravel(v), x))(flat)
        found = l2_max_margin(rows, y, tolerance)
        return _named(found, unravel(jnp.asarray(found.weights)), "gram")
    gram = np.asarray(row_gram(model, params, x, y.astype(jnp.float64)))
    # As in the linear machine: the constraint on the sum, scaled like the kernel.
    weight = float(np.mean(np.diag(gram))) or 1.0
    mu = minimise_nonnegative(gram / weight + 1.0, np.ones(len(y)))
    evaluation = _Evaluation.at(model, params, x, y, jnp.asarray(mu))
    return evaluation.certified(float(np.sqrt(np.max(np.diag(gram)))), tolerance, "gram")


def _has_subnormal(tree: Any) -> bool:
    sizes = (np.abs(np.asarray(leaf, np.float64)) for leaf in jax.tree.leaves(tree))
    return any(bool(np.any((size > 0) & (size < _TINY))) for size in sizes)


def _of_last_layer(
    last: Readout, y: Array, num_classes: int, tolerance: float, max_seconds: float
) -> TangentMargin:
    found = multiclass_max_margin(last.features, y, num_classes, tolerance, max_seconds=max_seconds)
    return _named(found, last.place(jnp.asarray(found.weights)), "last layer")


def _by_products(
    model: AbstractModel,
    params: Any,
    x: Array,
    y: Array,
    shape: tuple[int, ...],
    tolerance: float,
    max_seconds: float,
) -> TangentMargin:
    state = constrained(y, shape).astype(jnp.float64)
    begun, steps = time.monotonic(), 0
    best: _Evaluation | None = None
    largest = 0.0
    step = eqx.filter_jit(_descend)
    while steps < _MOST_STEPS and time.monotonic() - begun < max_seconds:
        state, look = step(model, params, x, y, state)
        steps += _STEPS
        best = look if best is None else best.better(look)
        largest = max(largest, float(look.bound))
        if float(best.bound - best.margin) <= tolerance * float(best.bound):
            break
    assert best is not None
    return best.certified(largest, tolerance, "products")


class _Evaluation(NamedTuple):
    """A direction with its margin, and the bound that its multipliers prove."""

    direction: Any
    margin: Array
    bound: Array
    dual: Array

    @classmethod
    def at(cls, model: AbstractModel, params: Any, x: Array, y: Array, mu: Array) -> "_Evaluation":
        """The direction of norm one for some multipliers, and its margin."""
        f, pullback = jax.vjp(lambda p: model.apply(p, x), params)
        direction = pullback(forces(mu, y).astype(f.dtype))[0]
        norm, total = tree_norm(direction), jnp.sum(mu)
        direction = jax.tree.map(lambda g: g / norm, direction)
        outputs = jax.jvp(lambda p: model.apply(p, x), (params,), (direction,))[1]
        margin = jnp.min(every_margin(outputs, y))
        return cls(direction, margin, norm / total, mu / total)

    def better(self, other: "_Evaluation") -> "_Evaluation":
        """The larger margin and the smaller bound of two evaluations."""
        top = self if self.margin >= other.margin else other
        low = self if self.bound <= other.bound else other
        return _Evaluation(top.direction, top.margin, low.bound, low.dual)

    def certified(self, scale: float, tolerance: float, how: How) -> TangentMargin:
        """The result with its status; `scale` is a typical norm of gradients."""
        bound, margin = float(self.bound), float(self.margin)
        gap = (bound - margin) / bound if bound > 0 else np.inf
        # Rounding of products with Jacobians, if the bound is far below the norm of gradients.
        rounding = _ROUNDING * scale / bound if bound > 0 else np.inf
        status, why = status_for(gap, rounding, tolerance)
        dual = np.asarray(self.dual)
        return TangentMargin(self.direction, margin, bound, dual, gap, status, how, why)


def _named(proof: Predictor, direction: Any, how: How) -> TangentMargin:
    return TangentMargin(
        direction, proof.objective, proof.bound, proof.dual, proof.gap, proof.status, how, proof.why
    )


def _descend(
    model: AbstractModel, params: Any, x: Array, y: Array, start: Array
) -> tuple[Array, _Evaluation]:
    f, pullback = jax.vjp(lambda p: model.apply(p, x), params)
    push = jax.linearize(lambda p: model.apply(p, x), params)[1]
    allowed = constrained(y, f.shape)

    def product(mu: Array) -> Array:
        return jnp.where(allowed, differences(push(pullback(forces(mu, y))[0]), y), 0.0)

    mu = descend_by_products(product, allowed.astype(f.dtype), allowed, start, _STEPS)
    return mu, _Evaluation.at(model, params, x, y, mu)

"""How far a run is from the certificate of the rich and of the kernel predictor."""

from typing import ClassVar, Literal

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ..predictors.constraints import Limits, Point, min_norm_gap, own_point, residual_at, system_at
from ..predictors.multipliers import explain
from ..predictors.nonnegative import descend_nonnegative
from ._base import AbstractProbe, RunContext, RunState

# Constraints carry multipliers up to this factor of the smallest margin.
_FACTOR = 2.0
# Outputs up to which a Gram matrix of the constraints is formed, and the steps taken beyond.
_MOST_IN_GRAM, _STEPS = 512, 200
# Outputs up to which the multipliers of interpolation are found through the tangent kernel.
_MOST_OUTPUTS = 2048

Side = Literal["rich", "kernel"]


class Stationarity(AbstractProbe):
    r"""How far gradients of the constraints are from explaining a run's parameters, relative.

    `rich`: $\|\theta - \sum_i \mu_i \nabla q_i(\theta)\|_2 / \|\theta\|_2$, small near a KKT point
    of what late training approaches: $\min \frac12\|\theta\|^2$ subject to margins $q_i \ge 1$
    (classification, see [`margin_kkt`][lazyrich.predictors.margin_kkt]) or to $f = y$ (regression,
    see [`min_norm_kkt`][lazyrich.predictors.min_norm_kkt]); of a homogeneous model.

    `kernel`: the same of $h = e^{\lambda t}\theta - \theta_0$ with the linear outputs $\langle
    \nabla f(\theta_0; x), h\rangle$ in place of $f$: small where a run is in its kernel phase and
    near that phase's predictor.

    Constraints within twice the smallest margin carry multipliers. For up to 512 outputs these
    are found in the Gram matrix of the constraints' gradients, beyond by 200 accelerated projected
    gradients at the price of two gradients of the loss each. NaN where a training sample is not
    fitted.

    - **Source** the two phases of Lyu et al., ICLR 2024, arXiv:2311.18817.
    """

    named: ClassVar = ("{side}_stationarity", "stationarity residual of the {side} predictor")
    meaning: ClassVar = (
        "[KKT residual](predictors.md#any-homogeneous-model-and-along-a-run) of the "
        "predictor's problem: the part of the gradients that does not cancel; for a homogeneous "
        "model"
    )
    needs_inputs: ClassVar[bool] = True

    side: Side = eqx.field(static=True)

    def applies(self, context: RunContext) -> bool:
        # An origin that is carried along is neither rich nor lazy.
        if context.x_train is None or context.model.has_origin:
            return False
        known = self.side == "kernel" or context.model.homogeneity is not None
        return known and (context.loss.is_classification or context.y_train.size <= _MOST_OUTPUTS)

    def __call__(self, state: RunState, context: RunContext) -> Float[Array, ""]:
        if context.loss.is_classification:
            return _margin_residual(self.side, state, context)[0]
        assert context.x_train is not None  # `applies` has made sure
        point = _point(self.side, state, context)
        return min_norm_gap(context.model, point, context.x_train)


class Complementarity(Stationarity):
    r"""$\sum_i \mu_i (q_i - 1) / \|\theta\|_2^2$, the other half of a max margin's KKT residual.

    Of the multipliers of [`Stationarity`][lazyrich.probes.Stationarity]; of classifiers.
    """

    named: ClassVar = ("{side}_complementarity", "complementarity residual of the {side} predictor")
    meaning: ClassVar = (
        "KKT residual of samples that are not on the margin but have a multiplier; for "
        "classification"
    )

    def applies(self, context: RunContext) -> bool:
        return super().applies(context) and context.loss.is_classification

    def __call__(self, state: RunState, context: RunContext) -> Float[Array, ""]:
        return _margin_residual(self.side, state, context)[1]


def _margin_residual(side: Side, state: RunState, context: RunContext) -> tuple[Array, Array]:
    model, x, y = context.model, context.x_train, context.y_train
    assert x is not None  # `applies` has made sure
    point = _point(side, state, context)
    if state.f_train.size > _MOST_IN_GRAM:
        found = explain(model, point, x, y, _FACTOR, _STEPS)
        return found.stationarity, found.complementarity
    system = system_at(model, point, x, y, Limits(state.f_train.size, _FACTOR))
    mu = descend_nonnegative(system.matrix, system.linear)
    return residual_at(model, point, x, system.constraints, mu)


def _point(side: Side, state: RunState, context: RunContext) -> Point:
    model, x = context.model, context.x_train
    assert x is not None  # `applies` has made sure
    if side == "rich":
        return own_point(model, state.params, x)
    # Without e^{lambda t}, which overflows: the residual is the same at any multiple of h.
    shrink = jnp.exp(-context.weight_decay * state.time)
    gone = jax.tree.map(lambda p, p0: p - shrink * p0, state.params, context.params)
    f = jax.jvp(lambda p: model.apply(p, x), (context.params,), (gone,))[1]
    return Point(gone, context.params, f, 1.0)

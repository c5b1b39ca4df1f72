"""Residuals of the optimality conditions of the rich and of the kernel predictor."""

from typing import ClassVar, Literal

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from .._core.precision import promoted
from ..predictors.constraints import Limits, Point, min_norm_gap, own_point, residual_at, system_at
from ..predictors.multipliers import explain
from ..predictors.nonnegative import descend_nonnegative
from ._base import AbstractProbe, RunContext, RunState

# Constraints with a margin up to this multiple of the smallest margin have a multiplier.
_FACTOR = 2.0
# Up to this number of outputs a Gram matrix of the constraints is formed. Beyond, this many
# projected gradient steps are taken.
_MOST_IN_GRAM, _STEPS = 512, 200
# Up to this number of outputs the multipliers of interpolation are computed from the kernel.
_MOST_OUTPUTS = 2048

Side = Literal["rich", "kernel"]


class Stationarity(AbstractProbe):
    r"""Relative distance of the parameters from a combination of gradients of the constraints.

    For `rich`, this is $\|\theta - \sum_i \mu_i \nabla q_i(\theta)\|_2 / \|\theta\|_2$. It is small
    near a KKT point of the problem that late training solves for a homogeneous model: minimise
    $\frac12\|\theta\|^2$ subject to margins $q_i \ge 1$ (classification, see
    [`margin_kkt`][lazyrich.predictors.margin_kkt]) or to $f = y$ (regression, see
    [`min_norm_kkt`][lazyrich.predictors.min_norm_kkt]).

    For `kernel`, $\theta$ is replaced by $h = e^{\lambda t}\theta - \theta_0$ and $f$ by the linear
    outputs $\langle \nabla f(\theta_0; x), h\rangle$. The residual is small if the run is in its
    kernel phase and near the predictor of this phase.

    Only constraints within twice the smallest margin have a multiplier. For up to 512 outputs the
    multipliers are computed from the Gram matrix of the gradients of the constraints. For more
    outputs, 200 accelerated projected gradient steps are taken; each costs two gradients of the
    loss. NaN if a training sample is not fitted.

    - **Source** the two phases of Lyu et al., ICLR 2024, arXiv:2311.18817.
    """

    named: ClassVar = ("{side}_stationarity", "stationarity residual of the {side} predictor")
    meaning: ClassVar = (
        "[KKT residual](../explanation/predictors.md#any-homogeneous-model-and-along-a-run) of the "
        "optimisation problem of the predictor: the part of the gradients that does not cancel; "
        "for a homogeneous model"
    )
    needs_inputs: ClassVar[bool] = True

    side: Side = eqx.field(static=True)

    def applies(self, context: RunContext) -> bool:
        # Models that contain their initial values are outside the theory of both phases.
        if context.x_train is None or context.model.has_origin:
            return False
        if float(context.weight_decay) > 0 and not context.model.decays_all:
            return False
        known = self.side == "kernel" or context.model.homogeneity is not None
        return known and (context.loss.is_classification or context.y_train.size <= _MOST_OUTPUTS)

    @promoted
    def __call__(self, state: RunState, context: RunContext) -> Float[Array, ""]:
        if context.loss.is_classification:
            return _margin_residual(self.side, state, context)[0]
        assert context.x_train is not None  # ensured by `applies`
        point = _point(self.side, state, context)
        return min_norm_gap(context.model, point, context.x_train)


class Complementarity(Stationarity):
    r"""$\sum_i \mu_i (q_i - 1) / \|\theta\|_2^2$, the second KKT residual of a max-margin problem.

    The multipliers are those of [`Stationarity`][lazyrich.probes.Stationarity]. For classification.
    """

    named: ClassVar = ("{side}_complementarity", "complementarity residual of the {side} predictor")
    meaning: ClassVar = (
        "KKT residual of samples that are not on the margin but have a multiplier; for "
        "classification"
    )

    def applies(self, context: RunContext) -> bool:
        return super().applies(context) and context.loss.is_classification

    @promoted
    def __call__(self, state: RunState, context: RunContext) -> Float[Array, ""]:
        return _margin_residual(self.side, state, context)[1]


def _margin_residual(side: Side, state: RunState, context: RunContext) -> tuple[Array, Array]:
    model, x, y = context.model, context.x_train, context.y_train
    assert x is not None  # ensured by `applies`
    point = _point(side, state, context)
    if state.f_train.size > _MOST_IN_GRAM:
        found = explain(model, point, x, y, _FACTOR, _STEPS)
        return found.stationarity, found.complementarity
    system = system_at(model, point, x, y, Limits(state.f_train.size, _FACTOR))
    mu = descend_nonnegative(system.matrix, system.linear)
    return residual_at(model, point, x, system.constraints, mu)


def _point(side: Side, state: RunState, context: RunContext) -> Point:
    model, x = context.model, context.x_train
    assert x is not None  # ensured by `applies`
    if side == "rich":
        return own_point(model, state.params, x)
    # Without the factor e^{lambda t}, which overflows. The residual does not depend on it.
    shrink = jnp.exp(-context.weight_decay * state.time)
    gone = jax.tree.map(lambda p, p0: p - shrink * p0, state.params, context.params)
    f = jax.jvp(lambda p: model.apply(p, x), (context.params,), (gone,))[1]
    return Point(gone, context.params, f, 1.0)

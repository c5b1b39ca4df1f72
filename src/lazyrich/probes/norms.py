"""Norms of parameters and weights, and margins over these norms."""

from typing import ClassVar, Literal

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float

from .._core.norms import tree_norm
from .._core.precision import promoted
from ._base import AbstractProbe, RunContext, RunState

Order = Literal[1, 2]


class ParamNorm(AbstractProbe):
    r"""$\|\theta\|_2$ over all parameters."""

    named: ClassVar = ("param_norm", "parameter norm")
    meaning: ClassVar = r"$\lVert\theta\rVert_2$"

    @property
    def scale_degree(self) -> int:
        return 1

    @promoted
    def __call__(self, state: RunState, context: RunContext) -> Float[Array, ""]:
        return context.model.norm(state.params)


class WeightNorm(AbstractProbe):
    r"""$\|w\|_p$ of the weights of a linear model, with $p$ = `order`."""

    named: ClassVar = ("weight_norm_l{order}", "L{order} norm of the weights")
    meaning: ClassVar = "norm of $w$, the weights of a linear model"
    order: Order = eqx.field(static=True)

    def applies(self, context: RunContext) -> bool:
        return context.is_linear

    @promoted
    def __call__(self, state: RunState, context: RunContext) -> Float[Array, ""]:
        del context
        return _norm(state, self.order)


class NormalisedMargin(AbstractProbe):
    r"""Smallest training margin $\min_i y_i f(x_i)$ over $\|w\|_p$, with $p$ = `order`.

    It is positive exactly if every training sample is fitted, and at most the maximum margin for
    this norm. NaN at $w = 0$, and if labels are not signs.
    """

    named: ClassVar = ("margin_l{order}", "L{order}-normalised margin")
    meaning: ClassVar = (
        r"$\min_i y_i f(x_i)$ divided by this norm of $w$; for labels that are signs"
    )
    order: Order = eqx.field(static=True)

    def applies(self, context: RunContext) -> bool:
        return context.is_linear and context.labels == "signs"

    @promoted
    def __call__(self, state: RunState, context: RunContext) -> Float[Array, ""]:
        worst = jnp.min(context.y_train * state.f_train)
        return worst / _norm(state, self.order)


class NuclearNorm(AbstractProbe):
    r"""$\|W\|_*$, the sum of the singular values, for models whose weights are a matrix."""

    named: ClassVar = ("nuclear_norm", "nuclear norm of the weights")
    meaning: ClassVar = "nuclear norm of $w$, if $w$ is a matrix"

    def applies(self, context: RunContext) -> bool:
        return len(context.weights_shape) == 2

    @promoted
    def __call__(self, state: RunState, context: RunContext) -> Float[Array, ""]:
        del context
        return jnp.linalg.norm(weights_of(state), "nuc")


def weights_of(state: RunState) -> Float[Array, "..."]:
    """The weights of a run of a linear model, as ensured by `applies`."""
    assert state.weights is not None
    return state.weights


def _norm(state: RunState, order: Order) -> Float[Array, ""]:
    weights = weights_of(state)
    return jnp.sum(jnp.abs(weights)) if order == 1 else tree_norm(weights)

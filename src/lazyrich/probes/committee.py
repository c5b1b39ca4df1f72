"""Statistics of the neurons of a committee machine, and its exact population error."""

from typing import Any, ClassVar, Literal, NamedTuple

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float

from .._core.precision import promoted
from ..models import Statistics
from ._base import AbstractProbe, RunContext, RunState


class ErrorParts(NamedTuple):
    """The three parts of the mean squared error over all inputs; see `error_parts`."""

    variance: Float[Array, ""]
    misalignment: Float[Array, ""]
    linear: Float[Array, ""]

    @property
    def total(self) -> Float[Array, ""]:
        """The sum of the parts, which is the error."""
        return self.variance + self.misalignment + self.linear


@promoted
def error_parts(
    context: RunContext, statistics: Statistics, epsilon: Any, output_scale: Any
) -> ErrorParts:
    r"""The population error of $f(x) = \alpha (\bar w \cdot x + \frac\epsilon2 x^\top M x)$.

    For $x \sim N(0, I/D)$ and $y = \frac\tau2 (\beta \cdot x)^2$ the error is $A + B + C$ with
    $A = \frac14 ((\tau\|\beta\|^2 - \alpha\epsilon \operatorname{Tr} M)/D)^2$, $B =
    \|\alpha\epsilon M - \tau\beta\beta^\top\|_F^2 / (2D^2)$ and $C = \alpha^2 \|\bar w\|^2/D$.

    - **Source** Kumar et al., ICLR 2024, arXiv:2310.06110, where $\tau = 1$: "variance",
        "misalignment", "power in linear modes".
    """
    teacher = context.teacher
    assert teacher is not None  # ensured by `applies`
    dim = teacher.shape[0]
    quadratic = output_scale * epsilon * statistics.second
    gap = quadratic - jnp.outer(teacher, teacher)
    return ErrorParts(
        0.25 * ((teacher @ teacher - jnp.trace(quadratic)) / dim) ** 2,
        jnp.sum(gap**2) / (2 * dim**2),
        output_scale**2 * jnp.sum(statistics.mean**2) / dim,
    )


class CommitteeError(AbstractProbe):
    r"""The exact mean squared error over all inputs, or one of its parts; see `error_parts`."""

    meaning: ClassVar = (
        "exact mean squared error of a committee machine over all inputs, and its parts"
    )
    part: Literal["", "variance", "misalignment", "linear"] = eqx.field(static=True)

    @property
    def name(self) -> str:
        return f"error_{self.part}" if self.part else "population_error"

    @property
    def long_name(self) -> str:
        return f"population error: {self.part}" if self.part else "population error"

    def applies(self, context: RunContext) -> bool:
        return context.model.closes and context.teacher is not None

    @promoted
    def __call__(self, state: RunState, context: RunContext) -> Float[Array, ""]:
        model, statistics = context.model.statistics(state.params)
        parts = error_parts(context, statistics, model.epsilon, model.output_scale)
        found: Array = getattr(parts, self.part or "total")
        return found


class MeanWeight(AbstractProbe):
    r"""$\|\bar w\|_2$ of the mean weight of the neurons. The initial mean is not subtracted."""

    named: ClassVar = ("mean_weight_norm", "norm of the mean weight")
    meaning: ClassVar = r"$\lVert\bar w\rVert_2$ of the mean weight of the neurons of a committee"

    def applies(self, context: RunContext) -> bool:
        return context.model.closes

    @promoted
    def __call__(self, state: RunState, context: RunContext) -> Float[Array, ""]:
        return jnp.linalg.norm(_now(state, context).mean)


class SecondMoment(AbstractProbe):
    r"""$\operatorname{Tr} M$ or $\|M\|_F$ of the second moment of the neurons."""

    named: ClassVar = ("second_moment_{measure}", "{measure} of the second moment of weights")
    meaning: ClassVar = (
        r"$\operatorname{Tr} M$ and $\lVert M\rVert_F$ of the second moment of the neurons of a "
        "committee"
    )
    measure: Literal["trace", "norm"] = eqx.field(static=True)

    def applies(self, context: RunContext) -> bool:
        return context.model.closes

    @promoted
    def __call__(self, state: RunState, context: RunContext) -> Float[Array, ""]:
        second = _now(state, context).second
        return jnp.trace(second) if self.measure == "trace" else jnp.linalg.norm(second)


def _now(state: RunState, context: RunContext) -> Statistics:
    """Statistics of the current parameters, also if outputs are centred."""
    found = context.model.closed(state.params)
    return found.model.trained(found.params)

"""The linearised twin of a regression, in closed form at all times and in the limit."""

from typing import Any, ClassVar, Literal

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Shaped

from .._core.precision import promoted
from ..models import AbstractModel, Statistics
from ._base import AbstractProbe, RunContext, RunState
from .committee import error_parts


class Twin(eqx.Module):
    r"""The initial kernel in its eigenbasis, which determines the linearised twin at all times.

    In an eigenvector of $K_0$ with eigenvalue $s$, the residual on the training data shrinks as
    $e^{-2st/n}$, where $n$ includes the divisor of the loss.

    - `f_test`, `(m,)`, initial outputs; `values` and `vectors`, the eigendecomposition of the
        kernel; `residual`, labels minus initial outputs, in the eigenbasis; `cross`, `(m, n)`, the
        kernel between test and training inputs times the eigenvectors.
    """

    f_test: Float[Array, " m"]
    values: Float[Array, " n"]
    vectors: Float[Array, "n n"]
    residual: Float[Array, " n"]
    cross: Float[Array, "m n"]


def follows_twin(context: RunContext) -> bool:
    """Whether the twin has a closed form: squared loss, one output, no decay, known inputs."""
    return (
        not context.loss.is_classification
        and context.y_train.ndim == 1
        and context.x_train is not None
        and context.labels != "classes"
        and float(context.weight_decay) == 0
    )


@promoted
@jax.jit
def twin_of(
    model: AbstractModel,
    params: Any,
    x_train: Shaped[Array, "n d"],
    y_train: Float[Array, " n"],
    x_test: Shaped[Array, "m d"],
) -> Twin:
    """The twin of a model that starts at `params`."""
    if model.closes:
        model, params = model.closed(params)
    kernel, cross = model.kernels_onto(params, x_train, x_test)
    values, vectors = jnp.linalg.eigh(kernel)
    return Twin(
        f_test=model.apply(params, x_test),
        values=jnp.maximum(values, 0.0),
        vectors=vectors,
        residual=(y_train - model.apply(params, x_train)) @ vectors,
        cross=cross @ vectors,
    )


def gone(context: RunContext, time: Array) -> Float[Array, " n"]:
    r"""$(1 - e^{-2st/n})/s$: the time integral of the forces on the outputs, over residuals."""
    twin = _twin(context)
    rate = 2 * time / (twin.values.size * context.loss_divisor)
    small = twin.values * rate
    return rate * jnp.where(small > 0, -jnp.expm1(-small) / jnp.where(small > 0, small, 1), 1.0)


class _OfTwin(AbstractProbe):
    needs_inputs: ClassVar[bool] = True
    needs_twin: ClassVar[bool] = True

    def applies(self, context: RunContext) -> bool:
        return context.twin is not None


class TwinLoss(_OfTwin):
    r"""Mean squared error of the linearised twin on one `part` of the data.

    The twin is trained in the same way as the model. The result is equal to that of a run of
    [`linearise`][lazyrich.linearise], but in closed form. For squared loss, one output and no
    decay.

    - **Source** Kumar et al., ICLR 2024, arXiv:2310.06110: "linearized model".
    """

    named: ClassVar = ("twin_{part}_loss", "{part} loss of the linearised twin")
    meaning: ClassVar = "loss of the linearised twin, trained from the same initial parameters"
    part: Literal["train", "test"] = eqx.field(static=True)

    @promoted
    def __call__(self, state: RunState, context: RunContext) -> Float[Array, ""]:
        twin = _twin(context)
        share = gone(context, state.time) * twin.residual
        if self.part == "train":
            return jnp.mean((twin.residual - twin.values * share) ** 2)
        return jnp.mean((twin.f_test + twin.cross @ share - context.y_test) ** 2)


class KernelRegression(_OfTwin):
    r"""Error of ridgeless regression with $K_0$, from outputs of zero. It is constant in time.

    The error is measured on the test data. For a committee machine with frozen readouts it can be
    computed over all inputs, because the statistics of the interpolant are known.

    - **Source** Kumar et al., ICLR 2024, arXiv:2310.06110: kernel regression with the initial
        NTK, the constant line in every figure.
    """

    meaning: ClassVar = (
        "error of ridgeless regression with the initial kernel, on test data or over all inputs"
    )
    over: Literal["test", "population"] = eqx.field(static=True)

    @property
    def name(self) -> str:
        return f"kernel_regression_{'loss' if self.over == 'test' else 'error'}"

    @property
    def long_name(self) -> str:
        return f"{self.over} error of regression with the initial kernel"

    def applies(self, context: RunContext) -> bool:
        closes_here = context.model.closes and context.teacher is not None
        return super().applies(context) and (self.over == "test" or closes_here)

    @promoted
    def __call__(self, state: RunState, context: RunContext) -> Float[Array, ""]:
        twin = _twin(context)
        least = twin.values.size * jnp.finfo(twin.values.dtype).eps * twin.values[-1]
        known = twin.values > least
        weights = context.y_train @ twin.vectors
        weights = jnp.where(known, weights / jnp.where(known, twin.values, 1), 0.0)
        if self.over == "test":
            return jnp.mean((twin.cross @ weights - context.y_test) ** 2)
        model, _ = context.model.statistics(context.params)
        moved = moved_by(context, twin.vectors @ weights)
        return error_parts(context, moved, model.epsilon, model.output_scale).total


class TwinError(_OfTwin):
    """The exact population error of the linearised twin of a committee machine."""

    named: ClassVar = ("twin_population_error", "population error of the linearised twin")
    meaning: ClassVar = "exact mean squared error of the linearised twin over all inputs"

    def applies(self, context: RunContext) -> bool:
        return KernelRegression("population").applies(context)

    @promoted
    def __call__(self, state: RunState, context: RunContext) -> Float[Array, ""]:
        twin = _twin(context)
        forces = twin.vectors @ (gone(context, state.time) * twin.residual)
        model, start = context.model.statistics(context.params)
        moved = jax.tree.map(jnp.add, start, moved_by(context, forces))
        return error_parts(context, moved, model.epsilon, model.output_scale).total


def moved_by(context: RunContext, forces: Float[Array, " n"]) -> Statistics:
    """The change of the statistics under forces on the outputs, to first order from the start."""
    model, params = context.model.closed(context.params)
    x_train = context.x_train
    assert x_train is not None  # ensured by the twin
    _, pullback = jax.vjp(lambda p: model.apply(p, x_train), params)
    moved: Statistics = model.trained(model.mobility(params, pullback(forces)[0]))
    return moved


def _twin(context: RunContext) -> Twin:
    assert context.twin is not None  # made for every experiment with such a probe
    return context.twin

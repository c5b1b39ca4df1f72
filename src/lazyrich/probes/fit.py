"""Losses and accuracies."""

from typing import ClassVar, Literal

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float, Shaped

from .._core.precision import promoted
from ._base import AbstractProbe, RunContext, RunState

Part = Literal["train", "test"]


@promoted
def accuracy(f: Float[Array, " n *c"], y: Shaped[Array, " n"]) -> Float[Array, ""]:
    """Fraction of outputs that agree with their label.

    For labels that are signs, outputs are `(n,)` and should have the sign of the label; an output
    of zero counts 1/2. For classes, outputs are `(n, c)` and should be largest at the label; if k
    outputs are largest, each counts 1/k.
    """
    if f.ndim == 1:
        return jnp.mean(0.5 * (1 + jnp.sign(f * y)))
    largest = f == jnp.max(f, axis=1, keepdims=True)
    right = jnp.take_along_axis(largest, y[:, None].astype(jnp.int32), axis=1)[:, 0]
    return jnp.mean(right / jnp.sum(largest, axis=1))


class _Fit(AbstractProbe):
    part: Part = eqx.field(static=True)

    @property
    def scale_degree(self) -> int:
        return 0

    def pair(self, state: RunState, context: RunContext) -> tuple[Array, Array]:
        """Outputs and labels of the `part` of the data."""
        if self.part == "train":
            return state.f_train, context.y_train
        return state.f_test, context.y_test


class Loss(_Fit):
    """Mean loss over the samples of one `part` of the data, without weight decay."""

    named: ClassVar = ("{part}_loss", "{part} loss")
    meaning: ClassVar = "mean loss, without weight decay"

    @promoted
    def __call__(self, state: RunState, context: RunContext) -> Float[Array, ""]:
        return context.loss.mean(*self.pair(state, context))


class LogLoss(_Fit):
    """Natural logarithm of the mean loss, exact also if the loss underflows."""

    named: ClassVar = ("{part}_log_loss", "log of the {part} loss")
    meaning: ClassVar = "natural logarithm of the mean loss, exact also if the loss underflows"

    @promoted
    def __call__(self, state: RunState, context: RunContext) -> Float[Array, ""]:
        return context.loss.log_mean(*self.pair(state, context))


class Accuracy(_Fit):
    """Fraction of correct labels; see [`accuracy`][lazyrich.probes.accuracy]."""

    named: ClassVar = ("{part}_accuracy", "{part} accuracy")
    meaning: ClassVar = (
        "fraction of correct labels. For signs, an output of zero counts 1/2. For classes, if k "
        "outputs are largest, each counts 1/k"
    )

    def applies(self, context: RunContext) -> bool:
        return context.labels != "reals"

    @promoted
    def __call__(self, state: RunState, context: RunContext) -> Float[Array, ""]:
        return accuracy(*self.pair(state, context))

"""How well the data are fitted: losses and accuracies."""

from typing import ClassVar, Literal

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float, Shaped

from .._core.precision import promoted
from ._base import AbstractProbe, RunContext, RunState

Part = Literal["train", "test"]


@promoted
def accuracy(f: Float[Array, " n *c"], y: Shaped[Array, " n"]) -> Float[Array, ""]:
    """Fraction of outputs that name their label, ties shared out.

    For signs, outputs `(n,)` with the sign of their label; an output of zero is half right.
    For classes, outputs `(n, c)` largest at their label; of k largest each is 1/k right.
    """
    if f.ndim == 1:
        return jnp.mean(0.5 * (1 + jnp.sign(f * y)))
    largest = f == jnp.max(f, axis=1, keepdims=True)
    right = jnp.take_along_axis(largest, y[:, None].astype(jnp.int32), axis=1)[:, 0]
    return jnp.mean(right / jnp.sum(largest, axis=1))


class _Fit(AbstractProbe):
    part: Part = eqx.field(static=True)

    def pair(self, state: RunState, context: RunContext) -> tuple[Array, Array]:
        """Outputs and labels of this part of the data."""
        if self.part == "train":
            return state.f_train, context.y_train
        return state.f_test, context.y_test


class Loss(_Fit):
    """Mean loss over the samples of one `part`, without the decay term."""

    named: ClassVar = ("{part}_loss", "{part} loss")
    meaning: ClassVar = "mean loss, without the decay term"

    def __call__(self, state: RunState, context: RunContext) -> Float[Array, ""]:
        return context.loss.mean(*self.pair(state, context))


class LogLoss(_Fit):
    """Natural logarithm of the mean loss, exact where the loss itself underflows."""

    named: ClassVar = ("{part}_log_loss", "log of the {part} loss")
    meaning: ClassVar = "natural logarithm of the loss, exact also where the loss underflows"

    def __call__(self, state: RunState, context: RunContext) -> Float[Array, ""]:
        return context.loss.log_mean(*self.pair(state, context))


class Accuracy(_Fit):
    """Fraction of right labels, see [`accuracy`][lazyrich.probes.accuracy]."""

    named: ClassVar = ("{part}_accuracy", "{part} accuracy")
    meaning: ClassVar = (
        "fraction of right signs, where a zero output counts half, or of right classes, where "
        "ties count in equal shares; for labels that are signs or classes"
    )

    def applies(self, context: RunContext) -> bool:
        return context.labels != "reals"

    def __call__(self, state: RunState, context: RunContext) -> Float[Array, ""]:
        return accuracy(*self.pair(state, context))

"""Whether the scale of parameters matters: their cosine with the gradient of the loss."""

from dataclasses import replace
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from .._core.norms import tree_norm
from .._core.precision import promoted
from ._base import AbstractProbe, RunContext, RunState


class Invariance(AbstractProbe):
    r"""$|\langle\theta, g\rangle| / (\|\theta\|\,\|g\|)$ with the gradient $g$ of the loss.

    It is zero, up to rounding, for a scale-invariant net, $f(c\theta) = f(\theta)$ for $c > 0$,
    and then weight decay only changes the speed of training, see
    [normalised networks](../../explanation/normalised.md). It costs a gradient. NaN if the gradient
    or the parameters are zero.
    """

    named: ClassVar = ("invariance", "cosine between the parameters and their gradient")
    meaning: ClassVar = (
        r"$\lvert\langle\theta, g\rangle\rvert / (\lVert\theta\rVert\,\lVert g\rVert)$ "
        "with the gradient $g$ of the loss: 0 if the scale of all parameters together does not "
        "matter"
    )
    needs_inputs: ClassVar[bool] = True
    needs_forces: ClassVar[bool] = True

    @property
    def scale_degree(self) -> int:
        return 0

    def applies(self, context: RunContext) -> bool:
        # Statistics of other parameters move by their own law.
        model = context.model
        return context.x_train is not None and not (model.is_closed or model.has_mobility)

    @promoted
    def __call__(self, state: RunState, context: RunContext) -> Float[Array, ""]:
        return _cosine(state.params, _force(state, context))


class BlockInvariance(Invariance):
    r"""$|\langle\theta_b, g_b\rangle| / (\|\theta_b\|\,\|g_b\|)$ for each array of parameters $b$.

    It is zero for a block whose scale does not matter, $f(c\theta_b) = f(\theta_b)$. The
    [PyTorch monitor](../../how-to/watch-torch.md) records the same. The coordinate `block` names
    the arrays. Blocks that are invariant only together, such as weights and bias before a norm, are
    not seen here.
    """

    named: ClassVar = ("block_invariance", "cosine between a block and its gradient")
    meaning: ClassVar = (
        r"$\lvert\langle\theta_b, g_b\rangle\rvert / (\lVert\theta_b\rVert\,\lVert g_b\rVert)$ "
        "with the gradient $g_b$ of the loss: 0 for a block whose scale does not matter"
    )

    @property
    def dims(self) -> tuple[str, ...]:
        return ("block",)

    @promoted
    def __call__(self, state: RunState, context: RunContext) -> Float[Array, " b"]:
        pairs = zip(*map(jax.tree.leaves, (state.params, _force(state, context))), strict=True)
        return jnp.stack([_cosine(p, g) for p, g in pairs])


def _force(state: RunState, context: RunContext) -> Any:
    """The negative gradient of the training loss."""
    return replace(context, weight_decay=0.0).flow.vf(0.0, state.params, None)


def _cosine(params: Any, gradient: Any) -> Float[Array, ""]:
    parts = zip(*map(jax.tree.leaves, (params, gradient)), strict=True)
    sizes = tree_norm(params), tree_norm(gradient)
    # Each factor is scaled, because products of small gradients and parameters underflow.
    product = sum(jnp.sum((p / sizes[0]) * (g / sizes[1])) for p, g in parts)
    defined = (sizes[0] > 0) & (sizes[1] > 0)
    return jnp.where(defined, jnp.minimum(jnp.abs(product), 1.0), jnp.nan)

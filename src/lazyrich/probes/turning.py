"""How far and how fast the tangent kernel turns, whatever the number of outputs."""

from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ..dynamics import GradientFlow
from ..kernel import class_kernel, kernel_distance
from ._base import AbstractProbe, RunContext, RunState

# Training inputs on which the kernel is looked at.
_INPUTS = 64
# A step along the flow, over the parameters' norm, in which kinks are crossed as well.
_STEP = 1e-3


class KernelDistance(AbstractProbe):
    """How far the tangent kernel has turned from its start.

    The [`kernel_distance`][lazyrich.kernel.kernel_distance] of kernels summed over outputs, on at
    most 64 training inputs; zero as long as the kernel only grows or shrinks, as under pure
    decay of a homogeneous model.

    - **Source** Fort et al., NeurIPS 2020, arXiv:2010.15110: "kernel distance".
    """

    named: ClassVar = ("kernel_distance", "distance of the tangent kernel from its start")
    meaning: ClassVar = (
        r"$1 - \langle K_0, K_t\rangle / (\lVert K_0\rVert\,\lVert K_t\rVert)$ of the "
        "tangent kernel, summed over outputs, on 64 training inputs"
    )
    needs_inputs: ClassVar[bool] = True

    def applies(self, context: RunContext) -> bool:
        return context.x_train is not None

    def __call__(self, state: RunState, context: RunContext) -> Float[Array, ""]:
        start, now = (_kernel(context, p) for p in (context.params, state.params))
        return kernel_distance(start, now)


class KernelVelocity(KernelDistance):
    r"""How fast the tangent kernel turns: $\sqrt{2 S}/\Delta t$, in radians per time.

    $S$ is the [`kernel_distance`][lazyrich.kernel.kernel_distance] made by a step $\Delta t$ along
    gradient flow that moves the parameters by $10^{-3}$ of their norm: small, but long enough to
    cross kinks, through which alone a ReLU net's kernel changes in its slopes. For a
    smooth model it is $\|d\hat K/dt\|_F$ of $\hat K = K/\|K\|_F$. The kernel velocity of Fort et
    al. between records $\Delta t$ apart is then near $\frac12 v^2 \Delta t$. NaN at rest.

    - **Source** after Fort et al., NeurIPS 2020, arXiv:2010.15110: "kernel velocity".
    """

    named: ClassVar = ("kernel_velocity", "speed at which the tangent kernel turns")
    meaning: ClassVar = "speed at which the direction of this kernel changes, in radians per time"

    def __call__(self, state: RunState, context: RunContext) -> Float[Array, ""]:
        assert context.x_train is not None  # `applies` has made sure
        decay = jnp.asarray(context.weight_decay)
        flow = GradientFlow(
            context.x_train, context.y_train, decay, context.model, context.loss,
            context.loss_divisor,
        )  # fmt: skip
        slope = flow.vf(0.0, state.params, None)
        speed, size = (context.model.norm(p) for p in (slope, state.params))
        step = _STEP * size / speed
        ahead = jax.tree.map(lambda p, v: p + step * v, state.params, slope)
        now, then = (_kernel(context, p) for p in (state.params, ahead))
        return jnp.sqrt(2 * kernel_distance(now, then)) / step


def _kernel(context: RunContext, params: Any) -> Float[Array, "k k"]:
    x = context.x_train
    assert x is not None  # `applies` has made sure
    # Drawn, as data may come in some order.
    some = np.sort(np.random.default_rng(0).permutation(len(x))[:_INPUTS])
    return class_kernel(context.model, params, x[some])

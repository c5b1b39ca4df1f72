"""The direction of the tangent kernel: its distance from the start, and its velocity."""

from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from .._core.precision import promoted
from ..kernel import class_kernel, kernel_distance
from ._base import AbstractProbe, RunContext, RunState

# The number of training inputs on which the kernel is computed.
_INPUTS = 64
# The length of a step along the flow, over the norm of the parameters. It crosses kinks.
_STEP = 1e-3


class KernelDistance(AbstractProbe):
    """The distance of the tangent kernel from its initial value, up to a scalar factor.

    This is [`kernel_distance`][lazyrich.kernel.kernel_distance] of kernels summed over outputs, on
    at most 64 training inputs. It is zero as long as the kernel only changes by a factor, as
    under pure decay of a homogeneous model.

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

    @property
    def scale_degree(self) -> int | None:
        return 0

    @promoted
    def __call__(self, state: RunState, context: RunContext) -> Float[Array, ""]:
        start, now = (_kernel(context, p) for p in (context.params, state.params))
        return kernel_distance(start, now)


class KernelVelocity(KernelDistance):
    r"""The rate at which the direction of the tangent kernel changes: $\sqrt{2 S}/\Delta t$.

    In radians per time. $S$ is the [`kernel_distance`][lazyrich.kernel.kernel_distance] of a step
    $\Delta t$ along gradient flow that moves the parameters by $10^{-3}$ of their norm. The step is
    small but crosses kinks. The slopes in the kernel of a ReLU net change only at kinks. For a
    smooth model the rate is $\|d\hat K/dt\|_F$ with $\hat K = K/\|K\|_F$. The kernel velocity of
    Fort et al. between records $\Delta t$ apart is approximately $\frac12 v^2 \Delta t$ for a rate
    $v$. NaN if the parameters do not move.

    - **Source** after Fort et al., NeurIPS 2020, arXiv:2010.15110: "kernel velocity".
    """

    named: ClassVar = ("kernel_velocity", "speed at which the tangent kernel turns")
    meaning: ClassVar = "rate of change of the direction of this kernel, in radians per time"
    needs_forces: ClassVar[bool] = True

    @property
    def scale_degree(self) -> None:
        return None  # a rate also changes with the clock

    @promoted
    def __call__(self, state: RunState, context: RunContext) -> Float[Array, ""]:
        slope = context.flow.vf(0.0, state.params, None)
        speed, size = (context.model.norm(p) for p in (slope, state.params))
        step = _STEP * size / speed
        ahead = jax.tree.map(lambda p, v: p + step * v, state.params, slope)
        now, then = (_kernel(context, p) for p in (state.params, ahead))
        return jnp.sqrt(2 * kernel_distance(now, then)) / step


def _kernel(context: RunContext, params: Any) -> Float[Array, "k k"]:
    x = context.x_train
    assert x is not None  # ensured by `applies`
    # A random choice, because the data may be sorted.
    some = np.sort(np.random.default_rng(0).permutation(len(x))[:_INPUTS])
    return class_kernel(context.model, params, x[some])

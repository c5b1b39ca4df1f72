"""The kernel flow: training in first order around the decayed initial parameters."""

import math
from typing import Any

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from jaxtyping import Array, Float, Shaped

from .._core.norms import rms
from ..dynamics import Problem
from ..losses import AbstractLoss
from ..models import AbstractModel
from .kernel import AbstractKernel, kernel_of, push


class KernelFlow(diffrax.AbstractTerm[Any, Any]):
    r"""$\dot v = -a v + e^{-bt} s(f)/n$ with $f = g(t) + K v$.

    For a model of degree $L$, $\theta = e^{-\lambda t}(\theta_0 + J^\top c)$, and $v = e^{-L\lambda
    t} c$ is the decayed dual: $a = L\lambda$, $b = (2L-2)\lambda$ and $g = e^{-L\lambda t} f_0$.
    Without decay $a = b = 0$ for every model. With decay and without a degree the expansion is
    $\theta = e^{-\lambda t}\theta_0 + J^\top v$, valid for $\lambda t \ll 1$. Then $a = \lambda$,
    $b = 0$ and $g = f_0 - (1 - e^{-\lambda t}) J\theta_0$.
    """

    kernel: AbstractKernel
    y: Shaped[Array, " n ..."]
    f_start: Float[Array, " n *c"]
    f_decayed: Float[Array, " n *c"]  # J theta_0 if the model has no degree, else zero
    weight_decay: Float[Array, ""]
    degree: Float[Array, ""]  # NaN for none
    num_samples: Float[Array, ""]
    loss: AbstractLoss = eqx.field(static=True)

    @property
    def has_degree(self) -> Array:
        return jnp.isfinite(self.degree)

    @property
    def loss_rate(self) -> Array:
        """$a$."""
        return self.weight_decay * jnp.where(self.has_degree, self.degree, 1.0)

    @property
    def kernel_rate(self) -> Array:
        """$b$, the decay rate of the kernel."""
        return self.weight_decay * jnp.where(self.has_degree, 2 * self.degree - 2, 0.0)

    @property
    def start_rate(self) -> Array:
        """The decay rate of the initial outputs."""
        return self.weight_decay * jnp.where(self.has_degree, self.degree, 0.0)

    def offset(self, t: Any) -> Float[Array, " n *c"]:
        """$g$, the outputs at $v = 0$."""
        gone = jnp.expm1(-self.weight_decay * t)
        return jnp.exp(-self.start_rate * t) * self.f_start + gone * self.f_decayed

    def outputs(self, t: Any, v: Float[Array, " m"]) -> Float[Array, " n *c"]:
        return self.offset(t) + self.kernel.product(v).reshape(self.f_start.shape)

    def force(self, t: Any, f: Float[Array, " n *c"]) -> Float[Array, " m"]:
        shrink = jnp.exp(-self.kernel_rate * t) / self.num_samples
        return shrink * jnp.ravel(self.loss.dual(f, self.y))

    def vf(self, t: Any, y: Float[Array, " m"], args: Any) -> Float[Array, " m"]:
        del args
        return -self.loss_rate * y + self.force(t, self.outputs(t, y))

    def contr(self, t0: Any, t1: Any, **kwargs: Any) -> Any:
        return t1 - t0

    def prod(self, vf: Array, control: Any) -> Array:
        return control * vf


# Compiled once for all problems of the same shape.
_push = jax.jit(push)


@jax.jit
def _apply(model: AbstractModel, params: Any, x: Shaped[Array, "n d"]) -> Float[Array, " n *c"]:
    return model.apply(params, x)


@eqx.filter_jit
def _product(flow: KernelFlow, v: Float[Array, " m"]) -> Float[Array, " m"]:
    return flow.kernel.product(v)


def kernel_flow(problem: Problem, kernel: AbstractKernel | None = None) -> KernelFlow:
    """The kernel flow of a problem from its initial parameters."""
    model, params, x = problem.model, problem.params, problem.train.x
    degree, decay = model.homogeneity, float(problem.weight_decay)
    if decay == 0:
        degree = 2.0  # has no effect without decay
    f_start = _apply(model, params, x)
    f_decayed = jnp.zeros_like(f_start)
    if degree is None:
        f_decayed = _push(model, params, x, model.decayed(params))
    return KernelFlow(
        kernel=kernel_of(problem) if kernel is None else kernel,
        y=problem.train.y,
        f_start=f_start,
        f_decayed=f_decayed,
        weight_decay=jnp.asarray(decay),
        degree=jnp.asarray(math.nan if degree is None else float(degree)),
        num_samples=jnp.asarray(x.shape[0] * float(problem.loss_divisor)),
        loss=problem.loss,
    )


def rates(flow: KernelFlow) -> tuple[float, float]:
    """The initial speed of the outputs, and the initial rate at which the force decreases."""
    force = jnp.ravel(flow.loss.dual(flow.f_start, flow.y)) / flow.num_samples
    moved = _product(flow, force)
    size = float(jnp.vdot(force, force))
    if size == 0 or float(jnp.max(jnp.abs(moved))) == 0:
        return 0.0, 0.0
    speed = float(jnp.sqrt(jnp.mean(moved**2)))
    return speed, float(jnp.vdot(force, moved)) / size / float(flow.num_samples)


# Power iterations for the largest eigenvalue of the kernel, accurate to a few per cent.
_POWERS = 12


def fastest(flow: KernelFlow) -> float:
    """The rate of the fastest mode of the outputs for a loss of curvature one."""
    v = jr.normal(jr.key(0), (flow.f_start.size,), flow.f_start.dtype)
    size = 0.0
    for _ in range(_POWERS):
        moved = _product(flow, v / jnp.linalg.norm(v))
        size = float(jnp.linalg.norm(moved))
        if not size > 0:
            return 0.0
        v = moved
    return size / float(flow.num_samples)


# For a model linear in its parameters, in units of 1/lambda: by this time initial outputs of order
# one have decayed to less than 1e-5.
_SETTLED = 12.0


# Above this, in units of 1/(L lambda), factors like exp(L lambda t) leave the range of floats.
LARGEST = 300.0


def horizon(flow: KernelFlow, t1: float, rate: float, linear: bool) -> float:
    r"""The time up to which the kernel flow is solved.

    With decay this is the time at which the kernel is too weak to keep outputs of order one against
    the decay, $(1/\lambda)(1 + \log(1 + \kappa/n\lambda) / (2L - 2))$ with $\kappa/n$ = `rate`, or
    `t1` if that is later. Without decay it is `t1`. For a model linear in its parameters, with
    decay, it is the time at which the initial parameters have decayed, or `t1`.
    """
    decay = float(flow.weight_decay)
    if decay == 0:
        return t1
    if linear:
        unit = flow.loss.typical_output(flow.f_start.shape, flow.y)
        larger = max(0.0, math.log(max(float(rms(flow.f_start)) / unit, 1e-300)))
        return max(t1, (_SETTLED + larger) / decay)
    if not bool(flow.has_degree):
        return 3 / decay
    degree = float(flow.degree)
    power = max(2 * degree - 2, 1.0)
    weak = (1 + math.log1p(rate / decay) / power) / decay
    return max(weak, min(t1, LARGEST / (degree * decay)))


def grid(
    flow: KernelFlow, t1: float, until: float, speed: float, fast: float, linear: bool
) -> Float[np.ndarray, " t"]:
    """Times of output: 0, `t1`, times evenly spaced in log time from before the fit on, and times
    evenly spaced in time.

    - **Takes** `speed`, the initial speed of the outputs; `fast`, the rate of the fastest mode.
    """
    # Outputs of a classifier have a natural size, one. Those of a regression have the size of the
    # labels.
    first = 0.01 / max(speed, 1e-300) if flow.loss.is_classification else math.inf
    first = max(min(first, 0.02 / max(fast, 1e-300), 0.1 * min(t1, until)), 1e-12 * until)
    if float(flow.weight_decay) == 0:
        num = 161 if linear else 121
        return np.union1d([0.0], np.geomspace(first, until, num))
    spaced = np.geomspace(first, until, 161 if linear else 61)
    return np.union1d([min(t1, until)], np.union1d(spaced, np.linspace(0.0, until, 101)))

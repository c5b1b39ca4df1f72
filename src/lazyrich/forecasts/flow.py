"""The kernel flow: training as the first-order expansion around the decayed start sees it."""

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

    For a model of degree $L$, $\theta = e^{-\lambda t}(\theta_0 + J^\top c)$ and $v = e^{-L\lambda
    t} c$ is the dual at its present size: $a = L\lambda$, $b = (2L-2)\lambda$ and $g = e^{-L\lambda
    t} f_0$. With no decay $a = b = 0$, whatever the model. With decay and no degree, $\theta =
    e^{-\lambda t}\theta_0 + J^\top v$ is as good an expansion as there is: $a = \lambda$, $b = 0$
    and $g = f_0 - (1 - e^{-\lambda t}) J\theta_0$, while $\lambda t \ll 1$.

    - **Takes** `targets`, those of the squared loss.
    """

    kernel: AbstractKernel
    y: Shaped[Array, " n ..."]
    f_start: Float[Array, " n *c"]
    f_decayed: Float[Array, " n *c"]  # J theta_0 where the model has no degree, else zero
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
        """$b$, at which the kernel shrinks."""
        return self.weight_decay * jnp.where(self.has_degree, 2 * self.degree - 2, 0.0)

    @property
    def start_rate(self) -> Array:
        """At which the outputs of the start shrink."""
        return self.weight_decay * jnp.where(self.has_degree, self.degree, 0.0)

    def offset(self, t: Any) -> Float[Array, " n *c"]:
        """$g$, the outputs without a dual."""
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


# Compiled once for all problems of a shape.
_push = jax.jit(push)


@jax.jit
def _apply(model: AbstractModel, params: Any, x: Shaped[Array, "n d"]) -> Float[Array, " n *c"]:
    return model.apply(params, x)


@eqx.filter_jit
def _product(flow: KernelFlow, v: Float[Array, " m"]) -> Float[Array, " m"]:
    return flow.kernel.product(v)


def kernel_flow(problem: Problem, kernel: AbstractKernel | None = None) -> KernelFlow:
    """The kernel flow of a problem from its start."""
    model, params, x = problem.model, problem.params, problem.train.x
    degree, decay = model.homogeneity, float(problem.weight_decay)
    if decay == 0:
        degree = 2.0  # of no consequence
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
    """The speed of the outputs at the start and the rate at which that force is used up."""
    force = jnp.ravel(flow.loss.dual(flow.f_start, flow.y)) / flow.num_samples
    moved = _product(flow, force)
    size = float(jnp.vdot(force, force))
    if size == 0 or float(jnp.max(jnp.abs(moved))) == 0:
        return 0.0, 0.0
    speed = float(jnp.sqrt(jnp.mean(moved**2)))
    return speed, float(jnp.vdot(force, moved)) / size / float(flow.num_samples)


# Powers of the kernel for its largest eigenvalue, found to a few per cent.
_POWERS = 12


def fastest(flow: KernelFlow) -> float:
    """The rate at which the fastest mode of the outputs moves under a loss of curvature one."""
    v = jr.normal(jr.key(0), (flow.f_start.size,), flow.f_start.dtype)
    size = 0.0
    for _ in range(_POWERS):
        moved = _product(flow, v / jnp.linalg.norm(v))
        size = float(jnp.linalg.norm(moved))
        if not size > 0:
            return 0.0
        v = moved
    return size / float(flow.num_samples)


# Of a model that is linear in its parameters, in units of 1/lambda: outputs of order one that come
# from the initial parameters have decayed to less than 1e-5.
_SETTLED = 12.0


# Beyond, in units of 1/lambda, factors like exp(L lambda t) leave the range of numbers.
_LARGEST = 300.0


def horizon(flow: KernelFlow, t1: float, rate: float, linear: bool) -> float:
    r"""Until when the kernel flow is of interest.

    With decay, until the kernel is too weak to hold outputs of order one against it,
    $(1/\lambda)(1 + \log(1 + \kappa/n\lambda) / (2L - 2))$, or until `t1`; without, as long as
    the run. Where the model is linear in its parameters, with decay, until the initial parameters
    are gone.
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
    return max(weak, min(t1, _LARGEST / (degree * decay)))


def grid(
    flow: KernelFlow, t1: float, until: float, speed: float, fast: float, linear: bool
) -> Float[np.ndarray, " t"]:
    """Times to look at: 0 and `t1`, evenly spaced in log time from before the fit on, and evenly.

    - **Takes** `speed`, of the outputs at the start; `fast`, the rate of the fastest mode.
    """
    # An output of classification has a size of its own, one of regression has that of its label.
    first = 0.01 / max(speed, 1e-300) if flow.loss.is_classification else math.inf
    first = max(min(first, 0.02 / max(fast, 1e-300), 0.1 * min(t1, until)), 1e-12 * until)
    if float(flow.weight_decay) == 0:
        num = 161 if linear else 121
        return np.union1d([0.0], np.geomspace(first, until, num))
    spaced = np.geomspace(first, until, 161 if linear else 61)
    return np.union1d([min(t1, until)], np.union1d(spaced, np.linspace(0.0, until, 101)))

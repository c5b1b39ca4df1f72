"""The kernel flow: training as the first-order expansion around the decayed start sees it."""

import math
from typing import Any, NamedTuple

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from jaxtyping import Array, Float, Shaped

from .._dynamics import Problem, _march
from .._dynamics._clock import LinearClock
from .._dynamics._solver import RKC2, Linearisation, Rodas5P
from .._dynamics._status import CROSSED, ENDINGS, RUNNING
from .._losses import AbstractLoss, Squared
from .._models import AbstractModel
from .kernel import AbstractKernel, Dense, Passes, Repeated, kernel_of, push


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


@eqx.filter_jit
def _observed(
    observe: Any, times: Float[Array, " t"], duals: Float[Array, "t m"]
) -> dict[str, Array]:
    return jax.lax.map(lambda row: observe(*row), (times, duals))


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


class Solved(NamedTuple):
    """Duals at times: `v` of shape `(t, m)`; what was observed; how it was done."""

    times: Float[np.ndarray, " t"]
    duals: Float[np.ndarray, "t m"]
    observed: Any
    method: str
    num_steps: int
    ending: str


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
        wanted = 0.5 * flow.loss.dual(jnp.zeros_like(flow.f_start), flow.y)
        unit = 1.0 if flow.loss.is_classification else float(_rms(wanted)) or 1.0
        larger = max(0.0, math.log(max(float(_rms(flow.f_start)) / unit, 1e-300)))
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


@eqx.filter_jit
def _exact(flow: KernelFlow, targets: Array, fine: Float[Array, "t s"]) -> Float[Array, "t m"]:
    r"""The squared loss, mode by mode: with $d\sigma = \frac2n e^{-bt} dt$ and $c = e^{at} v$,
    $dc/d\sigma = e^{at}(y - g) - \kappa c$, whose forcing is taken linear between two times."""
    kernel = flow.kernel
    assert isinstance(kernel, Dense | Repeated)
    matrix = kernel.matrix if isinstance(kernel, Dense) else kernel.block
    values, vectors = jnp.linalg.eigh(matrix)
    values = jnp.maximum(values, 0.0)[:, None]

    def modes(f: Array) -> Array:
        return vectors.T @ f.reshape(values.shape[0], -1)

    want, start, decayed = map(modes, (targets, flow.f_start, flow.f_decayed))
    a, b = flow.loss_rate, flow.kernel_rate

    def forcing(t: Array) -> Array:
        gone = jnp.expm1(-flow.weight_decay * t)
        return want - jnp.exp(-flow.start_rate * t) * start - gone * decayed

    def step(carry: tuple[Array, Array], t: Array) -> tuple[tuple[Array, Array], None]:
        before, v = carry
        span = t - before
        safe = jnp.where(b > 0, b, 1.0)
        clock = jnp.where(b > 0, -jnp.expm1(-b * span) / safe, span)
        clock = clock * 2 * jnp.exp(-b * before) / flow.num_samples
        z = values * clock
        # (1 - e^-z)/z, and (1 - that)/z, which cancels: by its series where z is small.
        tiny, big = jnp.maximum(z, 1e-300), jnp.maximum(z, 1e-3)
        first = jnp.where(z > 1e-300, -jnp.expm1(-z) / tiny, 1.0)
        second = jnp.where(z > 1e-3, (1 + jnp.expm1(-big) / big) / big, 0.5 - z / 6 + z**2 / 24)
        shrink = jnp.exp(-a * span)
        left, right = shrink * forcing(before), forcing(t)
        v = shrink * jnp.exp(-z) * v + clock * (first * left + second * (right - left))
        return (t, v), None

    def record(carry: tuple[Array, Array], some: Array) -> tuple[tuple[Array, Array], Array]:
        carry, _ = jax.lax.scan(step, carry, some)
        return carry, jnp.ravel(vectors @ carry[1])

    return jax.lax.scan(record, (jnp.zeros(()), jnp.zeros_like(want)), fine)[1]


def solve(flow: KernelFlow, times: Float[np.ndarray, " t"], observe: Any, stop_at: float) -> Solved:
    """Follows the kernel flow over `times`, or until what is observed as `indicator` is far enough.

    - **Takes** `observe(time, v)`, giving a dictionary of numbers.
    """
    if isinstance(flow.loss, Squared) and not isinstance(flow.kernel, Passes):
        return _solve_exactly(flow, times, observe, stop_at)
    dense = isinstance(flow.kernel, Dense)
    speed, _ = rates(flow)
    unit = 1.0
    if not flow.loss.is_classification:
        unit = float(jnp.sqrt(jnp.mean((0.5 * flow.loss.dual(0 * flow.f_start, flow.y)) ** 2)))
    requests = jnp.asarray(times)
    system = _march.System(
        terms=flow,
        solver=Rodas5P(_Linearise(unit)) if dense else RKC2(),
        requests=requests,
        horizon=requests[-1],
        clock=LinearClock(),
        observe=_Seen(observe),
        measure=_Measure(jnp.asarray(1e-4 if dense else 1e-3), None if dense else flow,
                         jnp.asarray(unit)),
        stop=_march.Stop(jnp.asarray(stop_at), jnp.ones(()), 1, "indicator"),
        resolution=jnp.ones(()),
        stationary=jnp.zeros(()),
        decay=flow.weight_decay,
        max_steps=jnp.asarray(4096),
        max_gradients=jnp.asarray(2**62),
        moving=None,
        max_extra=0,
        args=flow,
    )  # fmt: skip
    first = 1e-2 * min(unit / speed if speed > 0 else math.inf, float(times[-1]))
    march = _march.start(system, jnp.zeros(flow.f_start.size), jnp.asarray(first))
    while int(march.status) == RUNNING:
        march = _march.advance_one(system, march)
    num = int(march.num_saved)
    seen = {key: np.asarray(value)[:num] for key, value in march.values.items() if key != "dual"}
    return Solved(
        times=np.asarray(march.times)[:num],
        duals=np.asarray(march.values["dual"])[:num],
        observed=seen,
        method="Rodas5P" if dense else "RKC2",
        num_steps=int(march.num_accepted) + int(march.num_rejected),
        ending="completed" if int(march.status) == CROSSED else ENDINGS[int(march.status)],
    )


# Times of the squared loss's kernel flow that are observed in one call.
_AT_ONCE = 32
# Between two of these in units of 1/lambda the squared loss's forcing is taken linear.
_FINE = 1 / 256


def _solve_exactly(
    flow: KernelFlow, times: Float[np.ndarray, " t"], observe: Any, stop_at: float
) -> Solved:
    targets = 0.5 * flow.loss.dual(jnp.zeros_like(flow.f_start), flow.y)
    spans = np.diff(times, prepend=0.0)
    num = 1 + int(float(flow.weight_decay) * np.max(spans) / _FINE)
    fine = (times - spans)[:, None] + spans[:, None] * (np.arange(1, num + 1) / num)
    # A NumPy array: taking a JAX array apart compiles a program of as many outputs.
    duals = np.asarray(_exact(flow, targets, jnp.asarray(fine)))
    parts: list[dict[str, np.ndarray]] = []
    reached = 0
    for begin in range(0, len(times), _AT_ONCE):
        some = np.minimum(np.arange(begin, begin + _AT_ONCE), len(times) - 1)
        now = _observed(observe, jnp.asarray(times[some]), jnp.asarray(duals[some]))
        parts.append({key: np.asarray(value) for key, value in now.items()})
        over = np.flatnonzero(parts[-1]["indicator"] >= stop_at)
        reached = min(begin + (over[0] + 1 if len(over) else _AT_ONCE), len(times))
        if len(over):
            break
    seen = {key: np.concatenate([part[key] for part in parts])[:reached] for key in parts[0]}
    return Solved(
        times[:reached], duals[:reached], seen, "by eigenvectors", reached * num, "completed"
    )


class _Seen(eqx.Module):
    """What a record of the march holds: the dual beside the numbers observed."""

    observe: Any

    def __call__(self, time: Array, v: Array) -> dict[str, Array]:
        return {"dual": v, **self.observe(time, v)}


class _Measure(eqx.Module):
    """The error of a step over what is allowed: of outputs, and of the dual itself."""

    rtol: Float[Array, ""]
    flow: KernelFlow | None  # None where the solver has measured
    unit: Float[Array, ""]

    def __call__(self, y0: Array, y1: Array, error: Array) -> Array:
        del y0
        if self.flow is None:
            return _rms(error) / self.rtol
        seen = _rms(self.flow.kernel.product(error)) / self.unit
        return jnp.maximum(seen, _rms(error) / jnp.maximum(_rms(y1), 1e-300)) / self.rtol


def _rms(values: Array) -> Array:
    return jnp.sqrt(jnp.mean(values**2))


class _Linearise(eqx.Module):
    """The field's derivatives, for a dense kernel; equal to another of the same unit."""

    unit: float

    def __call__(self, t: Any, v: Array, flow: KernelFlow) -> Linearisation:
        kernel, unit = flow.kernel, self.unit
        assert isinstance(kernel, Dense)
        f, shape = flow.outputs(t, v), flow.f_start.shape
        shrink = jnp.exp(-flow.kernel_rate * t) / flow.num_samples

        def bent(column: Array) -> Array:
            """The loss's curvature times a change of outputs."""
            half = flow.loss.curvature_root_transposed(f, flow.y, column.reshape(shape))
            return jnp.ravel(flow.loss.curvature_root(f, flow.y, half))

        force = flow.force(t, f)
        drift = -flow.start_rate * jnp.exp(-flow.start_rate * t) * flow.f_start
        drift -= flow.weight_decay * jnp.exp(-flow.weight_decay * t) * flow.f_decayed
        jacobian = -shrink * jax.vmap(bent, in_axes=1, out_axes=1)(kernel.matrix)
        jacobian -= flow.loss_rate * jnp.eye(v.size)
        scale = jnp.mean(jnp.diagonal(kernel.matrix))

        def measure(error: Array) -> Array:
            seen = (kernel.matrix @ error) / (unit + jnp.abs(jnp.ravel(f)))
            return jnp.hypot(seen, error / (unit / scale + _rms(v)))

        slope = -flow.kernel_rate * force - shrink * bent(drift)
        return Linearisation(-flow.loss_rate * v + force, slope, jacobian, measure)

"""Solvers of the kernel flow: by eigenvectors for the squared loss, in steps for other losses."""

import math
from dataclasses import dataclass
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from .._core.norms import rms
from .._integrate import stepping as _stepping
from .._integrate.clock import LinearClock
from .._integrate.status import CROSSED, ENDINGS, RUNNING
from .._integrate.stop import Stop
from ..solvers import RKC2, Linearisation, Rodas5P
from .flow import KernelFlow, rates


@eqx.filter_jit
def _observed(
    observe: Any, times: Float[Array, " t"], duals: Float[Array, "t m"]
) -> dict[str, Array]:
    return jax.lax.map(lambda row: observe(*row), (times, duals))


# How the solve ends if double precision does not determine the kernel flow.
UNRESOLVED = "unresolved"


@dataclass(frozen=True)
class Solved:
    """A solution: the duals $v$ at `times`, shape `(t, m)`, observed numbers, and the method."""

    times: Float[np.ndarray, " t"]
    duals: Float[np.ndarray, "t m"]
    observed: Any
    method: str
    num_steps: int
    ending: str


class Spectrum(NamedTuple):
    """The spectrum of a stored kernel. Eigenvalues up to `round_off` are not resolved."""

    values: Float[Array, " k"]
    vectors: Float[Array, "k k"]
    round_off: Float[Array, ""]


@jax.jit
def _spectrum(matrix: Float[Array, "k k"]) -> Spectrum:
    values, vectors = jnp.linalg.eigh(matrix)
    return Spectrum(values, vectors, values.size * jnp.finfo(values.dtype).eps * values[-1])


@eqx.filter_jit
def _exact(
    flow: KernelFlow, spectrum: Spectrum, targets: Array, fine: Float[Array, "t s"]
) -> Float[Array, "t m"]:
    r"""The duals for a loss of constant curvature $q$ (2 for the squared loss), by eigenvectors.

    With $d\sigma = \frac qn e^{-bt} dt$ and $c = e^{at} v$, each mode obeys $dc/d\sigma =
    e^{at}(y - g) - \kappa c$, where $\kappa$ is the eigenvalue of the kernel. The forcing is taken
    as linear between two times. An eigenvalue that is round-off is taken as zero.
    """
    curvature = flow.loss.constant_curvature
    assert curvature is not None
    vectors, values = spectrum.vectors, spectrum.values[:, None]
    values = jnp.where(values > spectrum.round_off, values, 0.0)

    def modes(f: Array) -> Array:
        return vectors.T @ f.reshape(len(vectors), -1)

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
        clock = clock * curvature * jnp.exp(-b * before) / flow.num_samples
        z = values * clock
        # first = (1 - e^-z)/z and second = (1 - first)/z. The latter cancels for small z, where its
        # series is used.
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


# An error of the outputs, relative to the labels, that does not matter; and the growth of a mode
# over the horizon, in units of its time constant, that does not matter.
_SLIGHT, _GROWTH = 0.03, 0.01


@eqx.filter_jit
def _lost(
    flow: KernelFlow, spectrum: Spectrum, targets: Array, v: Float[Array, " m"], growth: Array
) -> Array:
    """The error of the outputs at the dual `v` due to round-off, relative to the labels.

    It is that of the product $K v$, and the whole force on modes that are not resolved, if their
    outputs can move.

    - **Takes** `growth`, the largest possible growth of these modes, in units of a time constant.
    """
    vectors = spectrum.vectors

    def modes(f: Array) -> Array:
        return vectors.T @ f.reshape(len(vectors), -1)

    product = flow.kernel.product(v).reshape(len(vectors), -1)
    values = spectrum.values[:, None]
    found = values > spectrum.round_off
    error = rms(product - vectors @ (jnp.where(found, values, 0.0) * modes(v)))
    left = vectors @ jnp.where(found, 0.0, modes(targets - flow.f_start))
    error = jnp.hypot(error, jnp.where(growth > _GROWTH, rms(left), 0.0))
    size = rms(targets)
    return error / jnp.maximum(jnp.where(size > 0, size, rms(flow.f_start)), 1e-300)


def solve(flow: KernelFlow, times: Float[np.ndarray, " t"], observe: Any, stop_at: float) -> Solved:
    """Solves the kernel flow over `times`, or until the observed `indicator` reaches `stop_at`.

    - **Takes** `observe(time, v)`, which returns a dictionary of numbers.
    """
    if flow.loss.constant_curvature is not None:
        matrix = flow.kernel.held
        if matrix is not None:
            return _solve_exactly(flow, _spectrum(matrix), times, observe, stop_at)
    dense = flow.kernel.whole is not None
    speed, _ = rates(flow)
    unit = flow.loss.typical_output(flow.f_start.shape, flow.y)
    requests = jnp.asarray(times)
    system = _stepping.System(
        terms=flow,
        solver=Rodas5P(_Linearise(unit)) if dense else RKC2(),
        requests=requests,
        horizon=requests[-1],
        clock=LinearClock(),
        observe=_Seen(observe),
        measure=_Measure(jnp.asarray(1e-4 if dense else 1e-3), None if dense else flow,
                         jnp.asarray(unit)),
        stop=Stop(jnp.asarray(stop_at), jnp.ones(()), 1, "indicator"),
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
    state = _stepping.start(system, jnp.zeros(flow.f_start.size), jnp.asarray(first))
    while int(state.status) == RUNNING:
        state = _stepping.advance_one(system, state)
    num = int(state.num_saved)
    seen = {key: np.asarray(value)[:num] for key, value in state.values.items() if key != "dual"}
    return Solved(
        times=np.asarray(state.times)[:num],
        duals=np.asarray(state.values["dual"])[:num],
        observed=seen,
        method="Rodas5P" if dense else "RKC2",
        num_steps=int(state.num_accepted) + int(state.num_rejected),
        ending="completed" if int(state.status) == CROSSED else ENDINGS[int(state.status)],
    )


# For the squared loss: the number of times that are observed in one call.
_AT_ONCE = 32


# For the squared loss: the step, in units of 1/lambda, over which the forcing is taken as linear.
_FINE = 1 / 256
# If the kernel does not shrink, the solution is constant to e^-60 after this time, in units of
# 1/lambda.
_STILL = 60.0


def _solve_exactly(
    flow: KernelFlow,
    spectrum: Spectrum,
    times: Float[np.ndarray, " t"],
    observe: Any,
    stop_at: float,
) -> Solved:
    curvature = flow.loss.constant_curvature
    assert curvature is not None
    targets = flow.loss.dual(jnp.zeros_like(flow.f_start), flow.y) / curvature
    decay, solved = float(flow.weight_decay), times
    if decay > 0 and float(flow.kernel_rate) == 0:
        solved = np.minimum(times, _STILL / decay)
    spans = np.diff(solved, prepend=0.0)
    num = 1 + int(decay * np.max(spans) / _FINE)
    fine = (solved - spans)[:, None] + spans[:, None] * (np.arange(1, num + 1) / num)
    # A NumPy array, because splitting a JAX array compiles a program with as many outputs.
    duals = np.asarray(_exact(flow, spectrum, targets, jnp.asarray(fine)))
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
    last, shrinks = float(solved[reached - 1]), float(flow.kernel_rate)
    clock = last if shrinks == 0 else -math.expm1(-shrinks * last) / shrinks
    growth = spectrum.round_off * clock * curvature / flow.num_samples
    lost = _lost(flow, spectrum, targets, jnp.asarray(duals[reached - 1]), growth)
    ending, num_steps = "completed" if lost <= _SLIGHT else UNRESOLVED, int(reached) * num
    return Solved(times[:reached], duals[:reached], seen, "by eigenvectors", num_steps, ending)


class _Seen(eqx.Module):
    """The saved values: the dual and the observed numbers."""

    observe: Any

    def __call__(self, time: Array, v: Array) -> dict[str, Array]:
        return {"dual": v, **self.observe(time, v)}


class _Measure(eqx.Module):
    """The error of a step over its tolerance, the larger of that of the outputs and of the dual."""

    rtol: Float[Array, ""]
    flow: KernelFlow | None  # None if the solver has measured the error
    unit: Float[Array, ""]

    def __call__(self, y0: Array, y1: Array, error: Array) -> Array:
        del y0
        if self.flow is None:
            return rms(error) / self.rtol
        seen = rms(self.flow.kernel.product(error)) / self.unit
        return jnp.maximum(seen, rms(error) / jnp.maximum(rms(y1), 1e-300)) / self.rtol


class _Linearise(eqx.Module):
    """The derivatives of the field, for a dense kernel. Instances of equal `unit` are equal."""

    unit: float

    def __call__(self, t: Any, v: Array, flow: KernelFlow) -> Linearisation:
        matrix, unit = flow.kernel.whole, self.unit
        assert matrix is not None
        f, shape = flow.outputs(t, v), flow.f_start.shape
        shrink = jnp.exp(-flow.kernel_rate * t) / flow.num_samples

        def bent(column: Array) -> Array:
            """The curvature of the loss times a change of outputs."""
            half = flow.loss.curvature_root_transposed(f, flow.y, column.reshape(shape))
            return jnp.ravel(flow.loss.curvature_root(f, flow.y, half))

        force = flow.force(t, f)
        drift = -flow.start_rate * jnp.exp(-flow.start_rate * t) * flow.f_start
        drift -= flow.weight_decay * jnp.exp(-flow.weight_decay * t) * flow.f_decayed
        jacobian = -shrink * jax.vmap(bent, in_axes=1, out_axes=1)(matrix)
        jacobian -= flow.loss_rate * jnp.eye(v.size)
        scale = jnp.mean(jnp.diagonal(matrix))

        def measure(error: Array) -> Array:
            seen = (matrix @ error) / (unit + jnp.abs(jnp.ravel(f)))
            return jnp.hypot(seen, error / (unit / scale + rms(v)))

        slope = -flow.kernel_rate * force - shrink * bent(drift)
        return Linearisation(-flow.loss_rate * v + force, slope, jacobian, measure)

"""The kernel phase of a problem: its solution, its end, and its predictions."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Shaped
from scipy.interpolate import PchipInterpolator
from scipy.optimize import brentq

from .._core.errors import InputError
from .._run.weights import evaluate_all
from ..dynamics import Problem
from ..models import AbstractLinearModel, AbstractModel
from ..tasks import Samples
from .flow import LARGEST, KernelFlow, fastest, grid, horizon, kernel_flow, rates
from .kernel import is_linear_in_parameters, pull, push, quadratic_form
from .solve import Solved, solve

# The kernel flow is solved until the indicator reaches this value, well past one.
_WELL_OVER = 4.0
# The number of times whose changes of parameters are in memory at once.
_BATCH = 16
# Arrays over times are padded to a multiple of this length.
_LENGTHS = 48


class Breakdown(eqx.Module):
    r"""Measures at `(t, v)` of the kernel flow how close the expansion is to breaking down.

    - `indicator`, $I = c^\top K(\theta) c / c^\top K(o) c - 1$, with the decayed initial parameters
        $o = e^{-\lambda t} \theta_0$ and the parameters of the kernel flow, $\theta = o +
        J^\top w$; zero at time 0.
    - `phi_ratio`, $\|J^\top w\| / \|o\|$; for a model with a degree this is $\|\phi\| /
        \|\theta_0\|$.

    For a model that is `linear` in its parameters the indicator is zero, and `phi_ratio` is
    relative to $\theta_0$, not to $o$.
    """

    flow: KernelFlow
    model: AbstractModel
    params: Any
    x: Shaped[Array, "n d"]
    linear: bool = eqx.field(static=True, default=False)

    def __call__(self, time: Array, v: Float[Array, " m"]) -> dict[str, Array]:
        flow, model = self.flow, self.model
        if self.linear:
            # Features are constant for any size of phi.
            moved = model.norm(pull(model, self.params, self.x, v)) / model.norm(self.params)
            return {"indicator": jnp.zeros(()), "phi_ratio": moved}
        # With a degree, in units of exp(-lambda t), which is exact. The decayed parameters
        # underflow, the ratio does not.
        base = jnp.where(flow.has_degree, 1.0, jnp.exp(-flow.weight_decay * time))
        grown = jnp.where(flow.has_degree, jnp.exp(flow.loss_rate * time), 1.0)
        phi = jax.tree.map(lambda p: grown * p, pull(model, self.params, self.x, v))
        exempt = jax.tree.map(jnp.subtract, self.params, model.decayed(self.params))
        # Parameters without decay stay as they are.
        start = jax.tree.map(lambda p, e: base * (p - e) + e, self.params, exempt)
        moved = jax.tree.map(jnp.add, start, phi)
        size = jnp.max(jnp.abs(v))
        direction = v / jnp.where(size > 0, size, 1.0)
        now, before = (quadratic_form(model, p, self.x, direction) for p in (moved, start))
        ratio = now / jnp.where(before > 0, before, 1.0)
        return {
            "indicator": jnp.where(before > 0, ratio - 1, 0.0),
            "phi_ratio": model.norm(phi) / model.norm(start),
        }


@dataclass(frozen=True)
class KernelPhase:
    """The kernel phase over `times`.

    `t_end` is the time at which the indicator reaches one, NaN if this is not before `until`, the
    end of the solve. If the model is `linear` in its parameters the kernel flow is the gradient
    flow, for all time.
    """

    problem: Problem
    flow: KernelFlow
    solved: Solved
    t_end: float
    until: float
    linear: bool

    @property
    def times(self) -> Float[np.ndarray, " t"]:
        return self.solved.times

    @property
    def has_decayed(self) -> bool:
        """Whether all parameters have decayed to zero at the end of the solve.

        The kernel of a model with a degree of at least two decays with them, so that they stay
        there.
        """
        degree, decay = self.problem.model.homogeneity, float(self.flow.weight_decay)
        if degree is None or degree < 2:
            return False
        return degree * decay * float(self.times[-1]) >= LARGEST * (1 - 1e-9)

    @property
    def clock(self) -> "Clock":
        """The clock that measures the time of the transition."""
        decay, degree = float(self.flow.weight_decay), self.problem.model.homogeneity
        rate = 2 * (2.0 if degree is None else float(degree)) * decay
        return Clock(self.times, self.solved.observed["indicator"], rate or math.nan)


def kernel_phase(
    problem: Problem, t1: float, requests: Callable[[], Float[np.ndarray, " r"]] | None = None
) -> KernelPhase:
    """Solves the kernel flow of a problem until the first-order expansion breaks down.

    - **Takes** `requests`, which returns additional times of output; called if the model is linear
        in its parameters.
    """
    # The numbers of a model become arrays, so that they are not constants of the compiled code.
    problem = eqx.tree_at(lambda p: p.model, problem, jax.tree.map(jnp.asarray, problem.model))
    flow = kernel_flow(problem)
    speed, rate = rates(flow)
    linear = is_linear_in_parameters(problem.model, problem.params, problem.train.x)
    if linear and not problem.model.decays_all and float(problem.weight_decay) > 0:
        # The kernel flow has one rate of decay, and for a linear model it is used at all times.
        accepted = "a forecast of a model linear in its parameters needs decay of all of them"
        raise InputError("decayed", "some parameters", accepted)
    until = horizon(flow, t1, rate, linear)
    observe = Breakdown(flow, problem.model, problem.params, problem.train.x, linear)
    times = grid(flow, t1, until, speed, fastest(flow), linear)
    if linear and requests is not None:
        times = np.union1d(times, requests())
    solved = solve(flow, times, observe, _WELL_OVER)
    t_end = crossing(solved.times, solved.observed["indicator"])
    return KernelPhase(problem, flow, solved, t_end, until, linear)


def crossing(
    times: Float[np.ndarray, " t"], indicator: Float[np.ndarray, " t"], log_level: float = 0.0
) -> float:
    r"""The time at which $|I|$ first reaches $e^\kappa$; NaN for none. $\log |I|$ is interpolated.

    - **Takes** `log_level`, $\kappa$.
    """
    size = np.abs(indicator) / math.exp(log_level)
    over = np.flatnonzero(size >= 1)
    if len(over) == 0:
        return math.nan
    i = int(over[0])
    # The indicator grows exponentially, so its logarithm is nearly linear. Zeros are left out.
    begin = max(0, i - 4)
    keep = np.arange(begin, min(len(size), i + 3))
    keep = keep[size[keep] > 0]
    if keep[0] == i:
        return float(times[i])
    curve = PchipInterpolator(times[keep], np.log(size[keep]))
    return float(brentq(curve, times[i - 1], times[i]))


class Clock(NamedTuple):
    r"""The clock: $\log |I|$ of a kernel flow, and its continuation after the end of the solve.

    - `rate`, the growth rate of the clock from $|I| = 1$ on; NaN without decay. The clock then
        grows linearly in $\log t$, with its slope over the last doubling of $|I|$.
    """

    times: Float[np.ndarray, " t"]
    indicator: Float[np.ndarray, " t"]
    rate: float

    def later(self, shift: float) -> "Clock":
        """The clock with all times later by `shift`."""
        return self._replace(times=self.times + shift)

    def when(self, shows: float) -> float:
        r"""The time at which the clock has the value `shows`; NaN for none."""
        times, indicator, rate = self
        t_end = crossing(times, indicator)
        if shows <= 0 or (math.isnan(rate) and np.max(np.abs(indicator)) >= math.exp(shows)):
            return crossing(times, indicator, shows)
        if math.isnan(t_end) or not math.isnan(rate):
            return t_end + shows / rate
        half, top = self._last_doubling()
        doublings = (shows - top) / math.log(2)
        return float(times[-1] * (times[-1] / half) ** doublings)

    def shows(self, time: float) -> float:
        """The value of the clock at a time; NaN if the time is NaN or $|I|$ never reaches one."""
        known = np.abs(self.indicator) > 0
        times, logs = self.times[known], np.log(np.abs(self.indicator[known]))
        t_end = crossing(self.times, self.indicator)
        if math.isnan(time) or math.isnan(t_end):
            return math.nan
        if time > t_end and not math.isnan(self.rate):
            return self.rate * (time - t_end)
        if time <= times[-1]:
            return float(np.interp(time, times, logs))
        half, top = self._last_doubling()
        return top + math.log(2) * math.log(time / times[-1]) / math.log(times[-1] / half)

    def _last_doubling(self) -> tuple[float, float]:
        """The time of half of the last indicator, and the logarithm of the last indicator."""
        top = math.log(np.abs(self.indicator[-1])) if self.indicator[-1] != 0 else -math.inf
        half = crossing(self.times, self.indicator, top - math.log(2))
        return (half, top) if half < self.times[-1] else (math.nan, top)


class _Predicted(eqx.Module):
    """The kernel flow evaluated on any inputs."""

    flow: KernelFlow
    model: AbstractModel
    params: Any
    x: Shaped[Array, "n d"]

    def change(self, time: Array, v: Array) -> Any:
        r"""The vector that $J$ acts on: $J^\top v$, minus the decayed part without a degree."""
        gone = jnp.where(self.flow.has_degree, 0.0, jnp.expm1(-self.flow.weight_decay * time))
        moved, decayed = pull(self.model, self.params, self.x, v), self.model.decayed(self.params)
        return jax.tree.map(lambda m, p: m + gone * p, moved, decayed)

    def outputs(self, time: Array, v: Array, x: Array) -> Array:
        left = jnp.exp(-self.flow.start_rate * time)
        moved = push(self.model, self.params, x, self.change(time, v))
        return left * self.model.apply(self.params, x) + moved

    def weights(self, time: Array, v: Array) -> Array:
        """The weights of a linear model."""
        assert isinstance(self.model, AbstractLinearModel)
        left = jnp.exp(-self.flow.start_rate * time)
        change = self.change(time, v)
        start, moved = jax.jvp(self.model.weights, (self.params,), (change,))
        return left * start + moved


@eqx.filter_jit
def _outputs_along(predicted: _Predicted, times: Array, duals: Array, x: Array) -> Array:
    return jax.lax.map(lambda row: predicted.outputs(row[0], row[1], x), (times, duals))


@eqx.filter_jit
def _weights_along(predicted: _Predicted, times: Array, duals: Array) -> Array:
    return jax.lax.map(lambda row: predicted.weights(*row), (times, duals), batch_size=_BATCH)


@eqx.filter_jit
def _train_along(flow: KernelFlow, times: Array, duals: Array) -> Array:
    return jax.lax.map(lambda row: flow.outputs(*row), (times, duals))


@dataclass(frozen=True)
class Outputs:
    """Outputs of the kernel flow, shape `(t, n, ...)`, and of the predictors, shape `(p, m)`.

    The last time is repeated to fill up the padded length.
    """

    train: Float[Array, "t n *c"]
    test: Float[Array, "t m *c"]
    references: Float[Array, "p m"]
    y_test: Shaped[Array, " m ..."]


def outputs_of(phase: KernelPhase, test: list[Samples], references: list[Array]) -> Outputs:
    """The outputs of the kernel flow and of predictors, with test data a block at a time."""
    problem = phase.problem
    # The number of times differs between runs. With few padded lengths, many forecasts share one
    # compilation.
    pad = -len(phase.times) % _LENGTHS
    times = jnp.asarray(np.pad(phase.times, (0, pad), mode="edge"))
    duals = jnp.asarray(np.pad(phase.solved.duals, ((0, pad), (0, 0)), mode="edge"))
    predicted = _Predicted(phase.flow, problem.model, problem.params, problem.train.x)
    train = _train_along(phase.flow, times, duals)
    y_test = jnp.concatenate([block.y for block in test])
    if not isinstance(problem.model, AbstractLinearModel):
        parts = [_outputs_along(predicted, times, duals, block.x) for block in test]
        return Outputs(train, jnp.concatenate(parts, axis=1), jnp.zeros((0, len(y_test))), y_test)
    weights = _weights_along(predicted, times, duals)
    weights = jnp.concatenate([weights, *(jnp.asarray(w)[None] for w in references)])
    parts = [evaluate_all(problem.model, weights, block.x) for block in test]
    both = jnp.concatenate(parts, axis=1)
    return Outputs(train, both[: len(times)], both[len(times) :], y_test)

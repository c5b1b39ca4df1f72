"""The kernel phase of a problem: its duals, where its picture breaks, and what it predicts."""

import math
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Shaped
from scipy.interpolate import PchipInterpolator
from scipy.optimize import brentq

from .._run.weights import evaluate_all
from ..dynamics import Problem
from ..models import AbstractLinearModel, AbstractModel
from ..tasks import Samples
from .flow import KernelFlow, fastest, grid, horizon, kernel_flow, rates
from .kernel import is_linear_in_parameters, pull, push, quadratic_form
from .solve import Solved, solve

# The kernel flow is followed until the indicator is well past one.
_WELL_OVER = 4.0
# Times whose change of parameters is held at once.
_BATCH = 16
# Of what is computed along the times, the length is a multiple of this.
_LENGTHS = 48


class Breakdown(eqx.Module):
    r"""How far the kernel picture is from breaking down at `(t, v)` of its flow.

    - `indicator`, $I = c^\top K(\theta) c / c^\top K(o) c - 1$, with $o = e^{-\lambda t}
        \theta_0$ and $\theta = o + J^\top w$ where the kernel flow says that parameters are;
        zero at time 0.
    - `phi_ratio`, $\|J^\top w\| / \|o\|$; for a model with a degree this is $\|\phi\| /
        \|\theta_0\|$.

    Of a model that is `linear` in its parameters the indicator is zero, and `phi_ratio` is relative
    to $\theta_0$ and not to $o$.
    """

    flow: KernelFlow
    model: AbstractModel
    params: Any
    x: Shaped[Array, "n d"]
    linear: bool = eqx.field(static=True, default=False)

    def __call__(self, time: Array, v: Float[Array, " m"]) -> dict[str, Array]:
        flow, model = self.flow, self.model
        if self.linear:
            # Features never move, whatever the size of phi.
            moved = model.norm(pull(model, self.params, self.x, v)) / model.norm(self.params)
            return {"indicator": jnp.zeros(()), "phi_ratio": moved}
        # In units of the decayed start where that is exact: it underflows, the ratio does not.
        base = jnp.where(flow.has_degree, 1.0, jnp.exp(-flow.weight_decay * time))
        grown = jnp.where(flow.has_degree, jnp.exp(flow.loss_rate * time), 1.0)
        phi = jax.tree.map(lambda p: grown * p, pull(model, self.params, self.x, v))
        exempt = jax.tree.map(jnp.subtract, self.params, model.decayed(self.params))
        # What decay leaves alone stays.
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


class KernelPhase(NamedTuple):
    """The kernel phase over `times`; `t_end` is where the indicator reaches one, NaN if it does
    not before the horizon `until`. Where the model is `linear` in its parameters the kernel flow is
    the flow itself, for all time."""

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
    def clock(self) -> "Clock":
        """By which its family's passage is measured."""
        decay, degree = float(self.flow.weight_decay), self.problem.model.homogeneity
        rate = 2 * (2.0 if degree is None else float(degree)) * decay
        return Clock(self.times, self.solved.observed["indicator"], rate or math.nan)


def kernel_phase(
    problem: Problem, t1: float, requests: Float[np.ndarray, " r"] | None = None
) -> KernelPhase:
    """Follows the kernel flow of a problem until its picture has broken down.

    - **Takes** `requests`, times at which it is wanted, too, if it is the flow itself.
    """
    # Numbers of a model as arrays, which are not compiled in.
    problem = eqx.tree_at(lambda p: p.model, problem, jax.tree.map(jnp.asarray, problem.model))
    flow = kernel_flow(problem)
    speed, rate = rates(flow)
    linear = is_linear_in_parameters(problem.model, problem.params, problem.train.x)
    until = horizon(flow, t1, rate, linear)
    observe = Breakdown(flow, problem.model, problem.params, problem.train.x, linear)
    times = grid(flow, t1, until, speed, fastest(flow), linear)
    if linear and requests is not None:
        times = np.union1d(times, requests)
    solved = solve(flow, times, observe, _WELL_OVER)
    t_end = crossing(solved.times, solved.observed["indicator"])
    return KernelPhase(problem, flow, solved, t_end, until, linear)


def crossing(
    times: Float[np.ndarray, " t"], indicator: Float[np.ndarray, " t"], log_level: float = 0.0
) -> float:
    r"""When $|I|$ first reaches $e^\kappa$, its logarithm interpolated; NaN if it does not.

    - **Takes** `log_level`, $\kappa$.
    """
    size = np.abs(indicator) / math.exp(log_level)
    over = np.flatnonzero(size >= 1)
    if len(over) == 0:
        return math.nan
    i = int(over[0])
    # It grows exponentially, so its logarithm is nearly straight; a zero has none.
    begin = max(0, i - 4)
    keep = np.arange(begin, min(len(size), i + 3))
    keep = keep[size[keep] > 0]
    if keep[0] == i:
        return float(times[i])
    curve = PchipInterpolator(times[keep], np.log(size[keep]))
    return float(brentq(curve, times[i - 1], times[i]))


class Clock(NamedTuple):
    r"""What a kernel flow's indicator shows, and how that goes on past its end.

    - `rate`, of $\log |I|$ from $|I| = 1$ on; NaN without decay, where it is taken to grow with
        $\log t$ as over the last doubling that was seen.
    """

    times: Float[np.ndarray, " t"]
    indicator: Float[np.ndarray, " t"]
    rate: float

    def when(self, shows: float) -> float:
        r"""When it shows a value; NaN if it does not."""
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
        """What it shows at a time; NaN for none, and where it does not run."""
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
        """When half of the last indicator was reached, and the last one's logarithm."""
        top = math.log(np.abs(self.indicator[-1])) if self.indicator[-1] != 0 else -math.inf
        half = crossing(self.times, self.indicator, top - math.log(2))
        return (half, top) if half < self.times[-1] else (math.nan, top)


class _Predicted(eqx.Module):
    """Outputs of the kernel flow on any inputs."""

    flow: KernelFlow
    model: AbstractModel
    params: Any
    x: Shaped[Array, "n d"]

    def change(self, time: Array, v: Array) -> Any:
        r"""What $J$ is applied to: $J^\top v$, less what decay takes where there is no degree."""
        gone = jnp.where(self.flow.has_degree, 0.0, jnp.expm1(-self.flow.weight_decay * time))
        moved, decayed = pull(self.model, self.params, self.x, v), self.model.decayed(self.params)
        return jax.tree.map(lambda m, p: m + gone * p, moved, decayed)

    def outputs(self, time: Array, v: Array, x: Array) -> Array:
        left = jnp.exp(-self.flow.start_rate * time)
        moved = push(self.model, self.params, x, self.change(time, v))
        return left * self.model.apply(self.params, x) + moved

    def weights(self, time: Array, v: Array) -> Array:
        """Those of a linear model."""
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


class Outputs(NamedTuple):
    """Of the kernel flow at its times, the last of them repeated to one of a few lengths, and of
    the predictors; `(t, n, ...)`, `(p, m)`."""

    train: Float[Array, "t n *c"]
    test: Float[Array, "t m *c"]
    references: Float[Array, "p m"]
    y_test: Shaped[Array, " m *c"]


def outputs_of(phase: KernelPhase, test: list[Samples], references: list[Array]) -> Outputs:
    """What the kernel flow and predictors give, test data a block at a time."""
    problem = phase.problem
    # Lengths differ between runs: of few lengths, one compilation serves many forecasts.
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

"""The exact reduction of diagonal linear nets to one number a sample."""

import itertools
from collections.abc import Callable
from typing import Annotated, Any, ClassVar

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from annotated_types import Ge, Gt, Lt
from jaxtyping import Array, Float, Shaped

from .._columns import block_columns, fold_columns, rmatvec
from .._errors import InputError
from .._losses import AbstractLoss
from .._models import DiagonalLinear, DiagonalParams, power_difference
from ._base import AbstractDynamics, Effort, Ending, Problem, Progress, Trajectory
from ._checkpoint import Checkpoint
from ._progress import Meter, listening
from ._solver.rodas5p import Linearisation, Rodas5P


class ReducedFlow(AbstractDynamics):
    r"""Gradient flow of a diagonal net, followed exactly through `n` numbers.

    Gradients of $f_i = \langle u^{\odot L} - v^{\odot L}, x_i \rangle$ all lie in the span of
    the data, and decay factors out. With the clock $d\tau = e^{-(L-2)\lambda t} dt$,
    $d\nu/d\tau = s(f) / n$, $s$ the loss's dual, and $z = X^\top \nu$,

    - $L = 2$: $u = e^{-\lambda t} u_0\, e^{2z}$, $v = e^{-\lambda t} v_0\, e^{-2z}$;
    - $L \ge 3$: $u = e^{-\lambda t} (u_0^{2-L} - L(L-2) z)^{-1/(L-2)}$, and $v$ with the
        other sign, where $e^{-(L-2)\lambda t} = 1 - (L-2)\lambda\tau$.

    The flow of $2d$ numbers becomes one of $n$, for any loss and any $\lambda \ge 0$.
    It is solved by [`Rodas5P`][lazyrich.solvers.Rodas5P] with the exact Jacobian, one
    weighted Gram matrix a step.

    - **Takes** `rtol`, the local error allowed in a step, relative to $1 + |f_i|$ in every
        output (for regression, to the labels' root mean square $+ |f_i|$) and to one plus
        the change of log-parameters in every number carried; `max_steps`, attempted steps
        before giving up.
    - **Raises** [`InputError`][lazyrich.InputError] for any model but
        [`DiagonalLinear`][lazyrich.models.DiagonalLinear], and for parameters that are not
        positive when $L \ge 3$.
    - **Source** Derived in `docs/reduction.md`; for $L = 2$, $\lambda = 0$ it is the mirror
        flow of Woodworth et al., COLT 2020, arXiv:2002.09277.
    """

    replays: ClassVar[bool] = True

    rtol: Annotated[float, Gt(0), Lt(0.1)] = 1e-4
    max_steps: Annotated[int, Ge(1)] = 4096

    def follow(
        self,
        problem: Problem,
        times: Float[np.ndarray, " t"],
        progress: Progress,
        observe: Callable[[Any, Any], Any] | None = None,
        checkpoint: Checkpoint | None = None,
    ) -> Trajectory:
        # A solve takes seconds, and its caller observes the small states it leaves.
        del observe, checkpoint
        depth, start = _checked_start(problem)
        rtol, t1 = jnp.asarray(self.rtol), float(times[-1])
        bounds = _leg_bounds(depth, float(problem.weight_decay), t1)
        starts: list[DiagonalParams] = []
        reached, legs, states = [], [], []
        num_accepted = num_rejected = 0
        ending: Ending = "completed"
        first_step = 1e-3 * min(_fitting_time(problem, start), bounds[1])
        for leg, (begin, end) in enumerate(itertools.pairwise(bounds)):
            starts.append(start)
            system = _reduce(problem, start)
            stop = system.clock(jnp.asarray(end - begin))
            clock = system.clock(jnp.asarray(np.clip(times, begin, end) - begin))
            # The same time can round to another clock in an array than alone.
            clock = jnp.where(times >= end, stop, jnp.minimum(clock, stop))
            with listening(_between(begin, end, progress)):
                solution = jax.block_until_ready(
                    _solve(system, clock, stop, jnp.asarray(first_step), rtol, self.max_steps)
                )
            num_accepted += int(solution.stats["num_accepted_steps"])
            num_rejected += int(solution.stats["num_rejected_steps"])
            ending = _ending(solution.result)
            inside = (times >= begin) & ((times < end) | (end == t1)) & np.isfinite(solution.ts)
            reached.append(times[inside])
            legs.append(np.full(inside.sum(), leg))
            states.append(np.asarray(solution.ys)[inside])
            if ending != "completed":
                break
            start = system.params(stop, solution.ys[-1])
            first_step = 1e-3 * float(stop)
        num_tried = num_accepted + num_rejected
        replay = _Replay(
            system,
            jnp.asarray(bounds[: len(starts)]),
            jax.tree.map(lambda *a: jnp.stack(a), *starts),
        )
        return Trajectory(
            times=np.concatenate(reached),
            states=(jnp.asarray(np.concatenate(legs)), jnp.asarray(np.concatenate(states))),
            params_at=replay,
            ending=ending,
            effort=Effort("Rodas5P", num_accepted, num_rejected, 8 * num_tried, num_tried),
        )


def _between(begin: float, end: float, progress: Progress) -> Callable[[float], None]:
    steps = itertools.count(1)
    return lambda fraction: progress(begin + fraction * (end - begin), next(steps))


# Past depth 2, u is the inverse power of a difference that decays like e^{-(L-2) lambda t}
# while its terms stay: by (L-2) lambda t = 28, float64 has no digits left in it (measured
# at L = 3). Restarting from the parameters reached costs nothing and loses e^8 at most.
_LEG = 8.0


def _leg_bounds(depth: int, weight_decay: float, t1: float) -> list[float]:
    num_legs = max(1, int(np.ceil((depth - 2) * weight_decay * t1 / _LEG)))
    return [t1 * i / num_legs for i in range(num_legs)] + [t1]


class _System(eqx.Module):
    """The reduced system; `nu` stands for the state, of shape `(n,)`."""

    x: Shaped[Array, "n d"]
    y: Float[Array, " n"]
    start: DiagonalParams
    weight_decay: Array
    output_unit: Array  # outputs smaller than this count as zero in error control
    nu_unit: Array  # entries of `nu` smaller than this leave every log-parameter in place
    depth: int = eqx.field(static=True)
    loss: AbstractLoss = eqx.field(static=True)

    def clock(self, time: Array) -> Array:
        r"""$\tau$ at `time`."""
        rate = (self.depth - 2) * self.weight_decay
        return jnp.where(rate > 0, -jnp.expm1(-rate * time) / jnp.where(rate > 0, rate, 1), time)

    def remaining(self, tau: Any) -> Array:
        r"""$dt/d\tau$, inverted: $e^{-(L-2)\lambda t}$ at clock `tau`."""
        return 1 - (self.depth - 2) * self.weight_decay * tau

    def _params(self, tau: Any, z: Array, start: DiagonalParams) -> DiagonalParams:
        depth = self.depth
        if depth == 2:
            shrink = self.weight_decay * tau
            return DiagonalParams(
                start.u * jnp.exp(2 * z - shrink), start.v * jnp.exp(-2 * z - shrink)
            )

        def grow(start: Array, z: Array) -> Array:
            left = 1 - depth * (depth - 2) * start ** (depth - 2) * z
            # Past the pole no parameters exist; NaN makes the solver shorten its step.
            ratio = self.remaining(tau) / jnp.where(left > 0, left, jnp.nan)
            return start * ratio ** (1 / (depth - 2))

        return DiagonalParams(grow(start.u, z), grow(start.v, -z))

    def params(self, tau: Any, nu: Float[Array, " n"]) -> DiagonalParams:
        return self._params(tau, rmatvec(self.x, nu), self.start)

    def outputs(self, tau: Any, nu: Float[Array, " n"]) -> Float[Array, " n"]:
        def body(x: Array, start: DiagonalParams) -> Array:
            p = self._params(tau, nu @ x, start)
            return x @ power_difference(p.u, p.v, self.depth)

        return fold_columns(body, jnp.zeros_like(nu), self.x, self.start)

    def outputs_and_kernel(self, tau: Any, nu: Float[Array, " n"]) -> tuple[Array, Array]:
        """Outputs `(n,)` and the tangent kernel of the parameters now, `(n, n)`."""
        n, depth = nu.size, self.depth

        def body(x: Array, start: DiagonalParams) -> tuple[Array, Array]:
            p = self._params(tau, nu @ x, start)
            slope = depth**2 * (p.u ** (2 * depth - 2) + p.v ** (2 * depth - 2))
            return x @ power_difference(p.u, p.v, depth), (x * slope[None]) @ x.T

        zero = (jnp.zeros_like(nu), jnp.zeros((n, n), nu.dtype))
        return fold_columns(body, zero, self.x, self.start, block=block_columns(2 * n))

    def at(self, start: DiagonalParams) -> "_System":
        return eqx.tree_at(lambda system: system.start, self, start)


class _Replay(eqx.Module):
    """Parameters at a time from a state `(leg, nu)`; legs restart from `starts`."""

    system: _System
    begins: Array  # (num_legs,)
    starts: DiagonalParams  # leading axis num_legs

    def __call__(self, time: Any, state: tuple[Array, Array]) -> DiagonalParams:
        leg, nu = state
        system = self.system.at(jax.tree.map(lambda a: a[leg], self.starts))
        return system.params(system.clock(time - self.begins[leg]), nu)


def _field(tau: Any, nu: Array, system: _System) -> Array:
    return system.loss.dual(system.outputs(tau, nu), system.y) / nu.size


def _linearise(tau: Any, nu: Array, system: _System) -> Linearisation:
    r"""The field and its derivatives.

    With $q = d\tau/dt$ and $K$ the kernel of the parameters now, $\partial f/\partial\nu =
    K/q$ and $\partial f/\partial\tau = -L\lambda f/q$.
    """
    n, remaining = nu.size, system.remaining(tau)
    f, kernel = system.outputs_and_kernel(tau, nu)
    response = kernel / remaining
    curvature = system.loss.curvature(f, system.y)
    slope = system.depth * system.weight_decay * curvature * f / (n * remaining)

    def measure(error: Array) -> Array:
        # An error in nu matters through the outputs it moves now, and through those that
        # it will move once coordinates too small to be seen now have grown.
        seen = response @ error / (system.output_unit + jnp.abs(f))
        unseen = error / (system.nu_unit + jnp.abs(nu))
        return jnp.hypot(seen, unseen)

    value = system.loss.dual(f, system.y) / n
    return Linearisation(value, slope, -curvature[:, None] * response / n, measure)


@eqx.filter_jit
def _solve(
    system: _System, times: Array, t1: Array, first_step: Array, rtol: Array, max_steps: int
) -> diffrax.Solution:
    return diffrax.diffeqsolve(
        diffrax.ODETerm(_field),
        Rodas5P(_linearise),
        t0=0.0,
        t1=t1,
        dt0=first_step,
        y0=jnp.zeros_like(system.y),
        args=system,
        saveat=diffrax.SaveAt(ts=times),
        # `measure` has already made errors relative.
        stepsize_controller=diffrax.PIDController(
            rtol=0.0, atol=rtol, dtmin=1e-14 * t1, force_dtmin=False
        ),
        max_steps=max_steps,
        progress_meter=Meter(),
        throw=False,
    )


def _depth(problem: Problem) -> int:
    assert isinstance(problem.model, DiagonalLinear)  # `_checked_start` has made sure
    return problem.model.depth


def _checked_start(problem: Problem) -> tuple[int, DiagonalParams]:
    """The depth of the net and its parameters at time 0."""
    model = problem.model
    if not isinstance(model, DiagonalLinear):
        name = type(model).__name__
        raise InputError("dynamics.kind", "ReducedFlow", f"needs model DiagonalLinear, not {name}")
    start = DiagonalParams(*map(jnp.asarray, problem.params))
    for name, values in zip(start._fields, start, strict=True):
        if model.depth > 2 and not bool(jnp.all(values > 0)):
            lowest = float(jnp.min(values))
            raise InputError(f"params.{name}", lowest, f"should be positive at depth {model.depth}")
    return model.depth, start


def _reduce(problem: Problem, start: DiagonalParams) -> _System:
    x, depth = problem.train.x, _depth(problem)
    # A change of nu moves log u by L u^{L-2} times x^T nu.
    largest = jnp.maximum(jnp.max(jnp.abs(start.u)), jnp.max(jnp.abs(start.v)))
    leverage = depth * largest ** (depth - 2) * jnp.sqrt(_squared_norm(x) / x.shape[1])
    return _System(
        x=x,
        y=problem.train.y,
        start=start,
        weight_decay=jnp.asarray(problem.weight_decay),
        output_unit=jnp.asarray(_output_unit(problem)),
        nu_unit=1 / leverage,
        depth=depth,
        loss=problem.loss,
    )


def _output_unit(problem: Problem) -> float:
    labels = problem.train.y
    return 1.0 if problem.loss.is_classification else float(jnp.sqrt(jnp.mean(labels**2)))


def _fitting_time(problem: Problem, start: DiagonalParams) -> float:
    """When outputs have moved by one unit, at the speed of time 0."""
    x, depth = problem.train.x, _depth(problem)
    slope = depth**2 * (start.u ** (2 * depth - 2) + start.v ** (2 * depth - 2))
    kernel_mean = float(_squared_norm(x, slope)) / x.shape[0]
    if kernel_mean == 0.0:
        raise InputError("params", 0.0, "should have a tangent kernel; from here nothing moves")
    return x.shape[0] * _output_unit(problem) / kernel_mean


@eqx.filter_jit
def _squared_norm(x: Shaped[Array, "n d"], weights: Array | None = None) -> Float[Array, ""]:
    weights = jnp.ones(x.shape[1]) if weights is None else weights
    return fold_columns(lambda x, w: jnp.sum(x**2 @ w), jnp.zeros(()), x, weights)


def _ending(result: diffrax.RESULTS) -> Ending:
    if result == diffrax.RESULTS.successful:
        return "completed"
    if result == diffrax.RESULTS.max_steps_reached:
        return "max_steps"
    if result == diffrax.RESULTS.dt_min_reached:
        return "step_underflow"
    return "diverged"

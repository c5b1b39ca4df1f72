"""The choice of a solver for a flow, with the reason."""

import math
from dataclasses import dataclass, replace
from typing import Any

import diffrax
import jax
import jax.flatten_util
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, PyTree

from .._core.errors import InputError
from .._core.norms import rms, tree_norm
from .._integrate.status import Ending
from .._integrate.stepping import SolveState
from ..solvers._spectral_radius import spectral_radius
from ..solvers._work import AbstractCounting
from ..solvers.watched_tsit5 import WatchedTsit5
from ._base import Problem
from ._rate import output_unit
from ._recipes import recipe_of
from .gauss_newton import MAX_OUTPUTS
from .gradient_flow import GradientFlow

# An explicit pair of order 5 is stable if the step times the spectral radius is below about this.
_EXPLICIT_REACH = 3.0
# Up to this number of explicit steps, stiffness does not matter at the usual tolerance. The methods
# for stiff flows are of order three, and the stability of explicit steps does not depend on the
# tolerance, so that it matters even less at smaller ones.
_FEW_STEPS, _USUAL = 300.0, 1e-3
# A step of a method for stiff flows costs about as much as this number of explicit steps.
_COST = 15
# Up to this number of outputs, a kernel and its factor in every step are worth their cost, for a
# loss without constant curvature.
_SMALL = 600
# In a classification with kinks the flow slides along them late in training, and a Rosenbrock
# method then needs 3,000 steps in each time constant 1 / lambda (16 to 64 units, 12 samples). From
# this number of time constants on, `DampedRKC2` is cheaper, also in gradients.
_LONG = 10.0
# A flow with kinks chatters if its steps are shorter than this fraction of the time that has passed
# after this number of steps. A smooth flow takes tens of steps for each factor of e in time.
_SHORT, _MANY = 5e-3, 1000


@dataclass(frozen=True)
class Method:
    """A solver with its name, the reason for its choice, and the method that may replace it."""

    name: str
    solver: Any
    reason: str
    later: "Method | None" = None  # continues if stability limits the steps of this method
    meets_kinks: bool = False  # whether the field has kinks

    def resolving(self, rtol: float, eps: float) -> "Method":
        """The method for tolerance `rtol` if numbers have the relative spacing `eps`."""
        solver = self.solver
        if isinstance(solver, AbstractCounting):
            solver = solver.resolving(rtol, eps)
        later = None if self.later is None else self.later.resolving(rtol, eps)
        return replace(self, solver=solver, later=later)

    def spent(self, solve: SolveState, *, switched: bool) -> Ending:
        """How a solve ended that has used up its steps: the reason why they were short.

        - **Takes** `switched`, whether `later` had taken over.
        """
        solver = self.later.solver if switched and self.later is not None else self.solver
        counts = isinstance(solver, AbstractCounting)
        if counts and bool(solver.at_stability_bound(solve.solver_state)):
            return "too_stiff"
        short = float(solve.step) < _SHORT * float(solve.t) and int(solve.num_accepted) > _MANY
        return "chattering" if short and self.meets_kinks else "max_steps"


def choose(
    wish: str | diffrax.AbstractSolver[Any],
    clock: str,
    problem: Problem,
    t1: float,
    rtol: float = _USUAL,
) -> Method:
    """The method for a problem: `wish`, or an automatic choice if `wish` is `auto`.

    - **Takes** `rtol`, the tolerance of a step.
    - **Raises** [`InputError`][lazyrich.InputError] if the problem does not admit the method.
    """
    kinks = clock == "linear" and problem.model.has_kinks
    return replace(_choose(wish, clock, problem, t1, rtol), meets_kinks=kinks)


def _choose(
    wish: str | diffrax.AbstractSolver[Any], clock: str, problem: Problem, t1: float, rtol: float
) -> Method:
    loss = problem.loss
    if clock == "log":
        if float(problem.weight_decay) != 0:
            accepted = "the log clock needs weight_decay = 0"
            raise InputError("dynamics.clock", "log", accepted)
        if not loss.is_classification:
            raise InputError("dynamics.clock", "log", "the log clock needs a classification loss")
    flow = GradientFlow.of(problem)
    num_outputs = jax.eval_shape(flow.outputs, problem.params).size
    explicit = "damped_rkc2" if problem.model.has_kinks else "rkc2"
    if wish != "auto":
        reason = "" if isinstance(wish, str) else "passed by the user"
        return _by(wish, clock, problem, num_outputs, reason)
    if clock == "log":
        reason = "the log clock requires a method that uses only gradients"
        return _by(explicit, clock, problem, num_outputs, reason)
    radius = start_radius(flow, problem.params)
    if loss.steepest is not None:
        start = jax.tree.map(jnp.asarray, problem.params)
        radius = max(radius, loss.steepest * float(_kernel_radius(flow, start)))
    stiff = f"spectral radius times horizon is {radius * t1:.3g}"
    if loss.steepest is not None:
        stiff = f"{stiff} where the loss is steepest"
    few = _few_steps(problem, rtol)
    if radius * t1 < _EXPLICIT_REACH * few:
        later = _later(problem, num_outputs, explicit, t1)
        reason = f"not stiff: {stiff}"
        return Method("Tsit5", WatchedTsit5(few / _COST), reason, later=later)
    return _for_stiff(problem, num_outputs, explicit, t1, f"stiff: {stiff}")


def _by(
    wish: str | diffrax.AbstractSolver[Any],
    clock: str,
    problem: Problem,
    num_outputs: int,
    reason: str,
) -> Method:
    recipe = recipe_of(wish, problem, clock)
    return Method(recipe.label, recipe.solver(num_outputs), reason)


def _few_steps(problem: Problem, rtol: float) -> float:
    """The number of explicit steps up to which a flow does not count as stiff."""
    if problem.loss.steepest is not None:
        return _FEW_STEPS  # long explicit steps jump across the region where the loss is steep
    return _FEW_STEPS * max(1.0, (_USUAL / rtol) ** (1 / 3))


def _later(problem: Problem, num_outputs: int, explicit: str, t1: float) -> Method:
    """The method to use once the flow has become stiff; it fits in memory."""
    why = "stability limited the steps before"
    try:
        return _for_stiff(problem, num_outputs, explicit, t1, why)
    except InputError:
        reason = f"{why}; the kernel does not fit in memory"
        return _by(explicit, "linear", problem, num_outputs, reason)


def _for_stiff(problem: Problem, num_outputs: int, explicit: str, t1: float, why: str) -> Method:
    """The method for a stiff flow."""
    loss = problem.loss
    few = GradientFlow.of(problem).prefers_parameters(problem.params)
    if loss.constant_curvature is not None:
        how = f"the kernel of {num_outputs} outputs is factorised"
        if num_outputs > MAX_OUTPUTS:
            how = f"the kernel of {num_outputs} outputs is used in conjugate gradients"
        elif few:
            how = "the Gauss-Newton matrix of the few parameters is factorised"
        reason = f"{why}; for the squared loss {how}"
        return _by("rosenbrock", "linear", problem, num_outputs, reason)
    constants = float(problem.weight_decay) * t1
    if loss.is_classification and problem.model.has_kinks and constants > _LONG:
        reason = f"{why}; over {constants:.3g} time constants of the decay kinks limit the steps"
        return _by(explicit, "linear", problem, num_outputs, reason)
    if num_outputs <= _SMALL:
        cheap = "Gauss-Newton matrix" if few else f"kernel of {num_outputs} outputs"
        reason = f"{why}; the {cheap} is cheap to factorise"
        return _by("rosenbrock", "linear", problem, num_outputs, reason)
    kind = "classification" if loss.is_classification else "regression"
    reason = f"{why}; with {num_outputs} outputs of {kind} an explicit method is cheaper"
    if problem.model.has_kinks:
        reason = f"{reason}; the model is not smooth"
    return _by(explicit, "linear", problem, num_outputs, reason)


def choose_together(
    wish: str | diffrax.AbstractSolver[Any],
    clock: str,
    problems: list[Problem],
    ends: list[float],
    rtol: float = _USUAL,
) -> Method:
    """The method for problems that share a solve: one for stiff flows if any flow is stiff."""
    method = choose(wish, clock, problems[0], ends[0], rtol)
    for problem, end in zip(problems[1:], ends[1:], strict=True):
        if wish != "auto" or method.later is None:
            break
        method = choose(wish, clock, problem, end, rtol)
    return method


@jax.jit
def _start_radius(flow: GradientFlow, params: PyTree) -> Array:
    flat, unravel = jax.flatten_util.ravel_pytree(params)

    def field(flat: Array) -> Array:
        return jax.flatten_util.ravel_pytree(flow.vf(0.0, unravel(flat), None))[0]

    unknown, cold = jnp.zeros((), flat.dtype), jnp.ones((), bool)
    return spectral_radius(field, flat, field(flat), jnp.zeros_like(flat), unknown, cold).radius


@jax.jit
def _kernel_radius(flow: GradientFlow, params: PyTree) -> Array:
    """The largest eigenvalue of the tangent kernel, divided by the number of samples."""
    flat, unravel = jax.flatten_util.ravel_pytree(params)
    pullback, push = flow.outputs_and_pullback(params)[1], flow.pushforward(params)

    def product(flat: Array) -> Array:
        return jax.flatten_util.ravel_pytree(pullback(push(unravel(flat))))[0] / flow.num_samples

    nothing = jnp.zeros_like(flat)
    unknown, cold = jnp.zeros((), flat.dtype), jnp.ones((), bool)
    return spectral_radius(product, nothing, nothing, nothing, unknown, cold).radius


def start_radius(flow: GradientFlow, params: PyTree) -> float:
    """The spectral radius of the Jacobian of a flow at `params`, at most about 10 % too low."""
    return float(_start_radius(flow, jax.tree.map(jnp.asarray, params)))


def speed(flow: GradientFlow, params: PyTree, problem: Problem, log: bool) -> float:
    """The time for outputs to move by one unit, or parameters by their norm, at initial speed.

    - **Raises** [`InputError`][lazyrich.InputError] if nothing moves, or if gradients overflow.
    """
    slope, moved = _start_speed(flow, params)
    norm = float(tree_norm(params))
    rates = [float(tree_norm(slope)) / norm if norm > 0 else 0.0]
    rates.append(float(rms(moved)) / output_unit(problem))
    fastest = max(rates) if np.all(np.isfinite(rates)) else math.inf
    if not math.isfinite(fastest):
        largest = float(np.max(np.abs(np.asarray(problem.train.x))))
        accepted = "is too large an input: float64 cannot hold the first gradients; divide the "
        accepted += "inputs by a constant, or lower init_scale"
        raise InputError("task.x_train", largest, accepted)
    if not fastest > 0:
        accepted = "should not be a stationary point of loss and decay; from here nothing moves"
        raise InputError("params", 0.0, accepted)
    value = float(flow.loss.mean(flow.outputs(params), flow.y)) if log else 1.0
    return value / fastest


@jax.jit
def _start_speed(flow: GradientFlow, params: PyTree) -> tuple[PyTree, Array]:
    slope = flow.vf(0.0, params, None)
    return slope, jax.jvp(flow.outputs, (params,), (slope,))[1]

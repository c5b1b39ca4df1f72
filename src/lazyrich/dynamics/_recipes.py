"""The methods for solving a flow, and the requirements of each."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import diffrax
import equinox as eqx
import jax.flatten_util
import jax.numpy as jnp
import psutil
from jaxtyping import Array, PyTree

from .._core.errors import InputError
from .._core.norms import rms
from .._core.precision import float_type
from ..models import AbstractModel
from ..solvers import RKC2, ROCK2, ROS34PW2, DampedRKC2, DualROS34PW2
from ..solvers.watched_tsit5 import WatchedTsit5
from ._base import Problem
from .gauss_newton import MAX_OUTPUTS


@dataclass(frozen=True)
class Recipe:
    """A solver: how to make it, and what it requires of a problem.

    - `name`: the value of `Flow.method` that selects it. If several recipes have the same name, the
        first that admits the problem is used. `label`: the name in records.
    - `log_clock`: whether it works with the log clock, for which only gradients are available.
    - `linear_dual`: whether it requires a loss of constant curvature. `kernel`: whether it factors
        a matrix of the size of the outputs, which must fit in memory.
    """

    name: str
    label: str
    make: Callable[[], Any]
    log_clock: bool = True
    linear_dual: bool = False
    kernel: bool = False

    def admits(self, problem: Problem, clock: str) -> bool:
        """Whether the solver is applicable to a problem with this clock."""
        if clock == "log" and not self.log_clock:
            return False
        return not self.linear_dual or problem.loss.constant_curvature is not None

    def solver(self, num_outputs: int) -> Any:
        """The solver, for a problem with this number of training outputs.

        - **Raises** [`InputError`][lazyrich.InputError] if it needs more memory than available.
        """
        if self.kernel:
            _check_memory(num_outputs)
        return self.make()


RECIPES = (
    Recipe(
        "rosenbrock",
        "DualROS34PW2",
        lambda: DualROS34PW2(max_outputs=MAX_OUTPUTS),
        log_clock=False,
        linear_dual=True,
        kernel=True,
    ),
    Recipe("rosenbrock", "ROS34PW2", ROS34PW2, log_clock=False, kernel=True),
    Recipe("rock2", "ROCK2", ROCK2),
    Recipe("rkc2", "RKC2", RKC2),
    Recipe("damped_rkc2", "DampedRKC2", DampedRKC2),
    Recipe("tsit5", "Tsit5", WatchedTsit5),
)

METHODS = ("auto", *dict.fromkeys(recipe.name for recipe in RECIPES))
"""The valid names for `Flow.method`."""


def recipe_of(wish: "str | diffrax.AbstractSolver[Any]", problem: Problem, clock: str) -> Recipe:
    """The recipe with a given name, or the recipe of a solver of the user.

    - **Raises** [`InputError`][lazyrich.InputError] if no recipe of the name admits the problem.
    """
    if not isinstance(wish, str):
        kind = type(wish)
        check_derivatives(wish, problem.model)
        return Recipe(kind.__name__, kind.__name__, lambda: wish)
    for recipe in RECIPES:
        if recipe.name == wish and recipe.admits(problem, clock):
            return recipe
    others = dict.fromkeys(r.name for r in RECIPES if r.admits(problem, clock))
    accepted = f"the {clock} clock takes auto, {', '.join(others)} or a diffrax solver"
    raise InputError("dynamics.method", wish, accepted)


def check_derivatives(wish: "str | diffrax.AbstractSolver[Any]", model: AbstractModel) -> None:
    """Raises [`InputError`][lazyrich.InputError] if the solver needs derivatives of gradients,
    and the model has none.
    """
    if isinstance(wish, diffrax.AbstractImplicitSolver) and not model.twice_differentiable:
        names = ", ".join(METHODS)
        accepted = f"needs derivatives of gradients, which {type(model).__name__} does not have; "
        accepted += f"{names} and explicit diffrax solvers do not need them"
        raise InputError("dynamics.method", type(wish).__name__, accepted)


def check_method(value: Any) -> Any:
    """Checks a value of `Flow.method`: one of `METHODS`, or an adaptive solver of one term.

    - **Raises** [`InputError`][lazyrich.InputError] for anything else.
    """
    names = ", ".join(METHODS)
    if isinstance(value, str):
        if value not in METHODS:
            accepted = f"should be one of {names}; a diffrax solver is passed in Python"
            raise InputError("method", value, accepted)
        return value
    if isinstance(value, type) and issubclass(value, diffrax.AbstractSolver):
        raise InputError("method", value.__name__, f"should be called: {value.__name__}()")
    if not isinstance(value, diffrax.AbstractSolver):
        raise InputError("method", value, f"should be one of {names}, or a diffrax solver")
    name = type(value).__name__
    if not isinstance(value, diffrax.AbstractAdaptiveSolver):
        raise InputError("method", name, "should estimate its error, as Dopri5() or Kvaerno5() do")
    if value.term_structure is not diffrax.AbstractTerm:
        raise InputError("method", name, "should step one term, as Dopri5() or Kvaerno5() do")
    return value


def with_tolerances(solver: Any, rtol: float, params: PyTree) -> Any:
    """The solver, with the tolerances of its root finder set to those of the steps.

    Tolerances that the user has set are kept. By default diffrax takes them from its step size
    controller, which is not used here.
    """
    finder = getattr(solver, "root_finder", None)
    left = diffrax.with_stepsize_controller_tols(diffrax.VeryChord)().rtol
    # Stages are increments of the parameters, and may be much smaller than the parameters.
    values = {"rtol": rtol, "atol": 1e-3 * rtol * float(_rms_of_tree(params)), "norm": _rms_of_tree}
    names = [name for name in values if getattr(finder, name, None) is left]
    if not names:
        return solver
    return eqx.tree_at(
        lambda solver: [getattr(solver.root_finder, name) for name in names],
        solver,
        [values[name] for name in names],
    )


def check_keeps_types(solver: Any, terms: Any, params: PyTree) -> None:
    """Checks that a step of a solver of the user keeps the types of a state in float32.

    - **Raises** [`InputError`][lazyrich.InputError] if the step fails or returns other types.
    """

    def step(t0: Array, params: PyTree) -> PyTree:
        state = solver.init(terms, t0, t0 + 1, params, None)
        return solver.step(terms, t0, t0 + 1, params, None, state, False)[0]

    try:
        found = eqx.filter_eval_shape(step, jnp.zeros(()), params)
    except (TypeError, ValueError):  # a loop of the solver has met two types
        found = None
    if found is None or float_type(found) != float_type(params):
        accepted = "computes in the type of times, float64: leave precision out, or name a method"
        raise InputError("dynamics.method", type(solver).__name__, accepted)


def _rms_of_tree(tree: PyTree) -> Any:
    return rms(jax.flatten_util.ravel_pytree(tree)[0])


def _check_memory(num_outputs: int) -> None:
    """Raises an error before any computation if a kernel does not fit in memory."""
    if num_outputs > MAX_OUTPUTS:
        return
    # The kernel, its factor, and one temporary copy of each during the factorisation.
    needed, free = 4 * 8 * num_outputs**2, psutil.virtual_memory().available
    if needed > free:
        accepted = (
            f"needs 4 matrices of {num_outputs} x {num_outputs}, {needed / 1e9:.1f} GB, and "
            f"{free / 1e9:.1f} GB are free; use rock2 or fewer samples"
        )
        raise InputError("dynamics.method", "rosenbrock", accepted)

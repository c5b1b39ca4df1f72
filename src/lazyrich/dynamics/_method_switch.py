"""A solve by one method or by two. The second takes over once the flow has become stiff."""

import dataclasses
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from .._integrate.status import STIFF
from .._integrate.stepping import SolveState, System, hand_over
from ..solvers._work import AbstractCounting, Work, work
from ._effort import Effort, Part
from ._method import Method


class Switched(eqx.Module):
    """The time at which the second method took over, and the work until then."""

    since: Float[Array, ""]
    num_accepted: Int[Array, ""]
    num_rejected: Int[Array, ""]
    work: Work

    @classmethod
    def of(cls, solve: SolveState) -> "Switched":
        found = (solve.t, solve.num_accepted, solve.num_rejected, solve.work)
        return cls(*jax.tree.map(jnp.asarray, found))


class Kept(eqx.Module):
    """The content of a checkpoint. Its structure does not depend on the current method."""

    switched: Switched
    solve: SolveState  # without the state of its solver
    states: tuple[Any, Any]  # of both solvers; zeros for the one that is not in use


class MethodSwitch:
    """The methods of a solve, and the one in use.

    - **Takes** the `system` with the solver of the first method, and its `solve`.
    """

    def __init__(self, method: Method, system: System, solve: SolveState):
        self.system, self.solve = system, solve
        self.switched: Switched | None = None
        self._first, later = system, method.later
        self._later = None if later is None else with_solver(system, later)

    def settle(self) -> None:
        """Switches to the second method if the first method has found that the flow is stiff."""
        if self._later is not None and int(self.solve.status) == STIFF:
            self.switched, self.system = Switched.of(self.solve), self._later
            self.solve = hand_over(self.system, self.solve)

    def kept(self) -> SolveState | Kept:
        """The content of a checkpoint."""
        if self._later is None:
            return self.solve
        blank = self._blank
        own = self.solve.solver_state
        states = (own, blank.states[1]) if self.switched is None else (blank.states[0], own)
        bare = dataclasses.replace(self.solve, solver_state=None)
        return Kept(self.switched or blank.switched, bare, states)

    def take_up(self, kept: SolveState | Kept) -> None:
        """Continues from the content of a checkpoint."""
        if isinstance(kept, SolveState):
            self.solve = kept
            return
        assert self._later is not None
        turned = float(kept.switched.since) >= 0
        if turned:
            self.switched, self.system = kept.switched, self._later
        self.solve = dataclasses.replace(kept.solve, solver_state=kept.states[turned])

    @property
    def _blank(self) -> Kept:
        """Zeros for the method that is not in use, and for a switch that has not happened."""
        solve = self.solve

        def state(system: System) -> Any:
            init, t1 = system.solver.init, solve.t + solve.step
            shapes = eqx.filter_eval_shape(init, system.terms, solve.t, t1, solve.y, system.args)
            return jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), shapes)

        assert self._later is not None
        counts = jnp.zeros_like(solve.num_accepted)
        nothing = jax.tree.map(lambda w: w.astype(counts.dtype), work())
        never = Switched(jnp.full_like(solve.t, -1.0), counts, counts, nothing)
        return Kept(never, solve, (state(self._first), state(self._later)))


def with_solver(system: System, method: Method) -> System:
    """The same system with the solver of another method."""
    return dataclasses.replace(system, solver=method.solver)


def effort_of(method: Method, solve: SolveState, switched: Switched | None) -> Effort:
    """The cost of a solve, and of each of its methods if there were two."""
    whole = Effort(
        method.name,
        int(solve.num_accepted),
        int(solve.num_rejected),
        int(solve.work.num_gradients),
        int(solve.work.num_matrices),
        int(solve.work.num_products),
        int(solve.work.num_jittered),
        method.reason,
        counted=isinstance(method.solver, AbstractCounting),
    )
    if switched is None:
        return whole
    later, before = method.later, switched.work
    assert later is not None
    first = Part(
        method.name,
        0.0,
        int(switched.num_accepted),
        int(switched.num_rejected),
        int(before.num_gradients),
        int(before.num_matrices),
        int(before.num_products),
    )
    second = Part(
        later.name,
        float(switched.since),
        whole.num_steps - first.num_steps,
        whole.num_rejected - first.num_rejected,
        whole.num_gradients - first.num_gradients,
        whole.num_jacobians - first.num_jacobians,
        whole.num_products - first.num_products,
    )
    return dataclasses.replace(
        whole,
        name=f"{method.name}, then {later.name}",
        reason=f"{method.reason}; from t = {second.since:.3g} on {later.name}: {later.reason}",
        methods=(first, second),
    )

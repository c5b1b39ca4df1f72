"""The cost of both phases of the limit of small decay."""

from ..._integrate.stepping import SolveState
from ...solvers.projected_tsit5 import ProjectedTsit5
from .._effort import Effort, Part


def both_efforts(early: Effort, solve: SolveState, fit_time: float, num_runs: int) -> Effort:
    """The cost of a fit without decay and of the solve on the manifold from `fit_time` on.

    - **Takes** `num_runs`, the number of runs that share the solve. Each has the whole cost.
    """
    work = solve.work
    part = Part(
        ProjectedTsit5.__name__,
        fit_time,
        int(solve.num_accepted),
        int(solve.num_rejected),
        int(work.num_gradients),
        int(work.num_matrices),
        int(work.num_products),
    )
    first = Part(
        early.name,
        0.0,
        early.num_steps,
        early.num_rejected,
        early.num_gradients,
        early.num_jacobians,
        early.num_products,
    )
    shared = f"; one solve for {num_runs} runs" if num_runs > 1 else ""
    return Effort(
        f"{early.name}, then {part.name}",
        first.num_steps + part.num_steps,
        first.num_rejected + part.num_rejected,
        first.num_gradients + part.num_gradients,
        first.num_jacobians + part.num_jacobians,
        first.num_products + part.num_products,
        early.num_jittered + int(work.num_jittered),
        f"without decay; the data are fitted at t = {fit_time:.3g}, from there on the flow of "
        f"the norm on the manifold{shared}",
        (first, part),
    )

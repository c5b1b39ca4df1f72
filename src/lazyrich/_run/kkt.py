"""KKT residuals of margin maximisation at the end of the runs of a batch."""

from collections.abc import Sequence
from typing import Any

import equinox as eqx
import jax
import numpy as np
from jaxtyping import Array, Float, Shaped

from .._integrate.lanes import Lanes
from ..models import AbstractModel
from ..predictors.constraints import KKTSystem, Limits
from ..predictors.kkt import kkt_multipliers, kkt_residual, kkt_system
from ..records.schema import names_of
from .context import ProbedRun
from .prepared import PreparedProblem

KKT = tuple(name.removeprefix("kkt_") for name in names_of("kkt"))


class _Constrained(eqx.Module):
    """A model with its margin constraints, one for each training sample."""

    model: AbstractModel
    x: Shaped[Array, "n d"]
    y: Shaped[Array, " n"]

    @property
    def limits(self) -> Limits:
        return Limits(len(self.y), np.inf)


def final_residuals(
    prepared: Sequence[PreparedProblem], runs: Sequence[ProbedRun], finals: Sequence[Any]
) -> dict[str, Float[np.ndarray, " r"]]:
    """Residuals of the final parameters, by name; empty if they are not defined.

    Not-a-number for a run whose final parameters are not known (None).
    """
    found = unknown_residuals(prepared, runs)
    known = [place for place, final in enumerate(finals) if final is not None]
    if not found or not known:
        return found
    values = _residuals([prepared[i] for i in known], [runs[i] for i in known],
                        [finals[i] for i in known])  # fmt: skip
    for name, column in values.items():
        found[name][known] = column
    return found


def _residuals(
    prepared: Sequence[PreparedProblem], runs: Sequence[ProbedRun], finals: Sequence[Any]
) -> dict[str, Float[np.ndarray, " r"]]:
    lanes = Lanes.of(
        [
            _Constrained(run.context.model, each.problem.train.x, each.problem.train.y)
            for run, each in zip(runs, prepared, strict=True)
        ]
    )
    params = jax.tree.map(lambda *leaves: np.stack(leaves).astype(np.float64), *finals)
    systems = lanes.call(_system, params)
    pairs = zip(np.asarray(systems.matrix), np.asarray(systems.linear), strict=True)
    multipliers = np.stack([kkt_multipliers(matrix, linear) for matrix, linear in pairs])
    found = lanes.call(_residual, params, multipliers)
    return dict(zip(KKT, map(np.asarray, found), strict=True))


def unknown_residuals(
    prepared: Sequence[PreparedProblem], runs: Sequence[ProbedRun]
) -> dict[str, Float[np.ndarray, " r"]]:
    """Not-a-number for each residual of each run; empty if they are not defined."""
    if not _are_defined(prepared, runs):
        return {}
    return {name: np.full(len(runs), np.nan) for name in KKT}


def _are_defined(prepared: Sequence[PreparedProblem], runs: Sequence[ProbedRun]) -> bool:
    diagonal = prepared[0].experiment.model.diagonal_depth is not None
    return diagonal and runs[0].context.labels == "signs"


def _system(of: _Constrained, params: Any) -> KKTSystem:
    return kkt_system(of.model, params, of.x, of.y, of.limits)


def _residual(of: _Constrained, params: Any, multipliers: Array) -> tuple[Array, Array]:
    return kkt_residual(of.model, params, of.x, of.y, of.limits, multipliers)

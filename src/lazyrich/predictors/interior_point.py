"""Interior-point methods: the predictor--corrector step, and the search along the path."""

import itertools
from collections.abc import Callable, Iterable
from typing import NamedTuple, Protocol, TypeVar, runtime_checkable

import numpy as np
from jaxtyping import Float
from threadpoolctl import threadpool_limits

_MAX_ITERATIONS = 100


class Move(NamedTuple):
    """Changes of the two members of each complementary pair, and of the other unknowns."""

    primal: Float[np.ndarray, "*shape"]
    dual: Float[np.ndarray, "*shape"]
    other: Float[np.ndarray, "..."]


# The Newton direction towards pairs with a given product, `centre`. The second-order term of
# the `first` direction is subtracted if it is given.
Direction = Callable[[float, Move | None], Move]
# The centring parameter and the fraction of the largest step that is taken, for the remaining part
# of the complementarity and the length of the affine step.
Rule = Callable[[float, float], tuple[float, float]]


class Step(NamedTuple):
    """A direction, and the lengths of the steps of primal and dual unknowns."""

    move: Move
    primal: float
    dual: float


def max_step(values: Float[np.ndarray, "*shape"], change: Float[np.ndarray, "*shape"]) -> float:
    """The largest step that keeps `values` positive."""
    falling = change < 0
    return float(np.min(-values[falling] / change[falling], initial=np.inf))


def mehrotra_rule(left: float, length: float) -> tuple[float, float]:
    """The rule of Mehrotra for linear programs."""
    del length
    return left**3, 0.99


def predictor_corrector(
    primal: Float[np.ndarray, "*shape"],
    dual: Float[np.ndarray, "*shape"],
    num_pairs: int,
    direction: Direction,
    max_step: Callable[..., float] = max_step,
    rule: Rule = mehrotra_rule,
) -> Step:
    """One step of a feasible pair; products of `primal` and `dual` are zero at the optimum.

    The affine direction shows how far the complementarity can be reduced, which determines the
    centring of the second direction; both use the same factorisation.

    - **Source** Mehrotra, SIAM J. Optim. 2 (1992), 575--601.
    """
    first = direction(0.0, None)
    ahead = min(1.0, max_step(primal, first.primal)), min(1.0, max_step(dual, first.dual))
    now = float(np.vdot(primal, dual))
    then = float(np.vdot(primal + ahead[0] * first.primal, dual + ahead[1] * first.dual))
    centring, kept = rule(then / now, min(ahead))
    move = direction(centring * now / num_pairs, first)
    lengths = kept * max_step(primal, move.primal), kept * max_step(dual, move.dual)
    return Step(move, min(1.0, lengths[0]), min(1.0, lengths[1]))


@runtime_checkable
class Candidate(Protocol):
    """Weights and multipliers of a point of the path, with the gap that they prove."""

    @property
    def gap(self) -> float:
        """The relative gap; NaN if rounding errors dominate."""


_C = TypeVar("_C", bound=Candidate)


def relative_gap(candidate: Candidate) -> float:
    """The relative gap of a candidate."""
    return candidate.gap


def best_along(
    path: Iterable[_C],
    tolerance: float,
    patience: int = 8,
    measure: Callable[[_C], float] = relative_gap,
    progress: Callable[[float], None] = lambda gap: None,
) -> _C:
    """The candidate with the smallest `measure` along a path of at least one.

    The search ends at a relative gap of a hundredth of `tolerance`, at a gap that is NaN, after
    100 iterations, after `patience` iterations without a better candidate, and with the path.
    `progress` is called with the relative gap after each iteration.
    """
    best: _C | None = None
    stalled = 0
    # NumPy and SciPy have separate thread pools, which would compete for the cores.
    with threadpool_limits(limits=1, user_api="blas"):
        for new in itertools.islice(path, 1 + _MAX_ITERATIONS):
            if best is None or measure(new) < measure(best):
                best, stalled = new, 0
            else:
                stalled += 1
            progress(best.gap)
            if np.isnan(new.gap) or best.gap <= 0.01 * tolerance or stalled == patience:
                break
    assert best is not None
    return best

"""Runs that share a solve of the limit of small decay, because they differ only in the decay."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ..._integrate.kept import MAX_EXTRA
from .._base import Observe, Problem

# The most bytes that the records of runs that share a solve may take. Their number is that of all
# requested times of all runs, and each contains the values of every run.
_MOST_BYTES = 2**28


@dataclasses.dataclass(frozen=True)
class Run:
    r"""One of the runs of a solve: its $\lambda$, and when it records.

    - `times`, to record, and `asked`, at which parameters are kept, or None.
    """

    decay: float
    times: Float[np.ndarray, " t"]
    asked: Float[np.ndarray, " k"] | None

    @property
    def end(self) -> float:
        """The time up to which the data must be fitted: then decay acts, or the run ends."""
        return min(float(self.times[-1]), 1 / self.decay)

    @property
    def slow(self) -> Float[np.ndarray, " t"]:
        r"""The times to record as $s = \lambda t$."""
        found = self.times * self.decay
        for place in np.flatnonzero(np.diff(found) <= 0):  # equal only by rounding
            found[place + 1] = np.nextafter(found[place], np.inf)
        return found

    def in_flow_time(self, s: Float[np.ndarray, " r"]) -> Float[np.ndarray, " r"]:
        """Times of the second phase as times of the flow; requested ones without rounding."""
        slow = self.slow
        places = np.minimum(np.searchsorted(slow, s), len(slow) - 1)
        return np.where(slow[places] == s, self.times[places], s / self.decay)


class Together(eqx.Module):
    """What several runs record of one solve, with a leading axis over the runs.

    - `observe`, of the first run. The other runs have other `varying` leaves, at `places` among
        its leaves. `clocks`, the time of the solve over the time of each run.
    """

    observe: Any
    varying: list[Array]
    clocks: Float[Array, " r"]
    places: tuple[int, ...] = eqx.field(static=True)

    @classmethod
    def of(cls, observers: Sequence[Observe], clocks: Sequence[float]) -> "Together":
        """The records of runs whose observers differ in the values of arrays."""
        columns = list(zip(*map(jax.tree.leaves, observers), strict=True))
        places = [i for i, column in enumerate(columns) if not _all_equal(column)]
        varying = [jnp.stack([jnp.asarray(leaf) for leaf in columns[i]]) for i in places]
        return cls(observers[0], varying, jnp.asarray(clocks), tuple(places))

    def __call__(self, time: Any, params: Any) -> Any:
        leaves, structure = jax.tree.flatten(self.observe)

        def one(clock: Array, varying: list[Array]) -> Any:
            own = list(leaves)
            for place, leaf in zip(self.places, varying, strict=True):
                own[place] = leaf
            return jax.tree.unflatten(structure, own)(time / clock, params)

        # What does not depend on the run, such as the outputs of the model, is computed once.
        return jax.vmap(one)(self.clocks, self.varying)


def alike(
    problems: Sequence[Problem],
    times: Sequence[Float[np.ndarray, " _"]],
    observers: Sequence[Observe] | None,
) -> list[list[int]]:
    """The indices of problems that differ only in the decay, as far as their records fit."""
    groups: list[list[int]] = []
    for i, problem in enumerate(problems):
        for group in groups:
            first = group[0]
            fits = observers is None or (
                _stackable(observers[first], observers[i])
                and len(group) < _most(problem, times[i], observers[i])
            )
            if fits and _same(problems[first], problem):
                group.append(i)
                break
        else:
            groups.append([i])
    return groups


def _most(problem: Problem, times: Float[np.ndarray, " _"], observe: Observe) -> int:
    """The number of runs whose records fit in memory. They grow as its square."""
    found = jax.tree.leaves(jax.eval_shape(observe, jnp.zeros(()), problem.params))
    single = (len(times) + MAX_EXTRA) * sum(leaf.size * leaf.dtype.itemsize for leaf in found)
    return int((_MOST_BYTES / max(single, 1)) ** 0.5)


def _same(a: Problem, b: Problem) -> bool:
    zero = jnp.zeros(())
    first, other = (dataclasses.replace(each, weight_decay=zero) for each in (a, b))
    return bool(eqx.tree_equal(first, other))


def _stackable(a: Observe, b: Observe) -> bool:
    """Whether two observers differ at most in the values of arrays."""
    structures: list[Any] = [jax.tree.structure(each) for each in (a, b)]
    if structures[0] != structures[1]:
        return False
    pairs = zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True)
    return all(_equal(*pair) or _of_one_shape(*pair) for pair in pairs)


def _of_one_shape(a: Any, b: Any) -> bool:
    arrays = eqx.is_array(a) and eqx.is_array(b)
    return arrays and (a.shape, a.dtype) == (b.shape, b.dtype)


def _equal(a: Any, b: Any) -> bool:
    if a is b:
        return True
    if not eqx.is_array(a):
        return type(a) is type(b) and a == b
    return _of_one_shape(a, b) and np.array_equal(np.asarray(a), np.asarray(b))


def _all_equal(leaves: Sequence[Any]) -> bool:
    return all(_equal(leaves[0], leaf) for leaf in leaves[1:])

"""Many solves of one shape in one compiled call."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Int, PyTree

from .._core.errors import InputError
from .status import RUNNING
from .stepping import SolveState, advance


class _Grouped(NamedTuple):
    """Arrays that some lanes share and others do not: each once, and which one a lane has."""

    distinct: Any  # leading axis over them
    rows: Int[np.ndarray, " r"]


class Lanes:
    """Modules as one: arrays on a leading axis where they differ, and single where not.

    - **Takes** `arrays`, of all modules; `kinds`, whether one array serves all lanes (`shared`),
        each lane has its own (`own`), or some lanes share theirs (`grouped`).
    """

    def __init__(self, arrays: list[Any], static: Any, kinds: tuple[str, ...]):
        self.arrays, self.static, self.kinds = arrays, static, kinds

    @classmethod
    def of(cls, modules: Sequence[Any]) -> "Lanes":
        """The modules of each lane; an array that several of them hold is held once.

        - **Raises** [`InputError`][lazyrich.InputError] for those that differ in more than
            numbers.
        """
        parts = [eqx.partition(module, eqx.is_array) for module in modules]
        dynamic, statics = zip(*parts, strict=True)
        leaves, structures = zip(*(jax.tree.flatten(part) for part in dynamic), strict=True)
        alike = all(structure == structures[0] for structure in structures[1:])
        alike = alike and all(eqx.tree_equal(statics[0], static) for static in statics[1:])
        columns = list(zip(*leaves, strict=True)) if alike else []
        if not alike or any(len({(a.shape, a.dtype) for a in column}) > 1 for column in columns):
            raise unlike(len(modules))
        stacked = [_stacked(column) for column in columns]
        kinds = tuple(kind for _, kind in stacked)
        return cls([array for array, _ in stacked], (statics[0], structures[0]), kinds)

    @classmethod
    def spread(cls, one: Any, together: Any) -> "Lanes":
        """Lanes of which `together` has the arrays, and of which `one` could be any."""
        dynamic, static = eqx.partition(together, eqx.is_array)
        arrays, structure = jax.tree.flatten(dynamic)
        single = jax.tree.leaves(eqx.filter(one, eqx.is_array))
        kinds = tuple(
            "own" if many.ndim > few.ndim else "shared"
            for many, few in zip(arrays, single, strict=True)
        )
        return cls(arrays, (static, structure), kinds)

    @property
    def together(self) -> Any:
        """The module that holds the arrays of all lanes, of which none is grouped."""
        return eqx.combine(jax.tree.unflatten(self.static[1], self.arrays), self.static[0])

    def one(self, place: int) -> Any:
        """The module of the lane at `place`, of lanes of which none is grouped."""
        arrays = [
            jnp.asarray(array if kind == "shared" else array[place])
            for array, kind in zip(self.arrays, self.kinds, strict=True)
        ]
        return Lanes(arrays, self.static, self.kinds).together

    def call(self, function: Callable[..., Any], *operands: PyTree) -> Any:
        """`function(module, *operands)` for every lane, in one compiled call.

        Compiled for a power of two, of which only the lanes that there are run: the last batch
        of a sweep, which is smaller, is not compiled anew.
        """
        by_kind: dict[str, list[Any]] = {"shared": [], "own": [], "grouped": []}
        for array, kind in zip(self.arrays, self.kinds, strict=True):
            by_kind[kind].append(array)
        rows = [group.rows for group in by_kind["grouped"]]
        num = jax.tree.leaves((by_kind["own"], rows, operands))[0].shape[0]
        own, rows, operands = jax.tree.map(_padded, (by_kind["own"], rows, operands))
        distinct = [_padded(group.distinct) for group in by_kind["grouped"]]
        arrays = (by_kind["shared"], own, distinct, rows)
        found = _call(function, arrays, self.static, self.kinds, operands, jnp.asarray(num))
        return jax.tree.map(lambda a: a if len(a) == num else a[:num], found)


def _padded(array: Any) -> Any:
    """With zeros up to a leading axis of a power of two."""
    num = len(array)
    capacity = 1 << (num - 1).bit_length()
    if num == capacity:
        return array
    return np.concatenate([array, np.zeros((capacity - num, *array.shape[1:]), array.dtype)])


def advance_all(
    lanes: Lanes, solve: SolveState, progress: Callable[[int, int], None]
) -> SolveState:
    """Advances every lane to its own end; each keeps its own clock and step size.

    - **Takes** `solve`, every leaf with a leading axis over lanes; `progress`, told after
        every segment how many lanes have ended, and how many steps have been accepted by
        those that run.
    """
    while np.any(np.asarray(solve.status) == RUNNING):
        solve = lanes.call(advance, solve)
        running = np.asarray(solve.status) == RUNNING
        progress(int(np.sum(~running)), int(np.asarray(solve.num_accepted)[running].sum()))
    return jax.tree.map(np.array, solve)


def unlike(num_runs: int) -> InputError:
    """The complaint about runs that cannot share a compiled call."""
    accepted = "runs of a batch may differ in scales, decay, t1, seed and a model's numbers alone"
    return InputError("experiments", f"a batch of {num_runs}", accepted)


# Lanes are taken one after the other. Side by side, by `vmap`, every one of them takes as many
# attempts as the slowest, and intermediates leave the cache: on one core, 128 reduced flows with
# n = 32, d = 1,000 cost 9.6 ms each in place of 7.3 ms, four masks of panel lyu2024/3 1.2 s in
# place of 0.75 s. One after the other, a lane's result is also that of the run alone to the
# last bit, and one that has ended costs nothing.
@eqx.filter_jit
def _call(
    function: Callable[..., Any],
    arrays: tuple[list[Array], ...],
    static: Any,
    kinds: tuple[str, ...],
    operands: tuple[PyTree, ...],
    num_lanes: Int[Array, ""],
) -> Any:
    def one(lane: Any) -> Any:
        shared, own, distinct, rows = map(iter, arrays)

        def leaf(kind: str) -> Array:
            if kind == "shared":
                return next(shared)
            return next(own)[lane] if kind == "own" else next(distinct)[next(rows)[lane]]

        leaves = [leaf(kind) for kind in kinds]
        module = eqx.combine(jax.tree.unflatten(static[1], leaves), static[0])
        return function(module, *jax.tree.map(lambda a: a[lane], operands))

    capacity = jax.tree.leaves((arrays[1], arrays[3], operands))[0].shape[0]
    empty = jax.tree.map(
        lambda like: jnp.zeros((capacity, *like.shape), like.dtype), jax.eval_shape(one, 0)
    )

    def add(lane: Array, found: Any) -> Any:
        return jax.tree.map(lambda all_, its: all_.at[lane].set(its), found, one(lane))

    return lax.fori_loop(0, num_lanes, add, empty)


def _stacked(column: Sequence[Any]) -> tuple[Any, str]:
    """The arrays of all lanes, and how they are kept."""
    distinct = {id(array): array for array in column}
    first, *others = distinct.values()
    if all(np.array_equal(other, first) for other in others):
        return first, "shared"
    if len(distinct) == len(column):
        return np.stack([np.asarray(array) for array in column]), "own"
    place = {key: i for i, key in enumerate(distinct)}
    rows = np.array([place[id(array)] for array in column])
    return _Grouped(np.stack([np.asarray(a) for a in distinct.values()]), rows), "grouped"


def gathered(column: Sequence[Any]) -> Any:
    """The first array where all are equal, else all of them on a leading axis."""
    array, kind = _stacked(column)
    return array if kind != "grouped" else array.distinct[array.rows]

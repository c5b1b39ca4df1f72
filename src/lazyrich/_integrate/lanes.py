"""Many solves of the same shapes in one compiled call."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float, Int, PyTree

from .._core.errors import InputError
from .status import RUNNING
from .stepping import SolveState, advance


class _Grouped(NamedTuple):
    """Arrays that some lanes share: every distinct array once, and the index for each lane."""

    distinct: Any  # with a leading axis over distinct arrays
    rows: Int[np.ndarray, " r"]


class Lanes:
    """Several modules as one: arrays that differ are stacked, and equal arrays are stored once.

    Each module is called a lane.

    - **Takes** `arrays` of all modules; `kinds`, for each array, whether all lanes have the same
        one (`shared`), each lane has its own (`own`), or some lanes share one (`grouped`).
    """

    def __init__(self, arrays: list[Any], static: Any, kinds: tuple[str, ...]):
        self.arrays, self.static, self.kinds = arrays, static, kinds

    @classmethod
    def of(cls, modules: Sequence[Any]) -> "Lanes":
        """Lanes from modules. An array that several modules contain is stored once.

        - **Raises** [`InputError`][lazyrich.InputError] if the modules differ in more than the
            values of arrays.
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
        """Lanes with the arrays of `together`; `one` is an example of a single lane."""
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
        """The module with the stacked arrays of all lanes. No array may be grouped."""
        return eqx.combine(jax.tree.unflatten(self.static[1], self.arrays), self.static[0])

    def one(self, place: int) -> Any:
        """The module of the lane at `place`. No array may be grouped."""
        arrays = [
            jnp.asarray(array if kind == "shared" else array[place])
            for array, kind in zip(self.arrays, self.kinds, strict=True)
        ]
        return Lanes(arrays, self.static, self.kinds).together

    def call(self, function: Callable[..., Any], *operands: PyTree) -> Any:
        """`function(module, *operands)` for every lane, in one compiled call.

        The call is compiled for a number of lanes rounded up to a power of two, and only the
        given lanes are run. A smaller last batch of a sweep therefore often needs no new
        compilation.
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
    """The array, padded with zeros to a power of two on its leading axis."""
    num = len(array)
    capacity = 1 << (num - 1).bit_length()
    if num == capacity:
        return array
    return np.concatenate([array, np.zeros((capacity - num, *array.shape[1:]), array.dtype)])


def advance_all(
    lanes: Lanes, solve: SolveState, progress: Callable[[int, int], None]
) -> SolveState:
    """Advances every lane to its end. Every lane has its own clock and step size.

    - **Takes** `solve`, with a leading axis over lanes in every leaf; `progress`, called after
        every segment with the number of lanes that have ended, and the number of accepted steps
        of the other lanes.
    """
    while np.any(np.asarray(solve.status) == RUNNING):
        solve = lanes.call(advance, solve)
        running = np.asarray(solve.status) == RUNNING
        progress(int(np.sum(~running)), int(np.asarray(solve.num_accepted)[running].sum()))
    return jax.tree.map(np.array, solve)


def of_one_length(times: Sequence[Float[np.ndarray, " _"]]) -> list[Float[np.ndarray, " t"]]:
    """The times of every lane, filled up with infinite times to the length of the longest.

    Lanes have different numbers of times if two of these coincide in some lanes only.
    """
    most = max(map(len, times))
    return [np.pad(row, (0, most - len(row)), constant_values=np.inf) for row in times]


def unlike(num_runs: int) -> InputError:
    """The error for runs that cannot share a compiled call."""
    accepted = "runs of a batch may differ in scales, decay, t1, seed and a model's numbers alone"
    return InputError("experiments", f"a batch of {num_runs}", accepted)


# Lanes are computed one after the other. With `vmap`, every lane would take as many attempts as the
# slowest lane, and intermediate arrays would not fit in cache. On one core, 128 reduced flows with
# n = 32, d = 1,000 cost 9.6 ms each with `vmap` and 7.3 ms without; four masks of panel lyu2024/3
# cost 1.2 s with `vmap` and 0.75 s without. Without `vmap`, the result of a lane is also equal to
# that of a single run to the last bit, and a lane that has ended costs nothing.
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
    """The arrays of all lanes, stored as one of the three kinds, and the kind."""
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
    """The first array if all are equal; otherwise all of them on a leading axis."""
    array, kind = _stacked(column)
    return array if kind != "grouped" else array.distinct[array.rows]

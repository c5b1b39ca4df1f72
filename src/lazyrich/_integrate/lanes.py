"""Many marches of one shape in one compiled call."""

from collections.abc import Callable, Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Int, PyTree

from .._core.errors import InputError
from .march import March, advance
from .status import RUNNING


class Lanes:
    """Modules as one: arrays on a leading axis where they differ, and single where not."""

    def __init__(self, arrays: list[Any], static: Any, axes: tuple[int | None, ...]):
        self.arrays, self.static, self.axes = arrays, static, axes

    @classmethod
    def of(cls, modules: Sequence[Any]) -> "Lanes":
        """The modules of each lane.

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
        stacked = [gathered(column) for column in columns]
        axes = tuple(
            None if array is column[0] else 0
            for array, column in zip(stacked, columns, strict=True)
        )
        return cls(stacked, (statics[0], structures[0]), axes)

    @classmethod
    def spread(cls, one: Any, together: Any) -> "Lanes":
        """Lanes of which `together` has the arrays, and of which `one` could be any."""
        dynamic, static = eqx.partition(together, eqx.is_array)
        arrays, structure = jax.tree.flatten(dynamic)
        single = jax.tree.leaves(eqx.filter(one, eqx.is_array))
        axes = tuple(
            0 if many.ndim > few.ndim else None for many, few in zip(arrays, single, strict=True)
        )
        return cls(arrays, (static, structure), axes)

    @property
    def together(self) -> Any:
        """The module that holds the arrays of all lanes."""
        return eqx.combine(jax.tree.unflatten(self.static[1], self.arrays), self.static[0])

    def take(self, chosen: Any) -> "Lanes":
        """The lanes at `chosen` places."""
        arrays = [
            array if axis is None else np.asarray(array)[chosen]
            for array, axis in zip(self.arrays, self.axes, strict=True)
        ]
        return Lanes(arrays, self.static, self.axes)

    def call(self, function: Callable[..., Any], *operands: PyTree) -> Any:
        """`function(module, *operands)` for every lane, in one compiled call.

        Compiled for a power of two, of which only the lanes that there are run: the last batch
        of a sweep, which is smaller, is not compiled anew.
        """
        own = [array for array, axis in zip(self.arrays, self.axes, strict=True) if axis == 0]
        num = jax.tree.leaves((own, operands))[0].shape[0]
        capacity = 1 << (num - 1).bit_length()

        def filled(array: Any) -> Any:
            if num == capacity:
                return array
            missing = np.zeros((capacity - num, *array.shape[1:]), array.dtype)
            return np.concatenate([array, missing])

        shared = [array for array, axis in zip(self.arrays, self.axes, strict=True) if axis is None]
        own, operands = jax.tree.map(filled, (own, operands))
        found = _call(function, (shared, own), self.static, self.axes, operands, jnp.asarray(num))
        return found if num == capacity else jax.tree.map(lambda a: a[:num], found)


def march_together(lanes: Lanes, march: March, progress: Callable[[int, int], None]) -> March:
    """Marches every lane to its own end; each keeps its own clock and step size.

    - **Takes** `march`, every leaf with a leading axis over lanes; `progress`, told after
        every segment how many lanes have ended, and how many steps have been accepted by
        those that run.
    """
    while np.any(np.asarray(march.status) == RUNNING):
        march = lanes.call(advance, march)
        running = np.asarray(march.status) == RUNNING
        progress(int(np.sum(~running)), int(np.asarray(march.num_accepted)[running].sum()))
    return jax.tree.map(np.array, march)


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
    arrays: tuple[list[Array], list[Array]],
    static: Any,
    axes: tuple[int | None, ...],
    operands: tuple[PyTree, ...],
    num_lanes: Int[Array, ""],
) -> Any:
    def one(lane: Any) -> Any:
        shared, own = iter(arrays[0]), iter(arrays[1])
        leaves = [next(shared) if axis is None else next(own)[lane] for axis in axes]
        module = eqx.combine(jax.tree.unflatten(static[1], leaves), static[0])
        return function(module, *jax.tree.map(lambda a: a[lane], operands))

    capacity = jax.tree.leaves((arrays[1], operands))[0].shape[0]
    empty = jax.tree.map(
        lambda like: jnp.zeros((capacity, *like.shape), like.dtype), jax.eval_shape(one, 0)
    )

    def add(lane: Array, found: Any) -> Any:
        return jax.tree.map(lambda all_, its: all_.at[lane].set(its), found, one(lane))

    return lax.fori_loop(0, num_lanes, add, empty)


def gathered(column: Sequence[Any]) -> Any:
    """The first array where all are equal, else all of them on a leading axis."""
    first = column[0]
    if all(array is first or np.array_equal(array, first) for array in column[1:]):
        return first
    return np.stack([np.asarray(array) for array in column])

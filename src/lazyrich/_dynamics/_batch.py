"""Many marches of one shape in one compiled call."""

from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, PyTree

from .._errors import InputError
from ._march import RUNNING, March, System, advance


def march_together(
    lanes: list[tuple[System, March]], progress: Callable[[int, int], None]
) -> list[March]:
    """Marches every lane to its own end; each keeps its own clock and step size.

    A segment takes as long as its slowest lane, and lanes that have ended are taken out
    whenever they make up half of a batch: nothing is paid for more than twice over.

    - **Takes** `progress`, told after every segment how many lanes have ended, and how many
        steps have been accepted in all.
    - **Raises** [`InputError`][lazyrich.InputError] for lanes that differ in more than
        numbers.
    """
    shared = _Shared([system for system, _ in lanes])
    march = jax.tree.map(lambda *leaves: jnp.stack(leaves), *(march for _, march in lanes))
    ended: dict[int, March] = {}
    places = np.arange(len(lanes))  # which lane stands where in the batch; -1 for filling
    while len(ended) < len(lanes):
        march = _advance_together(shared.arrays, shared.static, shared.axes, march)
        status = np.asarray(march.status)
        for place in np.flatnonzero((status != RUNNING) & (places >= 0)):
            ended[int(places[place])] = jax.tree.map(lambda a, i=place: a[i], march)
            places[place] = -1
        running = np.flatnonzero(places >= 0)
        progress(len(ended), int(np.sum(np.asarray(march.num_accepted)[running])))
        if 0 < len(running) <= len(places) // 2:
            chosen = _padded(running, status)
            march = jax.tree.map(lambda a, i=chosen: a[i], march)
            shared.take(chosen)
            places = np.where(np.arange(len(chosen)) < len(running), places[chosen], -1)
    return [ended[lane] for lane in range(len(lanes))]


@eqx.filter_jit
def _advance_together(
    arrays: list[Array], static: PyTree, axes: tuple[int | None, ...], march: March
) -> March:
    def one(arrays: list[Array], march: March) -> March:
        dynamic = jax.tree.unflatten(static[1], arrays)
        return advance(eqx.combine(dynamic, static[0]), march)

    return jax.vmap(one, in_axes=(list(axes), 0))(arrays, march)


def _padded(running: np.ndarray, status: np.ndarray) -> np.ndarray:
    """Running places, filled up to a power of two with one that has ended.

    Sizes are few, so that each is compiled once; what has ended takes no steps.
    """
    size = 1 << (len(running) - 1).bit_length()
    ended = np.flatnonzero(status != RUNNING)[:1]
    return np.concatenate([running, np.repeat(ended, size - len(running))])


class _Shared:
    """Systems as one: arrays on a leading axis where they differ, and single where not."""

    def __init__(self, systems: list[System]):
        parts = [eqx.partition(system, eqx.is_array) for system in systems]
        dynamic, statics = zip(*parts, strict=True)
        leaves, structures = zip(*(jax.tree.flatten(part) for part in dynamic), strict=True)
        shapes = [
            {(leaf.shape, leaf.dtype) for leaf in column} for column in zip(*leaves, strict=True)
        ]
        alike = all(structure == structures[0] for structure in structures[1:])
        alike = alike and all(eqx.tree_equal(statics[0], static) for static in statics[1:])
        if not alike or any(len(found) > 1 for found in shapes):
            accepted = "runs of a batch may differ in init_scale, weight_decay, t1 and seed alone"
            raise InputError("experiments", f"a batch of {len(systems)}", accepted)
        columns = list(zip(*leaves, strict=True))
        self.axes = tuple(None if _all_equal(column) else 0 for column in columns)
        self.static = (statics[0], structures[0])
        self.arrays = [
            column[0] if axis is None else jnp.stack(column)
            for column, axis in zip(columns, self.axes, strict=True)
        ]

    def take(self, chosen: np.ndarray) -> None:
        """Keeps the lanes at `chosen` places."""
        self.arrays = [
            array if axis is None else array[chosen]
            for array, axis in zip(self.arrays, self.axes, strict=True)
        ]


def _all_equal(column: tuple[Array, ...]) -> bool:
    first = column[0]
    return all(leaf is first or bool(jnp.array_equal(leaf, first)) for leaf in column[1:])

"""Detection of points on an axis that are the same run."""

from collections.abc import Iterator
from typing import Any

import jax
import jax.random as jr
import numpy as np

from .._core.errors import InputError
from .._core.precision import in_double
from ..experiments.experiment import Experiment
from ._sweep import Sweep, ordered


@in_double
def refuse_repeats(sweep: Sweep) -> None:
    """Refuses an axis that would compute the same numbers more than once.

    - **Raises** [`InputError`][lazyrich.InputError] if two points of an axis give the same run for
        all values of the other axes: a `seed` on which neither data nor parameters depend, a scale
        of parameters that are zero, or an order of samples in batches that contain all samples.
    """
    for place, axis in enumerate(sweep.axes):
        if len(axis) < 2:
            continue
        pair: tuple[int, int] | None = None
        for corner in (0, -1):
            others = [a.changes(corner) for a in sweep.axes if a is not axis]
            base = {key: value for changes in others for key, value in changes.items()}
            pair = _equal_points(sweep, place, base)
            if pair is None:
                break
        if pair is not None:
            first, second = (axis.points[index] for index in pair)
            values = [list(first), list(second)] if len(axis.keys) > 1 else [*first, *second]
            accepted = "changes nothing: these points are the same run; leave the key out"
            raise InputError(f"over.{axis.name}", values, accepted)


def _equal_points(sweep: Sweep, place: int, base: dict[str, Any]) -> tuple[int, int] | None:
    """Two points of an axis with the same numbers."""
    axis = sweep.axes[place]
    known: dict[str, int] = {}
    for index, one in enumerate(_normal_forms(sweep.experiment, base, axis)):
        if one in known:
            return known[one], index
        known[one] = index
    return None


def _normal_forms(experiment: Experiment, base: dict[str, Any], axis: Any) -> Iterator[str]:
    """Hashes of the experiments of an axis; keys without effect have one fixed value."""
    begin = experiment.with_changes(ordered(base | axis.changes(0)))
    without_effect = _without_effect(
        begin, experiment.with_changes(ordered(base | axis.changes(1))), axis.keys
    )
    for index in range(len(axis)):
        one = experiment.with_changes(ordered(base | axis.changes(index)))
        dynamics = one.dynamics
        if any(key.startswith("dynamics.") for key in axis.keys):
            dynamics = dynamics.normal_form(len(one.task.sample(jr.key(one.seed)).train.x))
        divides = one.divide_loss and one.loss_divisor != 1
        decayed = one.decayed if one.weight_decay > 0 and one.model.has_biases else "all"
        changes = {"dynamics": dynamics, "divide_loss": divides, "decayed": decayed}
        changes |= without_effect
        yield one.model_copy(update=changes).content_hash


def _without_effect(first: Experiment, second: Experiment, keys: tuple[str, ...]) -> dict[str, Any]:
    """Keys of an axis that have no effect, and their fixed values."""
    found: dict[str, Any] = {}
    if keys not in (("seed",), ("init_scale",)):
        return found
    try:
        one, other = _drawn(first), _drawn(second)
    except Exception:
        return found  # a model of the user that raises: the runs will report the error
    if keys == ("seed",) and _same(one, other):
        found["seed"] = 0
    if keys == ("init_scale",):
        *_, params = one
        if all(not np.any(np.asarray(leaf)) for leaf in jax.tree.leaves(params)):
            found["init_scale"] = 1.0
    return found


def _drawn(experiment: Experiment) -> tuple[Any, Any, Any]:
    """Data and parameters as drawn from `seed`."""
    data_key, init_key = jr.split(jr.key(experiment.seed))
    split = experiment.task.sample(init_key if experiment.task.drawn_with_model else data_key)
    params = experiment.model.init(init_key, split.train.x.shape[1])
    return split.train, next(iter(split.test)), params


def _same(first: Any, second: Any) -> bool:
    pairs = zip(jax.tree.leaves(first), jax.tree.leaves(second), strict=True)
    return all(np.array_equal(a, b) for a, b in pairs)

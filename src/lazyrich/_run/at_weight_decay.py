"""The record of the limit of small decay at another weight decay."""

from typing import Any

import numpy as np
import xarray as xr

from .._core.errors import InputError, number_of
from .._core.precision import in_double
from ..experiments.experiment import Experiment, check_experiment
from ..records.described import check_record_of, json_attribute
from ..records.parameters import KEPT_TIME
from ..solvers import ProjectedTsit5


@in_double
def at_weight_decay(record: xr.Dataset, experiment: Experiment, weight_decay: float) -> xr.Dataset:
    r"""The record of the limit of small decay at another weight decay, without a solve.

    The second phase of [`SmallDecayLimit`][lazyrich.dynamics.SmallDecayLimit] depends on time only
    through $s = \lambda t$. Its records are moved to the times $s/\lambda'$. Those of the first
    phase do not depend on $\lambda$ and stay at their times.

    - **Takes** a record of these dynamics and its experiment; `weight_decay`, $\lambda' > 0$.
    - **Returns** the record at $\lambda'$, to the horizon $t_1 \lambda / \lambda'$. Records of the
        second phase before $t_\text{fit}$ are left out. The attribute `moved_from` is $\lambda$;
        cost and seconds are those of the solve.
    - **Raises** [`InputError`][lazyrich.InputError] for a record of other dynamics or of another
        experiment, if the record did not fit its data, or if $\lambda' t_\text{fit} > 1$: then the
        data are not fitted before decay acts.
    """
    check_experiment(experiment)
    check_record_of(record, experiment.content_hash)
    if not experiment.dynamics.is_small_decay_limit:
        kind = type(experiment.dynamics).__name__
        raise InputError(
            "dynamics.kind", kind, "should be SmallDecayLimit, whose runs can be moved"
        )
    methods = json_attribute(record, "solver").get("methods", ())
    if not methods or methods[-1].get("name") != ProjectedTsit5.__name__:
        accepted = "should have reached the second phase, where the data are fitted"
        raise InputError("record", record.attrs["ending"], accepted)
    fit_time = float(methods[-1]["since"])
    ratio = experiment.weight_decay / number_of("weight_decay", weight_decay, positive=True)
    # Decay must not act before the fit, and the horizon must not be before it.
    most = min(1.0, experiment.t1 * experiment.weight_decay) / fit_time if fit_time > 0 else np.inf
    if not weight_decay <= most:
        accepted = f"should be at most {most:.3g}: the data are fitted at t = {fit_time:.3g}"
        raise InputError("weight_decay", weight_decay, accepted)
    changes: dict[str, Any] = {"weight_decay": float(weight_decay), "t1": experiment.t1 * ratio}
    if experiment.times.at:
        changes |= {"times.at": ()}
    other = experiment.with_changes(changes)
    moved = record
    for axis in ("time", KEPT_TIME):
        if axis in moved.dims:
            moved = _moved(moved, axis, fit_time, ratio)
    return moved.assign_attrs(
        experiment=other.description,
        experiment_hash=other.content_hash,
        resolved_until=min(float(record.attrs["resolved_until"]), fit_time),
        moved_from=experiment.weight_decay,
    )


def _moved(record: xr.Dataset, axis: str, fit_time: float, ratio: float) -> xr.Dataset:
    """The record with the times of the second phase on an axis multiplied by `ratio`."""
    times = record[axis].values
    late = times >= fit_time
    moved = np.where(late, times * ratio, times)
    kept = ~late | (moved >= fit_time)
    return record.isel({axis: kept}).assign_coords({axis: (axis, moved[kept], record[axis].attrs)})

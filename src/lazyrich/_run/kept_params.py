"""Which parameters of a run its record keeps: at the end, and at times of the user's choice."""

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np
import xarray as xr
from jaxtyping import Float

from .._core.errors import InputError
from .._core.precision import real_array
from .._core.room import check_room
from ..dynamics import Snapshots
from ..records.parameters import FINAL, KEPT, KEPT_TIME, LAYOUT, flattened, layout_of
from ..records.schema import VARIABLES
from .prepared import PreparedProblem

Keep = bool | int | str | Sequence[float] | np.ndarray
"""What `keep_params` accepts, see [`simulate`][lazyrich.simulate]."""

# The largest number of final parameters that `keep_params=True` puts in a record: 128 MB.
_MOST_KEPT = 2**24
# The copies of kept parameters in memory: of the solve, of its result, and of the record.
_COPIES = 3

_ACCEPTED = 'should be True or False, "end", a sequence of times, or a number of records from 1 on'


@dataclasses.dataclass(frozen=True)
class KeptParams:
    """The parameters to keep.

    - `end`, whether to keep those at the end; `always`, also if there are more than 16 million.
    - `times`, at which to keep them; or `number`, of recorded times at which to keep them.
    """

    end: bool = False
    always: bool = False
    times: tuple[float, ...] = ()
    number: int = 0

    @classmethod
    def of(cls, keep_params: object) -> "KeptParams":
        """The meaning of an argument `keep_params`.

        - **Raises** [`InputError`][lazyrich.InputError] for any other value.
        """
        if isinstance(keep_params, bool | np.bool_):
            return cls(end=bool(keep_params))
        if isinstance(keep_params, str):
            if keep_params != "end":
                raise InputError("keep_params", keep_params, _ACCEPTED)
            return cls(True, True)
        if isinstance(keep_params, int | np.integer):
            if keep_params < 1:
                raise InputError("keep_params", int(keep_params), _ACCEPTED)
            return cls(True, True, number=int(keep_params))
        if not isinstance(keep_params, Sequence | np.ndarray):
            raise InputError("keep_params", keep_params, _ACCEPTED)
        times = np.asarray(real_array(keep_params, "keep_params"), float)
        if times.ndim != 1 or not times.size:
            raise InputError("keep_params", keep_params, _ACCEPTED)
        if not np.all(np.isfinite(times) & (times >= 0)):
            bad = float(times[~(np.isfinite(times) & (times >= 0))][0])
            raise InputError("keep_params", bad, "times should be finite, and not negative")
        return cls(True, True, tuple(np.unique(times).tolist()))

    def grids(
        self,
        prepared: Sequence[PreparedProblem],
        times: Sequence[Float[np.ndarray, " _"]],
    ) -> list[Float[np.ndarray, " k"]] | None:
        """The times of the solver at which the parameters of each run are kept; None for none.

        - **Takes** `times`, the recorded times on the clock of the solver.
        - **Raises** [`InputError`][lazyrich.InputError] for times outside a run, or if the
            parameters do not fit in memory.
        """
        if not (self.times or self.number):
            return None
        found = [self._grid(*pair) for pair in zip(prepared, times, strict=True)]
        sizes = [_num_bytes(each.to_solve.params) for each in prepared]
        needed = sum(len(grid) * size for grid, size in zip(found, sizes, strict=True))
        check_room({"keep_params": _COPIES * needed}, {"keep_params": self.number or len(found[0])})
        return found

    def _grid(
        self, prepared: PreparedProblem, times: Float[np.ndarray, " t"]
    ) -> Float[np.ndarray, " k"]:
        begin, t1 = prepared.begin, prepared.experiment.t1
        if self.number:
            last = len(times) - 1
            num = min(self.number, len(times))
            rows = np.linspace(0, last, num) if num > 1 else np.array([last])
            return times[np.rint(rows).astype(int)]
        if self.times[-1] > t1:
            raise InputError("keep_params", self.times[-1], f"should be at most t1 = {t1:g}")
        if begin > 0 and self.times[0] <= begin:
            accepted = f"should be later than {begin:g}, where the run is continued"
            raise InputError("keep_params", self.times[0], accepted)
        return np.array(self.times) - begin

    def added_to(
        self, record: xr.Dataset, final: Any, snapshots: Snapshots | None, begin: float
    ) -> xr.Dataset:
        """A record with the parameters that are kept.

        - **Takes** `final`, the parameters at the end, or None if the solve went on beyond the last
            record; `begin`, the time at which the solve began.
        """
        if final is None and snapshots is None:
            return record
        shaped = _one_of(snapshots) if final is None else final
        flat = flattened(shaped)
        if not self.end or (flat.size > _MOST_KEPT and not self.always):
            return record
        labels = VARIABLES[FINAL].labels
        kept: dict[str, Any] = {} if final is None else {FINAL: ("parameter", flat, labels)}
        record = record.assign_attrs({LAYOUT: layout_of(shaped)})
        if snapshots is None:
            return record.assign(kept)
        num = len(snapshots.times)
        leaves = [np.asarray(leaf) for leaf in jax.tree.leaves(snapshots.params)]
        parts = [leaf.reshape(num, math.prod(leaf.shape[1:])) for leaf in leaves]
        rows = np.concatenate(parts, axis=1)
        # A run that failed may have passed times with parameters that are not finite.
        right = np.all(np.isfinite(rows), axis=1)
        kept[KEPT] = ((KEPT_TIME, "parameter"), rows[right], VARIABLES[KEPT].labels)
        axis = {
            **record["time"].attrs,
            "long_name": VARIABLES[KEPT_TIME].long_name,
            "within": snapshots.within,
        }
        times = (KEPT_TIME, snapshots.times[right] + begin, axis)
        return record.assign(kept).assign_coords({KEPT_TIME: times})


def _one_of(snapshots: Any) -> Any:
    """Parameters of the shape of each of the snapshots."""
    return jax.tree.map(lambda leaf: np.zeros(np.shape(leaf)[1:]), snapshots.params)


def _num_bytes(params: Any) -> int:
    return sum(
        math.prod(np.shape(leaf)) * np.dtype(leaf.dtype).itemsize
        for leaf in jax.tree.leaves(params)
    )

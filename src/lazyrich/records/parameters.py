"""The parameters that a record keeps, as a pytree and as a flat dictionary."""

import collections
import json
import math
from typing import Any

import jax
import numpy as np
import xarray as xr

from .. import models
from .._core.errors import InputError, one_line
from .._core.given import number_of
from .described import json_attribute

FINAL, KEPT, KEPT_TIME = "final_parameters", "kept_parameters", "kept_time"
LAYOUT = "parameter_layout"

# A leaf in the structure of a layout.
_LEAF = "array"
# Relative distance of a time from a kept time up to which both are the same.
_SAME = 1e-9
_MAX_SHOWN = 8


def flattened(params: Any) -> np.ndarray:
    """All parameters in one row, in the order of `jax.tree.leaves`."""
    leaves = [np.asarray(leaf) for leaf in jax.tree.leaves(params)]
    return np.concatenate([leaf.reshape(-1) for leaf in leaves]) if leaves else np.zeros(0)


def names_of_leaves(params: Any) -> list[str]:
    """A name for each array: the keys, fields and indices that lead to it, joined by dots.

    A dictionary keyed by dotted names, such as a `state_dict`, gives its own names. If two names
    would be equal, all are written in the syntax of Python, such as `['a'][0]`.
    """
    paths = [path for path, _ in jax.tree_util.tree_leaves_with_path(params)]
    names = [jax.tree_util.keystr(path, simple=True, separator=".") or "params" for path in paths]
    if len(set(names)) < len(names):
        names = [jax.tree_util.keystr(path) for path in paths]
    return names


def layout_of(params: Any) -> str:
    """Names, shapes and structure of parameters as JSON.

    The structure consists of dictionaries, lists, tuples and the named tuples of built-in models.
    It is null if the parameters contain anything else, such as a class of the user.
    """
    shapes = [list(np.shape(leaf)) for leaf in jax.tree.leaves(params)]
    layout = {"names": names_of_leaves(params), "shapes": shapes, "structure": _encoded(params)}
    return json.dumps(layout)


class _Layout:
    """A layout from a record, after a check.

    - **Raises** [`InputError`][lazyrich.InputError] for a layout that does not fit parameters of
        this number.
    """

    def __init__(self, record: xr.Dataset, num_params: int):
        table = json_attribute(record, LAYOUT)
        names, shapes = table.get("names"), table.get("shapes")
        right = isinstance(names, list) and all(isinstance(name, str) for name in names)
        right = right and isinstance(shapes, list) and all(map(_is_shape, shapes))
        if not right or not isinstance(names, list) or not isinstance(shapes, list):
            raise _damaged("should have names and shapes")
        if len(names) != len(shapes) or len(set(names)) < len(names):
            raise _damaged("should have one shape for each of different names")
        if sum(map(math.prod, shapes)) != num_params:
            raise _damaged(f"should have shapes of {num_params} parameters in all")
        self.names, self.shapes = names, [tuple(shape) for shape in shapes]
        self.structure = table.get("structure")

    def arrays(self, flat: np.ndarray) -> list[np.ndarray]:
        """The arrays in a row of parameters."""
        ends = np.cumsum([math.prod(shape) for shape in self.shapes])
        parts = np.split(flat, ends[:-1]) if len(ends) else []
        return [part.reshape(shape) for part, shape in zip(parts, self.shapes, strict=True)]


@xr.register_dataset_accessor("params")
class KeptParameters:
    """The parameters in a record, for a run with `keep_params` or with the probe `parameters`.

    `record.params` exists for every dataset once lazyrich is imported. `record.params()` returns
    the parameters at the end, and `record.params(t)` those at a time `t` at which they were kept.
    """

    def __init__(self, record: xr.Dataset):
        self._record = record

    @property
    def times(self) -> np.ndarray:
        """The times at which parameters were kept, without the end."""
        record = self._record
        name = KEPT_TIME if KEPT in record else "time" if "parameters" in record else None
        return np.zeros(0) if name is None else np.asarray(record[name].values, float)

    def __call__(self, time: float | None = None) -> Any:
        """The parameters as a pytree of NumPy arrays in the structure of the model.

        - **Takes** `time`, one of `times`, or None for the end. With a discrete optimiser, a time
            that rounds to a kept step.
        - **Raises** [`InputError`][lazyrich.InputError] if the record does not contain them, or if
            the structure contains a class of your own. For such a model, use
            [`parameters`][lazyrich.parameters], which takes the experiment, or `state_dict`.
        """
        flat = flat_params(self._record, time)
        layout = self._layout(flat)
        if layout.structure is None:
            accepted = (
                "contains a class of your own, which no file describes: use lr.parameters(record, "
                "experiment, time), or record.params.state_dict(time)"
            )
            raise InputError("record", "the structure of the parameters", accepted)
        arrays = collections.deque(layout.arrays(flat))
        try:
            found = _decoded(layout.structure, arrays)
        except RecursionError:
            raise _damaged("should not be nested as deeply") from None
        if arrays:
            raise _damaged("should have a place for each array")
        return found

    def state_dict(self, time: float | None = None) -> dict[str, np.ndarray]:
        """The parameters as a flat dictionary from names, such as `layers.0.weight`, to arrays.

        A model with parameters in a dictionary of dotted names, as those of PyTorch, has the names
        of this dictionary. `time` and errors are as for `record.params(time)`.
        """
        flat = flat_params(self._record, time)
        layout = self._layout(flat)
        return dict(zip(layout.names, layout.arrays(flat), strict=True))

    def _layout(self, flat: np.ndarray) -> _Layout:
        if LAYOUT not in self._record.attrs:
            accepted = (
                "should be in it: use simulate(..., keep_params=...); for a record of an earlier "
                "version use lr.parameters(record, experiment)"
            )
            raise InputError("record", LAYOUT, accepted)
        return _Layout(self._record, flat.size)


def flat_params(record: xr.Dataset, time: float | None, *, nearest: bool = False) -> np.ndarray:
    """The parameters of a record at a time, or at the end, in one row.

    - **Takes** `nearest`, whether the probe `parameters` may answer with its nearest record.
    - **Raises** [`InputError`][lazyrich.InputError] if the record does not contain them.
    """
    if time is not None:
        time = number_of("time", time, "a number, or None for the end")
    if time is None and FINAL in record:
        return _row(record, FINAL, ("parameter",))
    if KEPT in record and time is not None:
        rows, times = _row(record, KEPT, (KEPT_TIME, "parameter")), _times(record, KEPT_TIME)
        place = _place(times, time, float(record[KEPT_TIME].attrs.get("within", 0.0)))
        if place is not None:
            return rows[place]
    if time is not None and FINAL in record and record.attrs.get("ending") == "completed":
        end = _times(record, "time")
        if _place(end[-1:], time, 0.0) is not None:
            return _row(record, FINAL, ("parameter",))
    if "parameters" in record:
        rows, times = _row(record, "parameters", ("time", "parameter")), _times(record, "time")
        place = len(times) - 1 if time is None else int(np.argmin(np.abs(times - time)))
        if len(times) and (nearest or time is None or _place(times, time, 0.0) is not None):
            return rows[place]
    if time is not None and (KEPT in record or FINAL in record or "parameters" in record):
        known = record.params.times
        shown = [f"{t:g}" for t in known[:_MAX_SHOWN]] or ["the end"]
        more = f" and {len(known) - _MAX_SHOWN} more" if len(known) > _MAX_SHOWN else ""
        accepted = (
            f"parameters were kept at {', '.join(shown)}{more}; run with keep_params=[{time:g}]"
        )
        raise InputError("time", time, accepted)
    accepted = "should be in it: use simulate(..., keep_params=True), or the probe parameters"
    raise InputError("record", "parameters", accepted)


def _row(record: xr.Dataset, name: str, dims: tuple[str, ...]) -> np.ndarray:
    found = record[name]
    if found.dims != dims or found.dtype.kind != "f":
        raise InputError("record", name, f"should be real numbers over {', '.join(dims)}")
    return np.asarray(found.values)


def _times(record: xr.Dataset, name: str) -> np.ndarray:
    found = record[name]
    if found.dims != (name,) or found.dtype.kind not in "fiu":
        raise InputError("record", name, "should be numbers")
    return np.asarray(found.values, float)


def _place(times: np.ndarray, time: float, within: float) -> int | None:
    """The index of the time that equals `time` up to rounding or `within`, if there is one."""
    if not len(times):
        return None
    place = int(np.argmin(np.abs(times - time)))
    allowed = max(within, 0.0) + _SAME * abs(time)
    return place if abs(times[place] - time) <= allowed else None


def _is_shape(shape: object) -> bool:
    return isinstance(shape, list) and all(
        isinstance(n, int) and not isinstance(n, bool) and 0 <= n < 2**53 for n in shape
    )


def _encoded(tree: Any) -> Any:
    """The structure as nested tables; None if it cannot be described."""
    try:
        return _described(tree)
    except _Unknown:
        return None


class _Unknown(Exception):  # noqa: N818  # internal, and no failure
    """A node of a pytree that a file cannot describe."""


def _described(tree: Any) -> Any:
    kind: Any = type(tree)
    if tree is None:
        return {"none": []}
    if kind is dict:
        if not all(type(key) in (str, int) for key in tree):
            raise _Unknown
        return {"dict": [[key, _described(tree[key])] for key in sorted(tree)]}
    if kind is list or kind is tuple:
        return {kind.__name__: [_described(child) for child in tree]}
    if _named_tuple(kind.__name__) is kind:
        return {kind.__name__: [_described(child) for child in tree]}
    if not jax.tree_util.all_leaves([tree]):
        raise _Unknown
    return _LEAF


def _named_tuple(name: str) -> Any:
    """The named tuple of this name among the built-in models, or None."""
    kind = getattr(models, name, None)
    is_tuple = isinstance(kind, type) and issubclass(kind, tuple) and hasattr(kind, "_fields")
    return kind if is_tuple else None


def _decoded(structure: Any, arrays: "collections.deque[np.ndarray]") -> Any:
    if structure == _LEAF:
        if not arrays:
            raise _damaged("should have an array for each place")
        return arrays.popleft()
    if not isinstance(structure, dict) or len(structure) != 1:
        raise _damaged("should describe dictionaries, lists and tuples of arrays")
    [(name, children)] = structure.items()
    if not isinstance(children, list):
        raise _damaged("should list what each part contains")
    if name == "none":
        return None
    if name == "dict":
        pairs = [pair for pair in children if isinstance(pair, list) and len(pair) == 2]
        if len(pairs) < len(children) or not all(type(pair[0]) in (str, int) for pair in pairs):
            raise _damaged("should name the entries of dictionaries")
        return {key: _decoded(child, arrays) for key, child in pairs}
    found = [_decoded(child, arrays) for child in children]
    if name in ("list", "tuple"):
        return found if name == "list" else tuple(found)
    kind = _named_tuple(name)
    # Records of earlier versions lack fields that were added since, which have defaults.
    if kind is None or not 0 <= len(kind._fields) - len(found) <= len(kind._field_defaults):
        raise _damaged(f"names {one_line(name, 80)}, which this version does not know")
    return kind(*found)


def _damaged(accepted: str) -> InputError:
    return InputError("record", LAYOUT, accepted)

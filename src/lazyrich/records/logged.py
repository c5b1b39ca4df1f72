"""A record of a run that another program logged."""

import json
import math
import warnings
from collections.abc import Mapping
from importlib.metadata import version
from typing import Any

import numpy as np
import tomli_w
import xarray as xr
from jaxtyping import Float, Shaped

from .._core.errors import InputError, did_you_mean
from ..experiments.experiment import Experiment
from .schema import AXES, CURVES, VARIABLES, names_of
from .transition import Thresholds

_UNITS: dict[str, str] = {"time": "1", "step": "step", "epoch": "epoch"}
_JUDGED = ("train_accuracy", "test_accuracy", "train_loss", "test_loss")
_MOST_PERCENT = 100.0 + 1e-6
_ROUNDING = 1e-6


def record(
    times: Any,
    curves: Mapping[str, Any],
    experiment: Experiment | None = None,
    *,
    unit: str = "time",
    time_per_step: float | None = None,
    steps: Any = None,
    epochs: Any = None,
    name: str = "log",
    weight_decay: float | None = None,
    init_scale: float | None = None,
    scales: Mapping[str, float] | None = None,
    long_names: Mapping[str, str] | None = None,
    thresholds: Thresholds | None = None,
    ending: str = "completed",
    source: str = "another program",
) -> xr.Dataset:
    r"""A record of curves that another program logged, for all that takes a record.

    - **Takes** `times`, `(t,)`, increasing; `curves`, `(t,)` each by name: accuracies or losses of
        `train` and `test` data, and as much else as was logged. Accuracies are fractions; percents
        are found and divided by 100, with a warning that says so.
    - `unit`, what `times` are: gradient-flow `time`, a `step` or an `epoch`. With `time_per_step`
        they are steps, and time is $t$ = `time_per_step` × step: the learning rate of plain
        gradient descent, over $1 - \beta$ with momentum. `steps` and `epochs`, `(t,)`, stand on a
        second axis of figures.
    - `experiment`, if the log is of a run of one; else a `name`, `weight_decay` $\lambda$ of
        $\mathcal L + \frac\lambda2 \|\theta\|^2$ and `init_scale`, as far as they are known.
    - `scales`, what scores are measured against, such as `test_chance`, the largest share of one
        label among the test data, or `train_variance` and `test_variance`, the losses of the best
        constant, for a regression.
    - `long_names`, of curves that are not in `lazyrich.records.VARIABLES`, by name.
    - `thresholds`, by which the run is judged; `ending`, how it ended; `source`, what logged it.
    - **Raises** [`InputError`][lazyrich.InputError] for lengths that differ, times that do not
        increase, losses and accuracies that are not finite or out of range, and unknown names.
    """
    at = _times("times", times)
    axis = _axis(unit, time_per_step, experiment)
    coords: dict[str, Any] = {}
    if time_per_step is not None:
        if steps is not None:
            raise InputError("steps", "given", "are the times where time_per_step is given")
        coords["step"] = ("time", _whole(at), VARIABLES["step"].labels)
        at = at * time_per_step
    for key, values in (("step", steps), ("epoch", epochs)):
        if values is not None:
            found = _whole(_of_length(f"{key}s", values, len(at)))
            coords[key] = ("time", found, VARIABLES[key].labels)
    labels = {"long_name": AXES[axis].long_name, "units": axis}
    variables = _curves(curves, len(at), dict(long_names or {}))
    variables |= _scales(dict(scales or {}))
    attributes = {
        **_described(experiment, name, weight_decay, init_scale),
        "ending": ending,
        "source": source,
        "lazyrich_version": version("lazyrich"),
    }
    if thresholds is not None:
        attributes["thresholds"] = json.dumps(thresholds.table())
    return xr.Dataset(variables, {"time": ("time", at, labels), **coords}, attributes)


def _axis(unit: str, time_per_step: float | None, experiment: Experiment | None) -> str:
    """The units of the axis of time."""
    if unit not in _UNITS:
        accepted = f"should be one of {', '.join(_UNITS)}{did_you_mean(str(unit), _UNITS)}"
        raise InputError("unit", unit, accepted)
    if time_per_step is not None:
        if unit != "time":
            accepted = "should be left out where time_per_step makes times of steps"
            raise InputError("unit", unit, accepted)
        if not (math.isfinite(time_per_step) and time_per_step > 0):
            raise InputError("time_per_step", time_per_step, "should be positive and finite")
    elif unit == "time" and experiment is not None:
        return experiment.time_axis[1]
    return _UNITS[unit]


def _described(
    experiment: Experiment | None, name: str, weight_decay: float | None, init_scale: float | None
) -> dict[str, Any]:
    """What the record says of the experiment."""
    given = {"weight_decay": weight_decay, "init_scale": init_scale}
    known = {key: float(value) for key, value in given.items() if value is not None}
    if experiment is None:
        for key, value in known.items():
            if not (math.isfinite(value) and value >= 0):
                raise InputError(key, value, "should be finite and not negative")
        text = tomli_w.dumps({"name": str(name), **known})
        return {"experiment": text, "experiment_hash": "", "homogeneity": 0}
    if known:
        key, value = next(iter(known.items()))
        raise InputError(key, value, "should be left out: the experiment has one")
    return {
        "experiment": experiment.description,
        "experiment_hash": experiment.content_hash,
        "homogeneity": experiment.model.homogeneity or 0,
    }


def _numbers(key: str, values: Any) -> Float[np.ndarray, " t"]:
    """A series as an array of doubles."""
    try:
        array = np.asarray(values)
        if array.dtype.kind not in "biuf":
            array = np.asarray([float(value) for value in array.ravel().tolist()])
    except (TypeError, ValueError, RuntimeError) as error:
        raise InputError(key, values, f"should be a series of numbers ({error})") from None
    if array.ndim != 1:
        raise InputError(key, f"shape {array.shape}", "should be a series, with one axis")
    return array.astype(float)


def _times(key: str, values: Any) -> Float[np.ndarray, " t"]:
    times = _numbers(key, values)
    if not len(times):
        raise InputError(key, [], "should hold at least one time")
    if not np.all(np.isfinite(times)):
        place = int(np.argmin(np.isfinite(times)))
        raise InputError(f"{key}[{place}]", float(times[place]), "should be finite")
    if times[0] < 0:
        raise InputError(f"{key}[0]", float(times[0]), "should not be negative")
    back = np.flatnonzero(np.diff(times) <= 0)
    if len(back):
        place = int(back[0]) + 1
        before, now = float(times[place - 1]), float(times[place])
        accepted = f"times should increase, and the one before is {before:g}"
        raise InputError(f"{key}[{place}]", now, accepted)
    return times


def _of_length(key: str, values: Any, num: int) -> Float[np.ndarray, " t"]:
    found = _numbers(key, values)
    if len(found) != num:
        raise InputError(key, f"{len(found)} values", f"should be {num}, one for each time")
    return found


def _whole(values: Float[np.ndarray, " t"]) -> Shaped[np.ndarray, " t"]:
    """Steps as whole numbers, where they are."""
    is_whole = np.all(np.isfinite(values)) and np.all(values % 1 == 0) and np.max(values) < 2**53
    return values.astype(np.int64) if is_whole else values


def _curves(curves: Any, num: int, long_names: dict[str, str]) -> dict[str, Any]:
    if not isinstance(curves, Mapping):
        raise InputError("curves", type(curves).__name__, "should be a mapping of names to series")
    found: dict[str, Float[np.ndarray, " t"]] = {}
    for curve, values in curves.items():
        key = f"curves.{curve}"
        if curve not in CURVES and (curve not in long_names or curve in VARIABLES):
            near = did_you_mean(str(curve), CURVES)
            accepted = f"unknown curve{near}; one of your own needs an entry in long_names"
            raise InputError(key, "given", accepted)
        found[curve] = _of_length(key, values, num)
    unused = [curve for curve in long_names if curve not in found]
    if unused:
        accepted = f"should be the name of a curve{did_you_mean(unused[0], found)}"
        raise InputError("long_names", unused[0], accepted)
    pairs = (_JUDGED[:2], _JUDGED[2:])
    if not any(set(pair) <= set(found) for pair in pairs):
        accepted = "should hold train_accuracy and test_accuracy, or train_loss and test_loss"
        raise InputError("curves", sorted(map(str, found)), accepted)
    for curve in _JUDGED:
        _check_finite(curve, found.get(curve))
    _as_fractions(found)
    variables = {}
    for curve, values in found.items():
        labels = {"long_name": long_names.get(curve, ""), "units": "1"}
        known = VARIABLES.get(curve)
        variables[curve] = ("time", values, labels if known is None else known.labels)
    return variables


def _check_finite(curve: str, values: Float[np.ndarray, " t"] | None) -> None:
    if values is None or np.all(np.isfinite(values)):
        return
    place = int(np.argmin(np.isfinite(values)))
    accepted = "should be finite: leave out times without a value, and end the log before values "
    accepted += "that broke, with ending='diverged'"
    raise InputError(f"curves.{curve}[{place}]", float(values[place]), accepted)


def _as_fractions(found: dict[str, Float[np.ndarray, " t"]]) -> None:
    """Divides accuracies in percent by 100: all of them, since one program logs them alike."""
    accuracies = {name: found[name] for name in _JUDGED[:2] if name in found}
    if not accuracies:
        return
    highest = max(float(np.max(values)) for values in accuracies.values())
    percent = highest > 1 + _ROUNDING
    most = _MOST_PERCENT if percent else 1 + _ROUNDING
    for curve, values in accuracies.items():
        outside = (values < -_ROUNDING) | (values > most)
        if np.any(outside):
            place = int(np.argmax(outside))
            accepted = "should be between 0 and 1, or a percent between 0 and 100"
            raise InputError(f"curves.{curve}[{place}]", float(values[place]), accepted)
        found[curve] = np.clip(values / (100.0 if percent else 1.0), 0.0, 1.0)
    if percent:
        names = " and ".join(accuracies)
        words = f"{names}: the largest value is {highest:g}, so they are read as percents"
        warnings.warn(words, UserWarning, stacklevel=4)


def _scales(scales: dict[str, float]) -> dict[str, Any]:
    known = names_of("scale")
    found = {}
    for key, value in scales.items():
        if key not in known:
            accepted = f"unknown{did_you_mean(str(key), known)}; accepted are {', '.join(known)}"
            raise InputError(f"scales.{key}", value, accepted)
        number = float(value)
        if not (math.isfinite(number) and number >= 0):
            raise InputError(f"scales.{key}", value, "should be finite and not negative")
        found[key] = ((), number, VARIABLES[key].labels)
    return found

"""A record of curves that another program logged."""

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
from .._core.given import check_kind
from ..experiments.experiment import Experiment, check_experiment
from .schema import AXES, CURVES, VARIABLES, names_of
from .transition import Thresholds, check_thresholds

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
    percent: bool | None = None,
    scales: Mapping[str, float] | None = None,
    long_names: Mapping[str, str] | None = None,
    thresholds: Thresholds | None = None,
    ending: str = "completed",
    source: str = "another program",
) -> xr.Dataset:
    r"""A record of curves that another program logged. Use it like the record of a run.

    - **Takes** `times`, `(t,)`, increasing; `curves`, series `(t,)` by name: accuracies or losses
        of training (`train`) and test data, and any other curves.
    - `percent`, whether accuracies are percents. If left out, they are fractions, unless every
        one of them has a value above 1: then they are divided by 100, with a warning.
    - `unit`, the unit of `times`: gradient-flow `time`, a `step` or an `epoch`. With
        `time_per_step` they are steps, and the time is $t$ = `time_per_step` × step. The time per
        step is the learning rate for plain gradient descent, and the learning rate over
        $1 - \beta$ with momentum. `steps` and `epochs`, `(t,)`, give figures a second axis.
    - `experiment`, if the log belongs to a run of one; otherwise, if known, a `name`,
        `weight_decay` $\lambda$ of $\mathcal L + \frac\lambda2 \|\theta\|^2$ and `init_scale`.
    - `scales`, reference values for scores, such as `test_chance`, the largest share of one
        label among the test data, or `train_variance` and `test_variance`, the losses of the best
        constant output, for a regression.
    - `long_names`, of curves that are not in `lazyrich.records.VARIABLES`, by name.
    - `thresholds` for the outcome; `ending`, how the run ended; `source`, the program that logged.
    - **Raises** [`InputError`][lazyrich.InputError] for lengths that differ, times that do not
        increase, losses and accuracies that are not finite or out of range, and unknown names.
    """
    if experiment is not None:
        check_experiment(experiment)
    for key, named in (("scales", scales), ("long_names", long_names)):
        check_kind(key, {} if named is None else named, Mapping, "a mapping by name")
    at = _times("times", times)
    axis = _axis(unit, time_per_step, experiment)
    coords: dict[str, Any] = {}
    if time_per_step is not None:
        if steps is not None:
            accepted = "should be left out: with time_per_step, times are steps"
            raise InputError("steps", "given", accepted)
        coords["step"] = ("time", _whole(at), VARIABLES["step"].labels)
        at = at * time_per_step
    for key, values in (("step", steps), ("epoch", epochs)):
        if values is not None:
            found = _whole(_of_length(f"{key}s", values, len(at)))
            coords[key] = ("time", found, VARIABLES[key].labels)
    labels = {"long_name": AXES[axis].long_name, "units": axis}
    variables = _curves(curves, len(at), dict(long_names or {}), percent)
    variables |= _scales(dict(scales or {}))
    attributes = {
        **_described(experiment, name, weight_decay, init_scale),
        "ending": ending,
        "source": source,
        "lazyrich_version": version("lazyrich"),
    }
    if thresholds is not None:
        check_thresholds(thresholds)
        attributes["thresholds"] = json.dumps(thresholds.table())
    return xr.Dataset(variables, {"time": ("time", at, labels), **coords}, attributes)


def _axis(unit: str, time_per_step: float | None, experiment: Experiment | None) -> str:
    """The units of the time axis."""
    if unit not in _UNITS:
        accepted = f"should be one of {', '.join(_UNITS)}{did_you_mean(str(unit), _UNITS)}"
        raise InputError("unit", unit, accepted)
    if time_per_step is not None:
        if unit != "time":
            accepted = "should be left out: with time_per_step, times are steps"
            raise InputError("unit", unit, accepted)
        if not (math.isfinite(time_per_step) and time_per_step > 0):
            raise InputError("time_per_step", time_per_step, "should be positive and finite")
    elif unit == "time" and experiment is not None:
        return experiment.time_axis[1]
    return _UNITS[unit]


def _described(
    experiment: Experiment | None, name: str, weight_decay: float | None, init_scale: float | None
) -> dict[str, Any]:
    """The tables of the experiment, or what is known of it."""
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
        "homogeneity": experiment.homogeneity or 0,
    }


def _numbers(key: str, values: Any) -> Float[np.ndarray, " t"]:
    """A series as a float64 array."""
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
        raise InputError(key, [], "should contain at least one time")
    if not np.all(np.isfinite(times)):
        place = int(np.argmin(np.isfinite(times)))
        raise InputError(f"{key}[{place}]", float(times[place]), "should be finite")
    if times[0] < 0:
        raise InputError(f"{key}[0]", float(times[0]), "should not be negative")
    back = np.flatnonzero(np.diff(times) <= 0)
    if len(back):
        place = int(back[0]) + 1
        before, now = float(times[place - 1]), float(times[place])
        accepted = f"times should increase, but the time before is {before:g}"
        raise InputError(f"{key}[{place}]", now, accepted)
    return times


def _of_length(key: str, values: Any, num: int) -> Float[np.ndarray, " t"]:
    found = _numbers(key, values)
    if len(found) != num:
        raise InputError(key, f"{len(found)} values", f"should be {num}, one for each time")
    return found


def _whole(values: Float[np.ndarray, " t"]) -> Shaped[np.ndarray, " t"]:
    """Steps as integers if all of them are whole numbers."""
    is_whole = np.all(np.isfinite(values)) and np.all(values % 1 == 0) and np.max(values) < 2**53
    return values.astype(np.int64) if is_whole else values


def _curves(
    curves: Any, num: int, long_names: dict[str, str], percent: bool | None
) -> dict[str, Any]:
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
        accepted = "should contain train_accuracy and test_accuracy, or train_loss and test_loss"
        raise InputError("curves", sorted(map(str, found)), accepted)
    for curve in _JUDGED:
        _check_finite(curve, found.get(curve))
    _as_fractions(found, percent)
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
    accepted = "should be finite: leave out times without a value, and end the log before the "
    accepted += "values become infinite or not-a-number, with ending='diverged'"
    raise InputError(f"curves.{curve}[{place}]", float(values[place]), accepted)


def _as_fractions(found: dict[str, Float[np.ndarray, " t"]], percent: bool | None) -> None:
    """Divides accuracies in percent by 100. One program logs all of them in the same unit."""
    accuracies = {name: found[name] for name in _JUDGED[:2] if name in found}
    highest = {name: float(np.max(values)) for name, values in accuracies.items()}
    above = [name for name, value in highest.items() if value > 1 + _ROUNDING]
    recognised = bool(above) if percent is None else percent
    most = _MOST_PERCENT if recognised else 1 + _ROUNDING
    for curve, values in accuracies.items():
        outside = (values < -_ROUNDING) | (values > most)
        if np.any(outside):
            place = int(np.argmax(outside))
            accepted = "should be between 0 and 1, or a percent between 0 and 100"
            if percent is not None:
                accepted = f"should be between 0 and {100 if percent else 1}"
            raise InputError(f"curves.{curve}[{place}]", float(values[place]), accepted)
    if percent is None and above and len(above) < len(accuracies):
        # A test accuracy that stays below 1 % exists as well as programs that mix units.
        low = next(name for name in accuracies if name not in above)
        accepted = f"could be a fraction, or a percent as {above[0]}, whose largest value is "
        accepted += f"{highest[above[0]]:g}: say so by percent=True (--percent), "
        accepted += f"or divide {above[0]} by 100"
        raise InputError(f"curves.{low}", f"at most {highest[low]:g}", accepted)
    for curve, values in accuracies.items():
        found[curve] = np.clip(values / (100.0 if recognised else 1.0), 0.0, 1.0)
    if recognised and percent is None:
        names = " and ".join(accuracies)
        words = f"{names}: the largest value is {max(highest.values()):g}, "
        warnings.warn(f"{words}so they are read as percents", UserWarning, stacklevel=4)


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

"""The summary of a record: the content of `summary.json`."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr
from jaxtyping import Float

from .._core.errors import InputError
from .._core.keys import at_key
from ..experiments.experiment import Experiment
from ..experiments.published import Published
from ..predictors._base import doubt_of
from ..tasks._base import AbstractTask
from .described import check_record, description_of, json_attribute
from .schema import axis_of
from .transition import (
    REPEAT,
    Thresholds,
    Transition,
    curves_of_record,
    thresholds_of,
    transition,
)


def textbook_time(init_scale: float, weight_decay: float) -> float:
    r"""$(1/\lambda) \log \alpha$, the transition time of the limit theorems; NaN if undefined.

    The theorems hold for $\alpha \to \infty$ in $\theta(0) = \alpha \bar\theta$ with fixed
    $\bar\theta$, so any multiple of $\alpha$ has the same limit. At a finite scale the choice
    matters: a factor $q$ in $\alpha$ changes the time by $(1/\lambda) \log q$.

    - **Takes** `init_scale`, one of two definitions of $\alpha$: the factor of an experiment, which
        multiplies the model's initial parameters (those of a diagonal net have norm 1, so the
        factor is $\|\theta(0)\|$), or the scale of one coordinate, the root mean square of
        $\theta(0)$. In summaries and forecasts `textbook` uses the first definition, and
        `textbook_per_coordinate` the second.
    - **Source** Lyu et al., ICLR 2024, arXiv:2311.18817: end of the kernel regime. The theorem
        for diagonal nets uses the scale of each coordinate, the figures use $\|\theta(0)\|$.
    """
    if weight_decay == 0 or init_scale <= 1:
        return math.nan
    return math.log(init_scale) / weight_decay


def _advice(events: Transition, task: Any) -> str:
    """The next step, with random labels as a control where the task can have them.

    - **Takes** `task`, its table; None for a log, whose labels are the user's.
    """
    if events.advice != REPEAT:
        return events.advice
    try:
        has_control = task is None or bool(AbstractTask.from_table(task, "task").null_control())
    except InputError:  # a task of the user's that is not defined here
        has_control = False
    return f"{REPEAT}, and with random labels as a control" if has_control else REPEAT


def summarise(record: xr.Dataset, thresholds: Thresholds | None = None) -> dict[str, Any]:
    """Outcome, times, early and late state, predictors, cost and published numbers.

    All values can be written as JSON; unknown values are None.

    - **Takes** a record, of a run or of a log; `thresholds`, by default those in the record, or
        the default ones if it has none.
    """
    check_record(record)
    thresholds = thresholds_of(record, thresholds)
    described = description_of(record)
    events = transition(record, thresholds)
    init_rms = float(record["init_rms"]) if "init_rms" in record else math.nan
    seconds = json_attribute(record, "seconds")
    summary: dict[str, Any] = {
        "experiment": described.get("name", "experiment"),
        "experiment_hash": record.attrs.get("experiment_hash") or None,
        "precision": record.attrs.get("precision"),
        **events.table(),
        "advice": _advice(events, described.get("task")),
        "time": axis_of(record).sentence,
        "textbook": _textbook(record, described.get("init_scale")),
        "textbook_per_coordinate": _textbook(record, init_rms),
        "init_rms": init_rms,
        "thresholds": thresholds.table(),
        **_states(record, events),
        "predictors": _predictors(record),
        "warnings": _warnings(record),
        "kkt": {
            key: float(record[f"kkt_{key}"])
            for key in ("stationarity", "complementarity")
            if f"kkt_{key}" in record
        },
        "solver": json_attribute(record, "solver") or None,
        "wall_seconds": sum(seconds.values()) if seconds else None,
        "seconds": seconds,
        "machine": json_attribute(record, "machine") or None,
    }
    if "published" in described:
        published = Published(**described["published"])
        numbers = published.numbers_of(lambda key: at_key(described, key))
        rows = compare(numbers, summary)
        summary["published"] = {"source": published.source, "numbers": rows}
    return jsonable(summary)


def _textbook(record: xr.Dataset, init_scale: float | None) -> float:
    """The textbook time of a record; NaN for models that are not homogeneous."""
    if init_scale is None or not record.attrs.get("homogeneity"):
        return math.nan
    return textbook_time(init_scale, description_of(record)["weight_decay"])


def textbook_of(experiment: Experiment, init_scale: float | None = None) -> float:
    """The textbook time for the experiment's scale or another one; NaN if not homogeneous."""
    if experiment.homogeneity is None:
        return math.nan
    scale = experiment.init_scale if init_scale is None else init_scale
    return textbook_time(scale, experiment.weight_decay)


def _states(record: xr.Dataset, events: Transition) -> dict[str, Any]:
    """The median over the kernel plateau and the last value of every probe."""
    return early_and_late(record["time"].values, curves_of_record(record), events)


def early_and_late(
    times: Float[np.ndarray, " t"],
    curves: Mapping[str, Float[np.ndarray, " t"]],
    events: Transition,
) -> dict[str, dict[str, float]]:
    """Each curve's median over the kernel plateau and its last value; NaN without a plateau."""
    begin, end = events.plateau
    window = (times >= begin) & (times <= end)  # empty where they are NaN
    early = {name: _median(values[window]) for name, values in curves.items()}
    late = {name: float(values[-1]) if len(times) else math.nan for name, values in curves.items()}
    return {"early": early, "late": late}


def _median(values: Float[np.ndarray, " t"]) -> float:
    # Same as `np.median`, which takes ten times as long for a few hundred numbers.
    known = np.sort(values[~np.isnan(values)])
    middle = len(known) // 2
    if not len(known):
        return math.nan
    return float(known[middle] + known[(len(known) - 1) // 2]) / 2


def _predictors(record: xr.Dataset) -> dict[str, Any]:
    roles = record["predictor"].values.tolist() if "predictor" in record else []
    return {
        role: {
            str(name).removeprefix("predictor_"): record[name].sel(predictor=role).item()
            for name in record.data_vars
            if record[name].dims == ("predictor",)
        }
        for role in roles
    }


def _warnings(record: xr.Dataset) -> list[str]:
    """Warnings about the numbers, one line each: predictors that are not certified."""
    if "predictor_status" not in record:
        return []
    rows = _predictors(record).values()
    lines = (doubt_of(row["label"], row["status"], row.get("why", "")) for row in rows)
    return [line for line in lines if line]


def compare(numbers: Mapping[str, float], summary: dict[str, Any]) -> dict[str, Any]:
    """Published and measured numbers side by side; dotted keys select parts of the summary."""
    rows = {}
    for key, theirs in numbers.items():
        ours = at_key(summary, key)
        ratio = ours / theirs if ours is not None and theirs != 0 else None
        rows[key] = {"published": theirs, "measured": ours, "ratio": ratio}
    return rows


def jsonable(value: Any) -> Any:
    """Plain values for JSON; numbers that are not finite become None."""
    if isinstance(value, dict):
        return {str(key): jsonable(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [jsonable(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value

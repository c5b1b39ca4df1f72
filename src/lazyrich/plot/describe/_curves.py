"""Runs of a sweep along one key, as curves over time."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from jaxtyping import Float

from ...experiments.published import Published, same
from ...records.schema import axis_of
from ...studies import curves_at
from ...sweeps.runs import Runs, check_dataset, runs_of
from ..description import Axis, Curve, Entry, Figure, Style
from ..description.style import PUBLISHED, by_value
from ._content import Content
from ._layout import some
from ._symbols import symbol, worded
from ._time import scales_of, steps_axis, time_range

_DASHES: dict[str, Any] = {"train": "dashed", "test": "solid"}
_FORECAST = Style("#404040", "none", marker="diamond", size=3.8, filled=True)
_EXPECTED = ("forecast_t50", "forecast_low", "forecast_high")
_EVENTS = ("t_train", "t10", "t90")
# Training losses below this fraction of the least test loss are rounding errors, or nearly.
_FAR_BELOW = 1e-6
# The most values that the key names.
_MOST = 9


def curves(
    dataset: xr.Dataset,
    key: str,
    published: Published | None = None,
    folder: Path | None = None,
    *,
    time: str = "log",
    columns: int = 3,
) -> Figure:
    """Describes all runs over time, coloured and marked by the value of `key`.

    - **Takes** the arguments of [`plot.curves`][lazyrich.plot.curves]; `columns`, the number of
        panels beside each other.
    """
    scales = scales_of(time)
    check_dataset(dataset)
    accurate = "test_accuracy" in dataset
    fits = ["accuracy", "loss"] if accurate else ["loss"]
    names = [f"{part}_{row}" for row in fits for part in _DASHES]
    score = names[1]
    more = (f"early_{score}", f"late_{score}", *_EXPECTED)
    runs = runs_of(dataset, "time", "param_norm", *_TO_KERNEL, *names, *more, *_EVENTS)
    runs = _with_distance(runs)
    values = runs.key(key, key)
    found = np.unique(values)
    styles = by_value(found.tolist())
    circles = [_circles(published, key, value, folder) for value in found.tolist()]
    family = _Family(runs, values, found, styles, circles)
    contents = [family.fit(row) for row in fits]
    contents += [family.single("norm", "param_norm", "parameter norm ‖θ‖₂")]
    if "distance" in runs.data:
        contents.append(family.single("kernel", "distance", runs.data["distance"].attrs["name"]))
    contents = [content for content in contents if not content.empty]
    with_forecasts = all(name in runs.data for name in more)
    if with_forecasts and contents:
        family.expected(contents[0], score)
    panels = []
    # Runs of different optimisers have different steps.
    own = any(part.startswith("dynamics") for key in runs.keys for part in key.split(","))
    steps = None if own else steps_axis(dataset)
    columns = len(scales) if time == "both" else _columns(len(contents), columns)
    for place, content in enumerate(contents):
        for at, scale in enumerate(scales):
            axis = _time_axis(dataset, runs, scale)
            row, column = (place, at) if time == "both" else divmod(place, columns)
            below = place + (1 if time == "both" else columns) >= len(contents)
            panels.append(
                content.panel(axis, second=steps if below else None, row=row, column=column)
            )
    shown = some(found.tolist(), _MOST)
    entries = [Entry(worded(found[i].item()), styles[i]) for i in shown]
    parts: dict[str, Any]
    parts = _DASHES if any(f"train_{row}" in runs.data for row in fits) else {"test": "solid"}
    entries += [Entry(part, Style("#404040", dash)) for part, dash in parts.items()]
    if any(circles):
        entries.append(Entry("published", PUBLISHED))
    if with_forecasts:
        entries.append(Entry("half of the change, forecast", _FORECAST))
    quantities = [content.label for content in contents]
    is_marked = any(style.marker for style in styles)
    how = f"coloured {'and marked ' if is_marked else ''}by {symbol(key)}"
    return Figure(
        tuple(panels),
        _caption(dataset, runs, how, quantities, any(circles), with_forecasts),
        key=tuple(entries),
        key_title=symbol(key),
        share_x=True,
        share_y=time == "both",
    )


def _columns(num: int, most: int) -> int:
    """Two columns for four panels, rather than three and one."""
    return 2 if num == 4 and most > 1 else min(num, most)


def _time_axis(dataset: xr.Dataset, runs: Runs, scale: Any) -> Axis:
    times = runs.data["time"].values
    events = []
    if all(name in runs.data for name in _EVENTS):
        each = [runs.data[name].values.astype(float) for name in _EVENTS]
        events = [(float(a), float(b), float(c)) for a, b, c in zip(*each, strict=True)]
    low, high = time_range(times[np.isfinite(times)], scale, events, [])
    return Axis(axis_of(dataset).label, low, high, scale)


_TO_KERNEL = ("distance_to_kernel", "cosine_to_kernel")


def _with_distance(runs: Runs) -> Runs:
    """Adds the `distance` of the weights, or of their directions, from the kernel predictor."""
    data = runs.data
    if "distance_to_kernel" in data:
        distance = data["distance_to_kernel"].assign_attrs(name="distance from kernel predictor")
    elif "cosine_to_kernel" in data:
        distance = (1 - data["cosine_to_kernel"]).assign_attrs(
            name="1 − cosine to kernel predictor"
        )
    else:
        return runs
    return runs._replace(data=data.assign(distance=distance))


class _Family:
    """The runs of a sweep with a style for each value of the key."""

    def __init__(
        self, runs: Runs, values: Any, found: Any, styles: Sequence[Style], circles: Sequence[Any]
    ) -> None:
        self.runs, self.values, self.found = runs, values, found
        self.styles, self.circles = styles, circles

    def fit(self, quantity: str) -> Content:
        """Training and test data in one panel."""
        is_loss = quantity == "loss"
        content = Content(quantity, quantity, "log" if is_loss else "linear")
        content.top = None if is_loss else 1.0
        for part, dash in _DASHES.items():
            self._curves(content, f"{part}_{quantity}", part, dash)
        if is_loss:
            self._cut(content)
        return content

    def single(self, name: str, variable: str, label: str) -> Content:
        """A quantity that does not depend on data."""
        content = Content(name, label, "log")
        self._curves(content, variable, "", "solid")
        return content

    def _curves(self, content: Content, variable: str, part: str, dash: Any) -> None:
        data = self.runs.data
        if variable not in data:
            return
        for value, own, circles in zip(self.found, self.styles, self.circles, strict=True):
            text, style = worded(value.item()), replace(own, dash=dash, width=1.1)
            group = text
            for run in np.flatnonzero(self.values == value):
                times, values = data["time"].values[run], data[variable].values[run]
                known = np.isfinite(values) & (times > 0)
                name = f"{text}, {part}" if part else text
                content.curve(times[known], values[known], name, style, group=group)
                if known.any():
                    style = replace(style, marker="")  # one run of a value has its marks
            if variable in circles:
                times, values = circles[variable][:, circles[variable][0] > 0]
                dots = replace(PUBLISHED, colour=own.colour)
                content.curve(times, values, f"{text}, published", dots, group="published")

    def _cut(self, content: Content) -> None:
        """Cuts off values far below every test loss, which would compress all others."""
        tests = self.runs.data["test_loss"].values if "test_loss" in self.runs.data else np.zeros(0)
        positive = tests[tests > 0]
        if positive.size:
            content.least = _FAR_BELOW * float(positive.min())

    def expected(self, content: Content, score: str) -> None:
        """Adds the forecast times of half of the change from the early to the late score."""
        data = self.runs.data
        level = 0.5 * (data[f"early_{score}"] + data[f"late_{score}"]).values.astype(float)
        at, low, high = (data[name].values.astype(float) for name in _EXPECTED)
        last = np.nanmax(data["time"].values)
        shown = np.isfinite(level) & np.isfinite(at) & (at <= last)
        for value, own in zip(self.found, self.styles, strict=True):
            of = shown & (self.values == value)
            if of.any():
                style = replace(_FORECAST, colour=own.colour)
                bars = np.stack([low[of], high[of]])
                name = f"{worded(value.item())}, half of the change, forecast"
                content.curves.append(
                    Curve(at[of], level[of], name, style, bars_x=bars, group="forecast")
                )


def _circles(
    published: Published | None, key: str, value: Any, folder: Path | None
) -> dict[str, Float[np.ndarray, "2 k"]]:
    """The published curves of one value of the key."""
    if published is None:
        return {}
    parts = tuple(part for part in published.at if key in part.where)
    own = published.model_copy(update={"at": parts})
    named = {p for part in parts if same(value, part.where[key]) for p in part.curves}
    found = curves_at(own, lambda k: value if k == key else None, folder)
    return {probe: curve for probe, curve in found.items() if probe in named}


def _caption(
    dataset: xr.Dataset,
    runs: Runs,
    how: str,
    quantities: Sequence[str],
    has_published: bool,
    has_forecasts: bool,
) -> str:
    outcomes, counts = np.unique(runs.outcomes().astype(str), return_counts=True)
    order = np.argsort(-counts, kind="stable")
    came = ", ".join(f"{counts[i]} {outcomes[i].replace('_', ' ')}" for i in order)
    words = ", ".join(quantities)
    text = f"{words[0].upper()}{words[1:]} of every run against {axis_of(dataset).long_name}"
    text += f", {how}; training data are dashed, test data solid"
    text += ", circles are published" if has_published else ""
    text += ", diamonds are half of the change as forecast" if has_forecasts else ""
    return f"{text}. Of {runs.data.sizes['run']} runs: {came}."

"""Phase diagrams of sweeps."""

from typing import Any, Literal

import numpy as np
import xarray as xr
from jaxtyping import Bool, Float, Shaped
from matplotlib import patheffects
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.colorbar import Colorbar
from matplotlib.colors import LinearSegmentedColormap, ListedColormap, LogNorm
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import LogLocator

from .._core.errors import InputError
from ..records.transition import OUTCOMES
from ._axes import Scale, few_decades, log_norm, scale_of, ticks
from ._symbols import symbol

# Face, hatch and colour of the hatch. Lightness and hatch distinguish them in a grey print.
_LOOKS: dict[str, tuple[str, str, str]] = {
    "grokked": ("#d95f0e", "", "#d95f0e"),
    "misgrokked": ("#542788", "\\\\\\", "#e0d8ea"),
    "immediate": ("#fddc8c", "", "#fddc8c"),
    "gradual": ("#fdae6b", "...", "#8c510a"),
    "improved": ("#d8b365", "\\\\", "#8c510a"),
    "unchanged": ("#c6dbef", "////", "#2b5c8a"),
    "not_within_budget": ("#c6dbef", "//", "#2b5c8a"),
    "untrained": ("#a6a6a6", "...", "#303030"),
    "collapsed": ("#a6a6a6", "ooo", "#303030"),
    "unscored": ("#f7f7f7", "...", "#909090"),
    "diverged": ("#252525", "xxx", "#b0b0b0"),
    "failed": ("#e5e5e5", "+++", "#303030"),
    "missing": ("#ffffff", "", "#ffffff"),
}
_PALE = "#e9e9e9"
_SOLID: dict[str, Any] = {"color": "black", "linewidth": 1.5, "marker": "s", "ms": 3}
_DASHED: dict[str, Any] = {"color": "black", "linewidth": 1.5, "linestyle": (0, (2, 1.2))}
# Of early and late times. The marks distinguish them in a grey print.
_EARLY_LATE = LinearSegmentedColormap.from_list("early_late", ["#e66101", "#f7f7f7", "#5e3c99"])
# Ticks by the largest ratio that they are for.
_RATIOS = {1.26: (1, 1.1, 1.2), 2.01: (1, 1.25, 1.5, 2), 4.01: (1, 1.5, 2, 3, 4)}
# Ratios closer to 1 than this count as agreement.
_NEAR = 0.1


def map(
    diagram: xr.Dataset,
    boundary: xr.Dataset | None = None,
    delay: Literal["ratio", "difference"] = "ratio",
    forecast: xr.Dataset | None = None,
) -> Figure:
    r"""A phase diagram over two keys: outcomes, delays, half times, and their forecasts.

    Each cell extends half-way to its neighbours. The axis of a key is linear if its values are in
    equal steps, otherwise logarithmic. Values that fit neither, such as names, or a decay of 0
    among others, have cells of equal size. Cells without a time are grey with the hatch of their
    outcome. Numbers in the legend are numbers of runs. A dot marks a cell whose runs have
    different outcomes. For a diagram with forecasts, contours show the forecast half times over
    the simulated ones. A fourth map shows their ratio, with a cross where another outcome was
    forecast.

    - **Takes** a diagram from [`phase_diagram`][lazyrich.maps.phase_diagram]; a boundary from
        [`boundary`][lazyrich.maps.boundary] for the same keys, drawn as a line at the median with
        its interval as a band; `delay`, whether to show the ratio of $t_\mathrm{test}$ and
        $t_\mathrm{train}$ or their difference; `forecast`, the boundary of the forecast outcomes,
        drawn dashed.
    - **Returns** a matplotlib figure, to save or to show.
    - **Raises** [`InputError`][lazyrich.InputError] if the keys are not the same.
    """
    x, y = scale_of(diagram[diagram.attrs["x"]]), scale_of(diagram[diagram.attrs["y"]])
    keys = [x.key, y.key]
    for name, line in (("boundary", boundary), ("forecast", forecast)):
        theirs = keys if line is None else [line.attrs[axis] for axis in "xy"]
        if theirs != keys:
            raise InputError(name, theirs, f"should have the keys of the diagram, {keys}")
    has_forecasts = "forecast_error" in diagram
    size = (9.4, 8.2) if has_forecasts else (12.0, 4.6)
    figure, outcome = Figure(figsize=size, layout="constrained"), diagram["outcome"].values
    shape = (2, 2) if has_forecasts else (1, 3)
    axes = figure.subplots(*shape, sharex=True, sharey=True, squeeze=False)
    first, second, third, *fourth = axes.flat
    for axis in axes.flat:
        ticks(axis, x, y)
    for name, look in _LOOKS.items():
        _cells(first, x, y, outcome == name, look)
    runs = diagram["num_runs"].values
    fewest, most = int(runs[runs > 0].min(initial=runs.max())), int(runs.max())
    several = f"{fewest} to {most} runs" if fewest < most else f"{most} run{'s'[: most != 1]}"
    first.set_title(f"most frequent outcome, {several} a cell", fontsize=10)
    split = diagram["agreement"].values < 1  # NaN, where nothing ran, is not
    mark: dict[str, Any] = {"ls": "none", "ms": min(3.2, 100 / max(split.shape))}
    _mark(first, x, y, split, marker="o", color="white", mec="black", mew=0.2 * mark["ms"], **mark)

    sign = "/" if delay == "ratio" else "-"
    _times(second, diagram["delay" if delay == "ratio" else "lag"], x, y, outcome)
    second.set_title(rf"median delay $t_\mathrm{{test}} {sign} t_\mathrm{{train}}$", fontsize=10)
    _times(third, diagram["t50"], x, y, outcome)
    third.set_title(r"median half time $t_{50}$ (gradient-flow time)", fontsize=10)
    if has_forecasts:
        _contours(third, diagram["forecast_t50"], diagram["t50"], x, y)
        _errors(fourth[0], diagram, x, y, mark)
    for axis in axes.flat:
        if boundary is not None:
            _curve(axis, boundary, x, y, with_band=axis is first)
        if forecast is not None:
            _line(axis, forecast, x, y, _DASHED)
    for axis in axes[:-1].flat:
        axis.set_xlabel("")
    for axis in axes[:, 0]:
        axis.set_ylabel(symbol(y.key))
    handles = _legend(diagram, bool(split.any()), boundary, forecast)
    columns = 3 if has_forecasts else 4
    figure.legend(
        handles=handles, loc="outside lower center", ncols=columns, fontsize=8, frameon=False
    )
    return figure


def _mark(axis: Axes, x: Scale, y: Scale, where: Bool[np.ndarray, "y x"], **style: Any) -> None:
    row, column = np.nonzero(where)
    if len(row):
        axis.plot(x.position(x.values)[column], y.position(y.values)[row], **style)


def _cells(
    axis: Axes, x: Scale, y: Scale, shown: Bool[np.ndarray, "y x"], look: tuple[str, str, str]
) -> None:
    face, hatch, ink = look
    if not shown.any():
        return
    values = np.ma.masked_array(np.zeros(shown.shape), ~shown)
    # A mesh has no seams between cells, and only polygons have hatches, in the colour of
    # their edges.
    edges, colours = (x.edges(), y.edges()), ListedColormap([face])
    axis.pcolormesh(*edges, values, cmap=colours, rasterized=True)
    if hatch:
        clear = ListedColormap(["none"])
        axis.pcolor(*edges, values, cmap=clear, edgecolors=ink, linewidth=0, hatch=hatch)


def _grey(
    axis: Axes,
    x: Scale,
    y: Scale,
    where: Bool[np.ndarray, "y x"],
    outcome: Shaped[np.ndarray, "y x"],
) -> None:
    """Draws cells without a number, with the hatch of their outcome."""
    for name, (_, hatch, _) in _LOOKS.items():
        face = "#ffffff" if name == "missing" else _PALE
        _cells(axis, x, y, where & (outcome == name), (face, hatch, "#8c8c8c"))


def _times(
    axis: Axes, values: xr.DataArray, x: Scale, y: Scale, outcome: Shaped[np.ndarray, "y x"]
) -> None:
    known = np.isfinite(values.values) & (values.values > 0)
    _grey(axis, x, y, ~known, outcome)
    if not known.any():
        box = {"facecolor": "white", "edgecolor": "none"}
        axis.text(0.5, 0.5, "no cell has one", ha="center", transform=axis.transAxes, bbox=box)
        return
    _coloured(axis, x, y, values.values, log_norm(values.values[known]), "viridis")


def _coloured(
    axis: Axes,
    x: Scale,
    y: Scale,
    values: Float[np.ndarray, "y x"],
    norm: LogNorm,
    colours: Any,
    beyond: bool = False,
) -> Colorbar:
    """Draws cells with a positive number in its colour, and their colour bar.

    `beyond` says whether some numbers are outside of the bar.
    """
    shown = np.ma.masked_array(values, ~(np.isfinite(values) & (values > 0)))
    cells = axis.pcolormesh(x.edges(), y.edges(), shown, norm=norm, cmap=colours, rasterized=True)
    assert axis.figure is not None
    extend = "both" if beyond else "neither"
    bar = axis.figure.colorbar(cells, ax=axis, pad=0.02, extend=extend)
    few_decades(bar.ax.yaxis, norm.vmin, norm.vmax)
    return bar


def _contours(axis: Axes, said: xr.DataArray, came: xr.DataArray, x: Scale, y: Scale) -> None:
    """Draws contours of the forecast times at round numbers."""
    known = came.values[np.isfinite(came.values) & (came.values > 0)]
    if not len(known) or min(said.shape) < 2 or not np.isfinite(said.values).any():
        return
    low, high = float(known.min()), float(known.max())
    few = LogLocator(subs=(1, 2, 5) if high < 1e3 * low else (1,)).tick_values(low, high)
    levels = [level for level in few if low < level < high]
    if not levels:
        return
    values, at_y = y.finely(np.log(said.values))
    values, at_x = x.finely(values.T)
    lines = axis.contour(at_x, at_y, values.T, np.log(levels), colors="black", linewidths=0.9)
    lines.set(path_effects=[patheffects.withStroke(linewidth=2.2, foreground="white")])
    axis.clabel(lines, fontsize=7, fmt={at: f"{np.exp(at):.3g}" for at in np.log(levels)})


def _errors(axis: Axes, diagram: xr.Dataset, x: Scale, y: Scale, mark: dict[str, Any]) -> None:
    """Draws the ratios of forecast and simulated half times, and where outcomes differ."""
    error, outcome = diagram["forecast_error"].values, diagram["outcome"].values
    expected = diagram["forecast_outcome"].values
    other = (expected != outcome) & (expected != "missing") & (outcome != "missing")
    known = np.isfinite(error)
    _grey(axis, x, y, ~known, outcome)
    if known.any():
        reach = float(np.clip(np.abs(error[known]).max(), np.log(1.25), np.log(4)))
        beyond = bool((np.abs(error[known]) > reach).any())
        norm = LogNorm(np.exp(-reach), np.exp(reach))
        bar = _coloured(axis, x, y, np.exp(error), norm, _EARLY_LATE, beyond)
        shown = next(ratios for far, ratios in _RATIOS.items() if np.exp(reach) <= far)
        shown = tuple(ratio for ratio in shown if ratio <= np.exp(reach))
        bar.set_ticks([1 / ratio for ratio in shown[:0:-1]] + [*shown], minor=False)
        bar.ax.yaxis.set_major_formatter(lambda ratio, _: f"{ratio:.3g}")
        bar.minorticks_off()
    for sign, shape in ((1, "$+$"), (-1, "$-$")):
        far = known & (sign * error > _NEAR) & ~other
        _mark(axis, x, y, far, marker=shape, color="#404040", mew=0.3, **mark)
    _mark(axis, x, y, other, marker="x", color="black", mew=0.9, **mark)
    axis.set_title(r"$t_{50}$ forecast over simulated", fontsize=10)


def _curve(axis: Axes, boundary: xr.Dataset, x: Scale, y: Scale, with_band: bool) -> None:
    if with_band:
        at = y.position(boundary[y.key].values)
        low, high = (x.position(boundary[name].values) for name in ("low", "high"))
        axis.fill_betweenx(at, low, high, color="black", alpha=0.3, linewidth=0)
        axis.hlines(at, low, high, color="black", linewidth=0.8)
    _line(axis, boundary, x, y, _SOLID)


def _line(axis: Axes, of: xr.Dataset, x: Scale, y: Scale, style: dict[str, Any]) -> None:
    at, place = y.position(of[y.key].values), x.position(of["place"].values)
    axis.plot(place, at, color="white", linewidth=3.4)
    axis.plot(place, at, **style)


def _legend(
    diagram: xr.Dataset, split: bool, boundary: xr.Dataset | None, forecast: xr.Dataset | None
) -> list[Artist]:
    outcome = diagram["outcome"].values
    handles: list[Artist] = []
    for name in (*OUTCOMES[-2::-1], "missing"):
        number = int(diagram["count"].sel(kind=name).sum())
        if not number and not np.any(outcome == name):
            continue
        face, hatch, ink = _LOOKS[name]
        label = name.replace("_", " ")
        if name == "missing":
            label = "not run" if np.any(outcome == name) else "not run, others in the cell were"
        elif name in ("unchanged", "not_within_budget") and "t1" in diagram.attrs:
            label += f" by t = {diagram.attrs['t1']:,.7g}"
        if number:
            label += f" ({number})"
        patch = Patch(facecolor=face, hatch=hatch, edgecolor=ink, linewidth=0, label=label)
        if not hatch:
            patch.set(edgecolor="#8c8c8c", linewidth=0.6)
        handles.append(patch)
    handles.append(Patch(facecolor=_PALE, label="no time: fewer than half of the runs have one"))
    if split:
        dot: dict[str, Any] = {"color": "white", "mec": "black", "mew": 0.7, "ms": 4}
        handles.append(Line2D([], [], marker="o", linestyle="none", label="runs disagree", **dot))
    if boundary is not None:
        sides = boundary.attrs["between"].replace("_", " ")
        located = int(boundary["num_located"].where(boundary["place"].notnull()).sum())
        several = int(boundary["num_several"].sum())
        label = f"boundary {sides}: median of {located} lines"
        label += f", {several} with several left out" if several else ""
        handles.append(Line2D([], [], label=label, **_SOLID))
        label = "10 to 90 % of the lines, with their brackets"
        handles.append(Patch(facecolor="black", alpha=0.3, label=label))
    if forecast is not None:
        handles.append(Line2D([], [], label="the same as forecast", **_DASHED))
    if "forecast_error" in diagram:
        handles.append(Line2D([], [], color="black", lw=0.9, label="half times as forecast"))
        near = f"{_NEAR:.0%} or more"
        for sign, shape in (("late", "$+$"), ("early", "$-$")):
            handles.append(_only(shape, f"forecast {near} too {sign}"))
        handles.append(_only("x", "another outcome was forecast"))
    return handles


def _only(marker: str, label: str) -> Line2D:
    return Line2D([], [], marker=marker, ls="none", color="#303030", ms=4, mew=0.6, label=label)

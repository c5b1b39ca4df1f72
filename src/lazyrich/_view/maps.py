"""Sweeps as figures: phase diagrams, the scaling of times, the collapse of curves."""

from typing import Any, Literal, NamedTuple

import matplotlib
import numpy as np
import xarray as xr
from jaxtyping import Bool, Float, Shaped
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.collections import LineCollection
from matplotlib.colors import ListedColormap, LogNorm
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import LogLocator, NullLocator

from .._errors import InputError
from .._phase import ScalingFit, collapse
from .._phase.diagram import OUTCOMES, runs_of
from .symbols import symbol

# Face, hatch and colour of the hatch: told apart by lightness and hatch in a grey print.
_LOOKS: dict[str, tuple[str, str, str]] = {
    "grokked": ("#d95f0e", "", "#d95f0e"),
    "misgrokked": ("#542788", "\\\\\\", "#e0d8ea"),
    "immediate": ("#fddc8c", "", "#fddc8c"),
    "not_within_budget": ("#c6dbef", "////", "#2b5c8a"),
    "untrained": ("#a6a6a6", "...", "#303030"),
    "diverged": ("#252525", "xxx", "#b0b0b0"),
    "failed": ("#e5e5e5", "+++", "#303030"),
    "missing": ("#ffffff", "", "#ffffff"),
}
_PALE = "#e9e9e9"
_FIT: dict[str, Any] = {"color": "#252525", "linewidth": 1.4}
_THEORY: dict[str, Any] = {"color": "#d95f0e", "linewidth": 1.4, "linestyle": (0, (6, 2))}
# The palest colours of the map would be lost on white.
_LINES = ListedColormap(matplotlib.colormaps["viridis"](np.linspace(0, 0.9, 256)))
_MARKERS = "osD^vP*X"


class _Scale(NamedTuple):
    """How a key lies on an axis: `kind` is linear, log, or place (equal cells in a row)."""

    key: str
    values: Shaped[np.ndarray, " n"]
    kind: str

    def edges(self) -> Float[np.ndarray, " n1"]:
        """Cell edges half-way between neighbours; the first and last cell end alike."""
        at = self.position(self.values)
        at = np.log(at) if self.kind == "log" else at
        if len(at) == 1:
            half = np.log(10) / 2 if self.kind == "log" else 0.5
            edges = np.array([at[0] - half, at[0] + half])
        else:
            middle = (at[1:] + at[:-1]) / 2
            edges = np.concatenate([[2 * at[0] - middle[0]], middle, [2 * at[-1] - middle[-1]]])
        return np.exp(edges) if self.kind == "log" else edges

    def position(self, values: Shaped[np.ndarray, " m"]) -> Float[np.ndarray, " m"]:
        """Where values lie on the axis; NaN for one that has no place."""
        if self.kind != "place":
            return np.asarray(values, dtype=float)
        if self.values.dtype.kind in "fiu":
            places = np.arange(len(self.values), dtype=float)
            return np.interp(values, self.values, places, left=np.nan, right=np.nan)
        names = [str(value) for value in self.values]
        found = [names.index(v) if v in names else np.nan for v in map(str, values)]
        return np.array(found, dtype=float)


def _scale(array: xr.DataArray) -> _Scale:
    """Linear for three or more values in equal steps, log for other positive ones."""
    key, values = str(array.name), array.values
    if values.dtype.kind not in "fiu":
        return _Scale(key, values, "place")
    steps = np.diff(values.astype(float))
    if len(values) > 2 and np.ptp(steps) < 1e-6 * np.max(np.abs(values)):
        return _Scale(key, values, "linear")
    return _Scale(key, values, "log" if np.all(values > 0) else "place")


def plot_map(
    diagram: xr.Dataset,
    boundary: xr.Dataset | None = None,
    delay: Literal["ratio", "difference"] = "ratio",
) -> Figure:
    r"""A phase diagram: outcomes, delays and half times over two keys.

    Each cell reaches half-way to its neighbours. A key is drawn on a linear axis if its
    values have equal steps, else on a log axis; one that has neither, such as a name or a
    decay of 0 among others, in equal cells. Cells without a time are grey and keep the
    hatch of their outcome: a run that never came has no colour on a time's scale.
    Numbers in the legend count runs. A dot marks a cell whose runs do not all agree.

    - **Takes** what [`phase_diagram`][lazyrich.phase_diagram] returns, and what
        [`boundary`][lazyrich.boundary] returns for the same keys: drawn as a line at its
        median with its interval as a band; `delay`, whether to show $t_\mathrm{test}$ over
        $t_\mathrm{train}$ or less it.
    - **Returns** a matplotlib figure, to save or to show.
    - **Raises** [`InputError`][lazyrich.InputError] if the keys are not the same.
    """
    x, y = _scale(diagram[diagram.attrs["x"]]), _scale(diagram[diagram.attrs["y"]])
    keys = [x.key, y.key]
    if boundary is not None and [boundary.attrs[name] for name in "xy"] != keys:
        theirs = [boundary.attrs[name] for name in "xy"]
        raise InputError("boundary", theirs, f"should have the keys of the diagram, {keys}")
    figure, outcome = Figure(figsize=(12.0, 4.6), layout="constrained"), diagram["outcome"].values
    axes = figure.subplots(1, 3, sharex=True, sharey=True)
    for name, look in _LOOKS.items():
        _cells(axes[0], x, y, outcome == name, look)
    runs = diagram["num_runs"].values
    fewest, most = int(runs[runs > 0].min(initial=runs.max())), int(runs.max())
    several = f"{fewest} to {most} runs" if fewest < most else f"{most} run{'s'[: most != 1]}"
    axes[0].set_title(f"most frequent outcome, {several} a cell", fontsize=10)
    split = diagram["agreement"].values < 1  # NaN, where nothing ran, is not
    if split.any():
        row, column = np.nonzero(split)
        at = x.position(x.values)[column], y.position(y.values)[row]
        size = min(3.2, 100 / max(split.shape))
        axes[0].plot(*at, "o", ms=size, ls="none", color="white", mec="black", mew=0.2 * size)

    sign = "/" if delay == "ratio" else "-"
    _times(axes[1], diagram["delay" if delay == "ratio" else "lag"], x, y, outcome)
    axes[1].set_title(rf"median delay $t_\mathrm{{test}} {sign} t_\mathrm{{train}}$", fontsize=10)
    _times(axes[2], diagram["t50"], x, y, outcome)
    axes[2].set_title(r"median half time $t_{50}$ (gradient-flow time)", fontsize=10)
    for axis in axes:
        _ticks(axis, x, y)
        if boundary is not None:
            _curve(axis, boundary, x, y)
    axes[0].set_ylabel(symbol(y.key))
    handles = _legend(diagram, bool(split.any()), boundary)
    figure.legend(handles=handles, loc="outside lower center", ncols=4, fontsize=8, frameon=False)
    return figure


def _cells(
    axis: Axes, x: _Scale, y: _Scale, shown: Bool[np.ndarray, "y x"], look: tuple[str, str, str]
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


def _times(
    axis: Axes, values: xr.DataArray, x: _Scale, y: _Scale, outcome: Shaped[np.ndarray, "y x"]
) -> None:
    known = np.isfinite(values.values) & (values.values > 0)
    for name, (_, hatch, _) in _LOOKS.items():
        face = "#ffffff" if name == "missing" else _PALE
        _cells(axis, x, y, ~known & (outcome == name), (face, hatch, "#8c8c8c"))
    if not known.any():
        box = {"facecolor": "white", "edgecolor": "none"}
        axis.text(0.5, 0.5, "no cell has one", ha="center", transform=axis.transAxes, bbox=box)
        return
    shown = np.ma.masked_array(values.values, ~known)
    norm, edges = _log_norm(values.values[known]), (x.edges(), y.edges())
    cells = axis.pcolormesh(*edges, shown, norm=norm, cmap="viridis", rasterized=True)
    assert axis.figure is not None
    bar = axis.figure.colorbar(cells, ax=axis, pad=0.02)
    _few_decades(bar.ax.yaxis, norm.vmin, norm.vmax)


def _log_norm(values: Float[np.ndarray, " n"]) -> LogNorm:
    low, high = float(values.min()), float(values.max())
    return LogNorm(low, high) if high > low else LogNorm(low / 2, high * 2)


def _few_decades(axis: Any, low: float | None, high: float | None) -> None:
    """Where a log axis spans few decades, label it between them."""
    if low and high and high < 100 * low:
        axis.set_major_locator(LogLocator(subs=(1, 2, 3, 5, 7) if high < 5 * low else (1, 2, 5)))
        axis.set_major_formatter(lambda value, _: f"{value:.4g}")
        axis.set_minor_locator(NullLocator())


def _ticks(axis: Axes, x: _Scale, y: _Scale) -> None:
    for scale, which in ((x, "x"), (y, "y")):
        edges = scale.edges()
        side = axis.xaxis if which == "x" else axis.yaxis
        if scale.kind == "log":
            getattr(axis, f"set_{which}scale")("log")
            _few_decades(side, edges[0], edges[-1])
        elif scale.kind == "place":
            some = np.unique(np.linspace(0, len(scale.values) - 1, 9).round().astype(int))
            shown = [v if isinstance(v, str) else f"{v:.4g}" for v in scale.values[some].tolist()]
            side.set_ticks(some.tolist(), shown)
        getattr(axis, f"set_{which}lim")(edges[0], edges[-1])
    axis.set_xlabel(symbol(x.key))


def _curve(axis: Axes, boundary: xr.Dataset, x: _Scale, y: _Scale) -> None:
    at = y.position(boundary[y.key].values)
    place, low, high = (x.position(boundary[name].values) for name in ("place", "low", "high"))
    axis.fill_betweenx(at, low, high, color="black", alpha=0.3, linewidth=0)
    axis.hlines(at, low, high, color="black", linewidth=0.8)
    axis.plot(place, at, color="white", linewidth=3.4)
    axis.plot(place, at, color="black", linewidth=1.5, marker="s", markersize=3)


def _legend(diagram: xr.Dataset, split: bool, boundary: xr.Dataset | None) -> list[Artist]:
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
        elif name == "not_within_budget" and "t1" in diagram.attrs:
            label += f" of t = {diagram.attrs['t1']:,.7g}"
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
        style: dict[str, Any] = {"color": "black", "linewidth": 1.5, "marker": "s", "ms": 3}
        handles.append(Line2D([], [], label=label, **style))
        label = "10 to 90 % of the lines, with their brackets"
        handles.append(Patch(facecolor="black", alpha=0.3, label=label))
    return handles


def plot_scaling(fit: ScalingFit) -> Figure:
    r"""The points of a scaling fit, its line, and what it leaves over.

    For a time against $\alpha$, multiplied by $\lambda$, the dashed line is $\log \alpha$.

    - **Takes** what [`scaling_fit`][lazyrich.scaling_fit] returns.
    - **Returns** a matplotlib figure, to save or to show.
    """
    figure = Figure(figsize=(6.4, 6.0), layout="constrained")
    top, bottom = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1.3))
    rest = fit.residuals.values
    log_x = fit.residuals["log_against"].values
    line = fit.offset + fit.slope * log_x
    groups = np.zeros(len(rest)) if fit.times is None else fit.residuals[fit.times].values
    found = np.unique(groups)
    for i, value in enumerate(found):
        own = groups == value
        style: dict[str, Any] = {"linestyle": "none", "ms": 4.5, "mec": "#404040", "mew": 0.4}
        style |= {"marker": _MARKERS[i % len(_MARKERS)]}
        style |= {"color": _LINES(i / max(len(found) - 1, 1))}
        # The legend of many groups names the first, the last and some between.
        named = i in np.linspace(0, len(found) - 1, min(len(found), 12)).round().astype(int)
        label = f"{value:.3g}" if fit.times and named else None
        top.plot(np.exp(log_x[own]), (line + rest)[own], label=label, **style)
        bottom.plot(np.exp(log_x[own]), rest[own], **style)
    boxed: dict[str, Any] = {"fontsize": 8, "framealpha": 0.9, "edgecolor": "none"}
    if fit.times is not None:
        title = symbol(fit.times)
        columns = 1 + (len(found) - 1) // 5
        top.add_artist(top.legend(loc="upper left", ncols=columns, title=title, **boxed))
    ends = np.array([log_x.min(), log_x.max()])
    low, high = fit.slope_interval
    text = f"fit: slope {fit.slope:.3f} (95 %: {low:.3f} to {high:.3f}), offset {fit.offset:.3f}"
    lines = top.plot(np.exp(ends), fit.offset + fit.slope * ends, label=text, **_FIT)
    bottom.axhline(0, **_FIT)
    if (fit.against, fit.times) == ("init_scale", "weight_decay"):
        text = r"theory, large $\alpha$: $\log\alpha$"
        lines += top.plot(np.exp(ends), ends, label=text, **_THEORY)
    top.legend(handles=lines, loc="lower right", **boxed)
    short = {"weight_decay": r"$\lambda$"}.get(fit.times or "", fit.times)
    top.set_ylabel(f"{short} × {fit.quantity}" if fit.times else fit.quantity)
    bottom.set(ylabel="residual", xlabel=symbol(fit.against), xscale="log")
    _few_decades(bottom.xaxis, *np.exp(ends))
    for axis in (top, bottom):
        axis.grid(True, which="major", color="#e0e0e0", linewidth=0.6)
    many = f"{fit.num_clusters} {fit.clusters}s" if fit.clusters != "run" else "no seeds to compare"
    left_out = ", ".join(f"{n} {key.replace('_', ' ')}" for key, n in fit.left_out.items())
    text = f"{fit.num_runs} runs, {many}; $R^2$ = {fit.r_squared:.4f}"
    top.set_title(f"{text}\nleft out: {left_out or 'none'}", fontsize=9)
    return figure


def plot_collapse(dataset: xr.Dataset, quantity: str = "test_accuracy") -> Figure:
    r"""All curves of a sweep against $t$, and against $\lambda t - \log \alpha$.

    If a transition comes at $(1/\lambda) \log \alpha$ plus a constant over $\lambda$, the
    curves on the right are one. Above each panel stands the relative spread of the half
    times, see [`Collapse`][lazyrich.Collapse]. Runs that failed or diverged are not drawn.

    - **Takes** a sweep's dataset, and the name of a curve in it.
    - **Returns** a matplotlib figure, to save or to show.
    - **Raises** [`InputError`][lazyrich.InputError] as [`collapse`][lazyrich.collapse] does.
    """
    numbers = collapse(dataset, quantity)
    runs = runs_of(dataset, "time", quantity)
    scale = runs.key("init_scale", "init_scale").astype(float)
    decay = runs.key("weight_decay", "weight_decay").astype(float)
    drawn = ~np.isin(runs.outcomes(), ("missing", "failed", "diverged"))
    if not drawn.any():
        raise InputError("quantity", quantity, "no run has this curve: all failed or are missing")
    times, curves = runs.data["time"].values, runs.data[quantity].values
    shifts = np.log(scale)
    norm = _log_norm(scale[drawn])
    figure = Figure(figsize=(9.6, 4.0), layout="constrained")
    left, right = figure.subplots(1, 2, sharey=True)
    for axis, at in ((left, times), (right, decay[:, None] * times - shifts[:, None])):
        lines = [
            np.stack([at[i], curves[i]], axis=1)[np.isfinite(curves[i]) & (times[i] > 0)]
            for i in np.flatnonzero(drawn)
        ]
        collection = LineCollection(lines, array=scale[drawn], norm=norm, cmap=_LINES)
        collection.set(linewidth=1.0, alpha=max(0.25, min(0.9, 30 / len(lines))))
        axis.add_collection(collection)
        axis.autoscale_view()
        axis.grid(True, which="major", color="#e0e0e0", linewidth=0.6)
    left.set_xscale("log")
    half = numbers.half.values
    moved = np.isfinite(half)
    if moved.any():
        centre = decay[moved] * half[moved] - shifts[moved]
        reach = max(4.0, 1.5 * float(np.ptp(centre)))
        right.set_xlim(centre.min() - reach, centre.max() + reach)
    left.set_xlabel("gradient-flow time $t$")
    right.set_xlabel(r"$\lambda t - \log\alpha$")
    # A probe's name is free text: it must not be read as mathematics.
    left.set_ylabel(quantity.replace("_", " "), parse_math=False)
    for axis, spread in ((left, numbers.before), (right, numbers.after)):
        text = f"relative spread of {numbers.num_runs} half times: {spread:.3g}"
        axis.set_title(text, fontsize=10)
    bar = figure.colorbar(ScalarMappable(norm, _LINES), ax=right, label=symbol("init_scale"))
    _few_decades(bar.ax.yaxis, norm.vmin, norm.vmax)
    return figure

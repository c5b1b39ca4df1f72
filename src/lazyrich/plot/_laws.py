"""Figures of laws over many runs: the scaling of times, the collapse of curves."""

from typing import Any

import matplotlib
import numpy as np
import xarray as xr
from matplotlib.cm import ScalarMappable
from matplotlib.collections import LineCollection
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure

from .._core.errors import InputError
from ..maps import ScalingFit
from ..maps.scaling import collapse as collapsed_curves
from ..sweeps.runs import runs_of
from ._axes import few_decades, log_norm
from ._symbols import symbol

_FIT: dict[str, Any] = {"color": "#252525", "linewidth": 1.4}
_THEORY: dict[str, Any] = {"color": "#d95f0e", "linewidth": 1.4, "linestyle": (0, (6, 2))}
# The lightest colours of the map cannot be seen on white.
_LINES = ListedColormap(matplotlib.colormaps["viridis"](np.linspace(0, 0.9, 256)))
_MARKERS = "osD^vP*X"


def scaling(fit: ScalingFit) -> Figure:
    r"""The points of a scaling fit, its line, and the residuals.

    For a time multiplied by $\lambda$, against $\alpha$, the dashed line is $\log \alpha$.

    - **Takes** a fit from [`scaling_fit`][lazyrich.maps.scaling_fit].
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
    few_decades(bottom.xaxis, *np.exp(ends))
    for axis in (top, bottom):
        axis.grid(True, which="major", color="#e0e0e0", linewidth=0.6)
    many = f"{fit.num_clusters} {fit.clusters}s" if fit.clusters != "run" else "no seeds to compare"
    left_out = ", ".join(f"{n} {key.replace('_', ' ')}" for key, n in fit.left_out.items())
    text = f"{fit.num_runs} runs, {many}; $R^2$ = {fit.r_squared:.4f}"
    top.set_title(f"{text}\nleft out: {left_out or 'none'}", fontsize=9)
    return figure


def collapse(dataset: xr.Dataset, quantity: str = "test_accuracy") -> Figure:
    r"""All curves of a sweep against $t$, and against $\lambda t - \log \alpha$.

    If the transition is at $(1/\lambda) \log \alpha$ plus a constant over $\lambda$, the curves
    on the right coincide. Above each panel is the relative spread of the half times, see
    [`Collapse`][lazyrich.maps.Collapse]. Runs that failed or diverged are not drawn.

    - **Takes** a sweep's dataset, and the name of a curve in it.
    - **Returns** a matplotlib figure, to save or to show.
    - **Raises** [`InputError`][lazyrich.InputError] as [`collapse`][lazyrich.maps.collapse] does.
    """
    numbers = collapsed_curves(dataset, quantity)
    runs = runs_of(dataset, "time", quantity)
    scale = runs.key("init_scale", "init_scale").astype(float)
    decay = runs.key("weight_decay", "weight_decay").astype(float)
    drawn = ~np.isin(runs.outcomes(), ("missing", "failed", "diverged"))
    if not drawn.any():
        raise InputError("quantity", quantity, "no run has this curve: all failed or are missing")
    times, curves = runs.data["time"].values, runs.data[quantity].values
    shifts = np.log(scale)
    norm = log_norm(scale[drawn])
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
    few_decades(bar.ax.yaxis, norm.vmin, norm.vmax)
    return figure

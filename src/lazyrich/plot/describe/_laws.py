"""Laws over many runs: the scaling of times, the collapse of curves."""

from dataclasses import replace

import numpy as np
import xarray as xr

from ..._core.errors import InputError
from ..._core.given import check_kind
from ...maps import ScalingFit
from ...maps.scaling import collapse as collapsed_curves
from ...sweeps.runs import runs_of
from ..description import Axis, Curve, Entry, Figure, Line, Panel, Style
from ..description.axis import range_of
from ..description.style import Marker, by_value, sequence
from ._layout import linear_axis, log_axis, placed, some
from ._symbols import symbol

_FIT = Style("#252525", width=1.3)
_THEORY = Style("#d95f0e", "long", 1.3)
_MARKERS: tuple[Marker, ...] = ("circle", "square", "diamond", "up", "down", "cross", "plus")
# The most values that a key names.
_MOST = 9


def scaling(fit: ScalingFit) -> Figure:
    r"""Describes the points of a scaling fit, its line, and the residuals.

    - **Takes** a fit from [`scaling_fit`][lazyrich.maps.scaling_fit].
    """
    check_kind("fit", fit, ScalingFit, "a fit of lr.maps.scaling_fit")
    rest = fit.residuals.values.astype(float)
    log_x = fit.residuals["log_against"].values.astype(float)
    line = fit.offset + fit.slope * log_x
    groups = np.zeros(len(rest)) if fit.times is None else fit.residuals[fit.times].values
    found = np.unique(groups)
    named = some(found.tolist(), _MOST)
    above, below, key = [], [], []
    for i, value in enumerate(found):
        own = groups == value
        style = Style(
            sequence(i / max(len(found) - 1, 1)), "none", marker=_MARKERS[i % len(_MARKERS)],
            size=3.4, filled=True,
        )  # fmt: skip
        label = f"{value:.3g}" if fit.times else "runs"
        above.append(Curve(np.exp(log_x[own]), (line + rest)[own], label, style, group=label))
        below.append(Curve(np.exp(log_x[own]), rest[own], label, style, group=label))
        if fit.times and i in named:
            key.append(Entry(label, style))
    ends = np.array([log_x.min(), log_x.max()])
    low, high = fit.slope_interval
    text = f"fit: slope {fit.slope:.3f} (95 %: {low:.3f} to {high:.3f}), offset {fit.offset:.3f}"
    above.append(Curve(np.exp(ends), fit.offset + fit.slope * ends, text, _FIT, group="fit"))
    key.append(Entry(text, _FIT))
    if (fit.against, fit.times) == ("init_scale", "weight_decay"):
        text = "theory, large α: log α"
        above.append(Curve(np.exp(ends), ends, text, _THEORY, group="theory"))
        key.append(Entry(text, _THEORY))
    x = log_axis(symbol(fit.against), np.exp(log_x))
    short = {"weight_decay": "λ"}.get(fit.times or "", fit.times)
    label = f"{short} × {fit.quantity}" if fit.times else fit.quantity
    many = f"{fit.num_clusters} {fit.clusters}s" if fit.clusters != "run" else "no seeds to compare"
    left_out = ", ".join(f"{n} {key.replace('_', ' ')}" for key, n in fit.left_out.items())
    title = f"{fit.num_runs} runs, {many}; R² = {fit.r_squared:.4f}"
    title += f"\nleft out: {left_out or 'none'}"
    panels = (
        Panel("law", x, linear_axis(label, *(c.y for c in above)), curves=tuple(above),
              title=title, height=1.6),
        Panel("residuals", x, linear_axis("residual", rest), curves=tuple(below), height=0.8,
              lines=(Line(0.0, "fit", _FIT, group="fit"),)),
    )  # fmt: skip
    caption = (
        f"{label} against {symbol(fit.against)} of {fit.num_runs} runs, with the fitted line of "
        f"slope {fit.slope:.3f} (95 %: {low:.3f} to {high:.3f}). Below, the residuals."
    )
    title = symbol(fit.times) if fit.times else ""
    return Figure(placed(panels, 1), caption, key=tuple(key), key_title=title, share_x=True)


def collapse(dataset: xr.Dataset, quantity: str = "test_accuracy", *, columns: int = 2) -> Figure:
    r"""Describes all curves of a sweep against $t$, and against $\lambda t - \log \alpha$.

    - **Takes** the arguments of [`plot.collapse`][lazyrich.plot.collapse]; `columns`, the number
        of panels beside each other.
    - **Raises** [`InputError`][lazyrich.InputError] as [`collapse`][lazyrich.maps.collapse] does.
    """
    numbers = collapsed_curves(dataset, quantity)
    runs = runs_of(dataset, "time", quantity)
    scale = runs.key("init_scale", "init_scale").astype(float)
    decay = runs.key("weight_decay", "weight_decay").astype(float)
    drawn = np.flatnonzero(~np.isin(runs.outcomes(), ("missing", "failed", "diverged")))
    if not len(drawn):
        raise InputError("quantity", quantity, "no run has this curve: all failed or are missing")
    times, values = runs.data["time"].values, runs.data[quantity].values
    shifts, found = np.log(scale), np.unique(scale[drawn])
    opacity = max(0.35, min(0.9, 30 / len(drawn)))
    own = [replace(style, width=0.9, opacity=opacity) for style in by_value(found.tolist())]
    styles = dict(zip(found.tolist(), own, strict=True))
    plain = set[float]()  # values of which a run has the marks
    left: list[Curve] = []
    right: list[Curve] = []
    for i in drawn:
        known = np.isfinite(values[i]) & (times[i] > 0)
        name = f"{scale[i]:.4g}"
        style = styles[scale[i]] if scale[i] not in plain else replace(styles[scale[i]], marker="")
        plain |= {scale[i]} if known.any() else set()
        for curves, at in ((left, times[i]), (right, decay[i] * times[i] - shifts[i])):
            curves.append(Curve(at[known], values[i][known], name, style, group=name))
    half = numbers.half.values
    moved = np.isfinite(half)
    y = linear_axis(quantity.replace("_", " "), *(curve.y for curve in left))
    x = log_axis("gradient-flow time t", *(curve.x for curve in left))
    low, high = range_of(*(curve.x for curve in right))
    if moved.any():
        centre = decay[moved] * half[moved] - shifts[moved]
        reach = max(4.0, 1.5 * float(np.ptp(centre)))
        low, high = float(centre.min() - reach), float(centre.max() + reach)
    text = "relative spread of {} half times: {:.3g}"
    before, after = (text.format(numbers.num_runs, s) for s in (numbers.before, numbers.after))
    panels = (
        Panel("time", x, y, curves=tuple(left), title=before),
        Panel("collapsed", Axis("λt − log α", low, high), y, curves=tuple(right), title=after),
    )
    shown = [found[i] for i in some(found.tolist(), _MOST)]
    key = tuple(Entry(f"{v:.4g}", replace(styles[v], opacity=1.0)) for v in shown)
    caption = (
        f"{y.label[0].upper()}{y.label[1:]} of {len(drawn)} runs against t and λt − log α: "
        "where the transition is at (1/λ) log α plus a constant over λ, these curves coincide."
    )
    return Figure(placed(panels, columns), caption, key=key, key_title=symbol("init_scale"),
                  share_y=columns > 1)  # fmt: skip

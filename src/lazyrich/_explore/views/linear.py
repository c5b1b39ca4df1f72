"""The weights of linear models beside both predictors."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from ...models import AbstractLinearModel
from ...plot.description.style import KERNEL, RICH, TEST
from ._base import Looked, View, short

# The most coordinates in a figure.
_COORDINATES = 120
# The most numbers of a matrix in all frames together, and the least frames that it has.
_MAX_NUMBERS, _LEAST_FRAMES = 400_000, 20
_SIGNED = [[0.0, "#2166ac"], [0.5, "#f7f7f7"], [1.0, "#b2182b"]]


def linear(run: Looked) -> Iterator[View]:
    """The weights of a linear model beside both predictors."""
    model = run.model
    if not isinstance(model, AbstractLinearModel):
        return
    weights = run.each(model.weights)
    both = {
        role: np.asarray(found.weights)
        for role, found in run.prepared.data.predictors.items()
        if found.is_certified
    }
    if weights.ndim == 3:
        yield _matrix(weights, both)
    elif weights.ndim == 2:
        yield _vector(weights, both, run.prepared.experiment.loss.is_classification)


def _vector(weights: np.ndarray, both: dict[str, np.ndarray], by_angle: bool) -> View:
    """Bars of w, with a mark of each predictor at every coordinate."""
    num = weights.shape[1]
    if by_angle:
        # Labels that are classes fix the direction of w only.
        weights = _unit(weights)
        both = {role: _unit(w) for role, w in both.items()}
    weight = np.max(np.abs(weights), axis=0)
    for w in both.values():
        weight = np.maximum(weight, np.abs(w))
    rank = [np.abs(both[role]) for role in ("rich", "kernel") if role in both] or [weight]
    shown = np.argsort(-weight, kind="stable")[:_COORDINATES]
    # Ordered by the rich predictor; its zeros, up to rounding, by the kernel predictor.
    keys = [np.round(r / max(r.max(), 1e-300), 3) for r in rank]
    shown = shown[np.lexsort([-key[shown] for key in keys[::-1]])]
    some = f"{len(shown)} of {num:,}" if len(shown) < num else f"All {num:,}"
    words = (
        f"{some} coordinates of w, ordered by the rich predictor"
        + (", those with the largest weights" if len(shown) < num else "")
        + (". All are directions, w / ‖w‖₂." if by_angle else ".")
    )
    place = np.arange(1, len(shown) + 1)
    names = [f"coordinate {i + 1}" for i in shown]
    hover = "%{text}: %{y:.3g}<extra>%{fullData.name}</extra>"
    data: list[dict[str, Any]] = [
        {"type": "bar", "x": place.tolist(), "name": "w(t)", "text": names,
         "textposition": "none", "marker": {"color": TEST.colour}, "hovertemplate": hover}
    ]  # fmt: skip
    looks = {"kernel": ("circle-open", KERNEL.colour), "rich": ("diamond", RICH.colour)}
    for role, w in both.items():
        symbol, colour = looks[role]
        data.append(
            {"type": "scatter", "mode": "markers", "x": place.tolist(), "y": short(w[shown]),
             "name": f"{role} predictor", "text": names, "hovertemplate": hover,
             "marker": {"symbol": symbol, "color": colour, "size": 7, "line": {"width": 1.5}}}
        )  # fmt: skip
    heights = np.concatenate([weights[:, shown].ravel(), *(w[shown] for w in both.values())])
    reach = 1.08 * max(float(np.abs(heights).max()), 1e-300)
    label = "w / ‖w‖₂" if by_angle else "w"
    layout = {"xaxis": {"title": {"text": "coordinate, ordered by the rich predictor"}},
              "yaxis": {"title": {"text": label}, "range": [-reach, reach]},
              "bargap": 0.1}  # fmt: skip
    return View("weights", "Weights and both predictors", words, data, layout,
                [(0, "y", weights[:, shown])])  # fmt: skip


def _unit(w: np.ndarray) -> np.ndarray:
    norm = np.linalg.norm(w, axis=-1, keepdims=True)
    return w / np.where(norm > 0, norm, 1.0)


def _matrix(weights: np.ndarray, both: dict[str, np.ndarray]) -> View:
    """W between the kernel completion and the completion of least nuclear norm."""
    num, rows, columns = weights.shape
    step = max(1, int(np.ceil(np.sqrt(rows * columns * _LEAST_FRAMES / _MAX_NUMBERS))))
    small = weights[:, ::step, ::step]
    keep = min(num, max(_LEAST_FRAMES, _MAX_NUMBERS // small[0].size))
    # Frames that are left out show the one before.
    nearest = np.linspace(0, num - 1, keep).round().astype(int)
    held = np.searchsorted(nearest, np.arange(num), side="right") - 1
    panels: list[tuple[str, np.ndarray | None]] = []
    if "kernel" in both:
        panels.append(("kernel completion", both["kernel"][::step, ::step]))
    panels.append(("W(t)", None))
    if "rich" in both:
        panels.append(("least nuclear norm", both["rich"][::step, ::step]))
    known = [values for _, values in panels if values is not None] or [small[-1]]
    reach = max(float(np.abs(values).max()) for values in known)
    signed = min(float(values.min()) for values in known) < -0.05 * reach
    data: list[dict[str, Any]] = []
    layout: dict[str, Any] = {}
    for place, (name, values) in enumerate(panels):
        axis, last = "" if place == 0 else str(place + 1), place == len(panels) - 1
        data.append(
            {"type": "heatmap", "z": None if values is None else short(values), "name": name,
             "zmin": -reach if signed else 0.0, "zmax": reach, "showscale": last,
             "colorscale": _SIGNED if signed else "Viridis", "colorbar": {"thickness": 10},
             "xaxis": f"x{axis}", "yaxis": f"y{axis}",
             "hovertemplate": "row %{y}, column %{x}: %{z:.3g}<extra>" + name + "</extra>"}
        )  # fmt: skip
        left, bare = place / len(panels), {"showticklabels": False, "ticks": "", "showgrid": False}
        layout[f"xaxis{axis}"] = bare | {"domain": [left + 0.01, left + 1 / len(panels) - 0.02],
                                         "title": {"text": name}, "anchor": f"y{axis}",
                                         "constrain": "domain"}  # fmt: skip
        layout[f"yaxis{axis}"] = bare | {"autorange": "reversed", "scaleanchor": f"x{axis}",
                                         "constrain": "domain", "domain": [0.0, 1.0],
                                         "anchor": f"x{axis}"}  # fmt: skip
    moving = next(i for i, (_, values) in enumerate(panels) if values is None)
    words = "The entries of W beside the two completions that theory names"
    words += f"; every {step}th row and column is shown" if step > 1 else ""
    words += f". W changes at {keep} of the {num} times." if keep < num else "."
    return View("matrix", "W between its two completions", words, data, layout,
                [(moving, "z", small[nearest])], held)  # fmt: skip

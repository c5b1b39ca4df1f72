"""Spectra of the tangent kernel and of the layers."""

import math
from collections.abc import Iterator
from typing import Any

import jax.numpy as jnp
import numpy as np

from ...models import AbstractLinearModel
from ...plot.description.style import TEST, TRAIN
from ._base import Looked, View, short

# The most training inputs with eigenvalues.
_SAMPLES = 256
# The products of one kernel that are computed at every frame.
_MAX_KERNEL = 2e8
# The products of all singular values of a net at one time, and the most layers with a view.
_MAX_SVD, _LAYERS = 2e8, 4
_LAYER_LOOKS = (
    ("#d55e00", "circle"), ("#0072b2", "square"), ("#009e73", "diamond"), ("#cc79a7", "cross"),
)  # fmt: skip


def spectrum(run: Looked) -> Iterator[View]:
    """The eigenvalues of the tangent kernel on training inputs."""
    problem = run.prepared.problem
    outputs = problem.train.y.size
    if problem.train.y.ndim > 1 or run.prepared.experiment.loss.takes == "classes":
        return
    num = min(outputs, _SAMPLES)
    if not isinstance(run.model, AbstractLinearModel) and num * run.rows.shape[1] > _MAX_KERNEL:
        return
    x = problem.train.x[:num]
    kernels = run.each(lambda params: run.model.tangent_kernel(params, x))
    values = np.linalg.eigvalsh(kernels)[:, ::-1]
    # Eigenvalues that are zero up to rounding are left out.
    values = np.where(values > 1e-13 * values[:, :1], values, np.nan)
    rank = np.arange(1, num + 1)
    hover = "eigenvalue %{x}: %{y:.3g}<extra>%{fullData.name}</extra>"
    data = [
        {"type": "scatter", "mode": "lines+markers", "x": rank.tolist(), "name": "now",
         "marker": {"color": TEST.colour, "size": 4}, "line": {"color": TEST.colour},
         "hovertemplate": hover},
        {"type": "scatter", "mode": "lines", "x": rank.tolist(), "y": short(values[0]),
         "name": "at the start", "line": {"color": TRAIN.colour, "dash": "dash"},
         "hovertemplate": hover},
    ]  # fmt: skip
    low, high = float(np.nanmin(values)), float(np.nanmax(values))
    layout = {"xaxis": _rank(num),
              "yaxis": {"type": "log", "title": {"text": "eigenvalue"},
                        "range": [np.log10(low) - 0.2, np.log10(high) + 0.2]}}  # fmt: skip
    some = f"the first {num} of {outputs}" if num < outputs else f"all {num}"
    words = f"Eigenvalues of the tangent kernel on {some} training inputs. A lazy net keeps them."
    yield View("spectrum", "Spectrum of the tangent kernel", words, data, layout,
               [(0, "y", values)])  # fmt: skip


def layers(run: Looked) -> Iterator[View]:
    """The singular values of each layer of a net."""
    first = run.model.layer_weights(run.prepared.problem.params)
    if not first or sum(weights.size * min(weights.shape) for weights in first) > _MAX_SVD:
        return
    data: list[dict[str, Any]] = []
    moving: list[tuple[int, str, np.ndarray]] = []
    low, high, most = math.inf, 0.0, 1
    for place, weights in enumerate(first[:_LAYERS]):

        def values_of(params: Any, place: int = place) -> Any:
            return jnp.linalg.svd(run.model.layer_weights(params)[place], compute_uv=False)

        values = run.each(values_of)
        # Singular values that are zero up to rounding are left out.
        values = np.where(values > 1e-7 * values[:, :1], values, np.nan)
        if not np.isfinite(values).any():
            continue
        low, high = min(low, float(np.nanmin(values))), max(high, float(np.nanmax(values)))
        most = max(most, values.shape[1])
        colour, symbol = _LAYER_LOOKS[place]
        name = f"layer {place + 1}, {weights.shape[1]} to {weights.shape[0]}"
        moving.append((len(data), "y", values))
        data.append(
            {"type": "scatter", "mode": "lines+markers", "name": name,
             "x": list(range(1, values.shape[1] + 1)), "line": {"color": colour, "width": 1},
             "marker": {"color": colour, "symbol": symbol, "size": 5},
             "hovertemplate": "singular value %{x}: %{y:.3g}<extra>%{fullData.name}</extra>"}
        )  # fmt: skip
    if not data:
        return
    layout = {"xaxis": _rank(most),
              "yaxis": {"type": "log", "title": {"text": "singular value"},
                        "range": [np.log10(low) - 0.2, np.log10(high) + 0.2]}}  # fmt: skip
    words = "Singular values of the weights of each layer. A rich net uses few directions."
    yield View("layers", "Spectra of the layers", words, data, layout, moving)


def _rank(most: int) -> dict[str, Any]:
    """A log axis of ranks from 1 to `most`, with labels at 1, 2 and 5 of each power of ten."""
    ranks = [k * 10**p for p in range(6) for k in (1, 2, 5) if k * 10**p <= most]
    return {"type": "log", "title": {"text": "rank"}, "tickvals": ranks,
            "ticktext": [str(rank) for rank in ranks],
            "range": [-0.05, np.log10(max(most, 2)) + 0.05]}  # fmt: skip

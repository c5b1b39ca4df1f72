"""Nets on modular arithmetic: Fourier spectrum and embeddings."""

from collections.abc import Iterator

import numpy as np

from ...plot.description.style import KERNEL, TEST, TRAIN
from ...probes import residue_spectrum
from ._base import Looked, View, short

# The most residues in a figure.
_RESIDUES = 200


def fourier(run: Looked) -> Iterator[View]:
    """The spectrum of the first layer over residues, and the embeddings at one frequency."""
    layers = run.model.layer_weights(run.prepared.problem.params)
    if not layers:
        return
    inputs, outputs = layers[0].shape[1], layers[-1].shape[0]
    if outputs < 3 or inputs != 2 * outputs:
        return
    first = run.each(lambda params: run.model.layer_weights(params)[0])  # (t, h, 2p)
    power = np.stack([np.asarray(residue_spectrum(w, outputs)).sum(0) for w in first])
    share = power / np.where(power.sum(1) > 0, power.sum(1), 1.0)[:, None]
    best = int(np.argmax(share[-1])) + 1
    number = np.arange(1, share.shape[1] + 1)
    hover = "frequency %{x}: %{y:.3g}<extra>%{fullData.name}</extra>"
    data = [
        {"type": "bar", "x": number.tolist(), "name": "now", "hovertemplate": hover,
         "marker": {"color": TEST.colour}},
        {"type": "scatter", "mode": "lines", "x": number.tolist(), "y": short(share[0]),
         "name": "at the start", "hovertemplate": hover,
         "line": {"color": TRAIN.colour, "dash": "dash"}},
    ]  # fmt: skip
    layout = {"xaxis": {"title": {"text": f"frequency over residues mod {outputs}"}},
              "yaxis": {"title": {"text": "share of the power"},
                        "range": [0, 1.08 * float(share.max())]}}  # fmt: skip
    words = "Share of each frequency in the power of the first layer, over all neurons."
    yield View("fourier", "Fourier spectrum", words, data, layout, [(0, "y", share)])
    if outputs <= _RESIDUES:
        yield _embeddings(first[:, :, :outputs], best)


def _embeddings(first: np.ndarray, k: int) -> View:
    """The residues of the first operand in the plane of one frequency."""
    p = first.shape[2]
    centred = first - first.mean(axis=2, keepdims=True)
    angle = 2 * np.pi * k * np.arange(p) / p
    waves = np.stack([np.cos(angle), np.sin(angle)], axis=1)  # (p, 2)
    points = []
    for weights in centred:
        # Projection on the orthonormal pair nearest to the two waves. It has no free sign, so
        # the figure does not flip between two frames.
        left, _, right = np.linalg.svd(weights @ waves, full_matrices=False)
        points.append(weights.T @ (left @ right))
    found = np.stack(points)
    found = found / np.maximum(np.sqrt((found**2).sum(2).max(1)), 1e-300)[:, None, None]
    # In steps of the inverse of k the angles increase by one p-th of a turn.
    step = next((s for s in range(1, p) if (s * k) % p == 1), 1)
    order = (step * np.arange(p + 1)) % p
    data = [
        {"type": "scatter", "mode": "lines+markers+text", "name": "residues",
         "text": [str(r) for r in order[:-1]] + [""], "textposition": "top center",
         "line": {"color": KERNEL.colour, "width": 1}, "marker": {"color": TEST.colour, "size": 7},
         "hovertemplate": "residue %{text}<extra></extra>", "x": None, "y": None}
    ]  # fmt: skip
    side = {"range": [-1.2, 1.2], "zeroline": False}
    layout = {"xaxis": side | {"title": {"text": f"along cos(2π·{k}·r/{p})"}},
              "yaxis": side | {"title": {"text": f"along sin(2π·{k}·r/{p})"},
                               "scaleanchor": "x"},
              "showlegend": False}  # fmt: skip
    words = (
        f"The weights of each residue of the first operand, in the plane of frequency {k}, the "
        "strongest at the end, over the longest of them. Lines join residues that follow each "
        f"other at this frequency, in steps of {step}. An even circle is what addition mod {p} "
        "needs; random weights give an uneven one, as at the start."
    )
    moving = [(0, "x", found[:, order, 0]), (0, "y", found[:, order, 1])]
    return View("embeddings", "Embeddings", words, data, layout, moving)

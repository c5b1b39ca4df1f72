"""The parts of a committee machine's error."""

from collections.abc import Iterator

import numpy as np

from ...plot.description.style import TEST
from ._base import Looked, View

_PARTS = {
    "error_variance": "variance",
    "error_misalignment": "misalignment",
    "error_linear": "linear modes",
    "population_error": "all",
}
# Bars that are seen on white and on dark paper.
_PART = "#0072b2"


def committee(run: Looked) -> Iterator[View]:
    """The parts of a committee's error over all inputs."""
    names = [name for name in _PARTS if name in run.record]
    if "population_error" not in names:
        return
    parts = np.stack([run.curve(name) for name in names], axis=1)
    positive = parts[parts > 0]
    low, high = float(positive.min()), float(positive.max())
    low = max(low, high * 1e-8)
    data = [
        {"type": "bar", "x": [_PARTS[name] for name in names], "name": "error",
         "marker": {"color": [TEST.colour if n == "population_error" else _PART for n in names]},
         "hovertemplate": "%{x}: %{y:.3g}<extra></extra>"}
    ]  # fmt: skip
    layout = {"yaxis": {"type": "log", "title": {"text": "part of the error over all inputs"},
                        "range": [np.log10(low) - 0.2, np.log10(high) + 0.2]},
              "xaxis": {"title": {"text": ""}}, "showlegend": False}  # fmt: skip
    words = (
        "The error over all inputs is the sum of three parts: of the variance of the outputs, of "
        "the misalignment of the second moment of the weights with the teacher, and of what is "
        "still linear in the input."
    )
    yield View("error", "Parts of the error", words, data, layout, [(0, "y", parts)])

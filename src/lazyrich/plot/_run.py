"""Figures drawn with matplotlib: each is the description of the same name, drawn."""

from collections.abc import Mapping, Sequence
from typing import Any, overload

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ..forecasts import Forecast
from . import describe
from ._matplotlib import PaperFigure, Width, check_width, draw
from .describe import Records, TimeScale


@overload
def run(
    record: Records,
    forecast: Forecast | Mapping[str, Any] | None = ...,
    *,
    curves: Mapping[str, Float[np.ndarray, "2 k"]] | None = ...,
    panels: Sequence[str] | None = ...,
    time: TimeScale = ...,
    width: Width = ...,
    figsize: tuple[float, float] | None = ...,
    ax: None = ...,
) -> PaperFigure: ...
@overload
def run(
    record: Records,
    forecast: Forecast | Mapping[str, Any] | None = ...,
    *,
    curves: Mapping[str, Float[np.ndarray, "2 k"]] | None = ...,
    panels: Sequence[str] | None = ...,
    time: TimeScale = ...,
    width: Width = ...,
    figsize: tuple[float, float] | None = ...,
    ax: Axes | Sequence[Axes],
) -> Figure: ...
def run(
    record: Records,
    forecast: Forecast | Mapping[str, Any] | None = None,
    *,
    curves: Mapping[str, Float[np.ndarray, "2 k"]] | None = None,
    panels: Sequence[str] | None = None,
    time: str = "log",
    width: str = "double",
    figsize: tuple[float, float] | None = None,
    ax: Axes | Sequence[Axes] | None = None,
) -> Figure:
    r"""Fit, loss, parameter norm and distance from the predictors of a run over time.

    Fit is the accuracy, or for regression the loss on a linear axis. Where predictors have no
    weights, alignments of the kernel or the normalised margin are shown instead, if recorded.
    Quantities that were not recorded have no panel. Training data are dashed, test data solid.
    Horizontal lines are the test scores of the kernel and the rich predictor. Shades are the phases
    of the run: the fit, the kernel plateau, the transition from 10 to 90 % of the change of the
    test score, and what follows. The dash-dotted vertical line is $(1/\lambda) \log \alpha$, for
    homogeneous models. Circles are published curves. Losses of the linearised model and of
    regression with the initial kernel are drawn where they were recorded. Runs of a discrete
    optimiser have their steps on a second axis, logs their steps or epochs.

    - **Takes** a record, of a run or of a log; or several, as a list or by name, which are drawn
        over each other; `forecast`, of the same experiment, drawn over the run: the curves of the
        kernel flow until the end of the kernel phase, which is a line, and the interval of `t50`,
        shaded. A forecast's summary has no curves to draw, unless its `times` and `curves` are
        added. `curves`, published ones: times and values by the name of a variable; if left out,
        the curves of the library that the record's experiment names. `panels`, which to draw:
        names among `score`, `loss`, `norm`, `direction`, `alignment`, `margin`, or variables of
        the record. `time`, the scale of the time axis: `log`, `linear`, or `both` side by side.
        `width`, that of one column of a paper (`single`, 3.4 inches) or of two (`double`, 7.0
        inches); `figsize`, width and height in inches instead; `ax`, axes of your own, one for
        each panel.
    - **Returns** a matplotlib figure, to save or to show. Its `caption` says what it shows.
    - **Raises** [`InputError`][lazyrich.InputError] for a record with nothing to draw, a panel that
        was not recorded, and arguments with other values.
    """
    check_width(width)
    columns = 1 if width == "single" else 2
    shown = describe.run(record, forecast, curves=curves, panels=panels, time=time, columns=columns)
    if ax is None:
        return draw(shown, width=width, figsize=figsize)
    return draw(shown, ax=ax)


def forecast(
    found: Forecast,
    *,
    time: str = "log",
    width: str = "double",
    figsize: tuple[float, float] | None = None,
) -> PaperFigure:
    r"""A forecast before the run: the kernel flow, the end of its phase, and what comes after.

    Accuracy, if labels have one, and loss of the kernel flow, training data dashed, test data
    solid, and faint after the kernel phase, which the run leaves. The horizontal line is the test
    score at the end. The last panel shows how far the kernel and the parameters have moved, over
    their initial sizes; the kernel phase ends where the kernel has changed by its own size. The
    green vertical lines are the end of the kernel phase and the time of half of the change of the
    test score, the band is the interval of this time, and the dash-dotted line is
    $(1/\lambda) \log \alpha$, for homogeneous models.

    - **Takes** a forecast; `time`, `width` and `figsize` as [`plot.run`][lazyrich.plot.run].
    - **Returns** a matplotlib figure, to save or to show. Its `caption` says what it shows.
    - **Raises** [`InputError`][lazyrich.InputError] for arguments with other values.
    """
    check_width(width)
    columns = 1 if width == "single" else 2
    return draw(describe.forecast(found, time=time, columns=columns), width=width, figsize=figsize)

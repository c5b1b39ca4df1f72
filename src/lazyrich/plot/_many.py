"""Figures of many runs: each is the description of the same name, drawn with matplotlib."""

from pathlib import Path

import xarray as xr

from ..experiments.published import Published
from ..maps import ScalingFit
from . import describe
from ._matplotlib import PaperFigure, check_width, draw

Size = tuple[float, float] | None


def map(
    diagram: xr.Dataset,
    boundary: xr.Dataset | None = None,
    delay: str = "ratio",
    forecast: xr.Dataset | None = None,
    *,
    width: str = "double",
    figsize: Size = None,
) -> PaperFigure:
    r"""A phase diagram over two keys: outcomes, delays, half times, and their forecasts.

    Each cell extends half-way to its neighbours. The axis of a key is linear if its values are in
    equal steps, otherwise logarithmic. Values that fit neither, such as names, or a decay of 0
    among others, have cells of equal size. Cells without a time are grey with the hatch of their
    outcome. Numbers in the key are numbers of runs. A circle marks a cell whose runs have
    different outcomes. For a diagram with forecasts, contours show the forecast half times over
    the simulated ones. A fourth map shows their ratio, with a cross where another outcome was
    forecast.

    - **Takes** a diagram from [`phase_diagram`][lazyrich.maps.phase_diagram]; a boundary from
        [`boundary`][lazyrich.maps.boundary] for the same keys, drawn as a line at the median
        between thin lines at the ends of its interval; `delay`, whether to show the `ratio` of
        $t_\mathrm{test}$ and $t_\mathrm{train}$ or their `difference`; `forecast`, the boundary of
        the forecast outcomes, drawn dashed; `width` and `figsize` as
        [`plot.run`][lazyrich.plot.run].
    - **Returns** a matplotlib figure, to save or to show. Its `caption` says what it shows.
    - **Raises** [`InputError`][lazyrich.InputError] if the keys are not the same.
    """
    columns = _columns(width, 3)
    shown = describe.map(diagram, boundary, delay, forecast, columns=columns)
    return draw(shown, width=width, figsize=figsize)


def curves(
    dataset: xr.Dataset,
    key: str,
    published: Published | None = None,
    folder: Path | None = None,
    *,
    time: str = "log",
    width: str = "double",
    figsize: Size = None,
) -> PaperFigure:
    """Fit, loss and parameter norm of all runs over time, coloured by the value of `key`.

    Where it was recorded, the distance of the weights from those of the kernel predictor is shown
    as well. Every seed is a line; training data are dashed, test data solid. Of up to nine values
    the first run has marks, by which a grey print tells them apart. Published curves are
    circles in the colour of their value. For a dataset with forecasts, a diamond shows where half
    of a run's change was forecast, with the interval as its bar.

    - **Takes** a sweep's dataset, and a key that it varies; `published`, whose curves belong to
        the values in `at`; `folder`, that of their file, if they do not come with the library;
        `time`, `width` and `figsize` as [`plot.run`][lazyrich.plot.run].
    - **Returns** a matplotlib figure, to save or to show. Its `caption` says what it shows.
    """
    columns = _columns(width, 3)
    shown = describe.curves(dataset, key, published, folder, time=time, columns=columns)
    return draw(shown, width=width, figsize=figsize)


def forecasts(dataset: xr.Dataset, *, width: str = "double", figsize: Size = None) -> PaperFigure:
    r"""Forecast against simulated times of half the test change, coloured by family.

    Bars are the intervals of the forecasts. Crosses are at $(1/\lambda) \log \alpha$. On the
    dashed line forecast and run agree.

    - **Takes** a dataset from [`forecast_runs`][lazyrich.sweeps.forecast_runs], or several joined
        along `run`; `width` and `figsize` as [`plot.run`][lazyrich.plot.run].
    - **Returns** a matplotlib figure, to save or to show. Its `caption` says what it shows.
    - **Raises** [`InputError`][lazyrich.InputError] where no run has both times.
    """
    check_width(width)
    return draw(describe.forecasts(dataset), width=width, figsize=figsize)


def scores(
    dataset: xr.Dataset, key: str, *, width: str = "double", figsize: Size = None
) -> PaperFigure:
    """Late test scores along a key, with a marker for each outcome, over the forecast scores.

    Lines are forecasts, medians over runs, with bands from the minimum to the maximum: grey for
    the kernel predictor, black for the rich one. Where they cross, a change for the better
    becomes one for the worse. Grey dots are scores on the plateau. Each value of another key,
    seeds apart, has an axis.

    - **Takes** a dataset from [`forecast_runs`][lazyrich.sweeps.forecast_runs], of runs with an
        accuracy, and a key that varies, of numbers; `width` and `figsize` as
        [`plot.run`][lazyrich.plot.run].
    - **Returns** a matplotlib figure, to save or to show. Its `caption` says what it shows.
    - **Raises** [`InputError`][lazyrich.InputError] for other datasets and keys.
    """
    shown = describe.scores(dataset, key, columns=_columns(width, 3))
    return draw(shown, width=width, figsize=figsize)


def rates(dataset: xr.Dataset, *, width: str = "double", figsize: Size = None) -> PaperFigure:
    r"""Optimisers over their learning rate, beside the gradient flow from the same parameters.

    The half time of the test score's change over that of the flow, the accuracy on the plateau,
    and the last parameter norm over that of the flow. Lines are medians over seeds; each run has
    a mark whose shape is its outcome. Times and rates are those of the flow that the optimiser
    follows: with momentum $\beta$ both are $1/(1-\beta)$ times the recorded ones. Runs that did
    not fit their data are at the bottom. Each value of another key has a row.

    - **Takes** a sweep's dataset over `dynamics`, tables of which one is a flow; `width` and
        `figsize` as [`plot.run`][lazyrich.plot.run].
    - **Returns** a matplotlib figure, to save or to show. Its `caption` says what it shows.
    - **Raises** [`InputError`][lazyrich.InputError] if the dataset has no such tables.
    """
    shown = describe.rates(dataset, columns=_columns(width, 3))
    return draw(shown, width=width, figsize=figsize)


def scaling(fit: ScalingFit, *, width: str = "double", figsize: Size = None) -> PaperFigure:
    r"""The points of a scaling fit, its line, and the residuals.

    For a time multiplied by $\lambda$, against $\alpha$, the dashed line is $\log \alpha$.

    - **Takes** a fit from [`scaling_fit`][lazyrich.maps.scaling_fit]; `width` and `figsize` as
        [`plot.run`][lazyrich.plot.run].
    - **Returns** a matplotlib figure, to save or to show. Its `caption` says what it shows.
    """
    check_width(width)
    return draw(describe.scaling(fit), width=width, figsize=figsize)


def collapse(
    dataset: xr.Dataset,
    quantity: str = "test_accuracy",
    *,
    width: str = "double",
    figsize: Size = None,
) -> PaperFigure:
    r"""All curves of a sweep against $t$, and against $\lambda t - \log \alpha$.

    If the transition is at $(1/\lambda) \log \alpha$ plus a constant over $\lambda$, the curves
    on the right coincide. Above each panel is the relative spread of the half times, see
    [`Collapse`][lazyrich.maps.Collapse]. Runs that failed or diverged are not drawn.

    - **Takes** a sweep's dataset, and the name of a curve in it; `width` and `figsize` as
        [`plot.run`][lazyrich.plot.run].
    - **Returns** a matplotlib figure, to save or to show. Its `caption` says what it shows.
    - **Raises** [`InputError`][lazyrich.InputError] as [`collapse`][lazyrich.maps.collapse] does.
    """
    shown = describe.collapse(dataset, quantity, columns=_columns(width, 2))
    return draw(shown, width=width, figsize=figsize)


def _columns(width: str, most: int) -> int:
    """Panels beside each other in a figure of a width."""
    check_width(width)
    return 1 if width == "single" else most

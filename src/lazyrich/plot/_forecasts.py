"""Forecast times against simulated times."""

import numpy as np
import xarray as xr
from matplotlib.figure import Figure

from .._core.errors import InputError
from ..sweeps.forecasts import as_runs
from ._axes import few_decades


def forecasts(dataset: xr.Dataset) -> Figure:
    r"""Forecast against simulated times of half the test change, coloured by family.

    Bars are the intervals of the forecasts. Crosses are at $(1/\lambda) \log \alpha$. On the
    dashed line forecast and run agree.

    - **Takes** a dataset from [`forecast_runs`][lazyrich.sweeps.forecast_runs], or several joined
        along `run`.
    - **Returns** a matplotlib figure, to save or to show.
    - **Raises** [`InputError`][lazyrich.InputError] where no run has both times.
    """
    runs = as_runs(dataset)
    came, said = runs["t50"].values, runs["forecast_t50"].values
    shown = np.isfinite(came) & (said > 0)
    if not shown.any():
        raise InputError("dataset", int(np.sum(shown)), "should have runs with both times")
    families = runs["forecast_family"].values
    figure = Figure(figsize=(7.6, 5.2), layout="constrained")
    axis = figure.subplots()
    textbook = runs["textbook"].values
    known = shown & (textbook > 0)
    axis.plot(came[known], textbook[known], ls="none", marker="x", markersize=3, color="#b0b0b0",
              label=r"$(1/\lambda)\,\log\alpha$")  # fmt: skip
    low, high = runs["forecast_low"].values, runs["forecast_high"].values
    for number, family in enumerate(np.unique(families[shown])):
        of = shown & (families == family)
        below, above = said[of] - np.maximum(low[of], 1e-3 * said[of]), high[of] - said[of]
        bars = np.nan_to_num(np.maximum(np.stack([below, above]), 0.0))
        axis.errorbar(came[of], said[of], bars, ls="none", marker="o", markersize=3.5,
                      elinewidth=0.7, color=f"C{number}",
                      label=f"{family} ({of.sum()})")  # fmt: skip
    ends = np.array([0.8 * np.min(came[shown]), 1.25 * np.max(came[shown])])
    axis.plot(ends, ends, color="#404040", ls="--", linewidth=1.0)
    axis.set_xscale("log")
    axis.set_yscale("log")
    for side in (axis.xaxis, axis.yaxis):
        few_decades(side, *side.get_view_interval())
    axis.set_xlabel("half of the test change, simulated")
    axis.set_ylabel("half of the test change, forecast")
    axis.grid(True, which="major", color="#e0e0e0", linewidth=0.6)
    figure.legend(loc="outside lower center", ncols=2, fontsize=8)
    return figure

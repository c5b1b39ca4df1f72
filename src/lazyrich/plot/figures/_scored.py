"""The accuracy of forecasts, in words."""

import xarray as xr

from ...sweeps.forecasts import forecast_scores


def scored(dataset: xr.Dataset) -> str:
    """The accuracy of the forecasts of a panel's runs, in a sentence or two."""
    found = forecast_scores(dataset)
    verdicts = f"{found.num_right} of {found.num_verdicts} verdicts were right."
    if not found.num_verdicts:
        verdicts = "The forecasts give no verdict."
    if not found.num_timed:
        return verdicts
    textbook = f" ({found.baseline:.2f} for the textbook time)" if found.baseline > 0 else ""
    return (
        f"The median |log ratio| of forecast and simulated half times is {found.error:.3f}"
        f"{textbook}, with a bias of {found.bias:+.3f}. Of {found.num_timed} half times "
        f"{100 * found.coverage:.0f} % are in the forecast interval. {verdicts}"
    )

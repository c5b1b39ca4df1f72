"""How forecasts did, in words."""

import xarray as xr

from ...sweeps.forecasts import forecast_scores


def scored(dataset: xr.Dataset) -> str:
    """How the forecasts of a panel's runs did, in a sentence or two."""
    found = forecast_scores(dataset)
    verdicts = f"{found.num_right} of {found.num_verdicts} verdicts came true."
    if not found.num_verdicts:
        verdicts = "No verdict was ventured."
    if not found.num_timed:
        return verdicts
    textbook = f" ({found.baseline:.2f} of the textbook's time)" if found.baseline > 0 else ""
    return (
        f"Half times as forecast are off by {found.error:.3f}{textbook}, the median |log ratio|, "
        f"with a bias of {found.bias:+.3f}; {found.coverage:.0%} of {found.num_timed} came in "
        f"their intervals. {verdicts}"
    )

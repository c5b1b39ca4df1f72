"""One run of a panel."""

import numpy as np
import xarray as xr

from ...records.transition import variables_of_numbers
from ...studies import PanelResult, curves_at
from .. import describe
from .._run import run
from ._base import AbstractFigure, Drawing
from ._scored import scored


class Run(AbstractFigure):
    """The first run over time, as [`plot.run`][lazyrich.plot.run] draws it."""

    def draw(self, result: PanelResult) -> Drawing:
        first = result.dataset.isel(dict.fromkeys(result.dataset["outcome"].dims, 0))
        folder = None if result.panel is None else result.panel.folder
        curves = curves_at(result.published, result.sweep.experiment.value, folder)
        record = record_of(first, result)
        figure = run(record, result.forecast, curves=curves)
        linear = describe.run(record, result.forecast, curves=curves, time="linear", columns=1)
        caption = figure.caption
        if len(result.sweep) > 1:
            caption = f"The run of the first seed. {caption}"
        if result.forecast is not None:
            caption += f" {scored(result.dataset)}"
        return Drawing(figure, caption, figure.described, linear)


def record_of(run: xr.Dataset, result: PanelResult) -> xr.Dataset:
    """One run of a dataset as a record: its curves, and what its outcome is decided by."""
    known = run["time"].notnull().values
    curves = {
        name: ("time", variable.values[known], variable.attrs)
        for name, variable in run.data_vars.items()
        if variable.dims == ("record",) and name != "time"
    }
    experiment = result.sweep.experiment
    numbers = {
        str(name): float(variable)
        for name, variable in run.data_vars.items()
        if variable.dims == () and variable.dtype.kind == "f" and not np.isnan(variable)
    }
    words = {str(name): dict(variable.attrs) for name, variable in run.data_vars.items()}
    attributes = {
        "ending": str(run.get("ending", xr.DataArray("completed")).item()),
        "thresholds": str(run.attrs.get("thresholds", "{}")),
        "experiment": experiment.description,
        "homogeneity": experiment.homogeneity or 0,
    }
    long_name, units = experiment.time_axis
    labels = {"long_name": long_name, "units": units}
    coords = {"time": ("time", run["time"].values[known], labels)}
    return xr.Dataset({**curves, **variables_of_numbers(numbers, words)}, coords, attributes)

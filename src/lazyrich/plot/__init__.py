"""Figures of a run, of many runs and of a study."""

from . import _extra as _extra, describe as describe, description as description, figures as figures
from ._many import (
    collapse as collapse,
    curves as curves,
    forecasts as forecasts,
    map as map,
    rates as rates,
    scaling as scaling,
    scores as scores,
)
from ._matplotlib import draw as draw
from ._plotly import plotly as plotly
from ._report import report as report
from ._run import forecast as forecast, run as run
from ._study import write_study as write_study, write_sweeps as write_sweeps

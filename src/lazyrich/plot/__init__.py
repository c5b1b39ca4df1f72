"""Figures of a run, of many runs and of a study."""

from . import describe as describe, description as description, figures as figures
from ._drawn import run as run
from ._family import family as family
from ._forecasts import forecasts as forecasts
from ._laws import collapse as collapse, scaling as scaling
from ._maps import map as map
from ._matplotlib import draw as draw
from ._plotly import plotly as plotly
from ._rates import rates as rates
from ._report import report as report
from ._scores import scores as scores
from ._study import write_study as write_study, write_sweeps as write_sweeps

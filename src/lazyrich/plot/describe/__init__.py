"""Describes figures as data, for any drawing library.

Each function has the name and the arguments of one in `lr.plot`, and returns a
[`Figure`][lazyrich.plot.description.Figure].
"""

from ._curves import curves as curves
from ._forecast_curves import forecast as forecast
from ._forecast_times import forecasts as forecasts
from ._laws import collapse as collapse, scaling as scaling
from ._map import map as map
from ._panels import PANELS as PANELS
from ._rates import has_rates as has_rates, rates as rates
from ._run import run as run
from ._scores import scores as scores
from ._shown import Records as Records, curves_of as curves_of
from ._time import TimeScale as TimeScale

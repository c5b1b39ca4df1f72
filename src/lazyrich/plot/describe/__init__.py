"""Describes figures as data, for any drawing library.

Each function has the name and the arguments of one in `lr.plot`, and returns a
[`Figure`][lazyrich.plot.description.Figure].
"""

from ._panels import PANELS as PANELS
from ._run import run as run
from ._shown import Records as Records, curves_of as curves_of
from ._time import TimeScale as TimeScale

from ._result import PanelResult as PanelResult, Row as Row
from ._stored import sweeps_of as sweeps_of
from .catalogue import (
    curves_at as curves_at,
    load as load,
    names as names,
    panels as panels,
    published_curves as published_curves,
    thresholds as thresholds,
)
from .panel import Panel as Panel, Preset as Preset

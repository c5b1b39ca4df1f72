"""When a run leaves the kernel regime, and into what, before training."""

from .calibration import Family as Family
from .forecast import Forecast as Forecast, forecast as forecast

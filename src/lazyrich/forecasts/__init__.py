"""Predicts before training when a run leaves the kernel regime, and its outcome."""

from .calibration import Family as Family
from .forecast import Forecast as Forecast, forecast as forecast
from .remaining import Remaining as Remaining, remaining as remaining

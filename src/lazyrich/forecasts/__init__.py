"""Predicts before training when a run leaves the kernel regime, and its outcome."""

from .answer import Forecast as Forecast
from .calibration import Family as Family
from .forecast import forecast as forecast
from .remaining import Remaining as Remaining, remaining as remaining

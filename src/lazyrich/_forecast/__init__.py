"""When a run leaves the kernel regime, and into what, before training."""

from .calibration import Family as Family
from .forecast import (
    Forecast as Forecast,
    forecast as forecast,
    forecast_on as forecast_on,
)
from .seen import Asked as Asked, How as How
from .verdict import is_foreseen as is_foreseen

from . import functional as functional
from ._forecast.answer import TorchForecast as TorchForecast
from ._forecast.forecast import forecast as forecast
from .callbacks import (
    HuggingFaceCallback as HuggingFaceCallback,
    LightningCallback as LightningCallback,
)
from .diagnosis import Diagnosis as Diagnosis, diagnose as diagnose
from .monitor import Monitor as Monitor
from .parameters import state_dict as state_dict

"""What a forecast is told of a monitored training."""

from typing import Any

from torch import Tensor

from ..._core.errors import InputError
from .._monitor.view import Setting
from .losses import converted_loss

_STAND_INS = {"classes": "cross_entropy", "signs": "logistic", "reals": "squared"}


def described(setting: Setting, given: tuple[Any, Any, Any], options: dict[str, Any]) -> Any:
    """Training data, test data, loss and options of a forecast.

    A forecast for Adam or AdamW depends on none of them, and exists for every monitored training:
    there a loss that forecasts do not know is replaced by a usual one for such labels.

    - **Raises** [`InputError`][lazyrich.InputError] for a loss that forecasts do not know, with
        another optimiser.
    """
    train, test, loss = given
    if setting.steps.rule in ("adam", "adamw"):
        if isinstance(setting.train.x, Tensor):
            f = setting.directions.new_zeros(len(setting.train.y), setting.directions.shape[1])
            train = setting.train.x, setting.objective.labels(f, setting.train.y)[1]
            f = f.new_zeros(len(setting.test.y), f.shape[1])
            test = setting.test.x, setting.objective.labels(f, setting.test.y)[1]
            loss = _STAND_INS[setting.labels]
        if "t1" not in options and options.get("steps", 1) > 0:
            rate = float(setting.steps.main.get("lr", 0.0)) or 1.0
            options = {**options, "t1": options.get("steps", 1) * rate}
        return train, test, loss, options
    try:
        converted_loss(loss, setting.directions.shape[1])
    except InputError as error:
        accepted = f"{error.accepted}, for a forecast; the monitor goes on with this one"
        raise InputError(error.key, error.value, accepted) from None
    return train, test, loss, options

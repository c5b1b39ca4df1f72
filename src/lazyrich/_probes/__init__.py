"""What is measured on the way."""

from ._base import AbstractProbe as AbstractProbe, Moment as Moment, Setting as Setting
from .fit import Accuracy as Accuracy, LogLoss as LogLoss, Loss as Loss, accuracy as accuracy
from .norms import (
    NormalisedMargin as NormalisedMargin,
    ParamNorm as ParamNorm,
    WeightNorm as WeightNorm,
)
from .regime import CosineTo as CosineTo, Drift as Drift

BUILT_IN: dict[str, AbstractProbe] = {
    probe.name: probe
    for probe in (
        Loss("train"),
        Loss("test"),
        LogLoss("train"),
        LogLoss("test"),
        Accuracy("train"),
        Accuracy("test"),
        ParamNorm(),
        WeightNorm(1),
        WeightNorm(2),
        NormalisedMargin(1),
        NormalisedMargin(2),
        Drift(),
        CosineTo("kernel"),
        CosineTo("rich"),
    )
}
"""Every probe an experiment can name."""

"""What is measured on the way."""

from ._base import (
    AbstractProbe as AbstractProbe,
    Labels as Labels,
    Moment as Moment,
    Setting as Setting,
)
from .fit import Accuracy as Accuracy, LogLoss as LogLoss, Loss as Loss, accuracy as accuracy
from .fourier import (
    FourierParticipation as FourierParticipation,
    participation as participation,
    residue_spectrum as residue_spectrum,
)
from .margins import (
    HomogeneousMargin as HomogeneousMargin,
    Margin as Margin,
    SoftmaxSaturation as SoftmaxSaturation,
    margins as margins,
)
from .norms import (
    NormalisedMargin as NormalisedMargin,
    NuclearNorm as NuclearNorm,
    ParamNorm as ParamNorm,
    WeightNorm as WeightNorm,
)
from .regime import CosineTo as CosineTo, DistanceTo as DistanceTo, Drift as Drift

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
        NuclearNorm(),
        Margin(),
        HomogeneousMargin(),
        SoftmaxSaturation(),
        Drift(),
        CosineTo("kernel"),
        CosineTo("rich"),
        DistanceTo("kernel"),
        DistanceTo("rich"),
    )
}
"""Every probe that records hold by default, as far as it applies."""

ON_REQUEST: dict[str, AbstractProbe] = {
    probe.name: probe
    for probe in (
        FourierParticipation("first"),
        FourierParticipation("last"),
    )
}
"""Probes that an experiment can name as well: costly ones, or of one kind of task."""

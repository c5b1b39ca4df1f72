"""Probes: the quantities that a run records."""

from ._base import (
    AbstractProbe as AbstractProbe,
    Labels as Labels,
    RunContext as RunContext,
    RunState as RunState,
)
from .arrival import Arrival as Arrival, MapArrival as MapArrival
from .certificates import Complementarity as Complementarity, Stationarity as Stationarity
from .committee import (
    CommitteeError as CommitteeError,
    ErrorParts as ErrorParts,
    MeanWeight as MeanWeight,
    SecondMoment as SecondMoment,
    error_parts as error_parts,
)
from .fit import Accuracy as Accuracy, LogLoss as LogLoss, Loss as Loss, accuracy as accuracy
from .fourier import (
    FourierParticipation as FourierParticipation,
    FourierPower as FourierPower,
    participation as participation,
    residue_spectrum as residue_spectrum,
)
from .invariance import BlockInvariance as BlockInvariance, Invariance as Invariance
from .kernel import (
    KernelAlignment as KernelAlignment,
    KernelSpectrum as KernelSpectrum,
    KernelTop as KernelTop,
    TaskDifficulty as TaskDifficulty,
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
from .parameters import Parameters as Parameters
from .regime import CosineTo as CosineTo, DistanceTo as DistanceTo, Drift as Drift
from .turning import KernelDistance as KernelDistance, KernelVelocity as KernelVelocity
from .twin import (
    KernelRegression as KernelRegression,
    Twin as Twin,
    TwinError as TwinError,
    TwinLoss as TwinLoss,
    follows_twin as follows_twin,
    twin_of as twin_of,
)
from .weights import Weights as Weights

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
"""The default probes. A record contains those that apply to its run."""

ON_REQUEST: dict[str, AbstractProbe] = {
    probe.name: probe
    for probe in (
        Stationarity("rich"),
        Complementarity("rich"),
        Stationarity("kernel"),
        Complementarity("kernel"),
        KernelDistance(),
        KernelVelocity(),
        FourierParticipation("first"),
        FourierParticipation("last"),
        FourierPower("first"),
        FourierPower("last"),
        CommitteeError(""),
        CommitteeError("variance"),
        CommitteeError("misalignment"),
        CommitteeError("linear"),
        MeanWeight(),
        SecondMoment("trace"),
        SecondMoment("norm"),
        KernelAlignment("labels"),
        KernelAlignment("start"),
        KernelTop("eigenvalue"),
        KernelTop("label_power"),
        KernelSpectrum("eigenvalues"),
        KernelSpectrum("label_power"),
        TaskDifficulty(),
        TwinLoss("train"),
        TwinLoss("test"),
        TwinError(),
        KernelRegression("test"),
        KernelRegression("population"),
        Arrival(),
        MapArrival(),
        Invariance(),
        BlockInvariance(),
        Weights(1),
        Weights(2),
        Parameters(),
    )
}
"""Further probes that an experiment can name. They are expensive or specific to some tasks."""

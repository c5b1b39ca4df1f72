"""Dynamics: how parameters change during training."""

from .._integrate.checkpoint import Checkpoint as Checkpoint
from .._integrate.log_state import LogState as LogState
from .._integrate.status import Ending as Ending
from ._base import (
    AbstractDynamics as AbstractDynamics,
    Problem as Problem,
    Snapshots as Snapshots,
    SolveProgress as SolveProgress,
    Trajectory as Trajectory,
)
from ._effort import Effort as Effort
from .diagonal.reduced_flow import ReducedFlow as ReducedFlow
from .discrete import (
    AbstractDiscrete as AbstractDiscrete,
    Draws as Draws,
)
from .flow import Flow as Flow, StopWhen as StopWhen
from .gradient_flow import GradientFlow as GradientFlow, LogTimeFlow as LogTimeFlow
from .invariant_clock import InvariantClock as InvariantClock
from .optimisers import (
    SGD as SGD,
    Adam as Adam,
    AdamW as AdamW,
    GradientDescent as GradientDescent,
    LabelNoiseSGD as LabelNoiseSGD,
)
from .small_decay.limit import SmallDecayLimit as SmallDecayLimit
from .small_decay.manifold import InterpolationManifold as InterpolationManifold
from .stochastic import AbstractStochastic as AbstractStochastic
from .times import Times as Times

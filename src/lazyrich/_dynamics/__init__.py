"""How parameters move."""

from ._base import (
    AbstractDynamics as AbstractDynamics,
    Effort as Effort,
    Ending as Ending,
    Problem as Problem,
    Trajectory as Trajectory,
)
from ._checkpoint import Checkpoint as Checkpoint
from .discrete import (
    AbstractDiscrete as AbstractDiscrete,
    AbstractStochastic as AbstractStochastic,
    Draws as Draws,
)
from .flow import Flow as Flow, StopWhen as StopWhen
from .gradient_flow import (
    GradientFlow as GradientFlow,
    LogState as LogState,
    LogTimeFlow as LogTimeFlow,
)
from .optimisers import (
    SGD as SGD,
    Adam as Adam,
    AdamW as AdamW,
    GradientDescent as GradientDescent,
    LabelNoiseSGD as LabelNoiseSGD,
)
from .reduced_flow import ReducedFlow as ReducedFlow
from .times import Times as Times

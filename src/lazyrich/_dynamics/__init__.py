"""How parameters move."""

from ._base import (
    AbstractDynamics as AbstractDynamics,
    Effort as Effort,
    Ending as Ending,
    Problem as Problem,
    Trajectory as Trajectory,
)
from .gradient_descent import GradientDescent as GradientDescent
from .reduced_flow import ReducedFlow as ReducedFlow
from .times import Times as Times

"""Losses, their duals and their late-time forms."""

from ._base import AbstractLoss as AbstractLoss
from .cross_entropy import CrossEntropy as CrossEntropy
from .exponential import Exponential as Exponential
from .hinge import Hinge as Hinge, SquaredHinge as SquaredHinge
from .logistic import Logistic as Logistic
from .squared import Squared as Squared

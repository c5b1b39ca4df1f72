"""New solvers for diffrax."""

from ._matrix import AbstractMatrix as AbstractMatrix, AbstractMatrixTerm as AbstractMatrixTerm
from .damped_rkc2 import DampedRKC2 as DampedRKC2
from .dual_ros34pw2 import DualROS34PW2 as DualROS34PW2
from .projected_tsit5 import (
    AbstractManifoldTerm as AbstractManifoldTerm,
    ProjectedTsit5 as ProjectedTsit5,
)
from .rkc2 import RKC2 as RKC2
from .rock2 import ROCK2 as ROCK2
from .rodas5p import Linearisation as Linearisation, Rodas5P as Rodas5P
from .ros34pw2 import ROS34PW2 as ROS34PW2

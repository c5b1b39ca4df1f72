"""A package of a user's: a task, a model, a loss and a probe, a file each."""

from .half_logistic import HalfLogistic as HalfLogistic
from .one_sign import OneSign as OneSign
from .sparsity import Sparsity as Sparsity
from .squares import Squares as Squares

"""A package of a user's: a task, a model, a loss, a probe and a solver, a file each."""

from .half_logistic import HalfLogistic as HalfLogistic
from .heun_euler import HeunEuler as HeunEuler
from .one_sign import OneSign as OneSign
from .sparsity import Sparsity as Sparsity
from .squares import Squares as Squares

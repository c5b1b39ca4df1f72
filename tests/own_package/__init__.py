"""A user's package: a task, models, a loss, a probe, a predictor and a solver, a file each."""

from .by_simplex import SquaresBySimplex as SquaresBySimplex
from .half_logistic import HalfLogistic as HalfLogistic
from .heun_euler import HeunEuler as HeunEuler
from .one_sign import OneSign as OneSign
from .sparsity import Sparsity as Sparsity
from .squares import Squares as Squares

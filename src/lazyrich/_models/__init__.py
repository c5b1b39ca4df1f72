"""What learns."""

from ._base import AbstractModel as AbstractModel, LinearPredictor as LinearPredictor
from .diagonal_linear import (
    DiagonalLinear as DiagonalLinear,
    DiagonalParams as DiagonalParams,
    power_difference as power_difference,
)

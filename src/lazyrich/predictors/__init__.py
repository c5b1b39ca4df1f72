"""Predictors: the solutions that theory predicts for training, each with a certificate."""

from ._base import CERTIFIED as CERTIFIED, Predictor as Predictor
from .kernel_completion import kernel_completion as kernel_completion
from .kkt import (
    KKTResidual as KKTResidual,
    MinNormResidual as MinNormResidual,
    diagonal_kkt as diagonal_kkt,
    margin_kkt as margin_kkt,
    min_norm_kkt as min_norm_kkt,
)
from .l1_max_margin import l1_max_margin as l1_max_margin
from .l1_min_norm import l1_min_norm as l1_min_norm
from .l2_max_margin import l2_max_margin as l2_max_margin
from .l2_min_norm import l2_min_norm as l2_min_norm
from .lq_max_margin import lq_max_margin as lq_max_margin
from .multiclass_max_margin import multiclass_max_margin as multiclass_max_margin
from .nuclear_norm import min_nuclear_norm as min_nuclear_norm
from .tangent_max_margin import (
    TangentMargin as TangentMargin,
    tangent_max_margin as tangent_max_margin,
)

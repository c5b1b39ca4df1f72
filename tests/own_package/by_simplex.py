"""The largest L1 margin by SciPy's simplex method, and a model that names it."""

import numpy as np
from scipy.optimize import linprog

from lazyrich.models import Theory
from lazyrich.predictors import Predictor

from .squares import Squares


def l1_margin_by_simplex(x, y, start):
    assert start is not None  # the certified early predictor
    signed = y[:, None] * x.astype(float)
    n, d = signed.shape
    both = np.hstack([signed, -signed])
    found = linprog(np.ones(2 * d), A_ub=-both, b_ub=-np.ones(n), method="highs-ds")
    weights = (found.x[:d] - found.x[d:]) / found.x.sum()
    mu = -found.ineqlin.marginals / -found.ineqlin.marginals.sum()
    margin, bound = np.min(signed @ weights), np.max(np.abs(mu @ signed))
    gap = (bound - margin) / bound
    return Predictor("L1 by simplex", weights, margin, bound, mu, gap, "optimal")


class SquaresBySimplex(Squares):
    def theory(self, classification):
        late = l1_margin_by_simplex if classification else None
        return Theory("l2", late, family="Squares", of_any_task=True)

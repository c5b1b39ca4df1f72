"""The clock of nets whose transition is timed by the decay of their norm."""

import math

import numpy as np

from ..dynamics import Problem
from .phase import Clock


def end_norm(margin: float, num_outputs: int, weight_decay: float) -> float:
    r"""The norm of the parameters at the end of training, of a classifier of degree 2.

    If the correct output is above all others by $q = \gamma \lVert\theta\rVert^2$ on every sample,
    with $\gamma =$ `margin` $/ c$, then $\log(1 + (c - 1) e^{-q}) + \lambda q / 2 \gamma$ has its
    minimum at $q = \log ((c - 1)(2\gamma / \lambda - 1))$. NaN if this is not positive: the only
    minimum is then at zero parameters. NaN for one output, which has no other to be above.

    - **Takes** `num_outputs`, $c$.
    """
    if num_outputs < 2:
        return math.nan
    gamma = margin / num_outputs
    odds = (num_outputs - 1) * (2 * gamma / weight_decay - 1)
    return math.sqrt(math.log(odds) / gamma) if odds > 1 else math.nan


def norm_clock(problem: Problem, margin: float) -> Clock:
    r"""The clock $\lambda t - \log (\lVert\theta_0\rVert / \lVert\theta_\text{end}\rVert)$.

    It is zero when a norm that decays from its initial value reaches the norm of the end of
    training, see `end_norm`. All its times are NaN if
    there is no such norm.
    """
    decay = float(problem.weight_decay)
    outputs = problem.model.layer_weights(problem.params)[-1].shape[0]
    end = end_norm(margin, outputs, decay)
    if math.isnan(end):
        return Clock(np.zeros(1), np.full(1, math.nan), decay)
    start = math.log(float(problem.model.norm(problem.params)) / end) / decay
    # Zero lies inside, so that rounding does not lose it.
    around = np.array([-1.0, 1.0])
    return Clock(start + around / decay, np.exp(around), decay)

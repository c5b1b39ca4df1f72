"""What speaks against a forecast."""

import math

import jax.numpy as jnp
import numpy as np

from .._dynamics import Adam, AdamW, Flow, Problem, ReducedFlow
from .._experiment import Experiment
from .._models import DiagonalLinear, MatrixFactorisation
from .._predictors import Predictor
from .phase import KernelPhase
from .verdict import Reason

# The movement by the fit, relative to the start, from which on a start is no longer lazy.
_NOT_LAZY = 0.3


def doubts_of_setting(experiment: Experiment, phase: KernelPhase) -> list[Reason]:
    """What theory asks for and the experiment does not give."""
    found, model, flow = [], experiment.model, phase.flow
    if model.has_kinks:
        found.append(Reason(1, "the model has kinks; theory is of smooth ones"))
    if model.homogeneity is None:
        if experiment.weight_decay > 0:
            text = "the model is not homogeneous: the expansion holds while decay has done little"
            found.append(Reason(2, text))
        else:
            found.append(Reason(0, "the model is not homogeneous, of no matter without decay"))
    unit = 1.0
    if not experiment.loss.is_classification:
        half = 0.5 * experiment.loss.dual(jnp.zeros_like(flow.f_start), flow.y)
        unit = float(jnp.sqrt(jnp.mean(half**2))) or 1.0
    size = float(jnp.sqrt(jnp.mean(flow.f_start**2))) / unit
    if size > 1e-6:
        text = f"outputs do not start at zero but at {size:.2g} of what they should come to"
        found.append(Reason(2 if size > 1 else 1, text))
    dynamics = experiment.dynamics
    kind = type(dynamics).__name__
    if isinstance(dynamics, Adam | AdamW):
        text = f"{kind} does not follow the gradient flow, whose times these are"
        found.append(Reason(2, text))
    elif not isinstance(dynamics, Flow | ReducedFlow):
        found.append(Reason(1, f"{kind} follows the gradient flow only at small learning rates"))
    if experiment.time_axis[1] != "1":
        text = "times are of the flow, where the run's, and its horizon, are their logarithms"
        found.append(Reason(2, text))
    if phase.solved.ending != "completed":
        text = f"the kernel flow ended early ({phase.solved.ending}, {phase.solved.method})"
        found.append(Reason(2, text))
    return found


def doubts_of_phase(phase: KernelPhase, t_fit: float) -> list[Reason]:
    """Whether there is a kernel phase in which the training data are fitted."""
    t_end = phase.t_end
    if math.isnan(t_end):
        return []
    if math.isnan(t_fit) or t_fit >= t_end:
        return [Reason(2, "the kernel picture breaks down before the training data are fitted")]
    moved = float(np.interp(t_fit, phase.times, phase.solved.observed["phi_ratio"]))
    if moved > _NOT_LAZY:
        text = f"the start is hardly lazy: by the fit parameters have moved by {moved:.2g} of it"
        return [Reason(2, text)]
    return []


def doubts_of_end(rich: Predictor | None) -> list[Reason]:
    """Whether training is known to end at the rich predictor."""
    if rich is not None and rich.status == "stationary":
        return [Reason(1, "the rich predictor is one of several stationary points")]
    return []


class RichNorm:
    """The parameter norm that the rich predictor is to be had for, as far as it is known."""

    def __init__(self, problem: Problem, rich: Predictor | None):
        self.norm, self.collapses = math.nan, False
        decay, model = float(problem.weight_decay), problem.model
        if rich is None or decay == 0:
            return
        if not problem.loss.is_classification:
            # |theta|^2 = |u|^2 + |v|^2 is at least the nuclear or the L1 norm of the weights.
            self.norm = math.sqrt(rich.objective)
        elif isinstance(model, DiagonalLinear) and rich.objective > 0:
            # Of weights w with all margins r times the best: |theta|^2 = sum |w|^(2/L) = r^(2/L).
            sizes = np.geomspace(1e-6, 1e9, 3001)
            margins = jnp.asarray(sizes ** (model.depth / 2) * rich.objective)
            fit = problem.loss.value(margins, jnp.ones(len(sizes)))
            totals = np.asarray(fit) / float(problem.loss_divisor) + 0.5 * decay * sizes
            best = int(np.argmin(totals))
            self.norm, self.collapses = math.sqrt(sizes[best]), best == 0

    def doubts(self, norm: float) -> list[Reason]:
        """Against a start of that norm."""
        if self.collapses:
            return [Reason(2, "decay outweighs the loss: its minimum is at zero")]
        if norm <= self.norm:
            text = (
                f"the start's norm {norm:.3g} does not exceed {self.norm:.3g}, where training ends"
            )
            return [Reason(2, text)]
        return []


def number_of(problem: Problem, rich: Predictor | None) -> float:
    r"""The $k$ of a [`Family`][lazyrich.Family]; NaN where it is not known."""
    if isinstance(problem.model, MatrixFactorisation):
        return problem.model.size**2 / problem.train.x.shape[0]
    if rich is None:
        return math.nan
    w = np.abs(np.ravel(rich.weights))
    return float(np.sum(w) ** 2 / np.sum(w**2))

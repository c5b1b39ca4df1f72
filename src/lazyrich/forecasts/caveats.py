"""Reasons that lower the confidence of a forecast."""

import math

import jax.numpy as jnp
import numpy as np

from ..dynamics import Problem
from ..experiments.experiment import Experiment
from ..predictors import Predictor
from .phase import KernelPhase
from .verdict import Reason

# The change of the parameters up to the fit, over their initial norm, above which training is not
# lazy.
_NOT_LAZY = 0.3
# The value of lambda t below which the decay of a model without a degree is a perturbation.
_LITTLE_DECAY = 0.1
_NO_DEGREE = "the model is not homogeneous"
# Runs that calibrate regressions keep less than this part of the loss of zero outputs at their end.
_LEFT = 0.01
# Outputs at time 0 below this size, relative to the labels, are taken as zero.
_ZERO = 1e-6
# The largest number of inputs, samples times their length, that are compared with each other.
_MANY = 10_000_000
FIT_UNKNOWN = "the time of the fit is not known"
"""What reasons say of a forecast without the time of the fit."""


def caveats_of_dynamics(experiment: Experiment, phase: KernelPhase) -> list[Reason]:
    """If the run does not follow the gradient flow, or the solve of the kernel flow ended early."""
    found, dynamics = [], experiment.dynamics
    kind = dynamics.kind_name()
    if dynamics.rescales_gradients:
        text = f"times are gradient-flow times, and {kind} does not follow the gradient flow"
        found.append(Reason(2, text))
    elif dynamics.is_small_decay_limit:
        found.append(Reason(0, f"{kind} is the limit of the gradient flow at small decay"))
    elif dynamics.as_flow() is None:
        found.append(Reason(1, f"{kind} follows the gradient flow only at small learning rates"))
    if dynamics.in_log_time:
        text = "times are gradient-flow times; the run and its horizon t1 use log time"
        found.append(Reason(2, text))
    if phase.solved.ending != "completed":
        how = f"{phase.solved.ending}, {phase.solved.method}"
        text = f"the solve of the kernel flow ended early ({how}), so the forecast may be wrong; "
        text += "fewer samples may help"
        found.append(Reason(2, text))
    return found


def caveats_of_data(problem: Problem) -> list[Reason]:
    """If equal training inputs have different labels."""
    x, y = np.asarray(problem.train.x), np.asarray(problem.train.y)
    if x.size > _MANY:
        return []
    _, first, which = np.unique(x, axis=0, return_index=True, return_inverse=True)
    differs = y != y[first[np.ravel(which)]]
    num = int(np.sum(differs.reshape(len(y), -1).any(axis=1)))
    if not num:
        return []
    text = f"{num} training samples have the same inputs as another sample and a different label, "
    return [Reason(0, f"{text}so not all of them can be fitted")]


def caveats_of_model(experiment: Experiment, until: float) -> list[Reason]:
    """If the model does not justify the first-order expansion up to the time `until`."""
    found, model = [], experiment.model
    if model.has_kinks:
        found.append(Reason(1, "the model has kinks, but the theory assumes a smooth model"))
    if experiment.homogeneity is None:
        passed = experiment.weight_decay * until
        what = "biases and gains do not decay" if experiment.decays_partly else _NO_DEGREE
        if passed > _LITTLE_DECAY:
            text = f"{what}, so the kernel flow is accurate only up to times much smaller than "
            text += f"1 / lambda; it is used up to {passed:.2g} / lambda"
            found.append(Reason(2, text))
        elif passed > 0:
            text = f"{what}, but weight decay has little effect as long as the kernel flow is used"
            found.append(Reason(1, text))
        else:
            found.append(Reason(0, f"{what}, which has no effect without weight decay"))
    return found


def caveats_of_start(experiment: Experiment, phase: KernelPhase) -> list[Reason]:
    """If the initial outputs are not zero, which the theory of the rich predictor assumes."""
    flow = phase.flow
    unit = experiment.loss.typical_output(flow.f_start.shape, flow.y)
    size = float(jnp.sqrt(jnp.mean(flow.f_start**2))) / unit
    if not size > _ZERO:
        return []
    against = "one" if experiment.loss.is_classification else "the labels"
    text = f"outputs at time 0 are {size:.2g} times {against} (root mean square), not zero"
    return [Reason(2 if size > 1 else 1, text)]


def caveats_of_phase(phase: KernelPhase, t_fit: float) -> list[Reason]:
    """If the training data are not fitted during a kernel phase."""
    t_end = phase.t_end
    if math.isnan(t_end):
        return []
    if math.isnan(t_fit) or t_fit >= t_end:
        text = "the kernel phase ends before the training data are fitted"
        return [Reason(2, f"{FIT_UNKNOWN}: {text}")]
    moved = float(np.interp(t_fit, phase.times, phase.solved.observed["phi_ratio"]))
    if moved > _NOT_LAZY:
        text = f"training is not lazy: up to the fit the parameters change by {moved:.2g}"
        return [Reason(2, f"{text} of their initial norm")]
    return []


def caveats_of_end(rich: Predictor | None) -> list[Reason]:
    """If it is not certain that training ends at the rich predictor."""
    if rich is not None and rich.status == "stationary":
        text = "the rich predictor is a stationary point; training may end at another one"
        return [Reason(1, text)]
    return []


class RichEnd:
    r"""The end of training at the rich predictor, for small $\lambda$.

    - `norm`, the final norm of the parameters; NaN if unknown.
    - `collapses`, whether weight decay outweighs the loss, so that the minimum is at zero.
    - `train_loss`, the training loss that remains because of decay; NaN if unknown.
    """

    def __init__(self, problem: Problem, rich: Predictor | None):
        self.norm, self.collapses, self.train_loss = math.nan, False, math.nan
        self._left = 0.0  # the part of the loss of zero outputs that decay leaves to a regression
        decay, degree, loss = float(problem.weight_decay), problem.model.homogeneity, problem.loss
        if rich is None:
            return
        if decay == 0:
            self.train_loss = 0.0
            return
        y, divisor = problem.train.y, float(problem.loss_divisor)
        if not loss.is_classification:
            # |theta|^2 = |u|^2 + |v|^2 is at least the nuclear or the L1 norm of the weights. Hence
            # the forces on the outputs are n lambda / 2 times the multipliers of the constraints,
            # and the residuals are the forces over the curvature of the loss.
            self.norm = math.sqrt(rich.objective)
            at_zero, bend = loss.blank(y.shape, y), loss.curvature_at_labels(y)
            residual = 0.5 / bend * len(y) * decay * divisor * np.asarray(rich.dual)
            # By convexity the loss is at most the loss at zero weights, where the estimate fails.
            self.train_loss = min(0.5 * bend * float(np.mean(residual**2)), at_zero)
            self.collapses = self.train_loss >= at_zero
            self._left = self.train_loss / at_zero if at_zero > 0 else 0.0
        elif degree is not None and rich.objective > 0:
            # If all margins are r times the largest margin at unit norm, |theta|^2 = r^(2/L).
            sizes = np.geomspace(1e-6, 1e9, 3001)
            margins = jnp.asarray(sizes ** (degree / 2) * rich.objective)
            fit = np.asarray(loss.value(margins, jnp.ones(len(sizes))))
            totals = fit / divisor + 0.5 * decay * sizes
            best = int(np.argmin(totals))
            self.norm, self.collapses = math.sqrt(sizes[best]), best == 0
            self.train_loss = float(fit[best])

    def caveats(self, norm: float) -> list[Reason]:
        """The caveats for initial parameters of norm `norm`."""
        if self.collapses:
            text = "weight decay is so strong that all parameters decay to zero; lower it"
            return [Reason(2, text)]
        if norm <= self.norm:
            text = f"the initial norm {norm:.3g} is not above the final norm {self.norm:.3g}"
            return [Reason(2, text)]
        if self._left > _LEFT:
            text = (
                f"weight decay leaves {100 * self._left:.2g} % of the loss of zero outputs, more "
            )
            text += "than in the calibration runs, so t50 may be wrong"
            return [Reason(2, text)]
        return []


def number_of(problem: Problem, rich: Predictor | None) -> float:
    r"""The $k$ of a [`Family`][lazyrich.forecasts.Family]; NaN if unknown."""
    entries = problem.model.theory(problem.loss.is_classification).entries
    if entries is not None:
        return entries / problem.train.x.shape[0]
    if rich is None or not np.any(rich.weights):
        return math.nan
    w = np.abs(np.ravel(rich.weights))
    return float(np.sum(w) ** 2 / np.sum(w**2))

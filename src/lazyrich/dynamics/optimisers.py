"""Gradient descent, stochastic gradient descent and Adam."""

import math
from typing import Annotated

import jax
import jax.random as jr
import optax
from annotated_types import Ge, Gt, Lt
from jaxtyping import Array

from .._core.errors import InputError
from ..tasks import Samples
from ._base import Problem
from .discrete import LABEL_NOISE, AbstractDiscrete, Draws
from .stochastic import AbstractStochastic

Fraction = Annotated[float, Ge(0), Lt(1)]


class GradientDescent(AbstractDiscrete):
    r"""Full-batch gradient descent.

    $\theta \leftarrow \theta - \eta (\nabla \mathcal L(\theta) + \lambda\theta)$.
    """

    @property
    def forgets(self) -> bool:
        return True

    def transformation(self, weight_decay: Array) -> optax.GradientTransformation:
        return optax.add_decayed_weights(weight_decay)


class SGD(AbstractStochastic):
    r"""Stochastic gradient descent, with heavy-ball or Nesterov momentum.

    $m \leftarrow \beta m + \nabla \mathcal L_B(\theta) + \lambda\theta$ and $\theta \leftarrow
    \theta - \eta m$, where $B$ is the batch of the step. Time is $\eta \times$ step for any
    $\beta$, but with momentum the parameters move $1/(1-\beta)$ times as fast as gradient flow.

    - **Takes** `momentum`, $\beta$; `nesterov`.
    """

    momentum: Fraction = 0.0
    nesterov: bool = False

    def transformation(self, weight_decay: Array) -> optax.GradientTransformation:
        decay = optax.add_decayed_weights(weight_decay)
        if self.momentum == 0:
            return decay
        return optax.chain(decay, optax.trace(self.momentum, self.nesterov))


class LabelNoiseSGD(AbstractStochastic):
    r"""Stochastic gradient descent with random noise added to the labels in every step.

    A step uses the loss for labels $y + \sigma\xi$, with $\xi$ uniform on $\{\pm 1\}$ and
    independent for every step and every sample.

    - **Takes** `noise`, $\sigma$.
    - **Raises** [`InputError`][lazyrich.InputError] for a classification loss, or for labels that
        are classes.
    - **Source** Damian, Ma & Lee, NeurIPS 2021, arXiv:2106.06530; for grokking, Lyu et
        al., ICLR 2024, arXiv:2311.18817, appendix B.2.
    """

    noise: Annotated[float, Ge(0)] = 0.1

    def faster(self, factor: int) -> "LabelNoiseSGD":
        # The drift by the noise is proportional to the learning rate times noise^2.
        rate, noise = factor * self.learning_rate, self.noise / math.sqrt(factor)
        return self.model_copy(update={"learning_rate": rate, "noise": noise})

    @property
    def draws_beside(self) -> bool:
        return self.noise > 0

    @property
    def ends_in_balance(self) -> bool:
        return self.noise == 0  # the drift by the noise is a third force

    def check(self, problem: Problem) -> None:
        super().check(problem)
        if problem.loss.is_classification:
            accepted = f"needs a regression loss, not {type(problem.loss).__name__}"
            raise InputError("dynamics.kind", "LabelNoiseSGD", accepted)
        outputs = jax.eval_shape(problem.model.apply, problem.params, problem.train.x)
        if outputs.ndim != problem.train.y.ndim:
            accepted = "adds to labels that are numbers, one an output, not to classes"
            raise InputError("dynamics.kind", "LabelNoiseSGD", accepted)

    def draw(self, train: Samples, draws: Draws, step: Array) -> tuple[Samples, Draws]:
        batch, draws = super().draw(train, draws, step)
        key = draws.key(LABEL_NOISE, step)
        noise = self.noise * jr.rademacher(key, batch.y.shape, batch.y.dtype)
        return Samples(batch.x, batch.y + noise), draws

    def transformation(self, weight_decay: Array) -> optax.GradientTransformation:
        return optax.add_decayed_weights(weight_decay)


class AbstractAdam(AbstractStochastic):
    """Steps along the mean gradient over the square root of the mean squared gradient.

    - **Takes** `beta1`, `beta2`, decay rates of the moments; `epsilon`, added to the square root.
    """

    beta1: Fraction = 0.9
    beta2: Fraction = 0.999
    epsilon: Annotated[float, Gt(0)] = 1e-8

    @property
    def rescales_gradients(self) -> bool:
        return True

    def faster(self, factor: int) -> "AbstractAdam":
        # Moments then forget in the same time, not in the same number of steps.
        rate, betas = factor * self.learning_rate, (self.beta1**factor, self.beta2**factor)
        changes = {"learning_rate": rate, "beta1": betas[0], "beta2": betas[1]}
        return self.model_copy(update=changes)


class Adam(AbstractAdam):
    r"""Adam with $\lambda\theta$ as part of the gradient.

    - **Source** Kingma & Ba, ICLR 2015, arXiv:1412.6980.
    """

    def check(self, problem: Problem) -> None:
        super().check(problem)
        if problem.model.origin_decays:
            # Adam would rescale the decay of the origin as it rescales gradients.
            accepted = "Adam puts decay into its gradient; use fixed, or AdamW"
            raise InputError("model.base_point", "decaying", accepted)

    def transformation(self, weight_decay: Array) -> optax.GradientTransformation:
        scale = optax.scale_by_adam(self.beta1, self.beta2, self.epsilon)
        return optax.chain(optax.add_decayed_weights(weight_decay), scale)


class AdamW(AbstractAdam):
    r"""Adam with decoupled decay: a step is $\eta$ times Adam's direction plus $\lambda\theta$.

    - **Source** Loshchilov & Hutter, ICLR 2019, arXiv:1711.05101, with the schedule
        multiplier equal to $\eta$, as in PyTorch and optax.
    """

    @property
    def ends_in_balance(self) -> bool:
        return False  # decay balances a rescaled gradient

    def transformation(self, weight_decay: Array) -> optax.GradientTransformation:
        scale = optax.scale_by_adam(self.beta1, self.beta2, self.epsilon)
        return optax.chain(scale, optax.add_decayed_weights(weight_decay))

"""The time of gradient flow with weight decay, for nets that do not depend on a scale."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from .._core.errors import number_of


@dataclass(frozen=True)
class InvariantClock:
    r"""The times of a run of a scale-invariant net, $f(c\theta; x) = f(\theta; x)$ for $c > 0$.

    The gradient is then orthogonal to $\theta$, so $\|\theta(t)\| = r_0 e^{-\lambda t}$, and
    the direction $u = \theta / \|\theta\|$ follows $du/d\tau = -\nabla\mathcal L(u)$ in the
    intrinsic time $\tau = (e^{2\lambda t} - 1)/(2\lambda r_0^2)$. The same direction
    $u(\tau)$ holds for every $\lambda$ and $r_0$.

    - **Takes** `weight_decay`, $\lambda$; `norm`, $r_0 = \|\theta(0)\|$ or any multiple of it that
        is the same for all clocks that are compared.
    - **Raises** [`InputError`][lazyrich.InputError] for a negative decay or a norm that is not
        positive.
    - **Source** exact; the intrinsic learning rate $\lambda\eta$ of Li, Lyu & Arora, NeurIPS
        2020, arXiv:2010.02916, is its discrete form.
    """

    weight_decay: float = 0.0
    norm: float = 1.0

    def __post_init__(self) -> None:
        number_of("weight_decay", self.weight_decay)
        number_of("norm", self.norm, positive=True)

    def intrinsic(self, time: Float[np.ndarray, "..."] | float) -> Float[np.ndarray, "..."]:
        r"""$\tau$ at times `time`; infinite beyond $\lambda t \approx 354$."""
        time, rate = np.asarray(time, float), 2 * self.weight_decay
        with np.errstate(over="ignore"):
            grown = np.expm1(rate * time) / rate if rate > 0 else time
            return np.asarray(grown / self.norm / self.norm)

    def time(self, intrinsic: Float[np.ndarray, "..."] | float) -> Float[np.ndarray, "..."]:
        r"""$t = \log(1 + 2\lambda r_0^2 \tau) / (2\lambda)$ at intrinsic times."""
        scaled, rate = self.norm * (self.norm * np.asarray(intrinsic, float)), 2 * self.weight_decay
        return np.asarray(np.log1p(rate * scaled) / rate if rate > 0 else scaled)

    def norm_at(self, time: Float[np.ndarray, "..."] | float) -> Float[np.ndarray, "..."]:
        r"""$r_0 e^{-\lambda t}$."""
        return np.asarray(self.norm * np.exp(-self.weight_decay * np.asarray(time, float)))

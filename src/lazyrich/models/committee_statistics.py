"""The mean and the second moment of the neurons of a committee machine."""

from typing import Any, NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float, Shaped

from .._core.precision import promoted
from ._base import Posed
from .committee_closure import AbstractCommitteeClosure


class Statistics(NamedTuple):
    r"""$\bar w = \frac1N \sum_i w_i$ and $M = \frac1N \sum_i w_i w_i^\top$."""

    mean: Float[Array, " d"]
    second: Float[Array, "d d"]


class CommitteeStatistics(AbstractCommitteeClosure):
    r"""A committee machine with frozen readouts, in $d + d^2$ numbers for any width.

    $f(x) = \alpha_\text{out} (\bar w \cdot x + \frac\epsilon2 x^\top M x)$ depends only on the mean
    and the second moment of the weights. So does their flow. Every neuron moves by $\dot w = (g
    + \epsilon G w)/N$ with $g = \alpha_\text{out} \sum_i r_i x_i$, $G = \alpha_\text{out} \sum_i
    r_i x_i x_i^\top$ and the forces $r$ on the outputs. It follows that

    $$N \dot{\bar w} = g + \epsilon G \bar w, \qquad N \dot M = g \bar w^\top + \bar w g^\top +
    \epsilon (G M + M G).$$

    This is a gradient flow with a mobility, a symmetric matrix between gradient and velocity that
    depends on $(\bar w, M)$. The tangent kernel is the kernel of the net,
    $\frac{\alpha_\text{out}^2}{N} (x \cdot x') (1 + \epsilon \bar w \cdot (x + x') + \epsilon^2
    x^\top M x')$. Instances are made by `CommitteeMachine.closed`. No file names this model.

    - **Source** the sufficient statistics of Kumar et al., ICLR 2024, arXiv:2310.06110; the
        closure of their flow is derived in `docs/results/kumar2024.md`.
    """

    @promoted
    def apply(self, params: Statistics, x: Shaped[Array, "n d"]) -> Float[Array, " n"]:
        x = self.scaled(x)
        square = jnp.sum((x @ params.second) * x, axis=1)
        return self.output_scale * (x @ params.mean + 0.5 * self.epsilon * square)

    @property
    def has_mobility(self) -> bool:
        return True

    @promoted
    def mobility(self, params: Statistics, forces: Statistics) -> Statistics:
        # The gradient with respect to M is (epsilon / 2) G.
        g, turn = forces.mean, 2 * forces.second
        mean = g + turn @ params.mean
        outer, product = jnp.outer(g, params.mean), turn @ params.second
        second = outer + outer.T + product + product.T
        return Statistics(mean / self.width, second / self.width)

    @promoted
    def decayed(self, params: Statistics) -> Statistics:
        return Statistics(params.mean, 2 * params.second)

    @promoted
    def norm(self, params: Statistics) -> Float[Array, ""]:
        return jnp.sqrt(self.width * jnp.trace(params.second))

    @promoted
    def tangent_kernel(self, params: Statistics, x: Shaped[Array, "n d"]) -> Float[Array, "n n"]:
        return self.cross_kernel(params, x, x)

    @promoted
    def closed(self, params: Statistics) -> Posed:
        return Posed(self, params)

    @promoted
    def statistics(self, params: Statistics) -> tuple[Any, Statistics]:
        return self, params

    @promoted
    def kernels_onto(
        self, params: Statistics, x: Shaped[Array, "n d"], other: Shaped[Array, "m d"]
    ) -> tuple[Float[Array, "n n"], Float[Array, "m n"]]:
        # The closed form makes the kernel of test inputs cheap.
        return self.tangent_kernel(params, x), self.cross_kernel(params, other, x)

    @promoted
    def cross_kernel(
        self, params: Statistics, x: Shaped[Array, "m d"], z: Shaped[Array, "n d"]
    ) -> Float[Array, "m n"]:
        """The tangent kernel between two sets of inputs."""
        x, z = self.scaled(x), self.scaled(z)
        linear = (x @ params.mean)[:, None] + (z @ params.mean)[None]
        bend = 1 + self.epsilon * linear + self.epsilon**2 * (x @ params.second) @ z.T
        return self.output_scale**2 / self.width * (x @ z.T) * bend

"""A committee machine in one neuron more than the number of its inputs."""

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float, Shaped

from .._core.precision import promoted
from ._base import Posed
from .committee_closure import AbstractCommitteeClosure
from .committee_statistics import CommitteeStatistics, Statistics


class Condensed(NamedTuple):
    r"""$v_0 = \sqrt N\,\bar w$, and $V$ with $V^\top V = N (M - \bar w \bar w^\top)$."""

    mean: Float[Array, " d"]
    rest: Float[Array, "k d"]


class CondensedCommittee(AbstractCommitteeClosure):
    r"""A committee machine with frozen readouts, rotated so that few of its neurons are nonzero.

    An orthogonal matrix that mixes the $N$ neurons leaves the second moment $M$ of the weights
    unchanged. It leaves their flow unchanged, too, if the readouts are rotated with the weights.
    There is a rotation after which only one neuron has a readout and at most $D$ other neurons
    are nonzero:

    $$f(x) = \alpha_\text{out} \left(\tfrac{1}{\sqrt N} v_0 \cdot x + \tfrac{\epsilon}{2N}
    \sum_{k \ge 0} (v_k \cdot x)^2\right).$$

    Its gradient flow, norm and kernel are equal to those of the committee. It is the closure in
    $\bar w$ and $M = \frac1N \sum_k v_k v_k^\top$, in a form in which $M$ stays positive
    semi-definite under any error. Instances are made by `CommitteeMachine.condensed`. No file
    names this model.

    - **Source** the sufficient statistics of Kumar et al., ICLR 2024, arXiv:2310.06110; the
        closure of their flow, and this form of it, are derived in `docs/results/kumar2024.md`.
    """

    @promoted
    def apply(self, params: Condensed, x: Shaped[Array, "n d"]) -> Float[Array, " n"]:
        x = self.scaled(x)
        h = x @ params.mean
        squares = h**2 + jnp.sum((x @ params.rest.T) ** 2, axis=1)
        root = jnp.sqrt(float(self.width))
        return self.output_scale * (h / root + 0.5 * self.epsilon / self.width * squares)

    @promoted
    def tangent_kernel(self, params: Condensed, x: Shaped[Array, "n d"]) -> Float[Array, "n n"]:
        x = self.scaled(x)
        slope = 1 + self.epsilon / jnp.sqrt(float(self.width)) * (x @ params.mean)
        rest = self.epsilon / jnp.sqrt(float(self.width)) * (x @ params.rest.T)
        bend = slope[:, None] * slope[None] + rest @ rest.T
        return self.output_scale**2 / self.width * (x @ x.T) * bend

    @promoted
    def closed(self, params: Condensed) -> Posed:
        mean, rest = params.mean / jnp.sqrt(float(self.width)), params.rest
        second = jnp.outer(mean, mean) + rest.T @ rest / self.width
        names = ("width", "epsilon", "output_scale", "root_d")
        model = CommitteeStatistics(**{name: getattr(self, name) for name in names})
        return Posed(model, Statistics(mean, second))

    @promoted
    def condensed(self, params: Condensed) -> Posed:
        return Posed(self, params)

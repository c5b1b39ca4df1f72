"""Fourier spectra of the weights over residues."""

from typing import ClassVar, Literal

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float

from .._core.precision import promoted
from ._base import AbstractProbe, RunContext, RunState


@promoted
def residue_spectrum(weights: Float[Array, "h r"], p: int) -> Float[Array, "h m"]:
    r"""Power of every neuron at the frequencies $1, \dots, \lfloor p/2 \rfloor$ over residues.

    A row contains one or more blocks of `p` numbers, one number for each residue. The powers
    $\sum |\hat w_k|^2$ of all blocks are added, and so are those of $k$ and $p - k$. The mean over
    residues, $k = 0$, is omitted because it does not depend on the residue.
    """
    blocks = weights.reshape(weights.shape[0], -1, p)
    blocks = blocks - jnp.mean(blocks, axis=2, keepdims=True)  # its rounding error is no signal
    power = jnp.sum(jnp.abs(jnp.fft.rfft(blocks, axis=2)) ** 2, axis=1)[:, 1:]
    # Every frequency stands for two, k and p - k, except k = p/2 for even p.
    pairs = jnp.full(power.shape[1], 2.0).at[-1].set(2.0 if p % 2 else 1.0)
    return power * pairs[None] / p


@promoted
def participation(spectrum: Float[Array, "h m"]) -> Float[Array, ""]:
    r"""Inverse participation ratio $\sum_k q_k^2$ of $q_k = P_k / \sum_l P_l$, mean over neurons.

    The mean is weighted by the power of the neurons, so that neurons with decayed weights do not
    count. A neuron with a single frequency has ratio 1. Gaussian white noise in $b$ blocks of odd
    $p$ has mean $(b+1)/(bm+1)$ with $m = (p-1)/2$, because the shares $q$ are
    Dirichlet-distributed with all parameters equal to $b$. NaN if all powers are zero.
    """
    total = jnp.sum(spectrum, axis=1)
    # Powers are divided by the largest, so that their squares neither overflow nor underflow.
    unit = jnp.max(total)
    whole = total / unit
    shares = jnp.where(whole > 0, jnp.sum((spectrum / unit) ** 2, axis=1) / whole, 0.0)
    return jnp.sum(shares) / jnp.sum(whole)


class _OfResidues(AbstractProbe):
    """A probe of the spectra of the first or the last layer, for nets on one-hot residues."""

    layer: Literal["first", "last"] = eqx.field(static=True)

    def applies(self, context: RunContext) -> bool:
        layers = context.model.layer_weights(context.params)
        if context.labels != "classes" or not layers:
            return False
        # There is one output for each residue, so inputs are blocks of as many numbers.
        inputs, outputs = layers[0].shape[1], layers[-1].shape[0]
        return bool(inputs % outputs == 0)

    def spectrum(self, state: RunState, context: RunContext) -> Float[Array, "h m"]:
        """The power of every neuron at every frequency."""
        layers = context.model.layer_weights(state.params)
        weights = layers[0] if self.layer == "first" else layers[-1].T
        return residue_spectrum(weights, layers[-1].shape[0])


class FourierParticipation(_OfResidues):
    r"""Inverse participation ratio of the Fourier spectra of the weights over residues.

    For a net of layers on two one-hot blocks, as in
    [`ModularArithmetic`][lazyrich.tasks.ModularArithmetic]. `first` uses the weights from the two
    residues to a neuron, and `last` the weights from a neuron to the outputs, where classes are
    residues. The ratio rises from the value of noise towards 1 if each neuron specialises on one
    frequency. This spectrum suits addition and subtraction; for multiplication the characters are
    different. See [`participation`][lazyrich.probes.participation].

    - **Source** Gromov 2023, arXiv:2301.02679, and Doshi et al., ICLR 2024, arXiv:2310.13061: the
        ratio of the weights of a trained net, with an unweighted mean over neurons.
    """

    named: ClassVar = (
        "fourier_ipr_{layer}",
        "inverse participation ratio of the {layer} layer's Fourier spectra",
    )
    meaning: ClassVar = (
        "inverse participation ratio of the Fourier spectra of the neurons over residues, for "
        "MLPs on one-hot residues: 1 for one frequency per neuron, $3/p$ for white noise in "
        "the two blocks of the first layer, $4/(p+1)$ in the last"
    )

    @property
    def scale_degree(self) -> int:
        return 0

    @promoted
    def __call__(self, state: RunState, context: RunContext) -> Float[Array, ""]:
        return participation(self.spectrum(state, context))


class FourierPower(_OfResidues):
    r"""Power of a layer at the frequencies $1, \dots, \lfloor p/2 \rfloor$ over residues.

    The sum over neurons of [`residue_spectrum`][lazyrich.probes.residue_spectrum], for the same
    nets as [`FourierParticipation`][lazyrich.probes.FourierParticipation]. The entry at index $i$
    of the dimension `frequency` is that of frequency $i + 1$. The sum over frequencies is the
    squared norm of the weights, after the mean over residues has been subtracted.

    - **Takes** `layer`: `first` or `last`.
    """

    named: ClassVar = (
        "fourier_power_{layer}",
        "power of the {layer} layer at the frequencies over residues",
    )
    meaning: ClassVar = (
        "power of the Fourier spectra over residues, summed over neurons, along the dimension "
        "`frequency`, which begins with 1; for MLPs on one-hot residues"
    )

    @property
    def dims(self) -> tuple[str, ...]:
        return ("frequency",)

    @property
    def scale_degree(self) -> int:
        return 2

    @promoted
    def __call__(self, state: RunState, context: RunContext) -> Float[Array, " m"]:
        return jnp.sum(self.spectrum(state, context), axis=0)

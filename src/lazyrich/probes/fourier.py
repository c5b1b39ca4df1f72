"""Fourier modes of the weights that meet residues."""

from typing import ClassVar, Literal

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float

from .._core.precision import promoted
from ._base import AbstractProbe, RunContext, RunState


@promoted
def residue_spectrum(weights: Float[Array, "h r"], p: int) -> Float[Array, "h m"]:
    r"""Power of every neuron at the frequencies $1, \dots, \lfloor p/2 \rfloor$ of a residue.

    A row holds one or more blocks of `p` numbers, one a residue; their powers $\sum |\hat
    w_k|^2$ are added up, those of $k$ and $p - k$ likewise. The mean over residues, $k = 0$, which
    tells them not apart, is left out.
    """
    blocks = weights.reshape(weights.shape[0], -1, p)
    blocks = blocks - jnp.mean(blocks, axis=2, keepdims=True)  # its rounding is no signal
    power = jnp.sum(jnp.abs(jnp.fft.rfft(blocks, axis=2)) ** 2, axis=1)[:, 1:]
    # All but the middle frequency of an even p stand for two.
    pairs = jnp.full(power.shape[1], 2.0).at[-1].set(2.0 if p % 2 else 1.0)
    return power * pairs[None] / p


@promoted
def participation(spectrum: Float[Array, "h m"]) -> Float[Array, ""]:
    r"""Inverse participation ratio $\sum_k q_k^2$ of $q_k = P_k / \sum_l P_l$, over neurons.

    The mean weighs a neuron by its power, so that those which decay has emptied do not count. A
    neuron of one frequency has 1. Gaussian white noise in $b$ blocks of $p$ odd has $(b+1)/(bm+1)$
    in the mean, $m = (p-1)/2$: the shares $q$ are Dirichlet-distributed with parameters $b$.
    NaN if there is no power.
    """
    total = jnp.sum(spectrum, axis=1)
    # Of powers over the largest neuron's, which squares neither overflow nor underflow.
    unit = jnp.max(total)
    whole = total / unit
    shares = jnp.where(whole > 0, jnp.sum((spectrum / unit) ** 2, axis=1) / whole, 0.0)
    return jnp.sum(shares) / jnp.sum(whole)


class FourierParticipation(AbstractProbe):
    r"""Inverse participation ratio of the weights' Fourier spectra over residues.

    Of a net of layers on two one-hot blocks, such as
    [`ModularArithmetic`][lazyrich.tasks.ModularArithmetic]'s: `first` is about a neuron's weights
    from the two residues, `last` about those to the outputs, where classes are residues. It rises
    from the value of noise towards 1 as neurons settle on a frequency each. A spectrum over
    residues is that of addition and subtraction; multiplication has its own characters. See
    [`participation`][lazyrich.probes.participation].

    - **Source** Gromov 2023, arXiv:2301.02679, and Doshi et al., ICLR 2024, arXiv:2310.13061: the
        ratio of a trained net's weights; there the mean over neurons is plain.
    """

    named: ClassVar = (
        "fourier_ipr_{layer}",
        "inverse participation ratio of the {layer} layer's Fourier spectra",
    )
    meaning: ClassVar = (
        "inverse participation ratio of the neurons' Fourier spectra over residues, for "
        "MLPs on one-hot residues: 1 for one frequency per neuron, $3/p$ for white noise in "
        "the two blocks of the first layer, $4/(p+1)$ in the last"
    )
    layer: Literal["first", "last"] = eqx.field(static=True)

    def applies(self, context: RunContext) -> bool:
        layers = context.model.layer_weights(context.params)
        if context.labels != "classes" or not layers:
            return False
        # The outputs, one a residue, tell whether inputs are blocks of as many.
        inputs, outputs = layers[0].shape[1], layers[-1].shape[0]
        return bool(inputs % outputs == 0)

    def __call__(self, state: RunState, context: RunContext) -> Float[Array, ""]:
        layers = context.model.layer_weights(state.params)
        weights = layers[0] if self.layer == "first" else layers[-1].T
        return participation(residue_spectrum(weights, layers[-1].shape[0]))

"""Numbers that describe the data of a run, from its initial kernel."""

import math

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ..predictors import Predictor
from .flow import KernelFlow
from .phase import KernelPhase


def descriptors(
    phase: KernelPhase,
    rich: Predictor | None,
    num_samples: int,
    t_fit: float,
    plateau: float,
    number: float,
) -> dict[str, float]:
    r"""Dimensionless numbers by which runs of one family are compared; NaN for unknown.

    - **Takes** `num_samples`, the number of all training samples; `phase` may use a subset.

    - `samples`: the number of training samples.
    - `outputs_per_parameter`: the number of training outputs over that of trained parameters.
    - `isotropy`: $(\operatorname{tr} K)^2 / (m \lVert K \rVert_F^2)$ of the initial kernel on $m$
        outputs, 1 if $K$ is a multiple of the identity.
    - `alignment`: the Rayleigh quotient of $K$ for the labels, over the mean eigenvalue of $K$.
    - `fit`: $\lambda$ times the time at which the kernel flow fits the training data.
    - `plateau`: the test score of the kernel flow on its plateau.
    - `number`: $k$, see [`Family`][lazyrich.forecasts.Family].
    - `active`: $(\lVert w \rVert_1 / \lVert w \rVert_2)^2$ of the weights of the rich predictor, or
        of the singular values if the weights are a matrix.
    - `outputs`: the number $c$ of outputs; `share`: the number of training samples over $c^2$;
        `supply`: the same over $c^{3/2}$;
        `width`: the width of a net with one hidden layer over $c$;
        `decay`: $\lambda c^2 / (c - 1)$, NaN for one output; `norm`: that of the initial
        parameters.
    """
    flow, problem = phase.flow, phase.problem
    model, params = problem.model, problem.params
    leaves = jax.tree.leaves(model.trained(params))
    num_parameters = sum(leaf.size for leaf in leaves)
    matrix, isotropy, alignment = flow.kernel.held, math.nan, math.nan
    if matrix is not None:
        isotropy, alignment = map(float, _spectrum(flow, matrix))
    return {
        "samples": float(num_samples),
        "outputs_per_parameter": num_samples * flow.f_start[0].size / num_parameters,
        "isotropy": isotropy,
        "alignment": alignment,
        "fit": float(problem.weight_decay) * t_fit,
        "plateau": plateau,
        "number": number,
        "active": _active(rich),
        **_by_outputs(phase, num_samples),
    }


def _by_outputs(phase: KernelPhase, num_samples: int) -> dict[str, float]:
    """The descriptors of nets with several outputs."""
    problem, f = phase.problem, phase.flow.f_start
    outputs = f.shape[1] if f.ndim == 2 else 1
    layers = problem.model.layer_weights(problem.params)
    decay = float(problem.weight_decay)
    return {
        "outputs": float(outputs),
        "share": num_samples / outputs**2,
        "supply": num_samples / outputs**1.5,
        "width": len(layers[0]) / outputs if len(layers) == 2 else math.nan,
        "norm": float(problem.model.norm(problem.params)),
        "decay": decay * outputs**2 / (outputs - 1) if outputs > 1 else math.nan,
    }


def _active(rich: Predictor | None) -> float:
    if rich is None or not np.any(rich.weights):
        return math.nan
    w = rich.weights
    sizes = np.abs(w) if w.ndim == 1 else np.linalg.svd(w, compute_uv=False)
    return float(np.sum(sizes) ** 2 / np.sum(sizes**2))


@eqx.filter_jit
def _spectrum(flow: KernelFlow, matrix: Float[Array, "k k"]) -> tuple[Array, Array]:
    mean = jnp.trace(matrix) / len(matrix)
    force = jnp.ravel(flow.loss.dual(jnp.zeros_like(flow.f_start), flow.y))
    quotient = force @ flow.kernel.product(force) / (force @ force)
    return mean**2 * len(matrix) / jnp.sum(matrix**2), quotient / mean

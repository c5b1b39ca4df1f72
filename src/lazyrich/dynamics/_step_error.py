"""The error of a step of a gradient flow, relative to the allowed error."""

import functools

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, PyTree, Shaped

from .._core.norms import rms, tree_norm
from .._core.precision import doubled, float_type
from .._integrate.log_state import LogState, params_of
from ..models import AbstractModel
from ._base import Problem
from ._rate import output_unit

# The number of parameters from which on a net with kinks counts as large, and the factor of the
# tolerance for small nets. The error estimate is not valid for a step across a kink. In a large net
# the kinks of many units average out. In a small net each kink can change where the run ends. With
# 4 units and 10 samples, eight of eight seeds end where gradient descent with two small step sizes
# ends. At a tolerance of 1e-3 without this factor, seven do.
_LARGE_NET, _CAUTION = 1000, 0.1


def _caution(problem: Problem) -> float:
    """The factor of the tolerance."""
    if not problem.model.has_kinks:
        return 1.0
    num_params = sum(leaf.size for leaf in jax.tree.leaves(problem.params))
    return float(np.clip(num_params / _LARGE_NET, _CAUTION, 1.0))


# The error of the outputs on training inputs may be larger by this factor than that on all inputs.
# Outputs on test inputs can be a thousand times larger than those on training inputs, which they
# would hide: after a large initialisation, a linear model with more weights than samples keeps them
# for the time of the decay.
_ON_TRAINING = 3.0

# Smaller values count as zero, because their square times a tolerance underflows.
_NOTHING = 1e-290
# If the norm of all parameters has decayed by this factor, the decay is stronger than the loss, and
# the parameters do not grow again. From there on a larger error is allowed, so that the logarithm
# of the norm has a relative error of about one per cent.
_DECAYED, _ALLOWED = 1e-20, 10.0


class StepError(eqx.Module):
    """The error of a step divided by the allowed error."""

    x: Shaped[Array, "m d"]
    output_unit: Array
    rtol: Array
    decayed: Array  # the norm below which a larger error is allowed
    model: AbstractModel
    start: PyTree  # the parameters at time 0, if the relative error of each parameter counts
    control: str = eqx.field(static=True)
    num_train: int = eqx.field(static=True)  # the first rows of `x`

    @classmethod
    def of(cls, problem: Problem, rtol: float, control: str) -> "StepError":
        """The error measure for a problem, with `control` and `rtol` of a `Flow`."""
        dtype = float_type(problem.params)
        model = jax.tree.map(lambda number: jnp.asarray(number, dtype), problem.model)
        x = _control_inputs(problem)
        return cls(
            x,
            jnp.asarray(output_unit(problem)),
            jnp.asarray(rtol * _caution(problem)),
            jnp.maximum(_DECAYED * tree_norm(problem.params), _NOTHING),
            model,
            doubled(problem.params) if problem.model.keeps_signs else None,
            control,
            len(x) - (0 if problem.watched is None else len(problem.watched)),
        )

    def __call__(self, y0: PyTree, y1: PyTree, error: PyTree) -> Array:
        params, change = params_of(y1), params_of(error)
        worst = jnp.zeros_like(self.rtol)
        if self.control != "outputs":
            norm = jnp.maximum(tree_norm(params_of(y0)), tree_norm(params))
            norm = jnp.maximum(norm, _NOTHING)
            worst = tree_norm(change) / norm
            worst = worst / jnp.clip(1 + jnp.log(self.decayed / norm), 1.0, _ALLOWED)
            if self.start is not None:
                unseen = jax.tree.map(_unseen, self.start, doubled(params), doubled(change))
                worst = jnp.maximum(worst, functools.reduce(jnp.maximum, jax.tree.leaves(unseen)))
        if self.control != "parameters":
            f, moved = jax.jvp(lambda p: self.model.apply(p, self.x), (params,), (change,))
            worst = jnp.maximum(worst, rms(moved) / (self.output_unit + rms(f)))
            f, moved = f[: self.num_train], moved[: self.num_train]
            own = rms(moved) / (self.output_unit + rms(f))
            worst = jnp.maximum(worst, own / _ON_TRAINING)
        if isinstance(error, LogState):
            worst = jnp.maximum(worst, jnp.abs(error.log_time) / (1 + jnp.abs(y1.log_time)))
        return worst / self.rtol


def _unseen(start: Array, now: Array, change: Array) -> Array:
    """The largest relative error, over one plus the change of the logarithm of the parameter.

    The exact reduction of diagonal nets uses the same measure for its logarithms of parameters.
    """
    size = jnp.maximum(jnp.abs(now), _NOTHING)
    grown = jnp.log(size) - jnp.log(jnp.maximum(jnp.abs(start), _NOTHING))
    ratio = jnp.abs(change) / size / (1 + jnp.abs(grown))
    # A zero parameter stays zero, and a parameter that has nearly vanished does not grow again.
    return jnp.max(jnp.where(jnp.abs(now) > _NOTHING, ratio, 0.0), initial=0.0)


# For classification, outputs are measured on at most this number of training inputs. A step can be
# as cheap as two gradients, and with all inputs it would cost one gradient more. The inputs are
# chosen at random, because the data may be sorted.
_CONTROLLED = 256


def _control_inputs(problem: Problem) -> Array:
    x = problem.train.x
    if problem.loss.is_classification and len(x) > _CONTROLLED:
        x = x[np.sort(np.random.default_rng(0).permutation(len(x))[:_CONTROLLED])]
    return x if problem.watched is None else jnp.concatenate([x, problem.watched])

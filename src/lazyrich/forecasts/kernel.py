"""The tangent kernel at initialisation, in the cheapest form that a problem allows."""

import abc
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
from jaxtyping import Array, Float, Shaped

from .._core.norms import tree_norm
from ..dynamics import Problem
from ..models import AbstractModel
from ..models._jacobian import contract

# The largest number of outputs for which all entries of the kernel are stored. Classification
# factorises a matrix of this size in every step; the squared loss needs one eigendecomposition.
_DENSE = {True: 1024, False: 4096}
# The largest number of samples for which the block of a kernel that repeats over outputs is stored:
# 128 MB.
_BLOCK = 4096
# The same if the block costs one backward pass per sample.
_BLOCK_BY_PASSES = 1024


class AbstractKernel(eqx.Module):
    """$K$ over all training outputs, in one axis of length `m`, sample by sample."""

    @property
    @abc.abstractmethod
    def label(self) -> str:
        """How the kernel is stored, in a word."""

    @property
    def whole(self) -> Float[Array, "m m"] | None:
        """All entries of the kernel; None if they are not in memory."""
        return None

    @property
    def held(self) -> Float[Array, "k k"] | None:
        """The stored matrix, which may repeat over outputs; None if nothing is stored."""
        return self.whole

    @abc.abstractmethod
    def product(self, v: Float[Array, " m"]) -> Float[Array, " m"]:
        """$K v$."""


class Dense(AbstractKernel):
    """A kernel stored with all its entries."""

    matrix: Float[Array, "m m"]

    @property
    def label(self) -> str:
        return "dense"

    @property
    def whole(self) -> Float[Array, "m m"]:
        return self.matrix

    def product(self, v: Float[Array, " m"]) -> Float[Array, " m"]:
        return self.matrix @ v


class Repeated(AbstractKernel):
    r"""$G \otimes I$: outputs are independent, and all have the same kernel `block` over samples.

    This holds if the last layer is zero. $G$ is then the Gram matrix of the inputs of that layer.
    """

    block: Float[Array, "n n"]

    @property
    def label(self) -> str:
        return "one block for all outputs"

    @property
    def held(self) -> Float[Array, "n n"]:
        return self.block

    def product(self, v: Float[Array, " m"]) -> Float[Array, " m"]:
        return jnp.ravel(self.block @ v.reshape(self.block.shape[0], -1))


class Passes(AbstractKernel):
    """A kernel that is not stored: a product is a backward pass and a forward pass."""

    model: AbstractModel
    params: Any
    x: Shaped[Array, "n d"]

    @property
    def label(self) -> str:
        return "matrix-free"

    def product(self, v: Float[Array, " m"]) -> Float[Array, " m"]:
        return jnp.ravel(push(self.model, self.params, self.x, self.pull(v)))

    def pull(self, v: Float[Array, " m"]) -> Any:
        """$J^\\top v$."""
        return pull(self.model, self.params, self.x, v)


def pull(model: AbstractModel, params: Any, x: Shaped[Array, "n d"], v: Float[Array, " m"]) -> Any:
    r"""$J^\top v$, as a change of parameters, in one backward pass."""
    f, pullback = jax.vjp(lambda p: model.apply(p, x), params)
    return model.mobility(params, pullback(v.reshape(f.shape))[0])


def push(
    model: AbstractModel, params: Any, x: Shaped[Array, "n d"], change: Any
) -> Float[Array, " n *c"]:
    r"""$J$ times a change of parameters, in one forward pass."""
    return jax.jvp(lambda p: model.apply(p, x), (params,), (change,))[1]


def quadratic_form(
    model: AbstractModel, params: Any, x: Shaped[Array, "n d"], v: Float[Array, " m"]
) -> Float[Array, ""]:
    r"""$v^\top K(\theta) v = \|\nabla_\theta \langle v, f(\theta)\rangle\|^2$."""
    f, pullback = jax.vjp(lambda p: model.apply(p, x), params)
    forces = pullback(v.reshape(f.shape))[0]
    moved = model.mobility(params, forces)
    pairs = zip(jax.tree.leaves(forces), jax.tree.leaves(moved), strict=True)
    return sum((jnp.vdot(a, b) for a, b in pairs), start=jnp.zeros(()))


# The number of samples on which features are compared.
_FEW = 16


def is_linear_in_parameters(model: AbstractModel, params: Any, x: Shaped[Array, "n d"]) -> bool:
    r"""Whether $J$ is constant along all directions in which training and decay move parameters.

    Measured on a few samples: $J(\theta)^\top v$ at $\theta_0$ is compared with its value after a
    step of the size of $\theta_0$ along the gradient of random outputs, and with its value after
    decay by a factor of one half.
    """
    return bool(_linear(model, params, x[:: max(1, len(x) // _FEW)][:_FEW]))


@jax.jit
def _linear(model: AbstractModel, params: Any, x: Shaped[Array, "n d"]) -> Array:
    outputs = jax.eval_shape(lambda p: model.apply(p, x), params)
    v, w = jr.normal(jr.key(0), (2, outputs.size), outputs.dtype)
    change = pull(model, params, x, w)
    step = model.norm(params) / jnp.maximum(tree_norm(change), 1e-300)
    forward = jax.tree.map(lambda p, c: p + step * c, params, change)
    decayed = jax.tree.map(lambda p, d: p - 0.5 * d, params, model.decayed(params))
    features = pull(model, params, x, v)
    moved = [
        tree_norm(jax.tree.map(jnp.subtract, pull(model, there, x, v), features))
        for there in (forward, decayed)
    ]
    return jnp.maximum(*moved) <= 1e-9 * tree_norm(features)


def kernel_of(problem: Problem) -> AbstractKernel:
    """The kernel of a problem at initialisation: dense if small, else in a form that needs less."""
    model, params, x = problem.model, problem.params, problem.train.x
    shape = jax.eval_shape(lambda p: model.apply(p, x), params).shape
    if len(shape) == 2 and shape[1] > 1 and _repeats(model, params, x):
        block = _block(model, params, x)
        if block is not None:
            return Repeated(block)
    num_outputs = shape[0] * (shape[1] if len(shape) == 2 else 1)
    if num_outputs <= _DENSE[problem.loss.is_classification]:
        return Dense(_dense(model, params, x))
    return Passes(model, params, x)


@jax.jit
def _dense(model: AbstractModel, params: Any, x: Shaped[Array, "n d"]) -> Float[Array, "m m"]:
    return model.tangent_kernel(params, x)


def _repeats(model: AbstractModel, params: Any, x: Shaped[Array, "n d"]) -> bool:
    """Whether the kernel of a few samples is a block times the identity over outputs."""
    few = x[:3]
    kernel = _dense(model, params, few)
    num = few.shape[0]
    by_outputs = kernel.reshape(num, kernel.shape[0] // num, num, -1)
    block = by_outputs[:, 0, :, 0]
    wanted = jnp.einsum("ij,ab->iajb", block, jnp.eye(by_outputs.shape[1]))
    return bool(jnp.max(jnp.abs(by_outputs - wanted)) <= 1e-10 * jnp.max(jnp.abs(block)))


def _block(
    model: AbstractModel, params: Any, x: Shaped[Array, "n d"]
) -> Float[Array, "n n"] | None:
    """The kernel of the first output only; None if it costs too much."""
    one = model.first_output(params)
    if one is not None and len(x) <= _BLOCK:
        return _dense(one.model, one.params, x)
    if len(x) <= _BLOCK_BY_PASSES:
        return contract(lambda p: model.apply(p, x)[:, 0], params)
    return None

"""What a model is."""

import abc
from collections.abc import Callable
from typing import Annotated, Any, ClassVar

import jax
import jax.flatten_util
import jax.numpy as jnp
from annotated_types import Gt
from jaxtyping import Array, Float, PRNGKeyArray, Shaped

from .._description import Choice

OutputScale = Annotated[float, Gt(0)]
r"""$\alpha_\text{out}$, which multiplies the outputs: never to be mixed up with `init_scale`."""


class AbstractModel(Choice):
    """What learns: parameters are a pytree of arrays, built at `init_scale` 1.

    A model is itself a pytree, whose leaves are the fields that `numbers` names: what is
    compiled for one model serves every other that differs from it in these alone.
    """

    numbers: ClassVar[tuple[str, ...]] = ()
    """Fields that enter outputs as numbers, or are models; neither shapes nor the start."""

    @classmethod
    def __pydantic_init_subclass__(cls, **kwargs: Any) -> None:
        super().__pydantic_init_subclass__(**kwargs)
        jax.tree_util.register_pytree_node(cls, _flatten, _unflatten)

    @property
    @abc.abstractmethod
    def homogeneity(self) -> float | None:
        r"""The degree $L$ of $f(c\theta; x) = c^L f(\theta; x)$, $c > 0$; None without one."""

    @property
    def has_kinks(self) -> bool:
        """Whether outputs have kinks in the parameters, as those of ReLUs do."""
        return False

    @property
    def has_exact_flow(self) -> bool:
        """Whether [`ReducedFlow`][lazyrich.dynamics.ReducedFlow] follows its gradient flow."""
        return False

    @abc.abstractmethod
    def init(self, key: PRNGKeyArray, dim: int) -> Any:
        """Parameters for inputs of length `dim`, before `init_scale` multiplies them."""

    @abc.abstractmethod
    def apply(self, params: Any, x: Shaped[Array, "n d"]) -> Float[Array, " n *c"]:
        """Outputs on `x`: shape `(n,)`, or `(n, c)` for a model with `c` outputs."""

    def check_inputs(self, x: Shaped[Array, "n d"], key: str) -> None:
        """Raises [`InputError`][lazyrich.InputError] for inputs the model cannot take."""
        del x, key

    def trained(self, params: Any) -> Any:
        """The part of `params` that training moves and norms are about: all of it, as a rule."""
        return params

    def decayed(self, params: Any) -> Any:
        """What weight decay pulls on: `params` themselves, zero where they are exempt."""
        return params

    def mobility(self, params: Any, forces: Any) -> Any:
        """The velocity that `forces`, a gradient, give to `params`: the forces themselves.

        Parameters that stand for others move as these make them, see
        [`closed`][lazyrich.models.closed].
        """
        del params
        return forces

    def norm(self, params: Any) -> Float[Array, ""]:
        r"""$\|\theta\|_2$ over all parameters that are trained."""
        leaves = jax.tree.leaves(self.trained(params))
        return jnp.sqrt(sum(jnp.sum(leaf**2) for leaf in leaves))

    def tangent_kernel(self, params: Any, x: Shaped[Array, "n d"]) -> Float[Array, "m m"]:
        r"""$J J^\top$ over all outputs on `x`, raveled, so that $m$ is $n$ or $n c$.

        Overridden where the structure makes it cheaper than one backward pass an output.
        """
        return contract(lambda params: self.apply(params, x), params)


def output_scale_of(model: AbstractModel) -> float | None:
    r"""The $\alpha_\text{out}$ of a model, or of the one inside it; None without one."""
    inner: Any = model
    while not hasattr(inner, "output_scale") and hasattr(inner, "model"):
        inner = inner.model
    return getattr(inner, "output_scale", None)


def _flatten(model: AbstractModel) -> tuple[tuple[Any, ...], AbstractModel]:
    names = type(model).numbers
    if not names:
        return (), model
    values = tuple(getattr(model, name) for name in names)
    return values, model.model_copy(update=dict.fromkeys(names))


def _unflatten(rest: AbstractModel, values: Any) -> AbstractModel:
    names = type(rest).numbers
    return rest.model_copy(update=dict(zip(names, values, strict=True))) if names else rest


class AbstractLinearModel(AbstractModel):
    r"""A model linear in its input: its parameters stand for weights $w(\theta)$.

    What theory says of it is said of the weights: their norms, margins and predictors.
    """

    @abc.abstractmethod
    def weights(self, params: Any) -> Float[Array, "..."]:
        r"""$w(\theta)$: what the output is linear in."""

    @abc.abstractmethod
    def evaluate(self, weights: Float[Array, "..."], x: Shaped[Array, "n d"]) -> Float[Array, " n"]:
        """Outputs on `x` of given weights, whatever parameters they came from."""

    def apply(self, params: Any, x: Shaped[Array, "n d"]) -> Float[Array, " n"]:
        return self.evaluate(self.weights(params), x)


# Rows of the Jacobian held at once: 256 MiB of float64.
_JACOBIAN_ENTRIES = 2**25


def contract(outputs: Callable[[Any], Array], params: Any) -> Float[Array, "m m"]:
    """The tangent kernel of any function of `params`, by one backward pass an output.

    The Jacobian is made a block of rows at a time and never held whole past 256 MiB; two
    blocks meet in a product. Costs `m` backward passes for a small Jacobian and `m` for
    each pair of blocks for a large one.
    """
    flat, unravel = jax.flatten_util.ravel_pytree(params)

    def raveled(flat: Array) -> Array:
        return jnp.ravel(outputs(unravel(flat)))

    values, pullback = jax.vjp(raveled, flat)
    num_outputs = values.size
    rows = max(1, min(num_outputs, _JACOBIAN_ENTRIES // flat.size))
    identity = jnp.eye(num_outputs, dtype=values.dtype)

    def block(start: int) -> Array:
        return jax.vmap(lambda row: pullback(row)[0])(identity[start : start + rows])

    starts = range(0, num_outputs, rows)
    if len(starts) == 1:
        jacobian = block(0)
        return jacobian @ jacobian.T
    lines = []
    for i in starts:
        left = block(i)
        lines.append(jnp.concatenate([left @ block(j).T for j in starts], axis=1))
    return jnp.concatenate(lines, axis=0)


def measured_homogeneity(
    model: AbstractModel, params: Any, x: Shaped[Array, "n d"], tolerance: float = 1e-6
) -> float | None:
    r"""The degree found by scaling: $\log_2 (f(2\theta; x) / f(\theta; x))$ where it is one number.

    - **Returns** None if outputs scale by different powers, or if all of them are zero.
    """
    f = jnp.ravel(model.apply(params, x))
    doubled = jnp.ravel(model.apply(jax.tree.map(lambda p: 2 * p, params), x))
    size = jnp.max(jnp.abs(f))
    if not bool(size > 0):
        return None
    slope = float(jnp.vdot(f, doubled) / jnp.vdot(f, f))
    if slope <= 0 or bool(jnp.max(jnp.abs(doubled - slope * f)) > tolerance * slope * size):
        return None
    degree = float(jnp.log2(slope))
    return float(round(degree)) if abs(degree - round(degree)) < tolerance else degree

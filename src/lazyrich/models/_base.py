"""What a model is."""

import abc
import math
from collections.abc import Callable
from typing import Annotated, Any, ClassVar

import equinox as eqx
import jax
import jax.flatten_util
import jax.numpy as jnp
from annotated_types import Gt
from jaxtyping import Array, Float, PRNGKeyArray, Shaped

from .._core.description import Choice
from .._core.errors import InputError
from .._core.precision import promoted

OutputScale = Annotated[float, Gt(0)]
r"""$\alpha_\text{out}$, which multiplies the outputs: never to be mixed up with `init_scale`."""


class AbstractModel(Choice):
    """What learns: parameters are a pytree of arrays, built at `init_scale` 1.

    Methods compute in float64 on arrays of any real type, except inside a `jax.jit` or `jax.grad`
    of the user's own, where the precision is that of the trace.

    A model is itself a pytree, whose leaves are the fields that `numbers` names: what is
    compiled for one model serves every other that differs from it in these alone.
    """

    numbers: ClassVar[tuple[str, ...]] = ()
    """Fields that enter outputs as numbers, or are models; neither shapes nor the start."""

    @classmethod
    def __pydantic_init_subclass__(cls, **kwargs: Any) -> None:
        super().__pydantic_init_subclass__(**kwargs)
        jax.tree_util.register_pytree_node(cls, _flatten, _unflatten)

    @classmethod
    def advice(cls, value: Any, key: str) -> str:
        if isinstance(value, type):
            return super().advice(value, key)
        if isinstance(value, eqx.Module):
            return "wrapped, lazyrich.models.FromEquinox(module=...)"
        if callable(getattr(value, "apply", None)) and callable(getattr(value, "init", None)):
            return (
                "wrapped, lazyrich.models.Functions(init_params=lambda key, dim: net.init(key, "
                "jnp.zeros((1, dim))), function=net.apply)"
            )
        if callable(value):
            return (
                "wrapped, lazyrich.models.Functions(init_params=..., function=...), with "
                "init_params(key, dim) and function(params, x)"
            )
        return super().advice(value, key)

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

    @property
    def keeps_signs(self) -> bool:
        """Whether a flow moves every parameter in proportion to a power of itself.

        Then none changes its sign, and one that is far too small to be seen in outputs may have
        most of its growth before it: what counts is its relative error.
        """
        return False

    @abc.abstractmethod
    def init(self, key: PRNGKeyArray, dim: int) -> Any:
        """Parameters for inputs of length `dim`, before `init_scale` multiplies them."""

    def num_params(self, dim: int) -> int | None:
        """How many numbers `init` makes, without making them; None where that is unknown."""
        try:
            shapes = jax.eval_shape(lambda key: self.init(key, dim), jax.random.key(0))
        except Exception:  # a start of the user's own may need numbers, or be none of arrays
            return None
        return sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(shapes))

    @abc.abstractmethod
    def apply(self, params: Any, x: Shaped[Array, "n d"]) -> Float[Array, " n *c"]:
        """Outputs on `x`: shape `(n,)`, or `(n, c)` for a model with `c` outputs."""

    def cast_inputs(self, x: Shaped[Array, "n d"]) -> Shaped[Array, "n d"]:
        """Inputs as `apply` gets them in a run: float64.

        Overridden where `apply` reads a narrower type without computing in it.
        """
        return jnp.asarray(x).astype(float)

    def check_inputs(self, x: Shaped[Array, "n d"], key: str) -> None:
        """Raises [`InputError`][lazyrich.InputError] for inputs the model cannot take."""
        del x, key

    def check_params(self, params: Any, dim: int) -> None:
        """Raises [`InputError`][lazyrich.InputError] for parameters unlike those of `init`."""
        expected = jax.eval_shape(lambda key: self.init(key, dim), jax.random.key(0))
        given: Any = jax.tree.structure(params)
        if given != jax.tree.structure(expected):
            accepted = f"should be a pytree like model.init(key, {dim}), {_shapes(expected)}"
            raise InputError("params", _shapes(params), accepted)
        named = jax.tree_util.tree_leaves_with_path(params)
        for (path, leaf), like in zip(named, jax.tree.leaves(expected), strict=True):
            if leaf.shape != like.shape:
                name = f"params{jax.tree_util.keystr(path)}"
                accepted = f"should have shape {like.shape}, as in model.init(key, {dim})"
                raise InputError(name, leaf.shape, accepted)

    def trained(self, params: Any) -> Any:
        """The part of `params` that training moves and norms are about: all of it, as a rule."""
        return params

    def decayed(self, params: Any) -> Any:
        """What weight decay pulls on: `params` themselves, zero where they are exempt."""
        return params

    @property
    def has_mobility(self) -> bool:
        """Whether `mobility` is anything but the forces themselves."""
        return False

    def mobility(self, params: Any, forces: Any) -> Any:
        """The velocity that `forces`, a gradient, give to `params`: the forces themselves.

        Parameters that stand for others move as these make them, see
        [`closed`][lazyrich.models.closed].
        """
        del params
        return forces

    @promoted
    def norm(self, params: Any) -> Float[Array, ""]:
        r"""$\|\theta\|_2$ over all parameters that are trained."""
        leaves = jax.tree.leaves(self.trained(params))
        return jnp.sqrt(sum(jnp.sum(leaf**2) for leaf in leaves))

    @promoted
    def tangent_kernel(self, params: Any, x: Shaped[Array, "n d"]) -> Float[Array, "m m"]:
        r"""$J J^\top$ over all outputs on `x`, raveled, so that $m$ is $n$ or $n c$.

        Overridden where the structure makes it cheaper than one backward pass an output.
        """
        x = self.cast_inputs(x)
        return contract(lambda params: self.apply(params, x), params)


def outputs_of(model: AbstractModel, params: Any, x: Shaped[Array, "n d"]) -> jax.ShapeDtypeStruct:
    """Shape of a model's outputs, from a trace of it.

    - **Raises** [`InputError`][lazyrich.InputError] if the model fails, with its words in one
        line, or if its outputs are not float64 `(n,)` or `(n, c)`.
    """
    name = type(model).__name__
    try:
        found = jax.eval_shape(model.apply, params, x)
    except InputError:
        raise
    except Exception as error:
        raise InputError("model", name, f"fails on inputs {x.shape}: {_cure(error)}") from error
    if not isinstance(found, jax.ShapeDtypeStruct):
        raise InputError("model", name, f"should return one array, not a {type(found).__name__}")
    if found.ndim not in (1, 2) or found.shape[0] != len(x):
        accepted = f"outputs of {len(x)} inputs should be ({len(x)},) or ({len(x)}, c)"
        raise InputError("model", f"outputs {found.shape}", accepted)
    if found.dtype != jnp.float64:
        accepted = "should be float64, as parameters and inputs are; leave out what casts them"
        raise InputError("model", f"outputs {found.dtype}", accepted)
    return found


def _cure(error: Exception) -> str:
    """What to do about an error in a user's function."""
    if isinstance(error, jax.errors.TracerArrayConversionError):
        return "it uses NumPy where jax.numpy is needed"
    if isinstance(error, jax.errors.ConcretizationTypeError):
        return "it needs a value of its arguments, as `if` and float() do; use jnp.where"
    return f"{type(error).__name__}: {(str(error).splitlines() or [''])[0]}"


def _shapes(params: Any) -> str:
    """A pytree with shapes in the place of arrays, as a word of an error."""
    return str(jax.tree.map(lambda leaf: leaf.shape, params))


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

    @promoted
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


@promoted
def measured_homogeneity(
    model: AbstractModel, params: Any, x: Shaped[Array, "n d"], tolerance: float = 1e-6
) -> float | None:
    r"""The degree found by scaling: $\log_2 (f(2\theta; x) / f(\theta; x))$ where it is one number.

    - **Returns** None if outputs scale by different powers, or if all of them are zero, or are
        not finite.
    """
    f = jnp.ravel(model.apply(params, x))
    doubled = jnp.ravel(model.apply(jax.tree.map(lambda p: 2 * p, params), x))
    size = jnp.max(jnp.abs(f))
    if not bool((size > 0) & jnp.isfinite(jnp.max(jnp.abs(doubled)))):
        return None
    f, doubled, size = f / size, doubled / size, jnp.ones(())  # squares may overflow
    slope = float(jnp.vdot(f, doubled) / jnp.vdot(f, f))
    if slope <= 0 or bool(jnp.max(jnp.abs(doubled - slope * f)) > tolerance * slope * size):
        return None
    degree = float(jnp.log2(slope))
    return float(round(degree)) if abs(degree - round(degree)) < tolerance else degree

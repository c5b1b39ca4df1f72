"""What a model is."""

import abc
import math
from collections.abc import Callable
from typing import Annotated, Any, ClassVar, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from annotated_types import Gt
from jaxtyping import Array, Float, PRNGKeyArray, Shaped

from .._core.description import Choice
from .._core.errors import InputError
from .._core.precision import promoted
from ._jacobian import contract
from .theory import Theory

OutputScale = Annotated[float, Gt(0)]
r"""$\alpha_\text{out}$, which multiplies the outputs: never to be mixed up with `init_scale`."""

Factors = list[tuple[Float[Array, "m a"], Float[Array, "m b"]]]
"""Gradients of `m` numbers, block by block of the parameters: outer products of two rows."""


class Posed(NamedTuple):
    """A model and parameters of it."""

    model: "AbstractModel"
    params: Any


class Readout(NamedTuple):
    """The last layer of a net where that is zero: outputs are linear in it, and in nothing else.

    - `features`, what each output weighs, one for a bias included; `place`, which takes rows of
        weights, one an output, and gives the change of parameters with them in the last layer.
    """

    features: Float[Array, "n k"]
    place: Callable[[Float[Array, "c k"]], Any]


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
    def diagonal_depth(self) -> int | None:
        r"""$L$ where parameters are $(u, v)$ and weights $u^{\odot L} - v^{\odot L}$; else None.

        [`ReducedFlow`][lazyrich.dynamics.ReducedFlow] follows the flow of such a model exactly.
        """
        return None

    @property
    def alpha_out(self) -> float | None:
        r"""$\alpha_\text{out}$, a number that multiplies all outputs; None without one."""
        return None

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
    def has_origin(self) -> bool:
        """Whether parameters carry along where they began, which training leaves alone."""
        return False

    @property
    def origin_decays(self) -> bool:
        """Whether weight decay shrinks that origin all the same."""
        return False

    def theory(self, classification: bool) -> Theory:
        """What theory knows of where training begins and ends, for a kind of loss."""
        del classification
        return Theory(family=type(self).__name__)

    @property
    def has_mobility(self) -> bool:
        """Whether `mobility` is anything but the forces themselves."""
        return False

    def mobility(self, params: Any, forces: Any) -> Any:
        """The velocity that `forces`, a gradient, give to `params`: the forces themselves.

        Parameters that stand for others move as these make them, see `closed`.
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

    def kernels_onto(
        self, params: Any, x: Shaped[Array, "n d"], other: Shaped[Array, "m d"]
    ) -> tuple[Float[Array, "k k"], Float[Array, "l k"]]:
        r"""The tangent kernel on `x`, and that between `other` and `x`."""
        whole = self.tangent_kernel(params, jnp.concatenate([x, other]))
        n = len(x) * len(whole) // (len(x) + len(other))
        return whole[:n, :n], whole[n:, :n]

    def gradient_factors(
        self, params: Any, x: Shaped[Array, "n d"], r: Float[Array, " n *c"]
    ) -> Factors | None:
        r"""$J(x_i)^\top r_i$, block by block an outer product; None where it is not made of any."""
        del params, x, r
        return None

    def layer_weights(self, params: Any) -> tuple[Float[Array, "out in"], ...]:
        """Weights of the layers, first to last, of a net that consists of them; else none."""
        del params
        return ()

    def zero_readout(self, params: Any, x: Shaped[Array, "n d"]) -> Readout | None:
        """The last layer, where it is zero and the model knows it; else None."""
        del params, x
        return None

    def first_output(self, params: Any) -> Posed | None:
        """The same net with the first of its outputs alone; None where that is not a model."""
        del params
        return None

    @property
    def closes(self) -> bool:
        """Whether outputs and their flow hang on statistics of the parameters alone."""
        return False

    @property
    def is_closed(self) -> bool:
        """Whether parameters are such statistics, and not a net's own."""
        return False

    @promoted
    def closed(self, params: Any) -> Posed:
        """The same function in the statistics that it and its flow hang on.

        - **Raises** [`InputError`][lazyrich.InputError] for a model that has none.
        """
        del params
        raise self._not_closing()

    @promoted
    def condensed(self, params: Any) -> Posed:
        """The same function, its flow and its norm in at most `d + 1` neurons, whatever its width.

        - **Raises** [`InputError`][lazyrich.InputError] for a model whose flow does not close.
        """
        del params
        raise self._not_closing()

    @promoted
    def statistics(self, params: Any) -> tuple[Any, Any]:
        """The statistics behind the outputs, which are linear in them, after their model.

        - **Raises** [`InputError`][lazyrich.InputError] for a model that has none.
        """
        model, found = self.closed(params)
        answer: tuple[Any, Any] = model.statistics(found)
        return answer

    def _not_closing(self) -> InputError:
        accepted = f"needs a CommitteeMachine with frozen readouts, not {type(self).__name__}"
        return InputError("dynamics.closure", True, accepted)


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


def _flatten(model: AbstractModel) -> tuple[tuple[Any, ...], AbstractModel]:
    names = type(model).numbers
    if not names:
        return (), model
    values = tuple(getattr(model, name) for name in names)
    return values, model.model_copy(update=dict.fromkeys(names))


def _unflatten(rest: AbstractModel, values: Any) -> AbstractModel:
    names = type(rest).numbers
    return rest.model_copy(update=dict(zip(names, values, strict=True))) if names else rest

"""The base class of all models."""

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
from .._core.norms import tree_norm
from .._core.precision import float_type, promoted
from ._jacobian import contract
from .theory import Theory

OutputScale = Annotated[float, Gt(0)]
r"""$\alpha_\text{out}$, a factor of the outputs. It is not the same as `init_scale`."""

Factors = list[tuple[Float[Array, "m a"], Float[Array, "m b"]]]
"""Gradients of `m` numbers by parameter block: each gradient is an outer product of two rows."""


# The models that wrap a module of a library.
_WRAPPERS = {"flax.linen": "FromFlax", "flax.nnx": "FromFlaxNNX", "haiku": "FromHaiku"}


class Posed(NamedTuple):
    """A model together with its parameters."""

    model: "AbstractModel"
    params: Any


class Readout(NamedTuple):
    """The last layer of a net whose last layer is zero: outputs are linear in this layer only.

    - `features`: the inputs of the last layer, and a 1 if the layer has a bias.
    - `place`: maps the weights of the last layer, a row for each output, to the change of all
        parameters that sets these weights.
    """

    features: Float[Array, "n k"]
    place: Callable[[Float[Array, "c k"]], Any]


class AbstractModel(Choice):
    """A function with trained parameters, which are a pytree of arrays built at `init_scale` 1.

    Methods accept arrays of any real type and compute in float64. Inside a `jax.jit` or `jax.grad`
    of the user, they compute in the precision of the trace.

    A model is itself a pytree. Its leaves are the fields listed in `numbers`. Models that differ
    only in these fields share one compilation.
    """

    numbers: ClassVar[tuple[str, ...]] = ()
    """Fields that are numbers or models and affect outputs, but not shapes or initialisation."""

    @classmethod
    def __pydantic_init_subclass__(cls, **kwargs: Any) -> None:
        super().__pydantic_init_subclass__(**kwargs)
        jax.tree_util.register_pytree_node(cls, _flatten, _unflatten)

    @classmethod
    def advice(cls, value: Any, key: str) -> str:
        if isinstance(value, type):
            return super().advice(value, key)
        if any(kind.__module__ == "torch.nn.modules.module" for kind in type(value).__mro__):
            return "wrapped, lazyrich.models.FromTorch(net=...)"
        if isinstance(value, eqx.Module):
            return "wrapped, lazyrich.models.FromEquinox(module=...)"
        places = [base.__module__ for base in type(value).__mro__]
        for library, name in _WRAPPERS.items():
            if any(place.startswith(library) for place in places):
                return f"wrapped, lazyrich.models.{name}(module=...)"
        if callable(value) or (isinstance(value, tuple) and all(map(callable, value))):
            return (
                "wrapped, lazyrich.models.Functions(init_params=..., function=...), with "
                "init_params(key, dim) and function(params, x)"
            )
        return super().advice(value, key)

    @property
    @abc.abstractmethod
    def homogeneity(self) -> float | None:
        r"""The degree $L$ of $f(c\theta; x) = c^L f(\theta; x)$, $c > 0$; None if there is none."""

    @property
    def has_kinks(self) -> bool:
        """Whether outputs have kinks as a function of the parameters, as with ReLUs."""
        return False

    @property
    def balances_at_kinks(self) -> bool:
        """Whether the balance of each row of `linear_maps` is continuous at all kinks."""
        return False

    @property
    def twice_differentiable(self) -> bool:
        """Whether JAX can differentiate gradients. If not, solvers use differences of gradients."""
        return True

    @property
    def diagonal_depth(self) -> int | None:
        r"""$L$ if parameters are $(u, v)$ and weights $u^{\odot L} - v^{\odot L}$, otherwise None.

        [`ReducedFlow`][lazyrich.dynamics.ReducedFlow] solves the flow of such a model exactly.
        """
        return None

    @property
    def alpha_out(self) -> float | None:
        r"""$\alpha_\text{out}$, a number that multiplies all outputs; None if there is none."""
        return None

    @property
    def keeps_signs(self) -> bool:
        """Whether the velocity of every parameter is proportional to a power of the parameter.

        Then no sign changes, and relative errors matter: what is tiny now can grow later.
        """
        return False

    @abc.abstractmethod
    def init(self, key: PRNGKeyArray, dim: int) -> Any:
        """Parameters for inputs of length `dim`, before the multiplication by `init_scale`."""

    def num_params(self, dim: int) -> int | None:
        """The number of parameters, without computing them; None if it is unknown."""
        try:
            shapes = jax.eval_shape(lambda key: self.init(key, dim), jax.random.key(0))
        except Exception:  # a user's `init` may need values, or may not return arrays
            return None
        return sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(shapes))

    @abc.abstractmethod
    def apply(self, params: Any, x: Shaped[Array, "n d"]) -> Float[Array, " n *c"]:
        """Outputs on `x`: shape `(n,)`, or `(n, c)` for a model with `c` outputs.

        - **Takes** `params`, such as `record.params()`; `x`, scaled as the training inputs were.
        - For a loss of signs, a positive output means the label 1.
        """

    @promoted
    def cast_inputs(self, x: Shaped[Array, "n d"]) -> Shaped[Array, "n d"]:
        """Inputs converted to the type that `apply` gets in a run in double precision: float64.

        Overridden if `apply` accepts a narrower type and converts it itself.
        """
        return jnp.asarray(x).astype(float)

    def inputs_for(self, params: Any, x: Shaped[Array, "n d"]) -> Shaped[Array, "n d"]:
        """Inputs as `cast_inputs` returns them, floating ones in the type of the parameters."""
        x = self.cast_inputs(x)
        return x.astype(float_type(params)) if jnp.issubdtype(x.dtype, jnp.floating) else x

    def check_inputs(self, x: Shaped[Array, "n d"], key: str) -> None:
        """Raises [`InputError`][lazyrich.InputError] if the model does not accept these inputs."""
        del x, key

    def check_indices(self, num: int) -> None:
        """As `check_inputs`, for places in a matrix with `num` rows and columns."""

    def check_params(self, params: Any, dim: int) -> None:
        """Raises [`InputError`][lazyrich.InputError] if structure or shapes differ from `init`."""
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
        """The part of `params` that is trained and enters norms. By default all of `params`."""
        return params

    def decayed(self, params: Any) -> Any:
        """`params` with zeros in place of the parameters that weight decay does not act on."""
        return params

    @property
    def decays_all(self) -> bool:
        """Whether weight decay acts on all trained parameters."""
        return True

    @property
    def has_biases(self) -> bool:
        """Whether there can be parameters that are not weights of linear maps, see `is_matrix`."""
        return True

    def is_matrix(self, params: Any) -> Any:
        """For each array of `params`, whether it holds weights of a linear map.

        Biases, and gains and shifts of a normalisation, are not: decay with `decayed = "matrices"`
        leaves them out. By default, arrays of two or more axes hold weights.
        """
        return jax.tree.map(lambda leaf: jnp.ndim(leaf) >= 2, params)

    def linear_maps(self, params: Any) -> list[Array]:
        """`params`, or a tree like it, as matrices `(out, in)` and diagonals `(d,)` of linear maps.

        A bias is another column of the weights of its layer, if the model knows which it is.
        """
        found = map(jnp.asarray, jax.tree.leaves(self.trained(params)))
        return [p.reshape(len(p), -1) if p.ndim > 1 else jnp.ravel(p) for p in found]

    @property
    def has_origin(self) -> bool:
        """Whether the parameters contain their initial values, which training does not change."""
        return False

    @property
    def origin_decays(self) -> bool:
        """Whether weight decay shrinks these initial values."""
        return False

    def theory(self, classification: bool) -> Theory:
        """What is known of early and late training, with or without a classification loss."""
        del classification
        return Theory(family=type(self).__name__)

    @property
    def has_mobility(self) -> bool:
        """Whether `mobility` returns something other than the forces."""
        return False

    @promoted
    def mobility(self, params: Any, forces: Any) -> Any:
        """The velocity of `params` under `forces`, a negative gradient. By default the forces.

        For statistics of other parameters (see `closed`), the one that the others' motion causes.
        """
        del params
        return forces

    @promoted
    def norm(self, params: Any) -> Float[Array, ""]:
        r"""$\|\theta\|_2$ of all trained parameters."""
        return tree_norm(self.trained(params))

    @promoted
    def tangent_kernel(self, params: Any, x: Shaped[Array, "n d"]) -> Float[Array, "m m"]:
        r"""$J J^\top$ of all outputs on `x`, raveled, so that $m$ is $n$ or $n c$.

        Overridden if the structure of the model allows less work than a backward pass per output.
        """
        x = self.cast_inputs(x)
        return contract(lambda params: self.apply(params, x), params)

    @promoted
    def kernels_onto(
        self, params: Any, x: Shaped[Array, "n d"], other: Shaped[Array, "m d"]
    ) -> tuple[Float[Array, "k k"], Float[Array, "l k"]]:
        r"""The tangent kernel on `x`, and the tangent kernel between `other` and `x`."""
        whole = self.tangent_kernel(params, jnp.concatenate([x, other]))
        n = len(x) * len(whole) // (len(x) + len(other))
        return whole[:n, :n], whole[n:, :n]

    def gradient_factors(
        self, params: Any, x: Shaped[Array, "n d"], r: Float[Array, " n *c"]
    ) -> Factors | None:
        r"""$J(x_i)^\top r_i$ as an outer product in each parameter block; None if it is not one."""
        del params, x, r
        return None

    def layer_weights(self, params: Any) -> tuple[Float[Array, "out in"], ...]:
        """The weights of all layers, first to last; empty if the model does not have layers."""
        del params
        return ()

    def zero_readout(self, params: Any, x: Shaped[Array, "n d"]) -> Readout | None:
        """The last layer if its weights are zero and the model supports this; otherwise None."""
        del params, x
        return None

    def first_output(self, params: Any) -> Posed | None:
        """The same net with only its first output; None if this net is not a model."""
        del params
        return None

    @property
    def closes(self) -> bool:
        """Whether outputs and their flow depend only on statistics of the parameters."""
        return False

    @property
    def is_closed(self) -> bool:
        """Whether the parameters are such statistics instead of the parameters of a net."""
        return False

    @promoted
    def closed(self, params: Any) -> Posed:
        """The same function, with the statistics that determine outputs and flow as parameters.

        - **Raises** [`InputError`][lazyrich.InputError] if the model has no such statistics.
        """
        del params
        raise self._not_closing()

    @promoted
    def condensed(self, params: Any) -> Posed:
        """The same function, flow and norm with at most `d + 1` neurons, for any width.

        - **Raises** [`InputError`][lazyrich.InputError] if the flow of the model does not close.
        """
        del params
        raise self._not_closing()

    @promoted
    def statistics(self, params: Any) -> tuple[Any, Any]:
        """The closed model and the statistics. The outputs are linear in the statistics.

        - **Raises** [`InputError`][lazyrich.InputError] if the model has no such statistics.
        """
        model, found = self.closed(params)
        answer: tuple[Any, Any] = model.statistics(found)
        return answer

    def _not_closing(self) -> InputError:
        accepted = f"needs a CommitteeMachine with frozen readouts, not {type(self).__name__}"
        return InputError("dynamics.closure", True, accepted)


def _shapes(params: Any) -> str:
    """The pytree with shapes in place of arrays, as text for an error message."""
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

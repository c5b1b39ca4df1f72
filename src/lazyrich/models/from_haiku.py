"""Functions transformed by Haiku as models."""

import inspect
import types
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
from jaxtyping import Array, PRNGKeyArray, Shaped

from .._core.errors import InputError
from .._core.precision import as_double, float_type, in_double, promoted
from ._of_library import AbstractOfLibrary, frozen, like_params, not_deterministic, refused
from .own import of_one_axis


class FromHaiku(AbstractOfLibrary):
    """A function transformed by Haiku as a model.

    - **Takes** `module`, as `hk.transform`, `hk.transform_with_state` or `hk.without_apply_rng`
        returns it. The function maps inputs `(n, d)` to outputs `(n,)`, `(n, 1)` or `(n, c)`.
        `params`, the parameters at `init_scale` 1, for every seed; without them, `module.init`
        draws them from the seed. `state`, the constants of a function with a state; it needs
        `params`, too. `degree` and `kinks` are as in [`Functions`][lazyrich.models.Functions].
    - The model computes in float64. Parameters in float32 or bfloat16 are converted, which is
        exact.
    - **Raises** [`InputError`][lazyrich.InputError] for a forward pass that draws random numbers
        or changes a state, such as dropout and batch normalisation during training.
    """

    incidental: ClassVar[frozenset[str]] = frozenset({"module", "params", "state"})

    params: Any = None
    state: Any = None

    def model_post_init(self, context: object) -> None:
        """Checks parameters and state."""
        if not (callable(getattr(self.module, "init", None)) and self._names):
            raise InputError("model.module", self.module, "should be as hk.transform returns it")
        if ("state" in self._names) != (self.state is not None):
            accepted = (
                "should be as module.init returns it, beside params"
                if "state" in self._names
                else "is for a function of hk.transform_with_state"
            )
            raise InputError("model.state", self.state, accepted)
        if self.state is not None and self.params is None:
            accepted = "should be as module.init returns them, beside state"
            raise InputError("model.params", None, accepted)
        super().model_post_init(context)

    @property
    def _names(self) -> tuple[str, ...]:
        """The names of the arguments of `module.apply`; empty if it is no such function."""
        apply = getattr(self.module, "apply", None)
        names = tuple(inspect.signature(apply).parameters) if callable(apply) else ()
        return names if names[:1] == ("params",) else ()

    def _parts(self) -> Any:
        functions = [_bare(self.module.init), _bare(self.module.apply)]
        return functions, frozen(self.params), frozen(self.state)

    @in_double
    def init(self, key: PRNGKeyArray, dim: int) -> Any:
        found = self.params
        if found is None:
            found = self.module.init(key, jnp.zeros((1, dim)))
        return as_double(found, "model.params")

    @promoted
    def apply(self, params: Any, x: Shaped[Array, "n d"]) -> Any:
        names, x = self._names, self.inputs_for(params, x)
        state = like_params(self.state, float_type(params))
        beside = [state] if "state" in names else []
        without_key = [None] if "rng" in names else []
        try:
            found = self.module.apply(params, *beside, *without_key, x)
        except Exception as error:
            raise refused(error) or error from None
        if beside:
            found, after = found
            given, left = jax.tree.leaves(state), jax.tree.leaves(after)
            if len(given) != len(left) or any(a is not b for a, b in zip(given, left, strict=True)):
                raise not_deterministic("a forward pass that changes a state")
        return of_one_axis(found)

    def table(self) -> dict[str, Any]:
        table = super().table()
        return {name: item for name, item in table.items() if name not in ("params", "state")}


def _bare(value: Any) -> Any:
    """A function without the signature that Haiku attaches, also in its closure.

    The signature contains annotations, which have no permanent content.
    """
    if isinstance(value, tuple):  # such as what another transform has returned
        return tuple(map(_bare, value))
    if not isinstance(value, types.FunctionType):
        return value
    cells = tuple(types.CellType(_bare(cell.cell_contents)) for cell in value.__closure__ or ())
    found = types.FunctionType(
        value.__code__, value.__globals__, value.__name__, value.__defaults__, cells
    )
    found.__kwdefaults__ = value.__kwdefaults__
    left_out = ("__signature__", "__wrapped__")
    found.__dict__.update({k: v for k, v in vars(value).items() if k not in left_out})
    return found

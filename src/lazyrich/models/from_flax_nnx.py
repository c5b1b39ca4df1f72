"""Modules of Flax NNX as models."""

import dataclasses
import sys
from typing import Any

import jax
import pydantic
from jaxtyping import Array, PRNGKeyArray, Shaped

from .._core.errors import InputError
from .._core.precision import as_double, float_type, in_double, promoted
from ._of_library import AbstractOfLibrary, frozen, like_params, not_deterministic
from .own import of_one_axis


@dataclasses.dataclass(frozen=True)
class _Parts:
    """A module of Flax NNX, taken apart, so that later changes of it have no effect."""

    kind: type
    graph: Any
    params: Any  # the state of all `nnx.Param`
    others: Any

    @classmethod
    def of(cls, module: Any) -> "_Parts":
        from flax import nnx

        split: Any = nnx.split
        graph, params, others = split(module, nnx.Param, ...)
        return cls(type(module), graph, frozen(params), frozen(others))

    @property
    def dictionaries(self) -> tuple[Any, Any]:
        """Parameters and other state as nested dictionaries of arrays."""
        from flax import nnx

        return nnx.to_pure_dict(self.params), nnx.to_pure_dict(self.others)


class FromFlaxNNX(AbstractOfLibrary):
    """A module of Flax NNX as a model. Its `nnx.Param` variables are the parameters.

    - **Takes** `module`, which maps inputs `(n, d)` to outputs `(n,)`, `(n, 1)` or `(n, c)`, as it
        is when the model is made. Its arrays are the parameters at `init_scale` 1, for every seed.
        Other variables, such as running averages, are constants. `degree` and `kinks` are as in
        [`Functions`][lazyrich.models.Functions].
    - The model computes in float64. Parameters in float32 or bfloat16 are converted, which is
        exact. A module whose layers are set to compute in another type, `dtype=...`, is refused.
    - **Raises** [`InputError`][lazyrich.InputError] for a forward pass that draws random numbers
        or changes a state, such as dropout and batch normalisation before `module.eval()`.
    """

    @pydantic.field_validator("module", mode="before")
    @classmethod
    def _taken_apart(cls, value: Any) -> Any:
        if isinstance(value, _Parts):
            return value
        nnx: Any = sys.modules.get("flax.nnx")  # imported by whoever has made a module
        if nnx is None or not isinstance(value, nnx.Module):
            raise InputError("module", value, "should be a module of flax.nnx")
        return _Parts.of(value)

    def _parts(self) -> Any:
        return self.module.kind, self.module.graph, *self.module.dictionaries

    @in_double
    def init(self, key: PRNGKeyArray, dim: int) -> Any:
        del key, dim
        return as_double(self.module.dictionaries[0], "model.module")

    @promoted
    def apply(self, params: Any, x: Shaped[Array, "n d"]) -> Any:
        from flax import nnx

        x, parts = self.inputs_for(params, x), self.module
        state = jax.tree.map(lambda leaf: leaf, parts.params)
        nnx.replace_by_pure_dict(state, params)
        others = like_params(parts.others, float_type(params))
        given = jax.tree.leaves(others)  # before the call, which can change the state itself
        module = nnx.merge(parts.graph, state, others)
        found = module(x)
        split: Any = nnx.split
        left = jax.tree.leaves(split(module, nnx.Param, ...)[2])
        if len(given) != len(left) or any(a is not b for a, b in zip(given, left, strict=True)):
            raise not_deterministic("a forward pass that draws random numbers or changes a state")
        return of_one_axis(found)

    def table(self) -> dict[str, Any]:
        kind = self.module.kind
        return {**super().table(), "module": f"{kind.__module__}.{kind.__qualname__}"}

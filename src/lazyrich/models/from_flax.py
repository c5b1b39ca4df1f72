"""Modules of Flax Linen as models."""

import dataclasses
from collections.abc import Mapping
from typing import Any, ClassVar

import jax.numpy as jnp
from jaxtyping import Array, PRNGKeyArray, Shaped

from .._core.errors import InputError
from .._core.precision import as_double, float_type, in_double, promoted
from ._of_library import AbstractOfLibrary, frozen, like_params, refused
from .own import of_one_axis


class FromFlax(AbstractOfLibrary):
    """A module of Flax Linen as a model. Its collection `params` are the parameters.

    - **Takes** `module`, which maps inputs `(n, d)` to outputs `(n,)`, `(n, 1)` or `(n, c)`.
        `variables`, as `module.init` returns them: their `params` are the parameters at
        `init_scale` 1, for every seed. Other collections, such as the running averages
        `batch_stats`, are constants. Without `variables`, parameters are drawn by `module.init`
        from the seed, and the module may have no other collection. `arguments`, further keyword
        arguments of the call, such as `{"train": False}`. `degree` and `kinks` are as in
        [`Functions`][lazyrich.models.Functions].
    - The model computes in float64. Parameters in float32 or bfloat16 are converted, which is
        exact. A module whose layers are set to compute in another type, `dtype=...`, is refused.
    - **Raises** [`InputError`][lazyrich.InputError] for a forward pass that draws random numbers
        or changes a state, such as dropout and batch normalisation during training.
    """

    incidental: ClassVar[frozenset[str]] = frozenset({"module", "variables", "arguments"})

    variables: Any = None
    arguments: dict[str, Any] = {}  # noqa: RUF012  # pydantic copies it

    def model_post_init(self, context: object) -> None:
        """Checks the variables."""
        if self.variables is not None:
            given = self.variables
            if not isinstance(given, Mapping) or "params" not in given:
                accepted = "should be as module.init returns them, with the collection params"
                raise InputError("model.variables", given, accepted)
        super().model_post_init(context)

    def _parts(self) -> Any:
        variables = None if self.variables is None else frozen(self._plain(self.variables))
        return self._plain(self.module), variables, self.arguments

    def _plain(self, value: Any) -> Any:
        """Modules as their classes and fields, because a module contains its own identity."""
        from flax.linen import Module

        if isinstance(value, Module):
            names = [f.name for f in dataclasses.fields(value) if f.name != "parent"]
            return type(value), {name: self._plain(getattr(value, name)) for name in names}
        if isinstance(value, Mapping):
            return {key: self._plain(item) for key, item in value.items()}
        if type(value) in (list, tuple):
            return [self._plain(item) for item in value]
        return value

    @in_double
    def init(self, key: PRNGKeyArray, dim: int) -> Any:
        found = self.variables
        if found is None:
            try:
                found = self.module.init(key, jnp.zeros((1, dim)), **self.arguments)
            except Exception as error:
                raise refused(error) or error from None
            others = sorted(set(found) - {"params"})
            if others:
                accepted = (
                    f"has the collections {', '.join(others)} beside params: pass variables="
                    "module.init(key, x), whose other collections then are constants"
                )
                raise InputError("model.variables", None, accepted)
        return as_double(self._dictionary(found.get("params", {})), "model.variables.params")

    def _dictionary(self, tree: Any) -> Any:
        """Nested mappings, such as a FrozenDict, as plain dictionaries."""
        if isinstance(tree, Mapping):
            return {key: self._dictionary(item) for key, item in tree.items()}
        return tree

    @promoted
    def apply(self, params: Any, x: Shaped[Array, "n d"]) -> Any:
        x = self.inputs_for(params, x)
        others = {k: v for k, v in (self.variables or {}).items() if k != "params"}
        constants = like_params(self._dictionary(others), float_type(params))
        try:
            found = self.module.apply({"params": params, **constants}, x, **self.arguments)
        except Exception as error:
            raise refused(error) or error from None
        return of_one_axis(found)

    def table(self) -> dict[str, Any]:
        return {k: v for k, v in super().table().items() if k != "variables"}

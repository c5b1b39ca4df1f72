"""What models made from modules of other libraries have in common."""

from collections.abc import Hashable
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
import pydantic

from .._core.errors import InputError
from .._core.fingerprint import fingerprint, name_of
from .own import AbstractOwn

# The errors of Flax and Haiku for a forward pass that draws random numbers without a key, and for
# one that changes a state.
_RANDOM = ("InvalidRngError", "MissingRNGError")
_CHANGING = ("ModifyScopeVariableError",)


class AbstractOfLibrary(AbstractOwn):
    """A model made from a module of another library, compared and hashed by content."""

    incidental: ClassVar[frozenset[str]] = frozenset({"module", "arguments"})

    module: Any
    degree: float | None = None
    kinks: bool = False

    _content: str = pydantic.PrivateAttr("")

    def model_post_init(self, context: object) -> None:
        """Reads the content of the module."""
        super().model_post_init(context)
        self._content = fingerprint(self._parts(), "model.module")

    def _parts(self) -> Any:
        """All that outputs and initial parameters depend on, as `fingerprint` reads it."""
        return self.module

    def __eq__(self, other: object) -> bool:
        return isinstance(other, AbstractOfLibrary) and self._key == other._key

    def __hash__(self) -> int:
        return hash(self._key)

    @property
    def _key(self) -> Hashable:
        return type(self), self._content, self.degree, self.kinks

    def table(self) -> dict[str, Any]:
        table = {**super().table(), "module": name_of(type(self.module))}
        table.pop("arguments", None)
        return table


def refused(error: Exception) -> InputError | None:
    """The refusal of a forward pass that draws random numbers or changes a state, if it is one."""
    name = type(error).__name__
    if name in _RANDOM:
        return not_deterministic("a forward pass that draws random numbers")
    if name in _CHANGING:
        return not_deterministic("a forward pass that changes a state")
    return None


def not_deterministic(what: str) -> InputError:
    """The refusal of a module whose outputs are not a function of parameters and inputs."""
    accepted = (
        "should be a deterministic function of parameters and inputs, as in evaluation: turn "
        "dropout off, and let batch normalisation use its running averages"
    )
    return InputError("model.module", what, accepted)


def frozen(tree: Any) -> Any:
    """A pytree with its arrays as NumPy arrays, random keys unchanged."""

    def leaf(value: Any) -> Any:
        dtype = getattr(value, "dtype", None)
        is_key = dtype is not None and jnp.issubdtype(dtype, jax.dtypes.prng_key)
        return value if is_key else np.asarray(value)

    return jax.tree.map(leaf, tree)


def like_params(tree: Any, dtype: Any) -> Any:
    """A pytree of constants as arrays of JAX, floating ones in the type of the parameters."""

    def leaf(value: Any) -> Any:
        if jnp.issubdtype(value.dtype, jax.dtypes.prng_key):
            return value
        floating = jnp.issubdtype(value.dtype, jnp.floating)
        return jnp.asarray(value, dtype if floating else value.dtype)

    return jax.tree.map(leaf, tree)

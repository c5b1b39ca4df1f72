"""Which floating type each part of lazyrich computes in, whatever the user's JAX configuration."""

import contextlib
import dataclasses
import functools
import inspect
from collections.abc import Callable, Iterator
from typing import Any, Literal, ParamSpec, TypeVar

import jax
import jax.numpy as jnp
import numpy as np

from .errors import InputError

_P = ParamSpec("_P")
_R = TypeVar("_R")

# Arguments whose integers are not converted: inputs, which linear models read in a narrow type,
# indices, classes, and the context of a probe, which holds classes.
_WHOLE = frozenset({"x", "other", "index", "classes", "context"})


PrecisionName = Literal["float64", "float32"]


@dataclasses.dataclass(frozen=True)
class Precision:
    """The floating types of a run.

    Parameters, inputs, outputs of the model and derivatives of the model have the type `dtype`.
    Times, step control, losses with their derivatives, records, predictors, certificates and
    forecasts have the type float64.
    """

    name: PrecisionName = "float64"

    @property
    def is_double(self) -> bool:
        """Whether all parts of the run have the type float64."""
        return self.name == "float64"

    @property
    def dtype(self) -> Any:
        """The type of parameters, inputs and outputs."""
        return jnp.dtype(self.name)

    def cast(self, tree: Any) -> Any:
        """A pytree with its floating arrays in the type of the run; other leaves are unchanged."""
        return _with_floats(tree, self.dtype)

    def context(self) -> contextlib.AbstractContextManager[Any]:
        """The context in which a run is compiled.

        On an accelerator, JAX by default rounds the factors of float32 products to ten or fewer
        bits after the leading one. The context prevents this.
        """
        return (
            contextlib.nullcontext() if self.is_double else jax.default_matmul_precision("highest")
        )


def doubled(tree: Any) -> Any:
    """A pytree with its floating arrays in float64, or in the widest type that JAX is set to."""
    return _with_floats(tree, float)


def float_type(tree: Any) -> Any:
    """The type of the floating arrays in a pytree, which is the same for all."""
    types = (jnp.result_type(leaf) for leaf in jax.tree.leaves(tree))
    return next((t for t in types if jnp.issubdtype(t, jnp.floating)), jnp.result_type(float))


def _with_floats(tree: Any, dtype: Any) -> Any:
    def leaf(value: Any) -> Any:
        floating = jnp.issubdtype(jnp.result_type(value), jnp.floating)
        return jnp.asarray(value, dtype) if floating else value

    return jax.tree.map(leaf, tree)


@contextlib.contextmanager
def _double() -> Iterator[None]:
    """Enables 64-bit types, and the promotion of types that diffrax and optax need."""
    with jax.enable_x64(True), jax.numpy_dtype_promotion("standard"):
        yield


def in_double(function: Callable[_P, _R]) -> Callable[_P, _R]:
    """Runs `function` with 64-bit types enabled, and does not change the global setting."""

    @functools.wraps(function)
    def wrapped(*args: _P.args, **kwargs: _P.kwargs) -> _R:
        with _double():
            return function(*args, **kwargs)

    return wrapped


def promoted(function: Callable[_P, _R]) -> Callable[_P, _R]:
    """Runs `function` in double precision: arrays of any real type become float64.

    Integers in the arguments `x`, `other`, `index`, `classes` and `context` are not converted.
    Inside a trace, such as a `jax.jit` or `jax.grad` of the user, nothing is converted: there the
    precision is that of the trace.
    """
    names = tuple(inspect.signature(function).parameters)

    @functools.wraps(function)
    def wrapped(*args: _P.args, **kwargs: _P.kwargs) -> _R:
        named = {**dict(zip(names, args, strict=False)), **kwargs}
        if any(isinstance(leaf, jax.core.Tracer) for leaf in jax.tree.leaves(named)):
            return function(*args, **kwargs)
        with _double():
            positional: Any = [_argument(n, a) for n, a in zip(names, args, strict=False)]
            by_name: Any = {name: _argument(name, value) for name, value in kwargs.items()}
            return function(*positional, **by_name)

    return wrapped


def _argument(name: str, value: Any) -> Any:
    # A model is a description and not an array, although JAX can take it apart as a pytree.
    if name in ("self", "model"):
        return value
    whole = name in _WHOLE

    def leaf(value: Any) -> Any:
        if not hasattr(value, "dtype") or not _is_real(value.dtype):
            return value
        array = native(value) if isinstance(value, np.ndarray | np.generic) else value
        if whole and array.dtype.kind in "iu":
            return jnp.asarray(array)
        return jnp.asarray(array, jnp.float64)

    return jax.tree.map(leaf, value)


def _is_real(dtype: Any) -> bool:
    real = jnp.issubdtype(dtype, jnp.floating) or jnp.issubdtype(dtype, jnp.integer)
    return bool(real or dtype == np.dtype(bool))


def native(value: Any) -> np.ndarray:
    """A real array in a type that JAX supports, with the same values.

    Other byte orders are converted, narrow types that NumPy does not define become float32,
    `bool` becomes `int8`, and types wider than float64 are rounded to it. Arrays that are not
    real are returned unchanged.
    """
    array = np.asarray(value)
    if not _is_real(array.dtype):
        return array
    if array.dtype == bool:
        return array.astype(np.int8)
    if array.dtype.kind == "V":
        floating = jnp.issubdtype(array.dtype, jnp.floating)
        return array.astype(np.float32 if floating else np.int32)
    if array.dtype.kind == "f" and array.dtype.itemsize > 8:
        return array.astype(np.float64)
    return array.astype(array.dtype.newbyteorder("="), copy=False)


def real_array(value: Any, key: str) -> np.ndarray:
    """An array-like of real numbers, in a type that JAX supports.

    - **Raises** [`InputError`][lazyrich.InputError] for anything but an array of real numbers.
    """
    try:
        array = np.asarray(value)
    except ValueError:
        raise InputError(key, value, "should be an array, with rows of one length") from None
    if not _is_real(array.dtype):
        accepted = f"should be an array of real numbers: {step_to_reals(array)}"
        raise InputError(key, str(array.dtype), accepted)
    check_unmasked(value, key)
    return native(array)


def are_words(array: np.ndarray) -> bool:
    """Whether all entries of an array are text."""
    if array.dtype.kind == "O":
        return all(isinstance(entry, str) for entry in array.ravel())
    return array.dtype.kind in "US"


def step_to_reals(array: np.ndarray) -> str:
    """What makes real numbers of an array that is not real."""
    if are_words(array):
        return "replace words by numbers"
    steps = {"c": "take its real part", "V": "give its fields as columns"}
    return steps.get(array.dtype.kind, "convert it by .astype(float)")


def check_unmasked(value: Any, key: str) -> None:
    """Raises [`InputError`][lazyrich.InputError] for masked entries, which conversion unmasks."""
    if np.ma.is_masked(value):
        masked = f"{np.ma.count_masked(value)} masked entries"
        raise InputError(key, masked, "should have none: fill them, or leave out their samples")


def as_double(tree: Any, key: str) -> Any:
    """A pytree of real arrays and numbers, converted to float64.

    - **Raises** [`InputError`][lazyrich.InputError] that names the leaf which is not a real array.
    """

    def leaf(path: Any, value: Any) -> Any:
        if isinstance(value, jax.core.Tracer):
            return value.astype(jnp.float64)
        place = f"{key}{jax.tree_util.keystr(path)}"
        if hasattr(value, "dtype") and jnp.issubdtype(value.dtype, jax.dtypes.prng_key):
            accepted = "should be an array of real numbers; random keys are no parameters"
            raise InputError(place, str(value.dtype), accepted)
        return jnp.asarray(real_array(value, place), jnp.float64)

    return jax.tree_util.tree_map_with_path(leaf, tree)

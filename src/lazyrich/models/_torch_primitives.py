"""Outputs, pushforward and pullback of a PyTorch module as operations of JAX.

The three operations are calls of the host. They are JAX primitives and not a `custom_jvp`, so that
derivatives can be transposed and vectorised in any order: `jax.custom_derivatives.linear_call`
cannot be vectorised.
"""

import functools
from collections.abc import Callable, Sequence
from typing import Any, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.extend.core import Primitive
from jax.interpreters import ad, batching, mlir
from jaxtyping import Array

from .._core.errors import ComputationError


@runtime_checkable
class Host(Protocol):
    """Computes with NumPy arrays, hashed by content.

    Arrays begin with `num_axes` axes over which the operation is repeated, of length 1 in arrays
    that are the same for all.
    """

    def outputs(self, params: np.ndarray, x: np.ndarray, num_axes: int) -> np.ndarray:
        """$f$ on `x`, shape `(n, *out)`."""

    def push(self, params: np.ndarray, x: np.ndarray, v: np.ndarray, num_axes: int) -> np.ndarray:
        """$J v$, shape `(n, *out)`."""

    def pull(self, params: np.ndarray, x: np.ndarray, r: np.ndarray, num_axes: int) -> np.ndarray:
        """$J^\\top r$, shape `(p,)`."""


def outputs(host: Host, out: tuple[int, ...], params: Array, x: Array) -> Array:
    """The outputs `(n, *out)` at the flat parameters, differentiable once by JAX."""
    return _outputs.bind(params, x, host=host, out=out, num_axes=0)


def host_call(
    function: Callable[..., np.ndarray], shape: tuple[int, ...], dtype: Any, *args: Array
) -> Array:
    """Calls a function of NumPy arrays from compiled code, which is not differentiable.

    JAX runs callbacks in threads that have the JAX configuration of the user. There it would
    round float64 to float32 if 64-bit types are not enabled. Arrays of 64 bits are passed as pairs
    of 32 bits, so that nothing is rounded.
    """
    types = [a.dtype for a in args]

    def on_host(*halves: Any) -> np.ndarray:
        whole = (np.asarray(a) for a in halves)
        given = [a.view(t)[..., 0] if _is_wide(t) else a for a, t in zip(whole, types, strict=True)]
        found = np.ascontiguousarray(function(*given), dtype)
        return found[..., None].view(np.uint32) if _is_wide(dtype) else found

    sent = [lax.bitcast_convert_type(a, jnp.uint32) if _is_wide(a.dtype) else a for a in args]
    wide = _is_wide(dtype)
    result = jax.ShapeDtypeStruct((*shape, 2) if wide else shape, jnp.uint32 if wide else dtype)
    found = jax.pure_callback(on_host, result, *sent, vmap_method="sequential")
    return lax.bitcast_convert_type(found, dtype) if wide else found


def _is_wide(dtype: Any) -> bool:
    return np.dtype(dtype).itemsize == 8


def _primitive(name: str) -> Primitive:
    primitive = Primitive(f"torch_{name}")

    def shape(*args: Any, host: Host, out: tuple[int, ...], num_axes: int) -> tuple[int, ...]:
        del host
        params, x = args[:2]
        axes = jnp.broadcast_shapes(*(a.shape[:num_axes] for a in args))
        inner = params.shape[num_axes:] if name == "pull" else (x.shape[num_axes], *out)
        return (*axes, *inner)

    def abstract(*args: Any, **known: Any) -> Any:
        return jax.core.ShapedArray(shape(*args, **known), args[0].dtype)

    def called(*args: Any, **known: Any) -> Any:
        call = functools.partial(getattr(known["host"], name), num_axes=known["num_axes"])
        return host_call(call, shape(*args, **known), args[0].dtype, *args)

    def batched(args: Sequence[Any], dims: Sequence[Any], **known: Any) -> tuple[Any, int]:
        moved = [
            a[None] if dim is None else jnp.moveaxis(a, dim, 0)
            for a, dim in zip(args, dims, strict=True)
        ]
        return primitive.bind(*moved, **{**known, "num_axes": known["num_axes"] + 1}), 0

    primitive.def_impl(called)
    primitive.def_abstract_eval(abstract)
    mlir.register_lowering(primitive, mlir.lower_fun(called, multiple_results=False))
    batching.primitive_batchers[primitive] = batched
    return primitive


_outputs, _push, _pull = map(_primitive, ("outputs", "push", "pull"))


_Zero: Any = ad.Zero


def _is_zero(tangent: Any) -> bool:
    return isinstance(tangent, _Zero)


def _check_constant(*tangents: Any, what: str) -> None:
    if not all(map(_is_zero, tangents)):
        raise ComputationError(
            f"the {what} of a PyTorch module cannot be computed: FromTorch provides only first "
            "derivatives for the parameters; use a method that needs only gradients, such as rkc2"
        )


def _outputs_jvp(primals: Any, tangents: Any, **known: Any) -> Any:
    params, x = primals
    change, moved = tangents
    _check_constant(moved, what="derivative for the inputs")
    f = _outputs.bind(params, x, **known)
    if _is_zero(change):
        return f, _Zero.from_primal_value(f)
    return f, _push.bind(params, x, change, **known)


def _linear_jvp(primitive: Primitive, primals: Any, tangents: Any, **known: Any) -> Any:
    params, x, v = primals
    _check_constant(*tangents[:2], what="second derivative")
    value, change = primitive.bind(params, x, v, **known), tangents[2]
    if _is_zero(change):
        return value, _Zero.from_primal_value(value)
    return value, primitive.bind(params, x, change, **known)


def _transposed(other: Primitive, cotangent: Any, params: Any, x: Any, v: Any, **known: Any) -> Any:
    if ad.is_undefined_primal(params) or ad.is_undefined_primal(x):
        raise ComputationError("a PyTorch module is not linear in its parameters")
    if _is_zero(cotangent):
        return None, None, None
    found = other.bind(params, x, cotangent, **known)
    # An argument that was the same for all repetitions gets the sum over them.
    pairs = enumerate(zip(found.shape, v.aval.shape, strict=True))
    repeated = tuple(axis for axis, (n, one) in pairs if axis < known["num_axes"] and one < n)
    return None, None, jnp.sum(found, repeated, keepdims=True) if repeated else found


ad.primitive_jvps[_outputs] = _outputs_jvp
for _own, _other in ((_push, _pull), (_pull, _push)):
    ad.primitive_jvps[_own] = functools.partial(_linear_jvp, _own)
    ad.primitive_transposes[_own] = functools.partial(_transposed, _other)

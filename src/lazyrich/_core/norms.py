"""Norms of numbers whose squares may overflow or underflow, in double precision."""

import functools

import jax
import jax.numpy as jnp
from jaxtyping import Array, PyTree

from .precision import doubled


def tree_norm(tree: PyTree) -> Array:
    """The 2-norm over all leaves, also if squares overflow or underflow."""
    leaves = jax.tree.leaves(doubled(tree))
    unit = _unit([jnp.max(jnp.abs(leaf), initial=0.0) for leaf in leaves])
    return unit * jnp.sqrt(sum(jnp.sum((leaf / unit) ** 2) for leaf in leaves))


def rms(values: Array) -> Array:
    """The root mean square, also if squares overflow or underflow."""
    values = doubled(values)
    unit = _unit([jnp.max(jnp.abs(values), initial=0.0)])
    return unit * jnp.sqrt(jnp.mean((values / unit) ** 2))


def _unit(sizes: list[Array]) -> Array:
    """The largest of these sizes if squares at this size are inexact; otherwise one."""
    largest = functools.reduce(jnp.maximum, sizes)
    plain = (largest == 0) | ((largest > 1e-100) & (largest < 1e100)) | ~jnp.isfinite(largest)
    return jnp.where(plain, jnp.ones_like(largest), largest)

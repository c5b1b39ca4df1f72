"""Errors in a user's own functions, in words that name the remedy."""

import jax


def remedy_for(error: Exception) -> str:
    """How to fix an error in a user's function."""
    if isinstance(error, jax.errors.TracerArrayConversionError):
        return "it uses NumPy where jax.numpy is needed"
    if isinstance(error, jax.errors.ConcretizationTypeError):
        return "it needs a value of its arguments, as `if` and float() do; use jnp.where"
    return f"{type(error).__name__}: {(str(error).splitlines() or [''])[0]}"

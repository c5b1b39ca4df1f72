"""The work of steps."""

from typing import Any, NamedTuple

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int


class Work(NamedTuple):
    """The work of the last attempted step. A solver's state carries it as `work`.

    - `num_gradients`, evaluations of the vector field;
    - `num_products`, products of its Jacobian, or of the outputs' Jacobian, with a vector;
    - `num_matrices`, Jacobians or tangent kernels formed and factored;
    - `num_jittered`, factorisations that succeeded only with a larger diagonal.
    """

    num_gradients: Int[Array, ""]
    num_products: Int[Array, ""]
    num_matrices: Int[Array, ""]
    num_jittered: Int[Array, ""]


def work(
    num_gradients: int | Array = 0,
    num_products: int | Array = 0,
    num_matrices: int | Array = 0,
    num_jittered: int | Array = 0,
) -> Work:
    """Counts as arrays of one dtype, so that a solver's state never changes dtype."""
    counts = (num_gradients, num_products, num_matrices, num_jittered)
    return Work(*(jnp.asarray(count, jnp.int32) for count in counts))


class AbstractCounting(eqx.Module):
    """A diffrax solver that reports the work of its steps, and whether stability limits them.

    Its state has a field `work`.
    """

    def hands_over(self, solver_state: Any, num_left: Float[Array, ""]) -> Bool[Array, ""]:
        """Whether the integrator should change to another method.

        - **Takes** `num_left`, the number of steps of the next length to the end.
        """
        del solver_state, num_left
        return jnp.zeros((), bool)

    def resolving(self, rtol: float, eps: float) -> "AbstractCounting":
        """The solver for tolerance `rtol` if numbers have the relative spacing `eps`."""
        del rtol, eps
        return self

    def taken(self, solver_state: Any) -> Work:
        """The work of the last attempted step."""
        taken: Work = solver_state.work
        return taken

    def at_stability_bound(self, solver_state: Any) -> Bool[Array, ""]:
        """Whether stability limited the length of the last steps."""
        del solver_state
        return jnp.zeros((), bool)

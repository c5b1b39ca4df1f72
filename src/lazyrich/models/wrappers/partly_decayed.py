"""A model whose biases and gains do not decay."""

from typing import Any, ClassVar

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray, Shaped

from ..._core.errors import InputError
from ..._core.precision import promoted
from .._base import AbstractModel, Factors, Posed, Readout
from ..theory import Theory
from ._base import AbstractWrapper


class PartlyDecayed(AbstractWrapper):
    r"""The same model in $\mathcal L + \frac\lambda2 \|D\theta\|^2$, with $D$ its `is_matrix`.

    It has no degree: theory takes a degree for the power with which decay of all parameters
    shrinks the outputs. Made for experiments with `decayed = "matrices"`.
    """

    derived: ClassVar[bool] = True

    @property
    def homogeneity(self) -> None:
        return None

    @property
    def decays_all(self) -> bool:
        return False

    def decayed(self, params: Any) -> Any:
        return jax.tree.map(
            lambda keeps, leaf: leaf if keeps else jnp.zeros_like(leaf),
            self.model.is_matrix(params),
            self.model.decayed(params),
        )

    def is_matrix(self, params: Any) -> Any:
        return self.model.is_matrix(params)

    def linear_maps(self, params: Any) -> list[Array]:
        return self.model.linear_maps(params)

    def theory(self, classification: bool) -> Theory:
        # No constants are calibrated with runs of such models.
        return Theory(family=f"{self.model.theory(classification).family}, biases not decayed")

    def init(self, key: PRNGKeyArray, dim: int) -> Any:
        return self.model.init(key, dim)

    def num_params(self, dim: int) -> int | None:
        return self.model.num_params(dim)

    def check_params(self, params: Any, dim: int) -> None:
        self.model.check_params(params, dim)

    @promoted
    def apply(self, params: Any, x: Shaped[Array, "n d"]) -> Float[Array, " n *c"]:
        return self.model.apply(params, x)

    def inputs_for(self, params: Any, x: Shaped[Array, "n d"]) -> Shaped[Array, "n d"]:
        return self.model.inputs_for(params, x)

    @property
    def has_origin(self) -> bool:
        return self.model.has_origin

    def trained(self, params: Any) -> Any:
        return self.model.trained(params)

    @promoted
    def norm(self, params: Any) -> Float[Array, ""]:
        return self.model.norm(params)

    @property
    def has_mobility(self) -> bool:
        return self.model.has_mobility

    @promoted
    def mobility(self, params: Any, forces: Any) -> Any:
        return self.model.mobility(params, forces)

    @promoted
    def tangent_kernel(self, params: Any, x: Shaped[Array, "n d"]) -> Float[Array, "m m"]:
        return self.model.tangent_kernel(params, x)

    @promoted
    def kernels_onto(
        self, params: Any, x: Shaped[Array, "n d"], other: Shaped[Array, "m d"]
    ) -> tuple[Float[Array, "k k"], Float[Array, "l k"]]:
        return self.model.kernels_onto(params, x, other)

    @promoted
    def gradient_factors(
        self, params: Any, x: Shaped[Array, "n d"], r: Float[Array, " n *c"]
    ) -> Factors | None:
        return self.model.gradient_factors(params, x, r)

    def layer_weights(self, params: Any) -> tuple[Float[Array, "out in"], ...]:
        return self.model.layer_weights(params)

    @promoted
    def zero_readout(self, params: Any, x: Shaped[Array, "n d"]) -> Readout | None:
        return self.model.zero_readout(params, x)

    @promoted
    def first_output(self, params: Any) -> Posed | None:
        found = self.model.first_output(params)
        return None if found is None else Posed(PartlyDecayed(model=found.model), found.params)


def partly_decayed(model: AbstractModel, params: Any) -> AbstractModel:
    """The model with decay of its matrices only; the model itself if nothing is left out.

    - **Raises** [`InputError`][lazyrich.InputError] if all parameters are left out.
    """
    if not model.has_biases:
        return model
    if not any(jax.tree.leaves(model.is_matrix(params))):
        accepted = f"leaves out every parameter of {type(model).__name__}; use all"
        raise InputError("decayed", "matrices", accepted)
    return PartlyDecayed(model=model)

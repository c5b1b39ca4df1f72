"""A user's own model."""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
from jaxtyping import Array, Float, PRNGKeyArray, Shaped

from .._description import described_function
from ._base import AbstractModel


class Functions(AbstractModel):
    r"""A model of your own: a pair of functions.

    - **Takes** `init_params(key, dim)`, parameters as any pytree of real arrays;
        `function(params, x)`, outputs `(n,)` or `(n, c)` on inputs `(n, d)`;
        `degree`, the $L$ of $f(c\theta; x) = c^L f(\theta; x)$, or None if there is none.
        A declared degree is checked when the flow is built. `kinks`, whether there are ReLUs
        or the like in it: solvers then expect the field to jump.

    A file cannot hold it: an experiment with such a model runs, and its record names the
    functions, but [`Experiment.load`][lazyrich.Experiment.load] cannot bring them back.
    """

    init_params: Callable[..., Any]
    function: Callable[..., Any]
    degree: float | None = None
    kinks: bool = False

    @property
    def homogeneity(self) -> float | None:
        return self.degree

    @property
    def has_kinks(self) -> bool:
        return self.kinks

    def init(self, key: PRNGKeyArray, dim: int) -> Any:
        return self.init_params(key, dim)

    def apply(self, params: Any, x: Shaped[Array, "n d"]) -> Float[Array, " n *c"]:
        return self.function(params, x)

    def table(self) -> dict[str, Any]:
        names = {key: described_function(getattr(self, key)) for key in ("init_params", "function")}
        return {**super().table(), **names}


class FromEquinox(AbstractModel):
    """An Equinox module as a model: its inexact arrays are the parameters.

    - **Takes** `module`, which maps one input `(d,)` to a scalar or to `(c,)` outputs; its
        arrays are the parameters at `init_scale` 1, whatever the seed; `degree` and `kinks`
        as in [`Functions`][lazyrich.models.Functions].
    """

    module: Any
    degree: float | None = None
    kinks: bool = False

    @property
    def homogeneity(self) -> float | None:
        return self.degree

    @property
    def has_kinks(self) -> bool:
        return self.kinks

    def init(self, key: PRNGKeyArray, dim: int) -> Any:
        del key, dim
        return eqx.filter(self.module, eqx.is_inexact_array)

    def apply(self, params: Any, x: Shaped[Array, "n d"]) -> Float[Array, " n *c"]:
        static = eqx.filter(self.module, eqx.is_inexact_array, inverse=True)
        return jax.vmap(eqx.combine(params, static))(x)

    def table(self) -> dict[str, Any]:
        kind = type(self.module)
        return {**super().table(), "module": f"{kind.__module__}.{kind.__qualname__}"}

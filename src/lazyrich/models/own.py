"""Models written by the user."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar

import equinox as eqx
import jax
from jaxtyping import Array, PRNGKeyArray, Shaped

from .._core.description import described_function
from .._core.fingerprint import is_own
from .._core.given import takes
from .._core.precision import as_double, in_double, promoted
from ._base import AbstractModel
from .wrappers._base import AbstractWrapper

OWN_CODE = "your own, from Python or by --set model=MODULE:FUNCTION, whose function returns it"


class AbstractOwn(AbstractModel):
    """A model of the user, whose fields `degree` and `kinks` say what cannot be read off it."""

    own_code: ClassVar[str] = OWN_CODE

    if TYPE_CHECKING:  # fields of the subclasses, each in its own order
        degree: float | None
        kinks: bool | None

    @property
    def homogeneity(self) -> float | None:
        return self.degree

    @property
    def has_kinks(self) -> bool:
        return bool(self.kinks)


class Functions(AbstractOwn):
    r"""A model of your own, given by two functions.

    - **Takes** `init_params(key, dim)` or `init_params(key)`, which returns a pytree of real
        arrays, for example the parameters of a Flax module; `function(params, x)`, which returns
        outputs `(n,)` or `(n, c)` for inputs `(n, d)`, where `(n, 1)` means the same as `(n,)`;
        `degree`, the $L$ of $f(c\theta; x) = c^L f(\theta; x)$, or None if there is none;
        `kinks`, whether the function has kinks as with ReLUs, so that solvers expect jumps of the
        field. A given degree is checked when the flow is built.
    - `function` receives parameters and inputs in float64, and its outputs should be float64.
        64-bit types are enabled while `init_params` runs.

    An experiment with such a model runs, and its record contains the names of the functions. A
    file cannot contain the functions, so [`Experiment.load`][lazyrich.Experiment.load] cannot
    load the experiment.
    """

    init_params: Callable[..., Any]
    function: Callable[..., Any]
    degree: float | None = None
    kinks: bool = False

    @in_double
    def init(self, key: PRNGKeyArray, dim: int) -> Any:
        of_key = takes(self.init_params, 1) and not takes(self.init_params, 2)
        found = self.init_params(key) if of_key else self.init_params(key, dim)
        return as_double(found, "model.init_params")

    def check_params(self, params: Any, dim: int) -> None:
        del params, dim  # `function` decides which shapes are valid

    @promoted
    def apply(self, params: Any, x: Shaped[Array, "n d"]) -> Any:
        return of_one_axis(self.function(params, self.inputs_for(params, x)))

    def table(self) -> dict[str, Any]:
        names = {key: described_function(getattr(self, key)) for key in ("init_params", "function")}
        return {**super().table(), **names}


class FromEquinox(AbstractOwn):
    """An Equinox module as a model. The inexact arrays of the module are the parameters.

    - **Takes** `module`, which maps one input `(d,)` to outputs `()`, `(1,)` or `(c,)`. Its arrays
        are the parameters at `init_scale` 1, for every seed. `degree` and `kinks` are as in
        [`Functions`][lazyrich.models.Functions].
    - The model computes in float64. A module in float32, the default of Equinox, is accepted.
    """

    module: Any
    degree: float | None = None
    kinks: bool = False

    @in_double
    def init(self, key: PRNGKeyArray, dim: int) -> Any:
        del key, dim
        return as_double(eqx.filter(self.module, eqx.is_inexact_array), "model.module")

    @promoted
    def apply(self, params: Any, x: Shaped[Array, "n d"]) -> Any:
        static = eqx.filter(self.module, eqx.is_inexact_array, inverse=True)
        return of_one_axis(jax.vmap(eqx.combine(params, static))(self.inputs_for(params, x)))

    def table(self) -> dict[str, Any]:
        kind = type(self.module)
        return {**super().table(), "module": f"{kind.__module__}.{kind.__qualname__}"}


def runs_own_code(model: AbstractModel) -> bool:
    """Whether a model, or the model inside a wrapper, is or contains code of the user."""
    if isinstance(model, AbstractWrapper):
        return runs_own_code(model.model)
    return isinstance(model, AbstractOwn) or is_own(type(model))


def of_one_axis(f: Any) -> Any:
    """Outputs `(n, 1)` as `(n,)`."""
    return f[:, 0] if getattr(f, "ndim", 0) == 2 and f.shape[1] == 1 else f

"""Committee machines, with frozen or trained readouts."""

from typing import Annotated, Any, ClassVar, Literal, NamedTuple

import jax
import jax.numpy as jnp
import jax.random as jr
from annotated_types import Ge, Gt
from jax import lax
from jaxtyping import Array, Float, PRNGKeyArray, Shaped

from .._core.precision import in_double, promoted
from ._base import AbstractModel, Posed
from .committee_statistics import CommitteeStatistics, Statistics
from .condensed_committee import Condensed, CondensedCommittee


class CommitteeParams(NamedTuple):
    """Weights and readouts of a committee with trained readouts."""

    weights: Float[Array, "h d"]
    readouts: Float[Array, " h"]


class CommitteeMachine(AbstractModel):
    r"""$f(x) = \frac{\alpha_\text{out}}{N} \sum_i a_i \phi(w_i \cdot x)$.

    The activation is $\phi(h) = h + \frac\epsilon2 h^2$. The readouts $a_i$ start at 1. If they are
    frozen, the parameters are the weights, shape `(width, d)`. If they are trained, the parameters
    are weights and readouts. At `init_scale` 1 the weights are standard normal. The model is not
    homogeneous.

    - **Takes** `width`, $N$; `epsilon`, $\epsilon$; `output_scale`, $\alpha_\text{out}$, in
        addition to the output scale of an experiment; `readouts`, frozen or trained; `inputs`:
        with `over_root_d`, for inputs of unit variance, $h = w \cdot x / \sqrt d$.
    - **Source** Kumar et al., ICLR 2024, arXiv:2310.06110: polynomial regression.
    """

    numbers: ClassVar[tuple[str, ...]] = ("epsilon", "output_scale")

    width: Annotated[int, Ge(1)] = 500
    epsilon: float = 0.25
    output_scale: Annotated[float, Gt(0)] = 1.0
    readouts: Literal["frozen", "trained"] = "frozen"
    inputs: Literal["as_they_are", "over_root_d"] = "as_they_are"

    @property
    def homogeneity(self) -> None:
        return None

    @in_double
    def init(self, key: PRNGKeyArray, dim: int) -> Any:
        weights = jr.normal(key, (self.width, dim))
        if self.readouts == "frozen":
            return weights
        return CommitteeParams(weights, jnp.ones(self.width))

    @property
    def alpha_out(self) -> float:
        return self.output_scale

    @property
    def has_biases(self) -> bool:
        return False

    def is_matrix(self, params: Any) -> Any:
        return jax.tree.map(lambda leaf: True, params)  # readouts are weights, too

    @property
    def closes(self) -> bool:
        return self.readouts == "frozen"

    @promoted
    def closed(self, params: Any) -> Posed:
        if not self.closes:
            raise self._not_closing()
        weights = jnp.asarray(params)
        second = weights.T @ weights / self.width
        statistics = Statistics(jnp.mean(weights, axis=0), second)
        return Posed(CommitteeStatistics(**self._numbers), statistics)

    @promoted
    def condensed(self, params: Any) -> Posed:
        if not self.closes:
            raise self._not_closing()
        weights = jnp.asarray(params)
        mean = jnp.mean(weights, axis=0)
        # The rotation leaves at most D neurons nonzero. The mean is not contained in them.
        rest = jnp.linalg.qr(weights - mean[None], mode="r")
        found = Condensed(jnp.sqrt(float(self.width)) * mean, rest)
        return Posed(CondensedCommittee(**self._numbers), found)

    @property
    def _numbers(self) -> dict[str, Any]:
        """The fields that its closures need."""
        root_d = self.inputs == "over_root_d"
        names = ("width", "epsilon", "output_scale")
        return {name: getattr(self, name) for name in names} | {"root_d": root_d}

    @promoted
    def scaled(self, params: Any, x: Shaped[Array, "n d"]) -> Shaped[Array, "n d"]:
        """Inputs after the division by the square root of their length, if there is one."""
        x = self.inputs_for(params, x)
        return x if self.inputs == "as_they_are" else x / jnp.sqrt(float(x.shape[1]))

    @promoted
    def apply(self, params: Any, x: Shaped[Array, "n d"]) -> Float[Array, " n"]:
        weights, readouts = self._parts(params)
        h = self.scaled(params, x) @ weights.T
        phi = h + 0.5 * self.epsilon * h**2
        total = jnp.sum(phi, axis=1) if readouts is None else phi @ readouts
        return self.output_scale / self.width * total

    @promoted
    def tangent_kernel(self, params: Any, x: Shaped[Array, "n d"]) -> Float[Array, "n n"]:
        r"""$(\alpha_\text{out}/N)^2\, (X X^\top) \circ (S S^\top)$, $S_{ij} = a_j \phi'(h_{ij})$.

        If the readouts are trained, $(\alpha_\text{out}/N)^2\, \phi(H) \phi(H)^\top$ is added.
        """
        weights, readouts = self._parts(params)
        x, scale = self.scaled(params, x), self.output_scale / self.width
        h = x @ weights.T
        slopes = scale * (1 + self.epsilon * h)
        phi = None
        if readouts is not None:
            slopes = slopes * readouts[None]
            phi = scale * (h + 0.5 * self.epsilon * h**2)

        # Rows are filled in place, a few at a time: a full product would double the memory.
        n = x.shape[0]
        rows = min(n, 256)

        def fill(block: Array, kernel: Array) -> Array:
            start = jnp.minimum(block * rows, n - rows)

            def some(a: Array) -> Array:
                return lax.dynamic_slice_in_dim(a, start, rows, axis=0)

            products = (some(x) @ x.T) * (some(slopes) @ slopes.T)
            if phi is not None:
                products += some(phi) @ phi.T
            return lax.dynamic_update_slice_in_dim(kernel, products, start, axis=0)

        return lax.fori_loop(0, -(-n // rows), fill, jnp.zeros((n, n), slopes.dtype))

    def _parts(self, params: Any) -> tuple[Array, Array | None]:
        """Weights and, if they are trained, readouts."""
        if self.readouts == "frozen":
            return params, None
        return params.weights, params.readouts

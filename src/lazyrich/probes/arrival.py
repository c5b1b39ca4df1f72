"""Whether a run has arrived: the balance of weight decay and loss in every linear map."""

from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from .._core.norms import tree_norm
from .._core.precision import promoted
from ._base import AbstractProbe, RunContext, RunState


class _Balance(NamedTuple):
    """Of each linear map, the norm of what does not cancel, and the norms of what should."""

    left: list[Float[Array, ""]]
    size: list[Float[Array, ""]]
    others: Float[Array, ""]  # the share of the gradient in parameters without decay


class Arrival(AbstractProbe):
    r"""$\sum_W \|(\lambda W + G) W^\top\| / \sum_W (\|\lambda W W^\top\| + \|G W^\top\|)$.

    Where training ends with weight decay, $\nabla\mathcal L = -\lambda\theta$. For a linear map
    $z = Wx$ anywhere in a net, with $G = \frac1n \sum_i \delta_i x_i^\top$ and $\delta_i =
    \partial\ell_i / \partial z_i$, this implies $\lambda W W^\top = -\frac1n \sum_i \delta_i
    z_i^\top$. No degree of homogeneity is needed. The value is 0 where decay and loss balance, and
    at most 1. It costs a gradient. Maps that vanish do not count, because all terms are energies.
    $W^\top W$ replaces $W W^\top$ where it is smaller. A diagonal map, such as a gain, has only the
    diagonal of $W W^\top$.

    - A net with kinks slides along them, so that its gradient jumps between two values of which an
        average balances the decay. With one hidden layer, only the diagonal of $W W^\top$ is used,
        with the bias as another column: $\lambda \|w_j\|^2 = -\frac1n \sum_i \delta_{ij} z_{ij}$
        is continuous, because $z_{ij} = 0$ where unit $j$ switches at sample $i$. With more layers
        it is not, because $\delta$ of a layer jumps where a later one switches: not recorded for
        other models with kinks (see `balances_at_kinks` of a model).
    - Parameters without decay should have a gradient of zero. For a smooth net the value is at
        least their share $\|g\| / \|\nabla\mathcal L\|$ of the gradient.
    - Not recorded without weight decay, for AdamW, where decay balances another direction, and for
        label noise, which adds a drift. NaN at parameters of zero.
    - **Source** the stationarity of $\mathcal L + \frac\lambda2\|\theta\|^2$; cf.
        arXiv:2507.05644.
    """

    named: ClassVar = ("arrival", "relative imbalance of weight decay and loss")
    meaning: ClassVar = (
        r"$\sum_W \lVert(\lambda W + G) W^\top\rVert / \sum_W (\lVert\lambda W W^\top\rVert + "
        r"\lVert G W^\top\rVert)$ over the linear maps $W$, with the gradient $G$ of the loss: 0 "
        "where training with weight decay ends"
    )
    needs_inputs: ClassVar[bool] = True
    needs_forces: ClassVar[bool] = True
    needs_balance: ClassVar[bool] = True

    def applies(self, context: RunContext) -> bool:
        model = context.model
        # Statistics of other parameters move by their own law.
        if context.x_train is None or model.is_closed or model.has_mobility:
            return False
        if model.has_kinks and not model.balances_at_kinks:
            return False
        return float(context.weight_decay) > 0

    @promoted
    def __call__(self, state: RunState, context: RunContext) -> Float[Array, ""]:
        found = _balance(state, context)
        value = _ratio(sum(found.left, jnp.zeros(())), sum(found.size, jnp.zeros(())))
        return value if context.model.has_kinks else jnp.maximum(value, found.others)


class MapArrival(Arrival):
    r"""$\|(\lambda W + G) W^\top\| / (\|\lambda W W^\top\| + \|G W^\top\|)$ of each linear map.

    In the order of the parameters; a layer and its bias are one map. Otherwise as
    [`Arrival`][lazyrich.probes.Arrival]. A map that vanishes can stay near 1.
    """

    named: ClassVar = ("map_arrival", "relative imbalance of weight decay and loss of a map")
    meaning: ClassVar = (
        r"$\lVert(\lambda W + G) W^\top\rVert / (\lVert\lambda W W^\top\rVert + "
        r"\lVert G W^\top\rVert)$ of each linear map, along the dimension `map`"
    )

    @property
    def dims(self) -> tuple[str, ...]:
        return ("map",)

    @promoted
    def __call__(self, state: RunState, context: RunContext) -> Float[Array, " w"]:
        found = _balance(state, context)
        return jnp.stack([_ratio(a, b) for a, b in zip(found.left, found.size, strict=True)])


def _balance(state: RunState, context: RunContext) -> _Balance:
    model, params, decay = context.model, state.params, jnp.asarray(context.weight_decay)
    velocity = context.flow.vf(0.0, params, None)
    shrinking = jax.tree.map(lambda p: decay * p, model.decayed(params))
    force = jax.tree.map(jnp.add, velocity, shrinking)
    left, size = [], []
    trees = (params, velocity, shrinking, force)
    for p, *parts in zip(*map(model.linear_maps, trees), strict=True):
        norms = [tree_norm(_product(p, part, model.has_kinks)) for part in parts]
        left.append(norms[0])
        size.append(norms[1] + norms[2])
    if model.decays_all:
        return _Balance(left, size, jnp.zeros(()))
    free = jax.tree.map(
        lambda d, v: jnp.where(d > 0, 0.0, v), model.decayed(jax.tree.map(jnp.ones_like, params)),
        velocity,
    )  # fmt: skip
    free, force = map(model.trained, (free, force))
    return _Balance(left, size, _ratio(tree_norm(free), tree_norm(force)))


def _product(p: Array, part: Array, diagonal: bool) -> Array:
    """A part of the velocity of a map times its transpose; the smaller of both products."""
    if p.ndim == 1:
        return part * p
    if diagonal:
        return jnp.sum(part * p, axis=1)
    return part @ p.T if p.shape[0] <= p.shape[1] else part.T @ p


def _ratio(part: Any, whole: Any) -> Float[Array, ""]:
    return jnp.where(whole > 0, part / jnp.where(whole > 0, whole, 1.0), jnp.nan)

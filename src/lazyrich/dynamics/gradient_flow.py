"""The gradient flow of any model, as a diffrax term with methods for implicit solvers."""

from collections.abc import Callable
from typing import Any

import diffrax
import equinox as eqx
import jax
import jax.flatten_util
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree, Shaped

from .._core.norms import tree_norm
from .._core.precision import doubled, float_type
from .._integrate.log_state import LogState
from ..losses import AbstractLoss
from ..models import AbstractModel
from ..solvers import AbstractMatrixTerm
from ..solvers._dual_term import AbstractDualTerm
from ._base import Problem
from .gauss_newton import GaussNewton

# Up to this number of parameters, the cost of a triangular factor in parameter space is small.
_FEW = 100
# The number of columns of a Jacobian computed at once.
_BLOCK = 64


class GradientFlow(AbstractMatrixTerm, AbstractDualTerm):
    r"""$\dot\theta = \frac1n J(\theta)^\top s(f(\theta)) - \lambda\theta$, for any `diffeqsolve`.

    $f$ are the outputs of the model on `x`, raveled to `(m,)` with $m = n$ or $n c$. $J$ is their
    Jacobian, and $s$ is the dual of the loss. In addition to the vector field, the term provides
    what implicit solvers need: products with $J$ and $J^\top$, the tangent kernel $J J^\top$, and
    the curvature of the loss. Together they determine the Gauss--Newton matrix $-\frac1n J^\top B
    B^\top J - \lambda I$.

    - **Takes** `x` `(n, d)`; `y`, the labels; `weight_decay`, $\lambda \ge 0$; `model`; `loss`;
        `loss_divisor`, a divisor of the loss, which multiplies $n$ everywhere.
    """

    x: Shaped[Array, "n d"]
    y: Shaped[Array, " n ..."]
    weight_decay: Float[Array, ""]
    model: AbstractModel
    loss: AbstractLoss = eqx.field(static=True)
    loss_divisor: float | Float[Array, ""] = 1.0

    @classmethod
    def of(cls, problem: Problem) -> "GradientFlow":
        """The flow of a problem, in the type of its parameters.

        Numbers become arrays, so that a sweep compiles only once.
        """
        dtype = float_type(problem.params)
        decay, divisor = (
            jnp.asarray(number, dtype) for number in (problem.weight_decay, problem.loss_divisor)
        )
        model = jax.tree.map(lambda number: jnp.asarray(number, dtype), problem.model)
        train = problem.train
        return cls(train.x, train.y, decay, model, problem.loss, divisor)

    @property
    def num_samples(self) -> Any:
        """$n$: the number of samples times the divisor of the loss."""
        return self.x.shape[0] * self.loss_divisor

    @property
    def decay(self) -> Any:
        return self.weight_decay

    @property
    def constant_curvature(self) -> float | None:
        return self.loss.constant_curvature

    def outputs(self, params: PyTree) -> Float[Array, " n *c"]:
        """$f$, not raveled."""
        return self.model.apply(params, self.x)

    def outputs_and_pullback(
        self, params: PyTree
    ) -> tuple[Float[Array, " n *c"], Callable[[Array], PyTree]]:
        r"""$f$ and $r \mapsto J^\top r$, with one shared forward pass."""
        f, pullback = jax.vjp(self.outputs, params)
        return f, lambda r: self.model.mobility(params, pullback(r)[0])

    def pushforward(self, params: PyTree) -> Callable[[PyTree], Float[Array, " n *c"]]:
        r"""$v \mapsto J v$."""
        return jax.linearize(self.outputs, params)[1]

    def jacobian(self, params: PyTree) -> Float[Array, "m p"]:
        r"""$J$: a row for each raveled output, a column for each raveled parameter."""
        flat, unravel = jax.flatten_util.ravel_pytree(params)
        push = self.pushforward(params)
        directions = jnp.eye(flat.size, dtype=flat.dtype)
        return jax.lax.map(lambda v: push(unravel(v)).ravel(), directions, batch_size=_BLOCK).T

    def prefers_parameters(self, params: PyTree) -> bool:
        """Whether an implicit step should solve for the parameters instead of using the kernel.

        It should if there are few parameters. Then no digits are lost if columns of the Jacobian
        differ strongly in scale, and for many outputs the step is cheaper.
        """
        if self.model.has_mobility:
            return False
        num_params = sum(leaf.size for leaf in jax.tree.leaves(params))
        num_outputs = jax.eval_shape(self.outputs, params).size
        return num_params <= max(_FEW, num_outputs // 4)

    def tangent_kernel(self, params: PyTree) -> Float[Array, "m m"]:
        r"""$J J^\top$."""
        return self.model.tangent_kernel(params, self.x)

    def dual(self, f: Float[Array, "*m"]) -> Float[Array, "*m"]:
        """$s(f)$, computed in float64 and rounded to the type of `f`."""
        return self.loss.dual(doubled(f), self.y).astype(f.dtype)

    def pull(self, pullback: Callable[[Array], PyTree], dual: Array, params: PyTree) -> PyTree:
        r"""$\frac1n J^\top r - \lambda\theta$ for a given dual $r$."""
        forces, decayed = pullback(dual), self.model.decayed(params)
        return jax.tree.map(
            lambda g, p: g / self.num_samples - self.weight_decay * p, forces, decayed
        )

    def approximate_jacobian(self, t: Any, y: PyTree, args: Any) -> GaussNewton:
        """The Gauss--Newton matrix at `y`, for Rosenbrock-W methods."""
        del t, args
        return GaussNewton(self, y)

    def vf(self, t: Any, y: PyTree, args: Any) -> PyTree:
        del t, args
        return self.field(y) if self.model.twice_differentiable else _differentiable(self, y)

    def field(self, params: PyTree) -> PyTree:
        """The velocity of the parameters."""
        f, pullback = self.outputs_and_pullback(params)
        return self.pull(pullback, self.dual(f), params)

    def contr(self, t0: Any, t1: Any, **kwargs: Any) -> Any:
        return t1 - t0

    def prod(self, vf: PyTree, control: Any) -> PyTree:
        return jax.tree.map(lambda v: jnp.asarray(control, v.dtype) * v, vf)


class LogTimeFlow(diffrax.AbstractTerm[Any, Any]):
    r"""Gradient flow of the logarithm of the loss, without decay.

    $d\theta/d\tau = -\nabla \log \mathcal L(\theta)$ follows the same path as gradient flow,
    with $dt/d\tau = 1/\mathcal L$. The state contains $u = \log(1 + t)$ with $du/d\tau = e^{-\log
    \mathcal L - u}$, so neither a loss of $e^{-10^4}$ nor its time causes overflow.

    - **Takes** the arguments of [`GradientFlow`][lazyrich.dynamics.GradientFlow], with
        `weight_decay` zero. The state is a [`LogState`][lazyrich.dynamics.LogState].
    - **Source** the rescaled loss of Lyu & Li, ICLR 2020, arXiv:1906.05890; as the clock of
        figure 4, Lyu et al., ICLR 2024, arXiv:2311.18817.
    """

    flow: GradientFlow

    def vf(self, t: Any, y: LogState, args: Any) -> LogState:
        del t, args
        smooth = self.flow.model.twice_differentiable
        return self.field(y) if smooth else _differentiable(self, y)

    def field(self, state: LogState) -> LogState:
        """The velocity of the state."""

        def log_loss(params: PyTree) -> Array:
            return self.flow.loss.log_mean(self.flow.outputs(params), self.flow.y)

        value, gradient = jax.value_and_grad(log_loss)(state.params)
        speed = self.flow.loss_divisor * jnp.exp(-value - state.log_time)
        return LogState(jax.tree.map(jnp.negative, gradient), speed)

    def contr(self, t0: Any, t1: Any, **kwargs: Any) -> Any:
        return t1 - t0

    def prod(self, vf: LogState, control: Any) -> LogState:
        return jax.tree.map(lambda v: control * v, vf)


@eqx.filter_custom_jvp
def _differentiable(term: GradientFlow | LogTimeFlow, y: PyTree) -> PyTree:
    r"""The field of a model whose gradients JAX cannot differentiate.

    A product of its Jacobian with $v$ is a difference of the field over a step of $\sqrt\epsilon
    \|y\|$ along $v$, which is sufficient for a spectral radius.

    - **Source** Sommeijer, Shampine & Verwer, J. Comput. Appl. Math. 88 (1998), 315--326.
    """
    return term.field(y)


@_differentiable.def_jvp  # type: ignore[untyped-decorator]
def _by_differences(primals: Any, tangents: Any) -> tuple[PyTree, PyTree]:
    (term, y), (_, v) = primals, tangents
    v = jax.tree.map(lambda p, d: jnp.zeros_like(p) if d is None else d, y, v)
    slope, norm = term.field(y), tree_norm(v)
    size = tree_norm(y)
    step = jnp.sqrt(jnp.finfo(norm.dtype).eps) * jnp.where(size > 0, size, 1.0)
    step = step / jnp.where(norm > 0, norm, 1.0)
    moved = term.field(jax.tree.map(lambda p, d: p + step.astype(p.dtype) * d, y, v))
    return slope, jax.tree.map(lambda a, b: (a - b) / step.astype(a.dtype), moved, slope)

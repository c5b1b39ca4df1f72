"""RKC2, and the parts that all stabilised explicit Runge--Kutta methods here share."""

import abc
import dataclasses
from functools import lru_cache
from typing import Any, ClassVar, NamedTuple, cast

import diffrax
import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float, Int

from .._core.errors import InputError
from ._spectral_radius import SpectralRadius, spectral_radius
from ._work import AbstractCounting, Work, work


class Family(NamedTuple):
    r"""Methods of several degrees that share one recurrence over their stages.

    With $D_j = Y_j - y_0$, $F_j = f(t_0 + c_j h, Y_j)$ and $D_0 = D_{-1} = 0$, stage $j$
    is $D_j = a_j D_{j-1} + b_j D_{j-2} + h(m_j F_{j-1} + g_j F_0)$, and the step ends at stage
    $s$. The error estimate is the sum of $D_s, D_{s-1}, hF_0, hF_{s-1}, hF_s$ times `error`.
    """

    degrees: np.ndarray  # (k,), rising
    intervals: np.ndarray  # (k,): stable while h times the spectrum lies in [-interval, 0]
    stages: np.ndarray  # (k, s, 4): a, b, m, g of stage j at j - 1, zero beyond the degree
    nodes: np.ndarray  # (k, s): c of stage j at j - 1
    error: np.ndarray  # (k, 5)


# The number of steps that use one estimate of the radius. `safety` covers the growth of the radius
# meanwhile. A step that is unstable anyway has a large error and is rejected.
_MAX_AGE = 5
# The same where even twice the radius needs only the fewest stages. A better estimate would change
# nothing there, and cost a quarter of the work for ReLU networks late in training.
_MAX_AGE_FEW_STAGES = 25
# From this many stages on, every step estimates the radius. The estimate then costs little compared
# with the stages, and an old estimate that is too large costs more.
_MANY_STAGES = 40


class StabilisedState(NamedTuple):
    """The state that one step passes to the next."""

    slope: Float[Array, " n"]  # the vector field where the step ended, raveled
    vector: Float[Array, " n"]  # approximate eigenvector of the largest eigenvalue
    radius: Float[Array, ""]  # spectral radius without safety factor; infinite if unknown
    age: Int[Array, ""]  # steps since the radius was estimated
    work: Work
    history: Any = None  # what a subclass remembers of previous steps


class Stages(NamedTuple):
    """The result of the stages of a step from `start`, raveled."""

    start: Float[Array, " n"]
    increment: Float[Array, " n"]  # D_s
    increment_before: Float[Array, " n"]  # D_{s-1}
    slopes: Float[Array, "3 n"]  # h times F_0, F_{s-1}, F_s
    error: Float[Array, "5"]  # the family's coefficients


class AbstractStabilised(AbstractCounting, diffrax.AbstractAdaptiveSolver[StabilisedState]):
    """Takes as many stages as the spectral radius requires, from one family of methods."""

    term_structure: ClassVar = diffrax.AbstractTerm
    interpolation_cls: ClassVar[Any] = diffrax.ThirdOrderHermitePolynomialInterpolation
    bounds: ClassVar[tuple[int, int]]  # on `max_stages`; the lower is the smallest degree

    max_stages: eqx.AbstractVar[int]
    safety: eqx.AbstractVar[float]

    def __check_init__(self) -> None:
        low, high = self.bounds
        if not (isinstance(self.max_stages, int) and low <= self.max_stages <= high):
            raise InputError("max_stages", self.max_stages, f"a whole number, {low} to {high}")
        if not 1 <= self.safety < np.inf:
            raise InputError("safety", self.safety, "a finite number, at least 1")

    def resolving(self, rtol: float, eps: float) -> "AbstractStabilised":
        # Rounding errors of a step grow with the square of the number of stages. The bound is that
        # of Sommeijer, Shampine & Verwer.
        low, _ = self.bounds
        stages = int(np.clip(np.sqrt(rtol / (5 * eps)), low, self.max_stages))
        return dataclasses.replace(self, max_stages=stages)

    @property
    @abc.abstractmethod
    def family(self) -> Family:
        """The methods of up to `max_stages` stages."""

    def order(self, terms: Any) -> int:
        del terms
        return 2

    def init(self, terms: Any, t0: Any, t1: Any, y0: Any, args: Any) -> StabilisedState:
        # The first step evaluates the field, as any step after a jump does. The field is then
        # compiled in one place fewer.
        del terms, t0, t1, args
        nothing = jnp.zeros_like(ravel_pytree(y0)[0])
        unknown, age = jnp.full((), jnp.inf, nothing.dtype), jnp.zeros((), jnp.int32)
        return StabilisedState(
            nothing, nothing, unknown, age, work(), self.initial_history(nothing)
        )

    def initial_history(self, like: Float[Array, " n"]) -> Any:
        """The history before the first step."""
        del like
        return None

    def raise_degree(self, index: Int[Array, ""], history: Any) -> Int[Array, ""]:
        """The index of a degree, raised if the history shows that more damping is needed."""
        del history
        return index

    def estimate_error(
        self, t0: Any, t1: Any, stages: Stages, history: Any
    ) -> tuple[Float[Array, " n"], dict[str, Array], Any]:
        """The error estimate, the interpolation's data other than both ends, the new history."""
        del t0, t1, history
        slopes, e = stages.slopes, stages.error
        error = e[0] * stages.increment + e[1] * stages.increment_before
        return error + e[2:] @ slopes, {"k0": slopes[0], "k1": slopes[2]}, None

    def func(self, terms: Any, t0: Any, y0: Any, args: Any) -> Any:
        return terms.vf(t0, y0, args)

    def step(
        self,
        terms: Any,
        t0: Any,
        t1: Any,
        y0: Any,
        args: Any,
        solver_state: StabilisedState,
        made_jump: Any,
    ) -> tuple[Any, Any, dict[str, Any], StabilisedState, diffrax.RESULTS]:
        # Raveled: a state of eight leaves would take twice as long to compile.
        start, unravel = ravel_pytree(y0)

        def field(t: Any, y: Array) -> Array:
            return ravel_pytree(terms.vf(t, unravel(y), args))[0]

        cold = made_jump | jnp.isinf(solver_state.radius)
        slope = lax.cond(cold, lambda: field(t0, start), lambda: solver_state.slope)
        h = t1 - t0
        family = self.family
        reach = self.safety * jnp.abs(h) * solver_state.radius.astype(h.dtype)
        few_stages = 2 * reach <= family.intervals[0]
        last = np.searchsorted(family.degrees, _MANY_STAGES)
        many = family.intervals[min(int(last), len(family.degrees) - 1)]
        max_age = jnp.where(few_stages, _MAX_AGE_FEW_STAGES, jnp.where(reach > many, 0, _MAX_AGE))
        stale = cold | (solver_state.age >= max_age)

        def estimate() -> SpectralRadius:
            return spectral_radius(
                lambda y: field(t0, y), start, slope, solver_state.vector, solver_state.radius, cold
            )

        def keep() -> SpectralRadius:
            kept = jnp.zeros((), jnp.int32)
            return SpectralRadius(solver_state.radius, solver_state.vector, kept)

        radius, vector, num_products = lax.cond(stale, estimate, keep)
        age = jnp.where(stale, 0, solver_state.age + 1)

        # diffrax solves backwards by negating the control, not the vector field.
        control = jnp.asarray(terms.contr(t0, t1), start.dtype)
        # `searchsorted` puts a radius that is not-a-number after every interval.
        index = jnp.searchsorted(
            family.intervals, self.safety * jnp.abs(h) * radius.astype(h.dtype)
        )
        stable = index < len(family.degrees)
        index = self.raise_degree(index, solver_state.history)
        num_stages = jnp.where(stable, jnp.asarray(family.degrees)[index], 0)
        stages = jnp.asarray(family.stages, start.dtype)
        nodes = jnp.asarray(family.nodes, h.dtype)

        # One loop over all stages, including the last, so that the field is compiled once.
        def stage(j: Any, carry: tuple[Array, Array, Array, Array]) -> tuple[Any, ...]:
            d, d_before, f, _ = carry
            a, b, m, g = stages[index, j]
            d_next = a * d + b * d_before + control * (m * f + g * slope)
            return d_next, d, field(t0 + nodes[index, j] * h, start + d_next), f

        zero = jnp.zeros_like(start)
        d, d_before, f, f_before = lax.fori_loop(0, num_stages, stage, (zero, zero, slope, slope))
        every = Stages(
            start,
            d,
            d_before,
            control * jnp.stack([slope, f_before, f]),
            jnp.asarray(family.error, start.dtype)[index],
        )
        error, dense, history = self.estimate_error(t0, t1, every, solver_state.history)

        # A step that leaves the field's domain, or that cannot be stable, has no result. Its error
        # is infinite, so that the controller rejects the step. Its end is not-a-number: with an
        # infinite end the controller's ratio of error to size would be not-a-number.
        ok = stable & jnp.all(jnp.isfinite(d) & jnp.isfinite(f) & jnp.isfinite(error))
        y1 = unravel(jnp.where(ok, start + d, jnp.nan))
        return (
            y1,
            unravel(jnp.where(ok, error, jnp.inf)),
            {"y0": y0, "y1": y1, **{k: unravel(v) if v.ndim else v for k, v in dense.items()}},
            StabilisedState(f, vector, radius, age, work(num_stages + cold, num_products), history),
            cast(diffrax.RESULTS, diffrax.RESULTS.successful),
        )


class RKC2(AbstractStabilised):
    r"""Runge--Kutta--Chebyshev: explicit, second order, for spectra near the negative axis.

    With $s$ stages a step is stable for eigenvalues in $[-\beta(s)/h, 0]$ with
    $\beta(s) \approx 0.65\,s^2$. An unstabilised method of the same cost reaches only $O(s)$.
    Outside a neighbourhood of zero $|R|$ is at most about 0.95, which leaves room for small
    imaginary parts. Every step uses the fewest stages that are stable for the estimated spectral
    radius of the field's Jacobian.

    A step costs $s$ evaluations of the field. Every few steps the radius is estimated with one to
    three Jacobian products; if the fewest stages suffice for twice the radius, every 25 steps. The
    first step, and a step after a jump, cost one evaluation and some tens of products more. A step
    holds eight vectors of the size of the state. If `max_stages` do not suffice, the step has the
    result not-a-number and an infinite error, and an adaptive controller shortens it. With
    constant steps the solution is then not-a-number.

    The error estimate is that of the method's own third-order term, so the error at the end is
    proportional to the tolerance to the power 2/3. In single precision the error is at least about
    $10^{-7} h \rho \|y\|$.

    - **Takes** `max_stages`; `safety`, a factor for the estimated radius, because power iteration
        underestimates it. State and field are pytrees of real arrays. The number of stages is
        dynamic, so derivatives of a solution need `diffrax.ForwardMode`.
    - **Raises** `InputError` unless `max_stages` is from 2 to 500 and `safety` at least 1.
    - **Reference** Sommeijer, Shampine & Verwer, J. Comput. Appl. Math. 88 (1998),
        315--326, with their $\varepsilon = 2/13$; checked against the code in
        OrdinaryDiffEq.jl. Here $\beta(s)$ is exact, where they use about $0.653\,s^2$. Above 25
        stages only degrees 4 % apart are used.
    """

    bounds: ClassVar[tuple[int, int]] = (2, 500)

    max_stages: int = eqx.field(default=200, static=True)
    safety: float = 1.2

    @property
    def family(self) -> Family:
        return chebyshev(self.max_stages)

    def error_order(self, terms: Any) -> int:
        del terms
        return 3


def degrees_up_to(last: int, first: int) -> np.ndarray:
    """Degrees from `first` to `last`: all of the small ones, then degrees 4 % apart."""
    degrees = [first]
    while degrees[-1] < last:
        degrees.append(min(max(degrees[-1] + 1, round(1.04 * degrees[-1])), last))
    return np.array(degrees)


@lru_cache
def chebyshev(max_stages: int) -> Family:
    """The RKC formulas for all degrees at once; `j` counts stages, from 0."""
    s = degrees_up_to(max_stages, RKC2.bounds[0])
    w0 = 1 + 2 / 13 / s**2
    # Chebyshev polynomials at w0 and their first two derivatives, shape (stages + 1, k).
    t, dt, ddt = [np.ones_like(w0), w0], [0 * w0, np.ones_like(w0)], [0 * w0, 0 * w0]
    for _ in range(2, max_stages + 1):
        t.append(2 * w0 * t[-1] - t[-2])
        dt.append(2 * w0 * dt[-1] - dt[-2] + 2 * t[-2])
        ddt.append(2 * w0 * ddt[-1] - ddt[-2] + 4 * dt[-2])
    at_s = s, np.arange(len(s))
    w1 = np.stack(dt)[at_s] / np.stack(ddt)[at_s]
    b = np.stack(ddt)[2:] / np.stack(dt)[2:] ** 2
    b = np.concatenate([b[:1], b[:1], b])

    stages = np.zeros((len(s), max_stages, 4))
    stages[:, 0, 2] = b[1] * w1
    for j in range(2, max_stages + 1):
        m = 2 * w1 * b[j] / b[j - 1]
        lag = 1 - b[j - 1] * t[j - 1]
        columns = [2 * w0 * b[j] / b[j - 1], -b[j] / b[j - 2], m, -lag * m]
        stages[:, j - 1] = np.stack(columns, axis=1)
    error = np.tile([-0.8, 0, 0.4, 0, 0.4], (len(s), 1))
    return family(s, (1 + w0) / w1, stages, error)


def family(
    degrees: np.ndarray, intervals: np.ndarray, stages: np.ndarray, error: np.ndarray
) -> Family:
    """A family whose nodes come from solving y' = 1, with zeros beyond each degree."""
    stages[np.arange(stages.shape[1]) >= degrees[:, None]] = 0
    nodes = np.zeros((len(degrees), stages.shape[1] + 2))
    for j, (a, b, m, g) in enumerate(stages.transpose(1, 2, 0)):
        nodes[:, j + 2] = a * nodes[:, j + 1] + b * nodes[:, j] + m + g
    return Family(degrees, intervals, stages, nodes[:, 2:], error)

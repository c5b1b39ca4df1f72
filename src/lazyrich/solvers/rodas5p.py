"""Rodas5P: a stiffly accurate Rosenbrock method with an optional user-supplied Jacobian."""

from collections.abc import Callable
from typing import Any, ClassVar, NamedTuple, cast

import diffrax
import jax
import jax.flatten_util
import jax.numpy as jnp
import jax.scipy.linalg as jsl
import numpy as np
from jax import lax
from jaxtyping import Array, Float, PyTree

_GAMMA = 0.21193756319429014
_END = [
    -7.502846399306121,
    2.561846144803919,
    -11.627539656261098,
    -0.18268767659942256,
    0.030198172008377946,
]
_A = [
    [],
    [3.0],
    [2.849394379747939, 0.45842242204463923],
    [-6.954028509809101, 2.489845061869568, -10.358996098473584],
    [2.8029986275628964, 0.5072464736228206, -0.3988312541770524, -0.04721187230404641],
    _END,
    [*_END, 1.0],
    [*_END, 1.0, 1.0],
]
_C = [
    [],
    [-14.155112264123755],
    [-17.97296035885952, -2.859693295451294],
    [147.12150275711716, -1.41221402718213, 71.68940251302358],
    [165.43517024871676, -0.4592823456491126, 42.90938336958603, -5.961986721573306],
    [
        24.854864614690072,
        -3.0009227002832186,
        47.4931110020768,
        5.5814197821558125,
        -0.6610691825249471,
    ],
    [
        30.91273214028599,
        -3.1208243349937974,
        77.79954646070892,
        34.28646028294783,
        -19.097331116725623,
        -28.087943162872662,
    ],
    [
        37.80277123390563,
        -3.2571969029072276,
        112.26918849496327,
        66.9347231244047,
        -40.06618937091002,
        -54.66780262877968,
        -9.48861652309627,
    ],
]
_NODES = [
    0,
    0.6358126895828704,
    0.4095798393397535,
    0.9769306725060716,
    0.4288403609558664,
    1,
    1,
    1,
]
_TIME_WEIGHTS = [
    0.21193756319429014,
    -0.42387512638858027,
    -0.3384627126235924,
    1.8046452872882734,
    2.325825639765069,
    0,
    0,
    0,
]
_DENSE = [
    [
        25.948786856663858,
        -2.5579724845846235,
        10.433815404888879,
        -2.3679251022685204,
        0.524948541321073,
        1.1241088310450404,
        0.4272876194431874,
        -0.17202221070155493,
    ],
    [
        -9.91568850695171,
        -0.9689944594115154,
        3.0438037242978453,
        -24.495224566215796,
        20.176138334709044,
        15.98066361424651,
        -6.789040303419874,
        -6.710236069923372,
    ],
    [
        11.419903575922262,
        2.8879645146136994,
        72.92137995996029,
        80.12511834622643,
        -52.072871366152654,
        -59.78993625266729,
        -0.15582684282751913,
        4.883087185713722,
    ],
]


def _strict(rows: list[list[float]]) -> np.ndarray:
    """The rows of a strictly lower triangle as a square matrix."""
    return np.stack([np.pad(row, (0, len(rows) - len(row))) for row in rows])


class Linearisation(NamedTuple):
    """A vector field and its first derivatives at one point, the state raveled to `(n,)`.

    `measure` maps a raveled error to the quantity that the step size controller uses.
    """

    value: Float[Array, " n"]
    time_derivative: Float[Array, " n"]
    jacobian: Float[Array, "n n"]
    measure: Callable[[Float[Array, " n"]], Float[Array, " n"]]


class _Quartic(diffrax.AbstractLocalInterpolation):
    """The continuous extension of the method, of fourth order."""

    t0: Any  # type: ignore[misc]  # diffrax declares these as abstract variables
    t1: Any  # type: ignore[misc]
    y0: PyTree[Array]
    y1: PyTree[Array]
    slopes: PyTree[Array]  # leading axis 3

    def evaluate(self, t0: Any, t1: Any = None, left: bool = True) -> PyTree[Array]:
        if t1 is not None:
            return jax.tree.map(jnp.subtract, self.evaluate(t1), self.evaluate(t0))
        del left
        s = (t0 - self.t0) / (self.t1 - self.t0)

        def one(y0: Array, y1: Array, k: Array) -> Array:
            return (1 - s) * y0 + s * (y1 + (1 - s) * (k[0] + s * (k[1] + s * k[2])))

        return jax.tree.map(one, self.y0, self.y1, self.slopes)


class Rodas5P(diffrax.AbstractAdaptiveSolver[None]):
    r"""Eight-stage Rosenbrock--Wanner method of order 5 with an embedded order 4.

    The method is stiffly accurate and A-stable with $R(\infty) = 0$, so only accuracy limits the
    step. The continuous extension has order 4. A step costs eight evaluations of the vector field,
    one Jacobian, one LU factorisation of an $n \times n$ matrix and eight back-substitutions,
    where $n$ is the number of state entries. The method suits small states, and states with a
    cheap Jacobian.

    - **Takes** `linearise(t, y, args)`, which returns a
        [`Linearisation`][lazyrich.solvers.Linearisation]. It describes the field forwards in
        time, whatever the direction in which diffrax solves. By default automatic differentiation
        gives the derivatives, and errors are used as they are.
    - **Reference** Steinebach, BIT Numer. Math. 63 (2023), 27: the coefficients,
        in the transformed variables of Hairer & Wanner II, (IV.7.25).
    """

    term_structure: ClassVar = diffrax.AbstractTerm
    interpolation_cls: ClassVar = _Quartic

    linearise: Callable[..., Linearisation] | None = None

    def order(self, terms: Any) -> int:
        del terms
        return 5

    def init(self, terms: Any, t0: Any, t1: Any, y0: Any, args: Any) -> None:
        del terms, t0, t1, y0, args

    def func(self, terms: Any, t0: Any, y0: Any, args: Any) -> Any:
        return terms.vf(t0, y0, args)

    def step(
        self,
        terms: Any,
        t0: Any,
        t1: Any,
        y0: Any,
        args: Any,
        solver_state: None,
        made_jump: Any,
    ) -> tuple[Any, Any, dict[str, Any], None, diffrax.RESULTS]:
        del made_jump
        h = t1 - t0
        # diffrax solves backwards by negating the control, not the vector field.
        direction = terms.contr(t0, t1) / h
        start, unravel = jax.flatten_util.ravel_pytree(y0)

        def field(t: Any, y: Array) -> Array:
            return direction * jax.flatten_util.ravel_pytree(terms.vf(t, unravel(y), args))[0]

        if self.linearise is None:
            at = _differentiate(field, t0, start)
        else:
            at = self.linearise(t0, y0, args)

        shifted = jnp.eye(start.size, dtype=start.dtype) / (h * _GAMMA) - at.jacobian
        # `lu_solve` would compute the permutation again in every stage.
        factor, _, permutation = lax.linalg.lu(shifted)
        before, coupling = (jnp.asarray(_strict(rows), start.dtype) for rows in (_A, _C))
        nodes, weights = jnp.asarray(_NODES, start.dtype), jnp.asarray(_TIME_WEIGHTS, start.dtype)

        def stage(i: Any, value: Array, stages: Array) -> Array:
            right = value + coupling[i] @ stages / h + h * weights[i] * at.time_derivative
            half = jsl.solve_triangular(factor, right[permutation], lower=True, unit_diagonal=True)
            return stages.at[i].set(jsl.solve_triangular(factor, half))

        # A loop, so that the vector field is compiled once and not seven times.
        def later_stage(i: Any, stages: Array) -> Array:
            y = start + before[i] @ stages
            return stage(i, field(t0 + nodes[i] * h, y), stages)

        stages = stage(0, at.value, jnp.zeros((8, start.size), start.dtype))
        stages = lax.fori_loop(1, 8, later_stage, stages)
        end = start + before[7] @ stages + stages[7]
        # Outside the field's domain the error is infinite instead of NaN: the controller then
        # rejects the step and shortens it by the largest allowed factor.
        ok = jnp.all(jnp.isfinite(end))
        error = jnp.where(ok, at.measure(stages[7]), jnp.inf)
        slopes = jnp.asarray(_DENSE, start.dtype) @ stages
        y1 = unravel(end)
        dense = {"y0": y0, "y1": y1, "slopes": jax.vmap(unravel)(slopes)}
        return (
            y1,
            unravel(error),
            dense,
            solver_state,
            cast(diffrax.RESULTS, diffrax.RESULTS.successful),
        )


def _differentiate(
    field: Callable[[Any, Array], Array], t: Any, y: Float[Array, " n"]
) -> Linearisation:
    value, slope = jax.jvp(lambda t: field(t, y), (t,), (jnp.ones_like(t),))
    return Linearisation(value, slope, jax.jacfwd(lambda y: field(t, y))(y), lambda e: e)

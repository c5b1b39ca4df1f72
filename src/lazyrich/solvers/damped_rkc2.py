"""RKC2 for fields with kinks: more damping, and an error that does not amplify their noise."""

from typing import Any, ClassVar, NamedTuple

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, PyTree

from .rkc2 import AbstractStabilised, Family, Stages, chebyshev

# Stages squared over the noise seen. At 4 what is left of the noise is a third of the error; at 30
# modular addition with 256 ReLUs takes half the steps of that, and its crossing times are within
# 0.5 % of their limit.
_DAMPING = 30.0


def _over(part: Float[Array, " n"], whole: Float[Array, " n"]) -> Float[Array, ""]:
    """The ratio of two norms, 1 where there is none."""
    ratio = jnp.linalg.norm(part) / jnp.linalg.norm(whole)
    return jnp.where(jnp.isfinite(ratio), ratio, 1.0)


class Past(NamedTuple):
    """The two points before the last, the later one first; not-a-number where there was none."""

    times: Float[Array, "2"]
    states: Float[Array, "2 n"]
    noise: Float[Array, ""]  # RKC2's error over this method's in the last step


class NewtonInterpolation(diffrax.AbstractLocalInterpolation):
    """The cubic through both ends of a step and the two points before it, in Newton's form."""

    t0: Any  # type: ignore[misc]  # diffrax declares these as abstract variables
    t1: Any  # type: ignore[misc]
    y0: PyTree
    y1: PyTree
    second: PyTree  # divided difference over t0, t1 and the point before
    third: PyTree  # and over the one before that
    gap: Float[Array, ""]  # from the point before to t0

    def evaluate(self, t0: Any, t1: Any | None = None, left: bool = True) -> PyTree:
        del left
        if t1 is not None:
            return jax.tree.map(jnp.subtract, self.evaluate(t1), self.evaluate(t0))
        done, to_come = t0 - self.t0, t0 - self.t1
        fraction = done / (self.t1 - self.t0)

        def at(y0: Array, y1: Array, second: Array, third: Array) -> Array:
            bend = second + (done + self.gap) * third
            return y0 + fraction * (y1 - y0) + done * to_come * bend

        return jax.tree.map(at, self.y0, self.y1, self.second, self.third)


class DampedRKC2(AbstractStabilised):
    r"""RKC2 for gradient flows of nets with kinks, such as those of ReLUs.

    Late in training many preactivations sit at a kink: the flow slides along it, and every
    evaluation of the field sees the one or the other side. Two things then keep the steps of
    [`RKC2`][lazyrich.solvers.RKC2] short for no gain. Its stages damp what the spectral radius
    shows, but a kink is stiffer, and is damped by more stages only: the step's end then
    chatters by a part $1/s^2$ of its length. And its error has $h\,(F_0 + F_s)$ in it, a step
    times the field's noise, however little of it is left in the state.

    Here the error is $\frac{1}{15} h^3 y'''$, that of the method, with $y'''$ from the third
    divided difference of this step's end, its start and the two points before; the first two
    steps take RKC2's. The ratio $q$ of RKC2's error to it, one for a smooth field, shows the noise,
    and a step has at least $\sqrt{30 q}$ stages, $q$ being that of the step before. The dense
    output is the cubic through the same points. Order and stability are those of RKC2; a step
    costs as many evaluations of the field as it has stages.

    - **Takes** `max_stages`, `safety`, as [`RKC2`][lazyrich.solvers.RKC2] does.
    - **Raises** `InputError` unless `max_stages` is from 2 to 500 and `safety` at least 1.
    """

    interpolation_cls: ClassVar[Any] = NewtonInterpolation
    bounds: ClassVar[tuple[int, int]] = (2, 500)

    max_stages: int = eqx.field(default=200, static=True)
    safety: float = 3.0

    @property
    def family(self) -> Family:
        return chebyshev(self.max_stages)

    def error_order(self, terms: Any) -> int:
        del terms
        return 3

    def no_past(self, like: Float[Array, " n"]) -> Past:
        # Of a strong type, as it stays: otherwise the second step is compiled anew.
        nowhere = jnp.full(2, jnp.nan, jnp.result_type(float))
        return Past(nowhere, jnp.zeros((2, *like.shape), like.dtype), jnp.ones((), like.dtype))

    def raised(self, index: Int[Array, ""], past: Past) -> Int[Array, ""]:
        degrees = self.family.degrees
        enough = jnp.searchsorted(jnp.asarray(degrees), jnp.sqrt(_DAMPING * past.noise))
        return jnp.where(index < len(degrees), jnp.clip(enough, index, len(degrees) - 1), index)

    def judge(
        self, t0: Any, t1: Any, stages: Stages, past: Past
    ) -> tuple[Float[Array, " n"], dict[str, Array], Past]:
        at_first = super().judge(t0, t1, stages, None)[0]
        dtype, h = stages.start.dtype, t1 - t0
        one, two = t0 - past.times
        now = stages.moved / jnp.asarray(h, dtype)
        before = (stages.start - past.states[0]) / jnp.asarray(one, dtype)
        long_before = (past.states[0] - past.states[1]) / jnp.asarray(two - one, dtype)
        second = (now - before) / jnp.asarray(h + one, dtype)
        third = (second - (before - long_before) / jnp.asarray(two, dtype)) / jnp.asarray(
            h + two, dtype
        )
        has_one, has_two = jnp.isfinite(past.times)
        error = jnp.where(has_two, jnp.asarray(0.4 * h**3, dtype) * third, at_first)
        dense = {
            "second": jnp.where(has_one, second, 0.0),
            "third": jnp.where(has_two, third, 0.0),
            "gap": jnp.where(has_one, one, 0.0),
        }
        kept = Past(
            jnp.stack([jnp.asarray(t0, past.times.dtype), past.times[0]]),
            jnp.stack([stages.start, past.states[0]]),
            jnp.where(has_two, _over(at_first, error), 1.0),
        )
        return error, dense, kept

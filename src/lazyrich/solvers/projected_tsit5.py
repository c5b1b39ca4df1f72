"""Tsit5 on a manifold: every step is projected back onto it."""

import abc
from typing import Any, ClassVar, NamedTuple

import diffrax
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

from ._work import AbstractCounting, Work, work

# The error inside a step, where records are made, over the error at its end, as for `WatchedTsit5`.
_INTERIOR_ERROR = 2.0


class AbstractManifoldTerm(diffrax.AbstractTerm[Any, Any]):
    """A vector field that is tangent to a manifold, with the projection onto the manifold."""

    @abc.abstractmethod
    def project(self, y: PyTree) -> tuple[PyTree, Float[Array, ""]]:
        """A state on the manifold near `y`, and its remaining distance from the constraints."""

    @property
    @abc.abstractmethod
    def field_work(self) -> Work:
        """The work of an evaluation of the vector field."""

    @property
    @abc.abstractmethod
    def projection_work(self) -> Work:
        """The work of a projection."""


class ProjectedState(NamedTuple):
    """The state that one step passes to the next."""

    inner: Any
    work: Work


class ProjectedTsit5(AbstractCounting, diffrax.AbstractAdaptiveSolver[ProjectedState]):
    r"""A step of diffrax's `Tsit5`, and then a projection onto the manifold.

    The projection moves a state by no more than the error of the step, so the order is that of
    `Tsit5`. A stabilising force in the vector field would have to be fast compared with the field
    and would make it stiff; the projection does not limit the step. A step that cannot be
    projected counts as an infinite error, and is repeated with a shorter length.

    - **Takes** `allowed`, the largest distance from the constraints after a projection. The term
        must be an `AbstractManifoldTerm`.
    - **Reference** Hairer, Lubich & Wanner, Geometric Numerical Integration, 2nd ed., IV.4:
        "standard projection method".
    """

    term_structure: ClassVar = diffrax.AbstractTerm
    interpolation_cls: ClassVar[Any] = diffrax.Tsit5.interpolation_cls

    allowed: float | Float[Array, ""] = 1e-6

    def order(self, terms: Any) -> int:
        return diffrax.Tsit5().order(terms)

    def error_order(self, terms: Any) -> Any:
        return diffrax.Tsit5().error_order(terms)

    def init(self, terms: Any, t0: Any, t1: Any, y0: Any, args: Any) -> ProjectedState:
        return ProjectedState(diffrax.Tsit5().init(terms, t0, t1, y0, args), work())

    def func(self, terms: Any, t0: Any, y0: Any, args: Any) -> Any:
        return terms.vf(t0, y0, args)

    def step(
        self,
        terms: Any,
        t0: Any,
        t1: Any,
        y0: Any,
        args: Any,
        solver_state: ProjectedState,
        made_jump: Any,
    ) -> tuple[Any, Any, dict[str, Any], ProjectedState, diffrax.RESULTS]:
        first = solver_state.inner[0]
        # The slope at the end is that before the projection, which changes it by less than the
        # error of the step.
        y1, error, dense, inner, result = diffrax.Tsit5().step(
            terms, t0, t1, y0, args, solver_state.inner, made_jump
        )
        y1, distance = terms.project(y1)
        factor = jnp.where(distance <= self.allowed, _INTERIOR_ERROR, jnp.inf)
        error = jax.tree.map(lambda e: factor * e, error)
        num_fields = 6 + jnp.asarray(first, jnp.int32)
        taken = jax.tree.map(
            lambda field, once: num_fields * field + once, terms.field_work, terms.projection_work
        )
        return y1, error, dense, ProjectedState(inner, taken), result

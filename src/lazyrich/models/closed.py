"""Models by the statistics of their parameters in which their flow closes."""

from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

import jax
import jax.numpy as jnp

from .._core.errors import InputError
from .._core.precision import promoted
from ._base import AbstractModel
from .committee_closure import AbstractCommitteeClosure
from .committee_machine import CommitteeMachine
from .committee_statistics import CommitteeStatistics, Statistics
from .condensed_committee import Condensed, CondensedCommittee
from .wrappers.centred import Centred
from .wrappers.linearised import Expansion


class Closed(NamedTuple):
    """A model in other numbers, and these."""

    model: AbstractModel
    params: Any


@promoted
def closed(model: AbstractModel, params: Any) -> Closed:
    """The same function in the statistics that it and its flow hang on.

    - **Takes** a [`CommitteeMachine`][lazyrich.models.CommitteeMachine] with frozen readouts,
        [`Centred`][lazyrich.models.Centred] or not, and its parameters; what is closed
        already is returned as it is.
    - **Raises** [`InputError`][lazyrich.InputError] for other models.
    """
    if isinstance(model, Centred):
        return _inside(closed, model, params)
    if isinstance(model, CommitteeStatistics):
        return Closed(model, params)
    if isinstance(model, CondensedCommittee):
        mean, rest = params.mean / jnp.sqrt(float(model.width)), params.rest
        second = jnp.outer(mean, mean) + rest.T @ rest / model.width
        return Closed(_with_numbers_of(model, CommitteeStatistics), Statistics(mean, second))
    machine, weights = _machine(model), jnp.asarray(params)
    second = weights.T @ weights / machine.width
    statistics = Statistics(jnp.mean(weights, axis=0), second)
    return Closed(_with_numbers_of(machine, CommitteeStatistics), statistics)


@promoted
def condensed(model: AbstractModel, params: Any) -> Closed:
    """The same function, its flow and its norm in at most `d + 1` neurons, whatever its width.

    - **Takes** what [`closed`][lazyrich.models.closed] takes; what is condensed already is
        returned as it is.
    - **Raises** [`InputError`][lazyrich.InputError] for other models.
    """
    if isinstance(model, Centred):
        return _inside(condensed, model, params)
    if isinstance(model, CondensedCommittee):
        return Closed(model, params)
    machine, weights = _machine(model), jnp.asarray(params)
    mean = jnp.mean(weights, axis=0)
    # Turned so that all neurons but the first D are zero; the mean is in none of them.
    rest = jnp.linalg.qr(weights - mean[None], mode="r")
    found = Condensed(jnp.sqrt(float(machine.width)) * mean, rest)
    return Closed(_with_numbers_of(machine, CondensedCommittee), found)


def _inside(
    make: Callable[[AbstractModel, Any], Closed], model: Centred, params: Expansion
) -> Closed:
    """What is centred in other numbers, at its parameters and at those of its start."""
    moved, origin = make(model.model, params.moved), make(model.model, params.origin)
    return Closed(Centred(model=moved.model), Expansion(moved.params, origin.params))


def _machine(model: AbstractModel) -> CommitteeMachine:
    """The model as the one kind whose flow closes."""
    if not isinstance(model, CommitteeMachine) or not closes(model):
        accepted = f"needs a CommitteeMachine with frozen readouts, not {type(model).__name__}"
        raise InputError("dynamics.closure", True, accepted)
    return model


_T = TypeVar("_T", CommitteeStatistics, CondensedCommittee)


def _with_numbers_of(model: Any, kind: type[_T]) -> _T:
    is_machine = isinstance(model, CommitteeMachine)
    return kind(
        width=model.width,
        epsilon=model.epsilon,
        output_scale=model.output_scale,
        root_d=model.inputs == "over_root_d" if is_machine else model.root_d,
    )


def closes(model: AbstractModel) -> bool:
    """Whether a model has such statistics."""
    if isinstance(model, Centred):
        return closes(model.model)
    if isinstance(model, CommitteeMachine):
        return model.readouts == "frozen"
    return is_closed(model)


@promoted
def statistics_of(model: AbstractModel, params: Any) -> tuple[CommitteeStatistics, Any]:
    r"""The statistics behind the outputs: $f$ is linear in them.

    - **Returns** their model and $(\bar w, M)$ of the parameters, less those of the start where
        the model is centred.
    """
    found = closed(model, params)
    if isinstance(found.model, Centred):
        assert isinstance(found.model.model, CommitteeStatistics)
        gap = jax.tree.map(jnp.subtract, found.params.moved, found.params.origin)
        return found.model.model, gap
    assert isinstance(found.model, CommitteeStatistics)
    return found.model, found.params


def is_closed(model: AbstractModel) -> bool:
    """Whether the model is in statistics of parameters, and not in parameters of its own."""
    inner = model.model if isinstance(model, Centred) else model
    return isinstance(inner, AbstractCommitteeClosure)

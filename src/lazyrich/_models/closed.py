"""Models by the statistics of their parameters in which their flow closes."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from .._errors import InputError
from ._base import AbstractModel
from .centred import Centred
from .committee_machine import CommitteeMachine
from .committee_statistics import CommitteeStatistics, Statistics
from .linearised import Expansion


class Closed(NamedTuple):
    """A model of statistics, and these."""

    model: AbstractModel
    params: Any


def closed(model: AbstractModel, params: Any) -> Closed:
    """The same function in the numbers that it and its flow hang on.

    - **Takes** a [`CommitteeMachine`][lazyrich.models.CommitteeMachine] with frozen readouts,
        [`Centred`][lazyrich.models.Centred] or not, and its parameters; what is closed
        already is returned as it is.
    - **Raises** [`InputError`][lazyrich.InputError] for other models.
    """
    if isinstance(model, Centred):
        moved = closed(model.model, params.moved)
        origin = closed(model.model, params.origin)
        return Closed(Centred(model=moved.model), Expansion(moved.params, origin.params))
    if isinstance(model, CommitteeStatistics):
        return Closed(model, params)
    if not closes(model):
        accepted = f"needs a CommitteeMachine with frozen readouts, not {type(model).__name__}"
        raise InputError("dynamics.closure", True, accepted)
    assert isinstance(model, CommitteeMachine)
    statistics = CommitteeStatistics(
        width=model.width,
        epsilon=model.epsilon,
        output_scale=model.output_scale,
        root_d=model.inputs == "over_root_d",
    )
    weights = jnp.asarray(params)
    second = weights.T @ weights / model.width
    return Closed(statistics, Statistics(jnp.mean(weights, axis=0), second))


def closes(model: AbstractModel) -> bool:
    """Whether a model has such statistics."""
    if isinstance(model, Centred):
        return closes(model.model)
    if isinstance(model, CommitteeMachine):
        return model.readouts == "frozen"
    return isinstance(model, CommitteeStatistics)


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
    """Whether the model is one of statistics."""
    return isinstance(model.model if isinstance(model, Centred) else model, CommitteeStatistics)

"""Questions to a model, as functions of it."""

from typing import Any

from ._base import AbstractModel, Posed


def closes(model: AbstractModel) -> bool:
    """Whether outputs and their flow hang on statistics of the parameters alone."""
    return model.closes


def condensed(model: AbstractModel, params: Any) -> Posed:
    """The same function in few neurons."""
    return model.condensed(params)


def statistics_of(model: AbstractModel, params: Any) -> Any:
    """The statistics behind the outputs, and their model."""
    return model.statistics(params)

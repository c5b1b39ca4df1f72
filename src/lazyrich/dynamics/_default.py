"""The dynamics of an experiment that names none."""

from ..models import AbstractModel
from ._base import AbstractDynamics
from .diagonal.reduced_flow import ReducedFlow
from .flow import Flow


def default_dynamics(model: AbstractModel) -> AbstractDynamics:
    """The gradient flow of a model, by its exact reduction if it has one."""
    return ReducedFlow() if model.diagonal_depth is not None else Flow()

"""The linearised counterpart of an experiment."""

from typing import Literal

from ..dynamics import Flow
from ..models import Linearised
from .experiment import Experiment, check_experiment


def linearise(
    experiment: Experiment, base_point: Literal["fixed", "decaying"] = "fixed"
) -> Experiment:
    """The same experiment with the model's first-order Taylor expansion around its initialisation.

    Data, initial parameters, loss, scales, dynamics, times and probes are the same, so the two
    records can be compared at equal times. A linearised model has no reduction:
    [`ReducedFlow`][lazyrich.dynamics.ReducedFlow] is replaced by
    [`Flow`][lazyrich.dynamics.Flow].

    - **Takes** `base_point` as [`Linearised`][lazyrich.models.Linearised]. If you give `params`
        of your own to [`simulate`][lazyrich.simulate] for an experiment linearised around them,
        give it `twin.model.expand(params)`.
    """
    check_experiment(experiment)
    model, dynamics = Linearised(model=experiment.model, base_point=base_point), experiment.dynamics
    changes = {
        "model": model,
        "dynamics": dynamics if dynamics.can_follow(model) else Flow(),
        "name": f"{experiment.name}, linearised",
        "published": None,
    }
    return experiment.model_copy(update=changes)

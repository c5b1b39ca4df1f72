"""The linearised twin of an experiment."""

from typing import Literal

from ..dynamics import Flow, ReducedFlow
from ..models import Linearised
from .experiment import Experiment


def linearise(
    experiment: Experiment, base_point: Literal["fixed", "decaying"] = "fixed"
) -> Experiment:
    """The same experiment on the model's first-order Taylor expansion around its start.

    Data, initial parameters, loss, scales, dynamics, times and probes are the same, so its
    record and the experiment's can be laid over one another. A twin has no reduction: in the
    place of [`ReducedFlow`][lazyrich.dynamics.ReducedFlow] it is followed by
    [`Flow`][lazyrich.dynamics.Flow].

    - **Takes** `base_point` as [`Linearised`][lazyrich.models.Linearised]. To
        [`simulate`][lazyrich.simulate] a twin around `params` of your own, pass it
        `twin.model.expand(params)`.
    """
    reduced = isinstance(experiment.dynamics, ReducedFlow)
    changes = {
        "model": Linearised(model=experiment.model, base_point=base_point),
        "dynamics": Flow() if reduced else experiment.dynamics,
        "name": f"{experiment.name}, linearised",
        "published": None,
    }
    return experiment.model_copy(update=changes)

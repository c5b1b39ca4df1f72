"""The forecast of a run by Adam or AdamW without pilots: nothing is computed."""

import math
from typing import Any

import numpy as np

from ..experiments.experiment import Experiment
from ..records.summary import textbook_of
from .advice import advice_of
from .calibration import families
from .phase import Clock
from .verdict import Scores

_NONE = (math.nan, math.nan)


def needs_pilots(experiment: Experiment) -> bool:
    """Whether the kernel flow says nothing of the run, because its steps rescale gradients."""
    return experiment.dynamics.rescales_gradients


def no_gradient_step(experiment: Experiment) -> str:
    """Why the kernel flow says nothing of the run, as a part of a sentence."""
    return f"a step of {experiment.dynamics.kind_name()} is not proportional to the gradient"


def without_pilots(experiment: Experiment) -> dict[str, Any]:
    """The fields of the [`Forecast`][lazyrich.Forecast] that says so. All numbers are unknown."""
    unknown = np.full(1, math.nan)
    text = f"{no_gradient_step(experiment)}, so the kernel flow does not forecast it, and nothing"
    return {
        "experiment": experiment.name,
        "experiment_hash": experiment.content_hash,
        "verdict": "cannot_say",
        "confidence": "low",
        "outcome": None,
        "reasons": (f"{text} was computed",),
        "advice": advice_of("cannot_say", "low", None, _NONE, experiment, solved=False),
        "t_kernel_end": math.nan,
        "t50": math.nan,
        "t50_interval": _NONE,
        "t_fit": math.nan,
        "textbook": textbook_of(experiment),
        "textbook_per_coordinate": math.nan,
        "early": {},
        "late": {},
        "family": families()["unknown"],
        "times": np.zeros(1),
        "indicator": unknown,
        "phi_ratio": unknown,
        "curves": {},
        "ending": "completed",
        "method": "nothing",
        "seconds": {},
        "num_steps": 0,
        "num_gradients": 0,
        "clock": Clock(np.zeros(1), unknown, math.nan),
        "scores": Scores(math.nan, math.nan),
    }

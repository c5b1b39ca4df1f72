"""Prepared problems: experiments with their data, initial parameters and predictors."""

import dataclasses
from collections import OrderedDict
from collections.abc import Hashable, Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp

from .._core.compiled import forget_if_much
from .._core.precision import Precision
from ..dynamics import Problem
from ..experiments.experiment import Experiment
from ..experiments.identity import Met, canonical, check_distinct, explicit, forget_stale
from .data import SharedData, posed

# The number of data sets kept for later batches, and the most bytes that they may take.
_MAX_SHARED, _MAX_BYTES = 4, 2**28


@dataclasses.dataclass(frozen=True)
class PreparedProblem:
    r"""An experiment with its flow, and the data that it shares with other runs.

    - `problem`, the flow from $\theta(0)$; `own_params`, the initial parameters if the user passed
        them, otherwise None.
    - `begin`, the time at which the solve starts, and `reached`, the parameters at this time. They
        are zero and None, except for a run that continues a record or a forecast.
    """

    experiment: Experiment
    problem: Problem
    data: SharedData
    own_params: Any = None
    begin: float = 0.0
    reached: Any = None

    @property
    def to_solve(self) -> Problem:
        """The problem for the solver: in the precision of the run, from the time `begin`."""
        problem = self.problem
        if self.reached is not None:
            start = jax.tree.map(jnp.asarray, self.reached)
            own = problem.params
            problem = eqx.tree_at(lambda p: p.params, problem, start, is_leaf=lambda x: x is own)
        precision = self.precision
        return problem if precision.is_double else problem.in_precision(precision)

    @property
    def precision(self) -> Precision:
        """The floating types of the run. The prepared problem itself is in float64."""
        return Precision(self.experiment.precision)

    def going_on(self, params: Any, begin: float) -> "PreparedProblem":
        """The same run, solved from the time `begin` with the parameters `params`."""
        return dataclasses.replace(self, reached=params, begin=begin)


def prepare(experiment: Experiment, params: Any = None) -> PreparedProblem:
    """Prepares one experiment. With initial parameters `params`, nothing is shared.

    - **Raises** [`InputError`][lazyrich.InputError] if the experiment cannot be run.
    """
    if params is None:
        return prepare_all([experiment])[0]
    _check_identities([experiment])
    data = SharedData.of(experiment, params)
    return PreparedProblem(experiment, data.problem, data, params)


_kept: OrderedDict[Hashable, SharedData] = OrderedDict()


def prepare_all(experiments: Sequence[Experiment]) -> list[PreparedProblem]:
    """Prepares experiments. Data that they share, or share with earlier ones, are made once."""
    found: dict[Hashable, SharedData] = {}
    _check_identities(experiments)
    keys = [key_of_data(experiment) for experiment in experiments]
    for key in [k for k, data in _kept.items() if data.num_bytes > _MAX_BYTES and k not in keys]:
        del _kept[key]
    for key, experiment in zip(keys, experiments, strict=True):
        if key not in found:
            found[key] = _kept.pop(key) if key in _kept else SharedData.of(experiment)
            _kept[key] = found[key]
    while len(_kept) > _MAX_SHARED:
        _kept.popitem(last=False)
    return [
        PreparedProblem(experiment, _problem_of(experiment, found[key]), found[key])
        for key, experiment in zip(keys, experiments, strict=True)
    ]


def key_of_data(experiment: Experiment) -> Hashable:
    """A key that is equal for experiments that share their data."""
    # By content, because functions that compare equal can compute different numbers.
    parts = ("task", "model", "loss")
    content = [canonical(getattr(experiment, part), part) for part in parts]
    scale = experiment.init_scale if experiment.task.labels_from_start else None
    return (*content, experiment.seed, scale)


def _check_identities(experiments: Sequence[Experiment]) -> None:
    """Rejects experiments without a hash before any computation, and drops old compilations."""
    met: Met = []
    for experiment in experiments:
        explicit(experiment.model_copy(update={"published": None}), "", met)
    check_distinct(met)
    forget_stale(met)
    forget_if_much()


def _problem_of(experiment: Experiment, data: SharedData) -> Problem:
    """The flow of an experiment with these data."""
    if experiment is data.experiment:
        return data.problem
    params = jax.tree.map(lambda p: jnp.asarray(experiment.init_scale * p), data.unscaled_params)
    return posed(experiment, data.problem.train, params)

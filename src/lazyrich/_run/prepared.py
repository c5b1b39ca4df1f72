"""What runs of one task, seed, model and loss share."""

import dataclasses
import functools
from collections import OrderedDict
from collections.abc import Hashable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from jaxtyping import Array, Float

from .._core.errors import InputError
from .._core.precision import as_double
from ..dynamics import Problem
from ..experiments.experiment import Experiment
from ..experiments.identity import Met, canonical, explicit, forget_stale
from ..experiments.sizes import check_fits
from ..models import closes, condensed, measured_homogeneity, statistics_of
from ..models._base import outputs_of
from ..predictors import Predictor
from ..probes import Setting, follows_twin, twin_of
from ..tasks import Blocks, PolynomialRegression, Samples, Split
from .measure import Columns, gathered, outputs_of_references, reference_table, scales_of
from .references import references

# Grounds kept from one batch of runs to the next.
_MAX_GROUNDS = 4


class Ground:
    """Data and start of an experiment, checked, and its predictors.

    Runs that differ from it in `init_scale`, `weight_decay`, `t1` and what is recorded alone stand
    on the same ground: predictors hang on the start's direction, not on its scale.
    """

    def __init__(self, experiment: Experiment, params: Any = None):
        _check_identity(experiment)
        self.experiment = experiment
        check_fits(experiment)
        data_key, self._init_key = jr.split(jr.key(experiment.seed))
        if experiment.task.drawn_with_model:
            data_key = self._init_key
        self.data_key = data_key
        self.split: Split = experiment.task.sample_for(data_key, experiment.loss.takes)
        if experiment.task.labels_from_start:
            start = _start_of(experiment, self._init_key, self.split.train.x.shape[1], params)
            model = experiment.model
            self.split = experiment.task.labelled(
                self.split, lambda x: model.tangent_kernel(start, x)
            )
        self.problem = build_problem(experiment, self.split.train, self._init_key, params)
        test = checked(experiment, self.problem, self.split.test)
        self.split = Split(self.problem.train, test)

    @functools.cached_property
    def predictors(self) -> dict[str, Predictor]:
        """The predictors that theory names."""
        return references(self.problem)

    @functools.cached_property
    def test(self) -> Samples:
        """All test data, in memory."""
        return gathered(self.split.test)

    @functools.cached_property
    def f_references(self) -> Float[Array, "p m"]:
        """What the predictors give on the test data."""
        return outputs_of_references(self.experiment.model, self.predictors, self.test.x)

    @functools.cached_property
    def test_bytes(self) -> int:
        """About what all test data would take in memory."""
        block = next(iter(self.split.test))
        return int(block.x.nbytes) * self.split.test.num_blocks

    @functools.cached_property
    def setting(self) -> Setting:
        """What probes are told in the run of `experiment`."""
        return setting_of(self.experiment, self.problem, self.predictors, self.test.y)[0]

    def teacher(self, problem: Problem) -> Array | None:
        """That of the labels, where the model meets inputs as they are drawn for it."""
        task = self.experiment.task
        if not closes(problem.model):
            return None
        divides = statistics_of(problem.model, problem.params)[0].root_d
        if not isinstance(task, PolynomialRegression) or divides != task.unit_inputs:
            return None
        return task.quadratic_teacher(self.data_key)

    @functools.cached_property
    def table(self) -> Columns:
        """What each predictor achieves."""
        x_train = self.problem.train.x
        return reference_table(self.predictors, self.setting, x_train, self.f_references)

    @functools.cached_property
    def scales(self) -> dict[str, float]:
        """What scores are measured against."""
        return scales_of(self.setting, self.problem.outputs, self.problem.params)

    @functools.cached_property
    def _start(self) -> Any:
        model, dim = self.experiment.model, self.problem.train.x.shape[1]
        return jax.tree.map(np.asarray, as_double(model.init(self._init_key, dim), "params"))

    def problem_of(self, experiment: Experiment) -> Problem:
        """The problem of an experiment on this ground."""
        if experiment is self.experiment:
            return self.problem
        params = jax.tree.map(lambda p: jnp.asarray(experiment.init_scale * p), self._start)
        return _posed(experiment, self.problem.train, params)


_grounds: OrderedDict[Hashable, Ground] = OrderedDict()


def grounds_of(experiments: Sequence[Experiment]) -> list[Ground]:
    """The ground of each experiment, those of the batches before at hand."""
    found: dict[Hashable, Ground] = {}
    for experiment in experiments:
        _check_identity(experiment)
    keys = [ground_key(experiment) for experiment in experiments]
    for key, experiment in zip(keys, experiments, strict=True):
        if key not in found:
            found[key] = _grounds.pop(key) if key in _grounds else Ground(experiment)
            _grounds[key] = found[key]
    while len(_grounds) > _MAX_GROUNDS:
        _grounds.popitem(last=False)
    return [found[key] for key in keys]


def _check_identity(experiment: Experiment) -> None:
    """Refuses what cannot be hashed before anything is computed, and drops stale compilations."""
    met: Met = []
    explicit(experiment.model_copy(update={"published": None}), "", met)
    forget_stale(met)


def ground_key(experiment: Experiment) -> Hashable:
    """The same for experiments on one ground."""
    # By content: two functions can be equal and compute different numbers.
    parts = ("task", "model", "loss")
    content = [canonical(getattr(experiment, part), part) for part in parts]
    scale = experiment.init_scale if experiment.task.labels_from_start else None
    return (*content, experiment.seed, scale)


def _posed(experiment: Experiment, train: Samples, params: Any) -> Problem:
    """The flow that an experiment follows from `params`."""
    decay, divisor = experiment.weight_decay, experiment.loss_divisor
    model, loss = experiment.model, experiment.loss
    if getattr(experiment.dynamics, "closure", False):
        model, params = condensed(model, params)
    return Problem(train, params, decay, model, loss, loss_divisor=divisor)


def _start_of(experiment: Experiment, key: Any, dim: int, params: Any) -> Any:
    if params is None:
        start = as_double(experiment.model.init(key, dim), "params")
        return jax.tree.map(lambda p: experiment.init_scale * p, start)
    params = as_double(params, "params")
    experiment.model.check_params(params, dim)
    return params


def build_problem(experiment: Experiment, train: Samples, key: Any, params: Any = None) -> Problem:
    """The flow an experiment describes, from `params` or from the model's own start.

    - **Raises** [`InputError`][lazyrich.InputError] for labels, inputs or parameters that do not
        fit the model and the loss, or if the model is not of the degree that it declares.
    """
    model, loss = experiment.model, experiment.loss
    params = _start_of(experiment, key, train.x.shape[1], params)
    model.check_inputs(train.x, "task")
    x = model.cast_inputs(train.x)
    y = loss.labels(train.y, outputs_of(model, params, x).shape, "task.y_train")
    train, few = Samples(x, y), x[:8]
    measured = measured_homogeneity(model, params, few)
    declared = model.homogeneity
    if declared is not None and measured is not None and measured != declared:
        accepted = f"outputs scale by the power {measured:g} of the parameters"
        raise InputError("model.degree", declared, accepted)
    return _posed(experiment, train, params)


# A single block of test data is kept up to this size, to be drawn once.
_KEPT_BYTES = 2**24


def checked(experiment: Experiment, problem: Problem, test: Blocks) -> Blocks:
    """Test data as `problem` has its training data, refused for what would refuse these.

    A block is looked at when it is drawn; a single one at once, before anything is computed.
    """
    model, loss, dim = experiment.model, experiment.loss, problem.train.x.shape[1]
    per_sample = jax.eval_shape(problem.model.apply, problem.params, problem.train.x).shape[1:]

    def make(index: int) -> Samples:
        block = test.make(index)
        if block.x.shape[1:] != (dim,):
            accepted = f"should have {dim} columns, as the training inputs"
            raise InputError("task.x_test", block.x.shape, accepted)
        model.check_inputs(block.x, "task.x_test")
        outputs = (len(block.x), *per_sample)
        return Samples(model.cast_inputs(block.x), loss.labels(block.y, outputs, "task.y_test"))

    if test.num_blocks == 1:
        only = make(0)
        if only.x.nbytes <= _KEPT_BYTES:
            return Blocks(lambda index: only, 1)
    return Blocks(make, test.num_blocks)


def setting_of(
    experiment: Experiment,
    problem: Problem,
    predictors: dict[str, Predictor],
    y_test: Array,
    x_test: Array | None = None,
    teacher: Array | None = None,
) -> tuple[Setting, tuple[Any, ...]]:
    """What probes are told, and those of the experiment's that apply.

    Without `x_test`, test data that are never in memory at once, there is no linearised twin.
    """

    def weights(role: str) -> Array | None:
        return jnp.asarray(predictors[role].weights) if role in predictors else None

    setting = Setting(
        y_train=problem.train.y,
        y_test=y_test,
        params=problem.params,
        init_scale=jnp.asarray(experiment.init_scale),
        weight_decay=jnp.asarray(experiment.weight_decay),
        kernel=weights("kernel"),
        rich=weights("rich"),
        # Its numbers as arrays, which are not compiled in.
        model=jax.tree.map(jnp.asarray, problem.model),
        loss=experiment.loss,
        labels=experiment.loss.meaning(problem.train.y, y_test),
        loss_divisor=jnp.asarray(problem.loss_divisor),
        teacher=teacher,
    )
    probes, x_train = experiment.probe_modules, problem.train.x
    if any(probe.needs_inputs for probe in probes):
        setting = dataclasses.replace(setting, x_train=x_train)
    if any(p.needs_twin for p in probes) and x_test is not None and follows_twin(setting):
        twin = twin_of(setting.model, problem.params, x_train, problem.train.y, x_test)
        setting = dataclasses.replace(setting, twin=twin)
    return setting, tuple(probe for probe in probes if probe.applies(setting))

"""Data, random keys and predictors, shared by runs with the same task, seed, model and loss."""

import contextlib
import dataclasses
import functools
from collections.abc import Iterator
from typing import Any

import jax
import jax.random as jr
import numpy as np
from jaxtyping import Array, Shaped

from .._core.errors import ComputationError, InputError
from .._core.fingerprint.libraries import is_own
from .._core.given import check_kind
from .._core.own_code import remedy_for
from .._core.precision import as_double
from ..dynamics import Problem
from ..experiments.experiment import Experiment
from ..experiments.sizes import check_fits
from ..losses._check import check_own_loss
from ..models import AbstractModel, measured_homogeneity
from ..models._outputs import outputs_of
from ..models.own import runs_own_code
from ..models.wrappers.partly_decayed import partly_decayed
from ..predictors import Predictor
from ..tasks import Blocks, Samples, Split
from .achieved import HeldOut, gathered, outputs_of_predictors, predictor_table, scales_of
from .theory_predictors import theory_predictors

# The most bytes of test inputs in memory for a batch. Larger data are drawn again for every run.
MOST_HELD = 2**28
# The number of test inputs on which the error of a step is controlled, besides training inputs.
_WATCHED = 256
# Test inputs of at most this size in all are kept, and drawn only once.
_KEPT_BYTES = 2**24


@dataclasses.dataclass(frozen=True)
class SharedData:
    """Data and predictors of runs that differ only in scales, decay, horizon and records.

    - `experiment`, the first of these runs, and `problem`, its flow. Predictors are computed from
        its initial parameters, because they depend only on the direction of these parameters.
    - `data_key` and `init_key`, the random keys of data and of initial parameters.
    """

    experiment: Experiment
    problem: Problem
    split: Split
    data_key: Array
    init_key: Array

    @classmethod
    def of(cls, experiment: Experiment, params: Any = None) -> "SharedData":
        """Draws the data of an experiment and checks them.

        - **Takes** `params`, initial parameters that replace those of the model.
        - **Raises** [`InputError`][lazyrich.InputError] if labels, inputs or parameters do not fit
            the model and the loss, or if the data do not fit in memory.
        """
        check_fits(experiment)
        data_key, init_key = jr.split(jr.key(experiment.seed))
        if experiment.task.drawn_with_model:
            data_key = init_key
        split = _sampled(experiment, data_key)
        if experiment.task.labels_from_start:
            start = _initial_params(experiment, init_key, split.train.x.shape[1], params)
            model = experiment.model
            split = experiment.task.labelled(split, lambda x: model.tangent_kernel(start, x))
        problem = build_problem(experiment, split.train, init_key, params)
        test = _checked(experiment, problem, split.test)
        return cls(experiment, problem, Split(problem.train, test), data_key, init_key)

    @functools.cached_property
    def predictors(self) -> dict[str, Predictor]:
        """The predictors known from theory."""
        return theory_predictors(self.problem)

    @functools.cached_property
    def test(self) -> Samples:
        """All test data, in memory."""
        return gathered(self.split.test)

    @functools.cached_property
    def num_test_bytes(self) -> int:
        """An estimate of the memory for all test inputs, in bytes."""
        block = next(iter(self.split.test))
        return int(block.x.nbytes) * self.split.test.num_blocks

    @property
    def num_bytes(self) -> int:
        """The size of the inputs in memory, in bytes."""
        held = [self.split.train, *([self.test] if "test" in vars(self) else [])]
        return sum(samples.x.nbytes for samples in held)

    @functools.cached_property
    def watched(self) -> Shaped[Array, "m d"]:
        """The test inputs on which the error of a step is controlled."""
        return self.test.x[:_WATCHED]

    @functools.cached_property
    def held_out(self) -> HeldOut:
        """Labels and predictor outputs of all test data, computed in memory unless remembered."""
        model = self.experiment.model
        return HeldOut(self.test.y, outputs_of_predictors(model, self.predictors, self.test.x))

    def remember(self, held_out: HeldOut) -> None:
        """Keeps the result of a pass over all test data, for data that do not fit in memory."""
        vars(self)["held_out"] = held_out  # the place where the cached property keeps its value

    @functools.cached_property
    def table(self) -> dict[str, np.ndarray]:
        """The scores of the predictors."""
        return predictor_table(self.predictors, self.problem, self.held_out)

    @functools.cached_property
    def scales(self) -> dict[str, float]:
        """The reference values of scores."""
        return scales_of(self.problem, self.held_out)

    def teacher(self, problem: Problem) -> Array | None:
        """The teacher of the labels, if the model uses the same scale of inputs as the task."""
        task, model = self.experiment.task, problem.model
        if not model.closes or model.statistics(problem.params)[0].root_d != task.unit_inputs:
            return None
        return task.quadratic_teacher(self.data_key)

    @functools.cached_property
    def unscaled_params(self) -> Any:
        """The initial parameters of the model, before the multiplication by `init_scale`."""
        model, dim = self.experiment.model, self.problem.train.x.shape[1]
        return jax.tree.map(np.asarray, _drawn(model, self.init_key, dim))

    def with_few_tests(self, max_test: int) -> "SharedData":
        """The same data with only the first test blocks, with at least `max_test` samples."""
        block = next(iter(self.split.test))
        num_blocks = min(self.split.test.num_blocks, -(-max_test // max(1, len(block.y))))
        few = Split(self.split.train, Blocks(self.split.test.make, num_blocks))
        found = dataclasses.replace(self, split=few)
        vars(found)["predictors"] = self.predictors  # `replace` does not copy cached properties
        return found


def posed(experiment: Experiment, train: Samples, params: Any) -> Problem:
    """The flow of an experiment with initial parameters `params`."""
    decay, divisor = experiment.weight_decay, experiment.loss_divisor
    model, loss = experiment.model, experiment.loss
    if experiment.dynamics.follows_closure:
        model, params = model.condensed(params)
    if experiment.decayed == "matrices":
        model = partly_decayed(model, params)
    return Problem(train, params, decay, model, loss, loss_divisor=divisor)


@contextlib.contextmanager
def _named(key: str, value: object, fails: str, is_own_code: bool) -> Iterator[None]:
    """Errors of a user's own code as an `InputError` that names what has the code.

    Errors of built-in code are no fault of the user and stay as they are.
    """
    try:
        yield
    except (InputError, ComputationError, MemoryError):
        raise
    except Exception as error:
        if not is_own_code:
            raise
        accepted = f"{fails}: {remedy_for(error)}"
        raise InputError(key, type(value).__name__, accepted) from error


def _drawn(model: AbstractModel, key: Array, dim: int) -> Any:
    """The initial parameters of a model in float64, before the multiplication by `init_scale`."""
    with _named("model", model, f"draws no parameters for {dim} inputs", runs_own_code(model)):
        found = model.init(key, dim)
    return as_double(found, "params")


def _sampled(experiment: Experiment, key: Array) -> Split:
    """The data of an experiment."""
    task = experiment.task
    with _named("task", task, "draws no data", is_own(type(task))):
        split = task.sample_for(key, experiment.loss.takes)
    check_kind("task.sample", split, Split, "a function that returns an lr.tasks.Split")
    return split


def _initial_params(experiment: Experiment, key: Any, dim: int, params: Any) -> Any:
    if params is None:
        start = _drawn(experiment.model, key, dim)
        if not any(leaf.size for leaf in jax.tree.leaves(start)):
            raise InputError("model", "no parameters", "should have at least one to train")
        return jax.tree.map(lambda p: experiment.init_scale * p, start)
    params = as_double(params, "params")
    experiment.model.check_params(params, dim)
    for path, leaf in jax.tree_util.tree_leaves_with_path(params):
        values = np.asarray(leaf)
        if not np.all(np.isfinite(values)):
            name = f"params{jax.tree_util.keystr(path)}"
            bad = float(values[~np.isfinite(values)][0])
            raise InputError(name, bad, "should be finite numbers")
    return params


def build_problem(experiment: Experiment, train: Samples, key: Any, params: Any = None) -> Problem:
    """The flow of an experiment, with initial parameters `params` or those of the model.

    - **Raises** [`InputError`][lazyrich.InputError] if labels, inputs or parameters do not fit
        the model and the loss, or if the model does not have the degree that it declares.
    """
    model, loss = experiment.model, experiment.loss
    params = _initial_params(experiment, key, train.x.shape[1], params)
    model.check_inputs(train.x, "task")
    if experiment.task.num_indices is not None:
        model.check_indices(experiment.task.num_indices)
    x = model.cast_inputs(train.x)
    outputs = outputs_of(model, params, x).shape
    y = loss.labels(train.y, outputs, "task.y_train")
    if is_own(type(loss)):
        check_own_loss(loss, outputs, y)
    train, few = Samples(x, y), x[:8]
    undefined = np.flatnonzero(
        np.isnan(np.asarray(model.apply(params, few))).reshape(len(few), -1).any(1)
    )
    if len(undefined):
        accepted = (
            f"should be a number at the initial parameters, but is not for sample {undefined[0]}"
        )
        raise InputError("model", "output nan", accepted)
    measured = measured_homogeneity(model, params, few)
    declared = model.homogeneity
    if declared is not None and measured is not None and measured != declared:
        accepted = f"outputs scale by the power {measured:g} of the parameters"
        raise InputError("model.degree", declared, accepted)
    return posed(experiment, train, params)


def _checked(experiment: Experiment, problem: Problem, test: Blocks) -> Blocks:
    """Test data in the form of the training data of `problem`, with the same checks.

    Each block is checked when it is drawn. A single block is checked at once, before any
    computation. Blocks that are small together are kept.
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

    kept: dict[int, Samples] = {}

    def made_once(index: int) -> Samples:
        if index in kept:
            return kept[index]
        block = make(index)
        if block.x.nbytes * test.num_blocks <= _KEPT_BYTES:
            kept[index] = block
        return block

    if test.num_blocks == 1:
        made_once(0)
    return Blocks(made_once, test.num_blocks)

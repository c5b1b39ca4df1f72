"""Every public function computes in float64, whatever JAX's configuration.

What is found without 64-bit types, as JAX is by default, and with strict promotion of types is
compared with what is found where 64-bit types are enabled.
"""

import inspect
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

import lazyrich as lr
from lazyrich.dynamics import AbstractDynamics
from lazyrich.probes import BUILT_IN, ON_REQUEST, RunContext, RunState
from tests.helpers import (
    built_in,
    diagonal_problem,
    entry_of,
    in_double,
    leaves,
    normal,
    silent,
    small_experiment,
)
from tests.test_tasks import TASKS, name as name_of
from tests.test_types import DOORS, KEY, NETS, SIGNS, X, inputs

# By what a function's parameters are called.
COMMON: dict[str, Any] = {"key": KEY, "dim": 4, "classification": True}
# These hand parts of their arguments on and compute nothing.
PARTS = {"trained", "decayed", "is_matrix", "linear_maps", "layer_weights", "expand"}
# These are about the inputs of a run, which may be of a narrow type.
INPUTS = {"cast_inputs", "check_indices", "check_inputs", "inputs_for"}
# These are defined for a regression.
OF_REGRESSION = {"curvature_at_labels", "targets"}


def test_jax_is_configured_as_users_find_it():
    assert not jax.config.read("jax_enable_x64")
    assert jnp.ones(1).dtype == jnp.float32


def floating(leaf: Any) -> bool:
    return hasattr(leaf, "dtype") and bool(jnp.issubdtype(leaf.dtype, jnp.floating))


def single(tree: Any) -> Any:
    """Floating arrays in float32."""
    return jax.tree.map(lambda a: jnp.asarray(a, jnp.float32) if floating(a) else a, tree)


@in_double
def wide(tree: Any) -> Any:
    """The same numbers in float64."""
    return jax.tree.map(lambda a: jnp.asarray(a, jnp.float64) if floating(a) else a, tree)


def arrays(tree: Any) -> list[Any]:
    return [leaf for leaf in leaves(tree) if hasattr(leaf, "dtype")]


def assert_double(ours: Any, theirs: Any, rtol: float = 1e-9) -> None:
    for one, other in zip(arrays(ours), arrays(theirs), strict=True):
        assert one.dtype == other.dtype
        if not jnp.issubdtype(one.dtype, jax.dtypes.prng_key):
            assert one.dtype.kind != "f" or one.dtype == np.float64
            np.testing.assert_allclose(np.asarray(one), np.asarray(other), rtol=rtol, atol=1e-12)


def found(function: Any, args: Any = ()) -> Any:
    """What a function returns in a user's session, or the words in which it refuses."""
    try:
        with jax.numpy_dtype_promotion("strict"):
            return function(*args)
    except lr.InputError as error:
        return str(error)


@in_double
def doubly(function: Any, args: Any) -> Any:
    """What a function returns where 64-bit types are enabled."""
    return function(*args)


def methods(thing: Any) -> Iterator[tuple[str, Any]]:
    """The public methods that lazyrich defines."""
    for name, method in inspect.getmembers(type(thing), inspect.isfunction):
        if method.__module__.startswith("lazyrich.") and not name.startswith(("_", "model_")):
            yield name, getattr(thing, name)


def arguments(method: Any, values: dict[str, Any]) -> list[Any]:
    return [values[name] for name in inspect.signature(method).parameters]


@pytest.mark.slow
@pytest.mark.parametrize("name", NETS)
def test_every_method_of_a_model(name):
    model = NETS[name]
    x = jnp.asarray(inputs(model, np.float32))
    params = single(model.init(KEY, 4))
    values = {**COMMON, "params": params, "x": x, "other": x[:2], "forces": params}
    values["r"] = single(model.apply(params, x))
    if isinstance(model, lr.models.AbstractLinearModel):
        values["weights"] = single(model.weights(params))
    exact = {key: wide(value) for key, value in values.items()}
    # By a backward pass an output, uncompiled: 30 s.
    slow = {"tangent_kernel", "kernels_onto"} if name == "Transformer" else set()
    for method, call in methods(model):
        if method in slow | INPUTS:
            continue
        theirs = found(in_double(call), arguments(call, exact))
        assert_double(found(call, arguments(call, exact)), theirs)
        if method not in PARTS:
            assert_double(found(call, arguments(call, values)), theirs)
    assert model.cast_inputs(exact["x"]).dtype in (jnp.float64, jnp.int32)


LOSSES = [lr.losses.Squared(), lr.losses.Logistic(), lr.losses.Exponential(), lr.losses.Hinge(),
          lr.losses.SquaredHinge(), lr.losses.CrossEntropy()]  # fmt: skip


@pytest.mark.parametrize("loss", LOSSES, ids=lambda loss: type(loss).__name__)
def test_every_method_of_a_loss(loss):
    classes = loss.takes == "classes"
    f = single(X if classes else X[:, 0])
    # Labels that float32 rounds, for a regression.
    y = wide(SIGNS / 3) if loss.takes == "reals" else jnp.asarray(abs(SIGNS) if classes else SIGNS)
    values = {**COMMON, "f": f, "v": f, "y": y, "y_train": y, "y_test": y, "outputs": f.shape,
              "key": "y"}  # fmt: skip
    exact = {key: wide(value) for key, value in values.items()}
    for method, call in methods(loss):
        if method in OF_REGRESSION and loss.is_classification:
            continue
        theirs = found(in_double(call), arguments(call, exact))
        assert_double(found(call, arguments(call, values)), theirs)
        if isinstance(theirs, float):
            np.testing.assert_equal(found(call, arguments(call, values)), theirs)


def test_labels_next_to_signs_are_no_signs():
    # In float32 they are -1 and 1.
    y = 1 - 1e-9 * np.arange(2)
    loss = lr.losses.Squared()
    assert loss.meaning(loss.labels(y, (2,), "y"), loss.labels(y, (2,), "y")) == "reals"


def worlds() -> dict[str, tuple[RunState, RunContext]]:
    """Runs of all kinds, in numbers that float32 holds."""
    array = lambda values: jnp.asarray(np.asarray(values, np.float32))
    x, x_test = array(normal(0, 6, 4)), array(normal(1, 5, 4))
    signs, classes = array(SIGNS), jnp.asarray([0, 1, 1, 0, 1, 0])

    def world(model: Any, y: Any, labels: Any, loss: Any, **fields: Any) -> Any:
        # The fit of the first labels is that of all: margins are positive.
        noise = lambda p: p + 0.1 * normal(2, *p.shape)
        start = jax.tree.map(lambda p: array(np.asarray(p)), model.init(KEY, 4))
        params = jax.tree.map(lambda p: array(noise(np.asarray(p))), start)
        linear = isinstance(model, lr.models.AbstractLinearModel)
        weights = array(model.weights(params)) if linear else None
        context = RunContext(
            y_train=y, y_test=y[:5], params=start, init_scale=2.0, kernel=weights, rich=weights,
            model=model, loss=loss, labels=labels, x_train=x, **{"weight_decay": 0.1, **fields},
        )  # fmt: skip
        f, f_test = (array(model.apply(params, inputs)) for inputs in (x, x_test))
        return RunState(array(5.0), params, weights, f, f_test), context

    committee = lr.models.CommitteeMachine(width=5)
    start = single(committee.init(KEY, 4))
    twin = jax.tree.map(array, lr.probes.twin_of(committee, start, x, signs, x_test))
    teacher = array(normal(3, 4))
    factors = lr.models.FactorParams(array(np.eye(3)), array(np.eye(3)))
    matrix = RunState(array(0.0), factors, array(normal(4, 3, 3)), signs, signs)
    completion = RunContext(
        y_train=signs, y_test=signs, params=factors, init_scale=1.0, weight_decay=0.0,
        kernel=matrix.weights, rich=matrix.weights, model=lr.models.MatrixFactorisation(size=3),
        loss=lr.losses.Squared(), labels="reals",
    )  # fmt: skip
    return {
        "diagonal": world(lr.models.DiagonalLinear(), signs, "signs", lr.losses.Logistic()),
        "classes": world(
            lr.models.MLP(widths=(3,), outputs=2), classes, "classes", lr.losses.CrossEntropy()
        ),
        "committee": world(
            committee, signs, "reals", lr.losses.Squared(), weight_decay=0.0, twin=twin,
            teacher=teacher,
        ),
        "matrix": (matrix, completion),
    }  # fmt: skip


WORLDS = worlds()


@pytest.mark.slow
@pytest.mark.parametrize("name", BUILT_IN | ON_REQUEST)
def test_every_probe(name):
    probe = (BUILT_IN | ON_REQUEST)[name]
    applying = [pair for pair in WORLDS.values() if probe.applies(pair[1])]
    assert applying
    for state, context in applying:
        ours = found(probe, (state, context))
        assert ours.dtype == jnp.float64
        assert_double(ours, in_double(probe)(*wide((state, context))))


@pytest.mark.parametrize("task", TASKS, ids=name_of)
def test_every_task_draws_the_same_data(task):
    ours, theirs = found(task.sample, [jr.key(3)]), in_double(task.sample)(jr.key(3))
    train = [ours.train, *found(list, [ours.test])]
    test = [theirs.train, *in_double(list)(theirs.test)]
    for one, other in zip(train, test, strict=True):
        assert (one.x.dtype, one.y.dtype) == (other.x.dtype, other.y.dtype)
        np.testing.assert_array_equal(one.x, other.x)
        np.testing.assert_array_equal(one.y, other.y)
    for method in ("teacher", "quadratic_teacher"):
        if hasattr(task, method):
            call = getattr(task, method)
            assert_double(found(call, [KEY]), in_double(call)(KEY), rtol=0.0)


RATE = 0.01
DYNAMICS: list[Any] = [
    lr.dynamics.Flow(method="tsit5"),
    lr.dynamics.ReducedFlow(),
    lr.dynamics.SmallDecayLimit(),
    lr.dynamics.GradientDescent(learning_rate=RATE),
    lr.dynamics.SGD(learning_rate=RATE, batch_size=2, seed=2**40 + 1),
    lr.dynamics.Adam(learning_rate=RATE, batch_size=2),
    lr.dynamics.AdamW(learning_rate=RATE),
    lr.dynamics.LabelNoiseSGD(learning_rate=RATE, batch_size=3, seed=2**40),
]


@pytest.mark.slow
@pytest.mark.parametrize("dynamics", DYNAMICS, ids=lambda dynamics: type(dynamics).__name__)
def test_every_dynamics(dynamics):
    problem, times = diagonal_problem(2, lr.losses.Squared(), 0.05), np.array([0.0, 0.1, 0.5])

    def solved() -> Any:
        ways = dynamics.follow(problem, times, silent)
        batch = dynamics.solve([problem] * 2, [times] * 2, lambda now: None)
        at_end = ways.params_at(times[-1], entry_of(ways.states))
        numbers = np.array([*dynamics.first_times([problem]), dynamics.loss_floor(problem)])
        return ways.states, ways.final, at_end, numbers, [one.final for one in batch]

    assert_double(found(solved), in_double(solved)(), rtol=0.0)


def test_no_dynamics_are_missing():
    assert {type(dynamics).__name__ for dynamics in DYNAMICS} == built_in(AbstractDynamics)


@pytest.mark.slow
def test_a_run_and_its_forecast():
    experiment = small_experiment(t1=1e3)
    ours, theirs = (session(lr.simulate, [experiment]) for session in (found, doubly))
    for name in theirs.variables:
        assert ours[name].dtype == theirs[name].dtype
        np.testing.assert_array_equal(ours[name], theirs[name])
    ours, theirs = (session(lr.forecast, [experiment]).summary() for session in (found, doubly))
    assert {**ours, "seconds": None} == {**theirs, "seconds": None}


# A part of the probes of a committee, and a question.
ELSEWHERE = {"error_parts", "follows_twin"}


@pytest.mark.parametrize("name", DOORS)
def test_every_function(name):
    function, args = DOORS[name]
    assert_double(found(function, args), doubly(function, args))


def test_no_function_is_missing():
    functions = {
        name
        for place in (lr.kernel, lr.predictors, lr.probes)
        for name, thing in vars(place).items()
        if inspect.isfunction(thing) and not name.startswith("_")
    }
    assert functions <= {name.split(" ")[0] for name in DOORS} | ELSEWHERE

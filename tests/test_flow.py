"""The flow engine against closed forms, the exact reduction and brute force."""

import dataclasses
import json
import math
from typing import Any

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import psutil
import pytest
import xarray as xr

import lazyrich as lr
from lazyrich._integrate import stepping as _stepping
from lazyrich._run.prepared import prepare
from lazyrich._run.solve import grids
from lazyrich.dynamics import Problem
from lazyrich.dynamics._method import Method, choose, choose_together
from lazyrich.dynamics._step_error import StepError
from tests.helpers import (
    diagonal_problem,
    entry_of,
    given,
    normal,
    problem_of,
    relative_error,
    silent,
    small_experiment,
    turning_problem,
)

METHODS = ["rosenbrock", "rock2", "rkc2", "tsit5"]
LINEAR = lr.models.Functions(
    init_params=lambda key, dim: jnp.zeros(dim), function=lambda w, x: x @ w, degree=1
)


def final(trajectory):
    return entry_of(trajectory.states)


def completion(**changes) -> lr.Experiment:
    small = {"task.d": 14, "task.num_observed": 70, "model.size": 14, "t1": 1e5}
    return lr.studies.load("lyu2024/3").with_changes({**small, **changes})


def ridge_problem(weight_decay: float = 0.01) -> tuple[Problem, np.ndarray]:
    """Linear regression from a random start, with rates from 1e-2 to 1e2; and its features."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(6, 6)) * np.geomspace(0.1, 20, 6)
    y = rng.normal(size=6)
    return problem_of(x, y, np.ones(6), weight_decay, LINEAR, lr.losses.Squared()), x


def ridge_solution(problem: Problem, x: np.ndarray, times: np.ndarray) -> np.ndarray:
    y, n = np.asarray(problem.train.y), len(x)
    rates, basis = np.linalg.eigh(2 / n * x.T @ x + problem.weight_decay * np.eye(x.shape[1]))
    target = basis.T @ (2 / n * x.T @ y) / rates
    start = basis.T @ np.asarray(problem.params)
    decayed = np.exp(-np.outer(times, rates))
    return (target + decayed * (start - target)) @ basis.T


@pytest.mark.slow
@pytest.mark.parametrize("method", METHODS)
def test_ridge_regression_is_followed_to_its_closed_form(method):
    problem, x = ridge_problem()
    times = np.array([0.0, 1e-3, 0.1, 3.0, 60.0])
    exact = ridge_solution(problem, x, times)
    errors = []
    for rtol in (1e-3, 1e-5, 1e-7):
        flow = lr.dynamics.Flow(method=method, rtol=rtol)
        trajectory = flow.follow(problem, times, silent)
        np.testing.assert_array_equal(trajectory.times, times)
        assert trajectory.ending == "completed"
        errors.append(relative_error(trajectory.states, exact))
    assert errors[0] < 2e-2
    # At least as the tolerance to the power 2/3 (RKC2), over four decades.
    assert errors[2] < errors[0] * 10 ** (-4 * 0.6)


@pytest.mark.slow
@pytest.mark.parametrize("loss", [lr.losses.Logistic(), lr.losses.Squared()], ids=str)
@pytest.mark.parametrize("method", METHODS)
def test_agrees_with_the_exact_reduction(method, loss):
    problem = diagonal_problem(2, loss, 0.05)
    times = np.array([0.0, 1.0, 20.0, 100.0])
    reduced = lr.dynamics.ReducedFlow(rtol=1e-8).follow(problem, times, silent)
    weights = lr.models.DiagonalLinear().weights
    exact = weights(reduced.params_at(times[-1], final(reduced)))
    flow = lr.dynamics.Flow(method=method, rtol=1e-6)
    ours = weights(final(flow.follow(problem, times, silent)))
    assert relative_error(ours, exact) < 1e-4


@pytest.mark.slow
def test_a_net_is_the_same_through_every_door():
    x = normal(0, 9, 3)
    built_in = lr.models.MLP(widths=(7,), activation="tanh", bias=False)
    params = built_in.init(jr.key(1), 3)
    first, last = params.weights

    def function(params, x):
        return (jnp.tanh(x @ params["in"].T) @ params["out"].T)[:, 0]

    own = lr.models.Functions(init_params=lambda key, dim: None, function=function)
    module = eqx.nn.MLP(3, "scalar", 7, 1, jnp.tanh, use_bias=False, use_final_bias=False,
                        key=jr.key(2))  # fmt: skip
    module = eqx.tree_at(lambda m: (m.layers[0].weight, m.layers[1].weight), module, (first, last))
    equinox = lr.models.FromEquinox(module=module)
    ends = []
    for model, start in [
        (built_in, params),
        (own, {"in": first, "out": last}),
        (equinox, equinox.init(jr.key(0), 3)),
    ]:
        problem = problem_of(x, np.sin(3 * x[:, 0]), start, 0.01, model, lr.losses.Squared())
        trajectory = lr.dynamics.Flow(rtol=1e-5).follow(problem, np.array([0.0, 50.0]), silent)
        ends.append(model.apply(final(trajectory), x))
    np.testing.assert_allclose(ends[1], ends[0], rtol=1e-7, atol=1e-9)
    np.testing.assert_allclose(ends[2], ends[0], rtol=1e-7, atol=1e-9)


@pytest.mark.slow
def test_follows_what_small_gradient_steps_do():
    experiment = completion(t1=2000.0, init_scale=3.0, weight_decay=1e-3)
    flow = lr.simulate(experiment.with_changes({"dynamics.rtol": 1e-6}))
    descent = lr.simulate(
        experiment.with_changes(
            {"dynamics.kind": "GradientDescent", "dynamics.learning_rate": 0.01}
        )
    )
    ours = flow.test_loss.interp(time=descent.time.values[-20:])
    np.testing.assert_allclose(ours, descent.test_loss.values[-20:], rtol=2e-4)


# The panel of the paper.


@pytest.fixture(scope="module")
def masks() -> list[xr.Dataset]:
    panel = lr.studies.load("lyu2024/3")
    return lr.simulate_many([panel.with_changes({"seed": seed}) for seed in range(5)])


@pytest.mark.slow
def test_matrix_completion_has_the_published_numbers(masks):
    events = [lr.transition(record) for record in masks]
    assert [event.outcome for event in events] == ["grokked"] * 5
    for key, published, slack in (
        ("t10", 2.56e4, 0.15),
        ("t50", 3.67e4, 0.1),
        ("t90", 5.46e4, 0.15),
    ):
        median = np.median([getattr(event, key) for event in events])
        assert median == pytest.approx(published, rel=slack), key
    norms = [float(record.param_norm[-1]) for record in masks]
    assert np.median(norms) == pytest.approx(5.61, abs=0.1)
    for record in masks:
        solver = lr.summarise(record)["solver"]
        assert solver["num_steps"] <= 200


@pytest.mark.slow
def test_matrix_completion_passes_from_one_predictor_to_the_other(masks):
    for record in masks:
        plateau = record.sel(time=1e3, method="nearest")
        assert float(plateau.distance_to_kernel) < 0.01
        assert float(plateau.cosine_to_rich) < 0.5
        end = record.isel(time=-1)
        assert float(end.distance_to_rich) < 0.05
        assert float(end.distance_to_kernel) > 1
        assert (record.predictor_status == "optimal").all()


@pytest.mark.slow
def test_cost_does_not_grow_with_the_inverse_of_the_decay(masks):
    panel = lr.studies.load("lyu2024/3")
    far = panel.with_changes({"init_scale": 100.0, "weight_decay": 1e-6, "t1": 1e8})
    record = lr.simulate(far)
    steps = lr.summarise(record)["solver"]["num_steps"]
    assert steps <= 2 * lr.summarise(masks[0])["solver"]["num_steps"]
    assert lr.transition(record).outcome == "grokked"
    finer = lr.simulate(far.with_changes({"dynamics.rtol": 1e-5}))
    assert lr.transition(record).t50 == pytest.approx(lr.transition(finer).t50, rel=0.01)


# Clocks.


@pytest.mark.slow
def test_log_clock_on_a_flow_that_is_solvable():
    # One sample under exponential loss: f' = |x|^2 e^{-f}, so f = log(1 + |x|^2 t).
    x = np.array([[1.2, 1.6]])
    problem = problem_of(x, np.ones(1), np.zeros(2), 0.0, LINEAR, lr.losses.Exponential())
    times = np.array([0.0, 0.5, 3.0, 100.0, 1000.0])
    flow = lr.dynamics.Flow(clock="log", rtol=1e-6)
    trajectory = flow.follow(problem, times, silent)
    np.testing.assert_allclose(trajectory.times, times)
    f = np.asarray(trajectory.states) @ x[0]
    t = 10.0 ** times[:3] - 1
    np.testing.assert_allclose(f[:3], np.log1p(4 * t), rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(f[3:], np.log(4) + times[3:] * np.log(10), rtol=1e-4)


@pytest.mark.slow
def test_clocks_agree_where_both_can_be():
    problem = diagonal_problem(2, lr.losses.Logistic(), 0.0)
    times = np.array([0.0, 0.3, 1.0, 2.5])
    log = lr.dynamics.Flow(clock="log", rtol=1e-6).follow(problem, times, silent)
    linear = lr.dynamics.Flow(rtol=1e-6).follow(problem, 10.0**times - 1, silent)
    for ours, theirs in zip(
        jax.tree.leaves(log.states), jax.tree.leaves(linear.states), strict=True
    ):
        np.testing.assert_allclose(ours, theirs, rtol=1e-3)


def test_what_the_log_clock_cannot_show_is_refused():
    flow = lr.dynamics.Flow(clock="log")
    for loss, decay, message in [
        (lr.losses.Logistic(), 0.1, "needs weight_decay = 0"),
        (lr.losses.Squared(), 0.0, "needs a classification loss"),
    ]:
        with pytest.raises(lr.InputError, match=message):
            flow.follow(diagonal_problem(2, loss, decay), np.array([0.0, 1.0]), silent)


# Which method, and why.


@pytest.mark.slow
@pytest.mark.usefixtures("double")
def test_the_choice_of_method_and_its_reason():
    stiff = diagonal_problem(2, lr.losses.Squared(), 1e-3, init_scale=50.0)
    assert choose("auto", "linear", stiff, 1e4).name == "DualROS34PW2"
    assert "matrix of the few parameters" in choose("auto", "linear", stiff, 1e4).reason
    easy = choose("auto", "linear", stiff, 1e-3)
    assert easy.name == "Tsit5"
    assert easy.reason.startswith("not stiff")
    # At small tolerances a method of order three needs more steps, and stability does not.
    horizons = np.geomspace(1e-3, 1e4, 30).tolist()
    between = next(t1 for t1 in horizons if choose("auto", "linear", stiff, t1).name != "Tsit5")
    assert choose("auto", "linear", stiff, between, 1e-8).name == "Tsit5"
    hinge = diagonal_problem(2, lr.losses.Hinge(), 1e-3, init_scale=50.0)
    assert choose("auto", "linear", hinge, 1.0, 1e-8).name == "ROS34PW2"
    # Of runs that share a solve the stiffest decides, wherever it stands.
    for ends, name in (([1e-3, 1e4], "DualROS34PW2"), ([1e4, 1e-3], "DualROS34PW2"),
                       ([1e-3, 1e-3], "Tsit5")):  # fmt: skip
        assert choose_together("auto", "linear", [stiff, stiff], ends).name == name
    assert choose_together("tsit5", "linear", [stiff, stiff], [1e4, 1e4]).name == "Tsit5"
    signs = diagonal_problem(2, lr.losses.Logistic(), 1e-3, init_scale=50.0)
    assert choose("auto", "linear", signs, 1e4).name == "ROS34PW2"
    many = diagonal_problem(2, lr.losses.Logistic(), 1e-3, init_scale=50.0, n=700, d=800)
    assert choose("auto", "linear", many, 1e4).name == "RKC2"
    assert choose("rock2", "linear", many, 1e4).reason == ""
    record = lr.simulate(completion(t1=10.0))
    assert "spectral radius" in record.attrs["solver"]


@pytest.mark.usefixtures("double")
def test_a_kernel_that_does_not_fit_is_refused_with_its_size(monkeypatch):
    problem = diagonal_problem(2, lr.losses.Squared(), 1e-3, n=1000, d=1100)

    class Little:
        available = 10**7

    monkeypatch.setattr(psutil, "virtual_memory", lambda: Little)
    with pytest.raises(lr.InputError, match=r"4 matrices of 1000 x 1000, 0.0 GB, and 0.0 GB"):
        choose("rosenbrock", "linear", problem, 1e4)


@pytest.mark.slow
@pytest.mark.usefixtures("double")
@pytest.mark.parametrize("kind", ["completion", "committee"])
def test_memory_of_a_step_is_within_twice_the_matrices_it_names(kind):
    m = 1200
    panel = completion(**{"task.d": 60, "model.size": 60, "task.num_observed": m})
    if kind == "committee":
        panel = lr.Experiment(
            task=lr.tasks.PolynomialRegression(n=m, d=10, num_test=5),
            model=lr.models.CommitteeMachine(width=20),
            loss=lr.losses.Squared(),
            dynamics=lr.dynamics.Flow(),
        )
    problem = prepare(panel).problem
    method = choose("rosenbrock", "linear", problem, 10.0)
    assert isinstance(panel.dynamics, lr.dynamics.Flow)
    system, solve = panel.dynamics.prepare(problem, grids([panel], [problem])[0], None, method)
    arrays, static = eqx.partition(system, eqx.is_array)
    step = jax.jit(lambda arrays, solve: _stepping.advance(eqx.combine(arrays, static), solve))
    used: Any = step.lower(arrays, solve).compile().memory_analysis()
    assert used.temp_size_in_bytes <= 2 * (2 * 8 * m**2)  # the kernel and its factor


# Records: where the solve moves, and when it ends.


@pytest.mark.slow
def test_records_are_denser_where_the_test_metric_moves():
    sparse = {"times.num_log": 2, "times.num_linear": 8}
    moved = lr.simulate(completion(**sparse))
    still = lr.simulate(completion(**sparse, **{"dynamics.densify": 0.0}))
    assert still.sizes["time"] == 10
    assert moved.sizes["time"] > 15
    assert set(still.time.values) <= set(moved.time.values)
    assert (np.diff(moved.time.values) > 0).all()
    jumps = np.abs(np.diff(moved.test_loss.values)) / moved.test_loss.values[0]
    assert jumps.max() < 0.1
    # More records change no step.
    for name in ("test_loss", "param_norm"):
        np.testing.assert_array_equal(moved[name].sel(time=still.time), still[name])


@pytest.mark.slow
def test_ends_when_a_level_has_been_held():
    stop = {"dynamics.stop": {"probe": "test_loss", "level": 0.02, "rises": False, "sustained": 4}}
    record = lr.simulate(completion(**stop))
    assert record.attrs["ending"] == "crossed"
    held = np.flatnonzero(record.test_loss.values <= 0.02)
    # A step's records are all made before it is looked at.
    assert len(held) >= 4
    assert (np.diff(held) == 1).all()
    assert held[-1] == record.sizes["time"] - 1
    assert record.time.values[-1] < 1e5
    for densify in (0.05, 0.0):
        wrong = completion(**{"dynamics.stop": {"probe": "loss"}, "dynamics.densify": densify})
        with pytest.raises(lr.InputError, match=r"dynamics.stop.probe = 'loss': should be among"):
            lr.simulate(wrong)


@pytest.mark.slow
def test_ends_when_nothing_moves_any_more():
    record = lr.simulate(completion(t1=1e9, **{"dynamics.stationary": 1e-4}))
    assert record.attrs["ending"] == "stationary"
    assert 3e4 < record.time.values[-1] < 1e7
    longer = lr.simulate(completion(t1=1e7))
    assert float(record.param_norm[-1]) == pytest.approx(float(longer.param_norm[-1]), rel=1e-3)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("limit", "ending"),
    [({"max_steps": 20}, "max_steps"), ({"max_gradients": 90}, "max_gradients"),
     ({"max_seconds": 1e-9}, "max_seconds"), ({"method": "tsit5", "max_steps": 300}, "too_stiff")],
)  # fmt: skip
def test_a_budget_that_is_spent_is_named_and_its_record_kept(limit, ending):
    record = lr.simulate(completion(**{f"dynamics.{key}": value for key, value in limit.items()}))
    assert record.attrs["ending"] == ending
    assert 1 < record.sizes["time"] < 200
    assert np.isfinite(record.test_loss).all()
    assert lr.transition(record).outcome in ("untrained", "collapsed", "unchanged", "failed")


@pytest.mark.slow
def test_a_flow_that_leaves_its_domain_is_named():
    # Outputs that grow like w^3 are followed to their label all the same.
    def cubic(w, x):
        return -(w[0] ** 3) / 3 * x[:, 0]

    model = lr.models.Functions(init_params=lambda key, dim: jnp.ones(1), function=cubic)
    x, y = np.ones((1, 1)), -np.ones(1)
    problem = problem_of(x, y, np.ones(1), 0.0, model, lr.losses.Squared())
    trajectory = lr.dynamics.Flow(method="tsit5").follow(problem, np.linspace(0, 50, 11), silent)
    assert trajectory.ending == "completed"
    assert float(final(trajectory)[0]) == pytest.approx(3 ** (1 / 3), rel=1e-3)

    def nowhere(w, x):
        return jnp.log(1 - w[0]) * x[:, 0]

    edge = lr.models.Functions(init_params=lambda key, dim: jnp.zeros(1), function=nowhere)
    # Towards the label 1 - 1e9 w would have to come within e^{-1e9} of one.
    problem = problem_of(x, 1e9 * y, np.zeros(1), 0.0, edge, lr.losses.Squared())
    times = np.linspace(0, 1, 11)
    trajectory = lr.dynamics.Flow(method="tsit5").follow(problem, times, silent)
    assert trajectory.ending in ("step_underflow", "diverged")
    assert len(trajectory.times) < 11


def is_abstract(leaf):
    return isinstance(leaf, jax.ShapeDtypeStruct)


def types(leaf):
    return leaf.shape, leaf.dtype, leaf.weak_type


@pytest.mark.usefixtures("double")
@pytest.mark.parametrize(
    "solver",
    [
        lr.solvers.DualROS34PW2(), lr.solvers.ROS34PW2(), lr.solvers.ROCK2(),
        lr.solvers.RKC2(), lr.solvers.DampedRKC2(), diffrax.Tsit5(),
    ],
    ids=lambda solver: type(solver).__name__,
)  # fmt: skip
def test_a_step_is_compiled_once(solver):
    # What a step returns is of the types of what it takes, or the next is compiled anew.
    problem, _ = ridge_problem()
    method = Method("this", solver, "")
    times = np.linspace(0, 1, 3)
    system, state = lr.dynamics.Flow().prepare(problem, times, None, method)
    after = eqx.filter_eval_shape(_stepping.advance, system, state)

    before = jax.eval_shape(lambda tree: tree, eqx.filter(state, eqx.is_array))
    assert jax.tree.map(types, before) == jax.tree.map(types, eqx.filter(after, is_abstract))


# Flows that turn stiff, that start tiny and that end in nothing.


def one_number(x: float) -> lr.tasks.Arrays:
    """One sample with label 2."""
    test = {"x_test": np.array([[3.0]]), "y_test": np.array([6.0])}
    return lr.tasks.Arrays(x_train=np.array([[x]]), y_train=np.array([2.0]), **test)


@pytest.mark.slow
def test_a_stiff_flow_near_its_end_keeps_its_method_at_a_small_tolerance():
    # theta' = -2 theta with 820 time constants: some 240 explicit steps are left once it has
    # settled. A method of order three needs more of them than that at a tolerance of 1e-8.
    line = lr.Experiment(
        task=one_number(1.0),
        model=lr.models.MLP(widths=(), bias=False),
        loss=lr.losses.Squared(),
        t1=410.0,
        times=lr.dynamics.Times(first=0.1, num_log=6, num_linear=0),
        probes=("train_loss", "test_loss"),
        dynamics=lr.dynamics.Flow(rtol=1e-8, max_steps=500),
    )
    solver = {}
    for rtol in (1e-3, 1e-8):
        record = lr.simulate(line.with_changes({"dynamics.rtol": rtol}))
        assert record.attrs["ending"] == "completed"
        solver[rtol] = json.loads(record.attrs["solver"])["name"]
    assert solver == {1e-3: "Tsit5, then DualROS34PW2", 1e-8: "Tsit5"}
    loss = record["train_loss"].values
    np.testing.assert_allclose(loss[:3], loss[0] * np.exp(-4 * record["time"].values[:3]), 1e-6)


@pytest.mark.slow
def test_runs_of_a_batch_may_have_different_numbers_of_times():
    # 0.5 is the first time of the first run, and not of the second, which has one time more.
    line = lr.Experiment(
        task=one_number(1.0),
        model=lr.models.MLP(widths=(), bias=False),
        loss=lr.losses.Squared(),
        times=lr.dynamics.Times(first=0.5, num_log=3, num_linear=0, at=(0.5,)),
        probes=("train_loss", "test_loss"),
        dynamics=lr.dynamics.Flow(rtol=1e-6, densify=0.05),
    )
    runs = [line.with_changes({"t1": t1}) for t1 in (8.0, 2.0)]
    records = lr.simulate_many(runs, keep_params=20)
    for record, t1, num in zip(records, (8.0, 2.0), (4, 5), strict=True):
        times, loss = record["time"].values, record["train_loss"].values
        asked = np.unique([0.0, 0.5, *np.geomspace(min(0.5, 0.1 * t1), t1, 3)])
        assert len(asked) == num
        assert np.isin(asked, times).all()
        assert record.attrs["ending"] == "completed"
        assert times[-1] == t1
        np.testing.assert_allclose(loss, loss[0] * np.exp(-4 * times), rtol=1e-4, atol=1e-9)
        np.testing.assert_array_equal(record.params.times, asked)
        weights = record.params(0.5).weights[0]
        assert float((weights[0, 0] - 2) ** 2) == pytest.approx(loss[0] * np.exp(-2.0), rel=1e-5)


def test_inputs_too_large_for_gradients_are_one_line():
    big = lr.Experiment(
        task=one_number(1e300),
        model=lr.models.MLP(widths=(), bias=False),
        loss=lr.losses.Squared(),
    )
    with pytest.raises(lr.InputError, match=r"task.x_train = 1e\+300: is too large an input"):
        lr.simulate(big)


@pytest.mark.slow
def test_a_flow_that_turns_stiff_is_given_to_another_method():
    problem, times = turning_problem(), np.array([0.0, 0.01, 0.016, 0.02, 0.1, 3.0])
    trajectory = lr.dynamics.Flow().follow(problem, times, silent)
    assert trajectory.ending == "completed"
    np.testing.assert_array_equal(trajectory.times, times)
    effort = trajectory.effort
    first, second = effort.methods
    assert (first.name, second.name) == ("Tsit5", "DualROS34PW2")
    assert effort.name == "Tsit5, then DualROS34PW2"
    assert "from t = 0.01" in effort.reason
    assert first.since == 0 < second.since < 0.03
    for name in ("num_steps", "num_rejected", "num_gradients", "num_jacobians", "num_products"):
        assert getattr(first, name) + getattr(second, name) == getattr(effort, name)
    assert effort.num_steps < 100  # Tsit5 to the end takes 20,000 and more
    named = lr.dynamics.Flow(method="tsit5", max_steps=300).follow(problem, times, silent)
    assert (named.ending, named.effort.methods) == ("too_stiff", ())
    # A budget that is used up by the second method.
    few = lr.dynamics.Flow(max_steps=first.num_steps + first.num_rejected + 4)
    spent = few.follow(problem, times, silent)
    assert (spent.ending, len(spent.effort.methods)) == ("max_steps", 2)


@pytest.mark.slow
def test_a_run_whose_steps_kinks_keep_short_says_so():
    # Columns of sizes 1e-3 to 1e3. LSODA and Radau of scipy take more than 150,000 evaluations to
    # t = 0.001, where the steps of this run become short.
    rng = np.random.default_rng(1)
    sizes = np.geomspace(1e-3, 1e3, 4)
    x, teacher = rng.normal(size=(12, 4)) * sizes, rng.normal(size=4) / sizes
    y = np.tanh(x @ teacher)
    e = lr.Experiment(
        task=lr.tasks.Arrays(x_train=x, y_train=y, x_test=x, y_test=y),
        model=lr.models.MLP(widths=(8,), bias=False),
        loss=lr.losses.Squared(),
        weight_decay=1e-3,
        t1=1e4,
        dynamics=lr.dynamics.Flow(max_steps=2000),
        probes=("train_loss", "test_loss"),
    )
    record = lr.simulate(e)
    assert record.attrs["ending"] == "chattering"
    assert float(record["time"][-1]) < 0.01
    assert lr.transition(record).advice.startswith(
        "raise dynamics.max_steps or dynamics.rtol, scale the columns"
    )
    few = lr.simulate(e.with_changes({"dynamics.max_steps": 100}))
    assert few.attrs["ending"] == "max_steps"


@pytest.mark.slow
def test_runs_of_a_batch_change_their_method_each_for_itself():
    flow, times = lr.dynamics.Flow(), np.array([0.0, 0.01, 0.1, 3.0])
    problems = [turning_problem(scale) for scale in (0.05, 1e-4, 0.03)]  # the second stays small
    times_of = [times, times / 1e3, times]
    alone = [flow.follow(p, g, silent) for p, g in zip(problems, times_of, strict=True)]
    together = flow.solve(
        problems, times_of, lambda now: None, [lambda time, params: {"params": params}] * 3
    )
    assert [len(one.effort.methods) for one in alone] == [2, 0, 2]
    for one, many in zip(alone, together, strict=True):
        assert one.ending == many.ending
        # When the method changes may differ in the last digit.
        parts = [
            [dataclasses.replace(part, since=0.0) for part in e.methods]
            for e in (one.effort, many.effort)
        ]
        assert parts[0] == parts[1]
        ours, theirs = jax.tree.leaves(one.states), jax.tree.leaves(many.observed["params"])
        for a, b in zip(ours, theirs, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-12)


@pytest.mark.slow
def test_coordinates_that_are_still_to_grow_are_followed_from_a_tiny_start():
    # arXiv:2607.12332; times by Radau at 1e-10 in the logarithms of the parameters.
    x = np.array([[1, 0.5, 0.7, 0], [0.5, 1, 0.1, 0.7]])
    y = np.array([1.0, 0.0])
    model, tiny = lr.models.DiagonalLinear(), given(np.full(4, 1e-8 / np.sqrt(8)))
    start = lr.models.DiagonalParams(tiny, tiny)
    problem = problem_of(x, y, start, 0.0, model, lr.losses.Squared())
    times = np.linspace(0, 60, 3001)
    trajectory = lr.dynamics.Flow().follow(problem, times, silent)
    u, v = (np.asarray(part) for part in trajectory.states)
    losses = np.mean((y - (u**2 - v**2) @ x.T) ** 2, axis=1)
    below = [np.interp(-level, -losses, times) for level in (0.3, 0.05, 0.005)]
    assert below == pytest.approx([9.4548, 39.7333, 47.2372], rel=3e-3)
    assert np.abs(u[-1] ** 2 - v[-1] ** 2).sum() == pytest.approx(1.64206, rel=3e-3)


@pytest.mark.slow
@pytest.mark.parametrize("scale", [0.01, 0.0])
def test_decay_to_nothing_is_an_ordinary_end(scale):
    # Below 1e-154 squares vanish; e^{-400} is 2e-174, and e^{-800} is 0.
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(6, 4)), scale * rng.normal(size=6)
    model = lr.models.MLP(widths=(3,), activation="quadratic", bias=False)
    params = model.init(jr.key(0), 4)
    times = np.array([0.0, 400.0, 800.0])
    problem = problem_of(x, y, params, 1.0, model, lr.losses.Squared())
    trajectory = lr.dynamics.Flow().follow(problem, times, silent)
    assert trajectory.ending == "completed"
    weights = np.asarray(trajectory.states.weights[0])
    assert 1e-176 < np.abs(weights[1]).max() < 1e-172
    assert np.abs(weights[2]).max() < 1e-280
    small = diagonal_problem(2, lr.losses.Squared(), 1.0, init_scale=1.0)
    with jax.enable_x64(True):
        small = eqx.tree_at(lambda p: p.train.y, small, scale * small.train.y)
    reduced = lr.dynamics.ReducedFlow().follow(small, times, silent)
    assert reduced.ending == "completed"


@pytest.mark.parametrize("power", [-160, 160])
def test_labels_whose_squares_overflow_or_vanish_are_followed(power):
    problem, x = ridge_problem()
    y, start = (10.0**power * np.asarray(a) for a in (problem.train.y, problem.params))
    scaled = problem_of(x, y, start, 0.01, LINEAR, problem.loss)
    times = np.array([0.0, 1e-3, 0.1, 3.0])
    trajectory = lr.dynamics.Flow().follow(scaled, times, silent)
    assert trajectory.ending == "completed"
    exact = ridge_solution(problem, x, times)
    assert relative_error(np.asarray(trajectory.states) * 10.0**-power, exact) < 2e-2


@pytest.mark.parametrize("size", [1e-160, 1e160])
def test_labels_whose_losses_are_no_numbers_are_refused(size):
    x = np.random.default_rng(0).normal(size=(8, 3))
    y = size * x[:, 0]
    experiment = lr.Experiment(
        task=lr.tasks.Arrays(x_train=x, y_train=y, x_test=x, y_test=y),
        model=lr.models.MLP(widths=(), activation="identity", bias=False),
        loss=lr.losses.Squared(),
        t1=1.0,
    )
    with pytest.raises(lr.InputError, match=r"between 1e-152 and 1e\+152 in size"):
        lr.simulate(experiment)


SCALES = np.array([1, 1e3, 1e-3, 1e6, 1])


@pytest.mark.slow
def test_columns_of_very_different_scales_are_each_fitted_in_their_own_time():
    rng = np.random.default_rng(3)
    x = np.linalg.qr(rng.normal(size=(20, 5)))[0] * np.sqrt(20)  # each column by itself
    right = rng.normal(size=5)
    problem = problem_of(x * SCALES, x @ right, np.zeros(5), 0.0, LINEAR, lr.losses.Squared())
    times = np.array([0.0, *np.geomspace(1e-13, 1e8, 22)])
    trajectory = lr.dynamics.Flow().follow(problem, times, silent)
    assert trajectory.ending == "completed"
    assert trajectory.effort.num_steps < 300
    assert trajectory.effort.num_rejected < 30
    exact = -np.expm1(-2 * np.outer(times, SCALES**2)) * right
    gap = np.abs(np.asarray(trajectory.states) * SCALES - exact)
    assert gap.max() < 1e-2 * np.linalg.norm(right)


@pytest.mark.slow
@pytest.mark.parametrize(("loss", "num"), [(lr.losses.Squared(), 4), (lr.losses.Logistic(), 20)])
def test_columns_of_very_different_scales_come_to_the_minimum(loss, num):
    rng = np.random.default_rng(4)
    x, decay = rng.normal(size=(num, 5)), 1e-3
    noisy = x @ rng.normal(size=5) + 0.3 * rng.normal(size=num)
    y = np.sign(noisy) if loss.is_classification else noisy
    problem = problem_of(x * SCALES, y, np.full(5, 1e-3), decay, LINEAR, loss)
    times = np.array([0.0, 30 / decay])
    trajectory = lr.dynamics.Flow(max_steps=1000).follow(problem, times, silent)
    assert trajectory.ending == "completed"
    assert trajectory.effort.num_steps < 400
    # Newton's method for v, the scales times the weights, in which the problem is well scaled.
    v, ridge = np.zeros(5), decay / SCALES**2
    for _ in range(300):
        if loss.is_classification:
            p = 1 / (1 + np.exp(y * (x @ v)))
            slope, bend = -x.T @ (y * p) / num, x.T * (p * (1 - p)) @ x / num
        else:
            slope, bend = 2 * x.T @ (x @ v - y) / num, 2 * x.T @ x / num
        step = np.linalg.solve(bend + np.diag(ridge), slope + ridge * v)
        v = v - step / max(1.0, float(np.linalg.norm(step)))
    assert np.linalg.norm(slope + ridge * v) < 1e-8
    ours = np.asarray(trajectory.states)[-1] * SCALES
    assert relative_error(x @ ours, x @ v) < 1e-2


@pytest.mark.slow
def test_a_record_says_until_when_its_training_loss_is_resolved():
    record = lr.simulate(completion())
    floor, until = record.attrs["loss_floor"], record.attrs["resolved_until"]
    below = record["train_loss"].values < floor
    assert floor == pytest.approx(1e-6 * record["train_loss"].values[0], rel=1e-6)  # from f = 0
    assert until == record["time"].values[np.flatnonzero(~below)[-1]]
    descent = small_experiment(dynamics=lr.dynamics.GradientDescent(), t1=1.0)
    assert lr.simulate(descent).attrs["loss_floor"] == 0


# Batches.


@pytest.mark.slow
def test_a_batch_is_its_runs():
    base = completion()
    experiments = [
        base.with_changes({"init_scale": a, "weight_decay": w, "seed": s, "t1": 20 / w})
        for s, (a, w) in enumerate([(3.0, 1e-2), (10.0, 1e-3), (30.0, 1e-4)])
    ]
    together = lr.simulate_many(experiments)
    for experiment, record in zip(experiments, together, strict=True):
        alone = lr.simulate(experiment)
        xr.testing.assert_allclose(record, alone, rtol=1e-6, atol=1e-10)
        ours, theirs = (lr.summarise(r)["solver"] for r in (record, alone))
        assert {**ours, "reason": ""} == {**theirs, "reason": ""}
        assert record.attrs["experiment_hash"] == experiment.content_hash


def test_what_cannot_share_a_solve_is_refused():
    one = completion()
    with pytest.raises(lr.InputError, match="one or more experiments"):
        lr.simulate_many([])
    with pytest.raises(lr.InputError, match="share their dynamics"):
        lr.simulate_many([one, small_experiment()])
    with pytest.raises(lr.InputError, match="share their dynamics"):
        lr.simulate_many([one, one.with_changes({"dynamics.rtol": 1e-4})])
    with pytest.raises(lr.InputError, match="may differ in"):
        lr.simulate_many([one, one.with_changes({"task.num_observed": 71})])


# Models that do not fit.


@pytest.mark.slow
def test_a_degree_that_is_not_the_models_is_refused():
    wrong = lr.models.Functions(init_params=LINEAR.init_params, function=LINEAR.function, degree=2)
    run = lr.Experiment(
        task=lr.tasks.PolynomialRegression(n=5, d=3, num_test=5), model=wrong,
        loss=lr.losses.Squared(), dynamics=lr.dynamics.Flow(), t1=1.0,
    )  # fmt: skip
    start = np.ones(3)
    with pytest.raises(lr.InputError, match=r"model\.degree = 2\.0: outputs scale by the power 1"):
        lr.simulate(run, params=start)
    right = run.model_copy(update={"model": LINEAR})
    assert np.isfinite(lr.simulate(right, params=start).train_loss).all()
    with pytest.raises(lr.InputError, match="ReducedFlow"):
        lr.simulate(run.model_copy(update={"model": LINEAR, "dynamics": lr.dynamics.ReducedFlow()}))


@pytest.mark.slow
def test_inputs_and_labels_that_do_not_fit_are_refused():
    panel = completion()
    with pytest.raises(lr.InputError, match=r"model\.size = 5: should exceed every index"):
        lr.simulate(panel.with_changes({"model.size": 5}))
    size = panel.value("task.d")
    larger = panel.with_changes({"model.size": size + 1})
    for model in (larger.model, lr.models.Doubled(model=larger.model)):
        with pytest.raises(lr.InputError, match=rf"should be {size}, .*task\.d"):
            lr.simulate(larger.model_copy(update={"model": model}))
    other = panel.with_changes({"task.kind": "PolynomialRegression"})
    with pytest.raises(lr.InputError, match="needs pairs of whole numbers"):
        lr.simulate(other)
    many = other.with_changes({"model.kind": "MLP", "model.outputs": 3, "task.n": 4})
    with pytest.raises(lr.InputError, match="Squared needs classes"):
        lr.simulate(many)


@pytest.mark.slow
@pytest.mark.usefixtures("double")
def test_progress_is_told_times_that_increase():
    heard = []
    experiment = completion()
    problem = prepare(experiment).problem
    times = grids([experiment], [problem])
    experiment.dynamics.solve([problem], times, lambda now: heard.append((now.time, now.num_steps)))
    reached, steps = zip(*heard, strict=True)
    assert list(reached) == sorted(reached)
    assert reached[-1] == 1e5
    assert steps[0] == _stepping.SEGMENT


@pytest.mark.usefixtures("double")
def test_the_error_of_a_tiny_parameter_counts_relative_to_how_far_it_has_grown():
    # u_0 is too small for outputs and norms. Its error in units of itself counts, over one plus the
    # logarithm of its growth: a fifth after e^3 counts as a twentieth.
    start = lr.models.DiagonalParams(jnp.array([1e-12, 1.0]), jnp.array([1.0, 1.0]))
    problem = problem_of(
        np.eye(2), np.ones(2), start, 0.0, lr.models.DiagonalLinear(), lr.losses.Squared()
    )
    measure = StepError.of(problem, 1e-3, "both")

    def error(growth: float) -> float:
        now = start._replace(u=start.u.at[0].multiply(math.exp(growth)))
        change = jax.tree.map(jnp.zeros_like, start)
        change = change._replace(u=change.u.at[0].set(0.2 * now.u[0]))
        return float(measure(start, now, change))

    assert error(0.0) == pytest.approx(0.2 / float(measure.rtol))
    assert error(3.0) == pytest.approx(0.05 / float(measure.rtol))
    assert error(-3.0) == pytest.approx(0.05 / float(measure.rtol))

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.integrate import solve_ivp
from scipy.optimize import brentq

import lazyrich as lr
from lazyrich._core import room
from lazyrich.dynamics import Problem
from lazyrich.dynamics.diagonal import reduction as _reduction
from tests.helpers import diagonal_problem, entry_of, given, relative_error, silent

LOSSES = [lr.losses.Logistic(), lr.losses.Exponential(), lr.losses.Squared()]
CASES = [
    (depth, loss, weight_decay)
    for depth in (2, 3, 4)
    for loss in LOSSES
    for weight_decay in (0.0, 0.05)
]


def label(value):
    return type(value).__name__ if isinstance(value, lr.losses.AbstractLoss) else str(value)


def full_flow(problem, t1):
    """The 2d-dimensional flow, by another integrator, with derivatives by hand."""
    x, y = np.asarray(problem.train.x), np.asarray(problem.train.y)
    depth, decay = problem.model.depth, problem.weight_decay

    def field(t, theta):
        u, v = np.split(theta, 2)
        f = x @ (u**depth - v**depth)
        force = np.asarray(problem.loss.dual(f, y)) @ x / len(y)
        du = depth * u ** (depth - 1) * force - decay * u
        dv = -depth * v ** (depth - 1) * force - decay * v
        return np.concatenate([du, dv])

    start = np.concatenate([np.asarray(p) for p in problem.params])
    end = solve_ivp(field, (0, t1), start, method="LSODA", rtol=1e-11, atol=1e-13).y[:, -1]
    return lr.models.DiagonalParams(*given(np.split(end, 2)))


def final(trajectory):
    params = trajectory.params_at(trajectory.times[-1], entry_of(trajectory.states))
    return jax.tree.map(np.asarray, params)


def weights_of(problem: Problem) -> Callable[..., Any]:
    assert isinstance(problem.model, lr.models.DiagonalLinear)
    return problem.model.weights


@pytest.mark.slow
def test_a_settled_deep_net_stays_where_it_is_for_a_thousand_time_constants():
    # One weight for each sample, so that outputs are u^3 and each u is the root of a polynomial.
    y, decay = np.array([1.0, 0.5]), 0.01
    right = [brentq(lambda u, y=y: 3 * u * (u**3 - y) + decay, 0.7, 1.0) ** 3 for y in y]
    data = {"x_train": np.eye(2), "y_train": y, "x_test": np.eye(2), "y_test": y}
    e = lr.Experiment(
        task=lr.tasks.Arrays(**data),
        model=lr.models.DiagonalLinear(depth=3),
        loss=lr.losses.Squared(),
        weight_decay=decay,
        t1=1600 / decay,
        dynamics=lr.dynamics.ReducedFlow(),
        times=lr.dynamics.Times(num_log=20, num_linear=400),
        probes=("train_loss", "test_loss", "param_norm"),
    )
    record = lr.simulate(e)
    assert record.attrs["ending"] == "completed"
    settled = record["time"] * decay > 20
    off = (np.array(right) - y) @ (np.array(right) - y) / 2
    # Errors of outputs of five times rtol, with labels of root mean square 0.8.
    np.testing.assert_allclose(np.sqrt(record["train_loss"][settled]), np.sqrt(off), atol=4e-4)
    norm = np.linalg.norm(np.cbrt(right))
    np.testing.assert_allclose(record["param_norm"][settled], norm, atol=4e-4)


@pytest.mark.slow
@pytest.mark.parametrize(("depth", "loss", "weight_decay"), CASES, ids=label)
def test_agrees_with_the_full_flow(depth, loss, weight_decay):
    problem = diagonal_problem(depth, loss, weight_decay)
    t1 = 20.0
    flow = lr.dynamics.ReducedFlow(rtol=1e-9)
    trajectory = flow.follow(problem, np.array([0.0, 0.3 * t1, t1]), silent)
    assert trajectory.ending == "completed"
    ours, theirs = final(trajectory), full_flow(problem, t1)
    weights = lr.models.DiagonalLinear(depth=depth).weights
    assert relative_error(weights(ours), weights(theirs)) < 1e-6
    assert relative_error(ours.u, theirs.u) < 1e-6
    assert relative_error(ours.v, theirs.v) < 1e-6


@pytest.mark.slow
@pytest.mark.parametrize(("depth", "loss", "weight_decay"), CASES, ids=label)
def test_gradient_descent_tends_to_it_linearly(depth, loss, weight_decay):
    problem = diagonal_problem(depth, loss, weight_decay, n=4, d=12, init_scale=2.0)
    times = np.array([0.0, 0.64])
    flow = final(lr.dynamics.ReducedFlow(rtol=1e-10).follow(problem, times, silent))
    rates = np.array([4e-4, 2e-4, 1e-4])
    errors = []
    for rate in rates:
        descent = lr.dynamics.GradientDescent(learning_rate=rate).follow(problem, times, silent)
        weights = weights_of(problem)(final(descent))
        errors.append(relative_error(weights, weights_of(problem)(flow)))
    assert np.polyfit(np.log(rates), np.log(errors), 1)[0] == pytest.approx(1.0, abs=0.03)


@pytest.mark.usefixtures("double")
@pytest.mark.parametrize(("depth", "loss", "weight_decay"), CASES, ids=label)
def test_derivatives_agree_with_automatic_ones(depth, loss, weight_decay):
    problem = diagonal_problem(depth, loss, weight_decay)
    start = problem.params
    system = _reduction.reduce(problem, start)
    tau, nu = jnp.asarray(0.7), 0.01 * jnp.arange(1.0, 7.0)
    ours = _reduction.linearise(tau, nu, system)
    field = _reduction.field
    np.testing.assert_allclose(ours.value, field(tau, nu, system), rtol=1e-12)
    by_time = jax.jacfwd(lambda tau: field(tau, nu, system))(tau)
    np.testing.assert_allclose(ours.time_derivative, by_time, rtol=1e-9, atol=1e-15)
    by_state = jax.jacfwd(lambda nu: field(tau, nu, system))(nu)
    np.testing.assert_allclose(ours.jacobian, by_state, rtol=1e-9, atol=1e-12)


@pytest.mark.slow
def test_product_of_the_two_halves_only_decays():
    # At depth 2 the forces on u and v cancel in their product: u v = u0 v0 e^{-2 lambda t}.
    problem = diagonal_problem(2, lr.losses.Logistic(), 0.05)
    times = np.linspace(0.0, 200.0, 11)
    trajectory = lr.dynamics.ReducedFlow().follow(problem, times, silent)
    start = np.asarray(problem.params.u) * np.asarray(problem.params.v)
    for i, time in enumerate(times):
        u, v = map(np.asarray, trajectory.params_at(time, entry_of(trajectory.states, i)))
        np.testing.assert_allclose(u * v, start * np.exp(-2 * 0.05 * time), rtol=1e-11)


@pytest.mark.slow
def test_deep_nets_stay_exact_long_after_one_leg_would_have_lost_all_digits():
    # (L - 2) lambda t = 60: the difference in u's denominator is e^-60 of its terms.
    problem = diagonal_problem(3, lr.losses.Logistic(), 0.05)
    t1 = 1200.0
    trajectory = lr.dynamics.ReducedFlow(rtol=1e-8).follow(problem, np.array([0.0, t1]), silent)
    assert trajectory.ending == "completed"
    ours, theirs = final(trajectory), full_flow(problem, t1)
    weights = lr.models.DiagonalLinear(depth=3).weights
    assert relative_error(weights(ours), weights(theirs)) < 1e-6
    # Stationary by then: lambda theta is the force of the loss.
    x, y = given(problem.train.x), given(problem.train.y)
    force = np.asarray(problem.loss.dual(x @ given(weights(ours)), y)) @ x / len(y)
    assert relative_error(3 * ours.u**2 * force, 0.05 * ours.u) < 1e-3


@pytest.mark.slow
def test_own_start_of_any_sign_at_depth_two():
    problem = diagonal_problem(2, lr.losses.Squared(), 0.02)
    rng = np.random.default_rng(1)
    start = lr.models.DiagonalParams(*given(rng.normal(size=(2, 30))))
    own = type(problem)(problem.train, start, problem.weight_decay, problem.model, problem.loss)
    trajectory = lr.dynamics.ReducedFlow(rtol=1e-9).follow(own, np.array([0.0, 5.0]), silent)
    assert relative_error(final(trajectory).u, full_flow(own, 5.0).u) < 1e-6


@pytest.mark.slow
def test_tighter_tolerances_cost_more_and_err_less():
    problem = diagonal_problem(2, lr.losses.Logistic(), 0.05)
    exact = weights_of(problem)(full_flow(problem, 60.0))
    errors, steps = [], []
    for rtol in (1e-2, 1e-4, 1e-6, 1e-8):
        flow = lr.dynamics.ReducedFlow(rtol=rtol)
        trajectory = flow.follow(problem, np.array([0.0, 60.0]), silent)
        errors.append(relative_error(weights_of(problem)(final(trajectory)), exact))
        steps.append(trajectory.effort.num_steps)
    assert np.all(np.diff(steps) > 0)
    assert np.all(np.diff(np.log10(errors)) < -0.5)
    assert np.all(np.array(errors) < [1e-2, 1e-4, 1e-6, 1e-8])


@pytest.mark.slow
def test_a_spent_budget_is_named_and_keeps_what_was_reached():
    problem = diagonal_problem(2, lr.losses.Logistic(), 0.05)
    times = np.linspace(0.0, 100.0, 21)
    trajectory = lr.dynamics.ReducedFlow(max_steps=20).follow(problem, times, silent)
    assert trajectory.ending == "max_steps"
    assert 0 < len(trajectory.times) < 21
    np.testing.assert_array_equal(trajectory.times, times[: len(trajectory.times)])
    assert trajectory.effort.num_gradients == 8 * 20


def test_progress_is_told_and_ends_at_the_horizon():
    heard: list[float] = []
    problem = diagonal_problem(2, lr.losses.Logistic(), 0.05)
    flow = lr.dynamics.ReducedFlow(rtol=1e-9)  # more than five segments of 16 steps
    flow.follow(problem, np.array([0.0, 50.0]), lambda t, *_: heard.append(t))
    assert len(heard) > 5
    assert np.all(np.diff(heard) >= 0)
    assert heard[-1] == pytest.approx(50.0)


def test_what_it_cannot_follow_is_refused():
    problem = diagonal_problem(3, lr.losses.Logistic(), 0.05)
    zeros = jax.tree.map(jnp.zeros_like, problem.params)
    for depth, message in ((3, r"params\.u = 0\.0: should be positive"), (2, "nothing moves")):
        model = lr.models.DiagonalLinear(depth=depth)
        own = type(problem)(problem.train, zeros, 0.0, model, problem.loss)
        with pytest.raises(lr.InputError, match=message):
            lr.dynamics.ReducedFlow().follow(own, np.array([0.0, 1.0]), silent)


def test_the_memory_of_a_long_horizon_is_checked_before_the_solve(monkeypatch):
    problem = diagonal_problem(3, lr.losses.Logistic(), 0.05)
    grid = np.array([0.0, 4000.0])
    # lambda t = 200 takes 100 restarts, each with u and v, twice.
    needed = 2 * 100 * 2 * np.size(problem.params.u) * 8
    flow = lr.dynamics.ReducedFlow(max_steps=1)
    monkeypatch.setattr(room, "available", lambda: needed - 1)
    for solve in (
        lambda: flow.follow(problem, grid, silent),
        lambda: flow.solve([problem], [grid], lambda now: None),
    ):
        with pytest.raises(lr.InputError, match=r"t1 = 4000.0: takes .* KiB of memory"):
            solve()
    monkeypatch.setattr(room, "available", lambda: needed)
    assert flow.follow(problem, grid, silent).ending == "max_steps"


@pytest.mark.slow
def test_a_batch_is_its_runs():
    depth, loss = 3, lr.losses.Logistic()
    # Two samples of data, of which the first serves twice; one to thirteen intervals, grids of
    # two lengths, and a run that the budget of steps does not suffice for.
    shared = diagonal_problem(depth, loss, 0.01, 2.0)
    again = eqx.tree_at(
        lambda p: p.params, shared, jax.tree.map(lambda p: 3 * np.asarray(p), shared.params)
    )
    problems = [
        shared,
        eqx.tree_at(lambda p: p.weight_decay, again, 0.05),
        diagonal_problem(depth, loss, 0.04, 4.0, seed=1),
        diagonal_problem(depth, loss, 1e-4, 1000.0),
    ]
    times = [np.linspace(0, t1, num) for t1, num in ((50.0, 9), (400.0, 9), (300.0, 7), (1e6, 9))]
    flow = lr.dynamics.ReducedFlow(rtol=1e-5, max_steps=150)
    heard: list[int] = []
    together = flow.solve(problems, times, lambda now: heard.append(now.num_ended))
    assert [one.ending for one in together] == ["completed"] * 3 + ["max_steps"]
    assert heard == sorted(heard)
    assert heard[-1] == 4
    for problem, grid, ours in zip(problems, times, together, strict=True):
        alone = flow.follow(problem, grid, silent)
        assert (ours.ending, ours.effort) == (alone.ending, alone.effort)
        np.testing.assert_array_equal(ours.times, alone.times)
        np.testing.assert_array_equal(ours.states[0], alone.states[0])
        np.testing.assert_allclose(ours.states[1], alone.states[1], rtol=1e-9)
        assert relative_error(final(ours).u, final(alone).u) < 1e-9
        np.testing.assert_allclose(ours.final, final(ours), rtol=1e-12)


def test_what_cannot_share_a_solve_is_refused():
    problems = [diagonal_problem(2, lr.losses.Logistic(), 0.1, n=n) for n in (5, 6)]
    with pytest.raises(lr.InputError, match="may differ in"):
        lr.dynamics.ReducedFlow().solve(problems, [np.array([0.0, 1.0])] * 2, lambda now: None)

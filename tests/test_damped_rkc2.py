import dataclasses
import itertools
import json

import jax.numpy as jnp
import numpy as np
import pytest

import lazyrich as lr
from lazyrich._run.prepared import prepare
from lazyrich.dynamics._method import choose

from .test_stabilised import one_step, slope, solve

# Solvers are called through diffrax, whose precision is the user's.
pytestmark = pytest.mark.usefixtures("double")


def sliding(t, y, args):
    """x follows z along the kink at x = z, w follows it as a stiff component does."""
    x, z, w = y
    return jnp.array([-0.1 * jnp.sign(x - z), -0.05 * z, -20.0 * (w - z)])


@pytest.mark.slow
def test_slides_along_kinks_in_few_steps():
    # z = e^{-t/20} moves more slowly than the kink pulls, so x = z once it is there.
    end = np.exp(-1.5)
    runs = {
        kind: solve(sliding, kind(), jnp.array([0.9, 1.0, 1.0]), 30.0, 1e-3, tol=1e-3)
        for kind in (lr.solvers.RKC2, lr.solvers.DampedRKC2)
    }
    steps = {kind: int(run.stats["num_accepted_steps"]) for kind, run in runs.items()}
    ours = runs[lr.solvers.DampedRKC2].ys[-1]
    np.testing.assert_allclose(ours, [end, end, end * 20 / 19.95], rtol=5e-3)
    assert steps[lr.solvers.DampedRKC2] < 60
    assert steps[lr.solvers.RKC2] > 4 * steps[lr.solvers.DampedRKC2]


def season(t, y, args):
    """y' = -3 (y - cos t) - sin t: y = cos t from 1."""
    return -3.0 * (y - jnp.cos(t)) - jnp.sin(t)


@pytest.mark.slow
def test_order_and_backwards():
    steps = np.array([40, 80, 160])
    solver = lr.solvers.DampedRKC2()
    errors = [
        abs(float(solve(season, solver, jnp.ones(1), 2.0, 2.0 / n).ys[-1, 0]) - np.cos(2.0))
        for n in steps
    ]
    assert -slope(steps, errors) == pytest.approx(2, abs=0.15)
    there = solve(season, solver, jnp.ones(1), 1.0, 1e-3, tol=1e-8)
    back = solve(season, solver, there.ys[-1], 0.0, -1e-3, tol=1e-8, t0=1.0)
    assert float(back.ys[-1, 0]) == pytest.approx(1.0, abs=1e-4)


def through(function, times):
    """The last of steps of the given ends along a quadrature, whose exact states they keep."""
    solver = lr.solvers.DampedRKC2()
    state, y = None, jnp.array([function(times[0])])
    for start, end in itertools.pairwise(times):
        rate = (function(end) - function(start)) / (end - start)
        # Its rate jumps from step to step.
        y1, error, dense, state, _ = one_step(
            _constant, solver, y, end - start, start, state, True, jnp.array([rate])
        )
        last, y = diffrax_interpolation(start, end, dense), y1
    return error, last


def _constant(t, y, args):
    return args


def diffrax_interpolation(start, end, dense):
    return lr.solvers.DampedRKC2.interpolation_cls(t0=start, t1=end, **dense)


def test_error_and_interpolant_see_the_points_before():
    # Through four points of a cubic, unevenly spaced: its third derivative is 6, and the cubic
    # itself is found again in between.
    times = [0.0, 0.7, 1.1, 2.0]
    error, inside = through(lambda t: t**3 - 2 * t**2 + t, times)
    assert float(error[0]) == pytest.approx(0.9**3 * 6 / 15, rel=1e-9)
    t = np.linspace(1.1, 2.0, 7)
    found = [float(inside.evaluate(jnp.asarray(now))[0]) for now in t]
    np.testing.assert_allclose(found, t**3 - 2 * t**2 + t, atol=1e-12)
    moved = inside.evaluate(jnp.asarray(1.2), jnp.asarray(1.9))
    np.testing.assert_allclose(moved[0], (1.9**3 - 2 * 1.9**2) - (1.2**3 - 2 * 1.2**2) + 0.7)
    # Before there are two points, the error is that of RKC2: none on a straight line.
    assert float(through(lambda t: t**3, [0.0, 0.7, 1.1])[0][0]) == pytest.approx(0, abs=1e-12)


def experiment(method="auto", rtol=1e-2, **changes):
    return lr.Experiment(
        task=lr.tasks.ModularArithmetic(p=11, train_fraction=0.8),
        model=lr.models.MLP(widths=(48,), outputs=11, zero_last=True, one_hot=2),
        loss=lr.losses.CrossEntropy(),
        init_scale=10.0,
        weight_decay=1e-3,
        t1=1.2e4,
        dynamics=lr.dynamics.Flow(method=method, rtol=rtol),
        probes=("train_accuracy", "test_accuracy", "train_loss", "test_loss", "param_norm"),
        times=lr.dynamics.Times(first=1.0, num_log=60, num_linear=60),
        **changes,
    )


@pytest.mark.slow
def test_is_chosen_for_nets_with_kinks():
    prepared = prepare(experiment())
    problem = dataclasses.replace(prepared.problem, watched=prepared.data.watched)
    method = choose("auto", "linear", problem, 1e4)
    assert method.name == "DampedRKC2"
    assert "not smooth" in method.reason
    smooth = experiment().with_changes({"model.activation": "quadratic", "init_scale": 1.0})
    assert choose("auto", "linear", prepare(smooth).problem, 1e4).name == "RKC2"
    doubled = lr.models.Doubled(model=prepared.experiment.model)
    assert doubled.has_kinks
    assert not lr.models.Doubled(model=smooth.model).has_kinks
    own = lr.models.Functions(init_params=print, function=print, kinks=True)
    assert own.has_kinks
    assert not lr.models.MLP(widths=()).has_kinks  # an activation of no layer


@pytest.mark.slow
def test_a_net_of_relus_goes_where_small_steps_lead():
    # So far: from here on nets this small part at kinks, whatever the method.
    runs = [
        lr.simulate(experiment(*method).with_changes({"t1": 4e3}))
        for method in (("auto", 3e-3), ("tsit5", 3e-3))
    ]
    cost = [json.loads(run.attrs["solver"])["num_gradients"] for run in runs]
    assert cost[0] < cost[1] / 5
    times = np.geomspace(1.0, 4e3, 30)
    for name, tolerance in (("param_norm", 3e-3), ("train_loss", 2e-2), ("test_loss", 2e-2)):
        ours, theirs = (np.interp(times, run["time"], run[name]) for run in runs)
        np.testing.assert_allclose(ours, theirs, rtol=tolerance)
    fits = [lr.transition(run).t_train for run in runs]
    assert fits[0] == pytest.approx(fits[1], rel=0.01)

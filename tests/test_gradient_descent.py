import jax
import numpy as np
import pytest

import lazyrich as lr
from tests.helpers import diagonal_problem, silent


@pytest.mark.parametrize("depth", [2, 3])
def test_takes_the_steps_a_loop_takes(depth):
    problem = diagonal_problem(depth, lr.losses.Logistic(), 0.1)
    rate, times = 0.05, np.array([0.0, 0.05, 0.51, 2.0])
    trajectory = lr.dynamics.GradientDescent(learning_rate=rate).follow(problem, times, silent)
    np.testing.assert_allclose(trajectory.times, [0, 0.05, 0.5, 2.0])
    assert trajectory.effort.num_gradients == 40

    x, y = np.asarray(problem.train.x), np.asarray(problem.train.y)
    u, v = (np.asarray(p) for p in problem.params)
    for _ in range(40):
        margin = y * (x @ (u**depth - v**depth))
        force = (y / (1 + np.exp(margin))) @ x / len(y)
        u, v = (
            u + rate * (depth * u ** (depth - 1) * force - 0.1 * u),
            v - rate * (depth * v ** (depth - 1) * force + 0.1 * v),
        )
    end = jax.tree.map(lambda a: a[-1], trajectory.states)
    np.testing.assert_allclose(end.u, u, rtol=1e-11)
    np.testing.assert_allclose(end.v, v, rtol=1e-11)


def test_divergence_is_named_and_keeps_what_was_reached():
    problem = diagonal_problem(2, lr.losses.Squared(), 0.0, init_scale=50.0)
    times = np.linspace(0.0, 100.0, 11)
    trajectory = lr.dynamics.GradientDescent(learning_rate=1.0).follow(problem, times, silent)
    assert trajectory.ending == "diverged"
    assert 1 <= len(trajectory.times) < 11
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(trajectory.states))

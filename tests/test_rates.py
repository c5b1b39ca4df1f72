"""The fastest rate of a problem, and the first record that it sets."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import lazyrich as lr
from lazyrich.dynamics import Problem
from lazyrich.dynamics._rate import fastest_rate, fastest_rates
from lazyrich.tasks import Samples
from tests.helpers import diagonal_problem, in_double, small_experiment

LINEAR = lr.models.MLP(widths=(), activation="identity", bias=False)


OLD_HASH = "fba01826b40f66983e0a08d41d91e966bde59f5bb443c0cd4364964c8601ea28"


@in_double
def linear_problem(x: np.ndarray, loss: lr.losses.AbstractLoss, decay: float = 0.0) -> Problem:
    y = jnp.sign(jnp.arange(len(x)) - 0.5)
    params = jax.tree.map(jnp.zeros_like, LINEAR.init(jax.random.key(0), x.shape[1]))
    return Problem(Samples(jnp.asarray(x), y), params, decay, LINEAR, loss)


@pytest.mark.usefixtures("double")
@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e3])
def test_the_rate_of_a_linear_model_is_its_hessians_largest_eigenvalue(scale: float) -> None:
    x = scale * np.random.default_rng(0).normal(size=(30, 7))
    hessian = x.T @ x / len(x)
    for loss, curvature in ((lr.losses.Squared(), 2.0), (lr.losses.Logistic(), 0.25)):
        right = curvature * np.linalg.eigvalsh(hessian)[-1] + 0.3
        assert fastest_rate(linear_problem(x, loss, 0.3)) == pytest.approx(right, rel=0.2)


@pytest.mark.usefixtures("double")
def test_a_hinge_loss_has_a_rate_before_its_curvature_shows() -> None:
    # From zero weights f' = K s / n with s = y: the outputs' speed in units of 1.
    x = np.random.default_rng(0).normal(size=(5, 200))
    problem = linear_problem(x, lr.losses.Hinge())
    right = np.sqrt(np.mean((x @ x.T @ np.asarray(problem.train.y) / 5) ** 2))
    assert fastest_rate(problem) == pytest.approx(right, rel=1e-6)


@pytest.mark.usefixtures("double")
def test_nothing_that_moves_has_no_rate() -> None:
    problem = linear_problem(np.zeros((4, 3)), lr.losses.Squared())
    assert fastest_rate(problem) == 0.0


@pytest.mark.slow
@pytest.mark.usefixtures("double")
def test_rates_of_a_batch_are_those_of_each() -> None:
    problems = [diagonal_problem(2, lr.losses.Logistic(), 0.1, scale) for scale in (1.0, 30.0, 9.0)]
    assert fastest_rates(problems) == pytest.approx([fastest_rate(p) for p in problems], rel=1e-9)
    assert fastest_rates(problems[:1] * 2) == pytest.approx([fastest_rate(problems[0])] * 2)


@pytest.mark.slow
def test_the_first_record_comes_before_the_fit() -> None:
    # The kernel is alpha^2 as large, so training data are fitted alpha^2 sooner: t_train is a
    # constant over alpha^2, and not the time of the first record.
    times = lr.dynamics.Times(num_log=100, num_linear=5)
    fitted = []
    for scale in (30.0, 1000.0):
        changes = {"init_scale": scale, "times": times, "t1": 10.0, "weight_decay": 0.0}
        record = lr.simulate(small_experiment(**changes))
        fitted.append(lr.transition(record).t_train)
        assert record["time"].values[1] < 0.2 * fitted[-1]
        fitted[-1] *= scale**2
        assert record.sizes["time"] == 105
    assert fitted == pytest.approx([fitted[0]] * 2, rel=0.05)


def test_a_first_time_that_is_named_is_obeyed() -> None:
    assert lr.dynamics.Times(first=0.5, num_log=3, num_linear=0).grid(50.0, 1e-6)[1] == 0.5
    assert lr.dynamics.Times(num_log=3, num_linear=0).grid(50.0, 0.2)[1] == 0.2
    assert lr.dynamics.Times(num_log=3, num_linear=0).grid(1.0, 0.2)[1] == 0.1


@pytest.mark.slow
def test_the_first_record_of_an_optimiser_is_its_first_step() -> None:
    dynamics = lr.dynamics.GradientDescent(learning_rate=0.25)
    record = lr.simulate(small_experiment(init_scale=1.0, t1=50.0, dynamics=dynamics))
    assert record["time"].values[1] == 0.25


def test_a_default_first_time_leaves_the_hash_alone() -> None:
    # Of an experiment described before the first time depended on the problem.
    assert small_experiment(times=lr.dynamics.Times()).content_hash == OLD_HASH
    other = small_experiment(times=lr.dynamics.Times(first=0.01))
    assert other.content_hash != OLD_HASH

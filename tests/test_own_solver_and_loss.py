"""Solvers and losses of a user's own, followed through the public doors."""

from pathlib import Path
from types import SimpleNamespace
from typing import ClassVar

import diffrax
import jax
import jax.numpy as jnp
import numpy as np
import psutil
import pytest
from scipy.integrate import solve_ivp

import lazyrich as lr
from lazyrich.dynamics._method import choose


class OwnHuber(lr.losses.AbstractLoss):
    """Half the square up to `delta`, linear beyond."""

    is_classification: ClassVar[bool] = False

    delta: float = 0.3

    def value(self, f, y):
        r = jnp.abs(f - y)
        return jnp.where(r <= self.delta, 0.5 * r**2, self.delta * (r - 0.5 * self.delta))

    def dual(self, f, y):
        return jnp.clip(y - f, -self.delta, self.delta)

    def curvature(self, f, y):
        return (jnp.abs(f - y) <= self.delta).astype(f.dtype)

    def log_value(self, f, y):
        return jnp.log(self.value(f, y))


class OwnCauchy(OwnHuber):
    """A loss that is not convex: it curves downwards from 1 on."""

    def value(self, f, y):
        return 0.5 * jnp.log1p((f - y) ** 2)

    def dual(self, f, y):
        return (y - f) / (1 + (y - f) ** 2)

    def curvature(self, f, y):
        return (1 - (y - f) ** 2) / (1 + (y - f) ** 2) ** 2


X = np.random.default_rng(0).normal(size=(12, 6))
Y = X @ np.array([1.0, -0.5, 0, 0, 0, 0])
TASK = lr.tasks.Arrays(x_train=X[:8], y_train=Y[:8], x_test=X[8:], y_test=Y[8:])
PROBES = ("train_loss", "test_loss", "param_norm")


def experiment(loss, t1=20.0, decay=0.05, scale=0.8, **flow):
    times = lr.dynamics.Times(first=t1 / 1000, num_log=12, num_linear=4)
    flow = {"rtol": 1e-6, "densify": 0.0, **flow}
    return lr.Experiment(
        name="own", task=TASK, model=lr.models.DiagonalLinear(), loss=loss, init_scale=scale,
        weight_decay=decay, t1=t1, dynamics=lr.dynamics.Flow(**flow), probes=PROBES, times=times,
    )  # fmt: skip


def by_scipy(dual, decay, scale, times):
    """u and v of a diagonal net of depth 2 over time, by an integrator that is not ours."""

    def field(t, theta):
        del t
        u, v = np.split(theta, 2)
        pull = X[:8].T @ dual(X[:8] @ (u**2 - v**2), Y[:8]) / 8
        return np.concatenate([2 * u * pull, -2 * v * pull]) - decay * theta

    start = np.full(12, scale * 12**-0.5)
    return solve_ivp(field, (0, times[-1]), start, t_eval=times, rtol=1e-11, atol=1e-12).y.T


def huber(f, y):
    return np.clip(y - f, -0.3, 0.3)


def cauchy(f, y):
    return (y - f) / (1 + (y - f) ** 2)


@pytest.mark.slow
@pytest.mark.parametrize("method", ["auto", "rosenbrock", "rkc2"])
@pytest.mark.parametrize(("loss", "dual"), [(OwnHuber(), huber), (OwnCauchy(), cauchy)])
def test_a_loss_of_ones_own_is_followed(loss, dual, method):
    # Kinks and approximate matrices cost steps at tight tolerances, not exactness.
    record = lr.simulate(experiment(loss, method=method, rtol=1e-5))
    times = record["time"].values
    theta = by_scipy(dual, 0.05, 0.8, times)
    norms = np.linalg.norm(theta, axis=1)
    np.testing.assert_allclose(record["param_norm"], norms, rtol=1e-3)
    f = X[8:] @ (theta[:, :6] ** 2 - theta[:, 6:] ** 2).T
    losses = np.mean(loss.value(jnp.asarray(f), jnp.asarray(Y[8:, None])), axis=0)
    np.testing.assert_allclose(record["test_loss"], losses, rtol=5e-3, atol=1e-6)


@pytest.mark.slow
def test_half_a_square_is_the_square_at_half_the_time():
    # Half of |f - y|^2 with decay L at time t is |f - y|^2 with decay 2 L at time t / 2.
    half = experiment(OwnHuber(delta=1e3), 100.0, 0.01, scale=1.5)
    whole = experiment(lr.losses.Squared(), 50.0, 0.02, scale=1.5)
    mine, theirs = lr.simulate(half), lr.simulate(whole)
    np.testing.assert_allclose(mine["time"], 2 * theirs["time"], rtol=1e-12)
    np.testing.assert_allclose(2 * mine["train_loss"], theirs["train_loss"], rtol=1e-3)
    np.testing.assert_allclose(mine["param_norm"], theirs["param_norm"], rtol=1e-5)
    # Losses are scored by the constant output that is best.
    events, other = lr.transition(mine), lr.transition(theirs)
    assert events.outcome == other.outcome == "gradual"
    assert events.t50 == pytest.approx(2 * other.t50, rel=1e-3)
    forecast, one = lr.forecast(half), lr.forecast(whole)
    assert forecast.verdict == one.verdict
    assert forecast.t_kernel_end == pytest.approx(2 * one.t_kernel_end, rel=1e-3)


@pytest.mark.slow
@pytest.mark.parametrize(
    "solver", [diffrax.Dopri5(), diffrax.Kvaerno5()], ids=["Dopri5", "Kvaerno5"]
)
def test_a_solver_of_ones_own_gives_the_same_curves(solver):
    theirs = lr.simulate(experiment(lr.losses.Squared()))
    mine = lr.simulate(experiment(lr.losses.Squared(), method=solver))
    np.testing.assert_allclose(mine["param_norm"], theirs["param_norm"], rtol=1e-5)
    np.testing.assert_allclose(mine["test_loss"], theirs["test_loss"], rtol=1e-3)
    said = lr.summarise(mine)["solver"]
    assert said["name"] == type(solver).__name__
    assert said["reason"] == "passed by the user"
    assert said["num_steps"] > 10
    assert said["num_gradients"] is None
    assert mine.attrs["experiment_hash"] != theirs.attrs["experiment_hash"]


def test_a_solver_of_ones_own_is_part_of_the_identity():
    squared = lr.losses.Squared()
    hashes = [
        experiment(squared, method=method).content_hash
        for method in (
            "auto", "tsit5", diffrax.Dopri5(), diffrax.Kvaerno5(),
            diffrax.Kvaerno5(root_finder=diffrax.VeryChord(rtol=1e-3, atol=1e-6)),
        )
    ]  # fmt: skip
    assert len(set(hashes)) == 5
    again = experiment(squared, method=diffrax.Dopri5())
    assert again.content_hash == hashes[2]
    assert again == experiment(squared, method=diffrax.Dopri5())
    # A file names it, and is refused where the solver itself is needed.
    assert 'method = "diffrax._solver.dopri5.Dopri5"' in again.description
    with pytest.raises(lr.InputError, match=r"dynamics.method = 'diffrax.*passed in Python"):
        lr.Experiment.from_toml('t1 = 1.0\n[task]\nkind = "SparseRegression"\n[dynamics]\n'
                                'kind = "Flow"\nmethod = "diffrax.Dopri5"\n', Path())  # fmt: skip


@pytest.mark.parametrize(
    ("method", "message"),
    [
        (diffrax.Dopri5, r"method = 'Dopri5': should be called: Dopri5\(\)"),
        (diffrax.Euler(), "method = 'Euler': should estimate its error"),
        (diffrax.KenCarp4(), "method = 'KenCarp4': should step one term"),
        ("dopri5", "method = 'dopri5': should be one of auto, rosenbrock, rock2"),
        (5, "method = 5: should be one of auto, .*, or a diffrax solver"),
    ],
)  # fmt: skip
def test_what_cannot_follow_a_flow_is_refused(method, message):
    with pytest.raises(lr.InputError, match=message):
        lr.dynamics.Flow(method=method)


@pytest.mark.usefixtures("double")
def test_the_first_recipe_that_admits_a_problem_is_taken():
    def name(wish, loss, clock="linear"):
        y = np.sign(Y[:8]) if loss.is_classification else Y[:8]
        model = lr.models.DiagonalLinear()
        params = model.init(jax.random.key(0), 6)
        train = lr.tasks.Samples(jnp.asarray(X[:8]), jnp.asarray(y))
        problem = lr.dynamics.Problem(
            model=model, loss=loss, train=train, params=params, weight_decay=0.0
        )
        return choose(wish, clock, problem, 1.0).name

    assert name("rosenbrock", lr.losses.Squared()) == "DualROS34PW2"
    assert name("rosenbrock", OwnHuber()) == "ROS34PW2"
    assert name("rosenbrock", lr.losses.Logistic()) == "ROS34PW2"
    assert name("tsit5", OwnHuber()) == "Tsit5"
    assert name(diffrax.Dopri8(), OwnHuber()) == "Dopri8"
    assert name("rkc2", lr.losses.Logistic(), "log") == "RKC2"
    with pytest.raises(lr.InputError, match="the log clock takes auto, rock2, rkc2, damped_rkc2"):
        name("rosenbrock", lr.losses.Logistic(), "log")


@pytest.mark.usefixtures("double")
def test_a_kernel_that_does_not_fit_is_refused_before_it_is_computed(monkeypatch):
    # Four matrices of 8 x 8 float64 take 2,048 bytes.
    model = lr.models.DiagonalLinear()
    problem = lr.dynamics.Problem(
        model=model, loss=lr.losses.Squared(),
        train=lr.tasks.Samples(jnp.asarray(X[:8]), jnp.asarray(Y[:8])),
        params=model.init(jax.random.key(0), 6), weight_decay=0.0,
    )  # fmt: skip
    for available in (2048, 2047):
        memory = SimpleNamespace(available=available)
        monkeypatch.setattr(psutil, "virtual_memory", lambda memory=memory: memory)
        if available >= 2048:
            assert choose("rosenbrock", "linear", problem, 1.0).name == "DualROS34PW2"
            continue
        with pytest.raises(lr.InputError, match=r"needs 4 matrices of 8 x 8, 0.0 GB, and 0.0 GB"):
            choose("rosenbrock", "linear", problem, 1.0)


def test_typical_outputs():
    y = jnp.asarray([3.0, -4.0, 0.0, 0.0])
    assert OwnHuber().typical_output((4,), y) == pytest.approx(2.5)
    assert lr.losses.Squared().typical_output((4,), y) == pytest.approx(2.5)
    assert lr.losses.Squared().typical_output((4,), jnp.zeros(4)) == 1.0
    classes = jnp.asarray([0, 1, 3, 2], jnp.int32)
    assert lr.losses.Squared().typical_output((4, 4), classes) == pytest.approx(0.5)
    assert lr.losses.Logistic().typical_output((4,), jnp.sign(y)) == 1.0
    assert OwnHuber().curvature_at_labels(y) == 1.0
    # Half the variance of the labels where errors are small, and the median's beside outliers.
    assert OwnHuber(delta=10.0).variance((4,), y) == pytest.approx(float(np.var(y)) / 2)
    assert OwnHuber(delta=1e-6).variance((4,), y) == pytest.approx(1e-6 * 7 / 4, rel=1e-5)
    assert np.isnan(lr.losses.Logistic().variance((4,), jnp.sign(y)))
    assert lr.losses.Squared().curvature_at_labels(y) == 2.0
    # Where the Cauchy loss curves downwards, the root of its curvature is zero.
    root = OwnCauchy().curvature_root(y + jnp.asarray([0.0, 0.0, 2.0, -1.5]), y, jnp.ones(4))
    np.testing.assert_array_equal(root, [1.0, 1.0, 0.0, 0.0])


class Halved(OwnHuber):
    """The dual of another loss."""

    def dual(self, f, y):
        return 0.5 * super().dual(f, y)


class Bent(OwnHuber):
    """The curvature of another loss."""

    def curvature(self, f, y):
        return jnp.ones_like(f)


class Contrast(OwnHuber):
    """A loss of differences to other samples."""

    def value(self, f, y):
        return super().value(f - jnp.mean(f), y)


class Total(OwnHuber):
    """One number for all samples."""

    def value(self, f, y):
        return jnp.mean(super().value(f, y))


class Logged(OwnHuber):
    """The value in place of its logarithm."""

    def log_value(self, f, y):
        return self.value(f, y)


class InNumPy(OwnHuber):
    """A loss that leaves JAX."""

    def value(self, f, y):
        return np.abs(np.asarray(f) - np.asarray(y))


@pytest.mark.parametrize(
    ("loss", "message"),
    [
        (Halved(), r"loss.dual = .* at sample \d+.*: is not minus the derivative of `value` by f"),
        (Bent(), r"loss.curvature = .*: is not the second derivative of `value`"),
        (Contrast(), r"loss.value = .*: depends on other samples"),
        (Total(), r"loss.value = 'shape \(\)': should return shape \(8,\)"),
        (Logged(), r"loss.log_value = .*: is not the logarithm of `value`"),
        (InNumPy(), r"loss.value = 'InNumPy': fails: it uses NumPy where jax.numpy is needed"),
    ],
    ids=lambda part: type(part).__name__ if isinstance(part, lr.losses.AbstractLoss) else "",
)
def test_a_loss_that_contradicts_itself_is_refused(loss, message):
    for door in (lr.simulate, lr.forecast):
        with pytest.raises(lr.InputError, match=message):
            door(experiment(loss))

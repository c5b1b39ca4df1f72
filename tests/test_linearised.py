import jax
import jax.flatten_util
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest
from scipy.integrate import solve_ivp
from scipy.linalg import expm

import lazyrich as lr
from lazyrich._run.prepared import prepare
from tests.helpers import in_double, relative_error

TIMES = lr.dynamics.Times(num_log=12, num_linear=4, first=0.01)
PROBES = ("train_loss", "test_loss", "param_norm", "drift")
FLOW = lr.dynamics.Flow(rtol=1e-6, densify=0.0)


def regression(**changes):
    rng = np.random.default_rng(0)
    x, test = rng.normal(size=(6, 4)), rng.normal(size=(5, 4))
    fields = {
        "task": lr.tasks.Arrays(
            x_train=x, y_train=x[:, 0] * x[:, 1], x_test=test, y_test=test[:, 0] * test[:, 1]
        ),
        "model": lr.models.CommitteeMachine(width=5, output_scale=4.0),
        "loss": lr.losses.Squared(),
        "t1": 3.0,
        "times": TIMES,
        "probes": PROBES,
        "dynamics": FLOW,
    }
    return lr.Experiment(**{**fields, **changes})


class Parts:
    """The base's start, and its outputs and Jacobian there, on training and test inputs."""

    @in_double
    def __init__(self, experiment):
        prepared = prepare(experiment)
        model, train, test = experiment.model, prepared.problem.train, prepared.data.test
        flat, unravel = jax.flatten_util.ravel_pytree(prepared.problem.params)
        self.params, self.y, self.y_test = map(np.asarray, (flat, train.y, test.y))
        self._outputs = [lambda p, x=x: model.apply(unravel(p), x).ravel()
                         for x in (train.x, test.x)]  # fmt: skip
        (self.f, self.j), (self.f_test, self.j_test) = self.at(self.params)

    @in_double
    def at(self, params):
        """Outputs and Jacobian at other parameters, on training and test inputs."""
        flat = jnp.asarray(params)
        return [(np.asarray(f(flat)), np.asarray(jax.jacrev(f)(flat))) for f in self._outputs]

    def losses(self, delta):
        """Mean squared losses of the expansion where it has moved by `delta`."""
        f, f_test = self.f + self.j @ delta, self.f_test + self.j_test @ delta
        return np.mean((f - self.y) ** 2), np.mean((f_test - self.y_test) ** 2)


@pytest.mark.slow
def test_a_fixed_twin_follows_the_kernel_equation():
    # δ' = -(2/n) Jᵀ(f_0 + J δ - y) - λ(θ_0 + δ): linear, so a matrix exponential solves it.
    decay = 0.3
    experiment = regression(weight_decay=decay)
    record = lr.simulate(lr.linearise(experiment))
    at = Parts(experiment)
    n, p = at.j.shape
    matrix = 2 / n * at.j.T @ at.j + decay * np.eye(p)
    force = 2 / n * at.j.T @ (at.y - at.f) - decay * at.params
    end = np.linalg.solve(matrix, force)
    for i, time in enumerate(record["time"].values):
        delta = end - expm(-matrix * time) @ end
        train, test = at.losses(delta)
        assert float(record["train_loss"][i]) == pytest.approx(train, rel=1e-3, abs=1e-5)
        assert float(record["test_loss"][i]) == pytest.approx(test, rel=1e-3)
        norm = np.linalg.norm(at.params + delta)
        assert float(record["param_norm"][i]) == pytest.approx(norm, rel=1e-5)


@pytest.mark.slow
def test_without_decay_it_ends_at_the_kernel_interpolant_and_the_model_does_not():
    experiment = regression(t1=200.0)
    twin = lr.simulate(lr.linearise(experiment))
    at = Parts(experiment)
    shortest = np.linalg.lstsq(at.j, at.y - at.f)[0]
    assert float(twin["test_loss"][-1]) == pytest.approx(at.losses(shortest)[1], rel=1e-3)
    assert float(twin["train_loss"][-1]) < 1e-6
    assert float(twin["drift"][-1]) == pytest.approx(np.linalg.norm(shortest), rel=1e-3)
    model = lr.simulate(experiment)
    assert abs(float(model["test_loss"][-1]) / float(twin["test_loss"][-1]) - 1) > 0.1
    # Both begin at one place, and stay together for as long as the kernel has not moved.
    early = int(np.searchsorted(model["time"].values, 0.01)) + 1
    np.testing.assert_allclose(model["test_loss"][:early], twin["test_loss"][:early], rtol=0.02)


@pytest.mark.slow
def test_a_decaying_twin_is_the_kernel_phase_of_a_homogeneous_net():
    # f = e^{-Lλt}(f_0 + K c) with c' = e^{-(L-2)λt} s(f)/n; L = 3 for a quadratic layer.
    decay, degree = 0.2, 3
    base = regression(
        model=lr.models.MLP(widths=(3,), activation="quadratic", bias=False),
        weight_decay=decay,
        init_scale=1.5,
        t1=6.0,
    )
    record = lr.simulate(lr.linearise(base, base_point="decaying"))
    at = Parts(base)
    n = len(at.y)

    def outputs(time, c, f, j):
        return np.exp(-degree * decay * time) * (f + j @ (at.j.T @ c))

    def slope(time, c):
        dual = 2 * (at.y - outputs(time, c, at.f, at.j))
        return np.exp(-(degree - 2) * decay * time) * dual / n

    times = record["time"].values
    c = solve_ivp(slope, (0, 6.0), np.zeros(n), "BDF", times, rtol=1e-9, atol=1e-12).y
    along = list(zip(times, c.T, strict=True))
    train = [np.mean((outputs(t, k, at.f, at.j) - at.y) ** 2) for t, k in along]
    test = [np.mean((outputs(t, k, at.f_test, at.j_test) - at.y_test) ** 2) for t, k in along]
    assert relative_error(record["train_loss"], train) < 1e-3
    assert relative_error(record["test_loss"], test) < 1e-3


@pytest.mark.slow
def test_the_twin_of_a_linear_model_is_the_model():
    linear = lr.models.Functions(
        init_params=lambda key, dim: jr.normal(key, (dim,)),
        function=lambda p, x: x @ p,
        degree=1.0,
    )
    experiment = regression(model=linear, weight_decay=0.1)
    model, twin = lr.simulate(experiment), lr.simulate(lr.linearise(experiment))
    assert twin.attrs["solver"] != ""
    for name in PROBES:
        np.testing.assert_allclose(model[name], twin[name], rtol=1e-4, atol=1e-7, err_msg=name)


@pytest.mark.slow
@pytest.mark.parametrize("base_point", ["fixed", "decaying"])
def test_optimisers_leave_the_origin_to_its_rule(base_point):
    # A step of gradient descent, by hand.
    rate, decay = 0.01, 0.3
    experiment = regression(
        weight_decay=decay, t1=2 * rate, dynamics=lr.dynamics.GradientDescent(learning_rate=rate)
    )
    record = lr.simulate(lr.linearise(experiment, base_point))
    at = Parts(experiment)
    delta = np.zeros_like(at.params)
    shrink = 1.0
    n = len(at.y)
    for _ in range(2):
        if base_point == "fixed":
            residual = at.y - at.f - at.j @ delta
            delta = delta + rate * (2 / n * at.j.T @ residual - decay * (at.params + delta))
        else:
            f, j = at.at(shrink * at.params)[0]
            residual = at.y - f - j @ delta
            delta = (1 - rate * decay) * delta + rate * 2 / n * j.T @ residual
            shrink *= 1 - rate * decay
    end = at.params * shrink + delta
    assert float(record["param_norm"][-1]) == pytest.approx(np.linalg.norm(end), rel=1e-12)


def test_description_of_a_twin(tmp_path):
    twin = lr.linearise(regression(), base_point="decaying")
    twin.save(tmp_path / "twin.toml")
    again = lr.Experiment.load(tmp_path / "twin.toml")
    assert again == twin
    assert again.content_hash == twin.content_hash != regression().content_hash
    wider = twin.with_changes({"model.model.width": 9})
    assert wider.value("model.model")["width"] == 9
    assert wider.value("model.base_point") == "decaying"
    with pytest.raises(lr.InputError, match=r"^model\.model\.kind = 'Net': should be one of"):
        twin.with_changes({"model.model": {"kind": "Net"}})
    # A diagonal net's reduction is not its twin's.
    reduced = lr.linearise(lr.Experiment(task=lr.tasks.SparseClassification()))
    assert isinstance(reduced.dynamics, lr.dynamics.Flow)
    with pytest.raises(lr.InputError, match=r"^model\.base_point = 'decaying': Adam"):
        lr.simulate(twin.model_copy(update={"dynamics": lr.dynamics.Adam()}))

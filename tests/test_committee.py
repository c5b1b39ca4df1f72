"""Committee machines: the closure of their flow, their exact errors, their kernels and twins."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import lazyrich as lr
from lazyrich._run.context import probed
from lazyrich._run.prepared import prepare
from lazyrich.probes import RunState
from tests.helpers import normal, relative_error

MEASURED = (
    "train_loss", "test_loss", "param_norm", "population_error", "error_variance",
    "error_misalignment", "error_linear", "mean_weight_norm", "second_moment_trace",
    "second_moment_norm", "kernel_alignment_labels", "kernel_alignment_start",
    "kernel_top_eigenvalue", "kernel_top_label_power", "task_difficulty", "twin_train_loss",
    "twin_test_loss", "twin_population_error", "kernel_regression_loss",
    "kernel_regression_error",
)  # fmt: skip


def machine(**changes):
    return lr.models.CommitteeMachine(
        **{"width": 3, "epsilon": 0.4, "output_scale": 2.0, **changes}
    )


def experiment(**changes):
    """Two inputs, four samples: integrals over all inputs are sums of a few points."""
    fields = {
        "task": lr.tasks.PolynomialRegression(n=4, d=2, num_test=30),
        "model": machine(),
        "loss": lr.losses.Squared(),
        "dynamics": lr.dynamics.Flow(rtol=1e-7, method="rosenbrock", densify=0.0, closure=True),
        "times": lr.dynamics.Times(first=0.1, num_log=12, num_linear=0),
        "probes": MEASURED,
        "t1": 200.0,
        "seed": 3,
    }
    return lr.Experiment(**{**fields, **changes})


def neurons(**changes):
    flow = lr.dynamics.Flow(rtol=1e-7, method="rosenbrock", densify=0.0)
    return experiment(dynamics=flow, **changes)


@pytest.fixture(scope="module")
def closure():
    return lr.simulate(experiment())


@pytest.fixture(scope="module")
def whole():
    return lr.simulate(neurons())


def integral(function, dim=2):
    """The mean over N(0, I/dim), exact for polynomials of degree seven in each coordinate."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(4)
    x = np.array(list(itertools.product(nodes, repeat=dim))) / np.sqrt(dim)
    w = np.array([np.prod(pair) for pair in itertools.product(weights, repeat=dim)])
    return np.sum(w * function(x)) / np.sum(w)


@pytest.mark.slow
def test_the_closure_is_the_net(closure, whole):
    assert closure.attrs["ending"] == whole.attrs["ending"] == "completed"
    assert float(whole["train_loss"][-1] / whole["train_loss"][0]) < 0.01
    for name in MEASURED:
        np.testing.assert_allclose(closure[name], whole[name], rtol=2e-4, atol=1e-8, err_msg=name)
    # Its state is no parameter: of these, the drift has no meaning.
    assert "drift" not in lr.simulate(experiment(probes=("drift", "param_norm"), t1=1.0))


@pytest.mark.slow
def test_net_and_closure_are_what_descent_tends_to(closure):
    few = ("train_loss", "test_loss", "param_norm")
    ends = []
    for rate in (0.01, 0.005):
        descent = lr.dynamics.GradientDescent(learning_rate=rate)
        ends.append(lr.simulate(experiment(dynamics=descent, probes=few)))
    for name in few:
        coarse, fine = (float(end[name][-1]) for end in ends)
        assert float(closure[name][-1]) == pytest.approx(2 * fine - coarse, rel=2e-3), name


@pytest.mark.slow
def test_the_closure_with_decay_a_centre_and_large_inputs():
    changes = {
        "task": lr.tasks.PolynomialRegression(n=4, d=2, num_test=30, convention="unit_inputs"),
        "model": lr.models.Centred(model=machine(inputs="over_root_d")),
        "weight_decay": 0.02,
        "divide_loss": True,
        "probes": ("train_loss", "test_loss", "param_norm", "population_error", "twin_test_loss"),
        "t1": 50.0,
    }
    ours, theirs = lr.simulate(experiment(**changes)), lr.simulate(neurons(**changes))
    assert float(ours["param_norm"][-1] / ours["param_norm"][0]) < 0.95
    assert "twin_test_loss" not in ours  # closed without decay alone
    for name in ("train_loss", "test_loss", "param_norm", "population_error"):
        np.testing.assert_allclose(ours[name], theirs[name], rtol=5e-4, err_msg=name)


@pytest.mark.slow
def test_closed_is_the_same_function_with_the_same_kernel():
    model = lr.models.Centred(model=machine(inputs="over_root_d"))
    start = model.init(jax.random.key(0), 3)
    params = start._replace(moved=np.asarray(start.moved) + 0.3 * normal(1, 3, 3))
    x = normal(2, 7, 3)
    trained = machine(readouts="trained")
    for name in ("closed", "condensed"):
        ours, its_params = getattr(model, name)(params)
        np.testing.assert_allclose(ours.apply(its_params, x), model.apply(params, x))
        kernel = ours.tangent_kernel(its_params, x)
        np.testing.assert_allclose(kernel, model.tangent_kernel(params, x), rtol=1e-10)
        np.testing.assert_allclose(ours.norm(its_params), model.norm(params))
        with pytest.raises(lr.InputError, match=r"^dynamics.closure = True: .*frozen readouts"):
            getattr(trained, name)(trained.init(jax.random.key(0), 3))


@pytest.mark.slow
@pytest.mark.usefixtures("double")
def test_the_flow_of_few_neurons_is_the_closure_in_mean_and_second_moment():
    model = machine(width=9)
    weights = model.init(jax.random.key(0), 3)
    x, r = jax.random.normal(jax.random.key(1), (5, 3)), jnp.array([0.3, -1.0, 0.7, 0.2, -0.4])
    few, params = model.condensed(weights)
    assert params.rest.shape == (3, 3)
    velocity = jax.vjp(lambda p: few.apply(p, x), params)[1](r)[0]

    def moments(p):
        return few.closed(p).params

    here, moved = jax.jvp(moments, (params,), (velocity,))
    np.testing.assert_allclose(here.second, weights.T @ weights / 9, rtol=1e-12)
    # N w' = g + eps G w and N M' = g w^T + w g^T + eps (G M + M G), w for the mean weight.
    g, turn = 2.0 * x.T @ r, 0.4 * 2.0 * (x.T * r[None]) @ x
    np.testing.assert_allclose(9 * moved.mean, g + turn @ here.mean, rtol=1e-10)
    half = jnp.outer(g, here.mean) + turn @ here.second
    np.testing.assert_allclose(9 * moved.second, half + half.T, rtol=1e-10)
    # No error of any size makes M indefinite.
    off = jax.tree.map(lambda p: p + jax.random.normal(jax.random.key(2), p.shape), params)
    assert np.linalg.eigvalsh(moments(off).second).min() >= 0


@pytest.mark.slow
@pytest.mark.usefixtures("double")
def test_the_error_over_all_inputs_is_the_integral(whole):
    # At the start and at the end, from the neurons.
    prepared = prepare(neurons())
    teacher = np.asarray(prepared.data.teacher(prepared.problem))
    model = prepared.experiment.model

    def gap(x):
        f = np.asarray(model.apply(prepared.problem.params, jnp.asarray(x)))
        return (f - 0.5 * (x @ teacher) ** 2) ** 2

    assert float(whole["population_error"][0]) == pytest.approx(integral(gap), rel=1e-12)
    parts = sum(whole[f"error_{part}"] for part in ("variance", "misalignment", "linear"))
    np.testing.assert_allclose(parts, whole["population_error"], rtol=1e-10)
    # Thirty test points are a sample of it.
    assert float(abs(np.log(whole["test_loss"] / whole["population_error"])).max()) < 1.0


@pytest.mark.slow
@pytest.mark.usefixtures("double")
def test_kernels_by_brute_force(whole):
    prepared = prepare(neurons())
    model, params = prepared.experiment.model, prepared.problem.params
    x, y = prepared.data.split.train.x, np.asarray(prepared.data.split.train.y)

    def features(x):
        return np.asarray(jax.jacrev(lambda p: model.apply(p, x))(params)).reshape(len(x), -1)

    kernel = features(x) @ features(x).T
    middle = np.eye(4) - 1 / 4
    centred, y_c = middle @ kernel @ middle, y - y.mean()
    cka = y_c @ centred @ y_c / (np.linalg.norm(centred) * y_c @ y_c)
    assert float(whole["kernel_alignment_labels"][0]) == pytest.approx(cka, rel=1e-9)
    assert float(whole["kernel_alignment_start"][0]) == pytest.approx(1.0)
    assert float(whole["kernel_alignment_start"][-1]) < 0.999
    values, vectors = np.linalg.eigh(kernel)
    assert float(whole["kernel_top_eigenvalue"][0]) == pytest.approx(values[-1])
    assert float(whole["kernel_top_label_power"][0]) == pytest.approx(1.0)  # of four, all ten
    probe = lr.probes.KernelTop("label_power", num=2)
    here = RunState(jnp.zeros(()), params, None, jnp.zeros(4), jnp.zeros(30))
    share = np.sum((y @ vectors[:, 2:]) ** 2) / np.sum(y**2)
    assert float(probe(here, probed(prepared, prepared.data.test.y).context)) == pytest.approx(
        share
    )
    assert 0.01 < share < 0.99
    solved = np.linalg.solve(kernel, y)
    assert float(whole["task_difficulty"][0]) == pytest.approx(y @ solved, rel=1e-6)
    # Regression with it, on the test data and over all inputs.
    test = next(iter(prepared.data.split.test))
    cross = features(test.x) @ features(x).T
    loss = np.mean((cross @ solved - np.asarray(test.y)) ** 2)
    teacher = np.asarray(prepared.data.teacher(prepared.problem))

    def gap(points):
        f = features(jnp.asarray(points)) @ features(x).T @ solved
        return (f - 0.5 * (points @ teacher) ** 2) ** 2

    np.testing.assert_allclose(whole["kernel_regression_loss"], loss, rtol=1e-6)
    np.testing.assert_allclose(whole["kernel_regression_error"], integral(gap), rtol=1e-6)


@pytest.mark.slow
def test_the_twin_is_the_linearised_run(whole):
    twin = lr.simulate(lr.linearise(neurons(probes=("train_loss", "test_loss"))))
    for part in ("train", "test"):
        assert relative_error(whole[f"twin_{part}_loss"], twin[f"{part}_loss"]) < 1e-5
    np.testing.assert_allclose(
        whole["twin_population_error"][0], whole["population_error"][0], rtol=1e-12
    )
    assert abs(float(whole["twin_test_loss"][-1] / whole["test_loss"][-1]) - 1) > 0.1


@pytest.mark.slow
def test_the_twin_of_any_model():
    net = lr.models.MLP(widths=(3,), activation="tanh")
    small = {"model": net, "probes": ("train_loss", "test_loss"), "t1": 20.0}
    base = neurons(**small)
    ours = lr.simulate(neurons(**{**small, "probes": MEASURED}))
    assert {"twin_test_loss", "kernel_regression_loss", "kernel_alignment_start"} <= set(ours)
    assert not {"population_error", "kernel_regression_error", "mean_weight_norm"} & set(ours)
    twin = lr.simulate(lr.linearise(base))
    assert relative_error(ours["twin_test_loss"], twin["test_loss"]) < 1e-4


@pytest.mark.parametrize("kind", ["CommitteeStatistics", "CondensedCommittee"])
def test_statistics_are_not_for_users_to_name(kind):
    experiment = lr.Experiment(
        task=lr.tasks.PolynomialRegression(n=4, d=3, num_test=2),
        model=getattr(lr.models, kind)(width=2, epsilon=0.1, output_scale=1.0),
        loss=lr.losses.Squared(),
        dynamics=lr.dynamics.Flow(),
    )
    with pytest.raises(lr.InputError, match=rf"^model\.kind = '{kind}': is .* a CommitteeMachine"):
        lr.simulate(experiment)

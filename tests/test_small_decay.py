"""The limit of small weight decay, against closed forms and against runs at a small decay."""

import dataclasses
import functools
import json
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.optimize

import lazyrich as lr
from lazyrich._core.errors import number_of
from lazyrich._core.precision import in_double
from lazyrich.dynamics import Problem
from lazyrich.sweeps import Sweep
from lazyrich.tasks import Samples

from .helpers import assert_same_record, normal, relative_error, silent

DECAY = 1e-6
TIGHT = lr.dynamics.SmallDecayLimit(rtol=1e-8)


def vector(key: Any, dim: int) -> Any:
    del key
    return jnp.ones(dim)


def product(params: Any, x: Any) -> Any:
    return x[:, 0] * params[0] * params[1]


def linear(params: Any, x: Any) -> Any:
    return x @ params


def cusp(params: Any, x: Any) -> Any:
    return x[:, 0] * (params[1] ** 2 - (params[0] - 1) ** 3 + 1)


@in_double
def posed(function: Any, params: Any, x: Any, y: Any, decay: float = DECAY) -> Problem:
    """A regression from given parameters."""
    model: Any = function
    if callable(function):
        model = lr.models.Functions(init_params=vector, function=function)
    train = Samples(jnp.asarray(x, float), jnp.asarray(y, float))
    start = params if isinstance(params, tuple) else jnp.asarray(params, float)
    return Problem(train, start, decay, model, lr.losses.Squared())


def late_states(problem: Problem, s: Any) -> Any:
    """The parameters of the limit at `s`, weight decay times time."""
    times = np.concatenate([[0.0], np.asarray(s) / problem.weight_decay])
    trajectory = TIGHT.follow(problem, times, silent)
    assert trajectory.ending == "completed"
    np.testing.assert_array_equal(trajectory.times, times)
    return jax.tree.map(lambda a: np.asarray(a)[1:], trajectory.states)


@pytest.mark.slow
def test_two_weights():
    # Musat, arXiv:2511.01938: with one example, the difference of the squares decays as
    # exp(-2 lambda t), also while the data are fitted, and (0, 2) ends in (1, 1).
    s = np.array([0.1, 0.5, 1.0, 3.0, 12.0])
    states = late_states(posed(product, [0.0, 2.0], [[1.0]], [1.0]), s)
    gap = -4 * np.exp(-2 * s)
    first = np.sqrt((gap + np.sqrt(gap**2 + 4)) / 2)
    np.testing.assert_allclose(states, np.stack([first, 1 / first], axis=1), rtol=1e-6)
    np.testing.assert_allclose(states[-1], [1.0, 1.0], rtol=1e-6)


@pytest.mark.slow
def test_a_linear_model_forgets_what_the_data_do_not_see():
    # Repeated samples, so the kernel is singular; five directions are not seen by the data.
    rng = np.random.default_rng(0)
    x, start = rng.normal(size=(4, 9)), rng.normal(size=9)
    x = np.concatenate([x, x[:2]])
    y = x @ rng.normal(size=9)
    s = np.array([0.01, 0.3, 1.0, 4.0])
    states = late_states(posed(linear, start, x, y), s)
    fit = np.linalg.pinv(x) @ y
    unseen = start - np.linalg.pinv(x) @ (x @ start)
    expected = fit + np.exp(-s)[:, None] * unseen
    np.testing.assert_allclose(states, expected, rtol=1e-6, atol=1e-8)


@pytest.mark.slow
def test_diagonal_nets():
    # Each u_j v_j decays as exp(-2 lambda t), and inputs that are unit vectors fix u^2 - v^2.
    rng, rows = np.random.default_rng(1), 2
    y = rng.normal(size=rows)
    start = lr.models.DiagonalParams(*rng.uniform(1, 2, size=(2, 4)))
    s = np.array([0.2, 1.0, 3.0])
    states = late_states(posed(lr.models.DiagonalLinear(), start, np.eye(4)[:rows], y), s)
    product = np.exp(-2 * s)[:, None] * start.u * start.v
    np.testing.assert_allclose(states.u * states.v, product, rtol=1e-6)
    u, v = states.u[:, :rows], states.v[:, :rows]
    root = np.sqrt(y**2 + 4 * product[:, :rows] ** 2)
    np.testing.assert_allclose(u**2, (root + y) / 2, rtol=1e-6)
    np.testing.assert_allclose(v**2, (root - y) / 2, rtol=1e-6)
    # What no sample sees only decays.
    rest = np.exp(-s)[:, None] * np.asarray(start.u)[rows:]
    np.testing.assert_allclose(states.u[:, rows:], rest, rtol=1e-6)


@pytest.mark.slow
def test_a_diagonal_net_minimises_the_hyperbolic_entropy_of_its_decayed_start():
    # Woodworth et al., COLT 2020: without decay a diagonal net from u = v = alpha ends where
    # sum w asinh(w / 2 alpha^2) - sqrt(w^2 + 4 alpha^4) is least among the interpolators. In the
    # limit of small decay the same holds at every time, with alpha exp(-s) for alpha. The dual of
    # this convex problem has one unknown for each sample.
    rng, alpha = np.random.default_rng(3), 3.0
    x = rng.normal(size=(5, 12))
    y = x[:, 0] - 2 * x[:, 1]
    start = lr.models.DiagonalParams(*np.full((2, 12), alpha))
    s = np.array([0.1, 1.0, 2.0, 4.0])
    states = late_states(posed(lr.models.DiagonalLinear(), start, x, y), s)

    def least(scale: float) -> Any:
        def weights(dual: Any) -> Any:
            return 2 * scale**2 * np.sinh(x.T @ dual)

        def dual_value(dual: Any) -> Any:
            return 2 * scale**2 * np.sum(np.cosh(x.T @ dual)) - y @ dual, x @ weights(dual) - y

        found = scipy.optimize.minimize(dual_value, np.zeros(5), jac=True, method="BFGS")
        found = scipy.optimize.root(lambda dual: x @ weights(dual) - y, found.x, tol=1e-13)
        return weights(found.x)

    expected = np.stack([least(alpha * np.exp(-now)) for now in s])
    np.testing.assert_allclose(states.u**2 - states.v**2, expected, rtol=1e-6, atol=1e-7)
    # The smaller the scale, the nearer to the least sum of absolute values.
    assert np.all(np.diff(np.sum(np.abs(expected), axis=1)) < 0)


@pytest.mark.slow
def test_a_start_on_the_manifold_has_no_first_phase():
    problem = posed(product, [0.5, 2.0], [[1.0]], [1.0])
    trajectory = TIGHT.follow(problem, np.array([0.0, 1 / DECAY]), silent)
    gap = (0.25 - 4) * np.exp(-2)
    first = np.sqrt((gap + np.sqrt(gap**2 + 4)) / 2)
    expected = [[0.5, 2.0], [first, 1 / first]]
    np.testing.assert_allclose(trajectory.states, expected, rtol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("labels", [[1.0, 2.0], [1.0, 1.0 + 1e-3]])
def test_data_that_cannot_be_interpolated(labels):
    # One input with two labels. Without decay the loss stays positive.
    problem = posed(linear, [3.0, 1.0], [[1.0, 0.0]] * 2, labels)
    times = np.array([0.0, 1.0, 5e-3 / DECAY, 0.1 / DECAY, 1 / DECAY])
    trajectory = lr.dynamics.SmallDecayLimit().follow(problem, times, silent)
    assert trajectory.ending == "not_interpolated"
    # A run at this decay has moved by more than one per cent from there on.
    assert trajectory.times.tolist() == times[:3].tolist()


@pytest.mark.slow
@pytest.mark.parametrize("keep", [False, True, (0.0, 5.0)])
def test_a_fit_that_fails_keeps_no_parameters_of_a_later_time_than_its_records(keep):
    # Six labels and three weights.
    x, y = normal(0, 6, 3), np.arange(6.0)
    experiment = lr.Experiment(
        task=lr.tasks.Arrays(x_train=x, y_train=y, x_test=x, y_test=y),
        model=lr.models.MLP(widths=(), bias=False),
        loss=lr.losses.Squared(),
        weight_decay=1e-3,
        t1=1e4,
        dynamics=lr.dynamics.SmallDecayLimit(),
    )
    record = lr.simulate(experiment, keep_params=keep)
    assert record.attrs["ending"] == "not_interpolated"
    assert record["time"].values[-1] <= 0.01 / 1e-3
    assert "final_parameters" not in record
    if isinstance(keep, bool):
        with pytest.raises(lr.InputError):
            record.params()
    else:
        assert record["kept_time"].values.tolist() == [0.0, 5.0]
        assert np.shape(record.params(5.0).weights[0]) == (1, 3)


@pytest.mark.slow
def test_data_that_are_fitted_only_after_decay_acts():
    problem = posed(linear, [1.0, 1.0], [[1.0, 0.0], [0.0, 1e-4]], [2.0, 1.0])
    trajectory = lr.dynamics.SmallDecayLimit().follow(problem, np.array([0.0, 1e9]), silent)
    assert trajectory.ending == "not_interpolated"


@pytest.mark.slow
def test_a_manifold_with_an_edge():
    # The norm falls along a curve to a cusp, at distance 1 from the origin. The gradient of the
    # output is zero there, and no flow continues.
    problem = posed(cusp, [2.0, 1.0], [[1.0]], [1.0])
    times = np.linspace(0, 10, 11) / DECAY
    trajectory = lr.dynamics.SmallDecayLimit(densify=0.0).follow(problem, times, silent)
    assert trajectory.ending == "off_manifold"
    assert 1 <= len(trajectory.times) < 11
    assert relative_error(trajectory.final, [1.0, 0.0]) < 0.1


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"loss": lr.losses.Logistic()}, "loss.kind = 'Logistic'"),
        ({"weight_decay": 0.0}, "weight_decay = 0.0"),
    ],
)
def test_what_has_no_limit(changes, words):
    problem = dataclasses.replace(posed(linear, [1.0], [[1.0]], [1.0]), **changes)
    with pytest.raises(lr.InputError, match=words):
        TIGHT.follow(problem, np.array([0.0, 1.0]), silent)


def test_what_an_experiment_refuses():
    task = lr.tasks.SparseRegression(n=4, d=6, k=1, num_test=5)
    fields: dict[str, Any] = {"task": task, "loss": lr.losses.Squared(), "dynamics": TIGHT}
    with pytest.raises(lr.InputError, match="should be float64, because SmallDecayLimit follows"):
        lr.Experiment(**fields, precision="float32")
    moving = lr.models.Linearised(model=lr.models.DiagonalLinear(), base_point="decaying")
    with pytest.raises(lr.InputError, match="does not support model Linearised"):
        lr.Experiment(**fields, model=moving)


# --- Runs at a small decay, by other dynamics. ---

PROBES = ("train_loss", "test_loss", "param_norm", "parameters", "kernel_velocity")
FAMILIES: dict[str, Any] = {
    "completion": {
        "task": lr.tasks.MatrixCompletion(d=10, num_observed=45),
        "model": lr.models.MatrixFactorisation(size=10),
        "init_scale": 10.0,
        "dynamics": lr.dynamics.Flow(rtol=1e-4),
    },
    "diagonal": {
        "task": lr.tasks.SparseRegression(n=12, d=24, k=1, num_test=50),
        "model": lr.models.DiagonalLinear(),
        "init_scale": 10.0,
        "dynamics": lr.dynamics.ReducedFlow(rtol=1e-5),
    },
    "mlp": {
        "task": lr.tasks.PolynomialRegression(n=20, d=4, num_test=50),
        "model": lr.models.MLP(widths=(12,), activation="tanh"),
        "init_scale": 3.0,
        "dynamics": lr.dynamics.Flow(rtol=1e-4),
    },
}


@functools.cache
def solved(family: str, dynamics: str, decay: float) -> tuple[Any, Any]:
    """The experiment and its record to ten times the time constant of the decay."""
    fields = {"loss": lr.losses.Squared(), "probes": PROBES, **FAMILIES[family]}
    if dynamics == "limit":
        fields["dynamics"] = lr.dynamics.SmallDecayLimit()
    experiment = lr.Experiment(**fields, weight_decay=decay, t1=8 / decay)
    return experiment, lr.simulate(experiment, keep_params=[1e-3, 1 / decay, 2 / decay])


@pytest.mark.slow
@pytest.mark.parametrize("family", FAMILIES)
def test_the_transition_of_a_run_at_a_small_decay(family):
    limit, run = (solved(family, dynamics, 1e-5)[1] for dynamics in ("limit", "run"))
    assert limit.attrs["ending"] == "completed"
    ours, theirs = lr.transition(limit), lr.transition(run)
    assert ours.outcome == theirs.outcome == "grokked"
    assert ours.t50 == pytest.approx(theirs.t50, rel=0.01)
    assert ours.t10 == pytest.approx(theirs.t10, rel=0.01)
    # Before the transition as well: the fit, which takes no notice of the decay.
    assert ours.t_train == pytest.approx(theirs.t_train, rel=0.05)


@pytest.mark.slow
def test_what_a_record_of_the_limit_contains():
    experiment, record = solved("diagonal", "limit", 1e-5)
    assert np.all(np.diff(record["time"]) > 0)
    assert record["time"].values[-1] == experiment.t1
    fit, late = json.loads(record.attrs["solver"])["methods"]
    assert (late["name"], fit["since"]) == ("ProjectedTsit5", 0)
    # The training loss is below its floor from the fit on; no forces are left to measure.
    losses = record["train_loss"].values[record["time"].values >= late["since"]]
    assert np.all(losses < record.attrs["loss_floor"])
    assert "kernel_velocity" not in record
    # Parameters that are kept are those of the probe, in both phases.
    for time, row in zip(record["kept_time"], record["kept_parameters"], strict=True):
        there = record["parameters"].interp(time=time).values
        assert relative_error(row, there) < 1e-2
    assert record["kept_time"].values.tolist() == [1e-3, 1 / 1e-5, 2 / 1e-5]
    # In both phases each u_j v_j is what the decay leaves of it, down to 1e-7 of the start, where
    # errors of many steps at rtol = 1e-4 of the whole have added up to 0.0012 of it.
    u, v = np.split(record["parameters"].values, 2, axis=1)
    left = np.exp(-2e-5 * record["time"].values) * u[0, 0] * v[0, 0]
    np.testing.assert_allclose(u * v, np.tile(left[:, None], u.shape[1]), rtol=2e-3)


@pytest.mark.parametrize("value", ["x", None, [1.0], True, np.nan, -1.0])
def test_what_is_no_number_is_one_line(value):
    with pytest.raises(lr.InputError, match=r"key = .*: should be a number, 0 or more"):
        number_of("key", value)
    assert number_of("key", np.float32(0.5)) == number_of("key", 0.5) == 0.5


@pytest.mark.slow
def test_one_solve_serves_every_decay(tmp_path):
    experiment, record = solved("diagonal", "limit", 1e-5)
    for decay in (1e-8, 1e-3):
        moved = lr.at_weight_decay(record, experiment, decay)
        lr.save_record(moved, tmp_path / "moved.nc")
        opened = lr.open_record(tmp_path / "moved.nc")
        direct = solved("diagonal", "limit", decay)[1]
        changes = {"weight_decay": decay, "t1": experiment.t1 * (1e-5 / decay)}
        assert opened.attrs["experiment_hash"] == experiment.with_changes(changes).content_hash
        ours, theirs = lr.transition(opened), lr.transition(direct)
        assert ours.outcome == theirs.outcome
        assert ours.t50 == pytest.approx(theirs.t50, rel=2e-3)
        assert decay * ours.t50 == pytest.approx(1e-5 * lr.transition(record).t50, rel=2e-3)
        assert np.all(np.diff(moved["time"]) > 0)
        assert moved["kept_time"].values[-1] == pytest.approx(2 / decay)
        norm = np.interp(direct["time"], moved["time"], moved["param_norm"])
        np.testing.assert_allclose(norm, direct["param_norm"], rtol=5e-3)
    with pytest.raises(
        lr.InputError, match=r"weight_decay = 10.0: should be at most .*: the data are fitted at"
    ):
        lr.at_weight_decay(record, experiment, 10.0)
    with pytest.raises(lr.InputError, match="should be the solved run of this experiment"):
        lr.at_weight_decay(record, experiment.with_changes({"seed": 5}), 1e-4)
    for value in (-1.0, 0.0, np.nan, np.inf):
        with pytest.raises(lr.InputError, match=r"weight_decay = .*: should be a positive number"):
            lr.at_weight_decay(record, experiment, value)
    # A first phase that changed its method and then spent its budget has no second phase.
    methods = [{"name": "RKC2", "since": 0.0}, {"name": "ROS34PW2", "since": 0.1}]
    spent = {"ending": "max_steps", "solver": json.dumps({"methods": methods})}
    with pytest.raises(lr.InputError, match="record = 'max_steps': should have reached the sec"):
        lr.at_weight_decay(record.assign_attrs(spent), experiment, 1e-4)
    run = solved("diagonal", "run", 1e-5)
    with pytest.raises(lr.InputError, match="should be SmallDecayLimit"):
        lr.at_weight_decay(run[1], run[0], 1e-4)


# --- Several decays from one solve. ---

DECAYS = (1e-3, 1e-5, 1e-6, 10.0)
TIMES = (8e3, 8e5, 2e6, 3.0)


def of_decays() -> list[lr.Experiment]:
    """Runs of the diagonal net: other horizons of the slow clock, and decay before the fit."""
    fields = {"loss": lr.losses.Squared(), **FAMILIES["diagonal"]}
    fields["dynamics"] = lr.dynamics.SmallDecayLimit()
    fields["probes"] = ("train_loss", "test_loss", "param_norm", "parameters", "drift")
    return [
        lr.Experiment(**fields, weight_decay=decay, t1=t1)
        for decay, t1 in zip(DECAYS, TIMES, strict=True)
    ]


def solver(record: Any) -> dict[str, Any]:
    return json.loads(record.attrs["solver"])


@pytest.mark.slow
def test_runs_of_a_shared_solve_have_the_records_that_they_have_alone():
    experiments = of_decays()
    other = experiments[0].with_changes({"init_scale": 9.0})
    keep = [1e-3, 1.0, 2.5]
    found = lr.simulate_many([experiments[0], other, *experiments[1:]], keep_params=keep)
    found.insert(0, found.pop(1))  # the other start first
    for place in (0, 2, 3):
        record, alone = found[place + 1], lr.simulate(experiments[place], keep_params=keep)
        assert_same_record(record.assign_attrs(solver=""), alone.assign_attrs(solver=""))
    endings = [record.attrs["ending"] for record in found]
    assert endings == ["completed"] * 4 + ["not_interpolated"]
    assert all("one solve for 4 runs" in solver(record)["reason"] for record in found[1:4])
    assert len({solver(record)["num_steps"] for record in found[1:4]}) == 1
    assert "one solve" not in solver(found[0])["reason"]


@pytest.mark.slow
def test_a_sweep_over_the_decay_is_one_solve(tmp_path):
    base = of_decays()[0].with_changes({"probes": ("train_loss", "test_loss")})
    scales = [10.0, 9.0]
    points = list(zip(DECAYS[:3], (8e3, 8e5, 8e6), strict=True))
    over: Any = {"init_scale": scales, ("weight_decay", "t1"): points}
    dataset = lr.sweep(base, over, tmp_path / "store", workers=0)
    # One file, and one solve, for each scale.
    assert len(list((tmp_path / "store").glob("batches/*"))) == len(scales)
    steps = dataset["num_steps"].values.reshape(len(scales), -1)
    assert np.all(steps == steps[:, :1])
    slow = dataset["t50"].values.reshape(steps.shape) * np.array(DECAYS[:3])
    np.testing.assert_allclose(slow, np.broadcast_to(slow[:, :1], slow.shape), rtol=2e-3)
    alone = lr.transition(lr.simulate(Sweep.over(base, over).run(4)))
    assert dataset["t50"].values.reshape(-1)[4] == alone.t50
    # More decays in the same store: a batch of which a part is there has the same numbers.
    more: Any = {**over, ("weight_decay", "t1"): [*points, (1e-4, 8e4)]}
    longer = lr.sweep(base, more, tmp_path / "store", workers=0)
    again = longer["t50"].values.reshape(len(scales), -1)[:, :3]
    np.testing.assert_array_equal(again, dataset["t50"].values.reshape(len(scales), -1))

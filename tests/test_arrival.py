"""The balance of weight decay and loss: by hand, on plateaus, at the end, and in words."""

from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import lazyrich as lr
from lazyrich._core.norms import tree_norm
from tests.helpers import small_experiment

# Types name arrays of JAX, and those of NumPy are taken.
MLPParams: Any = lr.models.MLPParams
RNG = np.random.default_rng(2)
N, D, H, DECAY = 7, 3, 4, 0.3
X, Y = RNG.normal(size=(N, D)), RNG.normal(size=(N, 2))
PARAMS = MLPParams(
    weights=(RNG.normal(size=(H, D)), RNG.normal(size=(2, H))),
    bias=RNG.normal(size=H),
    later=(RNG.normal(size=2),),
)


def measured(activation: Any, decayed: Any, x: Any, params: Any) -> Any:
    """The probes at these parameters."""
    return lr.simulate(
        lr.Experiment(
            task=lr.tasks.Arrays(x_train=x, y_train=Y, x_test=x, y_test=Y),
            model=lr.models.MLP(widths=(H,), outputs=2, activation=activation, bias="all"),
            loss=lr.losses.Squared(),
            weight_decay=DECAY,
            decayed=decayed,
            t1=0.01,
            dynamics=lr.dynamics.GradientDescent(learning_rate=0.01),
            probes=("train_loss", "test_loss", "arrival", "map_arrival"),
        ),
        params=params,
    ).isel(time=0)


def by_hand(activation: str, x: Any, params: Any) -> Any:
    """Of both layers: the forces on their products and these products, for each sample."""
    (first, last), bias, (shift,) = params.weights, params.bias, params.later
    z1 = x @ first.T + bias
    h = np.tanh(z1) if activation == "tanh" else np.maximum(z1, 0)
    slope = 1 - h**2 if activation == "tanh" else (z1 > 0).astype(float)
    z2 = h @ last.T + shift
    d2 = 2 * (z2 - Y)
    d1 = (d2 @ last) * slope
    return (d1, z1), (d2, z2)


def ratios(pairs: Any, decays: Any, *, diagonal: bool) -> tuple[list[float], float]:
    left: list[float] = []
    size: list[float] = []
    for (force, product), own in zip(pairs, decays, strict=True):
        parts = [DECAY * own @ own.T, force.T @ product / N]
        if diagonal:
            parts = [np.diag(part) for part in parts]
        left.append(float(np.linalg.norm(parts[0] + parts[1])))
        size.append(float(np.linalg.norm(parts[0]) + np.linalg.norm(parts[1])))
    return [a / b for a, b in zip(left, size, strict=True)], sum(left) / sum(size)


@pytest.mark.slow
def test_of_a_net_with_kinks_it_is_the_balance_of_each_unit():
    """The sum over samples of the force on z = Wx + b times z, without any gradient of weights."""
    affine = [
        np.c_[w, b] for w, b in zip(PARAMS.weights, (PARAMS.bias, PARAMS.later[0]), strict=True)
    ]
    each, total = ratios(by_hand("relu", X, PARAMS), affine, diagonal=True)
    record = measured("relu", "all", X, PARAMS)
    np.testing.assert_allclose(record["map_arrival"], each, rtol=1e-9)
    assert float(record["arrival"]) == pytest.approx(total, rel=1e-9)


def test_without_decay_of_biases_their_gradient_counts():
    # For small inputs and biases, most of the gradient is that of the biases.
    x, params = 0.05 * X, PARAMS._replace(bias=0.05 * PARAMS.bias)
    pairs = by_hand("tanh", x, params)
    each, total = ratios(pairs, PARAMS.weights, diagonal=False)
    record = measured("tanh", "matrices", x, params)
    np.testing.assert_allclose(record["map_arrival"], each, rtol=1e-9)
    (d1, z1), (d2, _) = pairs
    biases = np.concatenate([d1.mean(0), d2.mean(0)])
    matrices = np.concatenate([(d1.T @ x / N).ravel(), (d2.T @ np.tanh(z1) / N).ravel()])
    share = np.linalg.norm(biases) / np.linalg.norm(np.concatenate([biases, matrices]))
    assert share > total > 0.1
    assert float(record["arrival"]) == pytest.approx(share, rel=1e-9)


NAMES = ("train_loss", "test_loss", "train_accuracy", "test_accuracy", "param_norm", "arrival")


@pytest.fixture(scope="module")
def grokked() -> Any:
    return lr.simulate(small_experiment(probes=NAMES, t1=3e4))


@pytest.mark.slow
def test_a_run_arrives_after_its_plateau(grokked):
    events = lr.transition(grokked)
    assert events.outcome == "grokked"
    plateau = grokked["arrival"].sel(time=slice(*events.plateau))
    assert float(plateau.min()) > 0.05
    assert float(grokked["arrival"][-1]) < 1e-3
    assert events.arrived is True
    assert events.says.endswith("settled, arrived")
    assert lr.summarise(grokked)["arrived"] is True
    early = grokked.sel(time=slice(0, events.plateau[1]))
    assert lr.transition(early).arrived is False


def curves(last: float) -> Any:
    times = np.concatenate([[0.0], np.geomspace(1, 1e5, 60)])
    fitted = (times > 10).astype(float)
    return times, {
        "train_accuracy": fitted,
        "test_accuracy": 0.5 + 0.1 * fitted,
        "train_loss": 1 - 0.99 * fitted,
        "test_loss": np.ones(61),
        "param_norm": np.ones(61),
        "arrival": np.where(times < 1e4, 0.5, last),
    }


@pytest.mark.parametrize(("last", "arrived"), [(1e-4, True), (2e-3, False), (np.nan, None)])
def test_words_say_whether_a_settled_run_has_arrived(last, arrived):
    times, found = curves(last)
    events = lr.transition(lr.record(times, found, weight_decay=1e-2))
    assert events.state == "settled"
    assert events.arrived is arrived
    assert lr.summarise(lr.record(times, found, weight_decay=1e-2))["arrived"] is arrived
    end = {True: "settled, arrived", False: "settled, not arrived", None: "settled"}
    assert events.says.endswith(end[arrived])
    assert ("no longer change" in events.advice) == (arrived is not False)


def test_what_was_not_measured_is_not_claimed():
    times, found = curves(1e-4)
    del found["arrival"]
    record = lr.record(times, found, weight_decay=1e-2)
    assert lr.transition(record).arrived is None
    assert lr.summarise(record)["arrived"] is None
    assert "arrived" not in lr.transition(record).says


NOISY = lr.dynamics.LabelNoiseSGD(learning_rate=0.01, noise=0.1)


@pytest.mark.parametrize(
    ("model", "dynamics", "known"),
    [
        (lr.models.MLP(widths=(2, 2), outputs=2), None, False),
        (lr.models.MLP(widths=(2, 2), outputs=2, activation="tanh"), None, True),
        (lr.models.MLP(widths=(2,), outputs=2), None, True),
        (lr.models.MLP(widths=(2,), outputs=2), NOISY, False),
    ],
    ids=["kinks above kinks", "smooth", "one hidden layer", "label noise"],
)
def test_only_where_its_end_is_zero(model, dynamics, known):
    """A unit that switches changes the forces on all layers below, and noise adds a drift."""
    experiment = lr.Experiment(
        task=lr.tasks.Arrays(x_train=X, y_train=Y, x_test=X, y_test=Y),
        model=model,
        loss=lr.losses.Squared(),
        weight_decay=DECAY,
        t1=0.01,
        dynamics=dynamics or lr.dynamics.GradientDescent(learning_rate=0.01),
        probes=("train_loss", "test_loss", "arrival", "map_arrival"),
    )
    record = lr.simulate(experiment)
    assert ("arrival" in record) == ("map_arrival" in record) == known


@pytest.mark.slow
@pytest.mark.parametrize(
    "changes",
    [{"weight_decay": 0.0}, {"dynamics": lr.dynamics.AdamW(learning_rate=0.1)}],
    ids=["no decay", "AdamW"],
)
def test_where_no_balance_ends_training_nothing_is_recorded(changes):
    record = lr.simulate(small_experiment(t1=1.0, probes=NAMES, **changes))
    assert "arrival" not in record
    assert lr.transition(record).arrived is None


class Whole(lr.probes.Arrival):
    """The norm of the whole gradient of the objective over those of its two parts."""

    named: ClassVar = ("whole", "whole residual")

    def __call__(self, state: Any, context: Any) -> Any:
        decay = jnp.asarray(context.weight_decay)
        velocity = context.flow.vf(0.0, state.params, None)
        own = jax.tree.map(lambda p: decay * p, state.params)
        left, *parts = map(tree_norm, (velocity, own, jax.tree.map(jnp.add, velocity, own)))
        return left / sum(parts)


@pytest.mark.slow
def test_a_net_that_slides_along_kinks_arrives():
    rng = np.random.default_rng(3)
    x = rng.normal(size=(20, 4))
    y = np.sign(x[:, 0] * x[:, 1])
    run = lr.Experiment(
        task=lr.tasks.Arrays(x_train=x, y_train=y, x_test=x, y_test=y),
        model=lr.models.MLP(widths=(32,)),
        loss=lr.losses.Logistic(),
        init_scale=4.0,
        weight_decay=1e-2,
        t1=1.3e3,
        probes=(*NAMES, Whole()),
        times=lr.dynamics.Times(num_log=15, num_linear=15),
    )
    record = lr.simulate(run)
    assert float(record["whole"][-5:].min()) > 0.05
    assert float(record["arrival"][-5:].median()) < 1e-3
    assert float(record["arrival"].sel(time=slice(1, 50)).min()) > 0.3

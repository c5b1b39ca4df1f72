"""Runs at extreme scales, decays and horizons: a word or a line, soon, and no wrong number."""

import itertools
import json
import time
from typing import Any

import jax
import numpy as np
import pytest

import lazyrich as lr
from lazyrich.records.transition import OUTCOMES

# Few shapes, because most of the time is compilation.
NUM, DIM, TESTS = 6, 3, 8
RNG = np.random.default_rng(0)
X, TEACHER, X_TEST = (
    RNG.normal(size=(NUM, DIM)),
    RNG.normal(size=DIM),
    RNG.normal(size=(TESTS, DIM)),
)
Y, Y_TEST = X @ TEACHER + 0.1 * RNG.normal(size=NUM), X_TEST @ TEACHER

HORIZONS = (1e-300, 1e-30, 1e-6, 1.0, 1e3, 1e6, 1e30, 1e300)
DECAYS = (0.0, 1e-300, 1e-6, 1.0, 1e3, 1e8)
SCALES = (1e-12, 1e-6, 1.0, 1e6, 1e12)
FLOW = lr.dynamics.Flow(max_steps=2000)
Setup = tuple[Any, Any, Any]  # model, loss and dynamics
MODELS: dict[str, Setup] = {
    "linear": (lr.models.MLP(widths=(), bias=False), lr.losses.Squared(), FLOW),
    "logistic": (lr.models.MLP(widths=(), bias=False), lr.losses.Logistic(), FLOW),
    "tanh": (lr.models.MLP(widths=(4,), activation="tanh"), lr.losses.Squared(), FLOW),
    "quadratic": (
        lr.models.MLP(widths=(3,), activation="quadratic", bias=False), lr.losses.Squared(), FLOW,
    ),
    "diagonal": (
        lr.models.DiagonalLinear(), lr.losses.Squared(), lr.dynamics.ReducedFlow(max_steps=2000),
    ),
    "diagonal, signs": (
        lr.models.DiagonalLinear(), lr.losses.Logistic(), lr.dynamics.ReducedFlow(max_steps=2000),
    ),
}  # fmt: skip
# Seconds of the processor, after what is compiled once.
MOST_SECONDS = 60.0


def drawn(num: int) -> list[Any]:
    """Some combinations for each model; all horizons, decays and scales occur."""
    found = []
    for place, name in enumerate(MODELS):
        cases = list(itertools.product(HORIZONS, DECAYS, SCALES))
        order = np.random.default_rng(place).permutation(len(cases))
        found += [(name, *cases[k]) for k in order[:num]]
    return found


def experiment(setup: Setup, t1: float, weight_decay: float, init_scale: float) -> lr.Experiment:
    model, loss, dynamics = setup
    signs = isinstance(loss, lr.losses.Logistic)
    y, y_test = (np.sign(Y), np.sign(Y_TEST)) if signs else (Y, Y_TEST)
    return lr.Experiment(
        task=lr.tasks.Arrays(x_train=X, y_train=y, x_test=X_TEST, y_test=y_test),
        model=model,
        loss=loss,
        dynamics=dynamics,
        init_scale=init_scale,
        weight_decay=weight_decay,
        t1=t1,
        times=lr.dynamics.Times(num_log=12, num_linear=4),
        probes=("train_loss", "test_loss", "train_accuracy", "test_accuracy", "param_norm"),
    )


def linear_flow(start: np.ndarray, weight_decay: float, at: float) -> np.ndarray:
    """The flow of ridge regression in the eigenbasis of its Hessian, at time `at`."""
    eigenvalues, basis = np.linalg.eigh(2 / NUM * X.T @ X)
    rates = eigenvalues + weight_decay
    force = basis.T @ (2 / NUM * X.T @ Y)
    moved = (basis.T @ start) * np.exp(-rates * at) - force / rates * np.expm1(-rates * at)
    return basis @ moved


def flat(params: Any) -> np.ndarray:
    return np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(params)])


def check(setup: Setup, t1: float, weight_decay: float, init_scale: float) -> None:
    """What a run at any scale must have."""
    is_linear = setup is MODELS["linear"]
    begin = time.process_time()
    record, refused = None, ""
    try:
        record = lr.simulate(experiment(setup, t1, weight_decay, init_scale), keep_params=(0.0,))
    except (lr.InputError, lr.ComputationError) as error:
        refused = str(error)
    if record is None:
        assert "\n" not in refused
        assert not is_linear, refused  # it can be followed at every scale
        return
    seconds = time.process_time() - begin
    events = lr.transition(record)
    assert events.outcome in OUTCOMES
    assert events.says
    assert events.advice
    summary = lr.summarise(record)
    assert json.loads(json.dumps(summary, allow_nan=False)) == summary
    if events.outcome != "failed":
        assert np.isfinite(record["train_loss"].values).all()
        assert np.isfinite(record["param_norm"].values).all()
    end = float(record["time"][-1])
    assert (end == pytest.approx(t1, rel=1e-9)) or record.attrs["ending"] not in ("completed",)
    if weight_decay > 0 and weight_decay * end < 0.3 and record.attrs["ending"] == "completed":
        assert events.state == "moving"
    if weight_decay * end < 1e-3 and record.attrs["ending"] != "imprecise":
        loss = record["train_loss"].values  # a flow lowers it
        blank = float(record["blank_loss"])
        assert np.max(loss - np.minimum.accumulate(loss)) <= 0.01 * max(blank, loss[0])
    if is_linear:
        right = linear_flow(flat(record.params(0.0)), weight_decay, end)
        found = flat(record.params())
        np.testing.assert_allclose(found, right, rtol=0, atol=1e-3 * np.max(np.abs(right)))
        loss = np.mean((X @ right - Y) ** 2)
        assert float(record["train_loss"][-1]) == pytest.approx(loss, rel=2e-3)
    assert seconds < MOST_SECONDS


@pytest.mark.battery
@pytest.mark.parametrize(("name", "t1", "weight_decay", "init_scale"), drawn(24))
def test_runs_at_extreme_scales(name, t1, weight_decay, init_scale):
    check(MODELS[name], t1, weight_decay, init_scale)


@pytest.mark.battery
def test_rounding_that_moves_a_fitted_net_is_said():
    # In 1e24 units of time rounding of the zero gradient undid the fit, and the run said immediate.
    record = lr.simulate(experiment(MODELS["tanh"], 1e30, 0.0, 1e-6))
    assert record.attrs["ending"] == "imprecise"
    assert record["train_loss"].values.min() < 1e-20
    assert "lower t1" in lr.transition(record).advice
    shorter = lr.simulate(experiment(MODELS["tanh"], 1e6, 0.0, 1e-6))
    assert shorter.attrs["ending"] == "completed"


@pytest.mark.battery
def test_a_run_at_rest_that_uses_up_its_steps_has_settled():
    # With a Gauss-Newton matrix, steps are not longer than a few time constants, also at rest.
    resting = experiment(MODELS["tanh"], 1e6, 1.0, 1.0)
    record = lr.simulate(resting)
    events = lr.transition(record)
    assert record.attrs["ending"] == "max_steps"
    assert 100 < float(record["time"][-1]) < 1e6  # in time constants
    assert events.state == "settled"
    assert "it has settled" in events.advice
    shorter = lr.simulate(resting.with_changes({"t1": 100.0}))
    assert shorter.attrs["ending"] == "completed"
    for name in ("train_loss", "test_loss", "param_norm"):
        last = [float(run[name][-1]) for run in (record, shorter)]
        assert last[0] == pytest.approx(last[1], rel=0.02)


@pytest.mark.battery
def test_steps_that_raise_the_loss_are_said():
    # Outputs are fitted by weights of 1e6, where units of tanh are steps. An error of the weights
    # moves outputs that have no derivative there, and a loss rose from 0.36 to 0.63 of its unit.
    model = lr.models.MLP(widths=(4,), activation="tanh", output_scale=1e-6)
    scaled = experiment((model, lr.losses.Squared(), FLOW), 1e12, 0.0, 1.0)
    record = lr.simulate(scaled)
    loss = record["train_loss"].values
    assert np.max(loss - np.minimum.accumulate(loss)) > 0.1 * loss[0]
    assert record.attrs["ending"] == "imprecise"
    assert "dynamics.rtol" in lr.transition(record).advice
    # The advice helps: the loss does not rise, though the budget of steps may end the run.
    record = lr.simulate(scaled.with_changes({"dynamics.rtol": 1e-4}))
    loss = record["train_loss"].values
    assert record.attrs["ending"] in ("completed", "max_steps")
    assert np.max(loss - np.minimum.accumulate(loss)) < 1e-9 * loss[0]


@pytest.mark.battery
@pytest.mark.parametrize("output_scale", [1e-12, 1e-6, 1e6, 1e12])
@pytest.mark.parametrize("t1", [1e-30, 1.0, 1e30])
def test_models_with_extreme_output_scales(output_scale, t1):
    model = lr.models.MLP(widths=(4,), activation="tanh", output_scale=output_scale)
    scaled = (model, lr.losses.Squared(), FLOW)
    for weight_decay in (0.0, 1e-3):
        check(scaled, t1, weight_decay, 1.0)

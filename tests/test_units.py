"""Other units of parameters, inputs, labels and time: the same steps, and the same numbers.

Take parameters as `a` times as large and inputs as `b` times as large. Outputs of a net of degree L
that is linear in its inputs are then `a^L b` times as large. With such labels the squared loss is
`(a^L b)^2` times as large, and the flow is the same if time is `a^2` over that factor as large. A
loss for classification knows the size of outputs, so there `a^L b` is one. All factors are powers
of two, so that nothing is rounded in another way.
"""

import json
from typing import Any

import numpy as np
import pytest

import lazyrich as lr

DEEP = lr.models.DiagonalLinear(depth=3)
FLAT = lr.models.DiagonalLinear(depth=2)
NET = lr.models.MLP(widths=(5,), bias=False)
# Kinks make a ReLU net chaotic to the last bits.
SMOOTH = lr.models.MLP(widths=(5,), activation="identity", bias=False)
GD = lr.dynamics.GradientDescent(learning_rate=2.0**-7)
CASES: dict[str, tuple[Any, Any, Any]] = {
    "reduced": (DEEP, lr.losses.Squared(), lr.dynamics.ReducedFlow()),
    "reduced, shallow": (FLAT, lr.losses.Squared(), lr.dynamics.ReducedFlow()),
    "reduced, logistic": (FLAT, lr.losses.Logistic(), lr.dynamics.ReducedFlow()),
    "rosenbrock": (DEEP, lr.losses.Squared(), lr.dynamics.Flow(method="rosenbrock")),
    "rkc2": (NET, lr.losses.Squared(), lr.dynamics.Flow(method="rkc2")),
    "tsit5": (NET, lr.losses.Squared(), lr.dynamics.Flow(method="tsit5")),
    "auto, logistic": (NET, lr.losses.Logistic(), lr.dynamics.Flow()),
    "small decay": (FLAT, lr.losses.Squared(), lr.dynamics.SmallDecayLimit()),
    "descent": (NET, lr.losses.Squared(), GD),
}
# Of parameters, and of inputs: for regression, and for classification by a net of degree 2.
UNITS = {False: [(2.0, 1.0), (1.0, 4.0), (0.5, 2.0)], True: [(2.0, 0.25), (0.25, 16.0)]}


def posed(model: Any, loss: Any, dynamics: Any, a: float = 1.0, b: float = 1.0) -> Any:
    """An experiment in other units, and its factors of outputs, loss and time."""
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(2, 4, 6)), rng.normal(size=(2, 4))
    outputs = a**model.homogeneity * b
    labels = np.sign(y) if loss.is_classification else outputs * y
    losses = 1.0 if loss.is_classification else outputs**2
    time = a**2 / losses
    if isinstance(dynamics, lr.dynamics.GradientDescent):
        dynamics = lr.dynamics.GradientDescent(learning_rate=dynamics.learning_rate * time)
    decay = 1e-4 if dynamics.is_small_decay_limit else 0.01
    experiment = lr.Experiment(
        task=lr.tasks.Arrays(
            x_train=b * x[0], y_train=labels[0], x_test=b * x[1], y_test=labels[1]
        ),
        model=model,
        loss=loss,
        init_scale=1.5 * a,
        weight_decay=decay / time,
        t1=4 / decay * time,
        times=lr.dynamics.Times(first=2.0**-5 * time, num_log=4, num_linear=2),
        dynamics=dynamics,
        probes=("train_loss", "test_loss", "param_norm"),
    )
    return experiment, losses, time


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
def test_a_run_is_the_same_in_other_units(case):
    model, loss, dynamics = CASES[case]
    plain = lr.simulate(posed(model, loss, dynamics)[0])
    assert plain["train_loss"][-1] < 0.3 * plain["train_loss"][0]
    for a, b in UNITS[loss.is_classification]:
        experiment, losses, time = posed(model, loss, dynamics, a, b)
        found = lr.simulate(experiment)
        for name, unit in (
            ("time", time), ("train_loss", losses), ("test_loss", losses), ("param_norm", a)
        ):  # fmt: skip
            # After the fit the loss is what rounding leaves.
            least = 1e-12 * unit * float(plain[name][0])
            np.testing.assert_allclose(
                found[name], unit * plain[name], rtol=1e-9, atol=least, err_msg=name
            )
        solvers = [json.loads(record.attrs["solver"]) for record in (plain, found)]
        for number in ("num_steps", "num_rejected", "num_gradients"):
            assert solvers[0][number] == solvers[1][number], number


@pytest.mark.slow
@pytest.mark.parametrize("passage", ["calibrated", "solved"])
@pytest.mark.parametrize("loss", [lr.losses.Squared(), lr.losses.Logistic()])
@pytest.mark.parametrize("model", [FLAT, SMOOTH], ids=["diagonal", "net"])
def test_a_forecast_is_the_same_in_other_units(model, loss, passage):
    dynamics = lr.dynamics.Flow(method="rosenbrock")
    plain = lr.forecast(posed(model, loss, dynamics)[0], passage=passage)
    assert np.isfinite(plain.t_kernel_end)
    for a, b in UNITS[loss.is_classification]:
        experiment, _, time = posed(model, loss, dynamics, a, b)
        found = lr.forecast(experiment, passage=passage)
        assert found.t_kernel_end == pytest.approx(time * plain.t_kernel_end, rel=1e-9)
        assert found.t50 == pytest.approx(time * plain.t50, rel=1e-6, nan_ok=True)
        interval = np.multiply(time, plain.t50_interval)
        np.testing.assert_allclose(found.t50_interval, interval, rtol=1e-6)
        assert (found.verdict, found.confidence) == (plain.verdict, plain.confidence)

"""Flows against SciPy at 1e-10 on the raw flow, with gradients written here in NumPy."""

from collections.abc import Callable
from typing import Any, NamedTuple, cast

import jax
import numpy as np
import pytest
from scipy.integrate import solve_ivp
from scipy.special import expit

import lazyrich as lr
from lazyrich._run.prepared import prepare
from tests.helpers import entry_of, given, relative_error, silent

RTOL = 1e-3


class Case(NamedTuple):
    """A flow; `scale` multiplies the initial parameters, `size` the labels of a regression."""

    loss: str
    model: str
    decay: float
    t1: float
    scale: float = 1.0
    size: float = 1.0
    n: int = 10
    d: int = 4
    method: str = "auto"
    used: str = ""  # the method that must be at work, where the case is there for it


WIDTH = {"Hinge": 0.002, "SquaredHinge": 0.005}


def loss_of(kind: str, f: np.ndarray, y: np.ndarray) -> tuple[float, np.ndarray]:
    """The mean loss, and minus its derivative by each output, times n."""
    if kind == "Squared":
        return float(np.mean((f - y) ** 2)), 2 * (y - f)
    if kind == "Logistic":
        return float(np.mean(np.logaddexp(0, -y * f))), y * expit(-y * f)
    if kind == "Exponential":
        return float(np.mean(np.exp(-y * f))), y * np.exp(-y * f)
    if kind == "CrossEntropy":
        shifted = f - f.max(axis=1, keepdims=True)
        p = np.exp(shifted) / np.exp(shifted).sum(axis=1, keepdims=True)
        right = np.eye(f.shape[1])[y]
        return float(np.mean(-np.log(p[np.arange(len(y)), y]))), right - p
    width = WIDTH[kind]
    z = (1 - y * f) / width
    soft, step = width * np.logaddexp(0, z), expit(z)
    if kind == "Hinge":
        return float(np.mean(soft)), y * step
    return float(np.mean(soft**2)), 2 * soft * y * step


ACTIVATIONS: dict[str, tuple[Callable[..., Any], Callable[..., Any]]] = {
    "identity": (lambda h: h, np.ones_like),
    "tanh": (np.tanh, lambda h: 1 - np.tanh(h) ** 2),
    "quadratic": (lambda h: h**2, lambda h: 2 * h),
}


def net(shapes: list[tuple[int, int]], activation: str) -> Callable[..., Any]:
    """Outputs and pullback of a net without biases, layer after layer, on raveled weights."""
    act, slope = ACTIVATIONS[activation]

    def run(theta: np.ndarray, x: np.ndarray) -> tuple[np.ndarray, Callable[..., Any]]:
        weights, place = [], 0
        for rows, columns in shapes:
            weights.append(theta[place : place + rows * columns].reshape(rows, columns))
            place += rows * columns
        inputs, raw, h = [], [], x
        for number, w in enumerate(weights):
            inputs.append(h)
            raw.append(h @ w.T)
            h = act(raw[-1]) if number + 1 < len(weights) else raw[-1]

        def pull(force: np.ndarray) -> np.ndarray:
            parts, back = [], force.reshape(len(x), -1)
            for number in reversed(range(len(weights))):
                if number + 1 < len(weights):
                    back = back * slope(raw[number])
                parts.append((back.T @ inputs[number]).ravel())
                back = back @ weights[number]
            return np.concatenate(parts[::-1])

        return (h[:, 0] if h.shape[1] == 1 else h), pull

    return run


def diagonal(depth: int) -> Callable[..., Any]:
    def run(theta: np.ndarray, x: np.ndarray) -> tuple[np.ndarray, Callable[..., Any]]:
        u, v = np.split(theta, 2)

        def pull(force: np.ndarray) -> np.ndarray:
            g = x.T @ force
            return np.concatenate([depth * u ** (depth - 1) * g, -depth * v ** (depth - 1) * g])

        return x @ (u**depth - v**depth), pull

    return run


class Posed(NamedTuple):
    experiment: lr.Experiment
    params: Any
    start: np.ndarray
    function: Callable[..., Any]
    x: np.ndarray
    y: np.ndarray


def pose(case: Case, rtol: float) -> Posed:
    rng = np.random.default_rng(7)
    x = rng.normal(size=(case.n, case.d))
    outputs = 3 if case.loss == "CrossEntropy" else 1
    y: np.ndarray = rng.normal(size=case.n) * case.size
    if case.loss == "CrossEntropy":
        y = rng.integers(0, 3, case.n)
        y[:3] = [0, 1, 2]
    elif case.loss != "Squared":
        y = np.sign(x @ rng.normal(size=case.d) + 0.5 * rng.normal(size=case.n))
    model: Any
    params: Any
    if case.model.startswith("diagonal"):
        depth = int(case.model[-1])
        model, function = lr.models.DiagonalLinear(depth=depth), diagonal(depth)
        start = case.scale * rng.uniform(0.5, 1.0, 2 * case.d)
        params = lr.models.DiagonalParams(*given(np.split(start, 2)))
    else:
        kind, *widths = case.model.split("-")
        activation: Any = kind
        sizes = [case.d, *map(int, widths), outputs]
        shapes = list(zip(sizes[1:], sizes[:-1], strict=True))
        fields: dict[str, Any] = {} if outputs == 1 else {"outputs": outputs}
        model = lr.models.MLP(
            widths=tuple(sizes[1:-1]), activation=activation, bias=False, **fields
        )
        function = net(shapes, activation)
        parts = [case.scale * rng.normal(size=s) / np.sqrt(s[1]) for s in shapes]
        params = lr.models.MLPParams(tuple(parts), given(np.zeros(0)))
        start = np.concatenate([p.ravel() for p in parts])
    reduced, method = case.method == "reduced", cast(Any, case.method)
    experiment = lr.Experiment(
        task=lr.tasks.Arrays(x_train=x, y_train=y, x_test=x[:4], y_test=y[:4]),
        model=model,
        loss=getattr(lr.losses, case.loss)(),
        weight_decay=case.decay,
        t1=case.t1,
        dynamics=lr.dynamics.ReducedFlow(rtol=rtol)
        if reduced
        else lr.dynamics.Flow(rtol=rtol, method=method),
    )
    return Posed(experiment, params, start, function, x, y)


def reference(case: Case, posed: Posed, times: np.ndarray) -> np.ndarray:
    def flow(t: float, theta: np.ndarray) -> np.ndarray:
        del t
        f, pull = posed.function(theta, posed.x)
        force = loss_of(case.loss, f, posed.y)[1] / case.n
        return pull(force) - case.decay * theta

    # The absolute tolerance follows the parameters, and LSODA changes method where it is stiff.
    size = np.linalg.norm(posed.start) / np.sqrt(posed.start.size)
    method = "DOP853" if case.t1 <= 5 and case.size == 1 and case.scale <= 1 else "LSODA"
    found = solve_ivp(
        flow, (0, case.t1), posed.start, method, times, rtol=1e-10, atol=1e-10 * min(size, 1.0)
    )
    assert found.success
    return found.y.T


def errors(case: Case, rtol: float = RTOL) -> tuple[float, float, str]:
    """Largest relative errors of parameters and of losses above the tolerance, and the method."""
    posed = pose(case, rtol)
    with jax.enable_x64(True):
        problem = prepare(posed.experiment, posed.params).problem
    times = np.array([0.0, *np.geomspace(1e-3, 1, 7) * case.t1])
    right = reference(case, posed, times)
    trajectory = posed.experiment.dynamics.follow(problem, times, silent)
    assert trajectory.ending == "completed"
    worst = worst_loss = 0.0
    for place, time in enumerate(times):
        params = jax.tree.leaves(trajectory.params_at(time, entry_of(trajectory.states, place)))
        ours = np.concatenate([np.ravel(leaf) for leaf in params])
        worst = max(worst, relative_error(ours, right[place]))
        exact, got = (loss_of(case.loss, posed.function(t, posed.x)[0], posed.y)[0]
                      for t in (right[place], ours))  # fmt: skip
        level = (rtol * case.size) ** 2 if case.loss == "Squared" else rtol
        if exact > 100 * level:
            worst_loss = max(worst_loss, abs(got / exact - 1))
    return worst, worst_loss, trajectory.effort.name


CASES = {
    # Not stiff: Tsit5.
    "squared-linear": Case("Squared", "identity", 0.01, 5.0, used="Tsit5"),
    "squared-tanh": Case("Squared", "tanh-6", 0.01, 5.0, used="Tsit5"),
    "logistic-tanh": Case("Logistic", "tanh-6-4", 0.0, 30.0, used="Tsit5"),
    "exponential-diagonal": Case("Exponential", "diagonal2", 0.01, 20.0, used="Tsit5"),
    "classes-tanh": Case("CrossEntropy", "tanh-6", 0.01, 20.0, used="Tsit5"),
    "logistic-quadratic": Case("Logistic", "quadratic-5", 0.01, 20.0, used="Tsit5"),
    "squared-diagonal3": Case("Squared", "diagonal3", 0.0, 3.0, used="Tsit5"),
    # Stiff, squared loss: the dual as an unknown.
    "squared-linear-late": Case("Squared", "identity", 0.01, 2e3),
    "squared-tanh-late": Case("Squared", "tanh-6", 0.05, 1e3),
    "squared-quadratic-late": Case("Squared", "quadratic-5", 0.05, 300.0),
    "squared-diagonal-late": Case("Squared", "diagonal2", 0.01, 1e3, scale=5.0),
    "squared-diagonal-wide": Case("Squared", "diagonal2", 0.01, 500.0, scale=5.0, n=4, d=12),
    "squared-deep-late": Case("Squared", "identity-6-6", 0.02, 500.0),
    "squared-large-labels": Case("Squared", "identity-6", 0.01, 20.0, size=300.0),
    # Stiff, classification: the Gauss-Newton matrix.
    "hinge-linear": Case("Hinge", "identity", 0.01, 300.0, used="ROS34PW2"),
    "hinge-diagonal": Case("Hinge", "diagonal2", 0.01, 300.0, scale=3.0, used="ROS34PW2"),
    "hinge-tanh": Case("Hinge", "tanh-6", 0.05, 100.0, used="ROS34PW2"),
    "squared-hinge-linear": Case("SquaredHinge", "identity", 0.01, 300.0),
    "squared-hinge-diagonal": Case("SquaredHinge", "diagonal2", 0.01, 300.0, scale=3.0),
    "logistic-late": Case("Logistic", "diagonal2", 0.01, 500.0, scale=5.0),
    "logistic-deep-late": Case("Logistic", "diagonal3", 0.001, 300.0, scale=3.0),
    "classes-late": Case("CrossEntropy", "tanh-6", 0.02, 1e3),
    "exponential-late": Case("Exponential", "identity", 0.02, 1e3),
    # Stiff only later: from the one to the other.
    "squared-turns": Case(
        "Squared", "identity-6-6", 0.01, 3.0, 0.05, 300.0, used="Tsit5, then DualROS34PW2"
    ),
    "squared-turns-shallow": Case("Squared", "identity-6", 0.01, 200.0, 0.01),
    # Stabilised explicit methods, which classification with many outputs takes.
    "hinge-stabilised": Case("Hinge", "identity", 0.01, 300.0, method="rkc2", used="RKC2"),
    "logistic-stabilised": Case("Logistic", "diagonal2", 0.01, 500.0, 5.0, method="rkc2"),
    "classes-stabilised": Case("CrossEntropy", "tanh-6", 0.02, 1e3, method="rkc2"),
    # The exact reduction.
    "reduced": Case("Hinge", "diagonal2", 0.01, 300.0, 3.0, n=8, d=12, method="reduced"),
}
QUICK = ("squared-tanh", "squared-linear-late", "hinge-linear", "squared-turns", "reduced")


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    [pytest.param(n, marks=() if n in QUICK else pytest.mark.battery) for n in CASES],
)
def test_a_flow_is_that_of_scipy(name: str) -> None:
    case = CASES[name]
    params, loss, method = errors(case)
    assert params < 10 * RTOL
    assert loss < 10 * RTOL
    assert method == (case.used or method)


def test_there_are_29() -> None:
    assert len(CASES) == 29

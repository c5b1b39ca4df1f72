"""The verdicts of forecasts on small problems of many kinds, beside what the runs do.

python benchmarks/forecast_verdicts.py [NAME ...]

Every problem is simulated and forecast by the same thresholds. A verdict is `right` if it foresees
the run's outcome, by its horizon; `WRONG` marks one of high confidence that does not. Exit code 1
if there is any.
"""

import sys
import time
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

import lazyrich as lr
from lazyrich.sweeps.forecasts import is_right

LINEAR = lr.models.MLP(widths=(), activation="identity", bias=False)
RELU = lr.models.MLP(widths=(24,), bias=False)
DEEP = lr.models.MLP(widths=(12, 12), bias=False)
TANH = lr.models.MLP(widths=(24,), activation="tanh")
DIAGONAL = lr.models.DiagonalLinear()
SQUARED, LOGISTIC = lr.losses.Squared(), lr.losses.Logistic()


class Data(NamedTuple):
    """Training and test data, and the loss that they are for."""

    x: np.ndarray
    y: np.ndarray
    x_test: np.ndarray
    y_test: np.ndarray
    loss: Any


def data() -> dict[str, Data]:
    """Every data set, by name."""
    n, d, m = 24, 60, 200
    rng = np.random.default_rng(0)
    x, t = rng.normal(size=(n, d)) / np.sqrt(d), rng.normal(size=(m, d)) / np.sqrt(d)
    dense = rng.normal(size=d)
    sparse = np.zeros(d)
    sparse[:2] = np.sqrt(d / 2)
    many, few = rng.normal(size=(90, 6)), rng.normal(size=(200, 6))
    w = rng.normal(size=6)
    signs, signs_test = rng.choice([-1.0, 1.0], size=(n, d)), rng.choice([-1.0, 1.0], size=(m, d))

    def regression(y: np.ndarray, y_test: np.ndarray) -> Data:
        return Data(x, y, t, y_test, SQUARED)

    def by_sign(y: np.ndarray, y_test: np.ndarray) -> Data:
        return Data(x, np.sign(y), t, np.sign(y_test), LOGISTIC)

    def bend(z: np.ndarray) -> np.ndarray:
        return np.abs(z[:, 0]) - z[:, 1]

    return {
        "dense regression": regression(x @ dense, t @ dense),
        "sparse regression": regression(x @ sparse, t @ sparse),
        "random targets": regression(rng.normal(size=n), rng.normal(size=m)),
        "noisy regression": regression(x @ dense + rng.normal(size=n), t @ dense),
        "targets x 1e6": regression(1e6 * x @ dense, 1e6 * t @ dense),
        "zero targets": regression(np.zeros(n), np.zeros(m)),
        "constant targets": regression(np.full(n, 5.0), np.full(m, 5.0)),
        "zero test targets": regression(x @ dense, np.zeros(m)),
        "more samples than inputs": Data(many, many @ w, few, few @ w, SQUARED),
        "not linear": Data(many, bend(many), few, bend(few), SQUARED),
        "dense signs": by_sign(x @ dense, t @ dense),
        "sparse signs": Data(
            signs, np.sign(signs[:, 0]), signs_test, np.sign(signs_test[:, 0]), LOGISTIC
        ),
        "random signs": by_sign(rng.normal(size=n), rng.normal(size=m)),
        "one class": by_sign(np.ones(n), np.ones(m)),
        "separated signs": Data(*_separated(rng, n, d), *_separated(rng, m, d), LOGISTIC),
        "not separable": Data(
            many, np.sign(many @ w + 2 * rng.normal(size=90)), few, np.sign(few @ w), LOGISTIC
        ),
    }


def _separated(rng: np.random.Generator, n: int, d: int) -> tuple[np.ndarray, np.ndarray]:
    w = np.random.default_rng(7).normal(size=d)
    w /= np.linalg.norm(w)
    z = rng.normal(size=(n, d))
    y = np.sign(z @ w)
    return z + 4 * y[:, None] * w, y


PROBES = ("train_loss", "test_loss", "train_accuracy", "test_accuracy", "param_norm")
# Model, init_scale, weight_decay, t1.
SETTINGS: dict[str, tuple[Any, float, float, float]] = {
    "linear": (LINEAR, 1.0, 0.0, 1e4),
    "linear, large, decay": (LINEAR, 30.0, 1e-3, 3e4),
    "linear, much decay": (LINEAR, 3.0, 1.0, 1e2),
    "diagonal, large, decay": (DIAGONAL, 30.0, 1e-3, 3e4),
    "diagonal, small": (DIAGONAL, 0.1, 0.0, 1e4),
    "diagonal, much decay": (DIAGONAL, 10.0, 1.0, 1e2),
    "ReLU": (RELU, 1.0, 0.0, 1e3),
    "ReLU, large, decay": (RELU, 5.0, 1e-2, 2e3),
    "deep ReLU, decay": (DEEP, 2.0, 1e-2, 1e3),
    "tanh, decay": (TANH, 1.0, 1e-2, 1e3),
}


class Row(NamedTuple):
    """One problem: what was forecast, and what came."""

    name: str
    verdict: str
    confidence: str
    expected: str | None
    outcome: str
    ratio: float
    seconds: float
    early: float
    late: float
    text: str

    @property
    def mark(self) -> str:
        """Whether the verdict is right."""
        meant = is_right(self.verdict, self.expected or "missing", self.outcome)
        if np.isnan(meant):
            return "-"
        return "right" if meant else ("WRONG" if self.confidence == "high" else "wrong")


def problems() -> Iterator[tuple[str, lr.Experiment]]:
    """Every problem of the battery that is not said twice."""
    for of_data, held in data().items():
        for of_model, (model, scale, decay, t1) in SETTINGS.items():
            task = lr.tasks.Arrays(
                x_train=held.x, y_train=held.y, x_test=held.x_test, y_test=held.y_test
            )
            yield (
                f"{of_data} | {of_model}",
                lr.Experiment(
                    task=task,
                    model=model,
                    loss=held.loss,
                    init_scale=scale,
                    weight_decay=decay,
                    t1=t1,
                    seed=1,
                    dynamics=lr.dynamics.Flow(max_seconds=20.0),
                    probes=(
                        "train_loss",
                        "test_loss",
                        "train_accuracy",
                        "test_accuracy",
                        "param_norm",
                    ),
                ),
            )


def row(name: str, experiment: lr.Experiment, passage: Any = None) -> Row:
    """Runs and forecasts one of them."""
    thresholds = lr.Thresholds()
    begun = time.perf_counter()
    found = lr.forecast(experiment, thresholds=thresholds, passage=passage)
    seconds = time.perf_counter() - begun
    try:
        came = lr.transition(lr.simulate(experiment), thresholds)
    except lr.InputError as error:
        text = str(error)
        return Row(name, found.verdict, found.confidence, found.outcome, "missing", np.nan, seconds,
                   np.nan, np.nan, text)  # fmt: skip
    return Row(
        name,
        found.verdict,
        found.confidence,
        found.outcome,
        came.outcome,
        found.t50 / came.t50,
        seconds,
        came.plateau_score,
        came.final_score,
        "; ".join(found.reasons),
    )


def main(names: list[str]) -> int:
    wrong = 0
    marks: dict[tuple[str, str], int] = {}
    for name, experiment in problems():
        if names and not any(part in name for part in names):
            continue
        got = row(name, experiment)
        marks[got.mark, got.confidence] = marks.get((got.mark, got.confidence), 0) + 1
        wrong += got.mark == "WRONG"
        print(
            f"{got.mark:6} {name:48} {got.verdict:10} {got.confidence:7} {got.expected or '-':11} "
            f"came {got.outcome:11} {got.early:8.3g} to {got.late:8.3g} t50 ratio {got.ratio:6.3g} "
            f"{got.seconds:5.1f} s",
            flush=True,
        )
        if got.mark in ("wrong", "WRONG"):
            print(f"       {got.text}", flush=True)
    for (mark, confidence), number in sorted(marks.items()):
        print(f"{mark}, {confidence} confidence: {number}")
    return int(wrong > 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

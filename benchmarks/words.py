"""Real and toy data sets by three models, judged in words: does a reader agree with each?

python benchmarks/words.py [--no-forecast] [NAME ...]

Prints a row a run: the word, whether the run has settled, training and test scores on the plateau
and at the end, the ceiling (the best certified predictor, where there is one), chance, the times
of the fit and of the change, and the forecast's verdict with its confidence beside. NAME are data
sets; without one it runs all of them, about ten minutes on one core. The result is written to
`words.json` beside this file when all are run.
"""

import json
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from sklearn import datasets

import lazyrich as lr

ROOT = Path(__file__).parent
# Test samples at most.
_NUM_TEST = 100


class Data(NamedTuple):
    """Inputs, labels, and how many of them are for training."""

    x: np.ndarray
    y: np.ndarray
    num_train: int
    is_regression: bool = False


def _rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def _pair(found: Any, low: int, high: int, num_train: int) -> Data:
    """Two classes of a data set as signs, inputs with a column of ones."""
    kept = np.isin(found.target, (low, high))
    return _made(found.data[kept], np.where(found.target[kept] == high, 1.0, -1.0), num_train)


def _made(x: np.ndarray, y: np.ndarray, num_train: int, is_regression: bool = False) -> Data:
    order = _rng(1).permutation(len(x))
    x, y = np.asarray(x, float)[order], np.asarray(y, float)[order]
    spread = np.std(x[:num_train], axis=0)
    x = (x - np.mean(x[:num_train], axis=0)) / np.where(spread > 0, spread, 1)
    x = np.concatenate([x, np.ones((len(x), 1))], axis=1)
    if is_regression and np.std(y[:num_train]) > 0:
        y = (y - np.mean(y[:num_train])) / np.std(y[:num_train])
    return Data(x, y, num_train, is_regression)


def _shuffled(data: Data) -> Data:
    """The control: the same inputs, labels of others."""
    return data._replace(y=_rng(2).permutation(data.y))


def _xor() -> Data:
    x = _rng().choice([-1.0, 1.0], (300, 10))
    return _made(x, x[:, 0] * x[:, 1], 60)


def _parity() -> Data:
    x = _rng().choice([-1.0, 1.0], (300, 10))
    return _made(x, x[:, 0] * x[:, 1] * x[:, 2], 100)


def _sparse() -> Data:
    x = _rng().choice([-1.0, 1.0], (240, 200))
    return Data(x, np.sign(x[:, :3].sum(axis=1)), 40)


def _separated() -> Data:
    rng = _rng()
    z, w = rng.normal(size=(220, 200)), rng.normal(size=200)
    y, w = np.sign(z @ w), w / np.linalg.norm(w)
    return Data(z + y[:, None] * 8 * w, y, 20)


def _modular() -> Data:
    p = 11
    a, b = np.divmod(np.arange(p * p), p)
    x = np.concatenate([np.eye(p)[a], np.eye(p)[b]], axis=1)
    return _made(x, np.where((a + b) % p < p / 2, 1.0, -1.0), 80)


def _quadratic() -> Data:
    x = _rng().normal(size=(250, 10))
    return _made(x, (x @ _rng(3).normal(size=10)) ** 2, 50, True)


def _ridge(noise: float = 0.0) -> Data:
    rng = _rng()
    x, w = rng.normal(size=(240, 80)), rng.normal(size=80)
    return Data(x, (x @ w + noise * rng.normal(size=240)) / np.sqrt(80), 40, True)


def _lasso() -> Data:
    rng = _rng()
    x = rng.normal(size=(240, 100))
    return Data(x, x[:, 0] - x[:, 1] + 0.5 * x[:, 2], 40, True)


def _sine() -> Data:
    x = np.linspace(-1, 1, 120)[:, None]
    return _made(x, np.sin(2 * np.pi * x[:, 0]), 20, True)


def _regression(found: Any, num_train: int) -> Data:
    return _made(found.data, found.target, num_train, True)


def _constant(value: float) -> Data:
    x = _rng().normal(size=(60, 10))
    return Data(x, np.full(60, value), 20, True)


SETS: dict[str, Callable[[], Data]] = {
    "iris 0/1": lambda: _pair(datasets.load_iris(), 0, 1, 40),
    "iris 1/2": lambda: _pair(datasets.load_iris(), 1, 2, 40),
    "wine 0/1": lambda: _pair(datasets.load_wine(), 0, 1, 30),
    "wine 1/2": lambda: _pair(datasets.load_wine(), 1, 2, 30),
    "breast cancer": lambda: _pair(datasets.load_breast_cancer(), 0, 1, 60),
    "digits 3/8": lambda: _pair(datasets.load_digits(), 3, 8, 30),
    "digits 4/9": lambda: _pair(datasets.load_digits(), 4, 9, 30),
    "digits 1/7": lambda: _pair(datasets.load_digits(), 1, 7, 30),
    "moons": lambda: _made(*_signed(datasets.make_moons(240, noise=0.1, random_state=0)), 40),
    "circles": lambda: _made(
        *_signed(datasets.make_circles(240, noise=0.05, factor=0.5, random_state=0)), 40
    ),
    "xor": _xor,
    "parity of 3": _parity,
    "sparse": _sparse,
    "separated": _separated,
    "modular": _modular,
    "diabetes": lambda: _regression(datasets.load_diabetes(), 100),
    "diabetes, few": lambda: _regression(datasets.load_diabetes(), 8),
    "quadratic": _quadratic,
    "ridge": _ridge,
    "ridge, noisy": lambda: _ridge(5.0),
    "sparse regression": _lasso,
    "sine": _sine,
    "sparse, random": lambda: _shuffled(_sparse()),
    "digits 3/8, random": lambda: _shuffled(_pair(datasets.load_digits(), 3, 8, 30)),
    "ridge, random": lambda: _shuffled(_ridge()),
    "constant labels": lambda: _constant(5.0),
    "labels 0": lambda: _constant(0.0),
}


def _signed(pair: tuple[np.ndarray, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    return pair[0], np.where(pair[1] > 0, 1.0, -1.0)


MODELS: dict[str, dict[str, Any]] = {
    "diagonal": {
        "model": lr.models.DiagonalLinear(),
        "init_scale": 100.0,
        "weight_decay": 1e-3,
        "t1": 2e4,
    },
    "linear": {
        "model": lr.models.MLP(widths=(), activation="identity", bias=False),
        "init_scale": 3.0,
        "weight_decay": 1e-3,
        "t1": 2e4,
        "dynamics": lr.dynamics.Flow(max_steps=3000),
    },
    "relu": {
        "model": lr.models.MLP(widths=(32,), bias=False),
        "init_scale": 4.0,
        "weight_decay": 1e-2,
        "t1": 2e3,
        "dynamics": lr.dynamics.Flow(max_steps=3000),
    },
}


def experiment(name: str, data: Data, model: str) -> lr.Experiment:
    """A run of a data set by a model."""
    n, end = data.num_train, data.num_train + _NUM_TEST
    task = lr.tasks.Arrays(
        x_train=data.x[:n], y_train=data.y[:n], x_test=data.x[n:end], y_test=data.y[n:end]
    )
    loss = lr.losses.Squared() if data.is_regression else lr.losses.Logistic()
    return lr.Experiment(name=f"{name}, {model}", task=task, loss=loss, **MODELS[model])


def judged(name: str, data: Data, model: str, *, foresee: bool = True) -> dict[str, Any]:
    """What comes of it, in words and numbers."""
    found = experiment(name, data, model)
    begun = time.perf_counter()
    record = lr.simulate(found)
    events = lr.transition(record)
    simulated = time.perf_counter()
    verdict, confidence, t50 = "–", "", np.nan
    if foresee:
        try:
            said = lr.forecast(found)
            verdict, confidence, t50 = said.verdict, said.confidence, said.t50
        except lr.ComputationError as error:
            verdict = str(error)
    return {
        "data": name,
        "model": model,
        "word": events.outcome,
        "state": events.state,
        "train": events.train_score,
        "early": events.plateau_score,
        "late": events.final_score,
        "ceiling": events.ceiling,
        "chance": events.chance,
        "t_train": events.t_train,
        "t_change": events.t_change,
        "t50": events.t50,
        "verdict": verdict,
        "confidence": confidence,
        "forecast_t50": t50,
        "says": events.says,
        "advice": events.advice,
        "ending": events.ending,
        "seconds": simulated - begun,
        "forecast_seconds": time.perf_counter() - simulated,
    }


_SHOWN = ("train", "early", "late", "ceiling", "chance", "t_train", "t_change")


def main() -> None:
    """Runs and prints."""
    foresee = "--no-forecast" not in sys.argv
    wanted = [name for name in sys.argv[1:] if name != "--no-forecast"] or list(SETS)
    head = f"{'data':<19} {'model':<9} {'word':<11} {'state':<8}"
    print(head, *(f"{key:>8}" for key in _SHOWN), " forecast")
    rows = []
    for name in wanted:
        data = SETS[name]()
        for model in MODELS:
            row = judged(name, data, model, foresee=foresee)
            rows.append(row)
            numbers = [
                f"{row[key]:>8.3g}" if np.isfinite(row[key]) else f"{'–':>8}" for key in _SHOWN
            ]
            print(
                f"{name:<19} {model:<9} {row['word']:<11} {row['state']:<8}",
                *numbers,
                f" {row['verdict']} ({row['confidence']})",
                flush=True,
            )
    if foresee and len(wanted) == len(SETS):
        plain = json.loads(json.dumps(rows), parse_constant=lambda _: None)
        (ROOT / "words.json").write_text(json.dumps(plain, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    main()

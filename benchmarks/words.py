"""Real and toy data sets by three models, judged in words: does a reader agree with each?

python benchmarks/words.py [--no-forecast | --kept] [NAME ...]

Prints a row a run: the word, whether the run has settled, training and test scores on the plateau
and at the end, the ceiling (the best certified predictor, where there is one), chance, the times
of the fit and of the change, and the forecast's verdict with its confidence beside. NAME are data
sets; without one it runs all of them, about five minutes on one core. Rows that were run replace
those of `words.json` beside this file, unless forecasts were left out; `--kept` runs nothing and
prints what is there.

A verdict is `right` if it predicts the run's outcome: `grok` means grokked or improved, `misgrok`
misgrokked, `immediate` immediate or gradual, `none` unchanged, untrained, collapsed or improved.
If the run is not over, a verdict is also right if the predicted outcome at the horizon is right.
`cannot_say` is neither right nor wrong, and so is any verdict on labels that have no score. Exit
code 1 if one of high confidence is wrong.
"""

import json
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from sklearn import datasets

import lazyrich as lr
from lazyrich.sweeps.forecasts import is_right

ROOT = Path(__file__).parent
# Every set has so many inputs, those it lacks being zero, and nearly all of them so many samples:
# what is compiled for one serves all.
_DIM, _NUM_TRAIN, _NUM_TEST = 65, 40, 60


class Data(NamedTuple):
    """Inputs, labels, and how many of them are for training."""

    x: np.ndarray
    y: np.ndarray
    num_train: int = _NUM_TRAIN
    is_regression: bool = False


def _rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def _pair(found: Any, low: int, high: int) -> Data:
    """Two classes of a data set as signs."""
    kept = np.isin(found.target, (low, high))
    return _made(found.data[kept], np.where(found.target[kept] == high, 1.0, -1.0))


def _made(
    x: np.ndarray, y: np.ndarray, is_regression: bool = False, num_train: int = _NUM_TRAIN
) -> Data:
    """Shuffled, standardised by the training samples, with a column of ones."""
    order = _rng(1).permutation(len(x))
    x, y = np.asarray(x, float)[order], np.asarray(y, float)[order]
    spread = np.std(x[:num_train], axis=0)
    x = (x - np.mean(x[:num_train], axis=0)) / np.where(spread > 0, spread, 1)
    x = np.concatenate([x, np.ones((len(x), 1))], axis=1)
    if is_regression and np.std(y[:num_train]) > 0:
        y = (y - np.mean(y[:num_train])) / np.std(y[:num_train])
    return Data(x, y, num_train, is_regression)


def _signed(pair: tuple[np.ndarray, np.ndarray]) -> Data:
    return _made(pair[0], np.where(pair[1] > 0, 1.0, -1.0))


def _shuffled(data: Data) -> Data:
    """The control: the same inputs, labels of others."""
    return data._replace(y=_rng(2).permutation(data.y))


def _product(num: int) -> Data:
    """The product of the first `num` of ten signs."""
    x = _rng().choice([-1.0, 1.0], (100, 10))
    return _made(x, np.prod(x[:, :num], axis=1))


def _sparse() -> Data:
    x = _rng().choice([-1.0, 1.0], (100, 64))
    return Data(x, np.sign(x[:, :3].sum(axis=1)))


def _separated() -> Data:
    rng = _rng()
    z, w = rng.normal(size=(100, 64)), rng.normal(size=64)
    y, w = np.sign(z @ w), w / np.linalg.norm(w)
    return Data(z + y[:, None] * 8 * w, y)


def _modular() -> Data:
    p = 11
    a, b = np.divmod(np.arange(p * p), p)
    x = np.concatenate([np.eye(p)[a], np.eye(p)[b]], axis=1)
    return _made(x, np.where((a + b) % p < p / 2, 1.0, -1.0))


def _quadratic() -> Data:
    x = _rng().normal(size=(100, 10))
    return _made(x, (x @ _rng(3).normal(size=10)) ** 2, True)


def _ridge(noise: float = 0.0) -> Data:
    rng = _rng()
    x, w = rng.normal(size=(100, 64)), rng.normal(size=64)
    return Data(x, (x @ w + noise * rng.normal(size=100)) / np.sqrt(64), is_regression=True)


def _lasso() -> Data:
    x = _rng().normal(size=(100, 64))
    return Data(x, x[:, 0] - x[:, 1] + 0.5 * x[:, 2], is_regression=True)


def _sine() -> Data:
    x = np.linspace(-1, 1, 100)[:, None]
    return _made(x, np.sin(2 * np.pi * x[:, 0]), True)


def _diabetes(num_train: int = _NUM_TRAIN) -> Data:
    found = datasets.load_diabetes()
    return _made(found.data, found.target, True, num_train)


def _constant(value: float) -> Data:
    return Data(_rng().normal(size=(100, 10)), np.full(100, value), is_regression=True)


SETS: dict[str, Callable[[], Data]] = {
    "iris 0/1": lambda: _pair(datasets.load_iris(), 0, 1),
    "iris 1/2": lambda: _pair(datasets.load_iris(), 1, 2),
    "wine 0/1": lambda: _pair(datasets.load_wine(), 0, 1),
    "wine 1/2": lambda: _pair(datasets.load_wine(), 1, 2),
    "breast cancer": lambda: _pair(datasets.load_breast_cancer(), 0, 1),
    "digits 3/8": lambda: _pair(datasets.load_digits(), 3, 8),
    "digits 4/9": lambda: _pair(datasets.load_digits(), 4, 9),
    "digits 1/7": lambda: _pair(datasets.load_digits(), 1, 7),
    "moons": lambda: _signed(datasets.make_moons(100, noise=0.1, random_state=0)),
    "circles": lambda: _signed(datasets.make_circles(100, noise=0.05, factor=0.5, random_state=0)),
    "xor": lambda: _product(2),
    "parity of 3": lambda: _product(3),
    "sparse": _sparse,
    "separated": _separated,
    "modular": _modular,
    "diabetes": _diabetes,
    "diabetes, few": lambda: _diabetes(8),
    "quadratic": _quadratic,
    "ridge": _ridge,
    "ridge, noisy": lambda: _ridge(5.0),
    "sparse regression": _lasso,
    "sine": _sine,
    "sparse, random": lambda: _shuffled(_sparse()),
    "digits 3/8, random": lambda: _shuffled(_pair(datasets.load_digits(), 3, 8)),
    "ridge, random": lambda: _shuffled(_ridge()),
    "constant labels": lambda: _constant(5.0),
    "labels 0": lambda: _constant(0.0),
}


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
    x = np.concatenate([data.x, np.zeros((len(data.x), _DIM - data.x.shape[1]))], axis=1)
    task = lr.tasks.Arrays(x_train=x[:n], y_train=data.y[:n], x_test=x[n:end], y_test=data.y[n:end])
    loss = lr.losses.Squared() if data.is_regression else lr.losses.Logistic()
    return lr.Experiment(name=f"{name}, {model}", task=task, loss=loss, **MODELS[model])


def judged(name: str, data: Data, model: str, *, foresee: bool = True) -> dict[str, Any]:
    """What comes of it, in words and numbers."""
    found = experiment(name, data, model)
    record = lr.simulate(found)
    events = lr.transition(record)
    verdict, confidence, t50, right = "–", "", np.nan, np.nan
    if foresee:
        try:
            said = lr.forecast(found)
            verdict, confidence, t50 = said.verdict, said.confidence, said.t50
            right = is_right(verdict, said.outcome or "missing", events.outcome)
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
        "right": right,
        "forecast_t50": t50,
        "says": events.says,
        "advice": events.advice,
        "ending": events.ending,
    }


_SHOWN = ("train", "early", "late", "ceiling", "chance", "t_train", "t_change")


def _mark(row: dict[str, Any]) -> str:
    if np.isnan(row["right"]):
        return ""
    return "right" if row["right"] else ("WRONG" if row["confidence"] == "high" else "wrong")


def _line(row: dict[str, Any]) -> str:
    numbers = [f"{row[key]:>9.3g}" if np.isfinite(row[key]) else f"{'–':>9}" for key in _SHOWN]
    said = f"{row['verdict']} ({row['confidence']})" if row["confidence"] else row["verdict"]
    words = f"{row['data']:<19}{row['model']:<9}{row['word']:<11}{row['state']:<8}"
    return f"{words}{''.join(numbers)}  {said:<19}{_mark(row)}".rstrip()


def _kept() -> list[dict[str, Any]]:
    """Rows of `words.json`, what is unknown being NaN."""
    path = ROOT / "words.json"
    rows = json.loads(path.read_text(encoding="utf-8")) if path.exists() else []
    return [{key: np.nan if v is None else v for key, v in row.items()} for row in rows]


def _keep(rows: list[dict[str, Any]]) -> None:
    """Puts rows in the place of those kept of the same runs."""
    by_run = {(row["data"], row["model"]): row for row in [*_kept(), *rows]}
    order = [by_run[name, model] for name in SETS for model in MODELS if (name, model) in by_run]
    plain = json.loads(json.dumps(order), parse_constant=lambda _: None)
    (ROOT / "words.json").write_text(json.dumps(plain, indent=1) + "\n", encoding="utf-8")


def main() -> int:
    """Runs and prints."""
    options = [word for word in sys.argv[1:] if word.startswith("--")]
    wanted = [word for word in sys.argv[1:] if word not in options] or list(SETS)
    foresee = "--no-forecast" not in options
    print(f"{'data':<19}{'model':<9}{'word':<11}{'state':<8}", end="")
    print("".join(f"{key:>9}" for key in _SHOWN), " forecast")
    if "--kept" in options:
        rows = [row for row in _kept() if row["data"] in wanted]
        print("\n".join(map(_line, rows)))
        return int(any(_mark(row) == "WRONG" for row in rows))
    rows = []
    for name in wanted:
        data = SETS[name]()
        for model in MODELS:
            rows.append(judged(name, data, model, foresee=foresee))
            print(_line(rows[-1]), flush=True)
    if foresee:
        _keep(rows)
    return int(any(_mark(row) == "WRONG" for row in rows))


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    sys.exit(main())

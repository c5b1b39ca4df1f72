"""Small experiments, one made of every panel, and the numbers that are kept of each."""

import json
from pathlib import Path
from typing import Any, cast

import numpy as np
import xarray as xr

import lazyrich as lr

FOLDER = Path(__file__).parent
NUMBERS, STORE, RECORD = FOLDER / "numbers.json", FOLDER / "store", FOLDER / "record.nc"

# The old store's sweep, and the experiment of the old record.
SWEPT = lr.Experiment(
    task=lr.tasks.SparseClassification(n=12, d=30, num_test=40),
    init_scale=3.0,
    weight_decay=0.01,
    t1=500.0,
    times=lr.dynamics.Times(first=0.1, num_log=6, num_linear=4),
    probes=("train_loss", "test_loss", "train_accuracy", "test_accuracy", "param_norm", "margin"),
)
OVER: dict[str, Any] = {"init_scale": [3.0, 10.0], "seed": [0, 1]}

# A forecast takes as long to compile as a run: one of each way that there is.
FORECAST = (
    "forecast/completion", "forecast/deeper", "forecast/modular", "forecast/polynomial",
    "forecast/student", "kumar2024/1", "lyu2024/1a", "lyu2024/3", "open/early-squared",
    "others/centred", "others/diagonal-doubled", "others/doubled-committee", "others/linearised",
    "others/mlp-hinge",
)  # fmt: skip

# Sizes at which a kind of task, model or dynamics is solved in a moment; few shapes, since
# compiling takes most of the time.
_TASKS: dict[str, dict[str, Any]] = {
    "SparseClassification": {"n": 12, "d": 30, "num_test": 40},
    "SparseRegression": {"n": 12, "d": 30, "num_test": 40},
    "SeparatedClassification": {"n": 12, "d": 30, "num_test": 40},
    "ModularArithmetic": {"p": 5},
    "MatrixCompletion": {"d": 6, "num_observed": 20},
    "PolynomialRegression": {"n": 16, "d": 5, "num_test": 20},
    "StudentTeacher": {"n": 16, "d": 5, "num_test": 20},
    "KernelEigenvector": {"n": 8, "d": 8, "num_test": 8},
    "Images": {"n": 20, "num_test": 20},
}


def small(experiment: lr.Experiment) -> lr.Experiment:
    """The experiment at a small size, over a short time and at few records."""
    task, model = type(experiment.task).__name__, cast(Any, experiment.model)
    changes: dict[str, Any] = {f"task.{k}": v for k, v in _TASKS[task].items()}
    prefix = "model."
    while hasattr(model, "model"):
        model, prefix = model.model, prefix + "model."
    match type(model).__name__:
        case "MLP":
            changes[f"{prefix}widths"] = [8] * len(model.widths)
            if task == "ModularArithmetic":
                changes[f"{prefix}outputs"] = 5
        case "CommitteeMachine":
            changes[f"{prefix}width"] = min(model.width, 8)
        case "Transformer":
            changes |= {f"{prefix}width": 8, f"{prefix}heads": 2, f"{prefix}mlp_width": 16}
        case "MatrixFactorisation":
            changes[f"{prefix}size"] = 6
    rate = getattr(experiment.dynamics, "learning_rate", None)
    t1 = experiment.t1 / 20 if rate is None else 100 * rate
    if model.has_kinks:  # these spread rounding from step to step, so steps are few
        t1 = min(t1, 20.0)
    if getattr(experiment.dynamics, "batch_size", 0):
        changes["dynamics.batch_size"] = 5
    first = min(experiment.times.first or 1e-3 * t1, 1e-2 * t1)
    changes |= {"t1": t1, "times.num_log": 6, "times.num_linear": 0, "times.first": first}
    return experiment.with_changes(changes)


# Times kept of a long record.
_TIMES = 16


def numbers_of(record: xr.Dataset) -> dict[str, Any]:
    """What is kept of a record, as JSON holds it: of a long one, some of its times."""
    solver = json.loads(record.attrs["solver"])
    counts = {k: v for k, v in solver.items() if isinstance(v, int | str) and k != "reason"}
    num = record.sizes["time"]
    counts["num_records"] = num
    some = record.isel(time=np.unique(np.linspace(0, num - 1, _TIMES).astype(int)))
    values = {str(name): variable.values.tolist() for name, variable in some.variables.items()}
    attributes = ("ending", "homogeneity", "loss_floor", "resolved_until")
    return {"values": values, "solver": counts, **{k: record.attrs[k] for k in attributes}}


def forecast_of(experiment: lr.Experiment) -> dict[str, Any]:
    """What is kept of a forecast: its summary without what differs from machine to machine."""
    summary = lr.forecast(experiment).summary()
    del summary["seconds"]
    return without_words(summary)


def without_words(summary: dict[str, Any]) -> dict[str, Any]:
    """A forecast's summary with the number of its reasons and without the sentences in it."""
    found = {k: v for k, v in summary.items() if k not in ("advice", "method")}
    for part, word in (("late", "predictor"), ("calibration", "source")):
        found[part] = {k: v for k, v in summary[part].items() if k != word}
    return {**found, "reasons": len(summary["reasons"])}


def others() -> dict[str, lr.Experiment]:
    """Kinds that no panel names."""
    m, t, flow = lr.models, lr.tasks, lr.dynamics.Flow
    student = t.StudentTeacher(n=16, d=5, outputs=1, num_test=20)
    sparse = t.SparseClassification(n=12, d=30, k=3, num_test=40)
    modular = t.ModularArithmetic(p=5, train_fraction=0.8)
    polynomial = t.PolynomialRegression(n=16, d=5, num_test=20)
    tanh = m.MLP(widths=(8,), activation="tanh", outputs=1)
    one_hot = m.MLP(widths=(8,), outputs=5, activation="tanh", one_hot=2)
    trained = m.CommitteeMachine(width=8, readouts="trained")
    squared, logistic = lr.losses.Squared(), lr.losses.Logistic()
    twins = ("train_loss", "test_loss", "param_norm", "twin_test_loss", "kernel_regression_loss")
    found: dict[str, tuple[Any, Any, Any, dict[str, Any]]] = {
        "doubled": (student, m.Doubled(model=tanh), squared, {}),
        "centred": (student, m.Centred(model=tanh), squared, {}),
        "linearised": (student, m.Linearised(model=tanh), squared, {}),
        "decaying": (
            student, m.Linearised(model=tanh, base_point="decaying"), squared,
            {"weight_decay": 0.01},
        ),
        "centred-doubled": (student, m.Centred(model=m.Doubled(model=tanh)), squared, {}),
        "doubled-classes": (modular, m.Doubled(model=one_hot), lr.losses.CrossEntropy(), {}),
        "doubled-committee": (polynomial, m.Doubled(model=trained), squared, {}),
        "committee-trained": (polynomial, trained, squared, {"probes": twins}),
        "committee-centred": (polynomial, m.Centred(model=trained), squared, {"probes": twins}),
        "linearised-committee": (polynomial, m.Linearised(model=trained), squared, {}),
        "diagonal-flow": (sparse, m.DiagonalLinear(depth=3), logistic, {"dynamics": flow()}),
        "diagonal-doubled": (sparse, m.Doubled(model=m.DiagonalLinear()), logistic, {}),
        "diagonal-linearised": (
            sparse, m.Linearised(model=m.DiagonalLinear()), lr.losses.Exponential(), {},
        ),
        "diagonal-exponential": (sparse, m.DiagonalLinear(), lr.losses.Exponential(), {}),
        "mlp-hinge": (sparse, m.MLP(widths=(8,), zero_last=True), lr.losses.Hinge(), {}),
        "mlp-signs": (
            sparse, m.MLP(widths=(8,), bias=False), logistic,
            {"probes": ("train_loss", "test_accuracy", "normalised_margin",
                        "kernel_alignment_start")},
        ),
    }  # fmt: skip
    common: dict[str, Any] = {
        "t1": 10.0,
        "times": lr.dynamics.Times(first=0.1, num_log=6, num_linear=0),
    }
    return {
        f"others/{name}": lr.Experiment(task=task, model=model, loss=loss, **(common | more))
        for name, (task, model, loss, more) in found.items()
    }


def distinct() -> dict[str, lr.Experiment]:
    """Small experiments by name: the panels' that differ, and the others."""
    panels = {name: small(lr.studies.load(name)) for name in lr.studies.names()}
    first: dict[str, str] = {}
    for name, experiment in panels.items():
        first.setdefault(experiment.content_hash, name)
    return {name: panels[name] for name in first.values()} | others()


def hashes() -> dict[str, str]:
    """The content hash of every panel's experiment, and of every small one."""
    panels = {name: lr.studies.load(name).content_hash for name in lr.studies.names()}
    smalls = {f"small {name}": e.content_hash for name, e in distinct().items()}
    return panels | smalls


# What is zero but for rounding, or for the iteration at which a search ended.
FLOORS = {
    "predictor_train_loss": 1e-25,
    "predictor_gap": 1e-7,
    "rich_gap": 1e-7,
    "kernel_gap": 1e-7,
    "gap": 1e-7,
    "test_loss": 1e-15,
}


def close(old: Any, new: Any, rtol: float, floor: float = 0.0) -> bool:
    """Whether two lists of numbers or words are the same within rounding.

    Relative to the largest of a list: what has fallen by many orders of magnitude, or crosses
    zero, is the difference of larger numbers and has their rounding. Up to `floor` all are zero.
    """
    a, b = np.asarray(old), np.asarray(new)
    if a.shape != b.shape or "f" not in a.dtype.kind + b.dtype.kind:
        return bool(a.shape == b.shape and np.all(a == b))
    finite = np.abs(a[np.isfinite(a)])
    atol = max(floor, rtol * 1e-3 * finite.max() if finite.size else 0.0)
    return bool(np.allclose(a, b, rtol, atol, equal_nan=True))


def differences(old: Any, new: Any, rtol: float, place: str = "") -> list[str]:
    """Where two tables differ by more than rounding, a line each."""
    if isinstance(old, dict) and isinstance(new, dict):
        found = [
            differences(old.get(key), new.get(key), rtol, f"{place}/{key}")
            for key in sorted(old.keys() | new.keys())
        ]
        return [line for lines in found for line in lines]
    floor = FLOORS.get(place.rsplit("/", maxsplit=1)[-1], 0.0)
    return [] if close(old, new, rtol, floor) else [f"{place}: {old} -> {new}"]


def kept() -> dict[str, Any]:
    """What `numbers.json` holds."""
    found: dict[str, Any] = json.loads(NUMBERS.read_text())
    return found


def keep(numbers: dict[str, Any]) -> None:
    """Writes it, a line a case."""
    parts = []
    for part, table in numbers.items():
        lines = [
            f"{json.dumps(k)}:{json.dumps(v, separators=(',', ':'))}" for k, v in table.items()
        ]
        parts.append(f"{json.dumps(part)}:{{\n" + ",\n".join(lines) + "\n}")
    NUMBERS.write_text("{\n" + ",\n".join(parts) + "\n}\n")

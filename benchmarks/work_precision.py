"""Work against precision: the flow engine beside other solvers, on six problems.

python benchmarks/work_precision.py [PROBLEM ...]

Writes `work_precision.json` beside this file and `docs/figures/work_precision.png`.

Where the flow is smooth, the error is the worst, over times from the first to the horizon, of
the root mean square error of the outputs on held-out inputs, relative to the root mean square
of the outputs. A net of ReLUs follows a flow with kinks: where an activation switches, runs
part that agreed before, whatever their method and tolerance, and late outputs of single
inputs then differ by several percent, while what one reads off such runs, when a curve
passes a level, hardly does. The error there is the largest relative difference among the
times at which the training loss and the test loss fall through given levels (`Crossings`).
Not accuracies: one of the 288 held-out inputs of modular addition moves a crossing by 0.3 %.

Two references by unrelated methods at tight tolerances stand behind every error; their
disagreement is the floor below which no error means anything.

Seconds are processor time on one core, to which all methods alike are pinned: the wall time of
an otherwise idle machine, and not that of its other users. Every method runs
compiled, after a warm-up, with the same measure of the error of a step; methods are stopped
at a limit of seconds and then have no entry. Work is gradients plus products with a Jacobian,
those of the measure not among them; SciPy's count every call of the vector field, those for
differences included. Kvaerno5's are not known, nor are the kernels and factors of the
Rosenbrock methods among them. Gradient descent runs at its largest rate stable at time 0, and
at a half, a quarter and so on of it, while its steps take no longer than the limit; its
seconds are those of a step, measured, times the number of steps.
"""

import dataclasses
import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import diffrax
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import optimistix as optx
import scipy.integrate
from jax.flatten_util import ravel_pytree
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter
from sklearn.datasets import load_digits
from threadpoolctl import threadpool_limits

import lazyrich as lr
from lazyrich._core.precision import in_double
from lazyrich._integrate import stepping as _stepping
from lazyrich._integrate.status import RUNNING
from lazyrich._run.achieved import gathered
from lazyrich._run.data import build_problem
from lazyrich.dynamics import Problem
from lazyrich.dynamics._method import Method, start_radius
from lazyrich.dynamics.gradient_flow import GradientFlow

LIMIT_SECONDS = 60.0
REFERENCE_SECONDS = 400.0
_REPEATS = 3  # the least counts, of runs within 2 s; longer ones are run once
_STAGES = {"Tsit5": 6, "Dopri8": 13}  # gradients a step, of solvers that do not count
FLOW = Path(__file__).with_name("work_precision.json")


@dataclasses.dataclass
class Crossings:
    """Levels whose crossing times are compared; the test loss falls through its after its peak."""

    train_loss: tuple[float, ...]
    test_loss: tuple[float, ...]
    num_records: int  # over four decades; where runs are short, records weigh


@dataclasses.dataclass
class Case:
    """A problem, what is compared, and how gradient descent was published.

    - `references`, two methods with their tolerances, the first of which errors refer to.
    - `crossings`, what is compared in place of the outputs.
    """

    name: str
    problem: Problem
    x_test: Any
    y_test: Any
    t1: float
    references: tuple[tuple[str, float], tuple[str, float]]
    published_rate: float | None = None
    crossings: Crossings | None = None

    @property
    def times(self) -> np.ndarray:
        first, count = (1e-3, 12) if self.crossings is None else (1e-4, self.crossings.num_records)
        return np.concatenate([[0.0], np.geomspace(first * self.t1, self.t1, count)])

    @property
    def tolerances(self) -> tuple[float, ...]:
        return (3e-2, 1e-2, 3e-3, 1e-3, 2e-4) if self.crossings is None else (3e-2, 1e-2, 3e-3)


_STIFF_REFERENCES = (("DualROS34PW2", 1e-6), ("RKC2", 1e-5))


def from_experiment(
    name: str,
    experiment: lr.Experiment,
    references: tuple[tuple[str, float], tuple[str, float]] = _STIFF_REFERENCES,
    rate: float | None = None,
    crossings: Crossings | None = None,
) -> Case:
    data_key, init_key = jr.split(jr.key(experiment.seed))
    split = experiment.task.sample(data_key)
    problem = build_problem(experiment, split.train, init_key)
    test = gathered(split.test)
    x_test = test.x[:500]
    watched = Problem(
        problem.train,
        problem.params,
        problem.weight_decay,
        problem.model,
        problem.loss,
        x_test[:256],
    )
    y_test = test.y[: len(x_test)]
    return Case(name, watched, x_test, y_test, experiment.t1, references, rate, crossings)


def diagonal() -> Case:
    """A diagonal net as a net: logistic loss, n = 64, d = 1,000."""
    task = lr.tasks.SparseClassification(n=64, d=1000, num_test=500)
    fields: dict[str, Any] = {"init_scale": 50.0, "weight_decay": 1e-3, "t1": 1e4}
    references = (("Dopri8", 1e-6), ("ROS34PW2", 1e-5))
    return from_experiment("diagonal net", lr.Experiment(task=task, **fields), references)


def completion() -> Case:
    """Panel lyu2024/3."""
    return from_experiment("matrix completion", lr.studies.load("lyu2024/3"), rate=0.1)


def polynomial() -> Case:
    """Polynomial regression, D = 100, P = 550, N = 500, epsilon = 0.02, to 1e5 epochs."""
    experiment = lr.Experiment(
        task=lr.tasks.PolynomialRegression(),
        model=lr.models.CommitteeMachine(epsilon=0.02),
        loss=lr.losses.Squared(),
        t1=5e7,
    )
    return from_experiment("polynomial regression", experiment, rate=500.0)


def _arrays(x: np.ndarray, y: np.ndarray, n: int) -> lr.tasks.Arrays:
    return lr.tasks.Arrays(x_train=x[:n], y_train=y[:n], x_test=x[n:], y_test=y[n:])


def modular() -> Case:
    """Addition modulo 31, one hidden layer of 128 ReLUs, from ten times He, its last layer zero.

    The training data are fitted at t = 230; the test accuracy passes 50 % at t = 11,000,
    shortly before the horizon: a user would stop there.
    """
    p, rng = 31, np.random.default_rng(0)
    a, b = np.divmod(rng.permutation(p * p), p)
    x = np.concatenate([np.eye(p)[a], np.eye(p)[b]], axis=1).astype(np.int8)
    experiment = lr.Experiment(
        task=_arrays(x, (a + b) % p, round(0.7 * p * p)),
        model=lr.models.MLP(widths=(128,), outputs=p, zero_last=True),
        loss=lr.losses.CrossEntropy(),
        init_scale=10.0,
        weight_decay=5e-4,
        t1=1.2e4,
    )
    levels = Crossings(train_loss=(3.0, 1.0, 0.3), test_loss=(10.0, 6.0, 3.0), num_records=300)
    references = (("Tsit5", 3e-4), ("RKC2", 1e-2))
    return from_experiment("modular addition", experiment, references, crossings=levels)


def student() -> Case:
    """A tanh student 5-100-100-5 of a tanh teacher, 100 samples."""
    model = lr.models.MLP(widths=(100, 100), outputs=5, activation="tanh", bias=False)
    x = np.random.default_rng(0).normal(size=(300, 5))
    teacher = model.init(jr.key(7), 5)
    y = np.asarray(model.apply(teacher, jnp.asarray(x)))
    experiment = lr.Experiment(
        task=_arrays(x, y, 100),
        model=model,
        loss=lr.losses.Squared(),
        init_scale=2.0,
        weight_decay=1e-4,
        t1=5e4,
    )
    return from_experiment("student and teacher", experiment)


def digits() -> Case:
    """scikit-learn's digits, 64-32-10 ReLUs, 1,000 samples, cross-entropy.

    The horizon is about twice the last crossing. Beyond, the flow branches: at a training loss of
    0.1 (t = 96) runs of all methods are in one of two groups 0.8 % apart in time, which grow
    to 10 % where the loss creeps to its limit set by the decay.
    """
    x, y = load_digits(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(y))
    experiment = lr.Experiment(
        task=_arrays(x[order] / 16, y[order].astype(int), 1000),
        model=lr.models.MLP(widths=(32,), outputs=10),
        loss=lr.losses.CrossEntropy(),
        init_scale=3.0,
        weight_decay=1e-3,
        t1=100.0,
    )
    losses = {"train_loss": (3.0, 1.0, 0.3, 0.15), "test_loss": (3.0, 1.0, 0.3)}
    levels = Crossings(**losses, num_records=120)
    references = (("Tsit5", 3e-4), ("RKC2", 1e-3))
    return from_experiment("digits", experiment, references, crossings=levels)


CASES: dict[str, Callable[[], Case]] = {
    case.__name__: case for case in (diagonal, completion, polynomial, modular, student, digits)
}


# One run of one method.


def observer(case: Case) -> Callable[[Any, Any], dict[str, Any]]:
    """What is compared, at one time."""
    problem, x, y = case.problem, case.x_test, case.y_test

    def outputs(time: Any, params: Any) -> dict[str, Any]:
        del time
        return {"f": problem.model.apply(params, x)}

    def losses(time: Any, params: Any) -> dict[str, Any]:
        del time
        f, f_test = problem.model.apply(params, problem.train.x), problem.model.apply(params, x)
        return {
            "train_loss": problem.loss.mean(f, problem.train.y),
            "test_loss": problem.loss.mean(f_test, y),
            "test_accuracy": jnp.mean(jnp.argmax(f_test, axis=1) == y),
        }

    return outputs if case.crossings is None else losses


def timed_solve(
    case: Case, method: Method, rtol: float, limit: float = LIMIT_SECONDS, warm_up: bool = True
) -> Any:
    """What is compared at the case's times, seconds and gradients; None past the limit."""
    flow = lr.dynamics.Flow(rtol=rtol, densify=0.0)
    observe = observer(case)
    least = np.inf
    for attempt in ("warm-up", *["timed"] * _REPEATS) if warm_up else ("timed",):
        system, state = flow.prepare(case.problem, case.times, observe, method)
        begun = time.process_time()
        while int(state.status) == RUNNING:
            state = jax.block_until_ready(_stepping.advance_one(system, state))
            elapsed = time.process_time() - begun
            if elapsed > limit * (2 if attempt == "warm-up" else 1):
                return None
            if attempt == "warm-up":
                break  # compiled by now
        if attempt == "timed":
            least = min(least, elapsed)
            if elapsed > 2:
                break
    trajectory = flow.finish(method, state, None, observed=True)
    if trajectory.ending != "completed":
        return None
    effort, known = trajectory.effort, method.name != "Kvaerno5"
    # diffrax's solvers do not count.
    own = _STAGES.get(method.name, 0) * (effort.num_steps + effort.num_rejected)
    return {
        "seen": {name: np.asarray(value) for name, value in trajectory.observed.items()},
        "seconds": least,
        "gradients": effort.num_gradients or own if known else None,
        "products": effort.num_products if known else None,
        "steps": effort.num_steps,
    }


def named(kind: str, rtol: float) -> Method:
    solvers = lr.solvers
    if kind == "DualROS34PW2":
        return Method(kind, solvers.DualROS34PW2(), "")
    if kind == "ROS34PW2":
        return Method(kind, solvers.ROS34PW2(), "")
    if kind in ("ROCK2", "RKC2", "DampedRKC2"):
        return Method(kind, getattr(solvers, kind)(), "")
    if kind == "Kvaerno5":
        chord = diffrax.VeryChord(rtol=0.1 * rtol, atol=0.1 * rtol, norm=optx.rms_norm)
        return Method(kind, diffrax.Kvaerno5(root_finder=chord), "")
    return Method(kind, getattr(diffrax, kind)(), "")


def by_scipy(case: Case, kind: str, rtol: float) -> Any:
    """LSODA, BDF or Radau on the compiled vector field, stopped by an exception."""
    flat, unravel = ravel_pytree(case.problem.params)
    term = term_of(case)
    field = jax.jit(lambda y: ravel_pytree(term.vf(0.0, unravel(y), None))[0])
    field(flat).block_until_ready()
    begun, calls = time.process_time(), 0

    def derivative(t: float, y: np.ndarray) -> np.ndarray:
        nonlocal calls
        del t
        calls += 1
        if time.process_time() - begun > LIMIT_SECONDS:
            raise TimeoutError
        return np.asarray(field(jnp.asarray(y)))

    norm = float(jnp.linalg.norm(flat)) / np.sqrt(flat.size)
    try:
        solution = scipy.integrate.solve_ivp(
            derivative,
            (0.0, case.t1),
            np.asarray(flat),
            kind,
            t_eval=case.times,
            rtol=rtol,
            atol=rtol * norm,
        )
    except TimeoutError:
        return None
    if not solution.success:
        return None
    elapsed = time.process_time() - begun
    observe = jax.jit(observer(case))
    records = [observe(0.0, unravel(jnp.asarray(y))) for y in solution.y.T]
    seen = {name: np.stack([np.asarray(r[name]) for r in records]) for name in records[0]}
    return {"seen": seen, "seconds": elapsed, "gradients": calls, "products": 0, "steps": None}


def term_of(case: Case) -> GradientFlow:
    problem = case.problem
    decay = jnp.asarray(problem.weight_decay, jnp.float64)
    return GradientFlow(problem.train.x, problem.train.y, decay, problem.model, problem.loss)


def descent(case: Case) -> dict[str, float]:
    """Seconds of a step, and the steps that the largest stable and the published rate need."""
    problem = case.problem
    rate = 1.9 / start_radius(term_of(case), problem.params)
    optimiser = lr.dynamics.GradientDescent(learning_rate=rate)
    elapsed = np.inf
    for _ in range(3):
        begun = time.process_time()
        optimiser.follow(problem, np.array([0.0, 300 * rate]), lambda *_: None)
        elapsed = min(elapsed, time.process_time() - begun)
    found = {"seconds a step": elapsed / 300, "steps, largest rate at the start": case.t1 / rate}
    if case.published_rate is not None:
        found["steps, published rate"] = case.t1 / case.published_rate
    return found


def by_descent(case: Case, rate: float) -> dict[str, np.ndarray] | None:
    """What is compared, on lines between the steps around each time; None if it diverges."""
    steps = case.times / rate
    marks = np.unique(np.concatenate([np.floor(steps), np.floor(steps) + 1]))
    optimiser = lr.dynamics.GradientDescent(learning_rate=rate)
    run = optimiser.follow(case.problem, rate * marks, lambda *_: None, observer(case))
    if run.ending != "completed" or run.observed is None:
        return None
    before = np.searchsorted(marks, np.floor(steps))
    part = steps - marks[before]

    def between(values: Any) -> np.ndarray:
        values = np.asarray(values)
        weight = part.reshape(-1, *[1] * (values.ndim - 1))
        return np.asarray((1 - weight) * values[before] + weight * values[before + 1])

    return {name: between(values) for name, values in run.observed.items()}


def descents(case: Case, exact: dict[str, np.ndarray], found: dict[str, float]) -> list[Any]:
    """Rows of gradient descent, at rates that fall by twos."""
    rows: list[Any] = []
    num_steps = found["steps, largest rate at the start"]
    while num_steps * found["seconds a step"] < LIMIT_SECONDS:
        seen = by_descent(case, case.t1 / num_steps)
        error = np.inf if seen is None else errors(case, seen, exact)
        seconds = num_steps * found["seconds a step"]
        work = {"seconds": seconds, "gradients": round(num_steps), "products": 0}
        row = {"method": DESCENT, "rtol": None, "rate": case.t1 / num_steps, **work}
        rows.append({**row, "error": error if np.isfinite(error) else None})
        print(f"  {DESCENT:<22}  error {error:9.2e}  {seconds:8.2f} s  {num_steps:.0f} steps")
        if error < 2e-3:
            break
        num_steps *= 2
    if not rows:
        return [{"method": DESCENT, "rtol": None, "error": None, "seconds": None}]
    return rows


# The comparison.

DESCENT = "gradient descent"
OTHERS = ("Tsit5", "Dopri8", "Kvaerno5")
SCIPY = ("LSODA", "BDF", "Radau")
MOST_PARAMETERS = 3000  # for a dense Jacobian with respect to the parameters


def errors(case: Case, seen: dict[str, np.ndarray], exact: dict[str, np.ndarray]) -> float:
    """How far apart two runs are; infinite if only one of them crosses a level."""
    if case.crossings is None:
        f, g = seen["f"][1:], exact["f"][1:]
        axes = tuple(range(1, f.ndim))
        size = np.sqrt(np.mean(g**2, axis=axes))
        return float(np.max(np.sqrt(np.mean((f - g) ** 2, axis=axes)) / size))
    mine, theirs = crossing_times(case, seen), crossing_times(case, exact)
    return max(_apart(mine[key], theirs[key]) for key in mine)


def _apart(time: float | None, exact: float | None) -> float:
    if time is None or exact is None:
        return np.inf
    return abs(float(np.log(time / exact)))


def crossing_times(case: Case, seen: dict[str, np.ndarray]) -> dict[str, float | None]:
    """When each loss first falls through each level, after its peak; None if it does not.

    Between two records, the logarithm of the loss is a line over the logarithm of time.
    """
    assert case.crossings is not None
    log_times, found = np.log(case.times[1:]), {}
    levels_of = {"train_loss": case.crossings.train_loss, "test_loss": case.crossings.test_loss}
    for name, levels in levels_of.items():
        values = seen[name][1:]
        peak = int(np.argmax(values))
        for level in levels:
            below = np.flatnonzero(values[peak:] <= level) + peak
            crossed = len(below) > 0 and below[0] > peak
            end = slice(below[0] - 1, below[0] + 1) if crossed else slice(0, 2)
            line = -np.log(values[end]), log_times[end]
            key = f"{name} {level:g}"
            found[key] = float(np.exp(np.interp(-np.log(level), *line))) if crossed else None
    return found


def compare(case: Case) -> dict[str, Any]:
    classification = case.problem.loss.is_classification
    flat, _ = ravel_pytree(case.problem.params)
    num_outputs = jax.eval_shape(
        case.problem.model.apply, case.problem.params, case.problem.train.x
    )
    if classification:
        ours = ["ROCK2", "RKC2"]
        if case.problem.model.has_kinks:
            ours.append("DampedRKC2")
        if num_outputs.size <= 600:
            ours.append("ROS34PW2")
    else:
        ours = ["DualROS34PW2", "ROCK2", "RKC2"]
    reference, second = (
        timed_solve(case, named(kind, rtol), rtol, REFERENCE_SECONDS, warm_up=False)
        for kind, rtol in case.references
    )
    floor = errors(case, second["seen"], reference["seen"])
    costs = [run["seconds"] for run in (reference, second)]
    print(f"  references {case.references}: {floor:.2e} apart, {costs[0]:.0f} and {costs[1]:.0f} s")
    if case.crossings is not None:
        print(f"  {crossing_times(case, reference['seen'])}")
        print(f"  {crossing_times(case, second['seen'])}", flush=True)
    rows = []
    others = [kind for kind in OTHERS if kind != "Kvaerno5" or flat.size <= MOST_PARAMETERS]
    for kind in [*ours, *others, *(SCIPY if flat.size <= MOST_PARAMETERS else ())]:
        for rtol in case.tolerances:
            if kind in SCIPY:
                run = by_scipy(case, kind, min(rtol, 1e-2))
            else:
                run = timed_solve(case, named(kind, rtol), rtol)
            if run is None:
                rows.append({"method": kind, "rtol": rtol, "error": None, "seconds": None})
                print(f"  {kind:<14}{rtol:8.0e}   over {LIMIT_SECONDS:g} s", flush=True)
                break
            error = errors(case, run.pop("seen"), reference["seen"])
            known = error if np.isfinite(error) else None
            rows.append({"method": kind, "rtol": rtol, "error": known, **run})
            print(
                f"  {kind:<14}{rtol:8.0e}  error {error:9.2e}  {run['seconds']:8.2f} s  "
                f"{run['gradients']} gradients  {run['products']} products",
                flush=True,
            )
            if case.crossings is None and error < 2e-3:
                break
    descending = descent(case)
    rows += descents(case, reference["seen"], descending)
    return {
        "name": case.name,
        "parameters": int(flat.size),
        "outputs": int(num_outputs.size),
        "classification": classification,
        "measure": "outputs" if case.crossings is None else "crossing times",
        "references": [
            {"method": kind, "rtol": rtol, "seconds": run["seconds"]}
            for (kind, rtol), run in zip(case.references, (reference, second), strict=True)
        ],
        "floor": floor,
        "ours": ours,
        "rows": rows,
        "gradient descent": descending,
        "at 1 % error": at_one_percent(rows, ours),
    }


def at_one_percent(rows: list[dict[str, Any]], ours: list[str]) -> dict[str, Any]:
    """Each method's least seconds within 1 %, and those of the best other one over ours.

    A tolerance counts if all tighter ones that were run are within 1 %, too: one of several
    errors can be small by chance.
    """
    best: dict[str, float] = {}
    for kind in dict.fromkeys(row["method"] for row in rows):
        ended = [row for row in rows if row["method"] == kind and row["seconds"] is not None]
        for row in reversed(ended):
            if row["error"] is None or row["error"] > 0.01:
                break
            best[kind] = min(row["seconds"], best.get(kind, np.inf))
    mine = min((best[kind] for kind in ours if kind in best), default=None)
    theirs = min((s for kind, s in best.items() if kind not in ours), default=None)
    found: dict[str, Any] = {"seconds": best}
    if mine is not None and theirs is not None:
        found["best of the others / ours"] = theirs / mine
    elif mine is not None:
        found["best of the others / ours, more than"] = LIMIT_SECONDS / mine
    return found


def draw(results: dict[str, Any], path: Path) -> None:
    """Two panels a problem, seconds and gradients against error; ours filled, others hollow."""
    columns = 3
    bands = -(-len(results) // columns)
    figure = Figure(figsize=(3.4 * columns, 5.2 * bands + 0.7), layout="constrained")
    axes = figure.subplots(2 * bands, columns, squeeze=False)
    for axis in axes.flat:
        axis.set_visible(False)
    handles: dict[str, Any] = {}
    for place, name in enumerate(name for name in CASES if name in results):
        result = results[name]
        band, column = divmod(place, columns)
        pair = axes[2 * band, column], axes[2 * band + 1, column]
        for axis, work in zip(pair, (_seconds, _gradients), strict=True):
            axis.set_visible(True)
            for kind, line in _lines(axis, result, work).items():
                handles.setdefault(kind, line)
            _dress(axis, result)
        pair[0].set_title(f"{result['name']}\n", fontsize=10)
        slow = [r["method"] for r in result["rows"] if r["seconds"] is None and _first(result, r)]
        note = f"over {LIMIT_SECONDS:g} s: {', '.join(slow)}" if slow else ""
        pair[0].text(0.5, 1.02, note, transform=pair[0].transAxes, ha="center", fontsize=7.5)
        crossing = result["measure"] == "crossing times"
        pair[1].set_xlabel(f"error of {'crossing times' if crossing else 'outputs'}, %")
        if column == 0:
            pair[0].set_ylabel("seconds on one core")
            pair[1].set_ylabel("gradients and products")
    shown = [kind for kind in _STYLES if kind in handles]
    figure.legend(
        [handles[kind] for kind in shown],
        shown,
        loc="outside lower center",
        ncols=-(-len(shown) // 2),
        frameon=False,
    )
    figure.savefig(path, dpi=110)


def _first(result: dict[str, Any], row: dict[str, Any]) -> bool:
    """Whether a method never ended: its first row has no seconds."""
    return next(r for r in result["rows"] if r["method"] == row["method"]) is row


def _seconds(row: dict[str, Any]) -> float | None:
    seconds: float | None = row["seconds"]
    return seconds


def _gradients(row: dict[str, Any]) -> float | None:
    gradients: float | None = row.get("gradients")
    return None if gradients is None else gradients + row["products"]


def _lines(
    axis: Any, result: dict[str, Any], work: Callable[[Any], float | None]
) -> dict[str, Any]:
    """A line for each method that has errors below `_MOST_ERROR` and whose work is known."""
    lines = {}
    for kind, (color, marker) in _STYLES.items():
        rows = [r for r in result["rows"] if r["method"] == kind and r["error"] is not None]
        points = [(r["error"], work(r)) for r in rows if r["error"] < _MOST_ERROR]
        if not points or points[0][1] is None:
            continue
        ours = kind in result["ours"]
        (lines[kind],) = axis.plot(
            *zip(*points, strict=True),
            color=color,
            marker=marker,
            markersize=5,
            linewidth=1.2,
            linestyle="-" if ours else "--",
            markerfacecolor=color if ours else "none",
        )
    return lines


def _dress(axis: Any, result: dict[str, Any]) -> None:
    errors = [r["error"] for r in result["rows"] if r["error"] is not None]
    high = 1.6 * max([0.02, *(e for e in errors if e < _MOST_ERROR)])
    low = 0.6 * min([*errors, 0.002])
    axis.set(xscale="log", yscale="log", xlim=(high, low))
    axis.axvline(0.01, color="#636363", linewidth=1.0, linestyle=":")
    if result["floor"] > low:
        axis.axvspan(result["floor"], low, color="#ececec", linewidth=0)
    axis.grid(True, which="major", color="#dcdcdc", linewidth=0.6)
    axis.set_axisbelow(True)
    least, most = axis.get_ylim()
    if most < 6 * least:
        axis.set_ylim(least / 1.7, most * 1.7)
    least, most = axis.get_ylim()
    _label(axis.yaxis, most / least, 1)
    _label(axis.xaxis, high / low, 100)


def _label(axis: Any, ratio: float, unit: float) -> None:
    """Plain numbers at 1 and 3 of each power of ten, or at 1 alone over a wide range."""
    axis.set_major_locator(LogLocator(subs=(1.0, 3.0) if ratio < 100 else (1.0,)))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{unit * value:,.12g}"))
    axis.set_minor_formatter(NullFormatter())


_MOST_ERROR = 1.0  # beyond this nothing is right, and an axis is better used otherwise

_STYLES = {
    DESCENT: ("#252525", "x"),
    "DualROS34PW2": ("#08306b", "o"),
    "ROS34PW2": ("#2171b5", "s"),
    "ROCK2": ("#e6550d", "^"),
    "RKC2": ("#8c2d04", "v"),
    "DampedRKC2": ("#fd8d3c", "<"),
    "Tsit5": ("#252525", "o"),
    "Dopri8": ("#525252", "s"),
    "Kvaerno5": ("#737373", "D"),
    "LSODA": ("#969696", "P"),
    "BDF": ("#969696", "X"),
    "Radau": ("#969696", "*"),
}


@in_double
def main(names: list[str]) -> None:
    results = json.loads(FLOW.read_text()) if FLOW.exists() else {}
    for name in names or CASES:
        case = CASES[name]()
        print(f"\n{case.name}: {(CASES[name].__doc__ or '').splitlines()[0]}", flush=True)
        # Threads of LAPACK would spin on the one core that there is.
        with threadpool_limits(limits=1, user_api="blas"):
            results[name] = compare(case)
        print(f"  {results[name]['gradient descent']}\n  {results[name]['at 1 % error']}")
        FLOW.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")

    draw(results, FLOW.parents[1] / "docs" / "figures" / "work_precision.png")


if __name__ == "__main__":
    if hasattr(os, "sched_setaffinity"):  # Linux
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    main(sys.argv[1:])

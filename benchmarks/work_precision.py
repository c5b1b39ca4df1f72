"""Work against precision: the flow engine beside other solvers, on six problems.

python benchmarks/work_precision.py [PROBLEM ...]

Writes `work_precision.json` beside this file and `docs/figures/work_precision.png`.

The error is the worst, over times from the first to the horizon, of the root mean square
error of the outputs on held-out inputs, relative to the root mean square of the outputs.
Every method runs compiled, after a warm-up; methods are stopped at a limit of seconds and
then have no entry. Gradient descent is not run to its end: its seconds are those of a step,
measured, times the steps that its largest stable rate (or the published one) needs.
"""

import dataclasses
import json
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
from sklearn.datasets import load_digits

import lazyrich as lr
from lazyrich._dynamics import Problem, _march
from lazyrich._dynamics._method import Method, _radius
from lazyrich._dynamics._status import RUNNING
from lazyrich._dynamics.gradient_flow import GradientFlow
from lazyrich._ground import build_problem
from lazyrich._measure import gathered
from lazyrich._precision import in_double

LIMIT_SECONDS = 25.0
FLOW = Path(__file__).with_name("work_precision.json")


@dataclasses.dataclass
class Case:
    """A problem, where its outputs are compared, and how gradient descent was published."""

    name: str
    problem: Problem
    x_test: Any
    t1: float
    published_rate: float | None = None

    @property
    def times(self) -> np.ndarray:
        return np.concatenate([[0.0], np.geomspace(1e-3 * self.t1, self.t1, 12)])


def from_experiment(name: str, experiment: lr.Experiment, rate: float | None = None) -> Case:
    data_key, init_key = jr.split(jr.key(experiment.seed))
    split = experiment.task.sample(data_key)
    problem = build_problem(experiment, split.train, init_key)
    x_test = gathered(split.test).x[:500]
    watched = Problem(
        problem.train,
        problem.params,
        problem.weight_decay,
        problem.model,
        problem.loss,
        x_test[:256],
    )
    return Case(name, watched, x_test, experiment.t1, rate)


def diagonal() -> Case:
    """A diagonal net as a net: logistic loss, n = 64, d = 1,000."""
    task = lr.tasks.SparseClassification(n=64, d=1000, num_test=500)
    fields: dict[str, Any] = {"init_scale": 50.0, "weight_decay": 1e-3, "t1": 1e4}
    return from_experiment("diagonal net", lr.Experiment(task=task, **fields))


def completion() -> Case:
    """Panel lyu2024/3."""
    return from_experiment("matrix completion", lr.studies.load("lyu2024/3"), 0.1)


def polynomial() -> Case:
    """Polynomial regression, D = 100, P = 550, N = 500, epsilon = 0.02, to 1e5 epochs."""
    experiment = lr.Experiment(
        task=lr.tasks.PolynomialRegression(),
        model=lr.models.CommitteeMachine(epsilon=0.02),
        loss=lr.losses.Squared(),
        t1=5e7,
    )
    return from_experiment("polynomial regression", experiment, 500.0)


def _arrays(x: np.ndarray, y: np.ndarray, n: int) -> lr.tasks.Arrays:
    return lr.tasks.Arrays(x_train=x[:n], y_train=y[:n], x_test=x[n:], y_test=y[n:])


def modular() -> Case:
    """Addition modulo 31, one hidden layer of 64 ReLUs."""
    p, rng = 31, np.random.default_rng(0)
    a, b = np.divmod(rng.permutation(p * p), p)
    x = np.concatenate([np.eye(p)[a], np.eye(p)[b]], axis=1).astype(np.int8)
    experiment = lr.Experiment(
        task=_arrays(x, (a + b) % p, round(0.7 * p * p)),
        model=lr.models.MLP(widths=(64,), outputs=p, zero_last=True),
        loss=lr.losses.CrossEntropy(),
        init_scale=10.0,
        weight_decay=1e-3,
        t1=9e3,
    )
    return from_experiment("modular addition", experiment)


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
    """scikit-learn's digits, 64-32-10 ReLUs, 1,000 samples, cross-entropy."""
    x, y = load_digits(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(y))
    experiment = lr.Experiment(
        task=_arrays(x[order] / 16, y[order].astype(int), 1000),
        model=lr.models.MLP(widths=(32,), outputs=10),
        loss=lr.losses.CrossEntropy(),
        init_scale=3.0,
        weight_decay=1e-3,
        t1=3e3,
    )
    return from_experiment("digits", experiment)


CASES: dict[str, Callable[[], Case]] = {
    case.__name__: case for case in (diagonal, completion, polynomial, modular, student, digits)
}


# One run of one method.


def outputs_of(case: Case) -> Callable[[Any, Any], dict[str, Any]]:
    model, x = case.problem.model, case.x_test

    def observe(time: Any, params: Any) -> dict[str, Any]:
        del time
        return {"f": model.apply(params, x)}

    return observe


def march(case: Case, method: Method, rtol: float, limit: float = LIMIT_SECONDS) -> Any:
    """Outputs at the case's times, seconds and gradients; None past the limit."""
    flow = lr.dynamics.Flow(rtol=rtol, densify=0.0)
    observe = outputs_of(case)
    for attempt in ("warm-up", "timed"):
        system, state = flow.prepare(case.problem, case.times, observe, method)
        begun = time.perf_counter()
        while int(state.status) == RUNNING:
            state = jax.block_until_ready(_march.advance_one(system, state))
            if attempt == "warm-up" and time.perf_counter() - begun > 6:
                break  # compiled by now
            if time.perf_counter() - begun > limit:
                return None
        elapsed = time.perf_counter() - begun
    trajectory = flow.finish(method, state, None, observed=True)
    if trajectory.ending != "completed":
        return None
    return {
        "f": np.asarray(trajectory.observed["f"]),
        "seconds": elapsed,
        "gradients": trajectory.effort.num_gradients,
        "products": trajectory.effort.num_products,
        "steps": trajectory.effort.num_steps,
    }


def named(kind: str, rtol: float) -> Method:
    solvers = lr.solvers
    if kind == "DualROS34PW2":
        return Method(kind, solvers.DualROS34PW2(), "")
    if kind == "ROS34PW2":
        return Method(kind, solvers.ROS34PW2(), "")
    if kind in ("ROCK2", "RKC2"):
        return Method(kind, getattr(solvers, kind)(), "")
    if kind == "Kvaerno5":
        chord = diffrax.VeryChord(rtol=0.1 * rtol, atol=0.1 * rtol, norm=optx.rms_norm)
        return Method(kind, diffrax.Kvaerno5(root_finder=chord), "")
    stages = {"Tsit5": 6, "Dopri8": 13}[kind]
    return Method(kind, getattr(diffrax, kind)(), "", gradients_per_step=stages)


def by_scipy(case: Case, kind: str, rtol: float) -> Any:
    """LSODA, BDF or Radau on the compiled vector field, stopped by an exception."""
    flat, unravel = ravel_pytree(case.problem.params)
    term = term_of(case)
    field = jax.jit(lambda y: ravel_pytree(term.vf(0.0, unravel(y), None))[0])
    field(flat).block_until_ready()
    begun, calls = time.perf_counter(), 0

    def derivative(t: float, y: np.ndarray) -> np.ndarray:
        nonlocal calls
        del t
        calls += 1
        if time.perf_counter() - begun > LIMIT_SECONDS:
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
    elapsed = time.perf_counter() - begun
    observe = jax.jit(outputs_of(case))
    f = np.stack([np.asarray(observe(0.0, unravel(jnp.asarray(y)))["f"]) for y in solution.y.T])
    return {"f": f, "seconds": elapsed, "gradients": calls, "products": 0, "steps": 0}


def term_of(case: Case) -> GradientFlow:
    problem = case.problem
    decay = jnp.asarray(problem.weight_decay, jnp.float64)
    return GradientFlow(problem.train.x, problem.train.y, decay, problem.model, problem.loss)


def descent(case: Case) -> dict[str, float]:
    """Seconds of a step, and the steps that the best stable and the published rate need."""
    problem = case.problem
    rate = 1.9 / _radius(term_of(case), problem.params)
    optimiser = lr.dynamics.GradientDescent(learning_rate=rate)
    elapsed = np.inf
    for _ in range(3):
        begun = time.perf_counter()
        optimiser.follow(problem, np.array([0.0, 300 * rate]), lambda t, n: None)
        elapsed = min(elapsed, time.perf_counter() - begun)
    found = {"seconds a step": elapsed / 300, "steps, largest rate at the start": case.t1 / rate}
    if case.published_rate is not None:
        found["steps, published rate"] = case.t1 / case.published_rate
    return found


# The comparison.

OTHERS = ("Tsit5", "Dopri8", "Kvaerno5")
SCIPY = ("LSODA", "BDF", "Radau")
MOST_PARAMETERS = 3000  # for a dense Jacobian with respect to the parameters


def errors(f: np.ndarray, exact: np.ndarray) -> float:
    axes = tuple(range(1, f.ndim))
    size = np.sqrt(np.mean(exact**2, axis=axes))
    return float(np.max(np.sqrt(np.mean((f - exact) ** 2, axis=axes))[1:] / size[1:]))


def compare(case: Case) -> dict[str, Any]:
    classification = case.problem.loss.is_classification
    flat, _ = ravel_pytree(case.problem.params)
    num_outputs = case.problem.train.y.size
    if classification:
        ours = ["ROCK2", "RKC2"]
        if num_outputs <= 600 and case.problem.train.y.dtype != jnp.int32:
            ours.append("ROS34PW2")
        # The curves of ReLU nets have kinks: a low order and many steps serve them best.
        reference = march(case, named("ROCK2", 3e-4), 3e-4, limit=300)
    else:
        ours = ["DualROS34PW2", "ROCK2", "RKC2"]
        reference = march(case, named("DualROS34PW2", 1e-6), 1e-6, limit=600)
    rows = []
    others = [kind for kind in OTHERS if kind != "Kvaerno5" or flat.size <= MOST_PARAMETERS]
    for kind in [*ours, *others, *(SCIPY if flat.size <= MOST_PARAMETERS else ())]:
        for rtol in (3e-2, 1e-2, 3e-3, 1e-3, 2e-4):
            if kind in SCIPY:
                run = by_scipy(case, kind, min(rtol, 1e-2))
            else:
                run = march(case, named(kind, rtol), rtol)
            if run is None:
                rows.append({"method": kind, "rtol": rtol, "error": None, "seconds": None})
                print(f"  {kind:<14}{rtol:8.0e}   over {LIMIT_SECONDS:g} s", flush=True)
                break
            error = errors(run.pop("f"), reference["f"])
            rows.append({"method": kind, "rtol": rtol, "error": error, **run})
            print(
                f"  {kind:<14}{rtol:8.0e}  error {error:9.2e}  {run['seconds']:8.2f} s  "
                f"{run['gradients']:7d} gradients  {run['products']:6d} products",
                flush=True,
            )
            if error < 2e-3:
                break
    return {
        "parameters": int(flat.size),
        "outputs": int(num_outputs),
        "classification": classification,
        "ours": ours,
        "rows": rows,
        "gradient descent": descent(case),
        "at 1 % error": at_one_percent(rows, ours),
    }


def at_one_percent(rows: list[dict[str, Any]], ours: list[str]) -> dict[str, Any]:
    """Each method's least seconds within 1 %, and those of the best other one over ours."""
    best: dict[str, float] = {}
    for row in rows:
        if row["error"] is not None and row["error"] <= 0.01:
            best[row["method"]] = min(row["seconds"], best.get(row["method"], np.inf))
    mine = min((best[kind] for kind in ours if kind in best), default=None)
    theirs = min((s for kind, s in best.items() if kind not in ours), default=None)
    found: dict[str, Any] = {"seconds": best}
    if mine is not None and theirs is not None:
        found["best of the others / ours"] = theirs / mine
    elif mine is not None:
        found["best of the others / ours, more than"] = LIMIT_SECONDS / mine
    return found


def draw(results: dict[str, Any], path: Path) -> None:
    """Error against seconds, a panel a problem; ours filled, the others hollow."""
    columns = -(-len(results) // 2)
    figure = Figure(figsize=(3.6 * columns, 6.4), layout="constrained")
    axes = figure.subplots(2, columns, squeeze=False).flat
    for axis, (name, result) in zip(axes, results.items(), strict=False):
        for kind, (color, marker) in _STYLES.items():
            rows = [r for r in result["rows"] if r["method"] == kind and r["error"] is not None]
            if rows:
                axis.plot(
                    [r["error"] for r in rows],
                    [r["seconds"] for r in rows],
                    color=color,
                    marker=marker,
                    markersize=5,
                    linewidth=1.2,
                    linestyle="-" if kind in result["ours"] else "--",
                    markerfacecolor=color if kind in result["ours"] else "none",
                    label=kind,
                )
        axis.axvline(0.01, color="#969696", linewidth=1.0, linestyle=":")
        axis.set(xscale="log", yscale="log", title=CASES[name]().name)
        axis.invert_xaxis()
        axis.grid(True, which="major", color="#e0e0e0", linewidth=0.6)
        axis.legend(fontsize=7, framealpha=0.9, edgecolor="none")
        axis.set_xlabel("relative error of outputs")
        axis.set_ylabel("seconds, compiled")
    figure.savefig(path, dpi=130)


_STYLES = {
    "DualROS34PW2": ("#08306b", "o"),
    "ROS34PW2": ("#2171b5", "s"),
    "ROCK2": ("#e6550d", "^"),
    "RKC2": ("#fdae6b", "v"),
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
        results[name] = compare(case)
        print(f"  {results[name]['gradient descent']}\n  {results[name]['at 1 % error']}")
        FLOW.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")

    draw(results, FLOW.parents[1] / "docs" / "figures" / "work_precision.png")


if __name__ == "__main__":
    main(sys.argv[1:])

"""Ratios measured side by side in one run, after warm-up, at the accuracy named.

Writes `results.json` beside this file and prints the same numbers as a table.
"""

import json
import os
import platform
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import diffrax
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from scipy.integrate import solve_ivp
from scipy.optimize import linprog

import lazyrich as lr
from lazyrich._columns import gram, matvec, rmatvec
from lazyrich._dynamics import Problem, reduced_flow
from lazyrich._precision import in_double
from lazyrich._simulate import build_problem

REPEATS = 5


def seconds(work: Callable[[], Any], repeats: int = REPEATS) -> float:
    """Median wall time of `work`, after one call that compiles it."""
    work()
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        jax.block_until_ready(work())
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def panel(**changes: Any) -> tuple[lr.Experiment, Problem]:
    experiment = lr.studies.load("lyu2024/1a").with_changes(changes)
    data_key, init_key = jr.split(jr.key(experiment.seed))
    train = experiment.task.sample(data_key).train
    return experiment, build_problem(experiment, train, init_key)


def products() -> dict[str, float]:
    """A right-hand side and a weighted Gram matrix, beside NumPy on converted data."""
    _, problem = panel()
    x = problem.train.x
    n, d = x.shape
    v, w, wide = jnp.ones(n) / n, jnp.ones(d) / d, np.asarray(x, float)
    system = reduced_flow._reduce(problem, problem.params)
    field = jax.jit(reduced_flow._field)
    ours = seconds(lambda: field(jnp.asarray(1.0), 1e-4 * v, system))
    theirs = seconds(lambda: wide @ np.sinh(4 * (1e-4 * np.asarray(v) @ wide)))
    return {
        "right-hand side, ms": 1e3 * ours,
        "right-hand side, NumPy on float64 copies, ms": 1e3 * theirs,
        "x @ w, ms": 1e3 * seconds(lambda: matvec(x, w)),
        "v @ x, ms": 1e3 * seconds(lambda: rmatvec(x, v)),
        "weighted Gram matrix, ms": 1e3 * seconds(lambda: gram(x, w)),
        "NumPy / ours, right-hand side": theirs / ours,
    }


def error_at_end(weights: Any, exact: Any) -> float:
    return float(np.linalg.norm(weights - exact) / np.linalg.norm(exact))


def solvers() -> dict[str, float]:
    """Panel 1a with n = 64, d = 20,000: Rodas5P beside explicit pairs and plain GD.

    Each explicit method runs at the loosest tolerance that reaches the error of Rodas5P.
    """
    changes = {"task.n": 64, "task.d": 20_000}
    experiment, problem = panel(**changes)
    times = np.array([0.0, experiment.t1])

    def ours(rtol: float) -> Any:
        return lr.dynamics.ReducedFlow(rtol=rtol).follow(problem, times, lambda t: None)

    def weights(nu: Any) -> Any:
        system = reduced_flow._reduce(problem, problem.params)
        return problem.model.predictor(system.params(experiment.t1, jnp.asarray(nu))).w

    exact = weights(ours(1e-9).states[1][-1])
    trajectory = ours(1e-4)
    reached = error_at_end(weights(trajectory.states[1][-1]), exact)
    ours_seconds = seconds(lambda: ours(1e-4).states)
    found = {
        "Rodas5P, seconds": ours_seconds,
        "Rodas5P, right-hand sides": float(trajectory.effort.num_gradients),
        "Rodas5P, Jacobians": float(trajectory.effort.num_jacobians),
        "Rodas5P, relative error of w": reached,
    }
    system = reduced_flow._reduce(problem, problem.params)
    kernel_unit = 1 / float(4 * experiment.init_scale**2)
    field = jax.jit(reduced_flow._field)

    @jax.jit
    def tsit5(rtol: Any) -> Any:
        solution = diffrax.diffeqsolve(
            diffrax.ODETerm(reduced_flow._field),
            diffrax.Tsit5(),
            t0=0.0,
            t1=experiment.t1,
            dt0=1e-4,
            y0=jnp.zeros(64),
            args=system,
            stepsize_controller=diffrax.PIDController(rtol=rtol, atol=rtol * kernel_unit),
            max_steps=100_000,
        )

    for rtol in (1e-2, 1e-3, 1e-4, 1e-5, 1e-6):
        end, num_steps = tsit5(rtol)
        if error_at_end(weights(end), exact) <= reached:
            break
    elapsed = seconds(lambda rtol=rtol: tsit5(rtol).ys)
    found["Tsit5, right-hand sides"] = 6.0 * float(num_steps)
    found["Tsit5 / Rodas5P, seconds at equal error"] = elapsed / ours_seconds

    def dop853(rtol: float) -> Any:
        return solve_ivp(
            lambda t, nu: np.asarray(field(jnp.asarray(t), jnp.asarray(nu), system)),
            (0, experiment.t1),
            np.zeros(64),
            "DOP853",
            rtol=rtol,
            atol=rtol * kernel_unit,
        )

    for rtol in (1e-2, 1e-3, 1e-4, 1e-5, 1e-6):
        other = dop853(rtol)
        if error_at_end(weights(other.y[:, -1]), exact) <= reached:
            break
    elapsed = seconds(lambda rtol=rtol: dop853(rtol).y, repeats=3)
    found["DOP853, right-hand sides"] = float(other.nfev)
    found["DOP853 / Rodas5P, seconds at equal error"] = elapsed / ours_seconds

    # Gradient descent at the original's learning rate, 0.01: its step, times 2,000,000.
    descent = lr.dynamics.GradientDescent(learning_rate=0.01)
    some = seconds(lambda: descent.follow(problem, np.array([0.0, 5.0]), lambda t: None).states)
    found["GD, seconds a step"] = some / 500
    found["GD for 2,000,000 steps / Rodas5P, seconds (extrapolated)"] = (
        some / 500 * experiment.t1 / 0.01 / ours_seconds
    )
    return found


def margins() -> dict[str, float]:
    """The L1 max margin beside HiGHS on the same data, n = 64, d = 2,000."""
    _, problem = panel(**{"task.n": 64, "task.d": 2_000})
    x, y = problem.train.x, problem.train.y
    signed = np.asarray(x, float) * np.asarray(y)[:, None]
    n, d = signed.shape
    ours = seconds(lambda: lr.predictors.l1_max_margin(x, y))
    theirs = seconds(
        lambda: (
            linprog(
                np.ones(2 * d), A_ub=np.hstack([-signed, signed]), b_ub=-np.ones(n), method="highs"
            ).fun
        ),
        repeats=3,
    )
    _, full = panel()
    full_seconds = seconds(
        lambda: lr.predictors.l1_max_margin(full.train.x, full.train.y), repeats=3
    )
    return {
        "HiGHS / ours, n = 64, d = 2,000": theirs / ours,
        "ours, n = 256, d = 100,000, seconds": full_seconds,
        "ours, n = 256, d = 100,000, gap": lr.predictors.l1_max_margin(
            full.train.x, full.train.y
        ).gap,
    }


@in_double
def main() -> None:
    machine = {
        "processor": next(
            (
                line.split(":")[1].strip()
                for line in Path("/proc/cpuinfo").read_text().splitlines()
                if line.startswith("model name")
            ),
            platform.processor(),
        ),
        "cores": os.cpu_count(),
        "jax": jax.__version__,
        "device": jax.devices()[0].device_kind,
    }
    results: dict[str, Any] = {"machine": machine}
    print(json.dumps(machine))
    for part in (products, solvers, margins):
        results[part.__name__] = part()
        print(f"\n{part.__name__}: {(part.__doc__ or '').splitlines()[0]}")
        for name, value in results[part.__name__].items():
            print(f"  {name:<58} {value:10.4g}")
    path = Path(__file__).with_name("results.json")
    path.write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()

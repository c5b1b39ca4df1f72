"""Ratios measured side by side in one run, after warm-up, at the accuracy named.

Writes `results.json` beside this file and prints the same numbers as a table.
"""

import functools
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
from jaxtyping import Array
from scipy.optimize import linprog

import lazyrich as lr
from lazyrich._core.columns import gram, matvec, rmatvec
from lazyrich._core.precision import in_double
from lazyrich._run.data import build_problem
from lazyrich.dynamics import Problem, Trajectory
from lazyrich.dynamics.diagonal import reduction as _reduction

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


def _silent(time: float, num_steps: int, so_far: Any = None, /) -> None:
    del time, num_steps


def panel(
    name: str = "lyu2024/1a", changes: dict[str, Any] | None = None
) -> tuple[lr.Experiment, Problem]:
    experiment = lr.studies.load(name).with_changes(changes or {})
    data_key, init_key = jr.split(jr.key(experiment.seed))
    train = experiment.task.sample(data_key).train
    return experiment, build_problem(experiment, train, init_key)


def products() -> dict[str, float]:
    """A right-hand side and a weighted Gram matrix, beside NumPy on converted data."""
    _, problem = panel()
    x = problem.train.x
    n, d = x.shape
    v, w, wide = jnp.ones(n) / n, jnp.ones(d) / d, np.asarray(x, float)
    system = _reduction.reduce(problem, problem.params)
    field = jax.jit(_reduction.field)
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


def grokking() -> dict[str, float]:
    """Panel lyu2024/1a at full size: Rodas5P beside Tsit5 and gradient descent."""
    return _solvers("lyu2024/1a", 2.6e3)


def misgrokking() -> dict[str, float]:
    """Panel lyu2024/1b at full size: Rodas5P beside Tsit5 and gradient descent."""
    return _solvers("lyu2024/1b", 5.1e3)


def small() -> dict[str, float]:
    """Panel 1a with n = 64, d = 20,000, where an explicit method is not yet behind."""
    return _solvers("lyu2024/1a", 2.6e3, {"task.n": 64, "task.d": 20_000})


def _solvers(
    name: str, mid_transition: float, changes: dict[str, Any] | None = None
) -> dict[str, float]:
    """Errors are those of the weights in mid-transition, relative.

    At the end every method rests on the same point. Tsit5 runs at the loosest power of
    ten that does as well as Rodas5P at its default.
    """
    experiment, problem = panel(name, changes)
    times = np.array([0.0, mid_transition, experiment.t1])
    system = _reduction.reduce(problem, problem.params)

    def ours(rtol: float) -> Trajectory:
        return lr.dynamics.ReducedFlow(rtol=rtol).follow(problem, times, _silent)

    def weights(nu: Any) -> Array:
        return lr.models.DiagonalLinear().weights(system.params(times[1], jnp.asarray(nu)))

    exact = weights(ours(1e-8).states[1][1])

    def error(nu: Any) -> float:
        return float(jnp.linalg.norm(weights(nu) - exact) / jnp.linalg.norm(exact))

    trajectory = ours(1e-4)
    reached = error(trajectory.states[1][1])
    ours_seconds = seconds(lambda: ours(1e-4).states, repeats=3)
    found = {
        "Rodas5P, seconds": ours_seconds,
        "Rodas5P, right-hand sides": float(trajectory.effort.num_gradients),
        "Rodas5P, Jacobians": float(trajectory.effort.num_jacobians),
        "Rodas5P, error": reached,
    }
    kernel_unit = 1 / float(4 * experiment.init_scale**2)

    @jax.jit
    def tsit5(rtol: float) -> tuple[Array, Array]:
        solution = diffrax.diffeqsolve(
            diffrax.ODETerm(_reduction.field),
            diffrax.Tsit5(),
            t0=0.0,
            t1=experiment.t1,
            dt0=1e-4,
            y0=jnp.zeros_like(problem.train.y),
            args=system,
            saveat=diffrax.SaveAt(ts=jnp.asarray(times)),
            stepsize_controller=diffrax.PIDController(rtol=rtol, atol=rtol * kernel_unit),
            max_steps=100_000,
        )
        assert solution.ys is not None
        # First-same-as-last: six new right-hand sides a step.
        return solution.ys[1], 6 * solution.stats["num_steps"]

    for rtol in (1e-4, 1e-5, 1e-6):
        nu, num_fields = tsit5(rtol)
        if error(nu) <= reached:
            break
    found["Tsit5, rtol needed"] = rtol
    found["Tsit5, error"] = error(nu)
    found["Tsit5, right-hand sides"] = float(num_fields)
    elapsed = seconds(functools.partial(tsit5, rtol), repeats=3)
    found["Tsit5 / Rodas5P, seconds"] = elapsed / ours_seconds

    # Gradient descent at the original's learning rate, by its measured seconds a step.
    descent = lr.dynamics.GradientDescent(learning_rate=0.01)
    some = seconds(lambda: descent.follow(problem, np.array([0.0, 2.0]), _silent).states, repeats=3)
    found["GD, seconds a step"] = some / 200
    num_steps = experiment.t1 / 0.01
    found[f"GD for {num_steps:.0e} steps / Rodas5P, seconds (extrapolated)"] = (
        some / 200 * num_steps / ours_seconds
    )
    return found


def margins() -> dict[str, float]:
    """The L1 max margin beside HiGHS on the same data, n = 64, d = 2,000."""
    _, problem = panel(changes={"task.n": 64, "task.d": 2_000})
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
    for part in (products, grokking, misgrokking, small, margins):
        results[part.__name__] = part()
        print(f"\n{part.__name__}: {(part.__doc__ or '').splitlines()[0]}")
        for name, value in results[part.__name__].items():
            print(f"  {name:<58} {value:10.4g}")
    path = Path(__file__).with_name("results.json")
    path.write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()

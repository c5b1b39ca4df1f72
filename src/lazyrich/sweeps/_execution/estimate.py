"""The cost of a sweep, estimated from a few of its runs."""

import os
import time
from dataclasses import dataclass

import numpy as np

from ..._core.given import check_kind
from ..._run.simulate import simulate_batch
from .._sweep import Sweep
from ..batches import batches

# The number of runs in the sample.
_SAMPLE = 8


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """Runs, batches and shapes of a sweep; gradients and hours from a measured sample.

    `gradients` and `hours` are sums over the sweep, with an interval of two standard errors of the
    random sample. `hours` are for `num_workers` workers at once, with compiling.
    """

    num_runs: int
    num_batches: int
    num_shapes: int
    num_sampled: int
    num_workers: int
    gradients: float
    gradients_error: float
    hours: float
    hours_error: float
    seconds_to_compile: float

    def __str__(self) -> str:
        return "\n".join(
            (
                f"runs             {self.num_runs}",
                f"batches          {self.num_batches}, of {self.num_shapes} shapes",
                f"gradients        {self.gradients:.3g} ± {self.gradients_error:.2g}",
                f"hours            {self.hours:.3g} ± {self.hours_error:.2g} on "
                f"{self.num_workers} workers, {self.seconds_to_compile:.0f} s of compiling a shape "
                "and worker included",
                f"measured on      {self.num_sampled} runs, drawn at random",
            )
        )


def estimate(sweep: Sweep, workers: int | None = None) -> Estimate:
    """Counts a sweep's runs and batches, and runs a sample of them in this process.

    - **Takes** `workers` as [`sweep`][lazyrich.sweep] does.

    Memory grows with the sweep by 24 bytes for each run.
    """
    check_kind("sweep", sweep, Sweep, "an lr.sweeps.Sweep, as of Sweep.over(experiment, over)")
    num_batches, shapes = 0, 0
    last: tuple[int, ...] | None = None
    for batch in batches(sweep):
        num_batches += 1
        shape = sweep.shape_of(int(batch.runs[0]))
        shapes += shape != last
        last = shape
    rng = np.random.default_rng(0)
    drawn = rng.choice(len(sweep), size=min(_SAMPLE, len(sweep)), replace=False)
    gradients, seconds, compiling = [], [], 0.0
    for run in sorted(drawn.tolist()):
        experiment = sweep.run(run)
        begun = time.perf_counter()
        simulate_batch([experiment])
        first = time.perf_counter() - begun
        begun = time.perf_counter()
        result = simulate_batch([experiment])
        seconds.append(time.perf_counter() - begun)
        compiling = max(compiling, first - seconds[-1])
        gradients.append(float(result.efforts[0].num_gradients))
    num_workers = max(1, min(workers or os.cpu_count() or 1, num_batches))
    scale = len(sweep) / num_workers / 3600
    return Estimate(
        num_runs=len(sweep),
        num_batches=num_batches,
        num_shapes=shapes,
        num_sampled=len(drawn),
        num_workers=num_workers,
        gradients=float(np.mean(gradients)) * len(sweep),
        gradients_error=_error(gradients) * len(sweep),
        hours=float(np.mean(seconds)) * scale + compiling * shapes / 3600,
        hours_error=_error(seconds) * scale,
        seconds_to_compile=compiling,
    )


def _error(values: list[float]) -> float:
    """Two standard errors of the mean; NaN for a single value."""
    return float(2 * np.std(values, ddof=1) / np.sqrt(len(values))) if len(values) > 1 else np.nan

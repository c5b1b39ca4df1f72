"""The execution of sweeps."""

from .batch import rerun as rerun
from .driver import Progress as Progress
from .environment import take_environment as take_environment
from .estimate import Estimate as Estimate, estimate as estimate
from .sweeping import (
    num_kept as num_kept,
    run_sweep as run_sweep,
    size_for as size_for,
    suggested_size as suggested_size,
    sweep as sweep,
)
from .workers import WorkerPool as WorkerPool, worker_pool as worker_pool

"""Whether an experiment fits in memory, checked before anything is allocated."""

from typing import Any

from .._core.precision import Precision
from .._core.room import check_room
from .experiment import Experiment

# The smallest number of copies of the parameters in the precision of the run: current and their
# velocity. The initial parameters are kept in float64.
_COPIES = 2
_FLOAT = 8


def check_fits(experiment: Experiment) -> None:
    """Refuses an experiment whose data, parameters and records do not fit in memory.

    The estimate contains only arrays that every run holds, so no experiment that fits is refused.
    A user's own tasks and models that do not report their sizes are not counted.

    - **Raises** [`InputError`][lazyrich.InputError] under the key that sets the largest part.
    """
    values: dict[str, Any] = {}
    parts: dict[str, int] = {}

    def count(num_bytes: int, *keys: str) -> None:
        sizes = {key: _size(experiment.value(key)) for key in keys}
        key = max(sizes, key=lambda key: sizes[key])
        values[key] = experiment.value(key)
        parts[key] = parts.get(key, 0) + num_bytes

    times = experiment.times
    num_times = times.num_log + times.num_linear + 1
    count(_FLOAT * num_times * (1 + len(experiment.probes)), "times.num_log", "times.num_linear")
    task = experiment.task.sizes()
    if task is not None:
        n, d, m = (f"task.{key}" for key in task.keys)
        count(task.num_train * (task.dim * task.num_bytes + _FLOAT), n, d)
        if experiment.dynamics.keeps_states:
            # Test inputs come in blocks, but the outputs at all times are in memory together.
            block = min(task.num_test, task.block)
            count(block * task.dim * task.num_bytes, d)
            outputs = task.num_test * _FLOAT * (1 + num_times)
            count(outputs, m, "times.num_log", "times.num_linear")
        else:
            count(task.num_test * (task.dim * task.num_bytes + _FLOAT), m, d)
        for key, num_bytes in task.other.items():
            count(num_bytes, f"task.{key}")
        num_params = experiment.model.num_params(task.dim)
        arrays = 0
        for probe in experiment.probe_modules:
            arrays += probe.num_values(task.num_train, task.dim, num_params or 1) - 1
        count(_FLOAT * num_times * arrays, "times.num_log", "times.num_linear")
        if num_params is not None:
            keys = experiment.keys()  # a method of descriptions, not of a table
            inside = [key for key in keys if key.startswith("model.")]
            in_run = _COPIES * Precision(experiment.precision).dtype.itemsize
            count((_FLOAT + in_run) * num_params, d, *inside)
    check_room(parts, values)


def _size(value: Any) -> float:
    """The largest number in a field; zero if the field has no number."""

    if isinstance(value, tuple | list):
        return max(map(_size, value), default=0.0)
    is_number = isinstance(value, int) and not isinstance(value, bool)
    return float(min(value, 10**300)) if is_number else 0.0

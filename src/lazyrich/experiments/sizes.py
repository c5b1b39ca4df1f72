"""Whether an experiment fits in memory, asked before any of it is there."""

from typing import Any

from .._core.room import check_room
from .experiment import Experiment

# Parameters are held this often at least: at the start, along the run, and as its velocity.
_COPIES = 3
_FLOAT = 8


def check_fits(experiment: Experiment) -> None:
    """Refuses an experiment whose data, parameters and records cannot be held.

    Counted is what every run holds, each array once or as often as it must be, so nothing is
    refused that fits. Tasks and models of a user's own that do not say their sizes are not
    counted.

    - **Raises** [`InputError`][lazyrich.InputError] under the key that most of it is due to.
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
            # Test inputs come in blocks; outputs at all times are held together.
            block = min(task.num_test, task.block)
            count(block * task.dim * task.num_bytes, d)
            count(task.num_test * _FLOAT * (1 + num_times), m)
        else:
            count(task.num_test * (task.dim * task.num_bytes + _FLOAT), m, d)
        for key, num_bytes in task.beside.items():
            count(num_bytes, f"task.{key}")
        num_params = experiment.model.num_params(task.dim)
        if num_params is not None:
            keys = experiment.keys()  # a method of descriptions, and no table's
            inside = [key for key in keys if key.startswith("model.")]
            count(_COPIES * _FLOAT * num_params, d, *inside)
    check_room(parts, values)


def _size(value: Any) -> float:
    """The largest number in a field; those that are none count nothing."""
    if isinstance(value, tuple | list):
        return max(map(_size, value), default=0.0)
    is_number = isinstance(value, int) and not isinstance(value, bool)
    return float(min(value, 10**300)) if is_number else 0.0

"""The choice of one run from a log that has several."""

from collections.abc import Sequence

from ..._core.errors import InputError, did_you_mean
from .table import listed


def chosen_run(file: str, runs: Sequence[str], run: str | None) -> str:
    """The run that is read.

    - **Takes** `runs`, the names of all of them; `run`, the wanted one, None if there is one only.
    - **Raises** [`InputError`][lazyrich.InputError] if there is no such run, or no choice.
    """
    if run is None and len(runs) == 1:
        return runs[0]
    if run is None:
        accepted = f"has {len(runs)} runs, {listed(runs)}: choose one by --run"
        raise InputError("log", file, accepted)
    if run not in runs:
        accepted = f"should be a run of {file}{did_you_mean(run, runs)}; there are {listed(runs)}"
        raise InputError("--run", run, accepted)
    return run

"""What a diagnosis says of the time that remains."""

import xarray as xr

from ...forecasts.remaining import Remaining
from ...records.transition import thresholds_of


def is_ahead(found: Remaining) -> bool:
    """Whether the time at which the training generalises is known, and to come."""
    return found.t_test > found.now


def ahead(found: Remaining, record: xr.Dataset, evidence: dict[str, float]) -> list[str]:
    """Sentences on when the training will generalise; none if that is not known or past."""
    if not is_ahead(found):
        return []
    evidence |= {"step_half": found.t_half, "step_test": found.t_test}
    sure = found.verdict != "cannot_say"
    begin = "The" if sure else "If the test margins go on growing, the"
    parts = (
        []
        if not found.t_half > found.now
        else [_passes("0.5", found.t_half, found.t_half_interval)]
    )
    parts.append(_passes(f"{thresholds_of(record).test:g}", found.t_test, found.t_test_interval))
    times = " and ".join(parts)
    return [f"{begin} test accuracy will pass {times}, if the learning rate stays as it is."]


def _passes(level: str, step: float, interval: tuple[float, float]) -> str:
    low, high = interval
    return f"{level} near step {step:,.0f} ({low:,.0f} to {high:,.0f})"

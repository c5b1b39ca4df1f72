"""What a diagnosis says of the time that remains."""

import xarray as xr

from ...forecasts.remaining import Remaining, margins_now
from ...records.transition import thresholds_of


def margins(record: xr.Dataset, evidence: dict[str, float]) -> list[str]:
    """How the test margins move, which they do long before the test accuracy; or nothing."""
    found = margins_now(record)
    if found is None:
        return []
    evidence |= {"test_margin_ratio": found.z, "test_margin_rate": found.slope}
    words = f"The standardised test margin {found.trend}: it is {found.z:.2f}, and changes by"
    return [f"{words} {found.slope:.2f} for each factor of e in time."]


def is_ahead(found: Remaining) -> bool:
    """Whether the time at which the training generalises is known, and to come."""
    return found.t_test > found.now


def ahead(found: Remaining, record: xr.Dataset, evidence: dict[str, float]) -> list[str]:
    """Sentences on when the training will generalise; none if that is not known or past."""
    if not is_ahead(found):
        return []
    evidence |= {"step_half": found.t_half, "step_test": found.t_test}
    sure = found.verdict != "cannot_say"
    doubt = "If it generalises at all, and the test margins go on growing, the"
    begin = "The" if sure else doubt
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

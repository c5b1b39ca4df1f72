"""Forecasts of a PyTorch module by pilots."""

import math

import torch
import xarray as xr

from ..._core.errors import InputError
from ..._run.simulate import listening
from ...forecasts.advice import Horizon, advice_by_verdict
from ...forecasts.by_pilots import TOO_FEW, conclude_by_pilots, falling_pilots
from ...forecasts.calibration import unknown_pilots
from ...forecasts.course import Course
from ...forecasts.pilot import Pilot
from ...forecasts.verdict import Reason, confidence_of
from ...records.described import json_attribute
from ...records.transition import curves_of_record, scales_of_record
from .._monitor.samples import same_randomness
from .answer import TorchForecast
from .pilot_run import PlannedTraining, check_optimiser, piloted

_FOLLOW = "Follow the training with lazyrich.torch.Monitor, and ask lazyrich.remaining on the way."


def forecast_by_pilots(planned: PlannedTraining, *, progress: bool) -> TorchForecast:
    """The forecast from copies of a module, trained at 16, 8 and perhaps 4 times the learning rate.

    - **Raises** [`InputError`][lazyrich.InputError] for a training with too few steps, and for what
        cannot be copied or trained.
    """
    check_optimiser(planned.optimizer)
    records: list[xr.Dataset] = []
    title = f"forecast of {planned.name}"
    with listening(None, progress, title) as listen, same_randomness(), torch.enable_grad():

        def run(factor: int) -> Pilot:
            record = piloted(planned, factor, listen)
            records.append(record)
            times, curves = record["time"].values.astype(float), curves_of_record(record)
            course = Course(times, curves, scales_of_record(record))
            num_tests = json_attribute(record, "monitor")["num_test"][0]
            ending = str(record.attrs["ending"])
            return Pilot.of(factor, course, ending, planned.thresholds, num_tests, "step")

        pilots = falling_pilots(lambda factor: planned.steps / factor, run)
    if not pilots:
        raise InputError("steps", planned.steps, f"{TOO_FEW}; train the net itself")
    return _concluded(planned, pilots, records)


def _concluded(
    planned: PlannedTraining, pilots: list[Pilot], records: list[xr.Dataset]
) -> TorchForecast:
    said, _, nearest = conclude_by_pilots(unknown_pilots, pilots, planned.thresholds)
    computed = sum(int(record["time"].values[-1]) // p.factor
                   for p, record in zip(pilots, records, strict=True))  # fmt: skip
    cost = f"{computed:,} steps were computed, {100 * computed / planned.steps:.0f} % of those of"
    reasons = [*said.reasons, Reason(0, f"{cost} the training")]
    num, num_all = json_attribute(records[0], "monitor")["num_train"]
    if num < num_all:
        reasons.append(Reason(1, f"{num:,} of {num_all:,} training samples were used"))
    advice = _FOLLOW
    if said.verdict != "cannot_say":
        larger = "start from larger parameters"
        horizon = Horizon(
            "steps", float(planned.steps), f"{planned.steps:,}", "step ", "{:,.0f}".format,
            has_control=True, larger=larger, is_end=nearest.events.state != "moving",
        )  # fmt: skip
        low, high = said.t50_interval
        until = low, high * said.held_after
        advice = advice_by_verdict(said.verdict, said.outcome, until, horizon)
    return TorchForecast(
        name=planned.name,
        verdict=said.verdict,
        confidence=confidence_of(reasons),
        reasons=tuple(reason.text for reason in reasons),
        advice=advice,
        step_fit=nearest.events.t_train,
        step_kernel_end=math.nan,
        step50=said.t50,
        step50_interval=said.t50_interval,
        time_per_step=math.nan,
        pilots=tuple(records),
    )

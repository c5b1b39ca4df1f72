"""The forecast of a PyTorch module."""

import math
from dataclasses import dataclass
from typing import Any

import xarray as xr

from ..._core.shown import as_html, interval, number, rows
from ...experiments import Experiment
from ...forecasts import Forecast
from ...forecasts.verdict import Confidence, Verdict
from ...records.summary import jsonable

# What is no number or sentence of the summary.
_PARTS = ("experiment", "flow", "pilots")


@dataclass(frozen=True, kw_only=True)
class TorchForecast:
    """The forecast of a PyTorch module. Steps are those of the optimiser, NaN where unknown.

    - `verdict`, `confidence`, `reasons` and `advice` are as in [`Forecast`][lazyrich.Forecast].
    - `step_fit`, the step at which the training data are fitted; `step_kernel_end`, at which the
        run leaves the kernel regime; `step50`, at which half of the change of the test score is
        made, and `step50_interval`. They count from the present parameters, which a monitor has
        reached at the step `start` of its training, elsewhere 0.
    - `time_per_step`, the gradient-flow time of a step.
    - `flow`, the forecast in gradient-flow time, or None if the steps of the optimiser do not
        follow the gradient, and for pilots; `experiment`, what it is a forecast of, None for
        pilots. Both can be passed to all that takes forecasts and experiments.
    - `pilots`, the records of pilots (`passage="pilot"`), the fastest first, with times in steps of
        the training; empty for other forecasts.
    - `step_fit` and `step_kernel_end` have no interval, because no runs of such nets measure their
        errors. Without pilots they are those of the kernel at the present parameters: the smaller
        the net, the earlier it leaves this kernel. With pilots `step_fit` is that of the slowest
        stable one, and the fits of all `pilots` show how it moves with the learning rate;
        `step_kernel_end` is NaN, because no kernel is computed.
    """

    name: str
    verdict: Verdict
    confidence: Confidence
    reasons: tuple[str, ...]
    advice: str
    step_fit: float
    step_kernel_end: float
    step50: float
    step50_interval: tuple[float, float]
    time_per_step: float
    flow: Forecast | None = None
    experiment: Experiment | None = None
    pilots: tuple[xr.Dataset, ...] = ()
    start: int = 0

    def __str__(self) -> str:
        steps = {"step_fit": self.step_fit, "step_kernel_end": self.step_kernel_end}
        known = {name: number(step) for name, step in steps.items() if not math.isnan(step)}
        if "step_kernel_end" in known and "step_fit" not in known:
            known = {"step_fit": "not known", **known}
        if not math.isnan(self.step50):
            known["step50"] = f"{number(self.step50)}, from {interval(self.step50_interval)}"
        return rows(
            forecast=self.name,
            steps=f"count from step {self.start:,} of the training" if self.start else "",
            verdict=f"{self.verdict} (confidence: {self.confidence})",
            next=self.advice,
            **known,
            because=self.reasons[0] if self.reasons else "",
        )

    def _repr_html_(self) -> str:
        return as_html(self)

    def summary(self) -> dict[str, Any]:
        """The forecast as a dictionary for JSON, without records. Unknown values are None."""
        own = {name: value for name, value in vars(self).items() if name not in _PARTS}
        found: dict[str, Any] = jsonable({**own, "flow": None})
        return {**found, "flow": None if self.flow is None else self.flow.summary()}

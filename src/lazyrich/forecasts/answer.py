"""The forecast of a run: its fields, and how it is shown."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float

from .._core.shown import as_html, interval, number, rows
from ..records.summary import jsonable
from ..records.transition import Outcome
from .calibration import Family
from .phase import Clock
from .verdict import Confidence, Scores, Verdict, condition_of_t50


@dataclass(frozen=True, kw_only=True)
class Forecast:
    r"""The forecast of a run. Times are gradient-flow times, NaN for none.

    - `verdict`, for a sufficiently long run: `grok`, `misgrok`, `immediate` (no delay), `none` (no
        change, and a score that is not good), `cannot_say`.
    - `confidence`: `high`, `medium`, `low`; `reasons`, the basis of the forecast and what lowers
        its confidence; `advice`, the next step, in one line.
    - `outcome`, the outcome at the horizon `t1`, one of the words of
        [`transition`][lazyrich.transition]; None if it is not predicted.
    - `t_kernel_end`, $t_{I=1}$; `t50`, the time of half of the change of the test score (for a
        model linear in its parameters under `Thresholds.loss`, the time at which that loss is
        reached), and `t50_interval`; `t_fit`, the time at which the kernel flow fits the training
        data; `textbook`, $(1/\lambda) \log \alpha$ with $\alpha$ = `init_scale`, and
        `textbook_per_coordinate`, with the root mean square of $\theta(0)$ instead of $\alpha$, see
        [`textbook_time`][lazyrich.records.textbook_time].
    - `early`, scores and losses of the kernel flow on its plateau; `late`, those of the rich
        predictor, or those at the end of the run if the run itself was solved; empty if unknown.
    - `family`, the family whose $\kappa$ gives `t50`. For pilots, $\kappa$ is the logarithm of
        `t50` over the mean of the times of the pilots.
    - `times`, and at these times: `indicator`, $I$; `phi_ratio`, $\|\varphi\|/\|\theta_0\|$;
        `curves`, losses and accuracies of the kernel flow, by their names in records. By pilots,
        the curves are those of the slowest stable pilot (`curves_of` says so), `t_fit` is its fit,
        `early` and `late` are its values, and `indicator` and `phi_ratio` are NaN.
    - `ending`, how the solve of the kernel flow ended: `completed` unless it failed; `unresolved`
        if the eigenvalues of the kernel span more than double precision resolves.
    - `method`, how kernel and kernel flow were computed; `seconds`, the time of each stage;
        `num_steps` and `num_gradients`, the cost of solving the transition, zero if it was not
        solved.
    - `scores`, test scores on the plateau and at the end; NaN if unknown.
    - `clock`, which measures the time of the transition, see
        [`Family`][lazyrich.forecasts.Family].
    """

    experiment: str
    experiment_hash: str
    verdict: Verdict
    confidence: Confidence
    outcome: Outcome | None
    reasons: tuple[str, ...]
    advice: str
    t_kernel_end: float
    t50: float
    t50_interval: tuple[float, float]
    t_fit: float
    textbook: float
    textbook_per_coordinate: float
    early: dict[str, float]
    late: dict[str, Any]
    family: Family
    times: Float[np.ndarray, " t"]
    indicator: Float[np.ndarray, " t"]
    phi_ratio: Float[np.ndarray, " t"]
    curves: dict[str, Float[np.ndarray, " t"]]
    ending: str
    method: str
    seconds: dict[str, float]
    num_steps: int
    num_gradients: int
    clock: Clock
    scores: Scores
    curves_of: str = "kernel flow"

    def __str__(self) -> str:
        return rows(
            forecast=f"{self.experiment}, {self.experiment_hash[:8]}",
            verdict=f"{self.verdict} (confidence: {self.confidence})",
            next=self.advice,
            t_kernel_end=number(self.t_kernel_end),
            t50=f"{number(self.t50)}, from {interval(self.t50_interval)}"
            f"{condition_of_t50(self.verdict)}"
            if self.t50 > 0
            else number(self.t50),
            because=self.reasons[0] if self.reasons else "",
        )

    def _repr_html_(self) -> str:
        return as_html(self)

    @property
    def is_by_pilots(self) -> bool:
        """Whether its curves are those of a pilot."""
        return self.curves_of != "kernel flow"

    def summary(self) -> dict[str, Any]:
        """The forecast as a dictionary for JSON, without curves. Unknown values are None."""
        left_out = (
            "times", "indicator", "phi_ratio", "curves", "curves_of", "family", "clock", "scores",
        )  # fmt: skip
        kept = {key: value for key, value in vars(self).items() if key not in left_out}
        found: dict[str, Any] = jsonable({**kept, "calibration": vars(self.family)})
        return found

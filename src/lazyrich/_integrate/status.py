"""The status of a solve, and how a solve ends."""

from typing import Literal

Ending = Literal[
    "completed",
    "crossed",
    "stationary",
    "max_steps",
    "max_gradients",
    "max_seconds",
    "too_stiff",
    "chattering",
    "step_underflow",
    "diverged",
    "imprecise",
    "not_interpolated",
    "off_manifold",
]
"""How a solve ended.

`completed` at the horizon. `crossed` and `stationary` by a condition that the user has set.
`max_steps`, `max_gradients` and `max_seconds` if a budget was used up; `too_stiff` if it was used
up by steps whose length was limited by stability, `chattering` if by kinks. `step_underflow` if the
tolerance required a step of length zero. `diverged` if values were not finite even for the shortest
step. `imprecise` if a run in float32 reached its horizon, but rounding has spoiled the outputs or
stopped the steps; or if the loss of a flow rose although no decay had acted, because of rounding at
times beyond 1e16 units or of errors of steps. `not_interpolated` and `off_manifold` by
[`SmallDecayLimit`][lazyrich.dynamics.SmallDecayLimit] only: the training data were not fitted, or
the parameters could not be kept where they are fitted.
"""

Running = Literal["running"]
"""Instead of an ending, while a solve goes on."""

RUNNING, COMPLETED, MAX_STEPS, MAX_GRADIENTS, UNDERFLOW, DIVERGED, STATIONARY, CROSSED = range(8)
STIFF = 8  # not an ending: another method continues

ENDINGS: dict[int, Ending] = {
    COMPLETED: "completed",
    MAX_STEPS: "max_steps",
    MAX_GRADIENTS: "max_gradients",
    UNDERFLOW: "step_underflow",
    DIVERGED: "diverged",
    STATIONARY: "stationary",
    CROSSED: "crossed",
}

"""How a solve stands, and how it ends."""

from typing import Literal

Ending = Literal[
    "completed",
    "crossed",
    "stationary",
    "max_steps",
    "max_gradients",
    "max_seconds",
    "too_stiff",
    "step_underflow",
    "diverged",
]
"""How a solve ended.

`completed` at the horizon; `crossed` and `stationary` by a condition of the user's;
`max_steps`, `max_gradients`, `max_seconds` when a budget was spent, and `too_stiff` when it
was spent on steps that stability kept short; `step_underflow` when no step was short enough
for the tolerance; `diverged` when values were not finite however short the step.
"""

RUNNING, COMPLETED, MAX_STEPS, MAX_GRADIENTS, UNDERFLOW, DIVERGED, STATIONARY, CROSSED = range(8)
STIFF = 8  # not an end: another method goes on

ENDINGS: dict[int, Ending] = {
    COMPLETED: "completed",
    MAX_STEPS: "max_steps",
    MAX_GRADIENTS: "max_gradients",
    UNDERFLOW: "step_underflow",
    DIVERGED: "diverged",
    STATIONARY: "stationary",
    CROSSED: "crossed",
}

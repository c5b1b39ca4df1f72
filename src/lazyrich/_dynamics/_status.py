"""How a march stands."""

from ._base import Ending

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

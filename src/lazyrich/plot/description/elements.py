"""What a panel contains. Positions are data values; unknown values are NaN."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float, Shaped

from .style import Style


@dataclass(frozen=True, eq=False)
class Curve:
    """Points, joined by a line or marked.

    - `x`, `y`, of shape `(k,)`; `name`, in full words, for hovering; `label`, beside the end of
        the curve, empty for none.
    - `group`: elements of one group are shown and hidden together, in all panels.
    - `bars_x`, `bars_y`: lower and upper ends of error bars, of shape `(2, k)`.
    - `texts`, for hovering, one for each point.
    """

    x: Float[np.ndarray, " k"]
    y: Float[np.ndarray, " k"]
    name: str
    style: Style
    label: str = ""
    group: str = ""
    bars_x: Float[np.ndarray, "2 k"] | None = None
    bars_y: Float[np.ndarray, "2 k"] | None = None
    texts: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class Band:
    """The area between `low` and `high` over `x`, each of shape `(k,)`."""

    x: Float[np.ndarray, " k"]
    low: Float[np.ndarray, " k"]
    high: Float[np.ndarray, " k"]
    name: str
    style: Style
    group: str = ""


@dataclass(frozen=True)
class Line:
    """A straight line across the panel: `along` x for a horizontal line at a value of y."""

    at: float
    name: str
    style: Style
    along: Literal["x", "y"] = "x"
    label: str = ""
    group: str = ""


@dataclass(frozen=True)
class Span:
    """An interval of x, shaded over the height of the panel; `label`, above the panel."""

    low: float
    high: float
    name: str
    style: Style
    label: str = ""
    group: str = ""


@dataclass(frozen=True)
class Colours:
    """The colours of cells with numbers: on a log scale from `low` to `high`.

    - `kind`: `sequence` from dark to light, or `around` a middle that is white.
    - `label`, that of the colour bar; `beyond`, whether some numbers are outside of it; `at`, the
        numbers with a label, empty for the usual ones.
    """

    low: float
    high: float
    label: str
    kind: Literal["sequence", "around"] = "sequence"
    beyond: bool = False
    at: tuple[float, ...] = ()


@dataclass(frozen=True, eq=False)
class Cells:
    """Cells of a grid in which `shown`, of shape `(y, x)`, is true.

    - `x`, `y`: edges of columns and rows, one more than these.
    - Cells of one `face`, with an optional `hatch` in the colour `ink`; or, with `values` and
        `colours`, cells in the colour of their number.
    - `texts`, of shape `(y, x)`, for hovering.
    """

    x: Float[np.ndarray, " nx1"]
    y: Float[np.ndarray, " ny1"]
    shown: Shaped[np.ndarray, "ny nx"]
    name: str
    face: str = "#ffffff"
    hatch: str = ""
    ink: str = "#000000"
    values: Float[np.ndarray, "ny nx"] | None = None
    colours: Colours | None = None
    texts: Shaped[np.ndarray, "ny nx"] | None = None


@dataclass(frozen=True, eq=False)
class Contours:
    """Contours of `log(z)`, of shape `(ny, nx)`, at `levels` of z, labelled with these."""

    x: Float[np.ndarray, " nx"]
    y: Float[np.ndarray, " ny"]
    log_z: Float[np.ndarray, "ny nx"]
    levels: tuple[float, ...]
    name: str
    style: Style

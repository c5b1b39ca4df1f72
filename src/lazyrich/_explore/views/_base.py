"""A view of a run: a figure whose traces move, and what it is made from."""

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from jaxtyping import Float

from ..._run.prepared import PreparedProblem


@dataclass
class View:
    """A figure with moving traces.

    - `moving`: for each, the number of the trace, the attribute, and its values by frame, or by
        entries of `held`.
    - `held`: for each frame, the place of its values, where several frames share them.
    """

    name: str
    title: str
    words: str
    data: list[dict[str, Any]]
    layout: dict[str, Any]
    moving: list[tuple[int, str, np.ndarray]] = field(default_factory=list)
    held: np.ndarray | None = None

    def table(self) -> dict[str, Any]:
        """The view as JSON, with four digits of each moving number."""
        moving = [{"trace": t, "key": k, "values": short(v)} for t, k, v in self.moving]
        for part in moving:
            self.data[part["trace"]][part["key"]] = part["values"][0]
        layout = {"margin": {"l": 60, "r": 10, "t": 24, "b": 85}, "hovermode": "closest"}
        layout |= {"legend": {"orientation": "h"}}
        for key, axis in self.layout.items():
            if key.startswith(("xaxis", "yaxis")):
                axis |= {"automargin": True, "showline": True, "exponentformat": "power"}
            if key.startswith("xaxis") and "title" in axis:
                axis["title"]["standoff"] = 6
        figure = {"data": self.data, "layout": layout | self.layout}
        about = {"name": self.name, "title": self.title, "words": self.words}
        held = None if self.held is None else self.held.tolist()
        return {**about, "figure": figure, "moving": moving, "held": held}


def short(values: Any) -> Any:
    """Numbers with four digits, unknown ones as None."""
    array = np.asarray(values, dtype=float)
    flat = [float(f"{x:.4g}") if math.isfinite(x) else None for x in array.ravel().tolist()]
    return np.array(flat, dtype=object).reshape(array.shape).tolist()


@dataclass(frozen=True)
class Looked:
    """A run whose parameters were recorded.

    - `at`, the places in the record of the frames; `rows`, their parameters as one row each;
        `unravel`, from a row to the parameters.
    """

    prepared: PreparedProblem
    record: xr.Dataset
    at: np.ndarray
    rows: Float[np.ndarray, "t p"]
    unravel: Callable[[Any], Any]

    @property
    def model(self) -> Any:
        """The model that the parameters belong to."""
        return self.prepared.problem.model

    def each(self, function: Callable[[Any], Any]) -> np.ndarray:
        """A function of the parameters at every frame."""
        compiled = jax.jit(lambda row: function(self.unravel(row)))
        return np.stack([np.asarray(compiled(jnp.asarray(row))) for row in self.rows])

    def curve(self, name: str) -> np.ndarray:
        """A variable of the record at the frames."""
        return self.record[name].values[self.at]

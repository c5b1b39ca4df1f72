"""Axes of maps: the scale and the cells of a key."""

from dataclasses import replace
from typing import NamedTuple

import numpy as np
import xarray as xr
from jaxtyping import Float, Shaped

from ..description import Axis, Place
from ..description.ticks import Scale as Kind, number_text, written_out
from ._symbols import symbol

# The least part of an axis between two values for each to have a label.
_ROOM = 0.1


class Scale(NamedTuple):
    """The scale of a key on an axis: `kind` is linear, log, or place (cells of equal size)."""

    key: str
    values: Shaped[np.ndarray, " n"]
    kind: Kind

    def edges(self) -> Float[np.ndarray, " n1"]:
        """Cell edges half-way between neighbours; an outer edge is as far away as the inner one."""
        at = self.position(self.values)
        at = np.log(at) if self.kind == "log" else at
        if len(at) == 1:
            half = np.log(10) / 2 if self.kind == "log" else 0.5
            edges = np.array([at[0] - half, at[0] + half])
        else:
            middle = (at[1:] + at[:-1]) / 2
            edges = np.concatenate([[2 * at[0] - middle[0]], middle, [2 * at[-1] - middle[-1]]])
        return np.exp(edges) if self.kind == "log" else edges

    def finely(
        self, rows: Float[np.ndarray, "n m"], num: int = 12
    ) -> tuple[Float[np.ndarray, "k m"], Float[np.ndarray, " k"]]:
        """Interpolates rows, with `num` steps between neighbouring values of the axis.

        Returns the rows and their positions on the axis.
        """
        at = self.position(self.values)
        at = np.log(at) if self.kind == "log" else at
        fine = np.interp(
            np.arange((len(at) - 1) * num + 1) / num, np.arange(len(at), dtype=float), at
        )
        found = np.stack([np.interp(fine, at, column) for column in rows.T], axis=1)
        return found, np.exp(fine) if self.kind == "log" else fine

    def position(self, values: Shaped[np.ndarray, " m"]) -> Float[np.ndarray, " m"]:
        """The positions of values on the axis; NaN for a value that is not on it."""
        if self.kind != "place":
            return np.asarray(values, dtype=float)
        if self.values.dtype.kind in "fiu":
            places = np.arange(len(self.values), dtype=float)
            return np.interp(values, self.values, places, left=np.nan, right=np.nan)
        names = [str(value) for value in self.values]
        found = [names.index(v) if v in names else np.nan for v in map(str, values)]
        return np.array(found, dtype=float)

    def axis(self) -> Axis:
        """The axis of a panel, from the first to the last edge."""
        edges, some = self.edges(), np.arange(len(self.values))
        if self.kind == "place":
            some = np.unique(np.linspace(0, len(self.values) - 1, 9).round().astype(int))
        at = np.arange(len(self.values)) if self.kind == "place" else self.values
        texts = _texts(self.values[some])
        places = [Place(float(p), text) for p, text in zip(at[some], texts, strict=True)]
        low, high = float(edges[0]), float(edges[-1])
        found = Axis(symbol(self.key), low, high, self.kind, places=tuple(places))
        has_room = self.kind == "place" or found.least_gap() >= _ROOM
        return found if has_room else replace(found, places=())


def _texts(values: Shaped[np.ndarray, " n"]) -> list[str]:
    """Values as labels, fractions alike: all written out, or large and small ones by powers."""
    if values.dtype.kind != "f":
        return [str(value) for value in values]
    texts = [written_out(float(value)) for value in values]
    plain = not any("e" in text for text in texts)
    return texts if plain else [number_text(float(value)) for value in values]


def scale_of(array: xr.DataArray) -> Scale:
    """Linear for three or more values in equal steps, log for other positive values."""
    key, values = str(array.name), array.values
    if values.dtype.kind not in "fiu":
        return Scale(key, values, "place")
    steps = np.diff(values.astype(float))
    if len(values) > 2 and np.ptp(steps) < 1e-6 * np.max(np.abs(values)):
        return Scale(key, values, "linear")
    return Scale(key, values, "log" if np.all(values > 0) else "place")

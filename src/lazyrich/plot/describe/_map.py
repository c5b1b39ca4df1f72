"""Phase diagrams of sweeps."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import xarray as xr
from jaxtyping import Bool, Float, Shaped

from ..._core.errors import InputError
from ..._core.given import check_kind
from ...records.transition import OUTCOMES
from ..description import Cells, Colours, Contours, Curve, Figure, Panel, Style
from ._grid import Scale, scale_of
from ._layout import placed
from ._map_key import (
    DASHED,
    DOT_INK,
    DOTS,
    EDGE,
    LOOKS,
    NEAR,
    PALE,
    RANGE,
    SOLID,
    has_range,
    map_key,
    sides,
)
from ._symbols import symbol

# Hatches and labels of cells without a number are in this grey.
_INK = "#8c8c8c"
# Ticks by the largest ratio that they are for.
_RATIOS = {1.26: (1.0, 1.1, 1.2), 2.01: (1.0, 1.25, 1.5, 2.0), 4.01: (1.0, 1.5, 2.0, 3.0, 4.0)}


def map(
    diagram: xr.Dataset,
    boundary: xr.Dataset | None = None,
    delay: str = "ratio",
    forecast: xr.Dataset | None = None,
    *,
    panels: Sequence[str] | None = None,
    columns: int = 3,
) -> Figure:
    r"""Describes a phase diagram over two keys: outcomes, delays, half times, and their forecasts.

    - **Takes** the arguments of [`plot.map`][lazyrich.plot.map]; `panels`, which of `outcome`,
        `delay`, `t50`, `width` (the median of $t_{90}/t_{10}$) and, for a diagram with forecasts,
        `errors`, `forecast_outcome` and `forecast_t50`, by default the first three and `errors`;
        `columns`, the number of panels beside each other.
    - **Raises** [`InputError`][lazyrich.InputError] if the keys are not the same, and for a panel
        that the diagram does not have.
    """
    accepted = "a diagram of lr.maps.phase_diagram"
    check_kind("diagram", diagram, xr.Dataset, accepted)
    if not {"x", "y"} <= diagram.attrs.keys():
        raise InputError("diagram", "another dataset", f"should be {accepted}")
    x, y = scale_of(diagram[diagram.attrs["x"]]), scale_of(diagram[diagram.attrs["y"]])
    keys = [x.key, y.key]
    for name, line in (("boundary", boundary), ("forecast", forecast)):
        theirs = keys if line is None else [line.attrs[axis] for axis in "xy"]
        if theirs != keys:
            raise InputError(name, theirs, f"should have the keys of the diagram, {keys}")
    has_forecasts = "forecast_error" in diagram
    outcome = diagram["outcome"].values
    split = diagram["agreement"].values < 1  # NaN, where nothing ran, is not
    grid = _Grid(x, y, outcome)
    sign = "/" if delay == "ratio" else "−"
    delays = diagram["delay" if delay == "ratio" else "lag"].values
    lines = grid.lines(boundary, forecast)
    makers: dict[str, Callable[[], Panel]] = {
        "outcome": lambda: grid.panel(
            "outcome",
            _outcome_title(diagram),
            grid.outcomes(diagram),
            curves=(*grid.mark(split, "runs disagree", _DOT), *grid.edges(boundary), *lines),
        ),
        "delay": lambda: grid.timed("delay", f"median delay t_test {sign} t_train", delays, lines),
        "t50": lambda: grid.timed(
            "t50",
            "median half time t50",
            diagram["t50"].values,
            lines,
            grid.contours(diagram) if has_forecasts else (),
        ),
        "width": lambda: grid.timed(
            "width", "median width t90 / t10", np.exp(diagram["width"].values), lines
        ),
    }
    chosen: Sequence[str] = ("outcome", "delay", "t50")
    if has_forecasts:
        chosen = (*chosen, "errors")
        makers |= {
            "errors": lambda: grid.errors(diagram, lines),
            "forecast_outcome": lambda: grid.panel(
                "forecast_outcome",
                "outcome as forecast",
                grid.words(diagram["forecast_outcome"].values),
                curves=lines,
            ),
            "forecast_t50": lambda: grid.timed(
                "forecast_t50",
                "median half time as forecast",
                diagram["forecast_t50"].values,
                lines,
            ),
        }
    unknown = [name for name in panels or () if name not in makers]
    if unknown:
        raise InputError("panels", unknown[0], f"should be among {', '.join(makers)}")
    drawn_panels = [makers[name]() for name in panels or chosen]
    drawn = {curve.name for panel in drawn_panels for curve in panel.curves}
    drawn |= {contours.name for panel in drawn_panels for contours in panel.contours}
    drawn |= {"no time" for panel in drawn_panels for cells in panel.cells if cells.face == PALE}
    columns = min(columns, 2) if len(drawn_panels) == 4 else columns
    return Figure(
        placed(drawn_panels, min(columns, len(drawn_panels))),
        _caption(diagram, boundary, forecast, [panel.name for panel in drawn_panels]),
        key=map_key(diagram, drawn, boundary, forecast),
        share_x=True,
        share_y=columns > 1,
    )


_DOT = Style("#000000", "none", marker="circle", size=2.2)
_CROSS = Style("#000000", "none", marker="cross", size=3.0)
_SIGNS = {1: Style("#303030", "none", marker="plus", size=3.0),
          -1: Style("#303030", "none", marker="minus", size=3.0)}  # fmt: skip


class _Grid:
    """The cells of a diagram on its axes."""

    def __init__(self, x: Scale, y: Scale, outcome: Shaped[np.ndarray, "y x"]) -> None:
        self.x, self.y, self.outcome = x, y, outcome

    def panel(self, name: str, title: str, cells: tuple[Cells, ...], **more: Any) -> Panel:
        """A panel over the two keys."""
        return Panel(name, self.x.axis(), self.y.axis(), cells=cells, title=title, height=1.25,
                     **more)  # fmt: skip

    def outcomes(self, diagram: xr.Dataset) -> tuple[Cells, ...]:
        """The cells of each outcome, with the numbers of runs for hovering."""
        counts = diagram["count"].transpose("kind", ...)
        kinds = [str(kind) for kind in counts["kind"].values]
        texts = np.full(self.outcome.shape, "", dtype=object)
        for index in np.ndindex(self.outcome.shape):
            each = [(int(counts.values[(k, *index)]), kind) for k, kind in enumerate(kinds)]
            parts = [f"{n} {kind.replace('_', ' ')}" for n, kind in each if n]
            texts[index] = ", ".join(parts)
        found = []
        for name, (face, hatch, ink) in LOOKS.items():
            shown = self.outcome == name
            if shown.any():
                found.append(self._flat(name.replace("_", " "), shown, face, hatch, ink, texts))
        return tuple(found)

    def words(self, outcomes: Shaped[np.ndarray, "y x"]) -> tuple[Cells, ...]:
        """The cells of each of these outcomes."""
        return tuple(
            self._flat(name.replace("_", " "), outcomes == name, *look)
            for name, look in LOOKS.items()
            if np.any(outcomes == name)
        )

    def _flat(
        self,
        name: str,
        shown: Bool[np.ndarray, "y x"],
        face: str,
        hatch: str,
        ink: str,
        texts: Any = None,
    ) -> Cells:
        edges = (self.x.edges(), self.y.edges())
        return Cells(*edges, shown, name, face, hatch, ink, texts=texts)

    def _grey(self, where: Bool[np.ndarray, "y x"]) -> tuple[Cells, ...]:
        """Cells without a number, with the hatch of their outcome, or dots if it has none."""
        found = []
        for name, (_, hatch, _) in LOOKS.items():
            shown = where & (self.outcome == name)
            face = "#ffffff" if name == "missing" else PALE
            look = (hatch, _INK) if hatch or name == "missing" else (DOTS, DOT_INK)
            if shown.any():
                found.append(self._flat(name.replace("_", " "), shown, face, *look))
        return tuple(found)

    def timed(
        self,
        name: str,
        title: str,
        values: Float[np.ndarray, "y x"],
        lines: tuple[Curve, ...],
        contours: tuple[Contours, ...] = (),
    ) -> Panel:
        """Positive numbers as colours; the other cells are grey."""
        known = np.isfinite(values) & (values > 0)
        cells, note = self._grey(~known), ""
        if known.any():
            low, high = float(values[known].min()), float(values[known].max())
            if low == high:
                low, high = low / 2, 2 * high
            cells = (*cells, self._coloured(title, values, known, Colours(low, high, "")))
        else:
            note = "no cell has one"
        return self.panel(name, title, cells, curves=lines, contours=contours, note=note)

    def _coloured(self, name: str, values: Any, known: Any, colours: Colours) -> Cells:
        edges = (self.x.edges(), self.y.edges())
        return Cells(*edges, known, name, values=values, colours=colours)

    def mark(self, where: Bool[np.ndarray, "y x"], name: str, style: Style) -> tuple[Curve, ...]:
        """A mark in the middle of some cells."""
        row, column = np.nonzero(where)
        if not len(row):
            return ()
        at_x = self.x.position(self.x.values)[column]
        return (Curve(at_x, self.y.position(self.y.values)[row], name, style, group=name),)

    def lines(self, boundary: xr.Dataset | None, forecast: xr.Dataset | None) -> tuple[Curve, ...]:
        """The boundary as measured, and as forecast."""
        found = []
        for of, name, style in ((boundary, "boundary", SOLID),
                                (forecast, "boundary, forecast", DASHED)):  # fmt: skip
            if of is not None:
                found.append(self._line(of, "place", name, style))
        return tuple(found)

    def edges(self, boundary: xr.Dataset | None) -> tuple[Curve, ...]:
        """The interval of the boundary as two thin lines: a band would mix its own colours."""
        if boundary is None or not has_range(boundary):
            return ()
        return tuple(self._line(boundary, end, RANGE, EDGE) for end in ("low", "high"))

    def _line(self, of: xr.Dataset, variable: str, name: str, style: Style) -> Curve:
        at = self.y.position(of[self.y.key].values)
        place = self.x.position(of[variable].values)
        return Curve(place, at, name, style, group=name)

    def contours(self, diagram: xr.Dataset) -> tuple[Contours, ...]:
        """Contours of the forecast times at round numbers."""
        said, came = diagram["forecast_t50"].values, diagram["t50"].values
        known = came[np.isfinite(came) & (came > 0)]
        if not len(known) or min(said.shape) < 2 or not np.isfinite(said).any():
            return ()
        low, high = float(known.min()), float(known.max())
        factors = (1, 2, 5) if high < 1e3 * low else (1,)
        powers = range(int(np.floor(np.log10(low))), int(np.ceil(np.log10(high))) + 1)
        levels = [k * 10.0**p for p in powers for k in factors if low < k * 10.0**p < high]
        if not levels:
            return ()
        values, at_y = self.y.finely(np.log(said))
        values, at_x = self.x.finely(values.T)
        name = "half times as forecast"
        return (Contours(at_x, at_y, values.T, tuple(levels), name, Style("#000000", width=0.9)),)

    def errors(self, diagram: xr.Dataset, lines: tuple[Curve, ...]) -> Panel:
        """The ratios of forecast and simulated half times, and where outcomes differ."""
        error, expected = diagram["forecast_error"].values, diagram["forecast_outcome"].values
        other = (expected != self.outcome) & (expected != "missing") & (self.outcome != "missing")
        known = np.isfinite(error)
        cells = self._grey(~known)
        title = "t50 forecast / simulated"
        if known.any():
            reach = float(np.clip(np.abs(error[known]).max(), np.log(1.25), np.log(4)))
            beyond = bool((np.abs(error[known]) > reach).any())
            shown = next(ratios for far, ratios in _RATIOS.items() if np.exp(reach) <= far)
            at = [ratio for ratio in shown if ratio <= np.exp(reach)]
            labelled = (*(1 / ratio for ratio in at[:0:-1]), *at)
            ends = (float(np.exp(-reach)), float(np.exp(reach)))
            colours = Colours(*ends, "", "around", beyond, labelled)
            cells = (*cells, self._coloured(title, np.exp(error), known, colours))
        marks: tuple[Curve, ...] = ()
        for sign, word in ((1, "late"), (-1, "early")):
            far = known & (sign * error > NEAR) & ~other
            marks += self.mark(far, f"forecast too {word}", _SIGNS[sign])
        marks += self.mark(other, "another outcome was forecast", _CROSS)
        return self.panel("errors", title, cells, curves=(*marks, *lines))


def _outcome_title(diagram: xr.Dataset) -> str:
    runs = diagram["num_runs"].values
    fewest, most = int(runs[runs > 0].min(initial=runs.max())), int(runs.max())
    several = f"{fewest} to {most} runs" if fewest < most else f"{most} run{'s'[: most != 1]}"
    return f"outcome ({several} a cell)"


# With what is shown of a cell that has several runs.
_SAID = {
    "outcome": ("most frequent ", "outcome"),
    "delay": ("median ", "delay"),
    "t50": ("median ", "half time"),
    "width": ("median ", "width of the transition"),
    "errors": ("", "ratio of the half times as forecast and simulated"),
    "forecast_outcome": ("", "outcome as forecast"),
    "forecast_t50": ("median ", "half time as forecast"),
}


def _caption(
    diagram: xr.Dataset,
    boundary: xr.Dataset | None,
    forecast: xr.Dataset | None,
    names: Sequence[str],
) -> str:
    counts = {
        name: int(diagram["count"].sel(kind=name).sum()) for name in OUTCOMES if name != "missing"
    }
    came = sorted(((n, name) for name, n in counts.items() if n), reverse=True)
    words = ", ".join(f"{n} {name.replace('_', ' ')}" for n, name in came)
    total = int(diagram["num_runs"].values.sum())
    cells = diagram["outcome"].size
    several = int(diagram["num_runs"].max()) > 1
    described = [name for name in names if name != "errors" or len(names) == 1]
    shown = ["".join(_SAID[name][not several :]) for name in described]
    what = " and ".join(filter(None, (", ".join(shown[:-1]), shown[-1])))
    text = f"{what[0].upper()}{what[1:]} of {total} runs in {cells} cells: {words or 'none yet'}."
    if boundary is not None:
        text += f" The line is the boundary between {' and '.join(sides(boundary, diagram))}"
        if "outcome" in names and has_range(boundary):
            text += f", the thin lines its range over {_varied(boundary)}"
        text += "."
    if "forecast_error" in diagram and "t50" in names:
        text += " Contours are half times as forecast before training"
        beside = "; the last map has their ratio to the simulated ones"
        text += f"{beside if 'errors' in names else ''}."
    if forecast is not None and (len(names) == 1 or "forecast_error" not in diagram):
        text += " The dashed line is the boundary as forecast."
    return text


def _varied(boundary: xr.Dataset) -> str:
    """What differs between the lines of a boundary, in words."""
    of_lines = {str(key): at.values for key, at in boundary.coords.items() if at.dims == ("line",)}
    keys = [key for key, values in of_lines.items() if len({str(value) for value in values}) > 1]
    words = ["seeds" if key == "seed" else f"values of {symbol(key)}" for key in keys]
    return " and ".join(words) or "its lines"

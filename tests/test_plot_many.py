"""Figures of many runs: the same properties as those of single runs."""

import itertools
import json
import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import xarray as xr
from matplotlib.collections import QuadMesh
from matplotlib.text import Text

import lazyrich as lr
from lazyrich.maps import boundary, phase_diagram, scaling_fit
from lazyrich.plot import describe
from lazyrich.plot.describe._grid import Scale
from lazyrich.plot.description import Figure, ticks
from lazyrich.plot.description.style import luminance
from lazyrich.plot.description.ticks import number_text

SCALES, DECAYS = np.geomspace(2, 200, 6), np.geomspace(1e-3, 1e-1, 4)
KEYS = ("init_scale", "weight_decay", "seed")
TEXT = 'init_scale = 10.0\nweight_decay = 1e-2\nt1 = 1e5\nmodel = { kind = "MLP" }\n'


def dataset(num_records: int = 60) -> xr.Dataset:
    """Runs that grok at (1/λ) log α from a scale of 5 on, with curves and forecasts."""
    scale, decay, seed = np.meshgrid(SCALES, DECAYS, np.arange(2.0), indexing="ij")
    groks = scale > 5 * (1 + 0.8 * seed)
    half = np.where(groks, (1 + 0.1 * seed) * np.log(scale) / decay, np.nan)
    times = np.broadcast_to(np.geomspace(1e-2, 1e5, num_records), (*half.shape, num_records))
    ratio = times / np.where(groks, half, 0.5)[..., None]
    done = ratio**3 / (1 + ratio**3)
    fit = times**2 / (0.1 + times**2)
    curves = {
        "time": times,
        "train_accuracy": 0.5 + 0.5 * fit,
        "test_accuracy": 0.5 + 0.45 * done,
        "train_loss": np.maximum(1 - fit, 1e-30),
        "test_loss": 0.8 - 0.7 * done,
        "param_norm": scale[..., None] * (1.01 - done),
        "cosine_to_kernel": 1 - 0.9 * done,
    }
    said = np.where(groks, 1.2 * half, 0.5)
    numbers = {
        "t_train": np.full(half.shape, 0.5), "t10": half / 2, "t50": half, "t90": 2 * half,
        "t_test": 3 * half, "early_test_accuracy": np.full(half.shape, 0.55),
        "late_test_accuracy": np.full(half.shape, 0.95), "early_test_loss": 0.8 + 0 * half,
        "forecast_t50": said, "forecast_low": 0.7 * said, "forecast_high": 1.4 * said,
        "textbook": np.log(scale) / decay, "forecast_early": 0.5 + 0.01 * seed,
        "forecast_late": 0.96 - 0.02 * seed, "forecast_t_kernel_end": said / 2,
        "forecast_clock": said, "clock": said, "forecast_seconds": said,
        "forecast_num_gradients": said,
    }  # fmt: skip
    words = {
        "outcome": np.where(groks, "grokked", "immediate"),
        "forecast_outcome": np.where(scale > 9, "grokked", "immediate"),
        "forecast_verdict": np.where(groks, "grok", "immediate"),
        "forecast_confidence": np.full(half.shape, "high"),
        "forecast_family": np.where(scale > 50, "one family", "another"),
    }
    variables = {name: (KEYS, values.astype(object)) for name, values in words.items()}
    data = {name: (KEYS, values) for name, values in numbers.items()}
    records = {name: ((*KEYS, "record"), values) for name, values in curves.items()}
    coords = {"init_scale": SCALES, "weight_decay": DECAYS, "seed": np.arange(2)}
    return xr.Dataset({**variables, **data, **records}, coords, {"experiment": TEXT})


def optimisers() -> xr.Dataset:
    tables: list[dict[str, str | float]] = [{"kind": "ReducedFlow"}]
    tables += [{"kind": "GradientDescent", "learning_rate": r} for r in (0.01, 0.1, 300.0)]
    tables += [{"kind": "SGD", "learning_rate": r, "momentum": 0.9} for r in (0.01, 0.1)]
    shape = (len(tables), 2)
    factors = np.array([1.0, 1.01, 1.2, np.nan, 0.11, 0.2])[:, None] * np.ones(2)
    outcome = np.full(shape, "grokked", dtype=object)
    outcome[3] = "diverged"
    keys = ("dynamics", "seed")
    variables = {
        "t50": (keys, 100 * factors), "outcome": (keys, outcome),
        "early_test_accuracy": (keys, 0.6 + 0 * np.nan_to_num(factors)),
        "late_param_norm": (keys, 1 + 0.1 * np.nan_to_num(factors)),
    }  # fmt: skip
    coords = {"dynamics": [json.dumps(table) for table in tables], "seed": [0, 1]}
    return xr.Dataset(variables, coords, {"experiment": TEXT})


def with_map(columns: int, forecast: bool) -> Figure:
    runs = dataset()
    if not forecast:
        runs = runs.drop_vars([name for name in runs if str(name).startswith("forecast")])
    lines = [boundary(runs)]
    lines += [boundary(runs, of="forecast_outcome")] if forecast else []
    return describe.map(phase_diagram(runs), lines[0], "ratio", *lines[1:], columns=columns)


FIGURES: dict[str, Callable[[int], Figure]] = {
    "map": lambda columns: with_map(columns, False),
    "map with forecasts": lambda columns: with_map(columns, True),
    "curves": lambda columns: describe.curves(
        dataset().sel(weight_decay=DECAYS[:1]), "init_scale", columns=columns
    ),
    "forecasts": lambda columns: describe.forecasts(dataset()),
    "scores": lambda columns: describe.scores(
        dataset().sel(weight_decay=DECAYS[:2]), "init_scale", columns=columns
    ),
    "collapse": lambda columns: describe.collapse(dataset(), columns=columns),
    "scaling": lambda columns: describe.scaling(scaling_fit(dataset())),
    "rates": lambda columns: describe.rates(optimisers(), columns=columns),
}


def by_loss(columns: int) -> Figure:
    """Curves over a key whose values are names."""
    runs = dataset().sel(weight_decay=DECAYS[0]).isel(init_scale=slice(5))
    runs = runs.rename(init_scale="loss").assign_coords(
        loss=["Exponential", "Hinge", "Logistic", "Squared", "SquaredHinge"]
    )
    return describe.curves(runs, "loss", columns=columns)


@pytest.mark.parametrize("name", [*FIGURES, "by loss"])
def test_entries_of_a_key_differ_in_a_grey_print(name):
    shown = (FIGURES | {"by loss": by_loss})[name](3)
    for one, other in itertools.combinations(shown.key, 2):
        looks = [
            (e.kind, e.hatch, e.style.dash, e.style.marker, e.style.filled) for e in (one, other)
        ]
        greys = [luminance(entry.style.colour) for entry in (one, other)]
        assert looks[0] != looks[1] or abs(greys[0] - greys[1]) > 0.15, (one.label, other.label)


def test_the_first_run_of_a_value_has_its_marks():
    entries = {entry.label: entry.style.marker for entry in by_loss(3).key[:5]}
    assert len(set(entries.values())) == 5
    for panel in by_loss(3).panels:
        for part in ("train", "test") if panel.name in ("accuracy", "loss") else ("",):
            for label, marker in entries.items():
                name = f"{label}, {part}" if part else label
                marks = [c.style.marker for c in panel.curves if c.name == name]
                assert marks == [marker, ""]


def labelled(side) -> list[str]:
    low, high = sorted(side.get_view_interval())
    ticks = [tick for tick in side.get_major_ticks() if low <= tick.get_loc() <= high]
    return [t.label1.get_text() for t in ticks if t.label1.get_visible() and t.label1.get_text()]


@pytest.mark.parametrize("width", ["single", "double"])
@pytest.mark.parametrize("name", FIGURES)
def test_every_figure_can_be_read(name, width):
    shown = FIGURES[name](1 if width == "single" else 3)
    figure = lr.plot.draw(shown, width=width)
    figure.canvas.draw()
    renderer = figure._get_renderer()  # type: ignore[attr-defined]
    for axes in figure.axes[: len(shown.panels)]:
        assert len(labelled(axes.yaxis)) >= (2 if axes.get_ylabel() else 0), axes.get_ylabel()
        assert len(labelled(axes.xaxis)) >= (2 if axes.get_xlabel() else 0), axes.get_xlabel()
        assert axes.get_lines() or axes.collections
    texts = [t for axes in figure.axes for t in (*axes.texts, axes.title, axes.xaxis.label)]
    boxes = [(t.get_text(), Text.get_window_extent(t, renderer)) for t in texts if t.get_text()]
    boxes += [("key", legend.get_window_extent(renderer)) for legend in figure.legends]
    inner = {t for panel in shown.panels for c in panel.contours for t in map(str, c.levels)}
    for (one, a), (other, b) in itertools.combinations(boxes, 2):
        if not inner:
            assert not a.padded(-0.5).overlaps(b.padded(-0.5)), (one, other)
    page = figure.bbox
    for text, box in boxes:
        assert page.x0 - 1 <= box.x0, text
        assert box.x1 <= page.x1 + 1, text
    assert figure.get_size_inches()[1] < 9.5
    assert figure.caption.endswith(".")
    assert figure.caption.count(". ") <= 2


@pytest.mark.parametrize("name", FIGURES)
def test_every_colour_is_in_the_key(name):
    shown = FIGURES[name](3)
    key = {(entry.style.colour, entry.style.opacity) for entry in shown.key}
    colours = {colour for colour, _ in key}
    for panel in shown.panels:
        for band in panel.bands:
            assert (band.style.colour, band.style.opacity) in key, band.name
        for curve in panel.curves:
            known = curve.style.colour in colours
            assert known or len({c.name for c in panel.curves}) > 9, curve.name
        for cells in panel.cells:
            # Cells with numbers have a colour bar.
            flat = cells.values is None
            assert not flat or cells.face in colours or cells.name == "missing", cells.name
    assert not any(panel.spans for panel in shown.panels)


def test_outcomes_differ_in_grey():
    from lazyrich.plot.describe._map_key import LOOKS

    # Former names have the looks of the present ones.
    looks = {n: look for n, look in LOOKS.items() if n not in ("not_within_budget", "diverged")}
    for (one, (a, x, _)), (other, (b, y, _)) in itertools.combinations(looks.items(), 2):
        assert x != y or abs(luminance(a) - luminance(b)) > 0.1, (one, other)


@pytest.mark.parametrize("name", FIGURES)
def test_plotly_has_the_same_numbers(name):
    shown = FIGURES[name](3)
    figure = lr.plot.draw(shown)
    found = json.loads(json.dumps(lr.plot.plotly(shown), allow_nan=False))
    for place, (axes, panel) in enumerate(zip(figure.axes, shown.panels, strict=False)):
        of = f"y{place + 1}" if place else "y"
        traces = [trace for trace in found["data"] if trace["yaxis"] == of]
        # Entries of the legend have no points.
        scatters = [t for t in traces if t["type"] == "scatter" and "fill" not in t]
        scatters = [t for t in scatters if t["x"] != [None]]
        drawn = axes.get_lines()
        bars = [c for c in panel.curves if c.bars_x is not None or c.bars_y is not None]
        assert len(scatters) == len(drawn) == len(panel.curves) + len(panel.lines)
        assert sum("error_x" in t or "error_y" in t for t in scatters) == len(bars)
        for line, trace in zip(drawn[len(panel.lines) :], scatters[len(panel.lines) :],
                               strict=True):  # fmt: skip
            x, y = ([np.nan if v is None else v for v in trace[at]] for at in "xy")
            np.testing.assert_array_equal(x, np.asarray(line.get_xdata(), dtype=float))
            np.testing.assert_array_equal(y, np.asarray(line.get_ydata(), dtype=float))
        heat = [t for t in traces if t["type"] == "heatmap" and "customdata" in t]
        meshes = [m for m in axes.collections if isinstance(m, QuadMesh)]
        numbers = [m for m in meshes if m.get_cmap().name in ("viridis", "around")]
        assert len(heat) == len(numbers)
        for trace, mesh in zip(heat, numbers, strict=True):
            values = np.array(
                [[np.nan if v is None else v for v in row] for row in trace["customdata"]]
            )
            array = np.ma.filled(np.ma.asarray(mesh.get_array()).astype(float), np.nan)
            np.testing.assert_allclose(values, array.reshape(values.shape))
            logs = np.array([[np.nan if v is None else v for v in row] for row in trace["z"]])
            np.testing.assert_allclose(10**logs, values)
    plotly = pytest.importorskip("plotly.graph_objects", reason="plotly is not installed")
    assert len(plotly.Figure(found).data) == len(found["data"])


def test_curves_have_no_panel_for_what_was_left_out_and_steps_for_an_optimiser():
    runs = dataset().sel(weight_decay=DECAYS[:1])
    names = [panel.name for panel in describe.curves(runs, "init_scale").panels]
    assert names == ["accuracy", "loss", "norm", "kernel"]
    left = runs.drop_vars(["param_norm", "cosine_to_kernel", "train_loss", "test_loss"])
    (panel,) = describe.curves(left, "init_scale").panels
    assert panel.name == "accuracy"
    assert panel.second is None
    dynamics = '\n[dynamics]\nkind = "GradientDescent"\nlearning_rate = 0.05\n'
    (panel,) = describe.curves(left.assign_attrs(experiment=TEXT + dynamics), "init_scale").panels
    assert panel.second is not None
    assert panel.second.label == "step"
    assert panel.second.of_first(np.ones(1)) == pytest.approx(20.0)


def test_the_interval_of_a_boundary_mixes_no_colours():
    panel = with_map(3, False).panels[0]
    assert not panel.bands
    edges = [curve for curve in panel.curves if curve.name.startswith("range of the bound")]
    line = boundary(dataset())
    for curve, end in zip(edges, ("low", "high"), strict=True):
        np.testing.assert_array_equal(curve.x, line[end])
        assert curve.style.opacity == 1


def test_one_seed_has_no_range():
    runs = dataset().sel(seed=[0.0])
    decay = runs.sel(weight_decay=DECAYS[:1])
    found = [
        describe.map(phase_diagram(runs), boundary(runs), "ratio"),
        describe.scores(decay, "init_scale"),
    ]
    for figure in found:
        bands = [band.name for panel in figure.panels for band in panel.bands]
        curves = [curve.name for panel in figure.panels for curve in panel.curves]
        words = [*bands, *curves, *(entry.label for entry in figure.key), figure.caption]
        assert not [text for text in words if re.search(r"range|10 to 90", text)], words


def test_captions_name_what_is_in_the_record():
    one = optimisers().sel(seed=[0])
    several, single = describe.rates(optimisers()).caption, describe.rates(one).caption
    # The runs of the flow have no mark.
    assert "10 runs, each with a mark for its outcome, and medians over seeds" in several
    assert "5 runs, each with a mark for its outcome, joined by lines." in single
    assert "at the bottom" in single
    assert "at the bottom" not in describe.rates(one.isel(dynamics=[0, 1, 2])).caption

    runs = dataset()
    between: Any = (("immediate", "gradual"), ("grokked", "misgrokked"))
    for data, first, last in [
        (runs, "Most frequent outcome, median delay", "the thin lines its range over seeds."),
        (runs.sel(seed=[0]), "Outcome, delay", "between immediate and grokked."),
    ]:
        line = boundary(data, between=between)
        figure = describe.map(phase_diagram(data), line, "ratio")
        assert figure.caption.startswith(first)
        assert f"is the boundary between immediate and grokked{',' if data is runs else '.'}" in (
            figure.caption
        )
        assert last in figure.caption
        assert not re.search("gradual|misgrokked", " ".join(e.label for e in figure.key))
    other = runs.rename(seed="task.n")
    figure = describe.map(phase_diagram(other), boundary(other), "ratio")
    assert "range over values of training samples P" in figure.caption


def test_cells_say_their_runs_when_hovered():
    found = lr.plot.plotly(with_map(3, False))
    cells = [t for t in found["data"] if t["type"] == "heatmap" and t["yaxis"] == "y"]
    texts = {text for trace in cells for row in trace["text"] for text in row}
    assert texts == {"2 grokked", "2 immediate", "1 immediate, 1 grokked"}


def test_a_colour_bar_is_beside_its_panel():
    found = lr.plot.plotly(with_map(3, False))
    layout, bars = found["layout"], [trace for trace in found["data"] if "colorbar" in trace]
    assert len(bars) >= 2
    for trace in bars:
        bar = trace["colorbar"]
        side = layout["yaxis" + trace["yaxis"][1:]]["domain"]
        ends = [bar["y"] - bar["len"] / 2, bar["y"] + bar["len"] / 2]
        assert ends == pytest.approx(side)
        assert bar["x"] == layout["xaxis" + trace["xaxis"][1:]]["domain"][1]


def test_hatches_cover_the_cells_of_their_outcome():
    runs = dataset()
    outcome = runs["outcome"].copy(deep=True)
    # An L of four cells: neighbours in a row are one rectangle, those in a column are not.
    outcome.loc[{"init_scale": SCALES[:3], "weight_decay": DECAYS[0]}] = "unchanged"
    outcome.loc[{"init_scale": SCALES[0], "weight_decay": DECAYS[1]}] = "unchanged"
    found = lr.plot.plotly(describe.map(phase_diagram(runs.assign(outcome=outcome))))
    cells, hatch = (t for t in found["data"] if t["name"] == "unchanged" and t["yaxis"] == "y")
    assert cells["meta"]["hatch"] == hatch["fillpattern"]
    assert hatch["fillpattern"]["shape"] == "/"
    corners = {(x, y) for x, y in zip(hatch["x"], hatch["y"], strict=True) if x is not None}
    x, y = cells["x"], cells["y"]
    assert corners == {(x[i], y[j]) for i in (0, 3) for j in (0, 1)} | {
        (x[i], y[j]) for i in (0, 1) for j in (1, 2)
    }
    assert hatch["x"].count(None) == 2
    assert not [t for t in found["data"] if t["name"] == "grokked" and "fillpattern" in t]


def test_long_log_axes_label_powers_of_ten_only():
    checked = 0
    for name in ("curves", "map"):
        for axis in lr.plot.plotly(FIGURES[name](1))["layout"].values():
            if not isinstance(axis, dict) or axis.get("type") != "log":
                continue
            span = axis["range"][1] - axis["range"][0]
            # Plotly labels digits between powers where labels are closer than 0.7 decades.
            if span >= 1.5:
                checked += 1
                assert span / axis["nticks"] > 0.7
                assert axis["nticks"] >= 2
    assert checked >= 3


@pytest.mark.parametrize(
    ("values", "labels"),
    [
        ([3.0, 10.0, 30.0, 100.0], ["3", "10", "30", "100"]),
        ([1e-4, 3e-4, 1e-3], ["0.0001", "0.0003", "0.001"]),
        ([1e-5, 3e-4, 0.1], ["10⁻⁵", "3×10⁻⁴", "0.1"]),
        ([100, 200, 300], ["100", "200", "300"]),
        ([7.0], ["7"]),
    ],
)
def test_a_map_labels_each_of_few_values(values, labels):
    runs = dataset().isel(init_scale=slice(len(values))).assign_coords(init_scale=values)
    figure = describe.map(phase_diagram(runs), panels=["outcome"])
    axis = lr.plot.plotly(figure)["layout"]["xaxis"]
    assert (axis["tickvals"], axis["ticktext"]) == (values, labels)
    drawn = lr.plot.draw(figure, figsize=(14.0, 5.0))
    drawn.draw_without_rendering()
    shown = drawn.axes[0].xaxis
    assert [text.get_text() for text in shown.get_ticklabels()] == labels
    np.testing.assert_allclose(shown.get_majorticklocs(), values)


def test_a_map_without_room_for_all_values_labels_round_numbers():
    close = np.geomspace(1.0, 1000.0, 13)
    runs = xr.concat([dataset().isel(init_scale=0, drop=True)] * 13, "init_scale")
    runs = runs.assign_coords(init_scale=close)
    figure = describe.map(phase_diagram(runs), panels=["outcome"])
    assert "tickvals" not in lr.plot.plotly(figure)["layout"]["xaxis"]
    drawn = lr.plot.draw(figure)
    drawn.draw_without_rendering()
    labels = [text.get_text() for text in drawn.axes[0].xaxis.get_ticklabels()]
    assert set(labels) <= {"1", "10", "100", "1000"}
    assert len(labels) >= 2


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.0, "0"), (0.02, "0.02"), (-1.5, "−1.5"), (2 / 3, "0.6667"), (5000.0, "5000"),
     (1e4, "10⁴"), (99999.9, "10⁵"), (3e-4, "3×10⁻⁴"), (-2.5e6, "−2.5×10⁶"),
     (9999.9, "10⁴"), (-123456.0, "−1.235×10⁵")],
)  # fmt: skip
def test_numbers_as_labels(value, text):
    assert number_text(value) == text


def test_axes_of_maps_write_numbers_as_other_axes_do():
    for values, texts in (
        ([-0.5, 0.0, 0.5], ["−0.5", "0", "0.5"]),
        ([1e-4, 9999.0], ["0.0001", "9999"]),
        ([-1e-5, 9999.9], ["−1×10⁻⁵", "10⁴"]),
    ):
        axis = Scale("key", np.array(values), "place").axis()
        assert [place.label for place in axis.places] == texts


def test_labels_between_powers_of_ten_have_the_power_of_their_own_number():
    found = ticks(1.5e4, 4e5, "log")
    assert found.labels == ("2×10⁴", "5×10⁴", "10⁵", "2×10⁵")

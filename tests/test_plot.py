"""Figures: what is drawn can be read, and both libraries draw the same numbers."""

import io
import itertools
import json
from typing import Any

import matplotlib
import numpy as np
import pytest
import xarray as xr
from matplotlib.figure import Figure as MatplotlibFigure
from matplotlib.text import Text

import lazyrich as lr
from lazyrich.plot import describe, description
from lazyrich.plot.describe._captions import powers
from lazyrich.plot.description.style import luminance, overlaid, sequence

WIDTHS = ("single", "double")


def step(times, at, sharpness=4.0):
    """A curve from 0 to 1 whose half is at a time, in log time."""
    ratio = (times / at) ** sharpness
    return ratio / (1 + ratio)


def run_of(t_fit=1.0, t50=1e4, t1=1e5, first=1e-2, name="own", num=160, **more: Any) -> xr.Dataset:
    """A record of a classification that groks: fitted at `t_fit`, half of the change at `t50`."""
    times = np.concatenate([[0.0], np.geomspace(first, t1, num)])
    late = step(times, t50)
    curves = {
        "train_accuracy": 0.5 + 0.5 * step(times, t_fit),
        "test_accuracy": 0.5 + 0.48 * late,
        "train_loss": 0.7 / (1 + times / t_fit) ** 1.5 + 1e-3 * late,
        "test_loss": 0.7 - 0.6 * late,
        "param_norm": 100 - 95 * late,
        **more,
    }
    own = {key: key for key in curves if key not in lr.records.VARIABLES}
    return lr.record(times, curves, name=name, long_names=own, weight_decay=1e-3, init_scale=100.0,
                     scales={"test_chance": 0.5})  # fmt: skip


def with_predictors(record: xr.Dataset) -> xr.Dataset:
    rows = ("kernel", "rich")
    columns: dict[str, Any] = {
        "predictor_label": ["L2 max margin", "L1 max margin"],
        "predictor_test_accuracy": [0.51, 0.99],
        "predictor_status": ["optimal", "optimal"],
    }
    return record.assign_coords(predictor=list(rows)).assign(
        {key: ("predictor", values) for key, values in columns.items()}
    )


def every_part() -> tuple[xr.Dataset, dict[str, Any], dict[str, np.ndarray]]:
    """A record with predictors, a forecast's summary and published curves."""
    said = {"t_kernel_end": 5e3, "t50": 1.1e4, "t50_interval": [8e3, 1.5e4], "verdict": "grok"}
    circles = {"test_accuracy": np.array([[10.0, 3e3, 3e4], [0.5, 0.52, 0.97]])}
    return with_predictors(run_of()), said, circles


def labelled(side) -> list[str]:
    """The labels of an axis that are seen."""
    low, high = sorted(side.get_view_interval())
    ticks = [tick for tick in side.get_major_ticks() if low <= tick.get_loc() <= high]
    labels = [tick.label1 for tick in ticks if tick.label1.get_visible()]
    return [label.get_text() for label in labels if label.get_text()]


RANGES = [
    (0.0, 1.0), (-1.0, 0.0), (0.5, 1.0), (-0.5, -0.1), (-800.0, 0.3), (0.0, 3e-7), (1.0, 1.0003),
    (1e6, 5e7), (2e4, 2.1e4), (1e-8, 1.0), (3.0, 4.0), (0.9, 1.1), (0.11, 0.19), (1e-300, 1e-1),
    (1.5, 90.0), (7.0, 13.0), (1e-3, 2e-3), (0.02, 0.9), (95.0, 1050.0),
]  # fmt: skip


@pytest.mark.parametrize("most", [2, 4, 7])
@pytest.mark.parametrize("scale", ["linear", "log"])
@pytest.mark.parametrize(("low", "high"), RANGES)
def test_every_axis_has_two_labels_or_more(low, high, scale, most):
    if scale == "log" and low <= 0:
        low, high = 1e-3 * high if high > 0 else 1e-3, max(high, 1.0)
    found = description.ticks(low, high, scale, most)
    assert 2 <= len(found.major) <= most + 1
    slack = 1e-6 * (high - low)
    assert all(low - slack <= at <= high + slack for at in (*found.major, *found.minor))
    assert len(set(found.labels)) == len(found.major)
    # A label is the number at which it stands.
    table = str.maketrans("⁻⁰¹²³⁴⁵⁶⁷⁸⁹−", "-0123456789-")
    for at, label in zip(found.major, found.labels, strict=True):
        factor, power = label, ""
        if set(label) & set("⁰¹²³⁴⁵⁶⁷⁸⁹"):
            factor, _, power = label.rpartition("10")
        value = float(factor.rstrip("×").translate(table) or 1)
        value *= 10.0 ** int(power.translate(table) or 0)
        assert value == pytest.approx(at, rel=1e-5, abs=1e-9 * (high - low))
    assert not set(found.major) & set(found.minor)
    if scale == "log" and most > 2 and 100 <= high / low <= 1e3:
        assert len(found.minor) >= 8


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"t_fit": 1e-3, "t50": 8e3, "t1": 1e4, "first": 1e-5},
        {"t_fit": 20.0, "t50": 60.0, "t1": 90.0, "first": 10.0},
        {"param_norm": np.full(161, 3.0)},
        {"train_log_loss": np.linspace(0.0, -2.3, 161)},
        {"train_log_loss": np.linspace(0.0, -2000.0, 161)},
        {"normalised_margin": np.linspace(-1.0, 1e-3, 161)},
    ],
    ids=lambda c: next(iter(c), "usual"),
)
@pytest.mark.parametrize("time", ["log", "both"])
def test_axes_of_a_run_have_labels_and_every_panel_has_a_curve(changes, time):
    figure = lr.plot.run(run_of(**changes), time=time, width="single")
    figure.draw_without_rendering()
    num_panels = 4 if "normalised_margin" in changes else 3
    assert len(figure.axes) == num_panels * (2 if time == "both" else 1)
    for axes in figure.axes:
        # Panels that share an axis show its labels once.
        assert len(labelled(axes.yaxis)) >= (2 if axes.get_ylabel() else 0)
        assert len(labelled(axes.xaxis)) >= (2 if axes.get_xlabel() else 0)
        box = axes.get_window_extent()
        for line in axes.get_lines():
            at = axes.transData.transform(np.asarray(line.get_xydata(), dtype=float))
            if box.padded(1).count_contains(at[np.isfinite(at).all(axis=1)]) > 2:
                break
        else:
            pytest.fail(f"no curve in {axes.get_ylabel()}")


def test_quantities_that_were_left_out_have_no_panel():
    record = run_of().drop_vars(["param_norm", "train_loss", "test_loss"])
    (panel,) = describe.run(record).panels
    assert panel.name == "score"
    nothing = record["time"] * np.nan
    assert len(describe.run(record.assign(param_norm=nothing)).panels) == 1
    with pytest.raises(lr.InputError, match=r"panels = 'norm': was not recorded; accepted are"):
        lr.plot.run(record, panels=["norm"])
    with pytest.raises(lr.InputError, match="should have losses, accuracies or norms"):
        lr.plot.run(record.drop_vars(list(record.data_vars)))


def texts_of(figure):
    """Texts and legends of a figure that are not labels of ticks."""
    renderer = figure._get_renderer()
    found = []
    for axes in figure.axes:
        found += [t for t in (*axes.texts, axes.title) if t.get_text()]
        assert axes.get_legend() is None
    # Without the lines that lead from labels to curves.
    boxes = [(t.get_text(), Text.get_window_extent(t, renderer)) for t in found]
    return boxes + [("key", legend.get_window_extent(renderer)) for legend in figure.legends]


@pytest.mark.parametrize("width", WIDTHS)
def test_no_text_covers_a_curve_or_another_text(width):
    record, said, circles = every_part()
    figure = lr.plot.run(record, said, curves=circles, width=width)
    figure.canvas.draw()
    boxes = texts_of(figure)
    assert {"train", "test", "rich:\nL1 max margin", "kernel plateau", "key"} <= {
        t for t, _ in boxes
    }
    for (one, a), (other, b) in itertools.combinations(boxes, 2):
        assert not a.padded(-0.5).overlaps(b.padded(-0.5)), (one, other)
    for axes in figure.axes:
        inside = axes.get_window_extent()
        for line in axes.get_lines():
            at = line.get_transform().transform(np.asarray(line.get_xydata(), dtype=float))
            at = at[np.isfinite(at).all(axis=1)]
            # Also between the points of the curve.
            fine = np.linspace(0, len(at) - 1, 40 * len(at))
            at = np.stack([np.interp(fine, np.arange(len(at)), column) for column in at.T], axis=1)
            at = at[[bool(inside.contains(*point)) for point in at]]
            for text, box in boxes:
                assert not box.count_contains(at), (text, line.get_label())
    page = figure.bbox
    for text, box in boxes:
        assert page.x0 - 1 <= box.x0, text
        assert box.x1 <= page.x1 + 1, text


def test_labels_are_moved_apart_as_little_as_possible():
    from lazyrich.plot._matplotlib.labels import spread

    np.testing.assert_allclose(spread(np.array([1.0, 9.0]), np.ones(2), 0.0, 10.0), [1.0, 9.0])
    np.testing.assert_allclose(spread(np.array([5.0, 5.0]), np.ones(2), 0.0, 10.0), [4.5, 5.5])
    np.testing.assert_allclose(spread(np.array([0.0, 0.1]), np.ones(2), 0.0, 10.0), [0.5, 1.5])
    np.testing.assert_allclose(
        spread(np.array([9.9, 2.0, 9.8]), np.ones(3), 0.0, 10.0), [9.5, 2.0, 8.5]
    )
    rng = np.random.default_rng(0)
    for _ in range(30):
        wanted, sizes = rng.uniform(0, 10, 6), rng.uniform(0.1, 1.5, 6)
        found = spread(wanted, sizes, 0.0, 10.0)
        order = np.argsort(wanted, kind="stable")
        assert (np.diff(found[order]) >= (sizes[order][1:] + sizes[order][:-1]) / 2 - 1e-9).all()
        assert ((found - sizes / 2 >= -1e-9) & (found + sizes / 2 <= 10 + 1e-9)).all()


@pytest.mark.parametrize("scale", ["log", "linear"])
@pytest.mark.parametrize(
    ("t_fit", "t50", "t1", "first"),
    [
        (1.0, 1e4, 1e5, 1e-2),
        (1e-3, 9e3, 3e4, 1e-6),
        (5.0, 800.0, 1e6, 1.0),
        (1.0, 1e4, 3e4, 0.1),
    ],
)
def test_a_transition_is_not_at_the_edge_of_the_axis(t_fit, t50, t1, first, scale):
    record = run_of(t_fit, t50, t1, first)
    events = lr.transition(record)
    assert events.outcome == "grokked"
    axis = describe.run(record, time=scale).panels[0].x
    ends = np.array([axis.low, axis.high, events.t10, events.t90])
    low, high, begin, end = np.log(ends) if scale == "log" else ends
    assert (end - low) / (high - low) < 0.9
    if scale == "linear":
        assert (end - begin) / (high - low) > 0.05
    assert axis.low < events.t_train


def test_phases_are_those_of_the_transition():
    record = run_of()
    events = lr.transition(record)
    panel = describe.run(record).panels[0]
    found = {span.name: (span.low, span.high) for span in panel.spans}
    assert list(found) == ["fit", "kernel plateau", "transition", "rich"]
    assert found["fit"][1] == found["kernel plateau"][0] == events.t_train
    assert found["transition"] == (events.t10, events.t90)
    # Without a change there is no transition.
    flat = record.assign(test_accuracy=0 * record["test_accuracy"] + 0.5)
    names = [span.name for span in describe.run(flat).panels[0].spans]
    assert names == ["fit", "after the fit"]


@pytest.mark.slow
def test_files_have_the_size_of_a_column_and_embedded_fonts():
    record, said, circles = every_part()
    widths: dict[Any, float] = {"single": 3.4, "double": 7.0}
    for width, inches in widths.items():
        figure = lr.plot.run(record, said, curves=circles, width=width)
        assert figure.get_size_inches()[0] == inches
        assert figure.get_size_inches()[1] < 9.0
        files = {suffix: io.BytesIO() for suffix in ("pdf", "png")}
        for suffix, file in files.items():
            figure.savefig(file, format=suffix)
        # The whole font as TrueType: no Type 3, and none that is only named.
        content = files["pdf"].getvalue()
        assert b"/FontFile2" in content
        assert b"/Type3" not in content
        assert content.count(b"/FontDescriptor") >= content.count(b"/Subtype /TrueType")
        pixels = int.from_bytes(files["png"].getvalue()[16:20], "big")
        assert pixels == pytest.approx(300 * inches, abs=1)
    assert lr.plot.run(record, figsize=(5.0, 4.0)).get_size_inches().tolist() == [5.0, 4.0]
    with pytest.raises(lr.InputError, match=r"width = 'wide': should be one of single, double"):
        lr.plot.run(record, width="wide")  # type: ignore[call-overload]


def test_fonts_of_the_user_that_lack_a_letter_are_helped_out():
    # Computer Modern has no ‖ and no exponents. A missing letter is a warning, which is an error.
    with matplotlib.rc_context({"font.family": ["cmss10"]}):
        figure = lr.plot.run(run_of(), panels=["norm"])
        figure.canvas.draw()
    assert figure.axes[0].yaxis.label.get_fontfamily() == ["cmss10", "DejaVu Sans"]
    assert matplotlib.rcParams["font.family"] == ["sans-serif"]


def styles(panel) -> list[description.Style]:
    drawn = [*panel.curves, *panel.lines]
    return list(dict.fromkeys(element.style for element in drawn))


def differ_in_grey(one: description.Style, other: description.Style) -> bool:
    shape = (one.dash, one.marker, one.width > 2) != (other.dash, other.marker, other.width > 2)
    return shape or abs(luminance(one.colour) - luminance(other.colour)) > 0.1


def test_what_differs_by_colour_differs_in_grey():
    record, said, circles = every_part()
    for panel in describe.run(record, said, curves=circles).panels:
        for one, other in itertools.combinations(styles(panel), 2):
            published = {one.dash, other.dash} == {"none"}
            assert differ_in_grey(one, other) or published, (panel.name, one, other)
    several = {name: run_of(t50=t50) for name, t50 in (("a", 1e3), ("b", 1e4), ("c", 3e4))}
    for panel in describe.run(several).panels:
        for one, other in itertools.combinations(styles(panel), 2):
            assert differ_in_grey(one, other), (panel.name, one, other)
    assert len({overlaid(i) for i in range(40)}) == 40
    lights = [luminance(sequence(f)) for f in np.linspace(0, 1, 20)]
    assert (np.diff(lights) > 0).all()
    # Train and test data differ in dash and in lightness.
    train, test = styles(describe.run(run_of()).panels[0])[:2]
    assert train.dash != test.dash
    assert abs(luminance(train.colour) - luminance(test.colour)) > 0.1


def test_every_shade_and_line_is_named_beside_it_or_in_the_key():
    record, said, circles = every_part()
    figure = describe.run(record, said, curves=circles)
    first = figure.panels[0]
    key = {entry.label for entry in figure.key}
    for span in first.spans:
        assert span.label or span.name in key, span
    for line in first.lines:
        assert line.label or line.name in key, line
    for curve in first.curves:
        assert curve.label or {"published"} & {curve.group} & key, curve.name
    drawn = lr.plot.draw(figure)
    assert {text.get_text() for text in drawn.legends[0].get_texts()} == key


def test_the_key_names_nothing_that_is_out_of_range():
    late = {"t_kernel_end": 1e9, "t50": 2e9, "t50_interval": [1e9, 4e9], "verdict": "grok"}
    circles = {"test_accuracy": np.array([[1e-9], [0.5]])}
    figure = describe.run(run_of(), late, curves=circles)
    assert not figure.key
    assert "circles" not in figure.caption
    assert "green" not in figure.caption
    assert {line.along for panel in figure.panels for line in panel.lines} <= {"x"}


def test_a_caption_says_what_happened_and_what_is_shown(tmp_path):
    record, said, circles = every_part()
    events = lr.transition(record)
    figure = lr.plot.run(record, said, curves=circles)
    assert "own fitted its training data first and generalised much later" in figure.caption
    assert events.t_change == pytest.approx(1e4, rel=0.05)
    assert "half of the change at t = 10,000" in figure.caption
    for word in ("accuracy", "loss", "parameter norm", "circles are published", "green is the"):
        assert word in figure.caption
    assert figure.caption.count(". ") <= 2
    assert "circles" not in lr.plot.run(record).caption


def test_several_runs_have_a_colour_each_and_their_names_beside_them():
    runs = [run_of(t50=1e3, name="one"), run_of(t50=2e4, name="two")]
    figure = describe.run(runs)
    labels = [curve.label for curve in figure.panels[0].curves if curve.label]
    assert labels == ["one", "two"]
    colours = {curve.name: curve.style.colour for curve in figure.panels[0].curves}
    assert colours["one, train"] == colours["one, test"] != colours["two, test"]
    assert not figure.panels[0].spans
    named = describe.run({"a": runs[0], "true labels": runs[1]}, panels=["score"])
    assert named.caption.startswith("a fitted its training data")
    assert "Run “true labels” fitted its training data" in named.caption
    named = describe.run({"a": runs[0], "b": runs[1]}, panels=["score"])
    assert [curve.label for curve in named.panels[0].curves if curve.label] == ["a", "b"]
    assert [c.label for c in describe.run([runs[0]] * 2).panels[0].curves if c.label] == [
        "one (1)", "one (2)"
    ]  # fmt: skip
    with pytest.raises(lr.InputError, match=r"forecast = 2: should belong to a single record"):
        lr.plot.run(runs, {})
    with pytest.raises(lr.InputError, match="should be one record or more"):
        lr.plot.run([])


def test_time_can_be_linear_or_both():
    record = run_of()
    both = lr.plot.run(record, time="both", panels=["score", "loss"])
    assert [axes.get_xscale() for axes in both.axes] == ["linear", "log"] * 2
    assert both.axes[0].get_shared_y_axes().joined(both.axes[0], both.axes[1])
    # A linear axis begins at time 0.
    assert lr.plot.run(record, time="linear").axes[0].get_xlim()[0] == 0
    with pytest.raises(lr.InputError, match=r"time = 'sqrt': should be one of log, linear, both"):
        lr.plot.run(record, time="sqrt")  # type: ignore[call-overload]


def test_own_axes_own_panels_and_own_curves():
    record = run_of(sharpness=np.geomspace(1.0, 1e4, 161))
    own = MatplotlibFigure()
    axes = own.subplots(1, 2)
    assert lr.plot.run(record, panels=["loss", "sharpness"], ax=axes.tolist()) is own
    assert [one.get_yscale() for one in axes] == ["log", "log"]
    assert axes[1].get_ylabel() == "sharpness"
    assert lr.plot.run(record, panels=["score"], ax=own.subplots()) is own
    message = r"ax = '1 axes': should be one for each panel \(score, loss\); choose panels"
    with pytest.raises(lr.InputError, match=message):
        lr.plot.run(record, panels=["score", "loss"], ax=own.subplots())


def test_steps_of_a_schedule_are_where_the_record_has_them():
    # The learning rate falls from 1 to 0.1 at step 100.
    steps = np.array([0, 1, 10, 50, 100, 200, 300])
    times = np.minimum(steps, 100) + 0.1 * np.maximum(steps - 100, 0)
    curves = {name: np.linspace(1.0, 0.5, len(steps)) for name in ("train_loss", "test_loss")}
    record = lr.record(times, curves).assign_coords(step=("time", steps))
    figure = lr.plot.run(record, time="linear")
    figure.draw_without_rendering()
    axis: Any = figure.axes[-1]
    (second,) = axis.child_axes
    for time, step in ((10.0, 10.0), (105.0, 150.0), (120.0, 300.0)):
        place = axis.transData.transform((time, 0.0))
        assert second.transData.inverted().transform(place)[0] == pytest.approx(step)


def test_a_discrete_optimiser_has_its_steps_on_a_second_axis():
    experiment = lr.studies.load("lyu2024/1a").with_changes(
        {"dynamics": {"kind": "GradientDescent", "learning_rate": 0.05}}
    )
    record = run_of().assign_attrs(experiment=experiment.to_toml())
    figure = lr.plot.run(record, width="single")
    figure.draw_without_rendering()
    (second,) = figure.axes[-1].child_axes
    assert second.get_xlabel() == "step"
    np.testing.assert_allclose(second.get_xlim(), np.array(figure.axes[-1].get_xlim()) / 0.05)
    assert len(labelled(second.xaxis)) >= 2
    assert not lr.plot.run(run_of()).axes[-1].child_axes


def numbers(values) -> list[float]:
    return [np.nan if v is None else v for v in values]


def test_plotly_and_matplotlib_draw_the_same_numbers():
    record, said, circles = every_part()
    figure = describe.run(record, said, curves=circles)
    drawn = lr.plot.draw(figure)
    found = json.loads(json.dumps(lr.plot.plotly(figure), allow_nan=False))
    for place, axes in enumerate(drawn.axes):
        name = f"y{place + 1}" if place else "y"
        traces = [t for t in found["data"] if t["yaxis"] == name and "showlegend" in t]
        curves = {t["name"]: t for t in traces}
        lines = [k for k in axes.get_lines() if len(np.asarray(k.get_xdata())) > 2]
        assert lines
        for line in lines:
            trace = curves[str(line.get_label())]
            np.testing.assert_array_equal(numbers(trace["x"]), line.get_xdata())
            np.testing.assert_array_equal(numbers(trace["y"]), line.get_ydata())
            assert trace["line"]["color"] == line.get_color()
        layout = found["layout"][f"yaxis{place + 1}" if place else "yaxis"]
        ends = np.array(layout["range"])
        shown = 10**ends if layout["type"] == "log" else ends
        np.testing.assert_allclose(shown, axes.get_ylim())
        assert layout["title"]["text"] == axes.get_ylabel()
    assert found["layout"]["meta"]["caption"] == drawn.caption
    names = [trace["name"] for trace in found["data"]]
    assert {"rich: L1 max margin", "half of the change, forecast (grok)"} <= set(names)
    shapes = [shape["name"] for shape in found["layout"]["shapes"]]
    assert {"kernel plateau", "transition", "interval of the half time, forecast"} <= set(shapes)
    dashes = {t["name"]: t["line"]["dash"] for t in found["data"] if t["yaxis"] == "y"}
    assert (dashes["train"], dashes["test"]) == ("dash", "solid")
    # An entry of the legend for each group.
    groups = [t["legendgroup"] for t in found["data"] if t["showlegend"]]
    assert len(groups) == len(set(groups))


def test_plotly_has_an_entry_for_each_of_several_runs():
    names = ["true labels", "labels, <random>"]
    found = lr.plot.plotly(describe.run({name: run_of() for name in names}))
    shown = [trace for trace in found["data"] if trace["showlegend"]]
    assert [trace["name"] for trace in shown] == ["true labels", "labels, &lt;random&gt;"]
    assert [trace["legendgroup"] for trace in shown] == names
    # Every curve of a run is hidden with its entry.
    curves = [trace for trace in found["data"] if trace["name"].endswith((", train", ", test"))]
    assert {trace["legendgroup"] for trace in curves} == set(names)
    assert "training data are dashed, test data solid" in found["layout"]["meta"]["caption"]


def test_plotly_reads_no_name_as_markup():
    hostile = "<a href='x'>$\\alpha$ & co</a>"
    found = lr.plot.plotly(describe.run(run_of(name=hostile)))
    assert found["layout"]["title"]["text"] == "&lt;a href='x'&gt;$\\alpha$ &amp; co&lt;/a&gt;"
    figure = lr.plot.run(run_of(name=hostile))
    figure.draw_without_rendering()
    assert figure.get_suptitle() == hostile


def test_plotly_accepts_its_figures():
    plotly = pytest.importorskip("plotly.graph_objects", reason="plotly is not installed")
    record, said, circles = every_part()
    for figure in (
        describe.run(record, said, curves=circles, time="both"),
        describe.run([record, record]),
    ):
        found = lr.plot.plotly(figure)
        assert len(plotly.Figure(found).data) == len(found["data"])


@pytest.mark.parametrize(
    ("text", "printed"),
    [
        ("t = 2.85e+03, bias of -0.022", "t = 2,850, bias of −0.022"),
        ("6.28e+05 times, 3e-4 and 1e-02", "6.28×10⁵ times, 3×10⁻⁴ and 1×10⁻²"),
        ("t = 1.55e+01, 2.5e+00 and 1.234567e+04", "t = 15.5, 2.5 and 12,345.67"),
        ("10^20, 1/eta^2 and not 1/eta^1.5", "10²⁰, 1/eta² and not 1/eta^1.5"),
        (
            "lyu2024/1a-null: --set x=-1, [-1, 0.1-0.3]",
            "lyu2024/1a-null: --set x=-1, [−1, 0.1-0.3]",
        ),
    ],
)
def test_numbers_of_a_text_are_as_in_print(text, printed):
    assert powers(text) == printed


def test_lists_of_numbers_have_no_comma_in_them():
    assert powers("medians 1.281e+04, 6660, 2e+05", commas=False) == "medians 12810, 6660, 2×10⁵"

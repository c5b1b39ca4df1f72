"""The figure of a forecast, and what a watcher hears of a forecast."""

from dataclasses import replace

import numpy as np
import pytest

import lazyrich as lr
from lazyrich.plot import describe

GROKS = lr.studies.load("forecast/sparse").with_changes(
    {"task.n": 24, "task.d": 200, "task.num_test": 200, "init_scale": 100.0}
)


@pytest.fixture(scope="module")
def groks() -> lr.Forecast:
    return lr.forecast(GROKS, passage="calibrated")


@pytest.mark.parametrize("scale", ["log", "linear"])
def test_the_figure_shows_the_kernel_flow_up_to_the_end_of_its_phase(groks, scale):
    figure = describe.forecast(groks, time=scale)
    assert [panel.name for panel in figure.panels] == ["accuracy", "loss", "movement"]
    (test,) = [curve for curve in figure.panels[1].curves if curve.name == "test, kernel flow"]
    held = (groks.times > 0) & (groks.times <= groks.t_kernel_end)
    np.testing.assert_array_equal(test.x, groks.times[held])
    np.testing.assert_array_equal(test.y, groks.curves["test_loss"][held])
    for panel in figure.panels:
        lines = {line.name: line.at for line in panel.lines if line.along == "y"}
        assert lines["kernel phase ends, forecast"] == groks.t_kernel_end
        assert lines["half of the change, forecast (grok)"] == groks.t50
        assert lines["(1/λ) log α, α = init_scale"] == groks.textbook
        (band,) = panel.spans
        assert (band.low, band.high) == groks.t50_interval
        assert panel.x.low < groks.t_fit < groks.t50_interval[1] < panel.x.high
        assert panel.x.scale == scale


def test_the_figure_shows_how_far_the_kernel_has_moved_and_the_late_score(groks):
    figure = describe.forecast(groks)
    kernel, _ = figure.panels[2].curves
    np.testing.assert_array_equal(kernel.y, groks.indicator[groks.times > 0])
    (late,) = [line for line in figure.panels[0].lines if line.group == "late"]
    assert late.at == groks.late["test_accuracy"]
    assert "grok (confidence" in figure.caption
    assert lr.plot.forecast(groks, width="single").caption == figure.caption


def test_a_forecast_without_a_change_has_no_line_for_it(groks):
    nothing = replace(
        groks, t50=np.nan, t50_interval=(np.nan, np.nan), t_kernel_end=np.nan, textbook=np.nan
    )
    figure = describe.forecast(nothing)
    assert not any(line.along == "y" for panel in figure.panels for line in panel.lines)
    assert not any(panel.spans for panel in figure.panels)
    with pytest.raises(lr.InputError, match="time = 'years'"):
        describe.forecast(groks, time="years")


def test_a_summary_with_its_curves_is_drawn_over_a_run_like_the_forecast(groks):
    record = lr.simulate(GROKS.with_changes({"t1": 100.0}))
    summary = groks.summary()
    own = {name: values.tolist() for name, values in groks.curves.items()}
    with_curves = {**summary, "times": groks.times.tolist(), "curves": own}
    wanted = _kernel_flows(describe.run(record, groks))
    assert len(wanted) == 4  # training and test data, accuracy and loss
    for ours, theirs in zip(_kernel_flows(describe.run(record, with_curves)), wanted, strict=True):
        np.testing.assert_array_equal(ours.x, theirs.x)
        np.testing.assert_array_equal(ours.y, theirs.y)
    assert not _kernel_flows(describe.run(record, summary))


def _kernel_flows(figure):
    return [c for panel in figure.panels for c in panel.curves if c.group == "kernel flow"]


def test_a_watcher_hears_the_calibrated_forecast_before_the_transition_is_solved(groks):
    heard: list[lr.Forecast] = []
    solved = lr.forecast(GROKS, passage="solved", watcher=heard.append)
    assert solved.num_steps > 0
    (first,) = heard
    assert (first.num_steps, first.t50) == (0, groks.t50)
    heard.clear()
    lr.forecast(GROKS, passage="calibrated", watcher=heard.append)
    assert not heard


def test_an_exception_of_a_watcher_ends_the_forecast():
    def stop(found: lr.Forecast) -> None:
        raise RuntimeError("enough")

    with pytest.raises(RuntimeError, match="enough"):
        lr.forecast(GROKS, passage="solved", watcher=stop)

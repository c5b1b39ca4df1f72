"""Records: their schema, and the door for curves that another program logged."""

import json
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

import lazyrich as lr
from lazyrich.records.schema import AXES
from tests.helpers import small_experiment

DOCS = Path(__file__).parent.parent / "docs"
PAIR = {"train_accuracy": [0.5, 1.0, 1.0], "test_accuracy": [0.5, 0.5, 1.0]}


@pytest.fixture(scope="module")
def ours():
    return lr.simulate(small_experiment(), keep_params=True)


@pytest.mark.slow
def test_what_a_run_records_is_in_the_schema(ours):
    known = {attribute.name for attribute in lr.records.ATTRIBUTES}
    assert set(ours.attrs) <= known
    assert {part.name for part in lr.records.ATTRIBUTES if part.always} <= set(ours.attrs)
    for name, variable in ours.variables.items():
        described = lr.records.VARIABLES[str(name)]
        assert variable.dims == described.dims
        if name != "predictor":
            assert described.labels.items() <= variable.attrs.items()
    assert {"time", "test_loss", "kkt_stationarity", "blank_loss", "final_parameters"} <= set(
        ours.variables
    )


def test_every_probe_says_what_it_measures():
    for name, probe in {**lr.probes.BUILT_IN, **lr.probes.ON_REQUEST}.items():
        described = lr.records.VARIABLES[name]
        assert described.dims == ("time", *probe.dims)
        assert (described.long_name, described.units) == (probe.long_name, probe.units)
        assert len(described.meaning) > 10, name
    # The clocks of experiments are axes that the schema knows.
    for clock in ("linear", "log"):
        long_name, units = small_experiment(
            model=lr.models.MLP(), dynamics=lr.dynamics.Flow(clock=clock)
        ).time_axis
        assert AXES[units].long_name == long_name


def test_the_page_on_records_names_everything_that_a_record_has():
    page = (DOCS / "reference" / "record.md").read_text()
    for name in (*lr.records.VARIABLES, *(part.name for part in lr.records.ATTRIBUTES)):
        assert f"`{name}`" in page, name


@pytest.mark.slow
def test_a_log_is_judged_as_the_run_itself(ours, tmp_path):
    # What a plain script would have written: steps and four columns, in a file of text.
    rate = 0.01
    names = ("train_loss", "test_loss", "train_accuracy", "test_accuracy")
    columns = np.stack([ours["time"].values / rate, *(ours[name].values for name in names)])
    np.savetxt(tmp_path / "log.txt", columns.T)
    read = np.loadtxt(tmp_path / "log.txt").T
    logged = lr.record(
        read[0],
        dict(zip(names, read[1:], strict=True)),
        time_per_step=rate,
        weight_decay=1e-3,
        scales={name: float(ours[name]) for name in ("blank_loss", "test_chance")},
    )
    bare = ours[["train_loss", "test_loss", "train_accuracy", "test_accuracy"]]
    mine, theirs = (
        lr.transition(bare.assign(ours[["blank_loss", "test_chance"]])),
        lr.transition(logged),
    )
    assert theirs.outcome == mine.outcome == lr.transition(ours).outcome == "grokked"
    for name, value in mine.numbers().items():
        np.testing.assert_allclose(theirs.numbers()[name], value, rtol=1e-9, err_msg=name)
    # The whole record knows the ceiling as well, which moves no time here.
    for name in ("t_train", "t_test", "t10", "t50", "t90", "delay_ratio"):
        assert theirs.numbers()[name] == pytest.approx(
            lr.transition(ours).numbers()[name], rel=1e-9
        )
    assert theirs.advice == mine.advice.replace("raise t1", "train for longer")


def test_a_log_has_figure_report_and_file(ours, tmp_path):
    steps = np.arange(1, 1001)
    test = np.where(steps < 600, 0.1, 0.97)
    train = np.where(steps < 20, 0.1, 1.0)
    logged = lr.record(
        steps,
        {"train_accuracy": train, "test_accuracy": test, "gradient": 1 / steps},
        unit="step",
        epochs=steps // 10,
        name="<script>alert(1)</script>",
        long_names={"gradient": "norm of the gradient"},
        thresholds=lr.Thresholds(test=0.96),
    )
    lr.save_record(logged, tmp_path / "log.nc")
    again = lr.open_record(tmp_path / "log.nc")
    xr.testing.assert_identical(again, logged)
    events = lr.transition(again)
    # Steps are interpolated: both thresholds lie just below what is there.
    assert events.outcome == "grokked"
    assert events.t_train == pytest.approx(20, rel=1e-3)
    assert events.t_test == pytest.approx(600, rel=1e-3)
    assert "fitted at step 20" in events.says
    assert np.isnan(events.t50_loss)
    assert np.isnan(lr.transition(again, lr.Thresholds(test=0.99)).t_test)
    summary = lr.summarise(again)
    assert summary["thresholds"]["test"] == 0.96
    assert (summary["delay_ratio"], summary["delay_difference"]) == (
        pytest.approx(events.t_change / events.t_train),
        pytest.approx(events.t_change - events.t_train),
    )
    assert summary["time"] == "steps of the optimiser"
    assert summary["solver"] is summary["textbook"] is summary["experiment_hash"] is None
    json.dumps(summary, allow_nan=False)
    figure = lr.plot.run(again)
    figure.draw_without_rendering()
    (axis,) = figure.axes
    assert axis.get_xlabel() == "step"
    (second,) = axis.child_axes
    assert second.get_xlabel() == "epoch"
    last = again["step"].values[-1] if "step" in again else again["time"].values[-1]
    np.testing.assert_allclose(second.get_xlim(), np.array(axis.get_xlim()) * 100 / last)
    lr.report(again, tmp_path / "log.html")
    page = (tmp_path / "log.html").read_text()
    assert "&lt;script&gt;" in page
    assert "<script>alert" not in page
    assert "another program" in page


def test_a_log_of_an_experiment_has_its_textbook_time(ours):
    experiment = small_experiment()
    curves = {name: ours[name].values for name in ("train_loss", "test_loss")}
    logged = lr.record(ours["time"].values, curves, experiment)
    assert lr.summarise(logged)["textbook"] == lr.summarise(ours)["textbook"]
    assert logged["time"].attrs == ours["time"].attrs
    # Without accuracies a classification is judged by the loss that is gone.
    assert lr.transition(logged).scored_by == "loss at time 0"


def test_percents_are_said():
    percents = {"train_accuracy": [50.0, 100.0, 100.0], "test_accuracy": [0.5, 1.0, 97.0]}
    with pytest.warns(UserWarning, match="largest value is 100, so they are read as percents"):
        logged = lr.record([1, 2, 3], percents)
    np.testing.assert_allclose(logged["test_accuracy"], [0.005, 0.01, 0.97])
    np.testing.assert_allclose(lr.record([1, 2, 3], PAIR)["test_accuracy"], [0.5, 0.5, 1.0])


@pytest.mark.parametrize(
    ("arguments", "fields", "message"),
    [
        (([1, 2], PAIR), {}, r"curves.train_accuracy = '3 values': should be 2, one for each time"),
        (([1, 3, 2], PAIR), {}, r"times\[2\] = 2.0: times should increase, .* before is 3"),
        (([1, 2, 2], PAIR), {}, r"times\[2\] = 2.0: times should increase"),
        (([1, np.nan, 2], PAIR), {}, r"times\[1\] = nan: should be finite"),
        (([-1, 0, 2], PAIR), {}, r"times\[0\] = -1.0: should not be negative"),
        (([], {}), {}, r"times = \[\]: should contain at least one time"),
        (([[1, 2]], PAIR), {}, r"times = 'shape \(1, 2\)': should be a series"),
        ((["a"], PAIR), {}, r"times = \['a'\]: should be a series of numbers"),
        (([1, 2, 3], {"test_acc": [0, 0, 0]}), {}, r"test_acc .*\(did you mean test_accuracy\?\)"),
        (([1, 2, 3], {"train_loss": [1, 1, 1]}), {}, r"should contain train_accuracy"),
        (
            ([1, 2, 3], PAIR | {"train_loss": [1, np.inf, 1]}),
            {},
            r"curves.train_loss\[1\] = inf: should be finite",
        ),
        (
            ([1, 2, 3], PAIR | {"test_accuracy": [0, 0, 101]}),
            {},
            r"curves.test_accuracy\[2\] = 101.0: should be between 0 and 1, or a percent",
        ),
        (
            ([1, 2, 3], PAIR | {"test_accuracy": [0, -0.5, 1]}),
            {},
            r"curves.test_accuracy\[1\] = -0.5: should be between",
        ),
        (([1, 2, 3], PAIR), {"unit": "steps"}, r"unit = 'steps': .*did you mean step\?"),
        (([1, 2, 3], PAIR), {"time_per_step": 0.0}, r"time_per_step = 0.0: should be positive"),
        (([1, 2, 3], PAIR), {"time_per_step": 1.0, "unit": "step"}, r"unit = 'step': .*left out"),
        (([1, 2, 3], PAIR), {"scales": {"chance": 0.1}}, r"did you mean test_chance\?"),
        (([1, 2, 3], PAIR), {"epochs": [1]}, r"epochs = '1 values': should be 3"),
        (([1, 2, 3], PAIR), {"long_names": {"lr": "rate"}}, r"long_names = 'lr'"),
        (
            ([1, 2, 3], PAIR, small_experiment()),
            {"weight_decay": 0.1},
            r"weight_decay = 0.1: should be left out: the experiment has one",
        ),
    ],
)
def test_what_is_wrong_with_a_log_is_one_line(arguments, fields, message):
    with pytest.raises(lr.InputError, match=message) as error:
        lr.record(*arguments, **fields)
    assert "\n" not in str(error.value)


def test_a_record_without_predictors_opens_again(tmp_path):
    record = lr.record([1, 2], {"train_loss": [1.0, 0.5], "test_loss": [1.0, 0.8]})
    record = record.assign_coords(predictor=np.array([], dtype="<U1"))
    lr.save_record(record, tmp_path / "record.nc")
    xr.testing.assert_identical(lr.open_record(tmp_path / "record.nc"), record)

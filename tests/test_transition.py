import numpy as np
import pytest
import xarray as xr

import lazyrich as lr

TIMES = np.concatenate([[0.0], np.geomspace(1e-2, 1e4, 601)])


def record(train, test, ending="completed", times=TIMES, **losses):
    values = {"train_accuracy": train, "test_accuracy": test}
    values |= {"train_loss": 1 - train, "test_loss": 1 - test} | losses
    return xr.Dataset(
        {name: ("time", np.asarray(value)) for name, value in values.items()},
        coords={"time": times},
        attrs={"ending": ending},
    )


def step(start, end, t50, width=0.1):
    """A logistic curve in log time, half-way at t50."""
    with np.errstate(divide="ignore"):
        log = np.log(TIMES)
    return start + (end - start) / (1 + np.exp(-(log - np.log(t50)) / width))


def test_grokking():
    events = lr.transition(record(step(0.5, 1, 0.1), step(0.5, 1, 300)))
    assert events.outcome == "grokked"
    # A logistic curve passes fraction q at t50 (q / (1 - q))^width.
    assert events.t50 == pytest.approx(300, rel=1e-3)
    assert events.t10 == pytest.approx(300 / 9**0.1, rel=1e-3)
    assert events.t90 == pytest.approx(300 * 9**0.1, rel=1e-3)
    assert events.t_train == pytest.approx(0.1 * 49**0.1, rel=1e-3)
    assert events.t_test == pytest.approx(300 * 9**0.1, rel=1e-3)
    assert events.t50_loss == pytest.approx(300, rel=1e-3)
    assert events.t50_sustained == pytest.approx(300, rel=1e-3)
    assert events.plateau[0] < events.plateau[1] < 30


def test_what_comes_in_the_last_record_has_not_come():
    late = np.where(TIMES[-2] <= TIMES, 1.0, 0.5)
    events = lr.transition(record(step(0.5, 1, 0.1), late))
    assert events.outcome == "unchanged"
    assert events.state == "moving"
    assert np.isnan(events.t_test)
    held = np.where(TIMES[-3] <= TIMES, 1.0, 0.5)
    assert lr.transition(record(step(0.5, 1, 0.1), held)).outcome == "grokked"


def test_signs_without_size_are_no_fit():
    # From a small start: right signs at once, the loss halved at 40, the test data at 200.
    signs = np.where(TIMES > 0, 1.0, 0.5)
    loss = step(1, 0, 40)
    events = lr.transition(record(signs, step(0.5, 1, 200), train_loss=loss))
    assert events.t_train == pytest.approx(40, rel=1e-3)
    assert events.outcome == "gradual"
    assert events.delay_ratio == pytest.approx(5, rel=1e-3)
    by_accuracy = lr.Thresholds(train_loss=0)
    assert (
        lr.transition(record(signs, step(0.5, 1, 200), train_loss=loss), by_accuracy).outcome
        == "grokked"
    )


def test_misgrokking():
    events = lr.transition(record(step(0.5, 1, 0.1), step(0.99, 0.55, 300)))
    assert events.outcome == "misgrokked"
    assert events.t50 == pytest.approx(300, rel=1e-3)
    assert events.t10 == pytest.approx(300 / 9**0.1, rel=1e-3)


@pytest.mark.parametrize(
    ("train", "test", "ending", "outcome"),
    [
        (step(0.5, 1, 1.0), step(0.5, 1, 2.0), "completed", "immediate"),
        (step(0.5, 1, 0.1), step(0.5, 1, 1e6), "completed", "unchanged"),
        (step(0.5, 1, 0.1), np.full(602, 0.5), "completed", "unchanged"),
        (step(0.5, 0.9, 0.1), step(0.5, 0.9, 300), "completed", "untrained"),
        (step(0.5, 1, 0.1), step(0.5, 1, 300), "diverged", "failed"),
        (step(0.5, 1, 0.1), step(0.5, 1, 300), "step_underflow", "failed"),
        (step(0.5, 1, 0.1) - step(0, 0.7, 1e3), step(0.5, 0.3, 1e3), "completed", "collapsed"),
    ],
)
def test_censored_outcomes(train, test, ending, outcome):
    events = lr.transition(record(train, test, ending))
    assert events.outcome == outcome


def test_what_did_not_happen_has_no_time():
    events = lr.transition(record(step(0.5, 1, 0.1), np.full(602, 0.5)))
    assert np.isnan([events.t_test, events.t10, events.t50, events.t90, events.t50_loss]).all()
    nothing = lr.transition(record(np.array([]), np.array([]), "diverged", np.array([])))
    assert nothing.outcome == "failed"
    assert np.isnan(nothing.t_train)


def test_a_spike_is_touched_but_not_sustained():
    test = step(0.5, 1, 300)
    test[np.searchsorted(TIMES, 10.0)] = 0.97
    events = lr.transition(record(step(0.5, 1, 0.1), test))
    assert events.t_test_first == pytest.approx(10, rel=0.05)
    assert events.t_test == pytest.approx(300 * 9**0.1, rel=1e-3)
    assert events.t50 == pytest.approx(10, rel=0.05)
    assert events.t50_sustained == pytest.approx(300, rel=1e-3)


def test_regression_is_scored_by_the_loss_that_is_gone():
    nan = np.full(602, np.nan)
    events = lr.transition(
        record(nan, nan, train_loss=4 * step(1, 0, 0.1), test_loss=4 * step(1, 0, 300))
    )
    assert events.outcome == "grokked"
    assert events.t50 == pytest.approx(300, rel=1e-3)


def test_a_threshold_on_the_loss_takes_the_place_of_scores():
    # Accuracies change at 0.1 and 300; losses pass 0.1 of their 4 at 2 and 50 times 39^0.1.
    losses = {"train_loss": step(4, 0, 2), "test_loss": step(4, 0, 50)}
    curves = record(step(0.5, 1, 0.1), step(0.5, 1, 300), **losses)
    events = lr.transition(curves, lr.Thresholds(loss=0.1))
    assert events.t_train == pytest.approx(2 * 39**0.1, rel=1e-3)
    assert events.t_test == events.t_test_first == pytest.approx(50 * 39**0.1, rel=1e-3)
    assert events.outcome == "grokked"
    assert events.t50 == pytest.approx(300, rel=1e-3)
    assert lr.transition(curves, lr.Thresholds(loss=0.1, delay=30)).outcome == "gradual"
    kept = record(step(0.5, 1, 0.1), step(0.5, 1, 300), **losses | {"test_loss": step(4, 0.2, 50)})
    events = lr.transition(kept, lr.Thresholds(loss=0.1))
    assert events.outcome == "improved"
    assert np.isnan(events.t_test)
    kept["train_loss"] = kept["test_loss"]
    assert lr.transition(kept, lr.Thresholds(loss=0.1)).outcome == "untrained"


def test_thresholds_mean_what_they_say():
    run = record(step(0.5, 1, 0.1), step(0.5, 0.9, 300))
    assert lr.transition(run).outcome == "grokked"
    assert lr.transition(run, lr.Thresholds(delay=1e5)).outcome == "gradual"
    assert lr.transition(run, lr.Thresholds(change=0.5)).outcome == "unchanged"
    assert lr.transition(run, lr.Thresholds(change=0.5, test=0.8)).outcome == "immediate"
    with pytest.raises(lr.InputError, match=r"^test = 1.5: should be less than or equal to 1"):
        lr.Thresholds(test=1.5)

import re

import numpy as np
import pytest
import xarray as xr

import lazyrich as lr
from lazyrich.cli.settings import thresholds_for
from lazyrich.records.reclassify import reclassify
from lazyrich.records.transition import (
    CHANGED,
    CODES,
    FORMER,
    LATER,
    MEANINGS,
    OUTCOMES,
    Change,
    Scales,
    advice_on,
    advice_on_ending,
    outcome_of,
    read_off,
    scales_of_numbers,
    scales_of_record,
    variables_of_numbers,
)

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


NONE = float("nan")


@pytest.mark.parametrize(
    ("plateau", "final", "t_change", "ceiling", "chance", "word"),
    [
        # The fit is at t = 1, so that t_change is the delay.
        (0.5, 1.0, 10.0, NONE, 0.5, "grokked"),
        (0.5, 1.0, 9.999, NONE, 0.5, "gradual"),
        (0.5, 1.0, 9.0, NONE, 0.5, "gradual"),  # a delay of nine is one
        (0.5, 1.0, 2.0, NONE, 0.5, "gradual"),
        (0.5, 1.0, 1.999, NONE, 0.5, "immediate"),
        # Nothing changed: by less than 0.1.
        (0.930, 0.951, NONE, NONE, 0.5, "immediate"),
        (0.930, 0.951, 300.0, 0.951, 0.5, "immediate"),
        (0.930, 0.949, NONE, 0.981, 0.5, "unchanged"),
        (0.930, 0.949, NONE, NONE, NONE, "unchanged"),
        # Where no ceiling is known, three quarters of the way from chance to the level.
        (0.930, 0.949, NONE, NONE, 0.5, "immediate"),
        (0.8376, 0.8376, NONE, NONE, 0.5, "immediate"),
        (0.8374, 0.8374, NONE, NONE, 0.5, "unchanged"),
        (0.7, 0.7124, NONE, NONE, 0.0, "unchanged"),
        (0.7, 0.7126, NONE, NONE, 0.0, "immediate"),
        (0.8376, 0.5, NONE, NONE, 0.5, "immediate"),
        (0.8374, 0.5, NONE, NONE, 0.5, "unchanged"),
        (0.955, 0.955, NONE, NONE, 0.96, "immediate"),
        (0.94, 0.94, NONE, NONE, 0.96, "unchanged"),
        (0.86, 0.9599, 300.0, NONE, 0.5, "immediate"),
        (0.85, 0.9501, 300.0, NONE, 0.5, "grokked"),
        # The ceiling of the rich predictor, and what is near to the level.
        (0.70, 0.80, 300.0, 0.80, 0.5, "grokked"),
        (0.70, 0.80, 300.0, NONE, 0.5, "improved"),
        (0.79, 0.945, 300.0, NONE, 0.5, "grokked"),
        (0.79, 0.80, NONE, 0.829, 0.5, "immediate"),
        (0.79, 0.80, NONE, 0.831, 0.5, "unchanged"),
        # A ceiling at chance is no achievement.
        (0.52, 0.52, NONE, 0.52, 0.5, "unchanged"),
        (0.52, 0.52, NONE, 0.599, 0.5, "unchanged"),
        # Half of the way from 0.5 to 0.95.
        (0.5, 0.7251, 300.0, NONE, 0.5, "grokked"),
        (0.5, 0.7249, 300.0, NONE, 0.5, "improved"),
        (0.5, 0.7251, 5.0, NONE, 0.5, "gradual"),
        (0.5, 0.7251, 1.5, NONE, 0.5, "gradual"),
        (0.5, 0.7249, 1.5, NONE, 0.5, "improved"),
        # For the worse.
        (0.999, 0.551, 300.0, 0.999, 0.5, "misgrokked"),
        (0.65, 0.5501, 300.0, NONE, 0.5, "unchanged"),
        (0.65, 0.5499, 300.0, NONE, 0.5, "misgrokked"),
        # Below chance all is alike.
        (-900.0, -0.1, 300.0, NONE, 0.0, "improved"),
        (-900.0, 0.095, 300.0, NONE, 0.0, "improved"),
        (-900.0, 0.99, 300.0, NONE, 0.0, "grokked"),
        (0.3, 0.5, 300.0, NONE, 0.5, "unchanged"),
        (0.3, 0.599, 300.0, NONE, 0.5, "unchanged"),
        (0.3, 0.601, 300.0, NONE, 0.5, "improved"),
        # Six samples of sixty, whose shares differ by less than 0.1 in floating point.
        (50 / 60, 56 / 60, 300.0, NONE, 0.5, "grokked"),
        (50 / 60, 56 / 60, 9.0, NONE, 0.5, "gradual"),
        (56 / 60, 50 / 60, 300.0, NONE, 0.5, "misgrokked"),
        (-0.1, -50.0, 300.0, NONE, 0.0, "unchanged"),
        (0.09, -50.0, 300.0, NONE, 0.0, "unchanged"),
        (0.11, -50.0, 300.0, NONE, 0.0, "misgrokked"),
        # A change that has not held has not come.
        (0.5, 1.0, NONE, NONE, 0.5, "unchanged"),
        (0.99, 0.5, NONE, NONE, 0.5, "immediate"),
        (0.8, 0.5, NONE, NONE, 0.5, "unchanged"),
    ],
)
def test_a_word_from_numbers(plateau, final, t_change, ceiling, chance, word):
    change = Change(plateau, final, 1.0, t_change, ceiling=ceiling, chance=chance)
    assert outcome_of(change, lr.Thresholds()) == word


def test_words_under_other_thresholds():
    change = Change(0.5, 0.9, 1.0, 5.0, chance=0.5)
    assert outcome_of(change, lr.Thresholds(delay=5)) == "grokked"
    quick = lr.Thresholds(immediate=6)
    assert outcome_of(change, quick) == "immediate"
    assert outcome_of(Change(0.5, 0.83, 1.0, 5.0, chance=0.5), quick) == "gradual"  # no good end
    assert outcome_of(Change(0.5, 0.83, 1.0, 5.0, ceiling=0.85, chance=0.5), quick) == "immediate"
    # A delay from 1.5 on is grokking, so below it is immediate.
    quick = lr.Thresholds(delay=1.5, test=0.9)
    assert outcome_of(Change(0.5, 0.9, 1.0, 1.6), quick) == "grokked"
    assert outcome_of(Change(0.5, 0.9, 1.0, 1.4), quick) == "immediate"
    assert outcome_of(change, lr.Thresholds(change=0.41)) == "immediate"
    assert outcome_of(Change(0.5, 0.83, 1.0, 5.0, chance=0.5), lr.Thresholds(change=0.41)) == (
        "unchanged"
    )
    by_loss = lr.Thresholds(loss=0.1)
    assert outcome_of(Change(0.9, 0.9, 1.0, reaches=False, chance=0.5), by_loss) == "unchanged"
    assert outcome_of(Change(0.5, 0.9, 1.0, 50.0, reaches=False), by_loss) == "improved"
    assert outcome_of(Change(0.5, 0.9, 1.0, 50.0, reaches=True), by_loss) == "grokked"
    # Scores are far below chance, or hardly move, and the loss comes to be low enough.
    late = Change(-900.0, -9.0, 1.0, 50.0, chance=0.0, reaches=True, gone=0.99)
    assert outcome_of(late, by_loss) == "grokked"
    assert outcome_of(late, lr.Thresholds(loss=0.1, delay=60)) == "gradual"
    slight = Change(0.85, 0.86, 1.0, 50.0, chance=0.0, reaches=True, gone=0.0999)
    assert outcome_of(slight, by_loss) == "immediate"
    # Fitted from the beginning: a delay without end.
    assert Change(0.5, 1.0, 0.0, 3.0).delay_ratio == np.inf
    assert outcome_of(Change(0.5, 1.0, 0.0, 3.0), lr.Thresholds()) == "grokked"


def regression(train_loss, test_loss, variance=1.0, ending="completed", **others):
    curves = {"train_loss": train_loss, "test_loss": test_loss} | others
    scales = Scales(train_variance=variance, test_variance=variance)
    return read_off(TIMES, curves, ending, scales=scales)


def test_scores_of_regressions_are_relative_to_the_variance_of_the_labels():
    # The loss at time 0 is 400 times the variance: R2 of 0.99 is 0.0025 % of it.
    events = regression(step(400, 0, 0.1), step(400, 0, 300, 0.05))
    assert events.scored_by == "R2"
    assert events.t_train == pytest.approx(0.1 * 39999**0.1, rel=2e-3)
    assert events.t_test == pytest.approx(300 * 7999**0.05, rel=2e-3)
    assert events.plateau_score == pytest.approx(-399, abs=1e-6)
    # Half of the loss is gone at 300, half of the score above chance where R2 is 0.5.
    assert events.t50 == pytest.approx(300, rel=1e-3)
    assert events.t_change == pytest.approx(300 * 799**0.05, rel=2e-3)
    assert (events.outcome, events.chance) == ("grokked", 0.0)
    # A net that decays to f = 0 fits nothing, however large its output was.
    assert regression(step(400, 1, 0.1), step(400, 1, 0.1)).outcome == "untrained"
    # A start that is nearly right: the loss at time 0 says nothing of the labels.
    near = regression(np.full(602, 0.005), np.full(602, 0.02))
    assert (near.outcome, near.t_train) == ("immediate", 0.0)
    assert "fitted from the beginning" in near.says


def test_losses_that_are_low_from_the_beginning_have_no_delay():
    # Ridge regression from a small start: both losses pass at time 0, and R2 rises late.
    by_loss = lr.Thresholds(loss=0.01)
    curves = {"train_loss": step(2e-3, 0, 100), "test_loss": step(2e-3, 9e-4, 2000)}
    events = read_off(TIMES, curves, "completed", by_loss, Scales(1e-3, 1e-3))
    assert (events.t_train, events.t_test, events.t_change) == (0.0, 0.0, 0.0)
    assert (events.delay_ratio, events.delay_difference) == (1.0, 0.0)
    assert events.final_score > events.plateau_score + 1
    assert events.outcome == "immediate"
    # A test loss that passes later than that of the training data has an endless ratio.
    curves["test_loss"] = step(2e-2, 9e-4, 2000)
    events = read_off(TIMES, curves, "completed", by_loss, Scales(1e-3, 1e-3))
    assert (events.delay_ratio, events.outcome) == (np.inf, "grokked")


@pytest.mark.parametrize(
    ("train", "test", "word"),
    [
        # Of the fit at 0.99 half is lost at 0.495.
        (0.93, 0.97, "grokked"),
        (0.50, 0.97, "grokked"),
        (0.49, 0.97, "collapsed"),
        (0.93, 0.60, "improved"),
        # A test score that falls with the fit is lost with it; the fit is lost from 0.89 on.
        (0.90, 0.40, "misgrokked"),
        (0.88, 0.40, "collapsed"),
        (0.88, 0.50, "unchanged"),
    ],
)
def test_a_fit_that_decay_takes_a_part_of(train, test, word):
    losses = step(1, 0, 0.1) + step(0, 1 - train, 300)
    early = 0.55 if word in ("misgrokked", "collapsed", "unchanged") else 0.3
    events = regression(losses, step(1, 1 - early, 0.1) + step(0, early - test, 300))
    assert events.outcome == word
    assert f"train score {train:.3g} at the end" in events.says


def test_accuracies_below_chance_have_no_change():
    scales = Scales(blank_loss=1.0, chance=0.6)
    curves = {"train_accuracy": step(0.5, 1, 0.1), "test_accuracy": step(0.4, 0.6, 300)}
    curves |= {"train_loss": step(1, 0, 0.1), "test_loss": step(1, 0.9, 300)}
    events = read_off(TIMES, curves, "completed", scales=scales)
    assert (events.outcome, np.isnan(events.t_change)) == ("unchanged", True)
    assert events.t50 == pytest.approx(300, rel=1e-3)
    # An R2 below chance says how much noise there is: its rise has a time, its fall has none.
    rising = regression(step(1, 0, 0.1), step(10, 2, 300))
    assert (rising.outcome, rising.t_change) == ("improved", pytest.approx(300, rel=1e-3))
    falling = regression(step(1, 0, 0.1), step(2, 10, 300))
    assert (falling.outcome, np.isnan(falling.t_change)) == ("unchanged", True)


def test_a_classification_collapses_by_its_loss():
    # Half of the loss of a zero output is to be gone; three quarters of it left is half of that.
    scales = Scales(blank_loss=1.0, chance=0.5)
    ones, half = np.ones(602), step(0.5, 0.7, 0.1)
    curves = {"train_accuracy": ones, "test_accuracy": half, "test_loss": half}
    for left, word in ((0.74, "unchanged"), (0.76, "collapsed")):
        curves["train_loss"] = step(1, 0, 0.1) + step(0, left, 300)
        assert read_off(TIMES, curves, "completed", scales=scales).outcome == word
    # By accuracy, from 0.99 half of the way to chance, which is 0.745.
    for left, word in ((0.75, "unchanged"), (0.74, "collapsed")):
        curves |= {"train_accuracy": step(1, left, 300), "train_loss": step(1, 0, 0.1)}
        assert read_off(TIMES, curves, "completed", scales=scales).outcome == word


def test_each_part_is_measured_by_its_own_variance():
    curves = {"train_loss": step(1, 0.005, 0.1), "test_loss": step(9, 0.4, 300)}
    scales = Scales(train_variance=1.0, test_variance=10.0)
    events = read_off(TIMES, curves, "completed", scales=scales)
    assert events.train_score == pytest.approx(0.995)
    assert events.final_score == pytest.approx(0.96)
    assert events.outcome == "grokked"
    scales = Scales(train_variance=0.4, test_variance=10.0)
    assert read_off(TIMES, curves, "completed", scales=scales).outcome == "untrained"


@pytest.mark.parametrize(("train", "test"), [(0.0, 0.0), (0.0, 1.0), (1.0, 0.0)])
def test_labels_that_do_not_vary_have_no_score(train, test):
    curves = {"train_loss": step(1, 0, 0.1), "test_loss": step(1, 0, 300)}
    scales = Scales(train_variance=train, test_variance=test)
    events = read_off(TIMES, curves, "completed", scales=scales)
    assert events.outcome == "unscored"
    # A loss that counts as a fit gives times all the same.
    by_loss = read_off(TIMES, curves, "completed", lr.Thresholds(loss=0.1), scales)
    assert by_loss.t_train == pytest.approx(0.1 * 9**0.1, rel=1e-3)
    assert by_loss.t_test == pytest.approx(300 * 9**0.1, rel=1e-3)
    assert by_loss.outcome == ("unscored" if test == 0 else "grokked")


def test_records_without_the_variance_are_judged_by_their_loss_at_time_0():
    nan = np.full(602, np.nan)
    events = lr.transition(record(nan, nan, train_loss=step(4, 0, 0.1), test_loss=step(4, 0, 300)))
    assert (events.scored_by, events.outcome) == ("loss at time 0", "grokked")
    assert np.isnan([events.chance, events.ceiling]).all()


def test_a_classification_that_fits_from_the_beginning():
    ones, loss = np.ones(602), np.full(602, 0.01)
    scales = Scales(blank_loss=np.log(2), chance=0.5)
    curves = {"train_accuracy": ones, "test_accuracy": 0.8 * ones}
    curves |= {"train_loss": loss, "test_loss": loss}
    events = read_off(TIMES, curves, "completed", scales=scales)
    assert (events.outcome, events.t_train) == ("unchanged", 0.0)
    assert not events.t_train_is_bound
    # Half of the loss of a zero output is to be gone, whatever the loss at time 0.
    curves["train_loss"] = np.full(602, 0.4)
    assert read_off(TIMES, curves, "completed", scales=scales).outcome == "untrained"


def test_a_fit_before_the_first_record_is_a_bound():
    fits = np.where(TIMES > 0, 1.0, 0.5)
    events = lr.transition(record(fits, step(0.5, 1, 300), train_loss=1 - fits))
    assert events.t_train == TIMES[1]
    assert events.t_train_is_bound
    assert "before t = 0.01 (the first record)" in events.says
    assert "at least 3e+04 times" in events.says
    assert events.outcome == "grokked"
    assert "not known" not in events.says  # it groks whenever the fit was
    # One record later it is a time.
    later = np.where(TIMES[1] < TIMES, 1.0, 0.5)
    events = lr.transition(record(later, step(0.5, 1, 300), train_loss=1 - later))
    assert not events.t_train_is_bound
    assert TIMES[1] < events.t_train < TIMES[2]


@pytest.mark.parametrize(("t50", "word"), [(1.51, "immediate"), (3, "gradual"), (8, "gradual")])
@pytest.mark.parametrize("source", ["", "a log"])
def test_a_short_delay_after_a_fit_before_the_first_record_is_not_known(t50, word, source):
    times = np.concatenate([[0.0], np.geomspace(1.0, 1e4, 401)])
    fits = np.where(times > 0, 1.0, 0.5)
    test = np.where(times < t50, 0.55, 0.99)
    values = record(fits, test, times=times, train_loss=1 - fits)
    values.attrs |= {"source": source} if source else {}
    events = lr.transition(values)
    assert (events.outcome, events.t_train, events.t_train_is_bound) == (word, 1.0, True)
    assert events.delay_ratio == pytest.approx(t50, rel=0.03)
    least = f"the delay is at least a factor of {events.delay_ratio:.3g} and not known"
    assert f"the fit was before the first record, so {least}" in events.says
    assert ("times.first" in events.advice) is not bool(source)
    assert ("log from the first steps" in events.advice) is bool(source)
    assert re.search(r"t train +< 1\n", str(events))
    # A fit at 1 that is seen is a time, and the delay is known.
    known = np.concatenate([[0.0, 0.9], times[1:]])
    fits, test = np.where(known >= 1, 1.0, 0.5), np.where(known < t50, 0.55, 0.99)
    events = lr.transition(record(fits, test, times=known, train_loss=1 - fits))
    assert not events.t_train_is_bound
    assert "not known" not in events.says + events.advice
    assert "<" not in str(events)


@pytest.mark.parametrize(
    "ending", ["max_steps", "max_gradients", "max_seconds", "too_stiff", "chattering"]
)
def test_a_budget_that_ran_out_is_no_failure(ending):
    rising = lr.transition(record(step(0.5, 1, 0.1), step(0.5, 1, 1e4), ending))
    assert (rising.outcome, rising.state) == ("improved", "stopped")
    assert f"stopped by {ending}" in rising.says
    assert "dynamics." in rising.advice
    # What had settled before is not changed by a larger budget.
    done = lr.transition(record(step(0.5, 1, 0.1), step(0.5, 1, 300), ending))
    assert (done.outcome, done.state) == ("grokked", "settled")


def settled(weight_decay=1e-3, rate=0.02, times=TIMES, **curves):
    whole = {name: np.full(len(times), 0.5) for name in ("train_accuracy", "test_accuracy")}
    whole |= {"train_loss": np.full(len(times), 0.7), "test_loss": np.full(len(times), 0.7)}
    scales = Scales(weight_decay=weight_decay)
    thresholds = lr.Thresholds(settled=rate)
    return read_off(times, whole | curves, "completed", thresholds, scales).settled


def test_settled():
    flat = np.ones(602)
    assert settled(param_norm=flat)
    # Decay has taken nothing yet: what it does is to come.
    assert not settled(weight_decay=2.97e-5, param_norm=flat)
    assert settled(weight_decay=3.03e-5, param_norm=flat)
    # Without a norm ten times the decay time.
    assert not settled(weight_decay=9.8e-4)
    assert settled(weight_decay=1.02e-3)
    # Along s log t a factor of e in time is a change of s.
    with np.errstate(divide="ignore"):
        log = np.where(TIMES > 0, np.log(TIMES), 0)
    for name, transform in (
        ("test_accuracy", lambda x: x),
        ("train_accuracy", lambda x: x),
        ("cosine_to_rich", lambda x: x),
        ("cosine_to_kernel", lambda x: x),
        ("param_norm", np.exp),
    ):
        others = {"param_norm": flat} | {name: transform(0.017 * log)}
        assert settled(**others), name
        others[name] = transform(0.024 * log)
        assert not settled(**others), name
        assert settled(rate=0.03, **others), name
    # Noise about a level is no movement.
    noise = 0.5 + 0.02 * np.random.default_rng(0).normal(size=602)
    assert settled(rate=0.05, param_norm=flat, test_accuracy=noise)
    # Without decay the norm of what is fitted grows with log t for ever.
    grown = {"train_accuracy": flat, "train_loss": 0 * flat, "param_norm": 10 + log}
    assert settled(weight_decay=0.0, **grown)
    assert not settled(weight_decay=0.0, **grown | {"train_loss": flat})
    # Two records say nothing.
    assert not settled(times=TIMES[:2])
    # A budget ends a run between requests that are far apart: then the last three are compared.
    sparse = np.geomspace(1.0, 1e4, 7)
    rest = np.array([3.0, 2.0, 1.0, 1.0, 1.0, 1.0, 1.0])
    assert settled(times=sparse, param_norm=rest)
    assert settled(times=sparse[:6], param_norm=rest[:6])
    assert not settled(times=sparse[:4], param_norm=rest[:4], weight_decay=1.0)


def test_a_run_on_its_plateau_is_moving():
    lam, alpha = 1e-4, 100.0  # to lambda t = 1: the change would come at log(100) = 4.6
    norm = alpha * np.exp(-lam * TIMES)
    values = record(step(0.5, 1, 0.1), np.full(602, 0.5))
    values["param_norm"] = "time", norm
    values.attrs["experiment"] = f"weight_decay = {lam}"
    events = lr.transition(values)
    assert (events.outcome, events.state) == ("unchanged", "moving")
    assert "raise t1" in events.advice
    values["param_norm"] = "time", np.full(602, 3.0)
    events = lr.transition(values)
    assert (events.outcome, events.state) == ("unchanged", "settled")
    assert "not t1" in events.advice


def decaying(decay_times, blank_loss=1.0, fitted=False, **others):
    """R2 = 0 throughout, and a norm that falls as e^(-lambda t) up to `decay_times`."""
    loss = np.full(602, 0.0 if fitted else 1.0)
    lam = decay_times / float(TIMES[-1])
    curves = {"train_loss": loss, "test_loss": loss, "param_norm": 3 * np.exp(-lam * TIMES)}
    scales = Scales(1.0, 1.0, blank_loss=blank_loss, weight_decay=lam)
    return read_off(TIMES, curves | others, "completed", scales=scales)


def test_a_run_that_decays_to_nothing_has_settled():
    for decay_times in (10.2, 30.0, 100.0, 300.0, 1e4):
        for blank_loss in (1.0, np.nan):
            events = decaying(decay_times, blank_loss, arrival=np.ones(602))
            assert (events.outcome, events.state) == ("untrained", "settled"), decay_times
            assert "lower weight_decay" in events.advice
            assert "raise t1" not in events.advice
            assert events.arrived is None
    # Parameters of 1e-300 are rounding.
    noise = 1e-300 * np.random.default_rng(0).uniform(size=602)
    assert decaying(1e4, param_norm=noise).state == "settled"


def test_a_norm_that_falls_is_not_always_a_decay_to_nothing():
    assert decaying(9.8).state == "moving"  # too early
    # The training loss is not that of zero outputs, moves, or is fitted.
    assert decaying(30.0, blank_loss=1.1).state == "moving"
    moving = 1 - 1e-5 * np.exp(-((1e4 - TIMES) / 1e3))
    assert decaying(30.0, np.nan, train_loss=moving).state == "moving"
    assert decaying(30.0, fitted=True).state == "moving"
    # A norm that grows again.
    grown = 3 * np.exp(-0.003 * TIMES) + 1e-12 * np.exp(0.001 * TIMES)
    assert decaying(30.0, param_norm=grown).state == "moving"


def test_ridge_regression_groks():
    # 100 Gaussian features of variance 1/1000 each, a unit teacher, start N(0, 1): everything
    # follows from one SVD (Xu, Vardi, Safran 2026). Times at which the losses pass 0.02 and 0.01.
    n, m, lam = 100, 1000, 2e-4
    draws = [np.random.default_rng(s) for s in np.random.SeedSequence(0).spawn(3)]
    x = draws[0].normal(size=(n, m)) / np.sqrt(m)
    teacher = draws[1].normal(size=m)
    teacher /= np.linalg.norm(teacher)
    start = draws[2].normal(size=m)
    _, s, vt = np.linalg.svd(x, full_matrices=False)
    times = np.concatenate([[0.0], np.geomspace(1e-2, 2e5, 2000)])
    k = 2 * s**2 / n
    limit = k * (vt @ teacher) / (k + lam)
    inside = limit + (vt @ start - limit) * np.exp(-(k + lam) * times[:, None])
    across = (start - vt.T @ (vt @ start)) * np.exp(-lam * times[:, None])
    train_loss = np.mean((s * (inside - vt @ teacher)) ** 2, axis=1)
    test_loss = np.sum((inside @ vt + across - teacher) ** 2, axis=1) / m
    scales = Scales(float(np.var(x @ teacher)), float(np.var(teacher)), weight_decay=lam)
    curves = {"train_loss": train_loss, "test_loss": test_loss}
    curves["param_norm"] = np.linalg.norm(inside @ vt + across, axis=1)
    published = read_off(times, curves, "completed", lr.Thresholds(loss=0.01), scales)
    assert published.t_test == pytest.approx(11_349, rel=1e-3)
    assert published.outcome == "grokked"
    assert published.delay_ratio > 50
    # A risk of 0.01 is ten times the variance of the labels; the best that comes is 0.9 of it.
    events = read_off(times, curves, "completed", scales=scales)
    assert events.final_score == pytest.approx(1 - 9.0443e-4 / np.var(teacher), abs=1e-3)
    assert (events.outcome, events.state) == ("improved", "settled")


def test_former_words_stay_readable():
    # The codes of files that earlier versions wrote.
    former = ("grokked", "misgrokked", "immediate", "not_within_budget", "diverged", "untrained")
    later = ("gradual", "improved", "unchanged", "collapsed", "unscored")
    assert (*former, "failed", "missing", *later) == CODES
    assert set(FORMER) <= set(OUTCOMES)
    assert set(CODES) == set(OUTCOMES)
    assert set(CHANGED) | set(LATER) <= set(OUTCOMES)


@pytest.mark.parametrize(("unit", "settled"), [("time", False), ("step", True), ("epoch", True)])
def test_how_far_decay_has_acted_is_known_in_flow_time(unit, settled):
    # At t = 1,000 a decay of 1e-6 has not acted. By step 1,000 it is unknown how far it has.
    flat = np.full(200, 0.9)
    curves = {"train_accuracy": flat, "test_accuracy": flat}
    times = np.round(np.geomspace(1, 1000, 200), 3) if unit == "time" else 5.0 * np.arange(1, 201)
    record = lr.record(times, curves, unit=unit, weight_decay=1e-6)
    assert lr.transition(record).settled is settled


def test_every_word_and_ending_says_what_to_do():
    for word in set(OUTCOMES) - {*FORMER, "missing"}:
        assert MEANINGS[word]
        for state in ("settled", "moving", "stopped"):
            for ending in ("max_steps", "completed"):
                assert advice_on(word, state, ending), (word, state, ending)
            # A log has a training script, and no fields of an experiment.
            told = advice_on(word, state, "completed", logged=True)
            assert told
            assert not {"t1", "init_scale", "weight_decay"} & set(re.findall(r"\w+", told)), word
    for ending in (
        "max_steps",
        "max_gradients",
        "max_seconds",
        "too_stiff",
        "chattering",
        "diverged",
    ):
        assert "the record ends early: " in advice_on_ending(ending)
        assert "but had settled: lower t1" in advice_on_ending(ending, "settled")
    assert advice_on_ending("completed") == advice_on_ending("completed", "settled") == ""


def test_a_sweep_is_judged_by_the_variance_of_its_labels():
    nan = np.full((1, 602), np.nan)
    curves = {"train_loss": step(4, 0, 0.1)[None], "test_loss": step(4, 1, 300)[None]}
    variables = {name: (("seed", "record"), values) for name, values in curves.items()}
    words = {"outcome": ("seed", ["not_within_budget"]), "ending": ("seed", ["completed"])}
    scales = {f"{part}_variance": ("seed", [4.0]) for part in ("train", "test")}
    time = {"time": (("seed", "record"), TIMES[None])}
    data = xr.Dataset(variables | words | time | scales, {"seed": [0]})
    data = data.assign(train_accuracy=(("seed", "record"), nan), t50=("seed", [np.nan]))
    assert reclassify(data, lr.Thresholds())["outcome"].item() == "grokked"
    found = reclassify(data.assign(test_variance=("seed", [1.0])), lr.Thresholds())
    assert found["outcome"].item() == "improved"
    assert found["final_score"].item() == pytest.approx(0, abs=1e-9)


def test_a_judgement_of_the_former_outcomes_is_left_out():
    curves = {name: (("seed", "record"), step(4, 0, 0.1)[None]) for name in ("train_loss",)}
    curves |= {"test_loss": (("seed", "record"), step(4, 1, 300)[None])}
    words = {"outcome": ("seed", ["grokked"]), "ending": ("seed", ["completed"])}
    right = {"forecast_right": ("seed", [1.0]), "forecast_t50": ("seed", [300.0])}
    time = {"time": (("seed", "record"), TIMES[None])}
    data = xr.Dataset(curves | words | right | time, {"seed": [0]})
    found = reclassify(data, lr.Thresholds(delay=1e6))
    assert found["outcome"].item() != "grokked"
    assert "forecast_right" not in found
    assert found["forecast_t50"].item() == 300


def test_thresholds_on_the_command_line():
    changed = lr.Thresholds(loss=0.1).changed(["test=0.9", "loss=0.2", "sustained=5"])
    assert (changed.test, changed.loss, changed.sustained) == (0.9, 0.2, 5)
    for setting, line in {
        "test": r"^--threshold = 'test': should be KEY=VALUE",
        "tset=0.9": r"^--threshold.tset = 0.9: unknown key \(did you mean test\?\)",
        "test=1.5": r"^--threshold.test = 1.5: should be less than or equal to 1",
        "test=high": r"^--threshold.test = 'high': should be a valid number",
        "sustained=2.5": r"^--threshold.sustained = 2.5",
    }.items():
        with pytest.raises(lr.InputError, match=line):
            lr.Thresholds().changed([setting])


@pytest.mark.slow
def test_every_word_has_a_mark_and_a_look():
    from lazyrich.plot.describe import _map_key as maps, _scores as scores, _symbols as symbols

    drawn = set(OUTCOMES) - {"missing"}
    assert set(symbols.MARKS) == set(scores.COLOURS) == drawn
    assert set(maps.LOOKS) == drawn | {"missing"}


def test_a_panel_is_judged_by_its_own_thresholds():
    own = thresholds_for("kumar2024/1", None)
    assert own == lr.studies.panels("kumar2024")["1"].thresholds != lr.Thresholds()
    assert thresholds_for("kumar2024/1", ["delay=5"]) == own.model_copy(update={"delay": 5.0})
    assert thresholds_for("mine.toml", ["test=0.9"]) == lr.Thresholds(test=0.9)


@pytest.mark.parametrize(
    ("train", "test", "outcome"),
    [
        ([0.5, 1.0, 1.0, 1.0, 1.0], [0.5, 0.5, 0.52, 0.98, 0.99], "unchanged"),
        ([0.5, 1.0, 1.0], [0.5, 0.5, 0.98], "untrained"),
        ([1.0], [0.5], "untrained"),
    ],
)
def test_a_change_in_too_few_records_is_said_to_be_one(train, test, outcome):
    steps = [0, 10, 100, 1000, 2000][: len(train)]
    record = lr.record(steps, {"train_accuracy": train, "test_accuracy": test})
    events = lr.transition(record)
    assert events.outcome == outcome
    assert "too few records" in events.says
    assert "sustained" in events.advice
    # If one record is enough, the change counts.
    if len(train) == 5:
        assert lr.transition(record, lr.Thresholds(sustained=1)).outcome == "grokked"


def test_a_fit_that_was_lost_is_not_a_recent_one():
    train = [0.5, 1.0, 0.6, 0.6, 0.6, 0.6]
    record = lr.record(range(6), {"train_accuracy": train, "test_accuracy": [0.5] * 6})
    events = lr.transition(record)
    assert events.outcome == "untrained"
    assert "too few records" not in events.says


def test_a_run_that_does_not_fit_says_how_far_it_came():
    flat = np.full(602, 0.5)
    assert lr.transition(record(np.full(602, 0.75), flat)).says.startswith("train score 0.75; ")
    lost = lr.transition(record(step(0.5, 1, 0.1) - step(0, 0.45, 100), flat))
    assert lost.says.startswith("fitted at t = ")
    assert "lost again (train score 0.55 at the end)" in lost.says


def test_the_loss_of_a_fit_is_asked_for_only_where_it_says_something():
    # Signs are right at t = 0.1, and the training loss falls to 0.55 of that of zero outputs.
    slow = record(step(0.5, 1, 0.1), step(0.5, 1, 300), train_loss=step(1, 0.55, 0.1))
    assert lr.transition(slow).outcome == "untrained"
    assert lr.transition(slow, lr.Thresholds(train_loss=0)).outcome == "grokked"
    # A loss that is given says what a fit is, and half of the loss at time 0 does not count.
    assert lr.transition(slow, lr.Thresholds(loss=0.6)).t_train < 1
    # A log that begins after the fit: there is no loss of zero outputs to compare with.
    late = TIMES > 10
    fitted = record(np.ones(602), step(0.5, 1, 300), train_loss=np.full(602, 0.01))
    found = lr.transition(fitted.isel(time=late))
    assert (found.outcome, found.t_train) == ("grokked", TIMES[late][0])


def test_the_scales_of_a_sweeps_run_are_those_of_its_record():
    numbers = {
        "kernel_certified": 1.0, "kernel_test_accuracy": 0.7, "kernel_test_loss": 0.4,
        "rich_certified": 1.0, "rich_test_accuracy": 0.9, "rich_test_loss": 0.6,
        "test_variance": 2.0, "num_test": 50.0,
    }  # fmt: skip
    variables = variables_of_numbers(numbers, {"num_test": {"units": "1"}})
    assert "predictor_train_loss" not in variables
    found = scales_of_record(record(TIMES, TIMES).assign(xr.Dataset(variables)))
    assert (found.best_accuracy, found.best_loss) == (0.9, 0.4)
    assert (found.test_variance, found.num_test) == (2.0, 50.0)
    assert str(found) == str(scales_of_numbers(numbers))
    # What is not certified is no ceiling.
    doubtful = variables_of_numbers(numbers | {"rich_certified": 0.0}, {})
    found = scales_of_record(record(TIMES, TIMES).assign(xr.Dataset(doubtful)))
    assert (found.best_accuracy, found.best_loss) == (0.7, 0.4)
    assert doubtful["predictor_status"] == ("predictor", ["optimal", "not_certified"])

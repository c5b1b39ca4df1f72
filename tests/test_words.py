"""What a sentence about a run must not leave out: rests, dips, errors, exceeded ceilings."""

import inspect
from typing import Any

import numpy as np
import pytest

import lazyrich as lr
from lazyrich._core.description import Description
from lazyrich.records.transition import Scales, read_off

TIMES = np.concatenate([[0.0], np.geomspace(1e-2, 1e4, 601)])


def step(start, end, t50, width=0.1):
    """A logistic curve in log time, half-way at t50."""
    with np.errstate(divide="ignore"):
        log = np.log(TIMES)
    return start + (end - start) / (1 + np.exp(-(log - np.log(t50)) / width))


def regression(train_loss, test_loss, thresholds=None, times=TIMES):
    scales = {"train_variance": 1.0, "test_variance": 1.0}
    curves = {"train_loss": train_loss, "test_loss": test_loss}
    return lr.transition(lr.record(times, curves, scales=scales), thresholds)


def classification(test, num_test=np.nan, train=None, **others):
    curves = {"train_accuracy": step(0.5, 1, 0.1) if train is None else train}
    curves |= {"test_accuracy": test, "train_loss": step(1, 0, 0.1)}
    scales = Scales(blank_loss=1.0, chance=0.5, num_test=num_test, **others)
    return read_off(TIMES, curves, "completed", scales=scales)


# A kernel of two rates: 98.5 % of the variance is fitted at rate 1, the rest at a rate of 0.02, so
# that R2 is 0.99 at t = 10 and the score moves until t = 200.
SLOW = np.exp(-0.02 * TIMES)
TRAIN = 0.985 * np.exp(-4 * TIMES) + 0.015 * SLOW**2
STRICT = lr.Thresholds(train=0.999)


@pytest.mark.parametrize("at_fit", [-30.0, -2.0, 0.3, 0.85, 0.95])
@pytest.mark.parametrize("thresholds", [None, STRICT])
def test_a_plateau_is_where_the_score_rests(at_fit, thresholds):
    # The score goes from `at_fit` to 0.6 with the fit, and from 0.6 to 1 at t = 2000.
    test = np.exp(-2 * TIMES) + (0.6 - at_fit) * SLOW + 0.4 * step(1, 0, 2000)
    events = regression(TRAIN, test, thresholds)
    assert events.plateau_score == pytest.approx(0.6, abs=0.01)
    assert events.t50 == pytest.approx(2000, rel=5e-3)
    assert events.t_change == pytest.approx(2000, rel=5e-3)
    assert (events.outcome, events.moves_with_fit) == ("grokked", False)


def test_a_long_or_sparse_log_has_the_same_plateau():
    # Of 30,000 records a part is searched, evenly spaced in log time or in time. Of 61 there are
    # four in a factor of e, whose whole range counts.
    test = np.exp(-2 * TIMES) + 0.3 * SLOW + 0.4 * step(1, 0, 2000)
    even = [np.geomspace(1e-2, 1e4, num) for num in (30_000, 61)]
    for times in (*even, np.linspace(0.1, 1e4, 30_000)):
        found = regression(
            np.interp(times, TIMES, TRAIN), np.interp(times, TIMES, test), times=times
        )
        assert found.plateau_score == pytest.approx(0.6, abs=0.01)
        assert found.t50 == pytest.approx(2000, rel=5e-3)


def test_a_plateau_that_is_there_at_the_fit_is_kept():
    # Two late steps, of which the first is no part of the fit: the training loss is constant.
    test = 0.2 * step(1, 0, 30) + 0.4 + 0.3 * step(1, 0, 2000)
    events = regression(step(1, 0, 0.1), test)
    assert events.plateau_score == pytest.approx(0.1, abs=0.01)
    # The same from a fit at which the score begins to move at once: the loss does not fall.
    test = 0.2 * step(1, 0, 1, width=0.5) + 0.4 + 0.3 * step(1, 0, 2000)
    still = np.where(TIMES > 0.5, 0.005, 1.0)
    moving = regression(still, test)
    assert moving.plateau[0] == TIMES[np.argmax(TIMES > 0.5)]
    # The training loss falls to just more, or just less, than a third until the score rests.
    for part, begins in ((0.4, False), (0.3, True)):
        fit = np.where(TIMES > 0.5, 0.005 * (part + (1 - part) * step(1, 0, 1)), 1.0)
        assert (regression(fit, test).plateau[0] > 2) is begins
    # The score moves by just less, or just more, than half of a change until it rests.
    limits = lr.Thresholds(settled=0.01, change=0.1)
    fit = np.where(TIMES > 0.5, 0.005 * step(1, 0, 1), 1.0)
    for size, begins in ((0.09, False), (0.12, True)):
        test = size * step(1, 0, 0.5, 0.5) + 0.4 + 0.3 * step(1, 0, 2000)
        assert (regression(fit, test, limits).plateau[0] > 1) is begins, size
    # A rest that is shorter than the first one, or too near to the end, is no plateau.
    test = 0.3 * step(1, 0, 60) + 0.05 + 0.3 * step(1, 0, 400)
    assert regression(np.where(TIMES > 0.5, 0.005 * step(1, 0, 40), 1.0), test).plateau[0] < 1
    near = 0.3 * step(1, 0, 1, 0.5) + 0.05 * step(1, 0, 2000)
    fit = np.where(TIMES > 0.5, 0.005 * step(1, 0, 1), 1.0)
    assert regression(fit, near).plateau[0] < 1


def test_a_score_that_never_rests_is_said_to_move_with_the_fit():
    # The fit ends at 200 and the change comes at 500, without a rest between.
    test = np.exp(-2 * TIMES) + 0.35 * SLOW + 0.3 * step(1, 0, 500)
    events = regression(TRAIN, test)
    assert (events.outcome, events.outcome_by_stricter_fit) == ("grokked", "gradual")
    assert (events.stricter_fit, events.moves_with_fit) == ("train=0.999", True)
    assert "comes with the end of the fit" in events.says
    assert "depends on what counts as a fit: gradual by train=0.999" in events.says
    assert "threshold train=0.999" in events.advice
    strict = regression(TRAIN, test, STRICT)
    # R2 of 0.9999 is reached at log(150) / 0.04 = 125: the change comes at 4 times the fit.
    assert strict.t_train == pytest.approx(np.log(15) / 0.04, rel=1e-3)
    assert (strict.outcome, strict.outcome_by_stricter_fit) == ("gradual", "gradual")
    # A loss given as the threshold is what the user says a fit is.
    by_loss = regression(TRAIN, test, lr.Thresholds(loss=0.01))
    assert (by_loss.stricter_fit, by_loss.outcome_by_stricter_fit) == ("", None)
    assert "as well" not in by_loss.advice
    # The training loss does not fall, so the score does not move with the fit.
    still = regression(np.where(TIMES > 5, 0.0005, 1.0), step(0.9, 0, 60, 2.0))
    assert not still.moves_with_fit


@pytest.mark.parametrize(
    ("moved", "loss_left", "with_fit"),
    [(0.246, 0.09, False), (0.254, 0.09, True), (0.3, 0.102, False), (0.3, 0.098, True)],
)
def test_a_quarter_of_the_change_while_the_loss_falls_to_a_tenth_comes_with_the_fit(
    moved, loss_left, with_fit
):
    # From 0.3 to 0.49; the part `moved` is less than half of `Thresholds.change`: no other rest.
    train = np.where(TIMES < 1, 1.0, np.where(TIMES < 20, 0.005, 0.005 * loss_left))
    score = np.select([TIMES < 20, TIMES < 2000], [0.3, 0.3 + 0.19 * moved], 0.49)
    assert regression(train, 1 - score).moves_with_fit is with_fit


def test_a_fit_that_is_not_reached_more_strictly_has_no_second_outcome():
    held = regression(step(1, 0.005, 0.1), step(1, 0, 300))
    assert (held.outcome, held.stricter_fit) == ("grokked", "train=0.999")
    assert held.outcome_by_stricter_fit is None
    assert "depends" not in held.says
    # By accuracy, half of the loss that may be left: reached at 100 instead of 0.1.
    late = step(0.6, 1, 300)
    losses = {"train_loss": step(0.5, 0.4, 0.1) + step(0, -0.4, 100)}
    curves = {"train_accuracy": step(0.5, 1, 0.1), "test_accuracy": late, **losses}
    scales = Scales(blank_loss=1.0, chance=0.5)
    events = read_off(TIMES, curves, "completed", scales=scales)
    assert (events.outcome, events.outcome_by_stricter_fit) == ("grokked", "gradual")
    assert events.stricter_fit == "train_loss=0.75"
    by_accuracy = read_off(TIMES, curves, "completed", lr.Thresholds(train_loss=0), scales)
    assert by_accuracy.stricter_fit == ""


def test_a_dip_is_said():
    events = classification(step(0.7, 0.5, 30) + step(0, 0.25, 1000))
    assert events.outcome == "unchanged"
    assert events.excursion == pytest.approx(-0.2, abs=0.005)
    assert events.excursion_score == pytest.approx(0.5, abs=0.005)
    begin, lowest, end = events.excursion_times
    assert begin == pytest.approx(30, rel=0.05)
    # Half of 0.2 is back where 0.1 of 0.25 is: logistic in log time.
    assert end == pytest.approx(1000 * (0.1 / 0.15) ** 0.1, rel=0.05)
    assert begin < lowest < end
    assert "a dip to 0.5 at t = " in events.says
    assert "(from t = " in events.says


def test_an_excursion_begins_and_ends_with_its_records():
    test = np.full(602, 0.6)
    test[300:400] = 0.8
    begin, _, end = classification(test).excursion_times
    assert (begin, end) == (TIMES[300], TIMES[399])


@pytest.mark.parametrize("rises_at", [0.02, 30])
def test_a_rise_that_falls_back_is_said(rises_at):
    # Before the fit as after it.
    test = step(0.55, 0.9, rises_at) - step(0, 0.3, 1000 if rises_at > 1 else 0.08, 0.05)
    events = classification(test)
    assert events.outcome == "unchanged"
    top = np.max(test) - max(events.plateau_score, events.final_score)
    assert events.excursion == pytest.approx(top, abs=0.02)
    assert "a rise that falls back, to 0." in events.says
    assert events.excursion_times[0] == pytest.approx(rises_at, rel=0.3)


def test_an_excursion_is_held_counts_and_is_above_chance():
    flat = np.full(602, 0.7)
    spike = np.where(np.arange(602) == 400, 0.3, flat)
    assert np.isnan(classification(spike).excursion)
    dip = np.where(abs(np.arange(602) - 400) < 2, 0.58, flat)
    assert classification(dip).excursion == pytest.approx(-0.12)
    assert classification(dip).excursion_times == pytest.approx(TIMES[[399, 399, 401]])
    # The half of it that was made before the extreme belongs to it.
    wide = np.minimum(dip, np.where(abs(np.arange(602) - 400) < 4, 0.63, 1))
    assert classification(wide).excursion_times == pytest.approx(TIMES[[397, 399, 403]])
    small = np.where(abs(np.arange(602) - 400) < 2, 0.601, flat)
    assert np.isnan(classification(small).excursion)
    # On fifty samples a dip of 0.12 is within two standard errors.
    assert np.isnan(classification(dip, num_test=50.0).excursion)
    assert classification(dip, num_test=500.0).excursion == pytest.approx(-0.12)
    # Below chance all scores are alike: from 0.55 to 0.3 is a dip to 0.5, of 0.05.
    low = np.where(abs(np.arange(602) - 400) < 2, 0.3, 0.55)
    assert np.isnan(classification(low).excursion)
    # The larger one of a dip and a rise; the rise of the fit is no dip before it.
    both = np.where(abs(np.arange(602) - 500) < 2, 0.95, dip)
    assert classification(both).excursion == pytest.approx(0.25)
    assert np.isnan(classification(step(0.5, 0.9, 0.05)).excursion)
    # A run that does not fit has a best score as well.
    rise = np.where(abs(np.arange(602) - 300) < 3, 0.9, 0.6)
    untrained = classification(rise, train=np.full(602, 0.8))
    assert (untrained.outcome, round(untrained.excursion, 6)) == ("untrained", 0.3)
    # Its errors count as well, though it has no plateau.
    less = np.where(rise > 0.7, 0.72, rise)
    found = [classification(less, num, np.full(602, 0.8)).excursion for num in (5e3, 50.0)]
    np.testing.assert_allclose(found, [0.12, np.nan])
    # No excursion: a change that stays.
    assert np.isnan(classification(step(0.5, 1, 300)).excursion)


@pytest.mark.parametrize(
    ("late", "num", "within"), [(0.82, 50.0, True), (0.82, 1e3, False), (0.95, 50.0, False)]
)
def test_a_change_within_its_standard_error_is_said(late, num, within):
    events = classification(step(0.7, late, 300), num_test=num)
    shares = [(p * num + 1) / (num + 2) for p in (0.7, late)]
    errors = [np.sqrt(q * (1 - q) / num) for q in shares]
    assert events.standard_error == pytest.approx(errors[1], rel=1e-4)
    assert events.change_error == pytest.approx(np.hypot(*errors), rel=1e-4)
    assert events.is_within_error is within
    assert (f"({events.change_error:.2g} for 50 test samples)" in events.says) is within
    assert ("more test samples" in events.advice) is within


def test_the_standard_error_of_a_small_test_set_is_said():
    small = classification(step(0.7, 0.76, 300), num_test=50.0)
    assert small.outcome == "unchanged"
    assert "standard error 0.061 for 50 test samples" in small.says
    # An accuracy of 1 on few samples is not exact.
    assert classification(np.full(602, 1.0), num_test=10.0).standard_error > 0.05
    for events in (
        classification(step(0.7, 0.76, 300), num_test=5e3),
        classification(step(0.7, 0.76, 300)),
    ):
        assert "standard error" not in events.says
    assert np.isnan(regression(step(1, 0, 0.1), step(1, 0, 300)).standard_error)


def test_a_log_can_be_told_the_number_of_its_test_samples():
    log = lr.record(
        [1, 2, 3],
        {"train_accuracy": [1] * 3, "test_accuracy": [0.8] * 3},
        scales={"num_test": 10.0},
    )
    assert "standard error 0.14 for 10 test samples" in lr.transition(log).says
    found = lr.summarise(log)
    assert (found["num_test"], found["excursion"]) == (10, None)


def test_a_ceiling_that_is_exceeded_is_said():
    above = classification(step(0.7, 0.95, 300), best_accuracy=0.93)
    assert "ceiling 0.93, exceeded by 0.02, chance 0.5" in above.says
    at = classification(step(0.7, 0.95, 300), best_accuracy=float(step(0.7, 0.95, 300)[-1]))
    assert "exceeded" not in at.says
    assert "ceiling 0.95, chance 0.5" in at.says


@pytest.mark.parametrize("scale", [1e-302, 1e303])
def test_times_of_any_size_are_judged_alike(scale):
    # Products of two times would be 0 or infinite.
    test = np.exp(-2 * TIMES) + (0.6 - 0.3) * SLOW + 0.4 * step(1, 0, 2000)
    plain, scaled = regression(TRAIN, test), regression(TRAIN, test, times=scale * TIMES)
    assert (scaled.outcome, scaled.state) == (plain.outcome, plain.state) == ("grokked", "settled")
    for name in ("t_train", "t50", "t_change"):
        assert getattr(scaled, name) / scale == pytest.approx(getattr(plain, name), rel=1e-9)
    assert scaled.plateau_score == pytest.approx(plain.plateau_score, abs=1e-12)


def test_a_run_that_is_too_short_to_move_has_not_settled():
    curves = {"train_loss": np.full(602, 0.9), "test_loss": np.full(602, 0.9)}
    scales = Scales(1.0, 1.0, weight_decay=0.0)
    curves["param_norm"] = np.full(602, 2.0)
    still = read_off(TIMES, curves, "completed", scales=scales)
    assert (still.outcome, still.state) == ("untrained", "moving")
    # It has moved, and rests.
    curves["param_norm"] = step(2.0, 2.1, 1.0)
    assert read_off(TIMES, curves, "completed", scales=scales).state == "settled"
    curves["param_norm"] = step(2.0, 2.03, 1.0)
    assert read_off(TIMES, curves, "completed", scales=scales).state == "moving"
    # Signs of a run from zero are right after the first step, which is no training.
    signs = np.where(TIMES > 0, 1.0, 0.5)
    zero = {"train_accuracy": signs, "test_accuracy": signs, "train_loss": np.full(602, 0.69)}
    zero |= {"param_norm": np.full(602, 2.0)}
    short = read_off(TIMES, zero, "completed", scales=Scales(blank_loss=0.69, weight_decay=0.0))
    assert (short.outcome, short.state) == ("untrained", "moving")
    # It fits from the beginning, or its end is a point of rest, or it is a log.
    curves |= {"train_loss": np.zeros(602), "param_norm": np.full(602, 2.0)}
    assert read_off(TIMES, curves, "completed", scales=scales).state == "settled"
    curves["train_loss"] = curves["test_loss"]
    assert read_off(TIMES, curves, "stationary", scales=scales).state == "settled"
    assert read_off(TIMES, curves, "completed", scales=Scales(1.0, 1.0)).state == "settled"
    # Without a loss and a norm nothing is known of it; records without values are left out.
    scores = {"train_accuracy": np.full(602, 0.8), "test_accuracy": np.full(602, 0.6)}
    undecayed = Scales(chance=0.5, weight_decay=0.0)
    assert read_off(TIMES, scores, "completed", scales=undecayed).state == "settled"
    scores["train_loss"] = np.where(TIMES > 0, step(0.9, 0.5, 1.0), np.nan)
    assert read_off(TIMES, scores, "completed", scales=undecayed).state == "settled"


def described(kind=Description):
    for child in kind.__subclasses__():
        if child.__module__.startswith("lazyrich.") and not inspect.isabstract(child):
            yield child
        yield from described(child)


@pytest.mark.parametrize("kind", sorted({*described()}, key=str), ids=lambda kind: kind.__name__)
def test_an_unknown_key_is_named_before_a_missing_one(kind):
    with pytest.raises(lr.InputError, match=r"^zzz = 1: unknown key; ") as caught:
        kind(zzz=1)
    for name, field in kind.model_fields.items():
        assert name in str(caught.value) or not field.is_required()
    assert "\n" not in str(caught.value)


def test_an_unknown_key_has_a_near_one():
    tasks: Any = lr.tasks
    squared: Any = lr.losses.Squared
    with pytest.raises(lr.InputError) as caught:
        tasks.Arrays(x=np.eye(2), y=np.ones(2))
    assert str(caught.value).startswith("x = array([[1., 0.], [0., 1.]]): unknown key")
    assert "did you mean x_train?" in str(caught.value)
    assert "accepted are x_train, y_train, x_test, y_test" in str(caught.value)
    with pytest.raises(lr.InputError, match=r"did you mean n\?"):
        tasks.SparseClassification(N=3)
    with pytest.raises(lr.InputError, match=r"unknown key; no key is accepted here$"):
        squared(zzz=2)

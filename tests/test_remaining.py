"""`lr.remaining`: when a training generalises, from a part of its record."""

import json
import math
from statistics import NormalDist

import numpy as np
import pytest
import xarray as xr

import lazyrich as lr

NORMAL = NormalDist()
STEPS = np.unique(np.round(np.geomspace(1, 1e5, 101)))
FIT, SLOW, FAST, TURN = 100.0, 1.45, 2.2, -2.15


def accuracies(z):
    return np.array([NORMAL.cdf(value) for value in z])


def growing(start=-3.0):
    """z that begins to grow at the fit, as documented."""
    return grown(np.log(np.maximum(STEPS / FIT, 1.0)), start)


def grown(log_time, start):
    """z after a logarithm of time: 1.45 for each factor of e up to -2.15, then 2.2."""
    turn = max((TURN - start) / SLOW, 0.0)
    return start + SLOW * np.minimum(log_time, turn) + FAST * np.maximum(log_time - turn, 0.0)


def record(
    z, *, flow=None, margins=True, chance=0.05, num_test=400, decay=0.0, beta=0.98
) -> xr.Dataset:
    """The record of a training with test margins z, fitted at step 100."""
    train = np.where(STEPS >= FIT, 1.0, 0.1)
    curves = {
        "train_accuracy": train,
        "test_accuracy": accuracies(z),
        "train_loss": np.where(STEPS >= FIT, 1e-3, 3.0),
        "test_loss": 4 * (1 - accuracies(z)) + 1e-3,
    }
    scales = {} if chance is None else {"test_chance": chance}
    found = lr.record(
        STEPS, curves, unit="step", scales=scales, ending="running", weight_decay=decay
    )
    about = {"num_test": [num_test, num_test], "rule": "adamw", "betas": [0.9, beta]}
    found.attrs["monitor"] = json.dumps(about)
    if margins:
        found["test_margin_ratio"] = ("time", z)
    if flow is not None:
        found["flow_time"] = ("time", flow)
    return found


def until(whole: xr.Dataset, step: float) -> xr.Dataset:
    return whole.isel(time=slice(0, int(np.searchsorted(STEPS, step)) + 1))


def crossing(level, start=-3.0):
    """The step at which a level of accuracy is passed, in closed form."""
    slow = max(TURN - start, 0.0) / SLOW
    return FIT * math.exp(slow + (NORMAL.inv_cdf(level) - max(TURN, start)) / FAST)


@pytest.mark.parametrize("asked", [150, 200, 300])
def test_margins_that_grow_by_the_law_give_their_own_times(asked):
    found = lr.remaining(until(record(growing()), asked))
    assert found.t_half == pytest.approx(crossing(0.5), rel=1e-9)
    assert found.t_test == pytest.approx(crossing(0.95), rel=1e-9)
    for time, (low, high) in (
        (found.t_half, found.t_half_interval),
        (found.t_test, found.t_test_interval),
    ):
        assert found.now <= low < time < high
    assert found.unit == "step"


def test_intervals_shrink_towards_the_event():
    whole = record(growing())
    widths = []
    for asked in (150, 300, 600, 800):
        low, high = lr.remaining(until(whole, asked)).t_test_interval
        widths.append(math.log(high / low))
    assert widths == sorted(widths, reverse=True)
    assert widths[-1] < 0.6 * widths[0]


def test_the_verdict_waits_until_the_accuracy_is_surely_above_chance():
    whole = record(growing())
    early = lr.remaining(until(whole, 150))
    assert (early.verdict, early.confidence) == ("cannot_say", "low")
    assert "if it generalises" in early.reasons[0]
    # At step 350 the accuracy is 0.4, and half comes at 4.8 times the fit.
    later = lr.remaining(until(whole, 350))
    assert (later.verdict, later.confidence) == ("immediate", "medium")
    slow = record(growing(start=-7.0))
    assert lr.remaining(until(slow, 4500)).verdict == "grok"


def test_without_margins_the_accuracy_is_used_once_it_is_above_chance():
    whole = record(growing(), margins=False)
    early, later = (lr.remaining(until(whole, step)) for step in (150, 380))
    assert math.isnan(early.t_test)
    assert later.t_test == pytest.approx(crossing(0.95), rel=1e-6)


@pytest.mark.parametrize("drift", [0.0, 0.3])
def test_a_control_whose_margins_do_not_grow_gets_no_verdict(drift):
    # Weight decay makes the margins of random labels drift towards those of chance.
    z = NORMAL.inv_cdf(0.05) + drift * np.minimum(np.log(np.maximum(STEPS / FIT, 1.0)) - 1, 0.0)
    z += 0.05 * np.random.default_rng(0).standard_normal(len(z))
    whole = record(z)
    for step in STEPS[STEPS > 2 * FIT]:
        assert lr.remaining(until(whole, step)).verdict == "cannot_say"


def test_a_training_that_has_ended_gets_none_only_after_weight_decay_has_acted():
    z = np.full(len(STEPS), NORMAL.inv_cdf(0.05))
    for decay, verdict in ((1e-3, "cannot_say"), (1.0, "none")):
        whole = record(z, flow=1e-3 * STEPS, decay=decay)
        assert lr.remaining(whole).verdict == verdict


def test_times_follow_the_sum_of_learning_rates():
    # The rate falls to a tenth at step 150: margins grow with the sum of rates, the rest takes
    # ten times as many steps.
    flow = np.where(STEPS < 150, STEPS, 150 + 0.1 * (STEPS - 150))
    z = grown(np.log(np.maximum(flow / FIT, 1.0)), -3.0)
    found = lr.remaining(until(record(z, flow=flow), 1000))
    assert found.t_test == pytest.approx(150 + 10 * (crossing(0.95) - 150), rel=1e-6)


def test_for_another_optimiser_the_present_rate_is_extrapolated():
    z = -3 + 1.2 * np.log(np.maximum(STEPS / FIT, 1.0))
    whole = record(z, beta=0.999)
    found = lr.remaining(until(whole, 600))
    assert found.t_half == pytest.approx(FIT * math.exp(3 / 1.2), rel=1e-6)
    assert found.t_test == pytest.approx(FIT * math.exp((3 + NORMAL.inv_cdf(0.95)) / 1.2), rel=1e-6)
    assert found.confidence == "low"
    assert any("beta_2" in reason for reason in found.reasons)
    known = lr.remaining(until(record(z), 600))
    assert known.t_test < 0.6 * found.t_test
    assert not any("beta_2" in reason for reason in known.reasons)


def test_no_times_are_given_before_they_are_sure_where_no_runs_calibrate_the_rate():
    early = lr.remaining(until(record(growing(), beta=0.999), 150))
    assert early.verdict == "cannot_say"
    assert np.isnan([early.t_half, early.t_test, *early.t_test_interval]).all()
    assert "no times are given" in early.reasons[0]
    assert lr.remaining(until(record(growing()), 150)).t_test > 150


def test_intervals_are_those_of_the_page():
    found = lr.remaining(until(record(growing()), 200))
    for time, (low, high) in (
        (found.t_half, found.t_half_interval),
        (found.t_test, found.t_test_interval),
    ):
        width = math.hypot(0.27 * math.log(time / found.now), 0.14)
        assert math.log(high / time) == pytest.approx(width, rel=1e-9)
        assert low == pytest.approx(max(time * math.exp(-width), found.now), rel=1e-9)


def test_a_learning_rate_of_zero_moves_nothing_and_a_warm_up_from_zero_counts_from_there():
    whole = record(growing(), flow=np.minimum(STEPS, 300.0))
    resting = lr.remaining(until(whole, 500))
    assert (resting.verdict, math.isnan(resting.t_test)) == ("cannot_say", True)
    assert "learning rate is 0" in resting.reasons[0]
    # Two records at time 0, and a rate of a half from then on: times are steps of today's rate.
    flow = np.maximum(0.5 * (STEPS - 2), 0.0)
    z = grown(np.log(np.maximum(flow / 49, 1.0)), -3.0)
    found = lr.remaining(until(record(z, flow=flow), 300))
    assert found.t_test == pytest.approx(2 + 2 * 0.49 * crossing(0.95), rel=1e-6)


def test_an_accuracy_that_is_high_but_has_not_held_is_no_forecast():
    z = growing()
    last = int(np.argmax(accuracies(z) >= 0.95))
    found = lr.remaining(record(z).isel(time=slice(0, last + 1)))
    assert math.isnan(found.t_test)
    assert "not held" in found.reasons[0]


def test_a_score_that_was_high_and_fell_is_no_advice_to_stop():
    z = np.where(STEPS < 1000, growing(start=1.0), -1.5)
    found = lr.remaining(record(z))
    assert found.verdict == lr.remaining(record(z)).verdict == "misgrok"
    assert "It generalises" not in found.advice


@pytest.mark.parametrize("thresholds", [{"test": 1.0}, {"loss": 0.1}])
def test_levels_that_are_not_extrapolated_are_named(thresholds):
    found = lr.remaining(until(record(growing()), 300), lr.Thresholds(**thresholds))
    assert "extrapolated" in found.reasons[0]
    assert "Train on" not in found.advice


def test_a_chance_that_is_not_known_costs_confidence():
    found = lr.remaining(until(record(growing(), chance=None), 300))
    assert found.confidence == "low"
    assert any("chance accuracy is not known" in reason for reason in found.reasons)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda r: r.isel(time=slice(None, None, -1)),
        lambda r: r.assign_coords(time=("time", np.full(r.sizes["time"], 5.0), r.time.attrs)),
        lambda r: r.assign_coords(step=("time", np.arange(r.sizes["time"])[::-1])),
        lambda r: r.assign_coords(step=("time", np.full(r.sizes["time"], np.nan))),
    ],
)
def test_what_is_no_record_of_a_training_is_refused_in_one_line(spoil):
    with pytest.raises(lr.InputError) as refused:
        lr.remaining(spoil(until(record(growing()), 300)))
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    "change",
    [
        lambda r: r.assign(test_margin_ratio=("time", np.full(r.sizes["time"], np.nan))),
        lambda r: r.assign(test_margin_ratio=("time", np.full(r.sizes["time"], np.inf))),
        lambda r: r.assign(test_margin_ratio=("time", np.geomspace(1, 1e300, r.sizes["time"]))),
        lambda r: r.assign(flow_time=("time", np.full(r.sizes["time"], np.inf))),
        lambda r: r.assign(test_margin_ratio=(("time", "x"), np.ones((r.sizes["time"], 2)))),
        lambda r: r.assign_attrs(monitor=json.dumps({"num_test": [10**400], "betas": [0.9, -5.0]})),
    ],
)
def test_odd_values_in_a_record_end_in_an_answer(change):
    found = lr.remaining(change(until(record(growing()), 300)))
    assert found.confidence == "low" or found.t_test > found.now
    json.dumps(found.summary(), allow_nan=False)


def test_half_and_level_that_have_passed_are_those_of_the_record():
    whole = record(growing())
    half = lr.remaining(until(whole, 500))
    assert half.t_half <= half.now
    assert half.t_half_interval == (half.t_half, half.t_half)
    assert half.t_half == pytest.approx(crossing(0.5), rel=0.01)
    done = lr.remaining(whole)
    assert done.t_test == pytest.approx(lr.transition(whole).t_test)
    assert done.t_test_interval == (done.t_test, done.t_test)
    assert "stop" in done.advice


def test_where_a_part_is_right_at_the_fit_times_wait_for_the_rise():
    # z stands still up to step 1,000, and then grows by 1.4 for each factor of e.
    z = -0.3 + 1.4 * np.log(np.maximum(STEPS / 1000, 1.0))
    whole = record(z)
    assert math.isnan(lr.remaining(until(whole, 900)).t_test)
    found = lr.remaining(until(whole, 1800))
    now = found.now
    # The geometric mean of the present rate and of 2.8, the rate at the end of the rise.
    ahead = (NORMAL.inv_cdf(0.95) - (-0.3 + 1.4 * math.log(now / 1000))) / math.sqrt(1.4 * 2.8)
    assert found.t_test == pytest.approx(now * math.exp(ahead), rel=1e-6)
    assert found.t_half == pytest.approx(1000 * math.exp(0.3 / 1.4), rel=0.02)  # has passed


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda r: until(r, 60), "not fitted"),
        (lambda r: until(r, 125), "too few records"),
        (lambda r: r.assign_attrs(ending="diverged"), "failed"),
        (
            lambda r: until(r.drop_vars(["train_accuracy", "test_accuracy"]), 300),
            "only test accuracies",
        ),
    ],
)
def test_where_nothing_can_be_said_the_reason_is(change, reason):
    found = lr.remaining(change(record(growing())))
    assert found.verdict == "cannot_say"
    assert any(reason in text for text in found.reasons), found.reasons
    assert math.isnan(found.t_half)
    assert math.isnan(found.t_test)
    json.dumps(found.summary(), allow_nan=False)


def test_with_two_classes_the_present_rate_is_extrapolated_once_it_is_surely_above_chance():
    whole = record(growing(start=0.2), chance=0.5)
    found = lr.remaining(until(whole, 150))
    assert (found.verdict, found.confidence) == ("immediate", "low")
    assert "chance accuracy is 0.5" in found.reasons[0]
    assert "no runs calibrate" in found.reasons[0]
    assert found.t_test == pytest.approx(crossing(0.95, start=0.2), rel=1e-6)
    low, high = found.t_test_interval
    assert low < found.t_test < high
    # One half is chance: its time says nothing.
    assert math.isnan(found.t_half)
    # Half of the change above chance is at an accuracy of 0.75, by the law 20 times the fit from
    # z = -4.6 on; 0.95 comes at 30 times. The verdict depends on the first.
    late = until(record(growing(start=-4.6), chance=0.5), crossing(0.65, start=-4.6))
    for delay, verdict in ((18, "grok"), (25, "immediate")):
        assert lr.remaining(late, lr.Thresholds(delay=delay)).verdict == verdict
    # No time before, where with many classes there is one.
    early = until(record(growing(start=-0.1), chance=0.5, num_test=40), 135)
    assert math.isnan(lr.remaining(early).t_test)
    assert "no times are given before they are sure" in lr.remaining(early).reasons[0]
    assert lr.remaining(until(record(growing(start=-0.1), num_test=40), 135)).t_test > 150
    # A level below chance is reached by labels that say nothing.
    reason = lr.remaining(until(whole, 150), lr.Thresholds(test=0.45)).reasons[0]
    assert reason == "the chance accuracy is 0.5, not below the level 0.45"


def test_text_names_steps_and_what_to_do():
    text = str(lr.remaining(until(record(growing()), 300)))
    assert f"step {crossing(0.95):,.0f}, from step" in text
    assert "random labels as a control" in text


def test_the_doubt_is_the_one_that_there_is():
    # After a fit at an accuracy of 0.5 the margins fall, and grow again to what they were.
    since = np.log(np.maximum(STEPS / FIT, 1.0))
    dips = np.where(since < 1, -0.5 * since, -0.5 + (since - 1))
    found = lr.remaining(until(record(dips), 430))
    assert "may not have risen since the fit" in found.reasons[0]
    low = lr.remaining(until(record(growing()), 200))
    assert "not above chance yet" in low.reasons[0]


def test_a_log_without_margins_is_told_of_its_accuracy():
    z = np.full(len(STEPS), NORMAL.inv_cdf(0.2))
    assert "test accuracy does not grow" in lr.remaining(record(z, margins=False)).reasons[0]
    assert "test margins do not grow" in lr.remaining(record(z)).reasons[0]

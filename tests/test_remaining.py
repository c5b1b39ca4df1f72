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
    assert found.t50 == pytest.approx(crossing(0.5), rel=1e-9)
    assert found.t_test == pytest.approx(crossing(0.95), rel=1e-9)
    for time, (low, high) in (
        (found.t50, found.t50_interval),
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


@pytest.mark.parametrize("noise", [0.0, 0.05])
def test_a_control_whose_margins_do_not_grow_gets_no_verdict(noise):
    z = np.full(len(STEPS), NORMAL.inv_cdf(0.05))
    z += noise * np.random.default_rng(0).standard_normal(len(z))
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
    assert found.t50 == pytest.approx(FIT * math.exp(3 / 1.2), rel=1e-6)
    assert found.t_test == pytest.approx(FIT * math.exp((3 + NORMAL.inv_cdf(0.95)) / 1.2), rel=1e-6)
    assert found.confidence == "low"
    assert any("beta_2" in reason for reason in found.reasons)
    known = lr.remaining(until(record(z), 600))
    assert known.t_test < 0.6 * found.t_test
    assert not any("beta_2" in reason for reason in known.reasons)


def test_half_and_level_that_have_passed_are_those_of_the_record():
    whole = record(growing())
    half = lr.remaining(until(whole, 500))
    assert half.t50 <= half.now
    assert half.t50_interval == (half.t50, half.t50)
    assert half.t50 == pytest.approx(crossing(0.5), rel=0.01)
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
    assert found.t50 <= now or math.isnan(found.t50)


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
    assert math.isnan(found.t50)
    assert math.isnan(found.t_test)
    json.dumps(found.summary(), allow_nan=False)


def test_few_classes_are_refused_because_nothing_calibrates_them():
    found = lr.remaining(until(record(growing(start=0.2), chance=0.5), 200))
    assert found.verdict == "cannot_say"
    assert "chance accuracy is 0.5" in found.reasons[0]


def test_text_names_steps_and_what_to_do():
    text = str(lr.remaining(until(record(growing()), 300)))
    assert f"step {crossing(0.95):,.0f}, from step" in text
    assert "random labels as a control" in text

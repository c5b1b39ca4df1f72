"""Forecasts by pilots: runs at a higher learning rate, in fewer steps."""

import json
import math
from functools import partial
from typing import Any

import numpy as np
import pytest

import lazyrich as lr
from lazyrich import InputError
from lazyrich.forecasts.by_pilots import conclude_by_pilots
from lazyrich.forecasts.calibration import family_of_pilots
from lazyrich.forecasts.course import Course
from lazyrich.forecasts.pilot import Pilot
from lazyrich.forecasts.verdict import confidence_of
from lazyrich.records.transition.scales import scales_of_numbers
from tests.helpers import call_command, given

SLOW = 0.002


def two_rates(fast, steps=3000):
    """Linear regression by gradient descent on two coordinates that do not affect each other.

    A step multiplies the error of the first by 1 - `fast` and of the second by 1 - `SLOW`. The
    first fits the training labels. The test labels depend only on the second.
    """
    a, b = math.sqrt(fast), math.sqrt(SLOW)
    x = np.array([[a, 0], [-a, 0], [0, b], [0, -b]])
    test = np.array([[0.0, 1.0], [0.0, -1.0]])
    task = lr.tasks.Arrays(
        x_train=given(x), y_train=given(x @ [1, 1]), x_test=given(test), y_test=given(test @ [1, 1])
    )
    return lr.Experiment(
        task=task,
        model=lr.models.MLP(widths=(), activation="identity", bias=False),
        loss=lr.losses.Squared(),
        init_scale=1e-6,
        t1=float(steps),
        dynamics=lr.dynamics.GradientDescent(learning_rate=1.0),
        times=lr.dynamics.Times(num_log=80, num_linear=200),
    )


LATE = lr.Thresholds(delay=3.0, train=0.95)


def half_time(fast, steps=3000, factor=1):
    """When the test score is half-way at a factor: errors are (1 - factor * rate)^step."""
    times = np.union1d(np.geomspace(1, steps, 80), np.linspace(0, steps, 201))
    step = np.unique((times / factor).round())
    first, second = ((1 - factor * rate) ** (2 * step) for rate in (fast, SLOW))
    losses = {"train_loss": (fast * first + SLOW * second) / 2, "test_loss": second}
    variances = {"train_variance": (fast + SLOW) / 2, "test_variance": 1.0}
    return lr.transition(lr.record(factor * step, losses, scales=variances), LATE).t50


def test_gradient_descent_in_closed_form():
    found = lr.forecast(two_rates(0.06), passage="pilot", thresholds=LATE)
    assert (found.verdict, found.outcome) == ("grok", "grokked")
    assert found.method.startswith("pilots at 16, 8 times the learning rate, 19 % of")
    mean = found.t50 / math.exp(found.family.middle)
    exact = math.sqrt(half_time(0.06, factor=16) * half_time(0.06, factor=8))
    assert mean == pytest.approx(exact, rel=1e-3)
    # Longer steps are early by a part of `factor * rate`, most of it at the fit.
    assert mean == pytest.approx(half_time(0.06), rel=0.1)
    assert found.curves_of == "pilot at factor 8"
    assert found.clock.shows(found.t50) == pytest.approx(found.family.middle, abs=1e-3)
    assert np.isnan(found.t_kernel_end)
    assert np.all(np.isnan(found.indicator))
    low, high = found.t50_interval
    assert low < found.t50 < high


@pytest.mark.parametrize(("fast", "stable"), [(0.2, (8, 4)), (0.4, (4,))])
def test_unstable_pilots_are_replaced(fast, stable):
    found = lr.forecast(two_rates(fast, 1600), passage="pilot", thresholds=LATE)
    assert found.verdict == "grok"
    read = next(reason for reason in found.reasons if reason.startswith("t50 from"))
    assert [f"at factor {k}" in read for k in (16, 8, 4)] == [k in stable for k in (16, 8, 4)]
    assert found.t50_interval[0] < half_time(fast, 1600) < found.t50_interval[1]
    # One pilot says less than two.
    assert any("factor 16 does not keep a fit" in reason for reason in found.reasons)


def test_pilots_that_all_diverge_say_nothing():
    found = lr.forecast(two_rates(0.7, 1600), passage="pilot", thresholds=LATE)
    assert (found.verdict, found.confidence, found.outcome) == ("cannot_say", "low", None)
    assert np.isnan(found.t50)
    assert found.advice == "Simulate the run (lazyrich run)."


def test_what_has_no_pilots():
    experiment = two_rates(0.06)
    with pytest.raises(InputError, match=r"pilot.*Flow has none"):
        lr.forecast(experiment.with_changes({"dynamics.kind": "Flow"}), passage="pilot")
    with pytest.raises(InputError, match=r"t1.*too few steps"):
        lr.forecast(experiment.with_changes({"t1": 300.0}), passage="pilot")
    with pytest.raises(InputError, match="num_samples"):
        lr.forecast(experiment, passage="pilot", num_samples=2)


def pilot(factor, t50, **scales):
    times = np.concatenate([[0.0], np.geomspace(1, 1e4, 200)])
    fit, rise = (times > 5).astype(float), np.append(0.0, 1 / (1 + (times[1:] / t50) ** -8))
    curves = {
        "train_loss": 1 - 0.99 * fit,
        "test_loss": 1 - rise,
        "train_accuracy": fit,
        "test_accuracy": rise,
        "param_norm": np.ones(len(times)),
    }
    course = Course(times, curves, scales_of_numbers(scales))
    return Pilot.of(factor, course, "completed", lr.Thresholds(), 10_000)


@pytest.mark.parametrize(("times", "agree"), [((600, 500), True), ((3000, 300, 1200), False)])
def test_an_interval_contains_pilots_that_disagree(times, agree):
    pilots = [pilot(factor, t50) for factor, t50 in zip((16, 8, 4), times, strict=False)]
    found = conclude_by_pilots(partial(family_of_pilots, addition()), pilots, lr.Thresholds())[0]
    low, high = found.t50_interval
    assert agree or all(low <= one.events.t50 <= high for one in pilots[-2:])
    assert any("disagree" in reason.text for reason in found.reasons) != agree
    assert (confidence_of(found.reasons) == "low") != agree


def test_the_horizon_is_about_the_time_of_the_sentence():
    # Half of the change is at an accuracy of one half; above a chance of one half it is at 0.75,
    # where (t / t50)^8 = 3. Sentences have the later time, so advice must not end before it.
    pilots = [pilot(factor, 500, test_chance=0.5) for factor in (16, 8)]
    family_at = partial(family_of_pilots, addition())
    said = conclude_by_pilots(family_at, pilots, lr.Thresholds())[0]
    assert said.held_after == pytest.approx(3 ** (1 / 8), rel=1e-2)
    assert f"at t = {500 * said.held_after:.3g}" in said.reasons[0].text
    many = [pilot(factor, 500) for factor in (16, 8)]
    same = conclude_by_pilots(family_at, many, lr.Thresholds())[0]
    assert same.held_after == pytest.approx(1, abs=1e-6)


def test_constants_are_of_what_was_run():
    covered = family_of_pilots(addition(), (16, 8))
    assert covered.known
    changes: list[dict[str, Any]] = [
        {"decayed": "matrices"},
        {"model": addition().model.model_copy(update={"activation": "leaky_relu"})},
        {"dynamics": lr.dynamics.GradientDescent(learning_rate=3e-3)},
        {"task": lr.tasks.Images(source="digits", n=20, num_test=20)},
    ]
    for change in changes:
        assert not family_of_pilots(addition(**change), (16, 8)).known


def test_noise_of_labels_drifts_as_much():
    fast = lr.dynamics.LabelNoiseSGD(learning_rate=1e-3, noise=0.3).faster(4)
    assert fast.learning_rate * fast.noise**2 == pytest.approx(1e-3 * 0.3**2)


def test_moments_forget_in_the_same_time():
    fast = lr.dynamics.AdamW(learning_rate=1e-3, beta1=0.9, beta2=0.98).faster(4)
    assert fast.learning_rate == 4e-3
    assert (fast.beta1, fast.beta2) == pytest.approx((0.9**4, 0.98**4))
    assert lr.dynamics.Flow().faster(4) is None


def addition(**more):
    fields: dict[str, Any] = {
        "task": lr.tasks.ModularArithmetic(p=19, train_fraction=0.8),
        "model": lr.models.MLP(widths=(96,), outputs=19, bias="all", initialisation="uniform"),
        "loss": lr.losses.CrossEntropy(),
        "weight_decay": 1.0,
        "t1": 12.0,
        "dynamics": lr.dynamics.AdamW(learning_rate=3e-3, beta2=0.98),
        "precision": "float32",
    }
    return lr.Experiment(**fields | more)


@pytest.mark.slow
def test_addition_by_adamw_and_its_control():
    experiment = addition(probes=("train_loss", "test_loss", "train_accuracy", "test_accuracy"))
    found = lr.forecast(experiment, passage="pilot")
    came = lr.transition(lr.simulate(experiment))
    # Pilots differ from runs by 15 % at random (standard deviation), so an interval can miss.
    assert found.t50 == pytest.approx(came.t50, rel=0.5)
    assert found.verdict in ("grok", "immediate")
    assert came.outcome in ("grokked", "gradual")
    low, high = found.t50_interval
    assert low < found.t50 < high < 2 * low
    assert found.late["test_accuracy"] == pytest.approx(came.final_score, abs=0.3)
    control = addition(
        task=lr.tasks.ModularArithmetic(p=19, train_fraction=0.8, random_labels=True)
    )
    assert lr.forecast(control, passage="pilot").verdict == "none"


@pytest.mark.slow
def test_command_line(monkeypatch, capsys, tmp_path):
    run = ("forecast", tmp_path / "it.toml", "--pilot")
    two_rates(0.06).save(tmp_path / "it.toml")
    levels = ("--threshold", "delay=3", "--threshold", "train=0.95")
    assert call_command(monkeypatch, *run, *levels, "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["verdict"], found["t_kernel_end"]) == ("grok", None)
    assert found["t50_interval"][0] < found["t50"]
    assert call_command(monkeypatch, *run, "--solve") == 2
    assert "excludes --solve" in capsys.readouterr().err

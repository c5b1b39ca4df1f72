"""Forecasts of modular arithmetic: the norm of the end, the clock of the norm, verdicts."""

import math

import numpy as np
import optax
import pytest
import scipy.optimize

import lazyrich as lr
from lazyrich._run.prepared import prepare
from lazyrich.forecasts.by_family import end_by_family
from lazyrich.forecasts.calibration import Family, families, family_of
from lazyrich.forecasts.norm_clock import end_norm, norm_clock
from tests.helpers import in_double

FAMILY = families()["MLP on ModularArithmetic"]
LIKE = {"share": 0.8, "width": 8.0, "norm": 190.0}


def addition(p=11, share=0.85, width=88, **fields):
    task = {"operation": fields.pop("operation", "addition")}
    task["random_labels"] = fields.pop("random", False)
    base = {"init_scale": 10.0, "weight_decay": 1e-3, "t1": 1.5e4, "seed": 0}
    return lr.Experiment(
        task=lr.tasks.ModularArithmetic(p=p, train_fraction=share, **task),
        model=lr.models.MLP(widths=(width,), one_hot=2, outputs=p, zero_last=True),
        loss=lr.losses.CrossEntropy(),
        dynamics=lr.dynamics.Flow(rtol=1e-2),
        **(base | fields),
    )


@pytest.mark.parametrize("weight_decay", [1e-4, 1e-3, 5e-3])
def test_the_norm_of_the_end_minimises_the_loss(weight_decay):
    # If one output is higher than the others by gamma |theta|^2 on every sample.
    margin, c = 0.1, 19
    total = lambda n: math.log1p((c - 1) * math.exp(-margin / c * n**2)) + 0.5 * weight_decay * n**2
    found = scipy.optimize.minimize_scalar(total, bounds=(1, 200), options={"xatol": 1e-9})
    assert end_norm(margin, c, weight_decay) == pytest.approx(found.x, rel=1e-6)


def test_the_norm_of_the_end_is_zero_from_the_collapse_on():
    margin, c = 0.1, 19
    at_collapse = 2 * margin / c * (c - 1) / c
    assert end_norm(margin, c, 0.99 * at_collapse) > 0
    assert math.isnan(end_norm(margin, c, 1.01 * at_collapse))
    # One output is above no other.
    assert math.isnan(end_norm(margin, 1, 0.0))
    assert not FAMILY.at(math.nan, 60, {"outputs": 1.0, "decay": math.nan, **LIKE}).collapses


@pytest.mark.parametrize(
    ("weight_decay", "published"), [(1e-4, 81.81), (3e-4, 73.93), (1e-3, 63.49), (3e-3, None)]
)
def test_published_norms_of_modular_addition(weight_decay, published):
    # Lyu et al., figure 2 (c), p = 97: the margin is from runs with p up to 31. At 3e-3 the
    # published run collapses.
    found = end_norm(FAMILY.margin, 97, weight_decay)
    assert math.isnan(found) if published is None else found == pytest.approx(published, rel=0.03)


@pytest.mark.usefixtures("double")
def test_the_clock_of_the_norm_is_that_of_pure_decay():
    problem = prepare(addition()).problem
    clock = norm_clock(problem, FAMILY.margin)
    start = float(problem.model.norm(problem.params))
    reached = math.log(start / end_norm(FAMILY.margin, 11, 1e-3)) / 1e-3
    assert clock.when(0.0) == pytest.approx(reached)
    for value in (0.5, 3.0):
        assert clock.when(value) == pytest.approx(reached + value / 1e-3)
        assert clock.shows(clock.when(value)) == pytest.approx(value)
    assert math.isnan(norm_clock(prepare(addition(weight_decay=0.1)).problem, 0.1).when(3.0))
    # Also where it is zero before time 0, whatever the rounding of this time.
    small = prepare(addition(init_scale=1.0)).problem
    for margin in np.linspace(0.05, 0.3, 300):
        reached = math.log(0.1 * start / end_norm(float(margin), 11, 1e-3)) / 1e-3
        assert reached < 0
        assert norm_clock(small, float(margin)).when(0.5) == pytest.approx(reached + 500)


def test_a_constant_is_scaled_by_powers_of_descriptors():
    family = Family(
        "", 1.0, 2.0, 3.0, True, "", margin=0.5, powers={"width": -0.5, "left": -1.0},
        reference={"width": 4.0, "left": 1.0},
    )  # fmt: skip
    like = {"width": 16.0, "decay": 0.75, "outputs": 4.0, "norm": 1.0}
    found = family.at(math.nan, 60, like)
    # (16/4)^-1/2 / (1 - 0.75)
    assert (found.low, found.middle, found.high) == pytest.approx((2.0, 4.0, 6.0))
    assert found.left == pytest.approx(0.25)
    unknown = family.at(math.nan, 60, like | {"width": math.nan})
    assert unknown.middle == pytest.approx(8.0)


@in_double
def initial_norm(experiment):
    return float(optax.tree.norm(prepare(experiment).problem.params))


def said(**fields):
    return lr.forecast(addition(19, 0.8, 128, **fields), passage="calibrated")


@pytest.mark.slow
def test_verdicts_of_modular_arithmetic():
    found = said()
    assert (found.verdict, found.confidence) == ("grok", "medium")
    # 2.74 at p = 23, scaled by hand to 288 of 361 pairs, 128 ReLUs and this decay.
    left = 1 - 1e-3 * 19**2 / 18 / (2 * 0.116)
    value = 2.74 * (23 / 19) ** 1.505 * (0.8 * 361 / 288) ** 3.525
    value *= (8 * 19 / 128) ** 0.312 / left**0.712
    t50 = (
        math.log(initial_norm(addition(19, 0.8, 128)) / end_norm(0.116, 19, 1e-3)) + value
    ) / 1e-3
    assert found.t50 == pytest.approx(t50, rel=1e-6)
    assert found.t50_interval[0] > 10 * found.t_fit
    # Random labels, and a decay at which the loss has no minimum but zero parameters.
    for fields, advice in (
        ({"random": True}, "Nothing to learn"),
        ({"weight_decay": 0.02}, "Lower weight_decay: it is so strong"),
    ):
        control = said(**fields)
        assert control.verdict == "none"
        assert math.isnan(control.t50)
        assert control.advice.startswith(advice)
    # No runs of this operation.
    assert said(operation="x2_plus_xy").verdict == "cannot_say"


@pytest.mark.parametrize(
    ("changed", "known"),
    [
        ({}, True),
        ({"supply": 2.5}, False),  # too few pairs: runs hardly generalise
        ({"left": 0.2}, False),  # near the collapse
        ({"outputs": 13.0}, False),
        # Each number is in its range, together they are extreme: a run does not generalise.
        ({"share": 0.65, "supply": 3.1, "width": 4.0, "left": 0.27}, False),
        ({"norm": 30.0}, False),  # below the norm of the end: it does not decay to it
    ],
)
def test_outside_of_its_runs_the_family_is_not_known(changed, known):
    like = {"outputs": 23.0, "share": 0.8, "supply": 3.8, "width": 8.0}
    like |= {"norm": 190.0, "decay": 2 * FAMILY.margin * (1 - changed.pop("left", 0.9))}
    assert FAMILY.on("CrossEntropy", like | changed).known == known


@pytest.mark.parametrize(
    ("t_fit", "interval", "verdict", "cause"),
    [
        (10.0, (100.0, 200.0), "grok", "rises above chance"),
        (30.0, (100.0, 200.0), "immediate", "rises above chance"),
        (
            15.0,
            (100.0, 200.0),
            "cannot_say",
            "the time of the fit, 150, is in the interval",
        ),
        (math.nan, (100.0, 200.0), "cannot_say", "the time of the fit is not known"),
    ],
)
def test_a_verdict_of_similar_runs_names_its_cause(t_fit, interval, verdict, cause):
    known = FAMILY.at(math.nan, 60, {"outputs": 23.0, "decay": 0.02, **LIKE})
    thresholds = lr.Thresholds()
    found = end_by_family(addition(23), known, t_fit, interval, thresholds)
    assert found.verdict == verdict
    assert cause in found.reason.text
    other = known.on("Squared", {**LIKE, "outputs": 23.0, "decay": 0.02, "supply": 3.8})
    unknown = end_by_family(addition(23), other, t_fit, interval, thresholds)
    assert unknown.verdict == "cannot_say"
    assert "the direction of a change is unknown" in unknown.reason.text


def test_only_relu_nets_that_start_at_zero_have_this_margin():
    for operation in ("addition", "subtraction", "multiplication"):
        assert family_of(addition(19, operation=operation), "grok") == FAMILY
    net = lr.models.MLP(widths=(9,), outputs=19, zero_last=True)
    for changes in (
        {"model": net.model_copy(update={"activation": "quadratic"})},
        {"model": net.model_copy(update={"activation": "leaky_relu"})},
        {"model": net.model_copy(update={"activation": "identity"})},
        {"model": net.model_copy(update={"zero_last": False})},
        {"model": net.model_copy(update={"bias": False})},
        {"model": net.model_copy(update={"output_scale": 2.0})},
        {"model": net.model_copy(update={"parametrisation": "mean_field"})},
        {"loss": lr.losses.Squared()},
        {"task": lr.tasks.ModularArithmetic(p=19, operation="x2_plus_xy")},
        {"task": lr.tasks.ModularArithmetic(p=21, operation="multiplication")},
    ):
        other = addition(19).model_copy(update=changes)
        assert family_of(other, "grok").name == "unknown"

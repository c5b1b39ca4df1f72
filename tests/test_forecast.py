"""The kernel flow against closed forms and independent solvers, the forecast against runs."""

import dataclasses
import functools
import itertools
import json
import re
import sys
from typing import Any
from unittest import mock

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest
import scipy.integrate
import scipy.linalg
import scipy.special
import xarray as xr

import lazyrich as lr
from lazyrich import cli
from lazyrich._run.prepared import prepare
from lazyrich.dynamics import Problem
from lazyrich.forecasts import before_run
from lazyrich.forecasts.advice import Horizon, advice_by_verdict, advice_of
from lazyrich.forecasts.before_run import follows_the_flow
from lazyrich.forecasts.by_family import calibrated
from lazyrich.forecasts.calibration import family_of
from lazyrich.forecasts.conclude import with_grain, with_steps
from lazyrich.forecasts.course import Course
from lazyrich.forecasts.descriptors import descriptors
from lazyrich.forecasts.flow import kernel_flow
from lazyrich.forecasts.kernel import Dense, Passes, Repeated, kernel_of
from lazyrich.forecasts.options import ForecastOptions
from lazyrich.forecasts.phase import Breakdown, Clock, KernelPhase, crossing, kernel_phase
from lazyrich.forecasts.solve import solve
from lazyrich.forecasts.transition import params_at
from lazyrich.forecasts.verdict import Reason, confidence_of
from lazyrich.records.transition import Scales
from lazyrich.tasks import Samples
from tests.helpers import diagonal_problem, in_double, relative_error, silent

NET = lr.models.MLP(widths=(7,), outputs=3, zero_last=True)


@in_double
def net_problem(loss=None, weight_decay=1e-2, model=NET, init_scale=2.0):
    x = jr.normal(jr.key(1), (5, 4))
    y = jnp.array([0, 1, 2, 1, 0], jnp.int32)
    params = jax.tree.map(lambda p: init_scale * p, model.init(jr.key(2), 4))
    return Problem(Samples(x, y), params, weight_decay, model, loss or lr.losses.CrossEntropy())


@in_double
def jacobian(problem, params):
    flat, unravel = jax.flatten_util.ravel_pytree(params)
    f = lambda flat: jnp.ravel(problem.model.apply(unravel(flat), problem.train.x))
    return np.asarray(jax.jacrev(f)(flat))


def unobserved(time, v):
    return {"indicator": jnp.zeros(())}


@pytest.mark.slow
@pytest.mark.usefixtures("double")
def test_every_form_is_the_kernel():
    problem = net_problem()
    rows = jacobian(problem, problem.params)
    matrix, v = rows @ rows.T, np.asarray(jr.normal(jr.key(3), (15,)))
    found = kernel_of(problem)
    assert isinstance(found, Repeated)
    assert found.block.shape == (5, 5)
    others = [Dense(jnp.asarray(matrix)), Passes(problem.model, problem.params, problem.train.x)]
    for kernel in (found, *others):
        assert relative_error(kernel.product(jnp.asarray(v)), matrix @ v) < 1e-12
    # A last layer that is not zero ties outputs together.
    bound = net_problem(model=NET.model_copy(update={"zero_last": False}))
    assert isinstance(kernel_of(bound), Dense)


@pytest.mark.usefixtures("double")
def test_the_kernel_of_one_output_of_a_net_and_of_a_function():
    # A net has a net of its first output; of a function lazyrich knows none.
    problem = net_problem()
    own: Any = lr.models.Functions(init_params=NET.init, function=NET.apply, degree=2)
    rows = jacobian(problem, problem.params).reshape(5, 3, -1)[:, 0]
    for model in (NET, own):
        found = kernel_of(dataclasses.replace(problem, model=model))
        assert isinstance(found, Repeated)
        assert relative_error(found.block, rows @ rows.T) < 1e-12


@pytest.mark.usefixtures("double")
def test_a_divided_loss_makes_the_kernel_flow_slower():
    problem = net_problem(weight_decay=0.0, init_scale=1.0)
    plain = kernel_phase(problem, 1e4)
    assert plain.t_end < 1e3
    divided = kernel_phase(dataclasses.replace(problem, loss_divisor=4.0), 4e4)
    assert divided.t_end == pytest.approx(4 * plain.t_end, rel=1e-6)


@pytest.mark.usefixtures("double")
def test_the_time_of_the_fit_is_described_in_units_of_the_decay():
    phase = kernel_phase(net_problem(weight_decay=0.02, init_scale=1.0), 1.0)
    assert descriptors(phase, None, 5, 30.0, 0.6, np.nan)["fit"] == pytest.approx(0.02 * 30)


@pytest.mark.usefixtures("double")
@pytest.mark.parametrize("weight_decay", [0.0, 0.1])
def test_squared_loss_in_closed_form(weight_decay):
    # Without decay, f = (1 - exp(-2 K t / n)) y. With it at L = 2, in a mode of K, with q =
    # exp(-2 lambda t), c = integral of exp(-kappa (sigma - sigma')) y / q dsigma', an exponential
    # integral.
    problem = diagonal_problem(2, lr.losses.Squared(), weight_decay, n=5, d=12)
    flow = kernel_flow(problem)
    times = np.array([0.0, 0.01, 0.3, 2.0, 20.0])
    solved = solve(flow, times, unobserved, 1.0)
    n, y = 5, np.asarray(problem.train.y)
    assert isinstance(flow.kernel, Dense)
    matrix = np.asarray(flow.kernel.matrix)
    for time, v in zip(times, np.asarray(solved.duals), strict=True):
        if weight_decay == 0:
            inside = scipy.linalg.expm(-2 / n * matrix * time)
            wanted = np.linalg.solve(matrix, y - inside @ y)
        else:
            values, vectors = np.linalg.eigh(matrix)
            rate = values / (n * weight_decay)  # kappa times sigma is rate (1 - q)
            q = np.exp(-2 * weight_decay * time)
            ei = scipy.special.expi
            span = np.exp(rate * q) * (ei(-rate) - ei(-rate * q))
            wanted = vectors @ (q * span / (n * weight_decay) * (vectors.T @ y))
        assert np.linalg.norm(v - wanted) <= 2e-5 * np.linalg.norm(wanted) + 1e-15, time


@pytest.mark.slow
@pytest.mark.usefixtures("double")
def test_classification_against_scipy():
    # The dense path by Rodas5P, the others by RKC2, all against LSODA.
    problem = net_problem(weight_decay=0.05)
    rows = jacobian(problem, problem.params)
    matrix, y = rows @ rows.T, np.eye(3)[np.asarray(problem.train.y)]

    def field(t, v):
        p = scipy.special.softmax((matrix @ v).reshape(5, 3), axis=1)
        return -0.1 * v + np.exp(-0.1 * t) * (y - p).ravel() / 5

    times = np.array([0.0, 0.1, 2.0, 30.0])
    exact = scipy.integrate.solve_ivp(
        field, (0, 30), np.zeros(15), "LSODA", times, rtol=1e-10, atol=1e-12
    ).y.T
    for kernel, error in ((Dense(jnp.asarray(matrix)), 1e-4), (kernel_of(problem), 1e-2)):
        solved = solve(kernel_flow(problem, kernel), times, unobserved, 1.0)
        assert solved.ending == "completed"
        assert solved.num_steps < 200
        assert relative_error(solved.duals[1:], exact[1:]) < error
    assert np.max(np.abs(matrix @ exact[2])) > 0.5  # it has gone somewhere


@pytest.mark.slow
@pytest.mark.usefixtures("double")
def test_indicator_by_brute_force():
    problem = diagonal_problem(3, lr.losses.Logistic(), 0.1, n=4, d=9)
    flow, v, time = kernel_flow(problem), np.array([0.4, -0.3, 0.2, 0.1]), 2.0
    found = Breakdown(flow, problem.model, problem.params, problem.train.x)(
        jnp.asarray(time), jnp.asarray(v)
    )
    c = np.exp(3 * 0.1 * time) * v
    start = jacobian(problem, problem.params)
    flat, unravel = jax.flatten_util.ravel_pytree(problem.params)
    moved = jacobian(problem, unravel(flat + start.T @ c))
    form = lambda rows: c @ rows @ rows.T @ c
    assert np.isclose(found["indicator"], form(moved) / form(start) - 1, rtol=1e-10)
    ratio = np.linalg.norm(start.T @ c) / np.linalg.norm(flat)
    assert np.isclose(found["phi_ratio"], ratio, rtol=1e-10)
    assert found["indicator"] > 0.1


def test_crossing_of_an_exponential():
    times = np.linspace(0, 10, 41)
    indicator = np.exp(2 * (times - 3.3))
    assert np.isclose(crossing(times, indicator), 3.3, rtol=1e-12)
    assert np.isnan(crossing(times, 0.1 * indicator / indicator[-1]))


@pytest.mark.parametrize("decays", [True, False])
def test_clock_goes_on_past_its_end(decays):
    # With decay an exponential that slows down where it is one; a power of time without.
    times = np.linspace(0.01, 6, 600)
    indicator = np.exp(2 * (times - 3.3)) if decays else -((times / 5.3) ** 4)
    clock = Clock(times, indicator, 3.0 if decays else np.nan)
    for shown in (-3.0, -1.5, 0.0, 5.0):
        wanted = 3.3 + shown / (2 if shown < 0 else 3) if decays else 5.3 * np.exp(shown / 4)
        assert np.isclose(clock.when(shown), wanted, rtol=1e-4)
        if decays:
            assert np.isclose(clock.shows(wanted), shown, atol=1e-3)
    # Where it does not run, nothing is said to arrive.
    still = Clock(times, np.full(600, 0.5), clock.rate)
    assert np.isnan(still.when(1.0))
    assert np.isnan(still.shows(2.0))
    assert np.isnan(clock.shows(np.nan))


SPARSE = lr.Experiment(
    task=lr.tasks.SparseClassification(n=48, d=600, k=1, num_test=400),
    init_scale=100.0,
    weight_decay=1e-3,
    t1=1e4,
    seed=13,
    probes=("train_loss", "test_loss", "train_accuracy", "test_accuracy"),
)


@pytest.fixture(scope="module")
def sparse():
    return lr.forecast(SPARSE)


@pytest.mark.slow
@pytest.mark.usefixtures("double")
def test_kernel_flow_is_the_true_flow_of_a_large_start():
    # To first order in phi, which is 1/alpha^2 of theta_0: outputs agree to that.
    experiment = SPARSE.with_changes({"init_scale": 1e3})
    problem = prepare(experiment).problem
    phase = kernel_phase(problem, experiment.t1)
    early = (phase.times > 0) & (phase.times < 0.5 * phase.t_end)
    times = np.concatenate([[0.0], phase.times[early]])
    true = lr.dynamics.ReducedFlow(rtol=1e-6).follow(problem, times, silent)
    f = [problem.model.apply(true.params_at(t, jax.tree.map(lambda a, i=i: a[i], true.states)),
                             problem.train.x) for i, t in enumerate(times)]  # fmt: skip
    duals = jnp.asarray(phase.solved.duals)
    ours = [phase.flow.outputs(t, v) for t, v in zip(phase.times, duals, strict=True)]
    assert relative_error(np.stack(ours)[early], np.stack(f)[1:]) < 2e-3
    assert np.max(np.abs(f)) > 3


@pytest.mark.slow
@pytest.mark.parametrize("seed", [13, 14])
def test_diagonal_nets_grok_when_forecast(seed, sparse):
    experiment = SPARSE.with_changes({"seed": seed})
    found = sparse if seed == SPARSE.seed else lr.forecast(experiment)
    record = lr.simulate(experiment)
    run = lr.transition(record)
    assert (found.verdict, run.outcome) == ("grok", "grokked")
    figure = lr.plot.run(record, found)
    axis, named = figure.axes[0], [text.get_text() for text in figure.legends[0].get_texts()]
    assert "half of the change, forecast (grok)" in named
    shown = next(line for line in axis.get_lines() if line.get_label() == "test, kernel flow")
    assert np.max(shown.get_xdata()) <= found.t_kernel_end
    assert found.confidence == "high", found.reasons
    assert abs(np.log(found.t50 / run.t50)) < np.log(1.1)
    low, high = found.t50_interval
    assert low < run.t50 < high
    # The textbook's time is late by half.
    assert found.textbook > 1.3 * run.t50
    # The passage alone, solved: the same change, for part of the run's steps.
    solved = lr.forecast(experiment, passage="solved")
    assert solved.verdict == "grok"
    assert abs(np.log(solved.t50 / run.t50)) < 0.02
    steps = json.loads(record.attrs["solver"])
    assert 0 < solved.num_gradients < 0.7 * steps["num_gradients"]
    assert "the run is solved from t = " in solved.reasons[0]
    assert found.early["test_accuracy"] < 0.7
    assert found.late["test_accuracy"] == 1
    assert 0 < found.t_fit < 1


@pytest.mark.slow
def test_clock_does_not_know_the_scales(tmp_path):
    # From a small start with little decay the kernel phase ends by learning, from a large one with
    # much of it by decay. Half of the change comes at one log I, and not at one C/lambda.
    study = tmp_path / "own"
    study.mkdir()
    over = "[[10.0, 1e-4, 1e5], [1e3, 1e-2, 2e3]]"
    panel = f'[over]\nseed = [13]\n"init_scale,weight_decay,t1" = {over}\n'
    (study / "scales.toml").write_text("forecast = true\n" + SPARSE.to_toml() + panel)
    (result,) = lr.reproduce(study, tmp_path / "store", workers=0)
    found = result.dataset
    assert np.ptp(found["clock"].values) < 0.25
    gap = (found["t50"] - found["forecast_t_kernel_end"]).values * np.array([[1e-4, 1e-2]])
    assert np.ptp(gap) > 0.08
    small = lr.sweeps.forecast_scores(found.isel({found["init_scale"].dims[0]: [0]}))
    assert small.num_timed == 1
    # Where I grows slowly, a small error of it is a large error of the time: solved, from 5e-4 on.
    solved = found["forecast_num_gradients"].values.ravel()
    assert solved[0] > 0 == solved[1]
    assert 30 * small.error < small.baseline
    both = lr.sweeps.forecast_scores(found)
    assert (both.num_runs, both.num_verdicts, both.num_right) == (2, 2, 2)
    assert both.coverage == 1
    np.testing.assert_array_equal(found["forecast_right"], 1.0)
    # From scores on a few coordinates to all of it, in the forecast as in the runs.
    np.testing.assert_allclose(found["forecast_late"], found["late_test_accuracy"], atol=0.02)
    np.testing.assert_allclose(found["forecast_early"], found["early_test_accuracy"], atol=0.05)
    axis = lr.plot.scores(found, "init_scale").axes[0]
    lines = {line.get_label(): line for line in axis.figure.legends[0].get_lines()}
    assert {"rich predictor, forecast", "at the end, grokked (2)"} <= set(lines)
    (marks,) = (line for line in axis.get_lines() if line.get_marker() == "o")
    np.testing.assert_array_equal(marks.get_xdata(), [10.0, 1e3])
    np.testing.assert_array_equal(marks.get_ydata(), found["late_test_accuracy"].values.ravel())
    with pytest.raises(lr.InputError, match=r"dataset = 'forecast_late': should be in"):
        lr.plot.scores(found.drop_vars("forecast_late"), "init_scale")
    figure = lr.plot.forecasts(found)
    assert "DiagonalLinear, depth 2, grok (2)" in [t.get_text() for t in figure.legends[0].texts]
    lr.plot.write_study("own", "quick", [result], tmp_path)
    assert "2 of 2 verdicts were right" in (tmp_path / "report.html").read_text()
    runs = found.drop_vars("forecast_t50")
    with pytest.raises(lr.InputError, match=r"dataset = \(1, 2\): should be over the sweep's axes"):
        lr.sweeps.forecast_runs(runs, SPARSE, {"seed": [13]})
    with pytest.raises(lr.InputError, match=r"see lr\.sweeps\.forecast_runs"):
        lr.sweeps.forecast_scores(runs)


@pytest.mark.slow
def test_a_forecast_is_of_an_outcome_by_the_horizon():
    # The same run, ended before its change: the verdict is of a long one, the outcome is not.
    long, short = (lr.forecast(SPARSE.with_changes({"t1": t1})) for t1 in (1e4, 1e3))
    assert (long.verdict, long.outcome) == ("grok", "grokked")
    assert (short.verdict, short.outcome) == ("grok", "unchanged")
    assert "t50 lies beyond the horizon t1 = 1000" in short.reasons
    assert short.advice.startswith("Set t1 to ")
    assert short.t50 == pytest.approx(long.t50, rel=1e-3)


@pytest.mark.slow
@pytest.mark.usefixtures("double")
def test_a_constant_that_says_little_says_so():
    phase = kernel_phase(prepare(SPARSE).problem, SPARSE.t1)
    for direction, weight in (("grok", 0), ("misgrok", 2)):
        ((given, text),) = calibrated(family_of(SPARSE, direction), phase, None)[2]
        assert given == weight
        assert text.endswith("unreliable; use --solve") == (weight == 2)


def test_only_times_of_the_flow_are_forecast_unasked():
    assert follows_the_flow(SPARSE)
    for dynamics in (lr.dynamics.AdamW(learning_rate=0.1), lr.dynamics.Flow(clock="log")):
        assert not follows_the_flow(SPARSE.model_copy(update={"dynamics": dynamics}))


def test_adamw_is_told_to_run_pilots_before_anything_is_computed(monkeypatch):
    monkeypatch.setattr(sys.modules["lazyrich.forecasts.forecast"], "prepare", None)
    adamw = SPARSE.model_copy(update={"dynamics": lr.dynamics.AdamW(learning_rate=0.1)})
    found = lr.forecast(adamw)
    assert (found.verdict, found.confidence) == ("cannot_say", "low")
    assert found.advice.startswith("Run pilots (lazyrich forecast --pilot")
    assert "AdamW" in found.reasons[0]
    assert np.isnan([found.t50, found.t_kernel_end, found.t_fit]).all()
    json.dumps(found.summary(), allow_nan=False)
    with pytest.raises(lr.InputError, match="has no curves to draw: run pilots"):
        lr.plot.forecast(found)
    # So do the forecasts of a sweep.
    over = {"seed": [0]}
    runs = xr.Dataset(
        {name: (("seed",), [value]) for name, value in {"outcome": "grokked", "t50": 9.0}.items()}
    )
    swept = lr.sweeps.forecast_runs(runs, adamw, over)
    assert swept["forecast_verdict"].item() == "cannot_say"
    assert swept["forecast_seconds"].item() == 0
    assert np.isnan(swept["forecast_t_kernel_end"].item())


def test_advice_writes_the_horizon_as_it_is_given():
    horizon = Horizon.of(SPARSE.model_copy(update={"t1": 18.0}))
    late = advice_by_verdict("grok", None, (10.0, 20.0), horizon)
    assert late.startswith("Set t1 to 40 or more: ")
    assert late.endswith(" after the present t1 = 18.")
    unfitted = advice_by_verdict("none", "untrained", (np.nan, np.nan), horizon)
    assert unfitted.endswith(": the training data are not fitted by t = 18.")
    # No time that is named is later than the end of the run.
    assert advice_by_verdict("immediate", None, (2.0, 5.0), horizon).startswith("Stop at t = 10:")
    assert advice_by_verdict("immediate", None, (2.0, 17.0), horizon).startswith("Stop at t = 18:")


@pytest.mark.parametrize(
    ("verdict", "outcome", "high", "text"),
    [
        ("grok", None, 20.0, "Run to t = 40 or more. As a control, repeat with random labels."),
        ("grok", None, 150.0, "Set t1 to 300 or more: the test score may change after the present "
         "t1 = 100."),
        ("grok", None, 99.0, "Run to t = 198 or more. As a control, repeat with random labels."),
        ("misgrok", None, 20.0, "Stop before t = 10, or lower weight_decay: the test score falls "
         "later."),
        ("none", None, np.nan, "Use more training samples or another model: a longer run has no "
         "effect."),
        ("none", None, 150.0, "Use more training samples or another model: a longer run has no "
         "effect."),
        ("none", "collapsed", np.nan, "Lower weight_decay: it is so strong that the model loses "
         "its fit of the data."),
        ("none", "untrained", np.nan, "Raise t1, or lower weight_decay: the training data are not "
         "fitted by t = 100."),
        ("immediate", None, np.nan, "Expect no delay: after the fit the test score hardly changes. "
         "For a delay, raise init_scale."),
        ("immediate", None, 20.0, "Stop at t = 40: no change follows. For a longer delay, raise "
         "init_scale."),
        ("cannot_say", None, 20.0, "Solve the transition (lazyrich forecast --solve, "
         "passage='solved')."),
        ("grok", "unscored", 20.0, "Judge by the loss (threshold loss=VALUE): constant labels have "
         "no score."),
    ],
)  # fmt: skip
def test_every_verdict_says_what_to_do(verdict, outcome, high, text):
    experiment = SPARSE.model_copy(update={"t1": 100.0})
    advice = functools.partial(advice_of, verdict, experiment=experiment, outcome=outcome)
    said = advice("high", interval=(10.0, high), solved=False)
    assert said == text
    if outcome is None:
        doubted = advice("low", interval=(10.0, high), solved=True)
        before = "" if verdict == "cannot_say" else " before relying on this verdict"
        assert doubted == f"Simulate the run (lazyrich run){before}."


def test_advice_on_controls_and_collapses():
    control = SPARSE.with_changes({"task.random_labels": True})
    fields: Any = {"outcome": None, "interval": (np.nan, np.nan), "solved": False}
    said = advice_of("none", "low", experiment=control, **fields)
    assert said == "Nothing to learn: this is the control of a run with true labels."
    assert "lazyrich forecast --solve" in advice_of("none", "low", experiment=SPARSE, **fields)
    said = advice_of("none", "low", experiment=SPARSE, **fields, collapses=True)
    assert said.startswith("Lower weight_decay: ")


def test_subsets_extrapolate_in_the_logarithm_of_their_number(monkeypatch):
    # The end is 10 + 3 log(samples), and 0.4 later on the second subset of 12 of 40 samples.
    module = sys.modules["lazyrich.forecasts.subset"]
    first = set(np.random.default_rng(0).permutation(40)[:12].tolist())

    def phase(rows, t1):
        end = 10 + 3 * np.log(len(rows)) + (0.0 if int(rows[0]) in first else 0.4)
        return mock.Mock(spec=KernelPhase, t_end=float(end), t1=t1)

    monkeypatch.setattr(module, "restrict", lambda problem, rows: rows)
    monkeypatch.setattr(module, "kernel_phase", phase)
    problem = net_problem()
    train = jax.tree.map(lambda a: jnp.concatenate([a] * 8), problem.train)
    found = module.Subsets.of(dataclasses.replace(problem, train=train), 12, 100.0)
    assert found.t_end == pytest.approx(10 + 3 * np.log(40) + 0.2)
    assert found.error == pytest.approx(0.5 * 0.4 + 0.5 * 3 * np.log(40 / 12))
    assert found.phase.t_end == pytest.approx(10 + 3 * np.log(12))
    assert found.reason.weight == 1
    assert found.reason.text == (
        "the kernel phase was computed on 12 of 40 samples: it ends at 17.45 and 17.85 on two "
        "subsets, extrapolated to 21.27 for all samples"
    )


def test_a_family_knows_the_data_that_it_is_from():
    family = family_of(SPARSE, "grok")
    like = {"samples": 60.0, "outputs_per_parameter": 0.04, "isotropy": 0.93, "alignment": 1.0,
            "fit": 1e-5, "plateau": 0.6, "number": 1.0, "active": 1.0}  # fmt: skip
    assert family.on("Logistic", like) == family
    assert family.on("Logistic", dict.fromkeys(like, np.nan)) == family
    assert not family.solve
    for name in family.ranges:
        for end, factor in zip(family.ranges[name], (0.9, 1.1), strict=True):
            other = family.on("Logistic", like | {name: factor * end - 1e-3 * (factor < 1)})
            assert (other.solve, other.known) == (True, False)
            assert "; this run differs: " in other.source
            assert f"{family.ranges[name][0]:g} to {family.ranges[name][1]:g}" in other.source
    assert "the loss is Hinge, in those runs Logistic" in family.on("Hinge", like).source


@pytest.mark.slow
def test_a_constant_is_not_relied_on_for_other_data():
    # Dense Gaussian labels: the 288 runs of sparse classification say nothing of them.
    r = np.random.default_rng(0)
    x, w = r.normal(size=(60, 80)), r.normal(size=80)
    task = lr.tasks.Arrays(x_train=x, y_train=np.sign(x @ w), x_test=x, y_test=np.sign(x @ w))
    other = SPARSE.model_copy(update={"task": task})
    found = lr.forecast(other, passage="calibrated")
    assert not found.family.known
    assert "(|w|_1 / |w|_2)^2 of the rich predictor is" in found.family.source
    assert (
        "training outputs per parameter is 0.375, the constant is used from 0.001 to 0.06"
        in found.family.source
    )
    if np.isfinite(found.t50):
        assert found.confidence == "low"


@pytest.mark.usefixtures("double")
def test_large_kernels_are_of_subsets():
    problem = net_problem()  # five samples, three outputs
    assert [ForecastOptions(n).size(problem) for n in (None, 5, 2)] == [None, None, 2]
    train = jax.tree.map(lambda a: jnp.concatenate([a] * 1500), problem.train)
    many = dataclasses.replace(problem, train=train)
    assert ForecastOptions().size(many) == 400  # 7,500 samples, 22,500 outputs
    assert ForecastOptions(7500).size(many) is None
    assert ForecastOptions(passage="solved").size(many) is None


def test_scores_by_hand():
    # Ratios 1.1, 1/1.1, 1.2 and a run without a time; two of four right, one without a verdict.
    t50 = np.array([100.0, 110.0, 100.0, np.nan])
    said = np.array([110.0, 100.0, 120.0, 50.0])
    columns = {
        "t50": t50,
        "forecast_t50": said,
        "forecast_low": np.array([90.0, 90.0, 110.0, 1.0]),
        "forecast_high": np.array([120.0, 115.0, 130.0, 2.0]),
        "textbook": np.array([200.0, np.nan, 50.0, 7.0]),
        "forecast_t_kernel_end": said,
        "forecast_clock": said,
        "clock": said,
        "forecast_seconds": said,
        "forecast_num_gradients": said,
        "outcome": ["grokked", "misgrokked", "not_within_budget", "immediate"],
        "forecast_outcome": [""] * 4,
        "forecast_verdict": ["grok", "grok", "cannot_say", "immediate"],
        "forecast_confidence": [""] * 4,
        "forecast_family": [""] * 4,
    }
    dataset = xr.Dataset({name: ("run", np.asarray(column)) for name, column in columns.items()})
    found = lr.sweeps.forecast_scores(dataset)
    assert (found.num_runs, found.num_timed) == (4, 3)
    assert np.isclose(found.bias, np.log(1.1))
    assert np.isclose(found.error, np.log(1.1))
    assert np.isclose(found.spread, 0.4 * np.log(1.2 * 1.1))
    assert np.isclose(found.coverage, 2 / 3)
    assert np.isclose(found.baseline, np.log(2))
    assert (found.num_verdicts, found.num_right) == (3, 2)


@pytest.mark.slow
def test_random_labels_are_never_said_to_grok():
    found = lr.forecast(SPARSE.with_changes({"task.random_labels": True}))
    assert found.verdict == "none"
    assert np.isnan(found.t50)
    assert found.t_kernel_end > 1e3  # and yet the kernel phase ends


@pytest.mark.slow
def test_a_model_of_ones_own(sparse):
    plain = lr.models.DiagonalLinear()

    def function(params, x):
        return x.astype(jnp.float64) @ plain.weights(params)

    own = lr.models.Functions(init_params=plain.init, function=function, degree=2)
    found = lr.forecast(SPARSE.model_copy(update={"model": own, "dynamics": lr.dynamics.Flow()}))
    assert found.t_kernel_end == pytest.approx(sparse.t_kernel_end, rel=1e-6)
    assert found.early["test_accuracy"] == pytest.approx(sparse.early["test_accuracy"], abs=1e-9)
    assert (found.verdict, found.confidence, found.late) == ("cannot_say", "low", {})
    low, high = found.t50_interval
    assert low <= sparse.t50_interval[0]
    assert high >= sparse.t50_interval[1]


@pytest.mark.slow
@pytest.mark.usefixtures("double")
def test_passage_begins_where_the_kernel_flow_is():
    # Outputs of the parameters handed over are the kernel flow's, to the order left out.
    problem = prepare(SPARSE.with_changes({"init_scale": 1e3})).problem
    phase = kernel_phase(problem, SPARSE.t1)
    index = int(np.searchsorted(phase.times, phase.clock.when(np.log(1e-3))))
    params = params_at(phase, index)
    f = problem.model.apply(params, problem.train.x)
    wanted = phase.flow.outputs(phase.times[index], jnp.asarray(phase.solved.duals[index]))
    assert relative_error(f, wanted) < 1e-3
    assert np.max(np.abs(f)) > 3


@pytest.mark.slow
def test_subsets_measure_their_error(sparse):
    found = lr.forecast(SPARSE, num_samples=16)
    low, high = found.t50_interval
    assert low < sparse.t50 < high
    assert high - low > np.subtract(*sparse.t50_interval[::-1])
    assert found.t_kernel_end == pytest.approx(sparse.t_kernel_end, rel=0.1)
    assert found.confidence == "medium"
    with pytest.raises(lr.InputError, match="num_samples = 16: should be left out with a solved"):
        lr.forecast(SPARSE, num_samples=16, passage="solved")
    with pytest.raises(lr.InputError, match="num_samples = 25: should be from 2 to 24 "):
        lr.forecast(SPARSE, num_samples=25)


COMPLETION = lr.Experiment(
    task=lr.tasks.MatrixCompletion(d=16, num_observed=80),
    model=lr.models.MatrixFactorisation(size=16),
    loss=lr.losses.Squared(),
    dynamics=lr.dynamics.Flow(),
    init_scale=10.0,
    weight_decay=1e-3,
    t1=2e4,
    seed=7,
    probes=("train_loss", "test_loss"),
)


@pytest.mark.slow
def test_completion_groks_when_forecast():
    found = lr.forecast(COMPLETION)
    run = lr.transition(lr.simulate(COMPLETION))
    assert (found.verdict, run.outcome) == ("grok", "grokked")
    assert abs(np.log(found.t50 / run.t50)) < np.log(1.1)
    assert found.t50_interval[0] < run.t50 < found.t50_interval[1]
    assert found.late["test_loss"] < 0.05 * found.early["test_loss"]
    # On the plateau I grows like exp(4 lambda t), nearly: the rate at which the clock goes on.
    doubled = crossing(found.times, found.indicator, np.log(2))
    assert np.isclose(np.log(2) / (doubled - found.t_kernel_end), found.clock.rate, rtol=0.06)


@pytest.mark.slow
def test_a_constant_is_not_relied_on_where_decay_leaves_a_loss():
    strong = COMPLETION.with_changes({"weight_decay": 1e-2})
    found = lr.forecast(strong, passage="calibrated")
    (said,) = (text for text in found.reasons if text.startswith("weight decay leaves"))
    run = lr.simulate(strong)
    left = run["train_loss"].values[-1] / run["blank_loss"].item()
    # To first order in decay, which is too large here.
    assert 100 * left < float(said.split()[3]) < 1.4 * 100 * left
    assert found.confidence == "low"
    assert not any("weight decay leaves" in text for text in lr.forecast(COMPLETION).reasons)
    # At the end of a run that loses its fit the scores are not those of the rich predictor.
    lost = lr.forecast(COMPLETION.with_changes({"weight_decay": 0.1}), passage="calibrated")
    assert lost.verdict == "none"
    assert lost.late == {}


def test_equal_inputs_with_other_labels_are_told():
    x = np.random.default_rng(0).normal(size=(12, 5))
    y = np.where(np.arange(12) % 2, 1.0, -1.0)
    task = lr.tasks.Arrays(
        x_train=np.concatenate([x, x[:3], x[:2]]), y_train=np.concatenate([y, -y[:3], y[:2]]),
        x_test=x, y_test=y,
    )  # fmt: skip
    found = lr.forecast(lr.Experiment(task=task, weight_decay=1e-2, t1=10.0))
    assert any(text.startswith("3 training samples have the same inputs") for text in found.reasons)
    assert str(found).count("–, from") == 0


@pytest.mark.slow
def test_without_decay_features_end_the_kernel_phase():
    # The true flow leaves its twin where I = 1 says, and not before.
    experiment = lr.Experiment(
        task=lr.tasks.PolynomialRegression(d=8, n=24, num_test=200),
        model=lr.models.CommitteeMachine(width=32, epsilon=0.25),
        loss=lr.losses.Squared(),
        dynamics=lr.dynamics.Flow(),
        t1=3e3,
        probes=("train_loss", "test_loss", "twin_train_loss", "twin_test_loss"),
    )
    found = lr.forecast(experiment)
    record = lr.simulate(experiment)
    # The twin in closed form is the kernel flow.
    for part in ("train", "test"):
        twin = np.interp(found.times, record["time"], record[f"twin_{part}_loss"])
        assert np.allclose(found.curves[f"{part}_loss"], twin, rtol=0.05, atol=1e-3)
    gap = np.abs(record["test_loss"].values / record["twin_test_loss"].values - 1)
    # 1.6 % at half of the time of I = 1, 10 % at 1.3 times that, 30 % in the end.
    assert np.max(gap[record["time"].values < 0.5 * found.t_kernel_end]) < 0.03
    departure = float(record["time"][np.argmax(gap > 0.1)])
    assert found.t_kernel_end < departure < 1.6 * found.t_kernel_end
    # The data are not fitted by t1, in the forecast as in the run.
    assert (found.verdict, found.outcome, found.confidence) == ("none", "untrained", "low")
    assert lr.transition(record).outcome == "untrained"
    assert np.isnan(found.textbook)
    # Its closure has the same passage.
    closed = experiment.with_changes({"dynamics.closure": True})
    passages = [lr.forecast(e, passage="solved") for e in (experiment, closed)]
    late = [float(record["test_loss"][-1]), *(p.late["test_loss"] for p in passages)]
    assert np.allclose(late[1:], late[0], rtol=0.03)
    assert passages[1].t_kernel_end == pytest.approx(found.t_kernel_end, rel=1e-3)


@pytest.mark.slow
@pytest.mark.usefixtures("double")
def test_decay_without_a_degree_follows_the_fixed_twin():
    # theta' = J^T s / n - lambda theta with the Jacobian of the start, in all parameters.
    model = lr.models.MLP(widths=(6,), activation="tanh")
    problem = diagonal_problem(2, lr.losses.Squared(), 0.1, n=4, d=5)
    problem = dataclasses.replace(problem, model=model, params=model.init(jr.key(0), 5))
    rows, y = jacobian(problem, problem.params), np.asarray(problem.train.y)
    start = np.asarray(jax.flatten_util.ravel_pytree(problem.params)[0])
    f_start = np.asarray(model.apply(problem.params, problem.train.x))

    def field(t, theta):
        f = f_start + rows @ (theta - start)
        return rows.T @ (y - f) * 2 / 4 - 0.1 * theta

    flow, times = kernel_flow(problem), np.array([0.0, 0.5, 3.0])
    solved = solve(flow, times, unobserved, 1.0)
    exact = scipy.integrate.solve_ivp(field, (0, 3), start, "LSODA", times, rtol=1e-9, atol=1e-12)
    for time, v, theta in zip(times, solved.duals, exact.y.T, strict=True):
        wanted = f_start + rows @ (theta - start)
        assert relative_error(flow.outputs(time, jnp.asarray(v)), wanted) < 1e-4


@pytest.mark.parametrize(
    ("early", "late", "fitted", "outcome"),
    [
        (0.6, 1.0, True, "grokked"),
        (0.6, 0.9, True, "grokked"),
        (0.6, 0.72, True, "improved"),
        (1.0, 0.8, True, "misgrokked"),
        (1.0, 1.0, True, "immediate"),
        (0.6, 0.6, True, "unchanged"),
        (0.6, 0.6, False, "untrained"),
    ],
)
def test_a_course_changes_at_its_time(early, late, fitted, outcome):
    times = np.union1d([0.0], np.geomspace(1e-3, 1e3, 61))
    train = np.where(times > 1, 1.0, 0.5) if fitted else np.full(len(times), 0.5)
    curves = {
        "train_accuracy": train,
        "test_accuracy": np.where(times > 1, early, 0.5),
        "train_loss": 1e-3 + (times <= 1),
        "test_loss": np.ones(len(times)),
    }
    course = Course(times, curves, Scales(chance=0.5, blank_loss=1.0))
    end = {"test_accuracy": late, "train_accuracy": float(train[-1])}
    whole = course.changed(end, until=500.0, t50=700.0, t1=1e4)
    assert np.all(np.diff(whole.times) > 0)
    events = whole.events(lr.Thresholds())
    assert events.outcome == outcome
    if early != late and fitted:
        assert events.t50 == pytest.approx(700, rel=0.01)
        assert [events.t10, events.t90] == pytest.approx([700, 700], rel=0.03)
        before = course.until(600.0).events(lr.Thresholds())
        assert before.outcome == ("immediate" if early == 1 else "unchanged")


def test_confidence_is_that_of_the_heaviest_reason():
    assert confidence_of([]) == "high"
    assert confidence_of([Reason(0, ""), Reason(1, "")]) == "medium"
    assert confidence_of([Reason(2, ""), Reason(1, "")]) == "low"


@pytest.mark.slow
def test_command_line(monkeypatch, capsys, tmp_path):
    def call(*arguments):
        monkeypatch.setattr(sys, "argv", ["lazyrich", "forecast", *map(str, arguments)])
        with pytest.raises(SystemExit) as exit_:
            cli.main()
        return exit_.value.code or 0, capsys.readouterr()

    SPARSE.save(tmp_path / "mine.toml")
    code, shown = call(tmp_path / "mine.toml", "--json")
    found = json.loads(shown.out)
    assert code == 0
    wanted = {"t_kernel_end", "t50", "t50_interval", "verdict", "confidence", "reasons", "early",
              "late", "textbook"}  # fmt: skip
    assert wanted <= found.keys()
    assert found["experiment_hash"] == SPARSE.content_hash
    assert found["textbook"] == pytest.approx(1e3 * np.log(100))
    code, shown = call(tmp_path / "mine.toml", "--samples", 25)
    assert code == 2
    assert shown.err.count("\n") == 1


@pytest.mark.slow
def test_a_forecast_that_fails_does_not_end_the_run(monkeypatch):
    experiment = SPARSE.with_changes({"task.num_test": 50, "t1": 10.0})

    def failing(*_):
        raise ZeroDivisionError("a fault\nin two lines")

    monkeypatch.setattr(before_run, "forecast_on", failing)
    told: list[str | lr.Forecast] = []
    record = before_run.forecast_and_simulate(experiment, told.append)
    assert told == ["a fault in two lines"]
    assert record.attrs["ending"] == "completed"


@pytest.mark.slow
def test_intervals_contain_the_runs_of_other_sizes():
    # At n = 100, d = 2000 the clock at t50 is not that of the sizes that calibrate it.
    panel = lr.studies.load("lyu2024/1a")
    inside = []
    for k, seeds in ((3, range(5)), (1, range(3))):
        for seed, scale in itertools.product(seeds, (10.0, 60.0, 300.0)):
            sizes = {"task.n": 100, "task.d": 2000, "task.k": k, "task.num_test": 1000}
            experiment = panel.with_changes({**sizes, "seed": seed, "init_scale": scale})
            found = lr.forecast(experiment, passage="calibrated")
            run = lr.transition(lr.simulate(experiment))
            assert (found.verdict, run.outcome) == ("grok", "grokked")
            low, high = found.t50_interval
            # In units of 1/lambda, the interval is not longer than half.
            assert high - low < 0.55 / experiment.weight_decay
            inside.append(low <= run.t50 <= high)
    assert np.mean(inside) >= 0.8


@pytest.mark.slow
def test_intervals_of_a_solve_contain_ties_of_few_test_samples():
    # 100 test samples: the accuracy is exactly at half of its change for some time.
    inside = []
    for seed in range(5):
        experiment = lr.Experiment(
            task=lr.tasks.SparseClassification(n=30, d=200, k=1, num_test=100),
            init_scale=10.0,
            weight_decay=0.01,
            t1=2000.0,
            seed=seed,
        )
        found = lr.forecast(experiment, passage="solved")
        run = lr.transition(lr.simulate(experiment))
        low, high = found.t50_interval
        assert high < 1.65 * low
        # Begun at I = 0.05, the solve of the first draw would be off by 0.27.
        assert abs(np.log(found.t50 / run.t50)) < 0.06
        inside.append(low <= run.t50 <= high)
    assert all(inside)


def test_two_test_samples_decide_where_the_score_stands_still():
    # The score rises by one of 100 samples at t = 10, 11, 12, ... and stands at 0.75 up to t = 20.
    times = np.concatenate([[0.0, 0.01], np.arange(1.0, 200.0)])
    steps = np.where(times <= 14, times - 10, np.where(times <= 20, 4, times - 16))
    score = np.where(times < 10, 0.5, 0.75 + 0.01 * np.clip(steps - 4, -25, 25))
    curves = {"train_accuracy": (times > 0).astype(float), "test_accuracy": score}
    course = Course(times, curves, Scales(chance=0.5, blank_loss=1.0))
    events = course.events(lr.Thresholds(delay=2.0))
    assert events.plateau_score == pytest.approx(0.5)
    assert events.final_score == 1.0
    assert events.t50 == pytest.approx(14)
    narrow = (events.t50 * 0.97, events.t50 * 1.03)
    wide, reasons = with_grain(narrow, course, events, 0.01)
    assert wide == pytest.approx((12 * 0.97, 22 * 1.03))
    assert reasons == []
    assert with_grain(narrow, course, events, 0.0)[0] == pytest.approx(narrow)
    # Of 25 samples, two are the whole change from t = 10 on.
    wide, reasons = with_grain(narrow, course, events, 0.12)
    assert wide[1] > 2 * wide[0]
    assert confidence_of(reasons) == "medium"
    assert reasons[0].text.endswith("use more test samples")


def test_a_score_that_changes_in_steps_has_a_wide_interval():
    # A plateau at 50 % of the change from t = 1 to 1,000; the score is 0.8, then 0.9, then 1.
    times = np.concatenate([[0.0], np.geomspace(1e-3, 1e5, 400)])
    score = np.where(times < 1, 0.8, np.where(times < 1000, 0.9, 1.0))
    curves = {"train_accuracy": (times > 0.01).astype(float), "test_accuracy": score}
    course = Course(times, curves, Scales(chance=0.5, blank_loss=1.0))
    events = course.events(lr.Thresholds())
    assert events.outcome == "grokked"
    low, high = course.around_half(events, 0.03)
    assert low == pytest.approx(1, rel=0.05)
    assert high == pytest.approx(1000, rel=0.05)
    interval, reasons = with_steps((0.9, 1.1), course, events, 0.03)
    assert interval == (min(0.9, low), high)
    assert confidence_of(reasons) == "medium"
    found = re.search(r"from t = (\S+) to t = (\S+)$", reasons[0].text)
    assert found is not None
    assert [float(time) for time in found.groups()] == pytest.approx([low, high], rel=5e-3)
    by_step = dataclasses.replace(events, unit="step")
    assert with_steps((0.9, 1.1), course, by_step, 0.03)[1][0].text.endswith(
        f"from step 1 to step {round(high):,}"
    )
    # A straight change in log time between 10 and 11 is no step.
    ramp = np.interp(np.log(np.maximum(times, 1e-3)), np.log([10.0, 11.0]), [0.8, 1.0])
    straight = Course(times, {**curves, "test_accuracy": ramp}, course.scales)
    assert with_steps((9.0, 12.0), straight, straight.events(lr.Thresholds()), 0.03) == (
        (9.0, 12.0), [],
    )  # fmt: skip


@pytest.mark.slow
def test_an_experiment_of_the_same_sizes_is_forecast_without_compiling(caplog):
    # Each is read anew, as by the explorer: equal losses are different objects.
    for number, scale in enumerate((20.0, 30.0)):
        experiment = lr.Experiment(
            task=lr.tasks.SparseClassification(n=12, d=40, num_test=40),
            loss=lr.losses.Logistic(),
            init_scale=scale,
            t1=1e3,
        )
        caplog.clear()
        with jax.log_compiles():
            lr.forecast(experiment, passage="calibrated")
        compiled = [text for text in caplog.messages if text.startswith("Compiling")]
        assert bool(compiled) == (number == 0), compiled

"""Predicts before training when a run leaves the kernel regime, and its outcome."""

import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

from .._core.given import check_function
from .._core.precision import in_double
from .._run.achieved import rms_of_params
from .._run.prepared import PreparedProblem, prepare
from .._run.simulate import listening
from .._run.solve import Listener, silently
from ..experiments.experiment import Experiment, check_experiment
from ..records.summary import textbook_of
from ..records.transition import Thresholds
from .advice import advice_of
from .answer import Forecast
from .by_family import clock_of
from .by_pilots import conclude_by_pilots, cost_of, run_pilots
from .calibration import Family, family_of, family_of_pilots
from .caveats import number_of
from .conclude import Conclusion, conclude
from .descriptors import descriptors
from .options import ForecastOptions, How
from .pilot import Pilot
from .predictions import Predictions, predict
from .transition import SolvedTransition, solve_transition
from .verdict import Reason, Scores, confidence_of
from .without_pilots import needs_pilots, without_pilots

# The stage that follows a stage, where one always does.
_AFTER = {
    "computing predictors": "following the kernel flow",
    "following the kernel flow": "predicting",
}


@in_double
def forecast(
    experiment: Experiment,
    *,
    params: Any = None,
    num_samples: int | None = None,
    passage: How | None = None,
    max_test: int = 2000,
    thresholds: Thresholds = Thresholds(),
    watcher: Callable[[Forecast], object] | None = None,
    progress: bool = False,
) -> Forecast:
    r"""Predicts from the initial kernel when a run leaves the kernel regime, and its outcome.

    The kernel flow is training in the first-order expansion around the decayed initial parameters.
    It is solved until the expansion breaks down: until $I(t) = c^\top K(\theta_0 + \varphi) c /
    c^\top K(\theta_0) c - 1$ reaches 1. Half of the change of the test score is expected when the
    clock has the value $\kappa$ known from runs of the same family, see
    [`Family`][lazyrich.forecasts.Family]. The direction of the change follows from the test scores
    of the kernel flow and of the rich predictor, if there is a rich predictor.

    - **Takes** `params`, your own $\theta(0)$, as [`simulate`][lazyrich.simulate] does;
        `num_samples`, the size of the random subsets to use instead of all training data. Two
        disjoint subsets measure the error of this. By default the size is 400 if there are more
        than 20,000 training outputs, and otherwise all data are used;
        `passage`, the method for the transition: `calibrated`, by the constant of the family;
        `solved`, which solves the run itself from the end of the kernel phase on and requires
        neither a calibration nor a rich predictor; or, for optimisers with a learning rate,
        `pilot`, which runs the experiment at 16 and 8 times the learning rate, and at 4 times
        where one of these is unstable, and uses no kernel. By default that one of the first two
        which is more accurate for the family. A diagonal net is also solved if the ends of its
        calibrated interval differ by more than a factor of 1.5. For an optimiser that rescales
        gradients, such as AdamW, the default computes nothing and returns `cannot_say`;
        `max_test`, the number of test samples used for scores; `thresholds`, which define a fit
        and a change of the test score; `watcher`, called with the forecast by the calibrated
        constant before the transition is solved, if it is solved. An exception in the watcher ends
        the forecast; `progress`, whether to show the stages on stderr. Much of the first forecast
        of a kind is compilation.
    - **Returns** a [`Forecast`][lazyrich.Forecast].
    - **Raises** [`InputError`][lazyrich.InputError] for the same input as
        [`simulate`][lazyrich.simulate], for subsets too large to be disjoint, and for pilots of
        dynamics without a learning rate or of a run with too few steps.
    """
    check_experiment(experiment)
    check_function("watcher", watcher, "forecast")
    # As in `simulate`: idle LAPACK threads would slow down the compiled products.
    with (
        threadpool_limits(limits=1, user_api="blas"),
        listening(None, progress, f"forecast of {experiment.name}") as listen,
    ):
        options = ForecastOptions(num_samples, passage, max_test, thresholds)
        options.check()
        return forecast_run(experiment, options, params, watcher, listen)


def forecast_run(
    experiment: Experiment,
    options: ForecastOptions,
    params: Any = None,
    watcher: Callable[[Forecast], object] | None = None,
    listen: Listener = silently,
) -> Forecast:
    """The forecast of an experiment. Its data are sampled only if they are needed."""
    if options.passage is None and needs_pilots(experiment):
        return Forecast(**without_pilots(experiment))
    begun = time.perf_counter()
    listen("sampling data", None, "")
    prepared = prepare(experiment, params)
    sampling = {"sampling data": time.perf_counter() - begun}
    found = forecast_on(prepared, options, watcher, listen)
    return replace(found, seconds=sampling | found.seconds)


def forecast_on(
    prepared: PreparedProblem,
    options: ForecastOptions,
    watcher: Callable[[Forecast], object] | None = None,
    listen: Listener = silently,
) -> Forecast:
    """The forecast of a prepared problem. Needs double precision.

    - **Takes** `watcher` as [`forecast`][lazyrich.forecast] does; `listen`, called with the name of
        each stage when it begins.
    """
    seconds: dict[str, float] = {}
    begun = time.perf_counter()

    def done(stage: str) -> None:
        seconds[stage] = time.perf_counter() - begun - sum(seconds.values())
        if stage in _AFTER:
            listen(_AFTER[stage], None, "")

    listen("computing predictors", None, "")
    experiment, problem = prepared.experiment, prepared.problem
    if options.passage == "pilot":
        pilots = run_pilots(prepared, options.thresholds)
        done("running pilots")
        return _by_pilots(prepared, options, pilots, seconds)
    predictions = predict(prepared, options, done)
    number = number_of(problem, predictions.rich)
    like = descriptors(
        predictions.phase,
        predictions.rich,
        len(problem.train.y),
        predictions.t_fit,
        predictions.scores.early,
        number,
    )
    family = family_of(experiment, predictions.direction).on(experiment.loss.kind_name(), like)
    here, solved = family.at(number, len(problem.train.y), like), None
    # A diagonal net is solved in its dual, at little more than the cost of the kernel flow.
    affordable = problem.model.diagonal_depth is not None and here.is_wide(predictions.phase.clock)
    wanted = (family.solve or affordable) and predictions.subsets is None
    if options.passage == "solved" or (options.passage is None and wanted):
        if watcher is not None:
            watcher(_concluded(prepared, options, predictions, here, None, {**seconds}))
        listen("solving the transition", None, "")
        solved = solve_transition(
            prepared,
            predictions.phase,
            predictions.course,
            options.thresholds,
            options.max_test,
        )
        done("solving the transition")
    return _concluded(prepared, options, predictions, here, solved, seconds)


def _concluded(
    prepared: PreparedProblem,
    options: ForecastOptions,
    predictions: Predictions,
    family: Family,
    solved: SolvedTransition | None,
    seconds: dict[str, float],
) -> Forecast:
    """The forecast from the predictions, and from the transition if it was solved."""
    experiment, problem = prepared.experiment, prepared.problem
    said = conclude(experiment, family, predictions, options.thresholds, solved)
    phase = predictions.phase
    return Forecast(
        **_said(experiment, said, solved=options.passage == "solved" or solved is not None),
        t_kernel_end=predictions.t_end,
        t_fit=predictions.t_fit,
        textbook_per_coordinate=textbook_of(experiment, rms_of_params(problem.params)),
        times=phase.times,
        indicator=phase.solved.observed["indicator"],
        phi_ratio=phase.solved.observed["phi_ratio"],
        curves=predictions.curves,
        ending=phase.solved.ending,
        method=f"kernel {phase.flow.kernel.label}, flow {phase.solved.method}, "
        f"{phase.solved.num_steps} steps",
        seconds=seconds,
        num_steps=0 if solved is None else solved.num_steps,
        num_gradients=0 if solved is None else solved.num_gradients,
        clock=clock_of(family, phase, predictions.subsets),
        scores=predictions.scores_at(said.early, said.late),
    )


def _said(experiment: Experiment, said: Conclusion, *, solved: bool) -> dict[str, Any]:
    """The fields that only depend on the conclusion."""
    if said.t50 > experiment.t1:
        said.reasons.append(Reason(0, f"t50 lies beyond the horizon t1 = {experiment.t1:g}"))
    confidence, (low, high) = confidence_of(said.reasons), said.t50_interval
    until = low, high * said.held_after
    return {
        "experiment": experiment.name,
        "experiment_hash": experiment.content_hash,
        "verdict": said.verdict,
        "confidence": confidence,
        "outcome": said.outcome,
        "reasons": tuple(reason.text for reason in said.reasons),
        "advice": advice_of(
            said.verdict,
            confidence,
            said.outcome,
            until,
            experiment,
            solved=solved,
            collapses=said.family.collapses,
        ),
        "t50": said.t50,
        "t50_interval": said.t50_interval,
        "textbook": textbook_of(experiment),
        "early": said.early,
        "late": said.late,
        "family": said.family,
    }


def _by_pilots(
    prepared: PreparedProblem,
    options: ForecastOptions,
    pilots: list[Pilot],
    seconds: dict[str, float],
) -> Forecast:
    """The forecast from pilots."""
    experiment = prepared.experiment
    said, clock, shown = conclude_by_pilots(
        partial(family_of_pilots, experiment), pilots, options.thresholds
    )
    course = shown.course
    unknown = np.full(len(course.times), np.nan)
    return Forecast(
        **_said(experiment, said, solved=True),
        t_kernel_end=np.nan,
        t_fit=shown.events.t_train,
        textbook_per_coordinate=textbook_of(experiment, rms_of_params(prepared.problem.params)),
        times=course.times,
        indicator=unknown,
        phi_ratio=unknown,
        curves=course.curves,
        ending="completed",
        method=f"pilots at {', '.join(str(p.factor) for p in pilots)} times the learning rate, "
        f"{100 * cost_of(pilots):.0f} % of the steps of the run",
        seconds=seconds,
        num_steps=sum(pilot.num_steps for pilot in pilots),
        num_gradients=sum(pilot.num_gradients for pilot in pilots),
        clock=clock,
        scores=Scores(shown.events.plateau_score, shown.events.final_score),
        curves_of=f"pilot at factor {shown.factor}",
    )

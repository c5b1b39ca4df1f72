"""Experiments drawn at random: properties that every run must have."""

import json
from typing import Any

import numpy as np
import pytest

import lazyrich as lr
from tests.helpers import given

# Few shapes, because most of the time is compilation.
NUM, DIM, TESTS = 6, 3, 8
LOSSES = ("Logistic", "Exponential", "Hinge", "SquaredHinge", "Squared", "Squared", "CrossEntropy")
MODELS: dict[str, Any] = {
    "linear": lr.models.MLP(widths=()),
    "diagonal": lr.models.DiagonalLinear(),
    "deep diagonal": lr.models.DiagonalLinear(depth=3),
    "tanh": lr.models.MLP(widths=(4,), activation="tanh"),
    "relu": lr.models.MLP(widths=(4,)),
    "quadratic": lr.models.MLP(widths=(3,), activation="quadratic", bias=False),
    "doubled": lr.models.Doubled(model=lr.models.MLP(widths=(3,), activation="tanh")),
}
KEYS = {
    "experiment", "experiment_hash", "precision", "outcome", "t_train", "t_train_first", "t_test",
    "t_test_first", "t10", "t50", "t90", "t50_sustained", "t10_loss", "t50_loss", "t90_loss",
    "t_change", "delay_ratio", "delay_difference", "plateau", "plateau_score", "final_score",
    "train_score", "ceiling", "chance", "settled", "t_train_is_bound", "scored_by", "ending",
    "state", "says", "advice", "time", "textbook", "textbook_per_coordinate",
    "init_rms", "thresholds", "early", "late", "predictors", "warnings", "kkt", "solver",
    "wall_seconds", "seconds", "machine", "arrived", "num_test", "standard_error", "excursion",
    "excursion_score", "excursion_times", "moves_with_fit", "stricter_fit",
    "outcome_by_stricter_fit",
}  # fmt: skip
WHOLE = ("completed", "crossed", "stationary")


def drawn(seed: int) -> tuple[lr.Experiment, tuple[float, ...]]:
    """An experiment, ordinary or degenerate, and times at which to keep parameters."""
    rng = np.random.default_rng(seed)
    loss = rng.choice(LOSSES)
    names = ["linear", "tanh", "relu"] if loss == "CrossEntropy" else list(MODELS)
    name = rng.choice(names)
    model = MODELS[name]
    x = rng.normal(size=(NUM, DIM)) * 10.0 ** rng.choice([0, 0, 0, -2, 2])
    x_test = rng.normal(size=(TESTS, DIM)) * np.abs(x).max()
    teacher = rng.normal(size=DIM)
    y, y_test = x @ teacher, x_test @ teacher
    if loss == "CrossEntropy":
        model = model.model_copy(update={"outputs": 3})
        y, y_test = (np.digitize(v, np.quantile(y, [0.3, 0.7])) for v in (y, y_test))
    elif loss != "Squared":
        y, y_test = np.sign(y), np.sign(y_test)
    match rng.choice(["plain", "plain", "repeated", "contradictory", "constant", "zero row"]):
        case "repeated":
            x[1], y[1] = x[0], y[0]
        case "contradictory":
            x[1], y[1] = x[0], 1 - y[0] if loss == "CrossEntropy" else -y[0]
            y = np.abs(y) if loss == "CrossEntropy" else y
        case "constant":
            y, y_test = np.full_like(y, y[0]), np.full_like(y_test, y[0])
        case "zero row":
            x[0] = 0
    t1 = 10.0 ** rng.uniform(-1, 2.5)
    dynamics: dict[str, Any] = {}
    kind = rng.choice(["default", "default", "Flow", "GradientDescent", "AdamW"])
    if kind == "Flow":
        dynamics["dynamics"] = lr.dynamics.Flow(max_steps=2000, densify=rng.choice([0.0, 0.05]))
    elif kind == "default" and not name.endswith("diagonal"):
        dynamics["dynamics"] = lr.dynamics.Flow(max_steps=2000)
    elif kind != "default":
        rate = 0.01 / max(1.0, float(np.abs(x).max())) ** 2
        t1 = min(t1, 1000 * rate)
        dynamics["dynamics"] = getattr(lr.dynamics, kind)(learning_rate=rate)
    task = lr.tasks.Arrays(x_train=x, y_train=y, x_test=given(x_test), y_test=y_test)
    experiment = lr.Experiment(
        name=f"{loss}, {name}, {kind}",
        task=task,
        model=model,
        loss=getattr(lr.losses, loss)(),
        init_scale=10.0 ** rng.uniform(-2, 2),
        weight_decay=float(rng.choice([0.0, 1e-3, 1e-1, 3.0])),
        t1=t1,
        times=lr.dynamics.Times(num_log=12, num_linear=4, at=(0.3 * t1,)),
        probes=("train_loss", "test_loss", "train_accuracy", "test_accuracy", "param_norm"),
        **dynamics,
    )
    return experiment, (0.0, 0.3 * t1)


def losses_of(experiment: lr.Experiment, params: Any) -> float:
    """The mean training loss, by the formulas of the losses."""
    task: Any = experiment.task
    f, y = np.asarray(experiment.model.apply(params, task.x_train)), np.asarray(task.y_train)
    kind = type(experiment.loss).__name__
    if kind == "CrossEntropy":
        top = f.max(axis=1, keepdims=True)
        log_sum = np.log(np.exp(f - top).sum(axis=1)) + top[:, 0]
        return float(np.mean(log_sum - f[np.arange(len(f)), y.astype(int)]))
    if kind == "Squared":
        return float(np.mean((f - y) ** 2))
    with np.errstate(over="ignore"):
        if kind == "Logistic":
            return float(np.mean(np.logaddexp(0, -f * y)))
        if kind == "Exponential":
            return float(np.mean(np.exp(-f * y)))
    return float(np.mean(np.asarray(experiment.loss.value(given(f), given(y)))))


def check_times(events: lr.Transition, last: float) -> None:
    """The words of a run agree with each other."""
    thresholds = lr.Thresholds()
    parts = [t for t in (events.t10, events.t50, events.t90) if np.isfinite(t)]
    assert parts == sorted(parts)
    for time in (*parts, events.t_train, events.t_test, events.t_change):
        assert np.isnan(time) or 0 <= time <= last
    if events.outcome not in ("failed", "unscored"):
        assert (events.outcome == "untrained") == bool(np.isnan(events.t_train))
    rise = events.final_score - events.plateau_score
    if events.outcome == "grokked":
        assert events.delay_ratio >= thresholds.delay
        assert rise >= thresholds.change - 1e-9
    if events.outcome == "misgrokked":
        assert rise <= -thresholds.change + 1e-9
    if events.outcome == "unchanged" and not events.is_recent:
        assert events.final_score < thresholds.test
    assert events.says
    assert events.advice


@pytest.mark.battery
@pytest.mark.parametrize("seed", range(40))
def test_what_every_run_must_have(seed):
    experiment, kept = drawn(seed)
    record, refused = None, ""
    try:
        record = lr.simulate(experiment, keep_params=kept)
    except lr.InputError as error:
        refused = str(error)
    if record is None:
        assert "nothing moves" in refused  # the only reason in these data
        assert "\n" not in refused
        return
    times, ending = record["time"].values, record.attrs["ending"]
    assert times[0] == 0
    assert np.all(np.diff(times) > 0)
    if ending in WHOLE:  # the last step of an optimiser is the nearest to the horizon
        step = getattr(experiment.dynamics, "learning_rate", 0.0)
        assert times[-1] == pytest.approx(experiment.t1, rel=1e-9, abs=0.51 * step)
    loss = record["train_loss"].values
    # An exponential loss may overflow to infinity, and is never undefined.
    right = np.isfinite if "Exponential" not in experiment.name else lambda v: ~np.isnan(v)
    curves = [record[n].values for n in record.data_vars if record[n].dims == ("time",)]
    finite = all(right(values).all() for values in curves)
    events = lr.transition(record)
    assert finite or events.outcome == "failed"
    assert (ending == "diverged") <= (events.outcome == "failed")

    # Kept parameters are those of the records at the same times.
    assert losses_of(experiment, record.params(0.0)) == pytest.approx(loss[0], rel=1e-9)
    for time in record.params.times:
        at = int(np.argmin(np.abs(times - time)))
        assert losses_of(experiment, record.params(time)) == pytest.approx(
            loss[at], rel=1e-6, abs=1e-12 * loss[0]
        )
    if ending in WHOLE:
        assert losses_of(experiment, record.params()) == pytest.approx(
            loss[-1], rel=1e-6, abs=1e-12 * loss[0]
        )

    check_times(events, float(times[-1]))
    summary = lr.summarise(record)
    assert {*summary} == KEYS
    assert json.loads(json.dumps(summary, allow_nan=False)) == summary
    again = lr.simulate(experiment, keep_params=kept)
    for name in record.variables:
        np.testing.assert_array_equal(again[name].values, record[name].values, err_msg=str(name))


# Rounding decides at kinks, and where gradients are divided by their size.
SMOOTH = [n for n in range(0, 40, 5) if not {"relu", "AdamW"} & {*drawn(n)[0].name.split(", ")}]


@pytest.mark.battery
@pytest.mark.parametrize("seed", SMOOTH)
def test_the_order_of_samples_does_not_matter(seed):
    experiment, _ = drawn(seed)
    task: Any = experiment.task
    order = np.random.default_rng(seed).permutation(NUM)
    other = task.model_copy(update={"x_train": task.x_train[order], "y_train": task.y_train[order]})
    try:
        one = lr.simulate(experiment)
    except lr.InputError:
        return
    two = lr.simulate(experiment.model_copy(update={"task": other}))
    assert one.attrs["ending"] == two.attrs["ending"]
    shared = np.intersect1d(one["time"], two["time"])
    size = float(one["train_loss"][0])
    for name in ("train_loss", "test_loss", "param_norm"):
        np.testing.assert_allclose(
            two[name].sel(time=shared), one[name].sel(time=shared), rtol=0.02, atol=1e-4 * size
        )

"""Runs in float32: their types, how far they are from float64, and what is refused."""

import functools
import json
from pathlib import Path
from typing import Any

import diffrax
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import lazyrich as lr
from lazyrich._run import simulate as _simulate
from lazyrich.dynamics import (
    SGD,
    Adam,
    AdamW,
    Checkpoint,
    Flow,
    GradientDescent,
    LabelNoiseSGD,
    Problem,
    ReducedFlow,
    Times,
)
from lazyrich.losses import CrossEntropy, Exponential, Hinge, Logistic, Squared, SquaredHinge
from lazyrich.models import (
    MLP,
    Centred,
    CommitteeMachine,
    DiagonalLinear,
    Doubled,
    Functions,
    Linearised,
    MatrixFactorisation,
    Transformer,
)
from lazyrich.tasks import (
    Arrays,
    MatrixCompletion,
    ModularArithmetic,
    Samples,
    SparseClassification,
    SparseRegression,
    StudentTeacher,
)
from tests.helpers import built_in, relative_error, silent

EPS = float(np.finfo(np.float32).eps)
FEW = Times(first=0.01, num_log=6, num_linear=2)
RNG = np.random.default_rng(0)
X, Y, START = RNG.normal(size=(12, 6)), RNG.normal(size=12), RNG.normal(size=6)

SLOW_METHODS = ("tsit5", "rock2", "damped_rkc2")
METHODS = ("rkc2", "rosenbrock", *SLOW_METHODS)


def linear(key: Any, dim: int) -> Any:
    del key
    return np.zeros(dim)


def product(params: Any, x: Any) -> Any:
    return x @ params


def regression(**changes: Any) -> lr.Experiment:
    """Least squares in six weights, from `START`; every run has a closed form."""
    fields: dict[str, Any] = {
        "task": Arrays(x_train=X, y_train=Y, x_test=X, y_test=Y),
        "model": Functions(init_params=linear, function=product, degree=1.0),
        "loss": Squared(),
        "weight_decay": 0.01,
        "t1": 20.0,
        "times": FEW,
        "precision": "float32",
        "dynamics": Flow(),
    }
    return lr.Experiment(**{**fields, **changes})


def end_of(experiment: lr.Experiment, params: Any = START, ending: str = "completed") -> np.ndarray:
    """The final parameters, which have the type of the precision."""
    record = lr.simulate(experiment, params=params, keep_params=True)
    assert record.attrs["precision"] == experiment.precision
    assert record.attrs["ending"] == ending
    final = record["final_parameters"].values
    assert final.dtype == experiment.precision
    return final


def both(experiment: lr.Experiment, params: Any = None) -> tuple[np.ndarray, np.ndarray]:
    """The final parameters in float64 and in float32."""
    double = experiment.with_changes({"precision": "float64"})
    return end_of(double, params), end_of(experiment, params)


# --- Against closed forms. ---

RATES, BASIS = np.linalg.eigh(2 * X.T @ X / len(X) + 0.01 * np.eye(6))
LIMIT = np.linalg.solve(2 * X.T @ X / len(X) + 0.01 * np.eye(6), 2 * X.T @ Y / len(X))


@pytest.mark.slow
@pytest.mark.parametrize("method", METHODS)
def test_a_linear_flow_ends_where_the_exponential_does(method):
    decayed = np.exp(-RATES * 20.0) * (BASIS.T @ (START - LIMIT))
    exact = LIMIT + BASIS @ decayed
    double, single = both(regression(dynamics=Flow(method=method)), START)
    assert relative_error(double, exact) < 1e-3
    assert relative_error(single, exact) < 1e-3
    # Each step rounds the parameters once. The flow contracts, so errors add up at most.
    assert relative_error(single, double) < 100 * EPS


def test_gradient_descent_ends_where_the_powers_do():
    rate, num_steps = 0.01, 2000
    factors = (1 - rate * RATES) ** num_steps
    exact = LIMIT + BASIS @ (factors * (BASIS.T @ (START - LIMIT)))
    steps = GradientDescent(learning_rate=rate)
    single = end_of(regression(dynamics=steps), START)
    # A step rounds each parameter by EPS / 2, and a unit of error decays at the smallest rate.
    assert relative_error(single, exact) < EPS / 2 * np.sqrt(6) / (rate * RATES[0])


OPTIMISERS = {
    "gd": (GradientDescent(learning_rate=0.05), optax.add_decayed_weights(0.01)),
    "momentum": (
        SGD(learning_rate=0.05, momentum=0.9),
        optax.chain(optax.add_decayed_weights(0.01), optax.trace(0.9)),
    ),
    "adam": (
        Adam(learning_rate=0.05),
        optax.chain(optax.add_decayed_weights(0.01), optax.scale_by_adam()),
    ),
    "adamw": (
        AdamW(learning_rate=0.05),
        optax.chain(optax.scale_by_adam(), optax.add_decayed_weights(0.01)),
    ),
}


@pytest.mark.parametrize("name", OPTIMISERS)
def test_optimisers_do_what_a_float32_loop_of_optax_does(name):
    dynamics, transformation = OPTIMISERS[name]
    num_steps = 40
    ours = end_of(regression(dynamics=dynamics, t1=0.05 * num_steps), START)
    with jax.enable_x64(False):
        x, y, params = (jnp.asarray(a, jnp.float32) for a in (X, Y, START))
        state = transformation.init(params)
        slope = jax.grad(lambda p: jnp.mean((x @ p - y) ** 2))
        for _ in range(num_steps):
            updates, state = transformation.update(slope(params), state, params)
            params = params - jnp.float32(0.05) * updates
        assert params.dtype == jnp.float32
    # Sums are rounded in another order. Adam divides by the size of a gradient that becomes small.
    assert relative_error(ours, params) < 4 * num_steps * EPS


# --- Types. ---


def watched(seen: list[Any]) -> Functions:
    """Tanh of a product with weights, which notes the types in which it is called."""

    def function(params: Any, x: Any) -> Any:
        f = jnp.tanh(x @ params["w"]) + params["b"]
        seen.append({params["w"].dtype.name, x.dtype.name, f.dtype.name})
        return f

    def init(key: Any, dim: int) -> Any:
        del key
        return {"w": jnp.ones(dim), "b": jnp.zeros(1)}

    return Functions(init_params=init, function=function)


SOLVES = {
    **{name: Flow(method=name) for name in (*METHODS, "auto")},
    "gd": GradientDescent(learning_rate=0.1),
    "sgd": SGD(learning_rate=0.1, batch_size=4, momentum=0.5),
    "adamw": AdamW(learning_rate=0.1),
}


@pytest.mark.parametrize("name", SOLVES)
def test_a_solve_never_widens_the_model(name):
    seen: list[Any] = []
    model = watched(seen)
    with jax.enable_x64(True):
        params = {"w": jnp.ones(6, jnp.float32), "b": jnp.zeros(1, jnp.float32)}
        train = Samples(jnp.asarray(X, jnp.float32), jnp.asarray(Y))
        problem = Problem(train, params, 0.01, model, Squared())
        solved = SOLVES[name].follow(problem, np.array([0.0, 0.5, 1.0]), silent)
    assert seen
    assert set.union(*seen) == {"float32"}
    assert {leaf.dtype.name for leaf in jax.tree.leaves(solved.final)} == {"float32"}
    assert solved.times.dtype == np.float64


MODELS = {
    "DiagonalLinear": (DiagonalLinear(depth=3), 10),
    "MLP": (MLP(widths=(5, 4), outputs=3, bias="all"), 10),
    "MLP, one-hot": (MLP(widths=(5,), outputs=5, one_hot=2), 10),
    "MatrixFactorisation": (MatrixFactorisation(size=5), 2),
    "CommitteeMachine": (CommitteeMachine(width=6, readouts="trained"), 10),
    "CommitteeMachine, frozen": (CommitteeMachine(width=6), 10),
    "Transformer": (Transformer(width=8, heads=2, mlp_width=16), 10),
    "Centred": (Centred(model=MLP(widths=(5,))), 10),
    "Doubled": (Doubled(model=MLP(widths=(5,))), 10),
    "Linearised": (Linearised(model=MLP(widths=(5,))), 10),
    "Functions": (Functions(init_params=linear, function=product), 10),
}


def test_no_model_is_missing():
    # Need a module. Those of other libraries have tests of their own.
    own = {"FromEquinox", "FromFlax", "FromFlaxNNX", "FromHaiku", "FromTorch"}
    names = {name.split(",")[0] for name in MODELS}
    assert names | own >= built_in(lr.models.AbstractModel)


@pytest.mark.parametrize("name", MODELS)
def test_a_model_computes_in_the_type_of_its_parameters(name):
    model, dim = MODELS[name]
    with jax.enable_x64(True), jax.numpy_dtype_promotion("strict"):
        start = model.init(jax.random.key(0), dim)
        params, numbers = (
            jax.tree.map(lambda p: jnp.asarray(p, jnp.float32), tree) for tree in (start, model)
        )
        for dtype in (jnp.int8, jnp.float32, jnp.float64):
            x = jnp.zeros((7, dim), dtype)
            found = jax.eval_shape(numbers.apply, params, x)
            kernel = jax.eval_shape(numbers.tangent_kernel, params, x)
            assert found.dtype == kernel.dtype == jnp.float32


# --- Every dynamics and every kind of model, against float64. ---

SIGNS: dict[str, Any] = {"task": SparseClassification(n=20, d=40, num_test=50), "loss": Logistic()}
REALS: dict[str, Any] = {"task": SparseRegression(n=20, d=40, num_test=50), "loss": Squared()}
CLASSES: dict[str, Any] = {
    "task": ModularArithmetic(p=5),
    "loss": CrossEntropy(),
    "model": MLP(widths=(16,), outputs=5, activation="quadratic"),
}
SMOOTH = MLP(widths=(8,), activation="tanh")

PAIRS: dict[str, dict[str, Any]] = {
    "diagonal, logistic": {**SIGNS, "model": DiagonalLinear(), "init_scale": 4.0},
    "diagonal of depth 3, squared": {**REALS, "model": DiagonalLinear(depth=3)},
    "net, squared": {**REALS, "model": SMOOTH},
    "net, logistic": {**SIGNS, "model": SMOOTH},
    "net, exponential": {**SIGNS, "model": SMOOTH, "loss": Exponential()},
    "net, hinge": {**SIGNS, "model": SMOOTH, "loss": Hinge(width=0.5)},
    "net, squared hinge": {**SIGNS, "model": SMOOTH, "loss": SquaredHinge(width=0.5)},
    "net, cross-entropy": CLASSES,
    "net, squared loss of classes": {**CLASSES, "loss": Squared()},
    "transformer": {**CLASSES, "model": Transformer(width=8, heads=2, mlp_width=16)},
    "centred": {**CLASSES, "model": Centred(model=CLASSES["model"])},
    "doubled": {**REALS, "model": Doubled(model=SMOOTH)},
    "linearised": {**REALS, "model": Linearised(model=SMOOTH)},
    "completion": {
        "task": MatrixCompletion(d=6, num_observed=20),
        "loss": Squared(),
        "model": MatrixFactorisation(size=6),
    },
    "committee": {
        "task": StudentTeacher(n=20, d=6, outputs=1, num_test=50),
        "loss": Squared(),
        "model": CommitteeMachine(width=6),
    },
}
DYNAMICS = {
    "flow": Flow(),
    "gd": GradientDescent(learning_rate=0.01),
    "sgd": SGD(learning_rate=0.01, batch_size=5, momentum=0.5),
    "adam": Adam(learning_rate=0.01, epsilon=1e-3),
    "adamw": AdamW(learning_rate=0.01, epsilon=1e-3),
    "noise": LabelNoiseSGD(learning_rate=0.01, batch_size=5),
}
QUICK = (("net, logistic", "gd"), ("completion", "gd"))


def cases() -> Any:
    for pair, fields in PAIRS.items():
        for name, dynamics in DYNAMICS.items():
            real = not fields["loss"].is_classification and "classes" not in pair
            if name == "noise" and not (real and pair != "centred"):
                continue  # label noise is defined for regression only
            marks = [] if (pair, name) in QUICK else [pytest.mark.slow]
            yield pytest.param(fields, dynamics, marks=marks, id=f"{pair}, {name}")


def test_no_dynamics_are_missing():
    names = {type(dynamics).__name__ for dynamics in DYNAMICS.values()} | {"ReducedFlow"}
    names |= {"SmallDecayLimit"}  # refuses float32, as `ReducedFlow` does
    assert names == built_in(lr.dynamics.AbstractDynamics)


@pytest.mark.slow
@pytest.mark.parametrize(("fields", "dynamics"), list(cases()))
def test_a_run_ends_where_it_does_in_float64(fields, dynamics):
    experiment = lr.Experiment(
        **fields, dynamics=dynamics, weight_decay=0.01, t1=5.0, times=FEW, precision="float32"
    )
    double, single = both(experiment)
    # 500 steps, or fewer of a flow, each with a rounding error; none of these runs is chaotic.
    allowed = 1e-4
    if isinstance(dynamics, Flow):
        # A flow may also choose other steps. Then the ends differ by no more than the error of the
        # flow itself, which a run with a tenth of the tolerance measures.
        tight = experiment.with_changes({"precision": "float64", "dynamics": Flow(rtol=1e-4)})
        allowed = max(allowed, relative_error(double, end_of(tight, None)))
    assert relative_error(single, double) < allowed


# --- What is part of a run: its identity, its record, its files. ---


def test_the_default_has_the_hash_it_had():
    plain = regression(precision="float64")
    left_out = lr.Experiment(
        **{
            name: getattr(plain, name)
            for name in type(plain).model_fields
            if name not in ("precision", "published")
        }
    )
    assert plain.content_hash == left_out.content_hash
    assert plain.content_hash != regression().content_hash
    again = lr.Experiment.from_toml(
        lr.Experiment(**SIGNS, model=SMOOTH, precision="float32").to_toml(), Path()
    )
    assert again.precision == "float32"


def test_runs_of_two_precisions_share_no_solve():
    with pytest.raises(lr.InputError, match="share their precision"):
        lr.simulate_many([regression(), regression(precision="float64")])


@pytest.mark.slow
def test_parameters_come_back_and_a_run_goes_on_from_them():
    first = regression(dynamics=Flow(method="tsit5"), t1=1.0)
    record = lr.simulate(first, params=START, keep_params=True)
    again = lr.parameters(record, first)
    assert again.dtype == np.float32
    assert np.array_equal(again, record["final_parameters"].values)
    longer = lr.extend(record, first, 2.0, params=START)
    assert longer["final_parameters"].dtype == np.float32
    at_once = end_of(first.with_changes({"t1": 2.0}))
    assert relative_error(longer["final_parameters"].values, at_once) < 1e-3  # the tolerance
    with pytest.raises(lr.InputError, match="differs in more than t1"):
        lr.extend(record, first.with_changes({"precision": "float64"}), 2.0, params=START)


class Stopped(Exception):  # noqa: N818
    pass


@pytest.mark.parametrize(
    "dynamics",
    [
        SGD(learning_rate=1e-3, momentum=0.9, batch_size=4),
        pytest.param(Flow(rtol=1e-4, method="rkc2"), marks=pytest.mark.slow),
    ],
)
def test_a_stopped_run_goes_on_to_the_same_bits(dynamics, tmp_path, monkeypatch):
    every = functools.partial(Checkpoint, every=0.0)
    monkeypatch.setattr(_simulate, "Checkpoint", every)
    experiment, path = regression(dynamics=dynamics), tmp_path / "run"
    whole = lr.simulate(experiment, params=START, keep_params=True)
    left = iter(range(2))

    def stop(stage: str, fraction: float | None, detail: str) -> None:
        del stage, fraction
        if detail and next(left, None) is None:
            raise Stopped

    with pytest.raises(Stopped):
        lr.simulate(experiment, params=START, checkpoint=path, listener=stop)
    again = lr.simulate(experiment, params=START, keep_params=True, checkpoint=path)
    assert again["final_parameters"].dtype == np.float32
    for name in whole.data_vars:
        assert np.array_equal(again[name].values, whole[name].values, equal_nan=True), name
    double = experiment.with_changes({"precision": "float64"})
    with pytest.raises(lr.InputError, match="is of another run"):
        lr.simulate(double, params=START, checkpoint=path)


@pytest.mark.slow
def test_a_sweep_takes_both(tmp_path):
    experiment = regression(dynamics=GradientDescent(learning_rate=0.1), t1=2.0)
    experiment = experiment.with_changes({"model": SMOOTH})
    runs = lr.sweep(experiment, {"precision": ["float64", "float32"]}, tmp_path, workers=0)
    assert runs["ending"].values.tolist() == ["completed", "completed"]
    double, single = (runs["param_norm"].sel(precision=p).values for p in runs["precision"].values)
    assert not np.array_equal(double, single)
    assert single == pytest.approx(double, rel=1e-5)


@pytest.mark.slow
def test_a_summary_says_the_precision():
    summary = lr.summarise(lr.simulate(regression(t1=1.0)))
    assert summary["precision"] == "float32"
    json.dumps(summary)


@pytest.mark.slow
def test_a_forecast_is_that_of_float64():
    fields: dict[str, Any] = {
        **SIGNS,
        "model": DiagonalLinear(),
        "init_scale": 10.0,
        "weight_decay": 1e-3,
    }
    single, double = (
        lr.forecast(lr.Experiment(**fields, precision=name, dynamics=Flow(), t1=1e4))
        for name in ("float32", "float64")
    )
    assert single.t_kernel_end == double.t_kernel_end
    assert single.t50 == double.t50


# --- What float32 cannot do. ---


@pytest.mark.parametrize(
    ("changes", "advice"),
    [
        ({"precision": "float16"}, "should be 'float64' or 'float32'"),
        ({"dynamics": ReducedFlow(), "model": DiagonalLinear()}, "set dynamics.kind to Flow"),
        ({"dynamics": Flow(rtol=1e-5)}, "set 0.0001 or more"),
        ({"dynamics": Flow(closure=True)}, "set it to false"),
        ({"dynamics": Flow(clock="log"), "weight_decay": 0.0}, "use linear"),
        ({"dynamics": GradientDescent(learning_rate=1e-5)}, "rounds away"),
        ({"dynamics": AdamW(learning_rate=1e-5)}, "rounds away"),
    ],
)
def test_what_needs_float64_is_refused(changes, advice):
    with pytest.raises(lr.InputError) as error:
        regression(**changes)
    line = str(error.value)
    assert line.startswith("precision = ")
    assert advice in line
    assert "\n" not in line


def test_an_own_function_that_widens_is_refused():
    def function(params: Any, x: Any) -> Any:
        return x @ params + np.zeros(1)  # NumPy's default type is float64

    model = Functions(init_params=linear, function=function)
    with pytest.raises(lr.InputError, match=r"outputs float64.: should be float32") as error:
        lr.simulate(regression(model=model), params=START)
    assert "\n" not in str(error.value)


def test_an_own_solver_that_widens_is_refused():
    with pytest.raises(lr.InputError, match=r"Kvaerno5.: computes in the type of") as error:
        lr.simulate(regression(dynamics=Flow(method=diffrax.Kvaerno5())), params=START)
    assert "\n" not in str(error.value)


@pytest.mark.slow
def test_an_own_solver_runs():
    double, single = both(regression(dynamics=Flow(method=diffrax.Dopri5())), START)
    assert relative_error(single, double) < 100 * EPS


def offset(params: Any, x: Any) -> Any:
    """The product with the weights, plus and minus a number that grows with them."""
    large = 1e6 * jnp.sum(params**2)
    return (x @ params + large) - large


def test_outputs_that_are_rounded_at_the_start_are_refused():
    model = Functions(init_params=linear, function=offset)
    with pytest.raises(lr.InputError, match="rounds the outputs at the start") as error:
        lr.simulate(regression(model=model), params=START)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("dynamics", [GradientDescent(learning_rate=0.05), Flow(method="tsit5")])
def test_outputs_that_rounding_spoils_end_imprecise(dynamics):
    model = Functions(init_params=linear, function=offset)
    # From zero, where the large number is zero as well.
    experiment = regression(model=model, dynamics=dynamics, t1=1.0)
    record = lr.simulate(experiment, params=np.zeros(6))
    assert record.attrs["ending"] == "imprecise"
    assert lr.transition(record).state == "stopped"
    double = experiment.with_changes({"precision": "float64"})
    assert lr.simulate(double, params=np.zeros(6)).attrs["ending"] == "completed"


def test_steps_that_rounding_stops_end_imprecise():
    signs = np.sign(Y)
    slow = regression(
        task=Arrays(x_train=X, y_train=signs, x_test=X, y_test=signs),
        loss=Logistic(),
        weight_decay=0.0,
        dynamics=GradientDescent(learning_rate=1e-9),
        t1=1e-7,
    )
    stopped = end_of(slow, START, "imprecise")
    assert np.array_equal(stopped, START.astype(np.float32))
    moved = end_of(slow.with_changes({"precision": "float64"}), START)
    assert not np.array_equal(moved, START)

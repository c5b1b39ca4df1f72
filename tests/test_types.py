"""Types of labels, parameters and inputs change no number, in a session as users have it."""

import json
import math
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

import equinox as eqx
import flax.linen
import flax.nnx
import haiku as hk
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch

import lazyrich as lr
from tests.helpers import in_double, leaves

# Called with what their annotations do not admit.
ARRAYS: Any = lr.tasks.Arrays
DIAGONAL: Any = lr.models.DiagonalParams
HINGE: Any = lr.losses.Hinge
LOGISTIC: Any = lr.losses.Logistic

TABLE = Path(__file__).parent / "table_of_types.py"


def combinations(part: str) -> list[dict[str, Any]]:
    environment = {k: v for k, v in os.environ.items() if k != "JAX_ENABLE_X64"}
    command = [sys.executable, "-W", "error", str(TABLE), part]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("part", "least", "num_run"),
    [("few", 40, 30), pytest.param("all", 300, 150, marks=pytest.mark.battery)],
)
def test_types_change_nothing_or_are_refused_in_one_line(part, least, num_run):
    found = combinations(part)
    assert len(found) >= least
    for line in found:
        row, ours, double = line["row"], line["ours"], line["double"]
        if isinstance(ours, str):
            assert isinstance(double, str), row
            assert "\n" not in ours
            assert " = " in ours
            assert len(ours) < 300
        else:
            np.testing.assert_allclose(ours, double, rtol=1e-12, atol=1e-14, err_msg=str(row))
    ran = [line for line in found if not isinstance(line["ours"], str)]
    assert len(ran) >= num_run
    # A run ends in numbers: what is not a number is a predictor's distance where there is none.
    own = [line["ours"] for line in ran if "own" in line["row"][1] and line["row"][2] != "2**40"]
    assert own
    assert all(math.isfinite(number) for numbers in own for number in numbers)


# Public doors that compute, called with arrays of narrow types.

KEY = jax.random.key(0)
X = np.random.default_rng(0).normal(size=(6, 4)).astype(np.float32)
SIGNS = np.array([1, -1, 1, 1, -1, 1], np.int8)
MLP = lr.models.MLP(widths=(3,), activation="tanh")


def two_outputs(x: Any) -> Any:
    return hk.Linear(2)(x)


NETS: dict[str, Any] = {
    "DiagonalLinear": lr.models.DiagonalLinear(),
    "MLP": MLP,
    "linear": lr.models.MLP(widths=()),
    "classes": lr.models.MLP(widths=(3,), outputs=3, activation="tanh"),
    "Doubled": lr.models.Doubled(model=MLP),
    "Centred": lr.models.Centred(model=MLP),
    "Linearised": lr.models.Linearised(model=MLP),
    "CommitteeMachine": lr.models.CommitteeMachine(width=5),
    "over_root_d": lr.models.CommitteeMachine(width=5, inputs="over_root_d", readouts="trained"),
    "Transformer": lr.models.Transformer(width=4, heads=2, mlp_width=3),
    "MatrixFactorisation": lr.models.MatrixFactorisation(size=4),
    "Functions": lr.models.Functions(
        init_params=lambda key: {"w": jax.random.normal(key, (4,))},
        function=lambda p, x: (x * 100) ** 2 @ p["w"],
    ),
    "FromEquinox": lr.models.FromEquinox(module=eqx.nn.MLP(4, 1, 3, 1, key=KEY)),
    "FromTorch": lr.models.FromTorch(torch.nn.Linear(4, 2)),
    "FromFlax": lr.models.FromFlax(module=flax.linen.Dense(2)),
    "FromFlaxNNX": lr.models.FromFlaxNNX(module=flax.nnx.Linear(4, 2, rngs=flax.nnx.Rngs(0))),
    "FromHaiku": lr.models.FromHaiku(module=hk.transform(two_outputs)),
}


def test_every_model_is_at_the_doors():
    kinds = {type(model).__name__ for model in NETS.values()}
    assert kinds >= {name for name in type(MLP).kinds if hasattr(lr.models, name)}


def inputs(model: Any, dtype: Any) -> np.ndarray:
    if isinstance(model, lr.models.MatrixFactorisation):
        return np.array([[0, 1], [2, 3], [3, 3]]).astype(dtype)
    return np.round(3 * X).astype(dtype)


def narrow(tree: Any, dtype: Any) -> Any:
    return jax.tree.map(lambda leaf: np.asarray(leaf).astype(dtype), tree)


def assert_double(ours: Any, theirs: Any) -> None:
    for one, other in zip(jax.tree.leaves(ours), jax.tree.leaves(theirs), strict=True):
        assert one.dtype in (jnp.float64, np.float64), one.dtype
        np.testing.assert_allclose(np.asarray(one), np.asarray(other), rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize(
    "name", [n if n == "MLP" else pytest.param(n, marks=pytest.mark.slow) for n in NETS]
)
def test_models_compute_in_double(name):
    model = NETS[name]
    start = model.init(KEY, 4)
    assert_double(start, in_double(model.init)(KEY, 4))
    params = narrow(start, np.float16)
    exact = narrow(params, np.float64)
    methods = [m for m in ("apply", "tangent_kernel", "norm", "weights") if hasattr(model, m)]
    if name == "Transformer":
        methods.remove("tangent_kernel")  # by a backward pass an output, uncompiled: 30 s
    for dtype in (np.int8, ">f4"):
        x = inputs(model, dtype)
        wide = x.astype(float)
        for method in methods:
            args: Any = (exact,) if method in ("norm", "weights") else (exact, wide)
            given: Any = (params,) if len(args) == 1 else (params, x)
            ours = getattr(model, method)(*given)
            assert_double(ours, in_double(getattr(model, method))(*args))


def doors() -> dict[str, tuple[Any, tuple[Any, ...]]]:
    """Functions, with arguments in narrow types."""
    params, net = narrow(MLP.init(KEY, 4), np.float32), NETS["classes"]
    many = narrow(net.init(KEY, 4), np.float32)
    linear = lr.models.MLP(widths=(), bias=False)
    found = {
        "kernel_product": (lr.kernel.kernel_product, (MLP, params, X[:, 0], X)),
        "tangent_outputs": (lr.kernel.tangent_outputs, (MLP, params, params, X)),
        "row_gram": (lr.kernel.row_gram, (net, many, X, X[:, :3])),
        "kernel_block": (lr.kernel.kernel_block, (net, many, X)),
        "class_kernel": (lr.kernel.class_kernel, (net, many, X)),
        "kernel_distance": (lr.kernel.kernel_distance, (X @ X.T, X[:, :2] @ X[:, :2].T)),
        "accuracy": (lr.probes.accuracy, (X[:, 0], SIGNS)),
        "accuracy of classes": (lr.probes.accuracy, (X, np.abs(SIGNS))),
        "margins": (lr.probes.margins, (X[:, 0], SIGNS)),
    }
    for loss in (lr.losses.Squared(), lr.losses.Logistic(), lr.losses.Exponential(),
                 lr.losses.Hinge(), lr.losses.SquaredHinge()):  # fmt: skip
        for method in ("value", "dual", "curvature", "log_value", "mean", "log_mean"):
            door = getattr(loss, method), (X[:, 0], SIGNS)
            found[f"{type(loss).__name__}.{method}"] = door
            unsigned = getattr(loss, method), (X[:, 0], np.abs(SIGNS).astype(np.uint8))
            found[f"{type(loss).__name__}.{method} of uint8"] = unsigned
    for method in ("value", "dual", "curvature", "log_value", "mean", "log_mean"):
        door = getattr(lr.losses.CrossEntropy(), method), (X, np.abs(SIGNS).astype(np.uint8))
        found[f"CrossEntropy.{method}"] = door
    start = narrow(linear.init(KEY, 4), np.float32)
    spread = np.concatenate([4 * SIGNS[:, None], X[:, 1:]], axis=1).astype(np.float32)
    found |= {
        "l1_max_margin": (lr.predictors.l1_max_margin, (spread, SIGNS)),
        "l2_max_margin": (lr.predictors.l2_max_margin, (spread, SIGNS)),
        "l1_min_norm": (lr.predictors.l1_min_norm, (spread.T, X[:4, 0])),
        "l2_min_norm": (lr.predictors.l2_min_norm, (spread.T, X[:4, 0])),
        "margin_kkt": (lr.predictors.margin_kkt, (linear, start, spread, SIGNS)),
        "min_norm_kkt": (lr.predictors.min_norm_kkt, (linear, start, X, X[:, 0])),
        "tangent_max_margin": (lr.predictors.tangent_max_margin, (linear, start, spread, SIGNS)),
        "multiclass_max_margin": (lr.predictors.multiclass_max_margin, (X, np.arange(6) % 2, 2)),
        "lq_max_margin": (lr.predictors.lq_max_margin, (spread, SIGNS, 0.5)),
        "diagonal_kkt": (lr.predictors.diagonal_kkt, (DIAGONAL(X[0], X[1]), X, SIGNS, 2)),
    }
    pairs = np.array([[0, 1], [2, 2], [1, 2], [0, 0]], np.int8)
    committee = lr.models.CommitteeMachine(width=5)
    weights = narrow(committee.init(KEY, 4), np.float32)
    found |= {
        "min_nuclear_norm": (lr.predictors.min_nuclear_norm, (pairs, X[:4, 0], 3)),
        "kernel_completion": (lr.predictors.kernel_completion, (pairs, X[:4, 0], 3)),
        "residue_spectrum": (lr.probes.residue_spectrum, (X.T, 3)),
        "participation": (lr.probes.participation, (X**2,)),
        "twin_of": (lr.probes.twin_of, (committee, weights, X, X[:, 0], X[:3])),
    }
    return found


DOORS = doors()


@pytest.mark.parametrize("name", DOORS)
def test_public_functions_compute_in_double(name):
    function, args = DOORS[name]
    wide = [
        arg if not isinstance(arg, np.ndarray | tuple) else narrow(arg, np.float64) for arg in args
    ]
    ours, theirs = function(*args), in_double(function)(*wide)
    plain = [np.asarray(leaf) for leaf in leaves(ours) if not isinstance(leaf, str)]
    other = [np.asarray(leaf) for leaf in leaves(theirs) if not isinstance(leaf, str)]
    assert plain
    assert all(array.dtype.kind != "f" or array.dtype == np.float64 for array in plain)
    for one, two in zip(plain, other, strict=True):
        np.testing.assert_allclose(one, two, rtol=1e-9, atol=1e-12)


def test_a_teacher_is_the_one_that_labelled_the_data():
    task = lr.tasks.StudentTeacher(n=5, d=3, widths=(4,), outputs=2, num_test=4)
    train = task.sample(KEY).train
    layers = task.teacher(jax.random.split(KEY, 3)[0])
    (w, b), (last, c) = [(np.asarray(w), np.asarray(b)) for w, b in layers]
    f = np.tanh(np.asarray(train.x) @ w.T + b) @ last.T + c
    np.testing.assert_allclose(f, train.y, rtol=1e-12)


# Labels that are whole numbers, whatever the type they come in.


def sums() -> tuple[np.ndarray, np.ndarray]:
    """Unordered pairs of digits as counts, and their sums."""
    pairs = [(a, b) for a in range(10) for b in range(a, 10)]
    x = np.array([[(k == a) + (k == b) for k in range(10)] for a, b in pairs])
    return x, np.array([a + b for a, b in pairs])


def experiment(x: Any, y: Any, num: int, **changes: Any) -> lr.Experiment:
    task = ARRAYS(x_train=x[:num], y_train=y[:num], x_test=x[num:], y_test=y[num:])
    times = lr.dynamics.Times(num_log=8, num_linear=4)
    fields: dict[str, Any] = {"loss": lr.losses.Squared(), "t1": 1e3, "times": times}
    return lr.Experiment(**{"task": task, **fields, **changes})


@pytest.mark.slow
@pytest.mark.parametrize("dtype", [float, int, np.uint8, np.float32])
def test_whole_number_targets_of_a_regression_are_numbers(dtype):
    # y = a + b is linear in the counts, whose 45 rows have rank 10: every flow without decay ends
    # in E_k = k, and so at loss zero on all 55.
    x, y = sums()
    order = np.random.default_rng(0).permutation(55)
    x, y = x[order], y[order].astype(dtype)
    assert np.linalg.matrix_rank(x[:45]) == 10
    record = lr.simulate(experiment(x, y, 45))
    assert float(record.test_loss[-1]) < 1e-15
    assert "test_accuracy" not in record
    assert "margin" not in record
    np.testing.assert_allclose(float(record.weight_norm_l1[-1]), 45, rtol=1e-8)
    np.testing.assert_allclose(float(record.weight_norm_l2[-1]), np.sqrt(285), rtol=1e-8)


@pytest.mark.slow
@pytest.mark.parametrize("depth", [2, 3])
def test_whole_number_labels_train_by_the_exact_reduction(depth):
    rng = np.random.default_rng(0)
    x, w = rng.normal(size=(42, 20)), rng.normal(size=20)
    y = np.clip(np.round(3 + x @ w), 0, 9)
    model, decay = lr.models.DiagonalLinear(depth=depth), 1e-3
    runs = [
        lr.simulate(experiment(x, y.astype(t), 12, model=model, weight_decay=decay))
        for t in (float, int, np.uint8)
    ]
    assert runs[0].attrs["ending"] == "completed"
    assert float(runs[0].train_loss[-1]) < 1e-4
    for run in runs[1:]:
        np.testing.assert_array_equal(run.train_loss, runs[0].train_loss)
        np.testing.assert_array_equal(run.test_loss, runs[0].test_loss)


def test_a_single_class_is_a_label_of_any_type():
    # Rows (1, p, 4): the hull's nearest point is (1, 0, 4), of norm root 17.
    x = np.array([[1, p, 4.0] for p in range(4)])
    for dtype in (float, int, np.int8, bool):
        found = lr.predictors.l2_max_margin(x, np.ones(4, dtype))
        np.testing.assert_allclose(found.objective, np.sqrt(17), rtol=1e-9)


@pytest.mark.slow
def test_a_module_in_single_precision_runs_in_double():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(30, 5))
    y = x @ rng.normal(size=5)
    module = eqx.nn.MLP(5, "scalar", 4, 1, key=KEY)
    with jax.enable_x64(True):
        double = jax.tree.map(
            lambda a: jnp.asarray(a, jnp.float64) if eqx.is_inexact_array(a) else a, module
        )
    assert module.layers[0].weight.dtype == jnp.float32
    steps = lr.dynamics.GradientDescent(learning_rate=1e-2)
    ends = []
    for one in (module, double):
        model = lr.models.FromEquinox(module=one)
        run = experiment(x, y, 20, model=model, dynamics=steps, t1=0.2)
        ends.append(lr.simulate(run).train_loss.values)
    np.testing.assert_allclose(ends[0], ends[1], rtol=1e-12)
    # By hand, in NumPy: the loss at time 0.
    (w, b), (v, c) = [(np.asarray(p.weight, float), np.asarray(p.bias, float))
                      for p in module.layers]  # fmt: skip
    f = np.maximum(x[:20] @ w.T + b, 0) @ v.T + c
    np.testing.assert_allclose(ends[0][0], np.mean((f[:, 0] - y[:20]) ** 2), rtol=1e-12)


class Narrow(NamedTuple):
    """A model whose parameters are in a narrow type, and how it is run."""

    dtype: Any
    dynamics: Any
    wrapped: Any = None
    decay: float = 0.0


NARROW = {
    "float32, flow": Narrow(jnp.float32, lr.dynamics.Flow()),
    "bfloat16, flow": Narrow(jnp.bfloat16, lr.dynamics.Flow(method="rkc2"), decay=1e-3),
    "float16, descent": Narrow(jnp.float16, lr.dynamics.GradientDescent(learning_rate=1e-2)),
    "bfloat16, AdamW": Narrow(jnp.bfloat16, lr.dynamics.AdamW(learning_rate=1e-2)),
    "float32, doubled": Narrow(jnp.float32, lr.dynamics.Flow(), lr.models.Doubled),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", NARROW)
def test_parameters_of_a_narrow_type_run_as_the_same_numbers_in_double(name):
    row, rng = NARROW[name], np.random.default_rng(0)
    x = rng.normal(size=(30, 5))
    y = x @ rng.normal(size=5)

    def start(dtype: Any) -> Any:
        def init(key: Any, dim: int) -> Any:
            narrow = {"W": jax.random.normal(key, (4, dim), jnp.float32) / 3, "a": jnp.ones(4)}
            return jax.tree.map(lambda p: p.astype(row.dtype).astype(dtype), narrow)

        return init

    ends = []
    for dtype in (row.dtype, jnp.float64):
        model: Any = lr.models.Functions(
            init_params=start(dtype), function=lambda p, x: jnp.tanh(x @ p["W"].T) @ p["a"]
        )
        model = model if row.wrapped is None else row.wrapped(model=model)
        fields = {"dynamics": row.dynamics, "weight_decay": row.decay, "t1": 0.5}
        record = lr.simulate(experiment(x, y, 20, model=model, **fields))
        ends.append(record[["train_loss", "test_loss"]])
    assert ends[0]["train_loss"].values[-1] < ends[0]["train_loss"].values[0]
    # The conversion is exact, so the runs agree to rounding of the compiled code.
    for loss in ends[0]:
        np.testing.assert_allclose(ends[0][loss], ends[1][loss], rtol=1e-9)


@pytest.mark.slow
def test_parameters_passed_in_are_the_same_in_every_type():
    x, y = sums()
    runs = []
    for dtype in (float, np.float32, np.float16, int, ">f8", jnp.bfloat16):
        start = DIAGONAL(*(np.full(10, 1).astype(dtype) for _ in "uv"))
        runs.append(lr.simulate(experiment(x, y, 45, t1=1.0), params=start))
    for run in runs[1:]:
        np.testing.assert_array_equal(run.train_loss, runs[0].train_loss)
        assert run.attrs["own_params"] == runs[0].attrs["own_params"]


def test_inputs_of_a_narrow_type_do_not_overflow_in_a_users_function():
    x = np.array([[100, 1], [50, 2], [7, 3]], np.int8)
    model = lr.models.Functions(
        init_params=lambda key: jnp.ones(2), function=lambda p, x: (x * 100) ** 2 @ p
    )
    steps = lr.dynamics.GradientDescent(learning_rate=1e-12)
    run = experiment(x, np.zeros(3), 2, model=model, t1=1e-12, dynamics=steps)
    record = lr.simulate(run)
    right = np.mean(((100.0 * x[:2].astype(float)) ** 2).sum(axis=1) ** 2)
    np.testing.assert_allclose(float(record.train_loss[0]), right, rtol=1e-12)


# What cannot be used is one line that says what to do.

OWN: dict[str, Any] = {"init_params": lambda key, dim: jnp.ones(dim)}
WORDS: dict[str, tuple[Any, str]] = {
    "NumPy": (
        lambda: lr.models.Functions(**OWN, function=lambda p, x: np.tanh(x) @ p),
        r"model = 'Functions': fails on inputs \(4, 3\): it uses NumPy where jax\.numpy is needed",
    ),
    "if": (
        lambda: lr.models.Functions(**OWN, function=lambda p, x: x @ p if p[0] > 0 else x @ -p),
        r"model = 'Functions': .*use jnp\.where",
    ),
    "float32": (
        lambda: lr.models.Functions(**OWN, function=lambda p, x: (x @ p).astype(jnp.float32)),
        r"model = 'outputs float32': should be float64",
    ),
    "one input": (
        lambda: lr.models.Functions(**OWN, function=lambda p, x: jnp.vdot(x[0], p)),
        r"model = 'outputs \(\)': outputs of 4 inputs should be \(4,\) or \(4, c\)",
    ),
    "two arrays": (
        lambda: lr.models.Functions(**OWN, function=lambda p, x: (x @ p, x)),
        r"model = 'Functions': should return one array, not a tuple",
    ),
    "shapes": (
        lambda: lr.models.Functions(
            init_params=lambda key: jnp.ones(7), function=lambda p, x: x @ p
        ),
        r"model = 'Functions': fails on inputs \(4, 3\): TypeError: .*",
    ),
    "no parameters": (
        lambda: lr.models.Functions(
            init_params=lambda key: {}, function=lambda p, x: x.sum(axis=1)
        ),
        r"model = 'no parameters': should have at least one to train",
    ),
    "words as parameters": (
        lambda: lr.models.Functions(init_params=lambda key: {"a": "b"}, function=lambda p, x: x),
        r"model\.init_params\['a'\] = '<U1': should be an array of real numbers",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", WORDS)
def test_own_models_that_cannot_be_followed_say_why(name):
    make, message = WORDS[name]
    x, y = np.eye(4, 3), np.ones(4)
    task = ARRAYS(x_train=x, y_train=y, x_test=x, y_test=y)
    run = lr.Experiment(
        task=task, model=make(), loss=lr.losses.Squared(), dynamics=lr.dynamics.Flow(), t1=0.1
    )
    with pytest.raises(lr.InputError, match=f"^{message}") as caught:
        lr.simulate(run)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("params", "message"),
    [
        (DIAGONAL(np.ones(3), np.ones(10)), r"params\.u = \(3,\): .*shape \(10,\)"),
        (np.ones(10), r"params = '\(10,\)': should be a pytree like model\.init\(key, 10\)"),
        (
            DIAGONAL(np.ones(10) * 1j, np.ones(10)),
            r"params\.u = 'complex128': should be an array of real numbers",
        ),
        (
            DIAGONAL(jax.random.split(KEY, 10), np.ones(10)),
            r"params\.u = 'key<fry>': .*random keys are no parameters",
        ),
    ],
)
def test_parameters_of_another_shape_are_refused(params, message):
    x, y = sums()
    with pytest.raises(lr.InputError, match=f"^{message}"):
        lr.simulate(experiment(x, y, 45), params=params)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: eqx.nn.MLP(2, 1, 3, 1, key=KEY), r"wrapped, lazyrich\.models\.FromEquinox\("),
        (lambda: lambda p, x: x @ p, r"wrapped, lazyrich\.models\.Functions\(init_params="),
        (lambda: lr.models.MLP, r"called, MLP\(\.\.\.\)"),
        (lambda: "MLP", r"a table with a `kind`, \{\"kind\": \"MLP\"\}, or lazyrich\.models\.MLP"),
        (lambda: 3, r"a table with a `kind` among .*MLP.*or one of them from lazyrich\.models"),
    ],
)
def test_what_is_no_model_is_refused_with_the_next_step(make, message):
    x, y = sums()
    with pytest.raises(lr.InputError, match=r"^model = .*: should be " + message) as caught:
        experiment(x, y, 45, model=make())
    assert "\n" not in str(caught.value)


def test_fields_are_passed_by_name():
    with pytest.raises(
        lr.InputError, match=r"^Hinge = '1 without a name': .*by name, such as Hinge\(width="
    ):
        HINGE(0.1)
    with pytest.raises(
        lr.InputError, match=r"^Logistic = '1 without a name': Logistic\(\) has no fields"
    ):
        LOGISTIC(1)


@pytest.mark.parametrize(
    ("y_test", "message"),
    [
        ([1, -1, 2], r"task\.y_test\[2\] = 2: Logistic needs labels -1 or 1"),
        ([[1, 0], [0, 1], [1, 0]], r"y_test = "),
    ],
)
def test_test_labels_are_checked_as_training_labels_are(y_test, message):
    eye = np.eye(3)
    with pytest.raises(lr.InputError, match=f"^{message}"):
        lr.simulate(lr.Experiment(task=ARRAYS(
            x_train=eye, y_train=[1, -1, 1], x_test=eye, y_test=y_test)))  # fmt: skip


@pytest.mark.parametrize(
    ("index", "message"),
    [
        ([[0, 1], [1, 4]], r"model\.size = 4: .*largest of task\.x_test is 4"),
        ([[0, 1], [1, -1]], r"task\.x_test = 'an index of -1': .*from 0 on"),
        ([[0, 1], [1, 0.5]], r"task\.x_test = 'inputs float64 \(2, 2\)': .*whole numbers"),
    ],
)
def test_test_indices_are_checked_as_training_indices_are(index, message):
    model = lr.models.MatrixFactorisation(size=4)
    for x, refused in ((index, message), ([[0.0, 1.0], [2.0, 3.0]], None)):
        task = ARRAYS(x_train=[[0.0, 1], [1, 2]], y_train=[1, 2], x_test=x, y_test=[1, 2])
        run = lr.Experiment(task=task, model=model, loss=lr.losses.Squared(), t1=0.1,
                            dynamics=lr.dynamics.GradientDescent(learning_rate=0.05))  # fmt: skip
        if refused is None:
            assert np.isfinite(lr.simulate(run).test_loss).all()
        else:
            with pytest.raises(lr.InputError, match=f"^{refused}"):
                lr.simulate(run)


@pytest.mark.parametrize("bias", [True, "all", False])
@pytest.mark.parametrize("outputs", [0, 3])
def test_a_net_without_hidden_layers_has_the_intercept_that_it_says(bias, outputs):
    x: Any = np.random.default_rng(0).normal(size=(5, 4))
    model: Any = lr.models.MLP(widths=(), bias=bias, outputs=outputs, initialisation="uniform")
    params = model.init(KEY, 4)
    ones = float(bool(bias))
    w, b = np.asarray(params.weights[0]), np.asarray(params.bias) if bias else 0.0
    f = x @ w.T + b
    np.testing.assert_allclose(model.apply(params, x), f if outputs else f[:, 0], rtol=1e-12)
    gram: Any = x @ x.T + ones
    kernel = np.kron(gram, np.eye(max(1, outputs)))
    np.testing.assert_allclose(model.tangent_kernel(params, x), kernel, rtol=1e-12)
    r: Any = np.ones((5, 3)) if outputs else np.ones(5)
    right = gram * max(1, outputs)
    np.testing.assert_allclose(lr.kernel.row_gram(model, params, x, r), right, rtol=1e-12)
    ((inputs, forces),) = (map(np.asarray, pair) for pair in model.gradient_factors(params, x, r))
    product = (inputs @ inputs.T) * (forces @ forces.T)
    np.testing.assert_allclose(product, right, rtol=1e-12)
    assert model.homogeneity == 1


# Of the time when a net without hidden layers had no intercept, whatever it said.
OLD_HASHES = [
    "12ac3cbd06a4d9e4eab0348b2a2c8fe7f77723355cdd666790438a1791f54e45",
    "8e55c28063e4816f864eae8527b2511fc861946d77a772f5e08f70bf341cd678",
    "8f8f37b9ec2dcb5b0e47556206327986f2e560e695a1ceb4c273c00ec552bac3",
]


def test_linear_models_with_an_intercept_are_named_anew():
    # Without one they compute what they always did, and keep the hash of that time.
    hashes = []
    task = lr.tasks.SparseRegression(n=5, d=6)
    for widths, bias in (((), True), ((), False), ((1024,), True)):
        model = lr.models.MLP(widths=widths, bias=bias)
        flow, loss = lr.dynamics.Flow(), lr.losses.Squared()
        run = lr.Experiment(task=task, model=model, loss=loss, dynamics=flow)
        hashes.append(run.content_hash)
    assert hashes[0] != OLD_HASHES[0]
    assert hashes[1:] == OLD_HASHES[1:]

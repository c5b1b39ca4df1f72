"""Types of labels, parameters and inputs change no number, in a session as users have it."""

import json
import math
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import lazyrich as lr

TABLE = Path(__file__).parent / "table_of_types.py"


def combinations(part: str) -> list[dict[str, Any]]:
    environment = {k: v for k, v in os.environ.items() if k != "JAX_ENABLE_X64"}
    command = [sys.executable, "-W", "error", str(TABLE), part]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


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


# Public doors that compute, called with arrays of narrow types where 64-bit types are off.

KEY = jax.random.key(0)
X = np.random.default_rng(0).normal(size=(6, 4)).astype(np.float32)
SIGNS = np.array([1, -1, 1, 1, -1, 1], np.int8)
MLP = lr.models.MLP(widths=(3,), activation="tanh")
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
}


def test_every_model_is_at_the_doors():
    kinds = {type(model).__name__ for model in NETS.values()}
    assert kinds >= {name for name in type(MLP).kinds if hasattr(lr.models, name)}


def inputs(model: Any, dtype: Any) -> np.ndarray:
    if isinstance(model, lr.models.MatrixFactorisation):
        return np.array([[0, 1], [2, 3], [3, 3]]).astype(dtype)
    return np.round(3 * X).astype(dtype)


def off(function: Any, *args: Any) -> Any:
    """What a session in JAX's default configuration gets."""
    with jax.enable_x64(False):
        return function(*args)


def narrow(tree: Any, dtype: Any) -> Any:
    return jax.tree.map(lambda leaf: np.asarray(leaf).astype(dtype), tree)


def assert_double(ours: Any, theirs: Any) -> None:
    for one, other in zip(jax.tree.leaves(ours), jax.tree.leaves(theirs), strict=True):
        assert one.dtype in (jnp.float64, np.float64), one.dtype
        np.testing.assert_allclose(np.asarray(one), np.asarray(other), rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("name", NETS)
def test_models_compute_in_double(name):
    model = NETS[name]
    start = off(model.init, KEY, 4)
    assert_double(start, model.init(KEY, 4))
    params = narrow(start, np.float16)
    exact = narrow(params, np.float64)
    methods = [m for m in ("apply", "tangent_kernel", "norm", "weights") if hasattr(model, m)]
    for dtype in (np.int8, np.float16, ">f4"):
        x = inputs(model, dtype)
        wide = x.astype(float)
        for method in methods:
            args: Any = (exact,) if method in ("norm", "weights") else (exact, wide)
            given: Any = (params,) if len(args) == 1 else (params, x)
            ours = off(getattr(model, method), *given)
            assert_double(ours, getattr(model, method)(*args))


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
    }
    return found


DOORS = doors()


@pytest.mark.parametrize("name", DOORS)
def test_public_functions_compute_in_double(name):
    function, args = DOORS[name]
    wide = [
        arg if not isinstance(arg, np.ndarray | tuple) else narrow(arg, np.float64) for arg in args
    ]
    ours, theirs = off(function, *args), function(*wide)
    plain = [np.asarray(leaf) for leaf in jax.tree.leaves(ours) if not isinstance(leaf, str)]
    other = [np.asarray(leaf) for leaf in jax.tree.leaves(theirs) if not isinstance(leaf, str)]
    assert all(array.dtype.kind != "f" or array.dtype == np.float64 for array in plain)
    for one, two in zip(plain, other, strict=True):
        np.testing.assert_allclose(one, two, rtol=1e-9, atol=1e-12)


def test_a_teacher_is_the_one_that_labelled_the_data():
    task = lr.tasks.StudentTeacher(n=5, d=3, widths=(4,), outputs=2, num_test=4)
    train = off(task.sample, KEY).train
    layers = off(task.teacher, jax.random.split(KEY, 3)[0])
    (w, b), (last, c) = [(np.asarray(w), np.asarray(b)) for w, b in layers]
    f = np.tanh(np.asarray(train.x) @ w.T + b) @ last.T + c
    np.testing.assert_allclose(f, train.y, rtol=1e-12)

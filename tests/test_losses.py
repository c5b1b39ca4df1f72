from decimal import Decimal, localcontext
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import lazyrich as lr
from lazyrich.losses import AbstractLoss
from tests.helpers import built_in, normal

# Called with NumPy arrays, which hints do not admit.
KINDS: Any = lr.losses
LOSSES = [
    KINDS.Logistic(), KINDS.Exponential(), KINDS.Squared(),
    KINDS.Hinge(width=0.5), KINDS.SquaredHinge(width=0.5),
]  # fmt: skip


def name(loss: AbstractLoss) -> str:
    return type(loss).__name__


def test_every_loss_is_tested():
    ours = built_in(AbstractLoss)
    assert {name(loss) for loss in LOSSES} | {"CrossEntropy"} == ours


CLASSES = KINDS.CrossEntropy()


@pytest.mark.slow
@pytest.mark.usefixtures("double")
def test_cross_entropy_derivatives():
    f = 3 * jax.random.normal(jax.random.key(0), (4, 5))
    y = jnp.asarray([0, 4, 2, 2])
    np.testing.assert_allclose(CLASSES.value(f, y), jax.nn.logsumexp(f, 1) - f[np.arange(4), y])
    total = lambda f: jnp.sum(CLASSES.value(f, y))
    np.testing.assert_allclose(CLASSES.dual(f, y), -jax.grad(total)(f), rtol=1e-12)
    v = jax.random.normal(jax.random.key(1), f.shape)
    bent = jax.jvp(jax.grad(total), (f,), (v,))[1]
    root = CLASSES.curvature_root(f, y, CLASSES.curvature_root_transposed(f, y, v))
    np.testing.assert_allclose(root, bent, rtol=1e-10)
    hessian = jax.hessian(total)(f).reshape(20, 20)
    np.testing.assert_allclose(CLASSES.curvature(f, y).ravel(), jnp.diag(hessian), rtol=1e-10)
    forth, back = jnp.eye(20).reshape(20, 4, 5), jnp.eye(20).reshape(20, 4, 5)
    b = jax.vmap(lambda v: CLASSES.curvature_root(f, y, v).ravel())(forth).T
    bt = jax.vmap(lambda v: CLASSES.curvature_root_transposed(f, y, v).ravel())(back).T
    np.testing.assert_allclose(b.T, bt, atol=1e-15)


def test_cross_entropy_is_that_of_probabilities():
    f, y = np.array([[0.0, 1.0, -2.0], [3.0, 0.0, 0.5]]), np.array([1, 2])
    p = np.exp(f) / np.exp(f).sum(axis=1, keepdims=True)
    own = np.eye(3)[y]
    np.testing.assert_allclose(CLASSES.value(f, y), -np.log(p[[0, 1], y]))
    np.testing.assert_allclose(CLASSES.dual(f, y), own - p, atol=1e-15)
    np.testing.assert_allclose(CLASSES.curvature(f, y), p - p**2)
    # One sample for each unit vector: the rows are those of the transposed root.
    for i in range(2):
        again, label = np.repeat(f[i : i + 1], 3, axis=0), np.repeat(y[i], 3)
        rows = np.asarray(CLASSES.curvature_root(again, label, np.eye(3)))
        np.testing.assert_allclose(rows.T @ rows, np.diag(p[i]) - np.outer(p[i], p[i]), atol=1e-15)
        transposed = CLASSES.curvature_root_transposed(again, label, np.eye(3))
        np.testing.assert_allclose(transposed, rows.T, atol=1e-15)


@pytest.mark.parametrize("loss", LOSSES, ids=name)
def test_the_root_of_a_curvature_squares_to_it(loss):
    f, y, v = np.array([-1.5, 0.2, 0.9, 1.0]), np.array([1.0, -1.0, 1.0, 1.0]), np.arange(1.0, 5)
    squares = np.asarray(loss.curvature(f, y)) * v**2
    for root in (loss.curvature_root(f, y, v), loss.curvature_root_transposed(f, y, v)):
        np.testing.assert_allclose(np.asarray(root) ** 2, squares, rtol=1e-12)


def test_hinges_in_formulas():
    assert (KINDS.Hinge().width, KINDS.SquaredHinge().width) == (0.002, 0.005)
    f, y = np.array([-0.4, 0.7, 1.0, 1.6]), np.array([-1.0, 1.0, 1.0, 1.0])
    soft = 0.5 * np.log1p(np.exp((1 - y * f) / 0.5))
    np.testing.assert_allclose(KINDS.Hinge(width=0.5).value(f, y), soft)
    np.testing.assert_allclose(KINDS.SquaredHinge(width=0.5).value(f, y), soft**2)
    # The largest curvature, which limits explicit steps.
    f = np.linspace(-3.0, 3.0, 1201)
    for loss in (KINDS.Hinge(width=0.5), KINDS.SquaredHinge(width=0.5)):
        largest = np.max(np.asarray(loss.curvature(f, np.ones_like(f))))
        assert loss.steepest == pytest.approx(largest, rel=0.01)
    assert KINDS.Exponential().steepest is None


def test_labels_of_zero_are_numbers_and_extreme_ones_are_refused():
    squared = KINDS.Squared()
    np.testing.assert_array_equal(squared.labels([0, 0], (2,), "y"), [0.0, 0.0])
    for size in (9e151, 1.1e-152):
        np.testing.assert_array_equal(squared.labels([0, size], (2,), "y"), [0.0, size])
    for size in (1.1e152, 9e-153):
        with pytest.raises(lr.InputError, match=r"^y = .*: should be zero or between 1e-152 and"):
            squared.labels([0, size], (2,), "y")


@pytest.mark.slow
def test_cross_entropy_far_below_underflow():
    # With two classes it is the logistic loss of the difference.
    f = np.array([[2000.0, 0.0], [0.0, 5.0], [-3e4, 3e4]])
    y = np.array([0, 1, 0])
    margins, ones = np.array([2000.0, 5.0, -6e4]), np.ones(3)
    logistic = KINDS.Logistic()
    np.testing.assert_allclose(CLASSES.log_value(f, y), logistic.log_value(margins, ones))
    np.testing.assert_allclose(np.asarray(CLASSES.dual(f, y))[:, 0] * np.array([1, -1, 1]),
                               logistic.dual(margins, ones), rtol=1e-14)  # fmt: skip
    assert float(CLASSES.log_mean(f[:1], y[:1])) == -2000.0
    # A doubt of 1e-30 is kept, which one minus a probability would round away.
    sure, doubt = np.array([[70.0, 0.0, 1.0]]), np.exp(-70.0) + np.exp(-69.0)
    assert float(CLASSES.dual(sure, np.array([0]))[0, 0]) == pytest.approx(doubt)


NUMBERS = (
    "int8", "int16", "int32", "int64", "uint8", "uint64", "bool", "float16", "float32",
    "float64", ">f8", ">i4", "longdouble",
)  # fmt: skip


@pytest.mark.parametrize("dtype", NUMBERS)
def test_what_labels_mean_is_up_to_the_loss_and_the_outputs_and_not_to_their_type(dtype):
    zero_one = np.array([0, 1, 1, 0]).astype(dtype)
    for y in (zero_one, zero_one[:, None], np.repeat(zero_one, 2)[::2]):
        # Numbers beside one output, classes beside several.
        numbers = KINDS.Squared().labels(y, (4,), "y")
        assert numbers.dtype == jnp.float64
        np.testing.assert_array_equal(numbers, [0.0, 1.0, 1.0, 0.0])
        with_axis = KINDS.Squared().labels(y, (4, 1), "y")
        np.testing.assert_array_equal(with_axis, [[0.0], [1.0], [1.0], [0.0]])
        for loss in (CLASSES, KINDS.Squared()):
            classes = loss.labels(y, (4, 3), "y")
            assert classes.dtype == jnp.int32
            np.testing.assert_array_equal(classes, [0, 1, 1, 0])
            assert loss.meaning(classes, classes) == "classes"
        assert KINDS.Squared().meaning(numbers, numbers) == "reals"
        with pytest.raises(lr.InputError, match=r"^y\[0.*\] = 0: .* 0 and 1 by 2\*y - 1$"):
            KINDS.Logistic().labels(y, (4,), "y")
    if np.dtype(dtype).kind in "if":
        signs = np.array([-1, 1, 1]).astype(dtype)
        for one in (KINDS.Squared(), KINDS.Hinge()):
            found = one.labels(signs[:, None], (3,), "y")
            np.testing.assert_array_equal(found, [-1.0, 1.0, 1.0])
            assert found.dtype == jnp.float64
            assert one.meaning(found, found) == "signs"
            if isinstance(one, KINDS.Squared):
                assert one.meaning(found, 2 * np.asarray(found)) == "reals"


@pytest.mark.parametrize(
    ("loss", "y", "outputs", "message"),
    [
        ("Logistic", [1, 2], (2,), r"y\[1\] = 2: .*labels 1 and 2 by np.where\(y == 2, 1, -1\)"),
        ("Logistic", [0.0, 255.0], (2,), r"y\[0\] = 0: .*np.where\(y == 255, 1, -1\)"),
        ("Hinge", [0, 1, 2], (3,), r"y\[0\] = 0: .*for classes use CrossEntropy"),
        ("Exponential", [0.1, 1, 2], (3,), r"y\[0\] = 0.1: .*for numbers use Squared"),
        ("Logistic", [[0, 1], [1, 0]], (2,), r"y = 'labels \(2, 2\)': .*argmax\(axis=1\)"),
        ("Logistic", [[3, 1], [1, 0]], (2,), r"y = 'labels \(2, 2\)': .*one label for each sample"),
        ("Logistic", [[0, 0], [1, 0]], (2,), r"y = .*one label for each sample, -1 or 1$"),
        ("Logistic", [1, -1], (2, 3), r"model = 'outputs \(2, 3\)': .*\(2,\).*CrossEntropy"),
        ("Logistic", [1, -1], (2, 1), r"model = 'outputs \(2, 1\)': .*outputs = 0"),
        ("CrossEntropy", [[0, 1], [1, 0]], (2, 2), r"y = .*one-hot rows by y.argmax"),
        ("CrossEntropy", [[0, 2], [1, 0]], (2, 2), r"y = .*one whole number for each sample"),
        ("CrossEntropy", [-1, 1], (2, 2), r"y\[0\] = -1: .*by \(y \+ 1\) // 2"),
        ("CrossEntropy", [0, -2], (2, 3), r"y\[1\] = -2: .*classes from 0 on"),
        ("CrossEntropy", [0, 3], (2, 3), r"y\[1\] = 3: .*below the model's 3 outputs"),
        ("CrossEntropy", [0, 2**40], (2, 3), r"y\[1\] = 1099511627776: .*below"),
        ("CrossEntropy", [0, 2.0**40], (2, 3), r"y\[1\] = 1099511627776: .*below"),
        ("CrossEntropy", [0, 0.5], (2, 3), r"y\[1\] = 0.5: .*whole numbers"),
        ("CrossEntropy", [0, 1], (2,), r"model = 'outputs \(2,\)': .*Logistic"),
        ("CrossEntropy", [0, 0], (2, 1), r"model = 'outputs \(2, 1\)': .*Logistic"),
        ("Squared", [0.5, 1.0], (2, 3), r"y\[0\] = 0.5: .*classes.*model with one output"),
        ("Squared", [0, 3], (2, 3), r"y\[1\] = 3: .*below the model's 3 outputs"),
        ("Squared", [[1, 2], [3, 4]], (2,), r"y = 'labels \(2, 2\)': .*: 1 for each sample, got 2"),
        ("Squared", [[1, 2], [3, 4]], (2, 3), r"y = 'labels \(2, 2\)': .*: 3 for each sample"),
        ("Squared", [1, 2, 3], (2,), r"y = \(3,\): should have a label for each of 2 inputs"),
        ("Squared", [1, np.nan], (2,), r"y\[1\] = nan: should be finite"),
        ("Squared", ["a", "b"], (2,), r"y = '<U1': should be an array of real numbers"),
        ("Squared", [1j, 2], (2,), r"y = 'complex128': should be an array of real numbers"),
        ("Squared", [[1], [2, 3]], (2,), r"y = .*should be an array, with rows of one length"),
    ],
)  # fmt: skip
def test_labels_without_a_meaning_are_refused_with_what_to_do(loss, y, outputs, message):
    with pytest.raises(lr.InputError, match=f"^{message}") as caught:
        getattr(lr.losses, loss)().labels(y, outputs, "y")
    assert "\n" not in str(caught.value)


def test_squared_loss_of_classes_is_that_of_unit_vectors():
    loss, f = KINDS.Squared(), normal(0, 3, 4)
    classes, vectors = np.array([2, 0, 2]), np.eye(4)[[2, 0, 2]]
    for method in ("value", "dual", "log_value", "curvature", "mean", "log_mean"):
        ours, theirs = (getattr(loss, method)(f, y) for y in (classes, vectors))
        np.testing.assert_array_equal(ours, theirs)
    # So whatever type they come in.
    np.testing.assert_array_equal(loss.value(f, classes.astype(float)), loss.value(f, vectors))


def test_squared_loss_sums_over_outputs():
    loss, f, y = KINDS.Squared(), np.array([[1.0, 2.0], [0.0, 3.0]]), np.ones((2, 2))
    np.testing.assert_array_equal(loss.value(f, y), [1.0, 5.0])
    assert float(loss.mean(f, y)) == 3.0
    assert float(loss.log_mean(f, y)) == pytest.approx(np.log(3.0))
    np.testing.assert_array_equal(loss.dual(f, y), 2 * (y - f))


@pytest.mark.parametrize("loss", LOSSES, ids=name)
def test_dual_and_curvature_are_derivatives(loss):
    f = np.linspace(-30.0, 30.0, 41)
    for label in (-1.0, 1.0):
        y = np.full_like(f, label)
        with jax.enable_x64(True):
            slope, bend = (np.asarray(jax.vmap(derivative)(f, y)) for derivative in
                           (jax.grad(loss.value), jax.grad(jax.grad(loss.value))))  # fmt: skip
        np.testing.assert_allclose(loss.dual(f, y), -slope, rtol=1e-12)
        np.testing.assert_allclose(loss.curvature(f, y), bend, rtol=1e-10, atol=1e-14)


@pytest.mark.parametrize("margin", [-50.0, -1.0, 0.0, 3.0, 19.9, 20.1, 36.0, 690.0, 1e5])
def test_log_value_of_the_logistic_loss_is_exact(margin):
    # By 50-digit arithmetic; the loss is 1e-300 at 690, and 0 in float64 at 1e5.
    with localcontext() as context:
        context.prec = 50
        context.Emin = -(10**9)
        q = (-Decimal(margin)).exp()
        # ln(1 + q) loses q's digits once q is below the precision; its series does not.
        loss = q - q * q / 2 if q < Decimal("1e-20") else (1 + q).ln()
        exact = float(loss.ln())
    for y in (-1.0, 1.0):
        ours = KINDS.Logistic().log_value(np.array(y * margin), np.array(y))
        assert float(ours) == pytest.approx(exact, rel=1e-14)


def test_log_values_of_the_others_are_exact():
    f = np.array([690.0, -1e5])
    ours = KINDS.Exponential().log_value(f, np.ones(2))
    np.testing.assert_array_equal(ours, -f)
    tiny = KINDS.Squared().log_value(np.array(1e-150), np.array(0.0))
    assert float(tiny) == pytest.approx(-300 * np.log(10), rel=1e-14)


@pytest.mark.parametrize("loss", LOSSES, ids=name)
def test_log_mean_agrees_with_the_mean_and_outlives_it(loss):
    f, y = np.array([0.3, -2.0, 1.5]), np.array([1.0, -1.0, 1.0])
    assert float(loss.log_mean(f, y)) == pytest.approx(np.log(float(loss.mean(f, y))), rel=1e-12)
    if loss.is_classification:
        late, ones = np.full(3, 2000.0), np.ones(3)
        assert float(loss.mean(late, ones)) == 0.0
        hinge = np.log(0.5) - 1999 / 0.5
        last = {"Hinge": hinge, "SquaredHinge": 2 * hinge}.get(name(loss), -2000.0)
        assert float(loss.log_mean(late, ones)) == pytest.approx(last, rel=1e-12)


@pytest.mark.parametrize("loss", LOSSES, ids=name)
def test_labels_are_checked(loss):
    labels = np.array([1.0, -1.0, 0.5])
    if loss.is_classification:
        with pytest.raises(lr.InputError, match=r"y\[2\] = 0.5: .*labels -1 or 1"):
            loss.labels(labels, (3,), "y")
    else:
        np.testing.assert_array_equal(loss.labels(labels, (3,), "y"), labels)


@pytest.mark.slow
def test_hinges_are_theirs_within_what_is_said_of_the_width():
    f = np.linspace(-3.0, 5.0, 2001)
    short, ones = np.maximum(1 - f, 0.0), np.ones_like(f)
    for width in (0.3, 0.01):
        over = np.asarray(KINDS.Hinge(width=width).value(f, ones)) - short
        # softplus(z) - max(0, z) is log(1 + e^-|z|): log 2 at the kink, which is a point here.
        assert np.max(over) == pytest.approx(width * np.log(2), rel=1e-9)
        assert np.argmax(over) == 1000
        assert np.all(over > -1e-14)
        over = np.asarray(KINDS.SquaredHinge(width=width).value(f, ones)) - short**2
        assert 0.7 * width**2 < np.max(over) < 0.74 * width**2
        assert np.all(over > -1e-14)
    # The dual of the hinge is one or nothing, that of its square twice what is missing.
    f, y = np.array([0.5, -2.0, 1.5, -1.5]), np.array([1.0, 1.0, 1.0, -1.0])
    np.testing.assert_allclose(KINDS.Hinge().dual(f, y), [1, 1, 0, 0], atol=1e-12)
    np.testing.assert_allclose(KINDS.SquaredHinge().dual(f, y), [1, 6, 0, 0], atol=1e-12)
    for kind in ("Hinge", "SquaredHinge"):
        with pytest.raises(lr.InputError, match=r"loss\.width = 0\.0: should be greater than 0"):
            lr.Experiment(task=lr.tasks.SparseClassification()).with_changes(
                {"loss.kind": kind, "loss.width": 0.0}
            )


@pytest.mark.slow
def test_where_decay_holds_a_hinge():
    # One sample, one coordinate, depth 2: at rest 2 u s = lambda u, so s = lambda / 2.
    decay, width = 0.02, 0.05
    x, y = np.ones((1, 1)), np.ones(1)
    task = lr.tasks.Arrays(x_train=x, y_train=y, x_test=x, y_test=y)
    experiment = lr.Experiment(
        task=task, loss=lr.losses.Hinge(width=width), init_scale=2.0, weight_decay=decay, t1=2e3
    )
    margin = float(lr.simulate(experiment)["margin"][-1])
    assert margin == pytest.approx(1 + width * np.log(2 / decay - 1), rel=1e-6)

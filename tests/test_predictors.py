import jax
import numpy as np
import pytest
from scipy.optimize import linprog
from sklearn.svm import SVC

import lazyrich as lr
from tests.helpers import samples

LINEAR = lr.models.MLP(widths=(), bias=False, activation="identity")
OBSERVED = np.array([[0, 2], [0, 3], [1, 2]])
SIZES = [(5, 40), (30, 60), (20, 8)]


def separable(n, d, seed):
    """Random data; where d < n, labelled by a teacher so that they can be separated."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, d))
    y = np.sign(x @ rng.normal(size=d)) if d < n else rng.choice([-1.0, 1.0], n)
    return x, y


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(("n", "d"), SIZES)
def test_l2_max_margin_is_the_support_vector_machine(n, d, seed):
    x, y = separable(n, d, seed)
    ours = lr.predictors.l2_max_margin(x, y)
    # scikit-learn's machine has an intercept; data mirrored at the origin make it vanish.
    machine = SVC(kernel="linear", C=1e9, tol=1e-9)
    machine.fit(np.concatenate([x, -x]), np.concatenate([y, -y]))
    theirs = machine.coef_[0] / np.linalg.norm(machine.coef_)
    assert ours.status == "optimal"
    assert ours.gap < 1e-9
    np.testing.assert_allclose(ours.weights, theirs, atol=1e-6)
    assert ours.objective == pytest.approx(1 / np.linalg.norm(machine.coef_), rel=1e-6)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(("n", "d"), SIZES)
def test_l1_max_margin_is_the_linear_programme(n, d, seed):
    x, y = separable(n, d, seed)
    ours = lr.predictors.l1_max_margin(x, y)
    signed = y[:, None] * x
    # Variables (w+, w-): min sum, subject to margins of at least one.
    theirs = linprog(
        np.ones(2 * d), A_ub=np.hstack([-signed, signed]), b_ub=-np.ones(n), method="highs-ds"
    )
    assert ours.status == "optimal"
    assert ours.objective == pytest.approx(1 / theirs.fun, rel=1e-6)
    assert ours.bound == pytest.approx(1 / theirs.fun, rel=1e-6)
    weights = (theirs.x[:d] - theirs.x[d:]) / theirs.fun
    np.testing.assert_allclose(ours.weights, weights, atol=1e-5)
    assert np.abs(ours.weights).sum() == pytest.approx(1)


@pytest.mark.slow
def test_sign_data_of_the_paper_at_small_size():
    # The vote of three coordinates separates with L1 margin 1/3; random signs let a
    # sparse direction do a little better only if some other coordinate helps.
    task = lr.tasks.SparseClassification(n=200, d=50, num_test=10)
    train = task.sample(jax.random.key(0)).train
    ours = lr.predictors.l1_max_margin(train.x, train.y)
    assert ours.status == "optimal"
    assert ours.objective == pytest.approx(1 / 3, rel=1e-6)
    assert np.count_nonzero(np.abs(ours.weights) > 1e-6) == 3


@pytest.mark.parametrize("seed", range(8))
def test_l1_max_margin_ends_at_a_hundredth_of_the_tolerance(seed):
    # The Newton matrix is singular near the end but for the constraint on the sum of multipliers.
    rng = np.random.default_rng(seed)
    x, y = np.sign(rng.normal(size=(30, 100))), np.sign(rng.normal(size=30))
    found = lr.predictors.l1_max_margin(x, y, tolerance=1e-8)
    assert (found.status, found.gap < 1.1e-10) == ("optimal", True)


@pytest.mark.slow
@pytest.mark.parametrize("predict", [lr.predictors.l1_max_margin, lr.predictors.l2_max_margin])
def test_inseparable_data_are_reported(predict):
    x, y = np.array([[1.0, 2.0], [1.0, 2.0], [0.5, -1.0]]), np.array([1.0, -1.0, 1.0])
    ours = predict(x, y)
    assert ours.status == "not_separable"
    assert ours.objective == 0.0
    np.testing.assert_array_equal(ours.weights, 0)

    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(60, 5)), rng.choice([-1.0, 1.0], 60)
    assert predict(x, y).status == "not_separable"


@pytest.mark.parametrize("predict", [lr.predictors.l1_max_margin, lr.predictors.l2_max_margin])
def test_labels_that_are_not_signs_are_refused(predict):
    x, y = separable(5, 8, 0)
    with pytest.raises(lr.InputError, match=r"y\[2\] = 0.0: .* -1 or 1"):
        predict(x, np.where(np.arange(5) == 2, 0.0, y))


def test_min_norm_interpolant():
    data = samples(n=6, d=20, labels="real")
    ours = lr.predictors.l2_min_norm(data.x, data.y)
    theirs = np.linalg.pinv(np.asarray(data.x)) @ np.asarray(data.y)
    assert ours.status == "optimal"
    np.testing.assert_allclose(ours.weights, theirs, rtol=1e-9, atol=1e-12)
    assert ours.bound == pytest.approx(np.linalg.norm(theirs), rel=1e-9)
    # More equations than unknowns: nothing interpolates.
    data = samples(n=20, d=6, labels="real")
    assert lr.predictors.l2_min_norm(data.x, data.y).status == "not_separable"


@pytest.mark.parametrize(("n", "d"), [(5, 40), (30, 60)])
def test_l1_min_norm_is_the_linear_programme(n, d):
    x, y = np.random.default_rng(0).normal(size=(n, d)), np.linspace(-1.0, 2.0, n)
    ours = lr.predictors.l1_min_norm(x, y)
    theirs = linprog(np.ones(2 * d), A_eq=np.hstack([x, -x]), b_eq=y, method="highs-ds")
    assert ours.status == "optimal"
    assert ours.objective == pytest.approx(theirs.fun, rel=1e-6)
    np.testing.assert_allclose(ours.weights, theirs.x[:d] - theirs.x[d:], atol=1e-5)
    # What the certificate is: an interpolant, and a dual that no interpolant goes below.
    np.testing.assert_allclose(x @ ours.weights, y, atol=1e-9)
    assert np.abs(ours.weights).sum() == pytest.approx(ours.objective, rel=1e-12)
    assert np.max(np.abs(x.T @ ours.dual)) <= 1 + 1e-12
    assert ours.dual @ y == pytest.approx(ours.bound, rel=1e-12)


def test_l1_min_norm_of_one_coordinate_of_nothing_and_of_what_does_not_fit():
    signs = np.random.default_rng(1).choice([-1, 1], size=(24, 200)).astype(np.int8)
    found = lr.predictors.l1_min_norm(signs, 2.0 * signs[:, 3])
    assert found.status == "optimal"
    assert found.objective == pytest.approx(2.0, rel=1e-6)
    np.testing.assert_allclose(found.weights, 2.0 * np.eye(200)[3], atol=1e-4)
    nothing = lr.predictors.l1_min_norm(signs, np.zeros(24))
    assert (nothing.status, nothing.objective) == ("optimal", 0.0)
    tall = samples(n=20, d=6, labels="real")
    assert lr.predictors.l1_min_norm(tall.x, tall.y).status == "not_separable"


def halves(weights, depth):
    """The smallest parameters of a diagonal net that compute `weights`."""
    return lr.models.DiagonalParams(
        np.maximum(weights, 0) ** (1 / depth), np.maximum(-weights, 0) ** (1 / depth)
    )


@pytest.mark.slow
def test_kkt_residual_vanishes_at_the_l1_max_margin():
    x, y = separable(10, 30, 0)
    optimum = lr.predictors.l1_max_margin(x, y).weights
    optimum = np.where(np.abs(optimum) > 1e-7, optimum, 0)
    at = lr.predictors.diagonal_kkt(halves(optimum, 2), x, y, 2)
    assert at.stationarity < 1e-5
    assert abs(at.complementarity) < 1e-5
    assert at.multipliers.min() >= 0
    rng = np.random.default_rng(1)
    moved = optimum * (1 + 0.05 * rng.normal(size=30))
    off = lr.predictors.diagonal_kkt(halves(moved, 2), x, y, 2)
    assert off.stationarity + off.complementarity > 1e-2


@pytest.mark.parametrize("q", [-0.5, 0.0, 1.0, 2.0, np.nan])
def test_the_power_of_an_lq_margin_lies_between_zero_and_one(q):
    with pytest.raises(lr.InputError, match=rf"q = {q}: should lie between 0 and 1"):
        lr.predictors.lq_max_margin(np.array([[2.0, 1.0]]), np.ones(1), q)


@pytest.mark.slow
def test_lq_margin_of_two_coordinates_by_hand():
    # One sample (2, 1): margin over |w|_q is 2 at e_1 and 1 at e_2, both stationary; the kernel
    # predictor leans to the first, and a start on the second stays there.
    x, y = np.array([[2.0, 1.0]]), np.ones(1)
    found = lr.predictors.lq_max_margin(x, y, 0.5)
    assert found.status == "stationary"
    np.testing.assert_allclose(found.weights, [1, 0])
    assert found.objective == pytest.approx(2)
    other = lr.predictors.lq_max_margin(x, y, 0.5, start=np.array([1e-3, 1.0]))
    np.testing.assert_allclose(other.weights, [0, 1])
    torn = lr.predictors.lq_max_margin(np.concatenate([x, x]), np.array([1.0, -1.0]), 0.5)
    assert torn.status == "not_separable"


@pytest.mark.slow
@pytest.mark.parametrize("depth", [3, 4])
def test_lq_margin_is_a_kkt_point_of_the_net(depth):
    # The residual is another's: of the net's own parameters, with multipliers of its own.
    x, y = separable(20, 60, 0)
    found = lr.predictors.lq_max_margin(x, y, 2 / depth)
    assert (found.status, np.sum(found.weights != 0) < 20) == ("stationary", True)
    assert np.sum(np.abs(found.weights) ** (2 / depth)) == pytest.approx(1)
    at = lr.predictors.diagonal_kkt(halves(found.weights, depth), x, y,
                                    depth)  # fmt: skip
    assert at.stationarity < 1e-5
    assert abs(at.complementarity) < 1e-5
    # The L1 predictor is of a larger quasi-norm, and no stationary point of it.
    sparse = lr.predictors.l1_max_margin(x, y)
    size = np.sum(np.abs(sparse.weights) ** (2 / depth)) ** (depth / 2)
    assert sparse.objective / size < found.objective


@pytest.mark.parametrize("depth", [2, 3, 4])
def test_kkt_residual_by_hand_with_one_sample(depth):
    # One sample: w = e_1 / x_1 is a KKT point at every depth, for its gradient is parallel to
    # it; weight spread over two unequal coordinates is not.
    x, y = np.array([[2.0, 1.0]]), np.ones(1)
    point = lr.predictors.diagonal_kkt(halves(np.array([0.7, 0.0]), depth), x, y, depth)
    assert point.stationarity < 1e-12
    assert abs(point.complementarity) < 1e-12
    # Scaled to margin one, u_1 = 2^(-1/L); stationarity u = mu L u^(L-1) x gives mu.
    assert point.multipliers[0] == pytest.approx(2 ** (-2 / depth) / depth)
    spread = lr.predictors.diagonal_kkt(halves(np.array([0.7, 0.7]), depth), x, y, depth)
    assert spread.stationarity > 0.1


def test_kkt_residuals_do_not_depend_on_the_scale_until_powers_of_parameters_underflow():
    # As after a decay over 200 time constants.
    x, y, w = np.array([[2.0, 1.0]]), np.ones(1), np.array([0.7, 0.1])
    at = [
        lr.predictors.diagonal_kkt(halves(w * scale**3, 3), x, y, 3) for scale in (1, 1e-50, 1e-87)
    ]
    assert at[1].stationarity == pytest.approx(at[0].stationarity)
    assert np.isnan(at[2].stationarity)
    assert np.isnan(at[2].multipliers).all()


def test_kkt_residual_needs_a_fit():
    x, y = np.array([[2.0, 1.0]]), -np.ones(1)
    off = lr.predictors.diagonal_kkt(halves(np.array([0.7, 0.0]), 2), x, y, 2)
    assert np.isnan(off.stationarity)
    assert np.isnan(off.complementarity)


def test_kernel_weights_stand_for_scaled_coordinates():
    x, y = separable(6, 15, 0)
    h = np.linspace(0.0, 2.0, 15)
    # Features sqrt(h) x; the last step back to weights on x multiplies by sqrt(h) again.
    weighted = lr.predictors.l2_max_margin(x, y, kernel_weights=h)
    scaled = lr.predictors.l2_max_margin(x * np.sqrt(h), y)
    np.testing.assert_allclose(weighted.weights, scaled.weights * np.sqrt(h), atol=1e-9)
    assert weighted.objective == pytest.approx(scaled.objective)
    labels = np.arange(6.0)
    weighted = lr.predictors.l2_min_norm(x, labels, kernel_weights=h)
    scaled = lr.predictors.l2_min_norm(x * np.sqrt(h), labels)
    np.testing.assert_allclose(weighted.weights, scaled.weights * np.sqrt(h), atol=1e-9)
    assert weighted.objective == pytest.approx(scaled.objective)


def programme(x, y):
    """The least L1 norm of an interpolant."""
    d = x.shape[1]
    found = linprog(np.ones(2 * d), A_eq=np.hstack([x, -x]), b_eq=y, method="highs-ds")
    return found.fun


SIGNS = np.random.default_rng(0).choice([-1.0, 1.0], size=(20, 50))
SPARSE = np.where(np.arange(50) < 3, 3**-0.5, 0.0)
DEPENDENT = {
    "twice": ([[1, 1]] * 2, [2, 2], 2, 2**0.5),
    "thrice": ([[1, 1]] * 3, [2] * 3, 2, 2**0.5),
    "scaled": ([[1, 1], [2, 2], [3, 3]], [2, 4, 6], 2, 2**0.5),
    "negative": ([[-1, 1]] * 2, [-1, -1], 1, 0.5**0.5),
    "sum": ([[1, 1, 0, 0], [0, 0, 1, 1], [1, 1, 1, 1]], [7, 5, 12], 12, 37**0.5),
    "zero": ([[0, 0], [1, 1]], [0, 2], 2, 2**0.5),
    "signs, first twice": (np.vstack([SIGNS, SIGNS[:1]]), np.append(SIGNS, SIGNS[:1], 0) @ SPARSE,
                           3**0.5, None),
    "signs, sum of two": (np.vstack([SIGNS, SIGNS[:1] + SIGNS[1:2]]),
                          np.vstack([SIGNS, SIGNS[:1] + SIGNS[1:2]]) @ SPARSE, 3**0.5, None),
    "more samples than inputs": (np.vstack([np.eye(3), np.ones((2, 3))]), [1, 2, 3, 6, 6], 6,
                                 14**0.5),
}  # fmt: skip


@pytest.mark.parametrize("name", DEPENDENT)
def test_a_sample_that_depends_on_others_changes_nothing(name):
    x, y, one, two = DEPENDENT[name]
    x, y = np.array(x, float), np.array(y, float)
    two = np.linalg.norm(np.linalg.pinv(x) @ y) if two is None else two
    for predict, right in ((lr.predictors.l1_min_norm, one), (lr.predictors.l2_min_norm, two)):
        found = predict(x, y)
        assert found.status == "optimal"
        assert found.objective == pytest.approx(right, rel=1e-6)
        np.testing.assert_allclose(x @ found.weights, y, atol=1e-9)
        # The same of any order, and of a sample more that is ten times another.
        more = np.vstack([x, 10 * x[-1:]])[::-1], np.append(y, 10 * y[-1])[::-1]
        assert predict(*more).objective == pytest.approx(right, rel=1e-6)


@pytest.mark.parametrize("scale", [1e-150, 1e150])
def test_norms_and_margins_under_scales(scale):
    rng = np.random.default_rng(4)
    x, y = rng.normal(size=(5, 12)), rng.normal(size=5)
    for predict in (lr.predictors.l1_min_norm, lr.predictors.l2_min_norm):
        plain = predict(x, y)
        for inputs, labels, factor in ((scale, 1, 1 / scale), (1, scale, scale), (scale, scale, 1)):
            found = predict(inputs * x, labels * y)
            assert found.status == "optimal"
            assert found.objective == pytest.approx(factor * plain.objective, rel=1e-7)
            np.testing.assert_allclose(found.weights / factor, plain.weights, atol=1e-6)
        # Beyond what a double holds: no plausible number, and why.
        lost = predict(x / scale, y * scale * 1e-20 if scale < 1 else y * scale * 1e20)
        assert lost.status == "out_of_range"
        assert "out of range of float64" in lost.why
        assert np.isnan(lost.objective)
    signs = np.sign(y)
    for predict in (lr.predictors.l1_max_margin, lr.predictors.l2_max_margin):
        plain, found = predict(x, signs), predict(scale * x, signs)
        assert found.status == "optimal"
        assert found.objective == pytest.approx(scale * plain.objective, rel=1e-7)
        np.testing.assert_allclose(found.weights, plain.weights, atol=1e-6)
    deep = lr.predictors.lq_max_margin(scale * x, signs, 0.5)
    plain = lr.predictors.lq_max_margin(x, signs, 0.5)
    assert (deep.status, plain.status) == ("stationary", "stationary")
    assert deep.objective == pytest.approx(scale * plain.objective, rel=1e-6)


# Whole numbers, so that all multiples by powers of two are exact.
WHOLE = np.array([[1, 2, 0], [0, 1, 3], [2, -1, 1], [1, 1, 1]], float)
SIGNS, CLASSES = np.array([1, -1, 1, 1]), np.array([0, 1, 2, 2])
OF_WHOLE = {
    "l1_max_margin": lambda c: lr.predictors.l1_max_margin(c * WHOLE, SIGNS),
    "l2_max_margin": lambda c: lr.predictors.l2_max_margin(c * WHOLE, SIGNS),
    "lq_max_margin": lambda c: lr.predictors.lq_max_margin(c * WHOLE, SIGNS, 0.5),
    "multiclass": lambda c: lr.predictors.multiclass_max_margin(c * WHOLE, CLASSES, 3),
    "tangent": lambda c: lr.predictors.tangent_max_margin(
        LINEAR, LINEAR.init(jax.random.key(0), 3), c * WHOLE, SIGNS
    ),
    "l1_min_norm": lambda c: lr.predictors.l1_min_norm(WHOLE[:2], c * np.array([1.0, 2])),
    "l2_min_norm": lambda c: lr.predictors.l2_min_norm(WHOLE[:2], c * np.array([1.0, 2])),
    "nuclear": lambda c: lr.predictors.min_nuclear_norm(OBSERVED, c * np.array([1.0, 3, 3]), 4),
    "kernel": lambda c: lr.predictors.kernel_completion(OBSERVED, c * np.array([1.0, 3, 3]), 4),
}  # fmt: skip


@pytest.mark.parametrize("predict", OF_WHOLE.values(), ids=OF_WHOLE)
def test_below_and_above_normal_numbers_the_status_says_so(predict):
    plain = predict(1.0)
    for scale in (2.0**-1074, 2.0**-1030, 2.0**1020):
        found, right = predict(scale), np.longdouble(scale) * plain.objective
        if np.finfo(float).tiny <= right <= np.finfo(float).max:
            assert found.status == plain.status
            assert found.objective == pytest.approx(float(right), rel=1e-6)
        else:
            assert found.status == "out_of_range"
            assert ": scale " in found.why


def test_inputs_and_labels_that_small_are_out_of_range_by_their_multipliers():
    # The least norm is that of the unscaled data, 0.69; its multipliers are near 1e323.
    for predict in (lr.predictors.l1_min_norm, lr.predictors.l2_min_norm):
        found = predict(5e-324 * WHOLE[:2], 5e-324 * np.array([1.0, 2]))
        assert found.status == "out_of_range"
        assert found.why == "the multipliers are out of range of float64: scale the inputs"


def test_one_sample_or_one_column_of_another_scale():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(20, 50))
    along = rng.normal(size=(1, 50))
    for by in (1e3, 1e6, 1e-5):
        rows, columns = np.ones(20), np.ones(50)
        rows[0] = columns[0] = by
        # Scaling samples moves no interpolant; columns move both, so w and its norm are new.
        scaled = lr.predictors.l1_min_norm(rows[:, None] * x, rows * (x @ SPARSE))
        assert scaled.status == "optimal"
        assert scaled.objective == pytest.approx(3**0.5, rel=1e-6)
        other = lr.predictors.l2_min_norm(rows[:, None] * x, rows * (x @ SPARSE))
        assert other.objective == pytest.approx(np.linalg.norm(np.linalg.pinv(x) @ x @ SPARSE))
        wide = x * columns
        q, r = np.linalg.qr(wide.T)
        right = np.linalg.norm(np.linalg.solve(r.T, wide @ SPARSE))
        found = lr.predictors.l2_min_norm(wide, wide @ SPARSE)
        assert found.status == "optimal"
        assert found.objective == pytest.approx(right, rel=1e-7)
        assert lr.predictors.l1_min_norm(wide, wide @ SPARSE).objective == pytest.approx(
            programme(q.T, np.linalg.solve(r.T, wide @ SPARSE)), rel=1e-6
        )
    for by in (1e-3, 1e-5):
        near = np.vstack([x, x[:1] + by * along])
        assert lr.predictors.l1_min_norm(near, near @ SPARSE).objective == pytest.approx(3**0.5)
    # A copy moved by little more than rounding: neither number is known, and that is what it says.
    lost = np.vstack([x, x[:1] + 2.0**-44 * along])
    label = np.append(x @ SPARSE, x[0] @ SPARSE + 1.0)
    for predict in (lr.predictors.l1_min_norm, lr.predictors.l2_min_norm):
        found = predict(lost, label)
        assert found.status == "ill_conditioned"
        assert "condition number" in found.why


@pytest.mark.slow
def test_margins_of_one_class():
    # The hull of (1, p, 4), p = 0..3, is nearest to the origin at (1, 0, 4).
    x, y = np.array([[1.0, p, 4.0] for p in range(4)]), np.ones(4)
    for labels in (y, y.astype(int), y.astype(np.int8)):
        assert lr.predictors.l2_max_margin(x, labels).objective == pytest.approx(17**0.5)
        assert lr.predictors.l1_max_margin(x, labels).objective == pytest.approx(4)


@pytest.mark.parametrize(
    ("x", "y", "line"),
    [
        (np.zeros((0, 3)), np.zeros(0), r"x = \(0, 3\): should have shape"),
        (np.zeros(3), np.zeros(3), r"x = \(3,\): should have shape"),
        (np.array([[1.0, np.nan]]), np.ones(1), r"x\[0, 1\] = nan: should be finite"),
        (np.eye(2), np.array([1.0, np.inf]), r"y\[1\] = inf: should be finite"),
        (np.eye(2), np.ones(3), r"y = \(3,\): should have shape \(2,\)"),
        (1j * np.eye(2), np.ones(2), "x = 'complex128': should be real"),
    ],
)
@pytest.mark.parametrize(
    "predict",
    [lr.predictors.l1_min_norm, lr.predictors.l2_min_norm, lr.predictors.l1_max_margin,
     lr.predictors.l2_max_margin],
)  # fmt: skip
def test_what_is_no_data_is_refused(predict, x, y, line):
    with pytest.raises(lr.InputError, match=line):
        predict(x, y)


NEAR = ("cosine_to_kernel", "distance_to_kernel", "cosine_to_rich", "distance_to_rich")


@pytest.mark.slow
def test_a_run_says_what_its_predictors_are():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(6, 12))
    x = np.vstack([x, x[:1]])
    w = np.where(np.arange(12) < 2, 1.0, 0.0)
    held = rng.normal(size=(30, 12))
    records = {}
    for name, y in (("fits", x @ w), ("torn", np.append(x[:6] @ w, 7.0))):
        task = lr.tasks.Arrays(x_train=x, y_train=y, x_test=held, y_test=held @ w)
        experiment = lr.Experiment(
            task=task, loss=lr.losses.Squared(), init_scale=3.0, weight_decay=1e-3, t1=2e4,
            times=lr.dynamics.Times(num_log=6, num_linear=4),
            probes=("train_loss", "test_loss", *NEAR),
        )  # fmt: skip
        records[name] = lr.simulate(experiment), experiment
    record, experiment = records["fits"]
    assert record["predictor_status"].values.tolist() == ["optimal", "optimal"]
    assert float(record["distance_to_rich"][-1]) < 5e-3
    assert record["distance_to_rich"].attrs["predictor_status"] == "optimal"
    assert "warning" not in record["distance_to_rich"].attrs
    assert lr.summarise(record)["warnings"] == []
    torn, experiment = records["torn"]
    assert torn["predictor_status"].values.tolist() == ["not_separable"] * 2
    for name in NEAR:
        assert "does not exist (not_separable" in torn[name].attrs["warning"]
    assert "warning" not in torn["train_loss"].attrs
    lines = lr.summarise(torn)["warnings"]
    assert len(lines) == 2
    assert "labels contradict each other" in lines[1]


@pytest.mark.slow
def test_an_output_of_a_predictor_that_is_zero_up_to_rounding_counts_half():
    # Predictors are multiples of (1, 1, 1). On the last sample they are 0, by rounding 3e-17.
    x_train, y_train = np.array([[1.0, 1.0, 1.0], [-1.0, -1.0, -1.0]]), np.array([1.0, -1.0])
    last = np.array([0.1, 0.2, -0.3])
    assert 0 < last.sum() < 1e-16
    x_test, y_test = np.stack([x_train[0], last]), np.array([1.0, -1.0])
    experiment = lr.Experiment(
        task=lr.tasks.Arrays(x_train=x_train, y_train=y_train, x_test=x_test, y_test=y_test),
        model=lr.models.DiagonalLinear(depth=2),
        init_scale=1.0,
        t1=1.0,
    )
    record = lr.simulate(experiment)
    np.testing.assert_array_equal(record["predictor_test_accuracy"], 0.75)
    np.testing.assert_array_equal(record["predictor_train_accuracy"], 1.0)

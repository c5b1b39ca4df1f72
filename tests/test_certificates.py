"""Each condition of each certificate fails alone, and the word changes."""

from collections.abc import Callable

import numpy as np
import pytest

import lazyrich as lr
from lazyrich.predictors.classes import ClassMargin, certify_classes
from lazyrich.predictors.interpolation import Interpolation, certify_interpolant, evidence
from lazyrich.predictors.kernel_completion import certified, observe
from lazyrich.predictors.lq_max_margin import certify_stationary
from lazyrich.predictors.margin import Margin, certify_margin
from lazyrich.predictors.nuclear_norm import certify_completion

TOLERANCE = 1e-6
Predict = Callable[..., lr.predictors.Predictor]
INTERPOLANTS: dict[int, Predict] = {1: lr.predictors.l1_min_norm, 2: lr.predictors.l2_min_norm}
MARGINS: dict[int, Predict] = {1: lr.predictors.l1_max_margin, 2: lr.predictors.l2_max_margin}


def regression(seed=0, n=5, d=9):
    rng = np.random.default_rng(seed)
    return rng.integers(-8, 9, (n, d)).astype(float), rng.integers(-8, 9, n).astype(float)


def classification(seed=0, n=6, d=12):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n, d)), rng.choice([-1.0, 1.0], n)


@pytest.mark.parametrize("order", [1, 2])
def test_an_interpolant_fails_by_each_condition_alone(order):
    x, y = regression()
    found, posed = INTERPOLANTS[order](x, y), Interpolation.of(x, y, order)
    u = np.ldexp(found.weights, posed.labels)
    nu = np.ldexp(found.dual, -posed.rows)

    def word(u=u, nu=nu):
        return certify_interpolant("", posed, u, nu, TOLERANCE).status

    assert word() == "optimal"
    # Bound and norm agree, but one sample is missed, however small its part of the weights.
    off = posed.independent.shortest(posed.x, 1e-4 * np.eye(5)[3])
    assert np.linalg.norm(u + off, order) <= np.linalg.norm(u, order) * (1 + 1e-3)
    assert word(u=u + off) == "not_proven"
    assert word(u=(1 - 1e-4) * u) == "not_proven"
    # It interpolates, but is longer.
    across = np.linalg.svd(posed.x)[2][-1]
    assert word(u=u + 1e-2 * across) == "not_proven"
    # Multipliers of the wrong size are scaled; of the wrong sign or in another order prove less.
    assert word(nu=100 * nu) == "optimal"
    assert word(nu=-nu) == "not_proven"
    assert word(nu=nu[::-1]) == "not_proven"
    assert word(nu=nu * (1 + 1e-2 * np.arange(5))) == "not_proven"
    assert word(nu=0 * nu) == "not_proven"


@pytest.mark.parametrize("order", [1, 2])
def test_samples_that_depend_on_others_are_checked_too(order):
    x, y = regression()
    x, y = np.vstack([x, x[0] - 2 * x[1]]), np.append(y, y[0] - 2 * y[1])
    assert INTERPOLANTS[order](x, y).status == "optimal"
    for change in (1.0, 1e-3):
        wrong = y + change * np.eye(6)[5]
        found = INTERPOLANTS[order](x, wrong)
        assert found.status == "not_separable"
        assert "contradict" in found.why
    # Nothing is contradicted by a copy that has been moved, however little.
    apart = np.random.default_rng(1).integers(-8, 9, 9)
    moved = np.vstack([x[:5], x[0] + 2.0**-20 * apart])
    assert INTERPOLANTS[order](moved, np.append(y[:5], y[0] + 1)).status == "optimal"


@pytest.mark.parametrize("order", [1, 2])
def test_the_change_that_mends_a_miss_mends_what_depends_on_it(order):
    # Sample 5 is the difference of two others. A candidate misses sample 0, and so sample 5. The
    # change that makes it interpolate sample 0 is counted, and leaves nothing of sample 5.
    x, y = regression()
    x, y = np.vstack([x, x[0] - x[1]]), np.append(y, y[0] - y[1])
    found, posed = INTERPOLANTS[order](x, y), Interpolation.of(x, y, order)
    u, nu = np.ldexp(found.weights, posed.labels), np.zeros(5)
    off = posed.independent.shortest(posed.kept[0], 1e-3 * np.eye(5)[0])
    proved = evidence(posed, u + off, nu)
    assert proved.correction == pytest.approx(np.linalg.norm(off, order), rel=1e-6)
    assert proved.dependent_misfit < 1e-9 * proved.correction


@pytest.mark.parametrize("order", [1, 2])
def test_a_margin_fails_by_each_condition_alone(order):
    x, y = classification()
    found, posed = MARGINS[order](x, y), Margin.of(x, y, order)
    u, mu = found.weights, found.dual

    def certify(u=u, mu=mu):
        return certify_margin("", posed, u, mu, TOLERANCE)

    assert certify().status == "optimal"
    # Norms are taken, not believed.
    assert certify(u=3 * u).objective == pytest.approx(found.objective)
    assert certify(mu=5 * mu).bound == pytest.approx(found.bound)
    # A smaller margin of one sample only.
    worst = u - 1e-3 * np.linalg.norm(u) * (y[2] * x[2]) / np.linalg.norm(x[2])
    assert certify(u=worst).status == "not_proven"
    assert certify(u=-u).status == "not_proven"
    # Multipliers: in another order, negative ones, none.
    assert certify(mu=mu[::-1]).status == "not_proven"
    wrong = np.where(np.arange(6) == np.argmax(mu), -mu, mu)
    assert certify(mu=wrong).status == "not_proven"
    assert certify(mu=0 * mu).status == "not_proven"
    # Whatever the pair, the bound is one.
    for other in (mu[::-1], wrong, mu + 1e-3):
        assert certify(mu=other).bound > found.objective * (1 - 1e-9)
    # Combinations with negative parts come nearer to the origin, and prove nothing: the nearest
    # of these three has 9, -2 and -1 parts and length 0.41, while the margin is 1.
    z = np.array([[1.0, 0.0, 0.0], [3.0, 1.0, 0.0], [2.0, 0.0, 1.0]])
    nearer = certify_margin(
        "", Margin.of(z, np.ones(3), order), z[0], np.array([9.0, -2, -1]), 1e-6
    )
    assert nearer.bound == pytest.approx(1)


@pytest.mark.slow
def test_inseparable_is_a_word_that_multipliers_prove():
    x, y = classification()
    posed = Margin.of(x, y, 2)
    # Multipliers whose pull is as small as can be are no proof, nor is a direction that fails.
    found = certify_margin("", posed, -lr.predictors.l2_max_margin(x, y).weights, y * 0, 1e-6)
    assert found.status == "not_proven"
    both = np.vstack([x, -0.7 * x[:1] - 0.3 * x[1:2]])
    signs = np.append(y, y[0])
    signs[1] = y[0]
    torn = lr.predictors.l2_max_margin(both, signs)
    assert torn.status == "not_separable"
    pull = (torn.dual * signs) @ both
    assert np.max(np.abs(pull)) < 1e-15
    assert torn.dual.sum() == pytest.approx(1)
    # One sample moved by 1e-7 and data that can be told apart: a margin, small as it is.
    rng = np.random.default_rng(3)
    near = np.vstack([both, both[:1]])
    near[-1, :] += 2.0**-24 * rng.normal(size=12)
    for order, predict in MARGINS.items():
        found = predict(near[[0, 2, 3, 7]], np.array([1.0, 1, 1, -1]))
        assert found.status == "optimal", order
        assert 0 < found.objective < 1e-6


@pytest.mark.slow
def test_a_margin_of_classes_fails_by_each_condition_alone():
    rng = np.random.default_rng(2)
    x, y = rng.normal(size=(8, 10)), rng.integers(0, 3, 8)
    found = lr.predictors.multiclass_max_margin(x, y, 3, tolerance=1e-6)
    posed = ClassMargin(x, y, 3, 0)

    def word(w=found.weights, mu=found.dual):
        return certify_classes("", posed, w, mu, 1e-5).status

    assert word() == "optimal"
    assert word(w=7 * found.weights) == "optimal"
    assert word(w=found.weights[::-1]) == "not_proven"
    worst = found.weights.copy()
    worst[y[0]] -= 1e-2 * x[0] / np.linalg.norm(x[0])
    assert word(w=worst) == "not_proven"
    assert word(mu=found.dual[:, ::-1]) == "not_proven"
    assert word(mu=found.dual[::-1]) == "not_proven"
    # What the own class carries counts for nothing.
    assert word(mu=found.dual + np.eye(3)[y]) == "optimal"
    twice, both = np.concatenate([x, x[:1]]), np.append(y, (y[0] + 1) % 3)
    assert lr.predictors.multiclass_max_margin(twice, both, 3, max_sweeps=50).status == (
        "not_separable"
    )


@pytest.mark.slow
def test_a_stationary_point_fails_by_each_condition_alone():
    x, y = classification(1, 8, 20)
    found, posed = lr.predictors.lq_max_margin(x, y, 0.5), Margin.of(x, y, 1)

    def word(w=found.weights, mu=found.dual):
        return certify_stationary("", posed, 0.5, w, mu, TOLERANCE).status

    assert word() == "stationary"
    assert word(w=3 * found.weights) == "stationary"
    assert word(w=-found.weights) == "not_proven"
    used = np.flatnonzero(found.weights)
    assert word(w=found.weights * (1 + 1e-3 * np.arange(20))) == "not_proven"
    more = found.weights.copy()
    more[np.setdiff1d(np.arange(20), used)[0]] = 1e-3
    assert word(w=more) == "not_proven"
    assert word(mu=found.dual[::-1]) == "not_proven"
    # The L2 direction has a margin and multipliers, and is no stationary point.
    other = lr.predictors.l2_max_margin(x, y)
    assert word(w=other.weights, mu=other.dual) == "not_proven"


def test_a_completion_fails_by_each_condition_alone():
    rng = np.random.default_rng(5)
    half = rng.normal(size=(8, 8))
    flat = rng.choice(64, 30, replace=False)
    index = np.stack(np.divmod(flat, 8), axis=1)
    values = (half + half.T)[tuple(index.T)]
    found, seen = lr.predictors.min_nuclear_norm(index, values, 8), observe(index, values, 8)
    dual = np.bincount(seen.which, found.dual)

    def gap(weights=found.weights, dual=dual):
        return certify_completion(seen.places, seen.values, weights, dual).gap

    assert gap() < TOLERANCE
    # Entries are set to what was observed: a matrix that misses one is another matrix.
    missed = found.weights.copy()
    place = tuple(seen.places[0])
    missed[place] = missed[place[::-1]] = missed[place] + 1
    assert gap(missed) == pytest.approx(gap(), abs=1e-12)
    # The norm is that of all eigenvalues: a matrix with a negative one has a larger norm than its
    # trace, and multipliers whose least eigenvalue is below -1 are no proof.
    spectrum = np.linalg.eigvalsh(found.weights)
    assert spectrum[0] < -0.1
    free = np.ones((8, 8), bool)
    free[tuple(seen.places.T)] = free[tuple(seen.places[:, ::-1].T)] = False
    worse = found.weights + 1e-2 * np.where(free, half + half.T, 0.0)
    assert gap(worse) > 1e-5
    assert gap(dual=-dual) > 1
    assert gap(dual=dual[::-1]) > 1e-2
    # Scaled to spectral norm one, from above and from below.
    one = certify_completion(
        np.array([[0, 0]]), np.array([-2.0]), -2.0 * np.eye(1), np.array([-5.0])
    )
    assert (one.objective, one.bound, one.dual.tolist()) == (2.0, 2.0, [-1.0])
    # And the word: a gap, values of one entry that differ.
    args = seen, found.weights / seen.unit, found.objective / seen.unit
    bound = found.bound / seen.unit
    assert certified("", *args, bound, found.dual, 1e-6).status == "optimal"
    assert certified("", *args, 0.99 * bound, found.dual, 1e-6).status == "not_proven"
    assert certified("", *args, np.nan, found.dual, 1e-6).status == "not_proven"
    torn = observe(np.array([[0, 1], [1, 0]]), np.array([1.0, 2.0]), 2)
    assert certified("", torn, np.eye(2), 1.0, 1.0, np.ones(2), 1e-6).status == "not_separable"

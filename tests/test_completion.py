import jax
import jax.numpy as jnp
import numpy as np
import pytest

import lazyrich as lr
from lazyrich.predictors.kernel_completion import kernel_completion, observe
from lazyrich.predictors.nuclear_norm import certify_completion, min_nuclear_norm
from tests.helpers import relative_error

BOTH = [min_nuclear_norm, kernel_completion]


def nuclear(matrix):
    return np.abs(np.linalg.eigvalsh(matrix)).sum()


def multipliers(index, dual, size):
    """The symmetric matrix that pairs with W as the multipliers do with its entries."""
    pulled = np.zeros((size, size))
    np.add.at(pulled, tuple(index.T), dual)
    return (pulled + pulled.T) / 2


def entries(matrix, n, seed, replace=False):
    """Entries of `matrix` drawn at random among all, mirror images counted apart."""
    size = len(matrix)
    flat = np.random.default_rng(seed).choice(size**2, n, replace=replace)
    index = np.stack(np.divmod(flat, size), axis=1)
    return index, matrix[tuple(index.T)]


def gaussian(size, seed):
    half = np.random.default_rng(seed).normal(size=(size, size))
    return half + half.T


def multiplication_table(size=97):
    """M_ij = i j / d^2, and the v of which it is the outer product."""
    v = np.arange(size) / size
    return np.outer(v, v), v


def douglas_rachford(index, values, size, iterations=6000):
    """The least nuclear norm by splitting: soft eigenvalues, then the entries set."""
    state = np.zeros((size, size))
    for _ in range(iterations):
        fitted = state.copy()
        fitted[tuple(index.T)] = fitted[tuple(index.T[::-1])] = values
        level, basis = np.linalg.eigh(2 * fitted - state)
        soft = np.sign(level) * np.maximum(np.abs(level) - 1, 0)
        state += (basis * soft) @ basis.T - fitted
    return fitted


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize(("size", "n"), [(4, 6), (6, 14), (8, 30)])
def test_min_nuclear_norm_is_what_splitting_finds(size, n, seed):
    index, values = entries(gaussian(size, seed), n, seed)
    ours = min_nuclear_norm(index, values, size)
    theirs = douglas_rachford(index, values, size)
    assert ours.status == "optimal"
    assert ours.gap < 1.5e-8
    assert ours.objective == pytest.approx(nuclear(theirs), rel=1e-6)
    # The pair proves its own optimality, by definitions alone.
    np.testing.assert_array_equal(ours.weights[tuple(index.T)], values)
    np.testing.assert_array_equal(ours.weights, ours.weights.T)
    assert ours.objective == pytest.approx(nuclear(ours.weights), rel=1e-12)
    assert np.linalg.norm(multipliers(index, ours.dual, size), 2) <= 1 + 1e-12
    assert ours.bound == pytest.approx(ours.dual @ values, rel=1e-12)


def test_closed_forms():
    # |W|_* >= <E_01 + E_10, W> = 2 |W_01|; many matrices attain it.
    one = min_nuclear_norm(np.array([[0, 1]]), np.array([-3.0]), 2)
    assert one.objective == pytest.approx(6, rel=1e-7)
    np.testing.assert_allclose(one.dual, [-2], rtol=1e-7)
    # |W|_* >= <diag(signs), W>, attained without anything off the diagonal.
    diagonal = np.array([2.0, -1.0, 0.5, 3.0])
    index = np.stack([np.arange(4)] * 2, axis=1)
    full = min_nuclear_norm(index, diagonal, 4)
    assert full.objective == pytest.approx(6.5, rel=1e-7)
    np.testing.assert_allclose(full.weights, np.diag(diagonal), atol=1e-7)
    np.testing.assert_allclose(full.dual, np.sign(diagonal), rtol=1e-6)
    for a, b in [(1.0, 2.0), (1.0, -2.0), (0.0, 1.0)]:
        pair = min_nuclear_norm(np.array([[0, 0], [1, 1]]), np.array([a, b]), 2)
        assert pair.objective == pytest.approx(abs(a) + abs(b), rel=1e-7)
    # [[1, 2], [2, x]]: of rank one at x = 4, of norm 5; x = 1 attains the bound 2 |W_01|.
    corner = min_nuclear_norm(np.array([[0, 0], [0, 1]]), np.array([1.0, 2.0]), 2)
    assert corner.objective == pytest.approx(4, rel=1e-7)


def test_three_entries_of_four_by_four():
    # W_02 = 1, W_03 = W_12 = r, W_13 = x: for x < r² the block's eigenvalues have opposite signs,
    # and its norm is sqrt((1 - x)² + 4r²), least at x = 1. The kernel leaves x at 0.
    r = 3.0
    index, values = np.array([[0, 2], [0, 3], [1, 2]]), np.array([1, r, r])
    found = min_nuclear_norm(index, values, 4)
    assert found.status == "optimal"
    assert found.objective == pytest.approx(4 * r, rel=1e-6)
    assert found.weights[1, 3] == pytest.approx(1, abs=1e-4)
    early = kernel_completion(index, values, 4).weights
    norm = np.abs(np.linalg.eigvalsh(early)).sum()
    assert norm == pytest.approx(2 * np.sqrt(1 + 4 * r**2))
    assert early[1, 3] == 0


@pytest.mark.parametrize("seed", range(3))
def test_a_matrix_of_rank_one_is_recovered(seed):
    v = np.random.default_rng(seed).normal(size=8)
    index, values = entries(np.outer(v, v), 48, seed)
    ours = min_nuclear_norm(index, values, 8)
    assert ours.objective == pytest.approx(v @ v, rel=1e-7)
    np.testing.assert_allclose(ours.weights, np.outer(v, v), atol=1e-6)


@pytest.mark.parametrize("predict", BOTH)
def test_order_signs_and_units_do_not_matter(predict):
    size = 7
    index, values = entries(gaussian(size, 3), 20, 3)
    plain = predict(index, values, size)
    rng = np.random.default_rng(0)
    order, rows, signs = rng.permutation(20), rng.permutation(size), rng.choice([-1, 1], size)

    def close(ours, weights, scale=1.0):
        assert ours.objective == pytest.approx(scale * plain.objective, rel=1e-7)
        np.testing.assert_allclose(ours.weights, scale * weights, atol=1e-5 * scale)

    close(predict(index[order], values[order], size), plain.weights)
    back = np.argsort(rows)
    close(predict(rows[index], values, size), plain.weights[np.ix_(back, back)])
    flipped = values * signs[index[:, 0]] * signs[index[:, 1]]
    close(predict(index, flipped, size), plain.weights * np.outer(signs, signs))
    for scale in (1e-200, 0.3, 1e200):
        close(predict(index, scale * values, size), plain.weights, scale)
    close(predict(jnp.asarray(index), jnp.asarray(values), size), plain.weights)
    # An entry told three times is still one constraint, whose multiplier is shared.
    thrice = predict(np.concatenate([index, index[:, ::-1], index]), np.tile(values, 3), size)
    close(thrice, plain.weights)
    total = multipliers(np.tile(index, (3, 1)), thrice.dual, size)
    np.testing.assert_allclose(total, multipliers(index, plain.dual, size), atol=1e-5)


@pytest.mark.parametrize("predict", BOTH)
def test_rows_without_an_observation_are_zero(predict):
    index, values = entries(gaussian(5, 1), 12, 1)
    ours = predict(2 * index + 1, values, 11)
    np.testing.assert_allclose(ours.weights[1::2, 1::2], predict(index, values, 5).weights)
    assert not ours.weights[::2].any()
    for empty in (predict(np.zeros((0, 2), int), np.zeros(0), 3), predict(index, 0 * values, 5)):
        assert (empty.objective, empty.bound, empty.gap) == (0, 0, 0)
        assert empty.status == "optimal"
        assert not empty.weights.any()


def test_a_perturbed_completion_fails_its_certificate():
    index, values = entries(gaussian(8, 5), 30, 5)
    found, seen = min_nuclear_norm(index, values, 8), observe(index, values, 8)
    dual = np.bincount(seen.which, found.dual)
    again = certify_completion(seen.places, seen.values, found.weights, dual)
    assert again.gap == pytest.approx(found.gap, abs=1e-12)
    rng = np.random.default_rng(0)
    off = 1e-2 * gaussian(8, 6)
    worse = certify_completion(seen.places, seen.values, found.weights + off, dual)
    assert worse.gap > 1e-4
    np.testing.assert_array_equal(worse.weights[tuple(seen.places.T)], seen.values)
    moved = dual + 1e-2 * rng.normal(size=len(dual))
    loose = certify_completion(seen.places, seen.values, found.weights, moved)
    assert loose.gap > 1e-4
    # Whatever the multipliers, the bound is one.
    assert loose.bound < found.objective
    huge = certify_completion(seen.places, seen.values, found.weights, 100 * dual)
    assert huge.gap == pytest.approx(found.gap, abs=1e-6)


@pytest.mark.usefixtures("double")
def test_kernel_completion_is_that_of_the_tangent_kernel():
    size, alpha = 4, 0.3

    def model(params):
        u, v = params
        return u @ u.T - v @ v.T

    start = (alpha * jnp.eye(size),) * 2
    jacobian = np.concatenate(
        [np.reshape(part, (size**2, -1)) for part in jax.jacobian(model)(start)], axis=1
    )
    kernel = jacobian @ jacobian.T
    index = np.array([[0, 0], [0, 1], [1, 0], [2, 1], [3, 3], [3, 3], [2, 0]])
    values = np.array([1.0, 2.0, 2.0, -3.0, 0.5, 0.5, 0.0])
    seen = index @ [size, 1]
    inverse = np.linalg.pinv(kernel[np.ix_(seen, seen)], rcond=1e-10)
    ours = kernel_completion(index, values, size)
    theirs = (kernel[:, seen] @ inverse @ values).reshape(size, size)
    np.testing.assert_allclose(ours.weights, theirs, atol=1e-12)
    np.testing.assert_allclose(ours.dual, alpha**2 * inverse @ values, atol=1e-12)
    assert ours.objective == pytest.approx(alpha * np.sqrt(values @ inverse @ values))
    assert ours.objective == pytest.approx(np.linalg.norm(ours.weights) / np.sqrt(8))
    assert ours.gap < 1e-12
    assert ours.status == "optimal"


@pytest.mark.parametrize("predict", BOTH)
def test_mirror_images_that_disagree_are_reported(predict):
    index = np.array([[0, 1], [1, 0], [2, 2]])
    ours = predict(index, np.array([1.0, 3.0, -1.0]), 3)
    mean = predict(index, np.array([2.0, 2.0, -1.0]), 3)
    assert ours.status == "not_separable"
    assert mean.status == "optimal"
    np.testing.assert_allclose(ours.weights, mean.weights, atol=1e-12)
    assert ours.objective == pytest.approx(mean.objective)


@pytest.mark.parametrize("seed", range(2))
def test_the_multiplication_table_at_full_size(seed):
    table, v = multiplication_table()
    index, values = entries(table, 470, seed)
    hidden = np.ones_like(table, bool)
    hidden[tuple(index.T)] = hidden[tuple(index.T[::-1])] = False
    gaps: list[float] = []
    late = min_nuclear_norm(index, values, 97, progress=gaps.append)
    early = kernel_completion(index, values, 97)
    assert late.status == early.status == "optimal"
    assert late.gap < 2e-8
    assert len(gaps) < 30
    assert gaps == sorted(gaps, reverse=True)
    assert late.objective <= v @ v * (1 + 1e-7)
    assert relative_error(late.weights, table) < 1e-5
    # The kernel says zero wherever it has not looked, so its error is the table's own square.
    assert not early.weights[hidden].any()
    assert np.mean((early.weights - table)[hidden] ** 2) == np.mean(table[hidden] ** 2)
    assert np.mean((late.weights - table)[hidden] ** 2) < 1e-10


@pytest.mark.parametrize(("n", "seed"), [(235, 1013), (350, 1007)])
def test_masks_too_small_to_recover_are_solved_all_the_same(n, seed):
    # Steps that go too near the boundary stall on the first, at a gap of 0.15, and creep on the
    # second, through 79 iterations.
    table, v = multiplication_table()
    index, values = entries(table, n, seed)
    gaps: list[float] = []
    ours = min_nuclear_norm(index, values, 97, progress=gaps.append)
    assert ours.gap < 2e-8
    assert len(gaps) < 30
    assert ours.objective < 0.999 * (v @ v)


@pytest.mark.parametrize("predict", BOTH)
@pytest.mark.parametrize(
    ("index", "values", "size", "message"),
    [
        ([[0, 1]], [1.0], 0, "size = 0: .* at least 1"),
        ([0, 1], [1.0], 2, r"index = \(2,\): .* \(n, 2\)"),
        ([[0, 1, 1]], [1.0], 2, r"index = \(1, 3\): "),
        ([[0.5, 1.0]], [1.0], 2, "index = 'float64': .* integers"),
        ([[0, 1]], [1.0, 2.0], 2, r"values = \(2,\): .* \(1,\)"),
        ([[0, 1], [0, 2]], [1.0, 2.0], 2, r"index\[1\] = \[0, 2\]: .* \[0, 2\)"),
        ([[-1, 1]], [1.0], 2, r"index\[0\] = \[-1, 1\]: "),
        ([[0, 1]], [np.nan], 2, r"values\[0\] = nan: .* finite"),
        ([[0, 1]], [1j], 2, "values = 'complex128': .* real"),
    ],
)
def test_entries_that_cannot_be_read_are_refused(predict, index, values, size, message):
    with pytest.raises(lr.InputError, match=message) as caught:
        predict(np.array(index), np.array(values), size)
    assert "\n" not in str(caught.value)

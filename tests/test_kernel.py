from typing import Any

import jax
import jax.flatten_util
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest
from scipy.optimize import nnls

import lazyrich as lr
from lazyrich.probes import ON_REQUEST, RunContext, RunState
from tests.test_models import X, moved

# Called with NumPy arrays, which hints do not admit.
GIVEN: Any = lr.kernel
NET = lr.models.MLP(widths=(5,), outputs=3)
DEEP = lr.models.MLP(
    widths=(5, 6), outputs=3, bias="all", parametrisation="mean_field", output_scale=3.0
)
# Nothing is known of its structure.
OWN = lr.models.Functions(
    init_params=lambda key, dim: 0.1 * jr.normal(key, (2 * dim, 3)),
    function=lambda p, x: jnp.tanh(jnp.concatenate([x, x**2], axis=1) @ p),
)
MODELS = [NET, DEEP, OWN, lr.models.Doubled(model=NET), lr.models.Linearised(model=NET),
          lr.models.Centred(model=NET), lr.models.DiagonalLinear(depth=3)]  # fmt: skip


@pytest.mark.slow
@pytest.mark.usefixtures("double")
@pytest.mark.parametrize("model", MODELS, ids=lambda model: type(model).__name__)
def test_contractions_are_those_of_the_jacobian(model, monkeypatch):
    params, x = moved(model), jnp.asarray(X)
    flat, unravel = jax.flatten_util.ravel_pytree(model.trained(params))

    def outputs(flat):
        trained = unravel(flat)
        if isinstance(params, lr.models.Expansion):
            trained = params._replace(moved=trained)
        return model.apply(trained, x)

    f = outputs(flat)
    jacobian = np.asarray(jax.jacrev(outputs)(flat)).reshape(7, -1, flat.size)
    r = np.random.default_rng(0).normal(size=f.shape)
    rows = np.einsum("ic,icp->ip", r.reshape(7, -1), jacobian)
    close = lambda ours, theirs: np.testing.assert_allclose(ours, theirs, rtol=1e-9, atol=1e-10)
    forces = jnp.asarray(r)
    close(lr.kernel.row_gram(model, params, X, forces), rows @ rows.T)
    cross = lr.kernel.row_gram(model, params, X, forces, (X[:2], forces[:2]))
    close(cross, rows @ rows[:2].T)
    if model is OWN:  # in blocks, where rows are too many to be held at once
        monkeypatch.setattr("lazyrich.kernel.rows._ENTRIES", 3 * flat.size)
        close(lr.kernel.row_gram(model, params, X, forces), rows @ rows.T)
    product = lr.kernel.kernel_product(model, params, forces, X, batch_size=3)
    close(product, np.einsum("icp,p->ic", jacobian, rows.sum(axis=0)).reshape(f.shape))
    traced = np.einsum("icp,jcp->ij", jacobian, jacobian)
    close(lr.kernel.class_kernel(model, params, X), traced)
    classes = (0, 0) if f.ndim == 1 else (2, 0)
    block = lr.kernel.kernel_block(model, params, X[:3], X, classes)
    close(block, jacobian[:3, classes[0]] @ jacobian[:, classes[1]].T)


# f_a = (x . p_a)^2, so that the gradient of output a is 2 (x . p_a) x in column a of p.
SQUARES = lr.models.Functions(
    init_params=lambda key, dim: jnp.ones((dim, 3)), function=lambda p, x: (x @ p) ** 2
)


def test_contractions_of_squares_are_those_by_hand(monkeypatch):
    rng = np.random.default_rng(0)
    p, x, other = (rng.normal(size=size) for size in ((2, 3), (4, 2), (4, 2)))
    jacobian, others = (np.einsum("ia,id,ab->iadb", 2 * z @ p, z, np.eye(3)) for z in (x, other))
    close = lambda ours, theirs: np.testing.assert_allclose(ours, theirs, rtol=1e-12, atol=1e-12)
    block = GIVEN.kernel_block
    each = np.einsum("iadb,jcdb->aicj", jacobian, jacobian)
    close(block(SQUARES, p, x, classes=(1, 1)), each[1, :, 1])
    close(block(SQUARES, p, x, classes=(1, 2)), 0 * each[1, :, 2])  # each has its own column
    across = np.einsum("idb,jdb->ij", jacobian[:, 1], others[:, 1])
    close(block(SQUARES, p, x, other, (1, 1)), across)
    close(GIVEN.class_kernel(SQUARES, p, x), np.einsum("aiaj->ij", each))
    r, s = rng.normal(size=(2, 4, 3))
    rows, columns = np.einsum("ia,iadb->idb", r, jacobian), np.einsum("ia,iadb->idb", s, others)
    gram = np.einsum("idb,jdb->ij", rows, rows)
    close(GIVEN.row_gram(SQUARES, p, x, r), gram)
    mixed = np.einsum("idb,jdb->ij", rows, columns)
    close(GIVEN.row_gram(SQUARES, p, x, r, (other, s)), mixed)
    # In blocks of three rows of six entries, of which the second is not full.
    monkeypatch.setattr("lazyrich.kernel.rows._ENTRIES", 18)
    close(GIVEN.row_gram(SQUARES, p, x, r), gram)
    product = GIVEN.kernel_product(SQUARES, p, r, x)
    close(product, np.einsum("iadb,db->ia", jacobian, rows.sum(axis=0)))
    product = GIVEN.kernel_product(SQUARES, p, s, x, other, batch_size=2)
    close(product, np.einsum("iadb,db->ia", jacobian, columns.sum(axis=0)))
    h = rng.normal(size=p.shape)
    close(GIVEN.tangent_outputs(SQUARES, p, h, x), 2 * (x @ p) * (x @ h))


def test_the_kernel_of_one_output_is_that_by_hand():
    # f = sum of (u^2 - v^2) x: the kernel is the sum of 4 (u^2 + v^2) x x'.
    model = lr.models.DiagonalLinear(depth=2)
    rng = np.random.default_rng(1)
    params = jax.tree.map(lambda leaf: rng.normal(size=leaf.shape), model.init(jr.key(0), 3))
    weights = sum(4 * leaf**2 for leaf in jax.tree.leaves(params))
    x, other, r, s = (rng.normal(size=size) for size in ((4, 3), (2, 3), 4, 2))
    close = lambda ours, theirs: np.testing.assert_allclose(ours, theirs, rtol=1e-12)
    kernel, across = (x * weights) @ x.T, (x * weights) @ other.T
    close(GIVEN.class_kernel(model, params, x), kernel)
    close(GIVEN.kernel_block(model, params, x, other), across)
    close(GIVEN.row_gram(model, params, x, r), r[:, None] * kernel * r)
    close(GIVEN.row_gram(model, params, x, r, (other, s)), r[:, None] * across * s)
    close(GIVEN.kernel_product(model, params, s, x, other), across @ s)


def test_distance_is_that_of_directions():
    rng = np.random.default_rng(1)
    a, b = (m @ m.T for m in rng.normal(size=(2, 5, 5)))
    distance = lambda a, b: float(lr.kernel.kernel_distance(a, b))
    cosine = np.sum(a * b) / (np.linalg.norm(a) * np.linalg.norm(b))
    assert distance(a, b) == pytest.approx(1 - cosine)
    assert distance(a, 1e9 * a) < 1e-30
    # Far below the rounding of one minus a cosine.
    near = distance(a, a + 1e-9 * b)
    across = b - a * np.sum(a * b) / np.sum(a * a)
    assert near == pytest.approx(0.5e-18 * np.sum(across**2) / np.sum(a * a), rel=1e-3)


@pytest.mark.slow
@pytest.mark.usefixtures("double")
def test_kernel_turns_as_its_derivative_says():
    # A quadratic net is smooth: the step along the flow must find the derivative.
    model = lr.models.MLP(widths=(5,), outputs=3, activation="quadratic")
    params, x, y = moved(model), jnp.asarray(X), jnp.asarray([0, 1, 2, 0, 1, 2, 0])
    start = jax.tree.map(lambda p: p + 0.3, params)
    f = model.apply(params, x)
    state = RunState(jnp.zeros(()), params, None, f, f)
    context = RunContext(
        y_train=y, y_test=y, params=start, init_scale=1.0, weight_decay=0.2, kernel=None,
        rich=None, model=model, loss=lr.losses.CrossEntropy(), labels="classes", x_train=x,
    )  # fmt: skip
    kernel = lambda p: lr.kernel.class_kernel(model, p, x)
    ours = float(ON_REQUEST["kernel_distance"](state, context))
    assert ours == pytest.approx(float(lr.kernel.kernel_distance(kernel(start), kernel(params))))

    def objective(p):
        decay = sum(jnp.sum(leaf**2) for leaf in jax.tree.leaves(p))
        return context.loss.mean(model.apply(p, x), y) + 0.1 * decay

    slope = jax.tree.map(jnp.negative, jax.grad(objective)(params))
    unit = lambda p: kernel(p) / jnp.linalg.norm(kernel(p))
    turning = jnp.linalg.norm(jax.jvp(unit, (params,), (slope,))[1])
    speed = float(ON_REQUEST["kernel_velocity"](state, context))
    assert speed == pytest.approx(float(turning), rel=0.02)


def shortest(rows):
    """The vector of least norm whose products with the rows are all at least 1."""
    # Least distance programming as non-negative least squares, Lawson & Hanson.
    system = np.vstack([rows.T, np.ones(len(rows))])
    target = np.eye(len(system))[-1]
    left = system @ nnls(system, target)[0] - target
    return -left[:-1] / left[-1]


def pair_rows(jacobian, y):
    """Gradients of every margin, from a Jacobian `(n, c, p)`."""
    return np.array([jacobian[i, y[i]] - jacobian[i, j] for i in range(len(y))
                     for j in range(jacobian.shape[1]) if j != y[i]])  # fmt: skip


def of_unit_vectors(x, num_classes):
    return np.einsum("id,ab->iabd", x, np.eye(num_classes)).reshape(len(x), num_classes, -1)


@pytest.mark.slow
def test_multiclass_machine_is_the_quadratic_programme():
    rng = np.random.default_rng(2)
    x, y = rng.normal(size=(8, 10)), rng.integers(0, 3, 8)
    found = lr.predictors.multiclass_max_margin(1e3 * x, y, 3, tolerance=1e-6)
    best = shortest(pair_rows(of_unit_vectors(x, 3), y))
    assert found.status == "optimal"
    assert found.objective == pytest.approx(1e3 / np.linalg.norm(best), rel=1e-5)
    np.testing.assert_allclose(found.weights.ravel(), best / np.linalg.norm(best), atol=1e-3)
    # The certificate is checked by the pair alone.
    f = x @ found.weights.T
    margins = np.array([f[i, y[i]] - f[i, j] for i in range(8) for j in range(3) if j != y[i]])
    assert np.linalg.norm(found.weights) == pytest.approx(1)
    assert 1e3 * margins.min() == pytest.approx(found.objective)
    assert np.all(found.dual >= 0)
    assert found.dual.sum() == pytest.approx(1)
    force = np.eye(3)[y] * found.dual.sum(1, keepdims=True) - found.dual
    assert 1e3 * np.linalg.norm(force.T @ x) == pytest.approx(found.bound)
    # One input with two labels has no margin, and no gap is claimed closed.
    twice, both = np.concatenate([x, x[:1]]), np.append(y, (y[0] + 1) % 3)
    failed = lr.predictors.multiclass_max_margin(twice, both, 3, max_sweeps=50)
    assert failed.status != "optimal"
    with pytest.raises(lr.InputError, match=r"^y = 5: should be classes from 0 to 2"):
        lr.predictors.multiclass_max_margin(x, np.full(8, 5), 3)


@pytest.mark.slow
@pytest.mark.usefixtures("double")
def test_tangent_margin_by_each_way():
    y = np.array([0, 1, 2, 0, 1, 2, 0])
    zero = lr.models.MLP(widths=(9,), outputs=3, zero_last=True)
    start = zero.init(jr.key(3), 4)
    for model, params, how in ((zero, start, "last layer"), (OWN, moved(OWN), "products")):
        flat, unravel = jax.flatten_util.ravel_pytree(params)
        jacobian = jax.jacrev(lambda v, m=model, u=unravel: m.apply(u(v), jnp.asarray(X)))(flat)
        best = shortest(pair_rows(np.asarray(jacobian), y))
        found = lr.predictors.tangent_max_margin(model, params, X, y, tolerance=1e-3)
        assert found.how == how
        assert found.status == "optimal"
        assert found.objective == pytest.approx(1 / np.linalg.norm(best), rel=2e-3)
        direction = jax.flatten_util.ravel_pytree(found.direction)[0]
        assert float(jnp.linalg.norm(direction)) == pytest.approx(1)
        assert float(direction @ best) / np.linalg.norm(best) > 0.998
        f = np.asarray(lr.kernel.tangent_outputs(model, params, found.direction, X))
        np.testing.assert_array_equal(np.argmax(f, axis=1), y)
    # Of signs it is the linear machine, for a model linear in its features.
    signs = np.where(y == 0, -1.0, 1.0)
    linear = lr.models.MLP(widths=(), bias=False)
    found = lr.predictors.tangent_max_margin(linear, moved(linear), X[:4], signs[:4])
    machine = lr.predictors.l2_max_margin(X[:4], signs[:4])
    assert (found.how, found.status) == ("gram", "optimal")
    assert found.objective == pytest.approx(machine.objective)

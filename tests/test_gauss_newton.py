from functools import partial

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree

from lazyrich.dynamics import GradientFlow, gauss_newton
from lazyrich.losses import CrossEntropy, Logistic, Squared
from lazyrich.models import DiagonalLinear, Functions, MatrixFactorisation, _jacobian
from lazyrich.solvers._shifted_gram import (
    Nystrom,
    cholesky_solve,
    conjugate_gradient_solve,
    nystrom,
)

from .helpers import relative_error

# Inner functions, called within a run in double precision.
pytestmark = pytest.mark.usefixtures("double")

# Shifted systems


def ill_conditioned(size=400):
    """Eigenvalues from 1e6 to 1e-6, sixty of them above 1, and a basis."""
    basis = jnp.linalg.qr(jr.normal(jr.key(0), (size, size)))[0]
    values = jnp.concatenate([jnp.logspace(6, 0, 60), jnp.logspace(0, -6, size - 60)])
    return (basis * values[None]) @ basis.T, basis, values


@pytest.mark.parametrize("scale", [1e-250, 1e-8, 1.0, 1e8])
@pytest.mark.parametrize(("size", "rank"), [(3, 2), (50, 5), (400, 60)])
def test_nystrom_is_exact_on_low_rank(size, rank, scale):
    factor = jr.normal(jr.key(1), (size, rank)) * jnp.logspace(0, 2, rank)[None]
    matrix = scale * (factor @ factor.T)
    basis, values = nystrom(lambda v: matrix @ v, size, jnp.dtype("float64"))
    assert relative_error(basis * (values / scale)[None] @ basis.T, matrix / scale) < 1e-13


precisions = pytest.mark.parametrize("dtype", [jnp.dtype("float32"), jnp.dtype("float64")])


@pytest.mark.slow
@precisions
def test_nystrom_of_zero_is_zero(dtype):
    basis, values = nystrom(lambda v: 0 * v, 200, dtype)
    assert basis.dtype == values.dtype == dtype
    assert jnp.all(jnp.isfinite(basis))
    assert jnp.max(values) < 1e-12


@precisions
def test_nystrom_finds_what_is_large(dtype):
    matrix, _, exact = ill_conditioned()
    matrix = matrix.astype(dtype)
    _, values = nystrom(lambda v: matrix @ v, 400, dtype)
    np.testing.assert_allclose(values[:20], exact[:20], rtol=1e-2)


@pytest.mark.slow
def test_preconditioning_saves_conjugate_gradients():
    matrix, basis, values = ill_conditioned()
    shift = jnp.asarray(0.5)
    rhs = jr.normal(jr.key(7), (400,)).at[3].set(0.0)  # a zero asks for no more than others
    exact = basis @ ((basis.T @ rhs) / (values + shift))
    calls: list[None] = []

    def product(v):
        jax.debug.callback(lambda: calls.append(None))
        return matrix @ v

    def count(approximation):
        calls.clear()
        answer, num_products = conjugate_gradient_solve(product, shift, approximation, 1e-8)(rhs)
        jax.effects_barrier()
        assert num_products == len(calls)
        residual = shift * answer + matrix @ answer - rhs
        return answer, int(num_products), jnp.linalg.norm(residual) / jnp.linalg.norm(rhs)

    answer, few, residual = count(nystrom(lambda v: matrix @ v, 400, jnp.dtype("float64")))
    assert relative_error(answer, exact) < 1e-7
    assert residual < 2e-8
    assert few < 20
    nothing = Nystrom(jnp.eye(400, 1), jnp.zeros(1))
    _, many, residual = count(nothing)
    assert many > 200
    assert residual > 1e-3


def test_conjugate_gradients_of_zero_and_of_the_identity():
    calls: list[None] = []

    def product(v):
        jax.debug.callback(lambda: calls.append(None))
        return v

    approximation = Nystrom(jnp.eye(5, 1), jnp.ones(1))
    solve = conjugate_gradient_solve(product, jnp.asarray(2.0), approximation, 1e-8)
    assert jnp.all(solve(jnp.zeros(5))[0] == 0)
    jax.effects_barrier()
    calls.clear()
    answer, num_products = solve(jnp.arange(5.0))
    jax.effects_barrier()
    np.testing.assert_allclose(answer, jnp.arange(5.0) / 3, rtol=1e-14)
    assert num_products == len(calls) > 1


def test_cholesky_of_a_good_matrix_is_left_alone():
    factor = jr.normal(jr.key(0), (30, 40))
    matrix, rhs = factor @ factor.T, jr.normal(jr.key(1), (30,))
    solve, jittered = cholesky_solve(matrix)
    assert not jittered
    np.testing.assert_allclose(solve(rhs), np.linalg.solve(matrix, rhs), rtol=1e-10)


@precisions
def test_cholesky_below_zero_by_rounding_is_raised_and_says_so(dtype):
    factor = jr.normal(jr.key(0), (30, 4), dtype)
    matrix, rounding = factor @ factor.T, jnp.finfo(dtype).eps
    matrix = matrix - 3 * rounding * jnp.max(jnp.diagonal(matrix)) * jnp.eye(30, dtype=dtype)
    rhs = matrix @ jr.normal(jr.key(1), (30,), dtype)
    solve, jittered = jax.jit(lambda m, v: (cholesky_solve(m)[0](v), cholesky_solve(m)[1]))(
        matrix, rhs
    )
    assert jittered
    assert relative_error(matrix @ solve, rhs) < 1e3 * rounding


# The Gauss-Newton matrix


def net(*shape, width=20, dim=5):
    def init(key, dim):
        first, second = jr.split(key)
        return {"in": jr.normal(first, (width, dim)), "out": jr.normal(second, (width, *shape))}

    def function(params, x):
        return jnp.tanh(x @ params["in"].T) @ params["out"]

    model = Functions(init_params=init, function=function)
    return model, model.init(jr.key(0), dim)


def labels(loss, n, shape):
    if isinstance(loss, CrossEntropy):
        return jr.randint(jr.key(4), (n,), 0, shape[0])
    y = jr.normal(jr.key(4), (n, *shape))
    return jnp.sign(y) if loss.is_classification else y


@pytest.mark.slow
@pytest.mark.parametrize("by_products", [False, True])
@pytest.mark.parametrize(
    ("loss", "n", "shape"),
    [
        (Logistic(), 120, ()),
        (Squared(), 120, ()),
        (Squared(), 40, (3,)),
        (CrossEntropy(), 40, (3,)),
    ],
    ids=["logistic", "squared", "squared, three outputs", "cross-entropy"],
)
def test_shifted_solve_is_the_dense_inverse(loss, n, shape, by_products, monkeypatch):
    model, params = net(*shape)
    x = jr.normal(jr.key(3), (n, 5))
    flow = GradientFlow(x, labels(loss, n, shape), jnp.asarray(0.03), model, loss)
    flat, unravel = ravel_pytree(params)
    if by_products:
        monkeypatch.setattr(gauss_newton, "MAX_OUTPUTS", 119)

    @jax.jit
    def dense():
        f = flow.outputs(params)
        jacobian = jax.jacfwd(lambda p: flow.outputs(unravel(p)).ravel())(flat)
        curved = lambda f_: jnp.sum(loss.value(f_.reshape(f.shape), flow.y))
        gauss_newton = jacobian.T @ jax.hessian(curved)(f.ravel()) @ jacobian
        return -gauss_newton / n - 0.03 * jnp.eye(flat.size)

    @jax.jit
    def solved(shift):
        solve, taken = flow.approximate_jacobian(0.0, params, None).shifted_solve(shift)
        return ravel_pytree(solve(unravel(v)))[0], taken

    v, matrix = jr.normal(jr.key(8), flat.shape), dense()
    for shift in (1e-3, 1.0, 1e4):
        ours, taken = solved(jnp.asarray(shift))
        exact = np.linalg.solve(shift * np.eye(flat.size) - matrix, v)
        assert relative_error(ours, exact) < (1e-7 if by_products else 1e-12)
        # Four solves of a product with J and one with its transpose.
        assert taken == ((0, 8 + 200, 0, 0) if by_products else (0, 8, 1, 0))


# Tangent kernels


def dense_kernel(model, params, x):
    flat, unravel = ravel_pytree(params)
    jacobian = jax.jacfwd(lambda p: model.apply(unravel(p), x).ravel())(flat)
    return jacobian @ jacobian.T


@partial(jax.jit, static_argnums=0)
def three_kernels(model, params, x):
    """The model's own, contracted, dense."""
    contracted = _jacobian.contract(lambda p: model.apply(p, x), params)
    return model.tangent_kernel(params, x), contracted, dense_kernel(model, params, x)


@pytest.mark.parametrize("rows", [None, 1, 3, 7])
@pytest.mark.parametrize("shape", [(), (2,)])
def test_contract_is_the_dense_product(shape, rows, monkeypatch):
    model, params = net(*shape)
    x = jr.normal(jr.key(3), (7, 5))
    if rows is not None:
        # Blocks of `rows`, the last one shorter unless they divide.
        size = ravel_pytree(params)[0].size
        monkeypatch.setattr(_jacobian, "_JACOBIAN_ENTRIES", rows * size + size // 2)
    # Not by `three_kernels`: a program compiled for other blocks would answer.
    ours = jax.jit(lambda p: _jacobian.contract(lambda p: model.apply(p, x), p))(params)
    dense = jax.jit(lambda p: dense_kernel(model, p, x))(params)
    np.testing.assert_allclose(ours, dense, rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize("num_pairs", [4, 20, 25])  # below and above a quarter of all entries
def test_kernel_of_a_factorisation(num_pairs):
    model = MatrixFactorisation(size=5)
    index = jr.permutation(jr.key(0), 25)[:num_pairs]  # on the diagonal, and both of a pair
    x = jnp.stack([index // 5, index % 5], axis=1)
    u, v = jr.normal(jr.key(1), (2, 5, 5))
    params = model.init(jr.key(0), 2)._replace(u=u, v=v)
    own, contracted, dense = three_kernels(model, params, x)
    np.testing.assert_allclose(own, dense, atol=1e-12)
    np.testing.assert_allclose(own, contracted, atol=1e-12)


@pytest.mark.parametrize("depth", [2, 3, 4])
def test_kernel_of_a_diagonal_net(depth):
    model = DiagonalLinear(depth=depth)
    x = jr.normal(jr.key(0), (6, 9))
    u, v = jr.normal(jr.key(1), (2, 9))
    params = model.init(jr.key(0), 9)._replace(u=u, v=v)
    own, contracted, dense = three_kernels(model, params, x)
    np.testing.assert_allclose(own, dense, rtol=1e-10, atol=1e-10)
    np.testing.assert_allclose(own, contracted, rtol=1e-10, atol=1e-10)

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lazyrich._core import columns

# Inner products, called within a run in double precision.
pytestmark = pytest.mark.usefixtures("double")


@pytest.fixture(params=[5, 4096, 5000])
def data(request, monkeypatch):
    # Blocks of 1,024 columns: fewer columns than a block, whole blocks, and a remainder.
    monkeypatch.setattr(columns, "_BLOCK_ENTRIES", 3 * 1024)
    jax.clear_caches()
    rng = np.random.default_rng(0)
    return rng.integers(-1, 2, (3, request.param)).astype(np.int8), rng


def test_products_match_numpy(data):
    x, rng = data
    w, v = rng.normal(size=x.shape[1]), rng.normal(size=3)
    wide = x.astype(float)
    np.testing.assert_allclose(columns.matvec(jnp.asarray(x), jnp.asarray(w)), wide @ w, rtol=1e-12)
    np.testing.assert_allclose(
        columns.rmatvec(jnp.asarray(x), jnp.asarray(v)), v @ wide, rtol=1e-12
    )
    np.testing.assert_allclose(
        columns.gram(jnp.asarray(x), jnp.asarray(w)), wide * w @ wide.T, rtol=1e-12, atol=1e-11
    )
    np.testing.assert_allclose(columns.gram(jnp.asarray(x), jnp.ones(1)), wide @ wide.T)


def test_gradient_is_the_adjoint(data):
    x, rng = data
    w, cotangent = rng.normal(size=x.shape[1]), rng.normal(size=3)
    _, pull = jax.vjp(lambda w: columns.matvec(jnp.asarray(x), w), jnp.asarray(w))
    (gradient,) = pull(jnp.asarray(cotangent))
    np.testing.assert_allclose(gradient, cotangent @ x.astype(float), rtol=1e-12)


def test_narrow_data_are_summed_in_double():
    # 300 ones overflow int8 and lose the 1e-9 in float32.
    x = jnp.ones((1, 300), jnp.int8)
    w = jnp.full(300, 1 + 1e-12)
    assert float(columns.matvec(x, w)[0]) == pytest.approx(300 + 3e-10, rel=1e-14)


def test_a_single_column_is_data_and_not_a_broadcast_value():
    x = jnp.asarray([[2.0], [3.0]])
    np.testing.assert_allclose(columns.matvec(x, jnp.asarray([5.0])), [10.0, 15.0])

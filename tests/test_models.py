import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

import lazyrich as lr
from lazyrich._models import power_difference


@pytest.mark.parametrize("depth", [2, 3, 5])
def test_diagonal_net(depth):
    model = lr.models.DiagonalLinear(depth=depth)
    start = model.init(jr.key(0), 12)
    x = jr.normal(jr.key(1), (4, 12))
    assert float(jnp.hypot(*map(jnp.linalg.norm, start))) == pytest.approx(1.0)
    np.testing.assert_array_equal(model.apply(start, x), np.zeros(4))

    params = lr.models.DiagonalParams(jr.uniform(jr.key(2), (12,)), jr.uniform(jr.key(3), (12,)))
    by_hand = np.asarray(x) @ (np.asarray(params.u) ** depth - np.asarray(params.v) ** depth)
    np.testing.assert_allclose(model.apply(params, x), by_hand, rtol=1e-12)
    scaled = jax.tree.map(lambda p: 1.7 * p, params)
    np.testing.assert_allclose(
        model.apply(scaled, x), 1.7**model.homogeneity * model.apply(params, x), rtol=1e-12
    )


def test_power_difference_is_exactly_zero_under_compilation():
    # u**2 - v**2 compiles to a fused multiply-add that leaves rounding errors here.
    u = jr.uniform(jr.key(0), (1000,))
    difference = jax.jit(lambda u: power_difference(u * jnp.exp(0 * u), u * jnp.exp(-0 * u), 2))
    np.testing.assert_array_equal(difference(u), np.zeros(1000))


def test_depth_one_is_refused():
    with pytest.raises(lr.InputError, match=r"^depth = 1: .*greater than or equal to 2"):
        lr.models.DiagonalLinear(depth=1)

from decimal import Decimal, localcontext

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import lazyrich as lr
from lazyrich._losses import AbstractLoss

LOSSES = [lr.losses.Logistic(), lr.losses.Exponential(), lr.losses.Squared()]


def name(loss: AbstractLoss) -> str:
    return type(loss).__name__


def test_every_loss_is_tested():
    assert {name(loss) for loss in LOSSES} == set(AbstractLoss.kinds)


@pytest.mark.parametrize("loss", LOSSES, ids=name)
def test_dual_and_curvature_are_derivatives(loss):
    f = jnp.linspace(-30.0, 30.0, 41)
    for label in (-1.0, 1.0):
        y = jnp.full_like(f, label)
        slope = jax.vmap(jax.grad(loss.value))(f, y)
        bend = jax.vmap(jax.grad(jax.grad(loss.value)))(f, y)
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
        ours = lr.losses.Logistic().log_value(jnp.asarray(y * margin), jnp.asarray(y))
        assert float(ours) == pytest.approx(exact, rel=1e-14)


def test_log_values_of_the_others_are_exact():
    f = jnp.asarray([690.0, -1e5])
    ours = lr.losses.Exponential().log_value(f, jnp.ones(2))
    np.testing.assert_array_equal(ours, -f)
    tiny = lr.losses.Squared().log_value(jnp.asarray(1e-150), jnp.asarray(0.0))
    assert float(tiny) == pytest.approx(-300 * np.log(10), rel=1e-14)


@pytest.mark.parametrize("loss", LOSSES, ids=name)
def test_log_mean_agrees_with_the_mean_and_outlives_it(loss):
    f, y = jnp.asarray([0.3, -2.0, 1.5]), jnp.asarray([1.0, -1.0, 1.0])
    assert float(loss.log_mean(f, y)) == pytest.approx(float(jnp.log(loss.mean(f, y))), rel=1e-12)
    if loss.is_classification:
        late = jnp.full(3, 2000.0)
        assert float(loss.mean(late, jnp.ones(3))) == 0.0
        assert float(loss.log_mean(late, jnp.ones(3))) == pytest.approx(-2000.0)


@pytest.mark.parametrize("loss", LOSSES, ids=name)
def test_labels_are_checked(loss):
    labels = np.array([1.0, -1.0, 0.5])
    if loss.is_classification:
        with pytest.raises(lr.InputError, match=r"y\[2\] = 0.5: .*labels -1 or 1"):
            loss.check_labels(labels, "y")
    else:
        loss.check_labels(labels, "y")

import diffrax
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.integrate import solve_ivp

from lazyrich.solvers import Linearisation, Rodas5P

# Solvers are called through diffrax, whose precision is the user's.
pytestmark = pytest.mark.usefixtures("double")


def fixed_steps(field, y0, t1, num_steps, solver=None, ts=None):
    saveat = diffrax.SaveAt(t1=True) if ts is None else diffrax.SaveAt(ts=ts)
    return diffrax.diffeqsolve(
        diffrax.ODETerm(field),
        solver or Rodas5P(),
        t0=0.0,
        t1=t1,
        dt0=t1 / num_steps,
        y0=y0,
        saveat=saveat,
        stepsize_controller=diffrax.ConstantStepSize(),
    ).ys


def slope(steps, errors):
    return -np.polyfit(np.log(steps), np.log(errors), 1)[0]


@pytest.mark.slow
def test_order_on_a_problem_that_depends_on_time():
    # Predator and prey with a season, against SciPy's DOP853 at the limit of rounding.
    def field(t, y, args):
        del args
        season = 1 + 0.5 * jnp.cos(t)
        return jnp.stack([y[0] * (1 - y[1]) * season, -y[1] * (1 - y[0])])

    start, t1 = np.array([1.5, 0.7]), 3.0
    exact = solve_ivp(
        lambda t, y: np.asarray(field(t, y, None)), (0, t1), start, "DOP853", rtol=1e-13, atol=1e-15
    ).y[:, -1]
    steps = np.array([16, 32, 64])
    ends = [fixed_steps(field, jnp.asarray(start), t1, n)[0] for n in steps]
    errors = np.array([np.abs(end - exact).max() for end in ends])
    assert slope(steps, errors) == pytest.approx(5, abs=0.05)  # 5.01


@pytest.mark.slow
def test_dense_output_has_order_four():
    t1, ts = 2.0, jnp.linspace(0.0, 2.0, 101)
    exact = 1 / (2 + ts - jnp.cos(ts))
    field = lambda t, y, args: -(y**2) * (1 + jnp.sin(t))
    steps = np.array([7, 13, 27, 53])
    worst = [
        jnp.max(jnp.abs(fixed_steps(field, jnp.ones(1), t1, n, ts=ts)[:, 0] - exact)) for n in steps
    ]
    assert slope(steps, np.array(worst)) > 3.9


@pytest.mark.slow
def test_stiffly_accurate_on_prothero_robinson():
    # y' = -k (y - cos t) - sin t has y = cos t for any k; explicit methods need steps of 1/k.
    for stiffness in (1e4, 1e8):
        field = lambda t, y, args, k=stiffness: -k * (y - jnp.cos(t)) - jnp.sin(t)
        end = fixed_steps(field, jnp.ones(1), 3.0, 20)
        assert float(end[0, 0]) == pytest.approx(np.cos(3.0), abs=1e-5)


def test_agrees_with_radau_on_van_der_pol():
    # A pytree state, adaptive steps, backward-stable on a limit cycle with mu = 1e3.
    def field(t, y, args):
        x, v = y["x"], y["v"]
        return {"x": v, "v": 1e3 * ((1 - x**2) * v) - x}

    solution = diffrax.diffeqsolve(
        diffrax.ODETerm(field),
        Rodas5P(),
        t0=0.0,
        t1=500.0,
        dt0=1e-4,
        y0={"x": jnp.asarray([2.0]), "v": jnp.asarray([0.0])},
        stepsize_controller=diffrax.PIDController(rtol=1e-8, atol=1e-10),
    )
    reference = solve_ivp(
        lambda t, y: [y[1], 1e3 * (1 - y[0] ** 2) * y[1] - y[0]],
        (0, 500),
        [2.0, 0.0],
        method="Radau",
        rtol=1e-10,
        atol=1e-12,
    )
    assert float(solution.ys["x"][0, 0]) == pytest.approx(reference.y[0, -1], rel=1e-7)
    assert int(solution.stats["num_steps"]) < 200


def test_backwards_in_time():
    solution = diffrax.diffeqsolve(
        diffrax.ODETerm(lambda t, y, args: -y * t), Rodas5P(), 1.0, 0.0, -0.05, jnp.ones(2)
    )
    np.testing.assert_allclose(solution.ys[0], np.full(2, np.exp(0.5)), rtol=1e-8)


@pytest.mark.slow
def test_given_derivatives_do_as_well_as_automatic_ones():
    field = lambda t, y, args: -(y**3) * (1 + t)

    def linearise(t, y, args):
        return Linearisation(
            field(t, y, args), -(y**3), jnp.diag(-3 * y**2 * (1 + t)), lambda error: error
        )

    y0 = jnp.asarray([1.0, 2.0])
    automatic = fixed_steps(field, y0, 1.0, 10)
    given = fixed_steps(field, y0, 1.0, 10, solver=Rodas5P(linearise))
    np.testing.assert_allclose(given, automatic, rtol=1e-13)


def test_leaving_the_domain_shortens_the_step():
    # y' = -1 / (2 y), y = sqrt(1 - t): a long first step leaves the domain of the root.
    field = lambda t, y, args: jnp.where(y > 0, -1 / (2 * jnp.abs(y)), jnp.nan)
    solution = diffrax.diffeqsolve(
        diffrax.ODETerm(field),
        Rodas5P(),
        t0=0.0,
        t1=0.99,
        dt0=0.9,
        y0=jnp.ones(1),
        stepsize_controller=diffrax.PIDController(rtol=1e-8, atol=1e-10),
    )
    assert float(solution.ys[0, 0]) == pytest.approx(0.1, rel=1e-5)
    assert int(solution.stats["num_rejected_steps"]) > 0


@pytest.mark.slow
def test_vmaps():
    field = lambda t, y, args: -y * args
    rates = jnp.asarray([1.0, 1e3])
    solve = lambda rate: diffrax.diffeqsolve(
        diffrax.ODETerm(field), Rodas5P(), 0.0, 1.0, 0.1, jnp.ones(1), args=rate
    ).ys[0, 0]
    np.testing.assert_allclose(jax.vmap(solve)(rates), [np.exp(-1), 0], atol=1e-6)

from functools import lru_cache
from typing import Any

import diffrax
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.integrate import solve_ivp

from lazyrich._core.errors import InputError
from lazyrich.solvers._spectral_radius import spectral_radius
from lazyrich.solvers._work import work
from lazyrich.solvers.projected_tsit5 import AbstractManifoldTerm, ProjectedTsit5
from lazyrich.solvers.rkc2 import RKC2
from lazyrich.solvers.rock2 import ROCK2

# Solvers are called through diffrax, whose precision is the user's.
pytestmark = pytest.mark.usefixtures("double")

both = pytest.mark.parametrize("kind", [RKC2, ROCK2])


def solve(field, solver, y0, t1, dt0, tol=None, t0=0.0, **more):
    controller: diffrax.AbstractStepSizeController[Any, Any] = diffrax.ConstantStepSize()
    if tol is not None:
        controller = diffrax.PIDController(rtol=tol, atol=tol)
    term = diffrax.ODETerm(field)
    return diffrax.diffeqsolve(
        term, solver, t0, t1, dt0, y0, stepsize_controller=controller, max_steps=10**5, **more
    )


@lru_cache
def compiled(field, solver):
    term = diffrax.ODETerm(field)
    return jax.jit(
        lambda t0, t1, y0, args, state, jump: solver.step(term, t0, t1, y0, args, state, jump)
    )


def one_step(field, solver, y0, h, t0=0.0, state=None, made_jump=False, args=None):
    """One attempt, by hand: y1, error, dense, state, result."""
    if state is None:
        state = solver.init(diffrax.ODETerm(field), t0, t0 + h, y0, args)
    times = jnp.asarray(t0), jnp.asarray(t0 + h)
    return compiled(field, solver)(*times, y0, args, state, made_jump)


def slope(x, y):
    return np.polyfit(np.log(x), np.log(y), 1)[0]


# Polynomials


def amplification(family, i, z):
    """R at z for the degree with index i, by running the stages on y' = z y."""
    d, before = np.zeros_like(z), np.zeros_like(z)
    for a, b, m, g in family.stages[i, : family.degrees[i]]:
        d, before = a * d + b * before + z * (m * (1 + d) + g), d
    return 1 + d


@pytest.mark.parametrize("max_stages", [None, 4, 200, 321])
@both
def test_every_degree_is_stable_on_its_whole_interval(kind, max_stages):
    fewest = kind.bounds[0]
    family = kind(max_stages=max_stages or fewest).family
    assert family.degrees[0] == fewest
    assert family.degrees[-1] == (max_stages or fewest)
    for i, (s, interval) in enumerate(zip(family.degrees, family.intervals, strict=True)):
        # Points as close as the oscillations, which crowd towards both ends.
        z = interval * (np.cos(np.linspace(0, np.pi, 40 * s + 1)) - 1) / 2
        size = np.abs(amplification(family, i, z))
        assert size.max() <= 1 + 1e-11
        assert size[z < -2.5].max(initial=0) < 0.957
        assert np.abs(amplification(family, i, np.array(-1.03 * interval - 1))) > 1
        # Damping leaves a strip: small imaginary parts do no harm.
        assert np.abs(amplification(family, i, z[z < -1] + 0.1j)).max(initial=0) < 1


@both
def test_every_degree_has_order_two(kind):
    family = kind().family
    circle = np.exp(2j * np.pi * np.arange(32) / 32)
    for i, s in enumerate(family.degrees):
        taylor = np.fft.fft(amplification(family, i, circle))[:3].real / 32
        np.testing.assert_allclose(taylor, [1, 1, 0.5], rtol=1e-9)
        times = family.nodes[i, :s]
        assert times[-1] == pytest.approx(1, abs=1e-10)
        assert np.all((times > 0) & (times < 1 + 1e-10))
        assert not np.any(family.stages[i, s:])


def test_intervals_are_those_published():
    chebyshev, orthogonal = RKC2().family, ROCK2().family
    s = chebyshev.degrees
    np.testing.assert_allclose(
        chebyshev.intervals, 2 / 3 * (s**2 - 1) * (1 - 2 / 15 * 2 / 13), rtol=3e-3
    )
    # Abdulle & Medovikov's own tables give 0.685, 0.795, 0.804 and 0.810, the last two for
    # weaker damping.
    length = dict(
        zip(orthogonal.degrees, orthogonal.intervals / orthogonal.degrees**2, strict=True)
    )
    assert [length[s] for s in (3, 10, 20, 200)] == pytest.approx(
        [0.685, 0.795, 0.803, 0.81], 0.015
    )


# Steps


@both
def test_picks_the_smallest_degree_that_is_stable(kind):
    solver = kind(safety=1.0)
    family = solver.family
    rates = np.concatenate([[1e-3], family.intervals[:-1] * 1.0001, family.intervals * 0.9999])
    step = jax.jit(
        jax.vmap(lambda k: one_step(lambda t, y, k: -k * y, solver, jnp.ones(2), 1.0, args=k))
    )
    end, _, _, state, _ = step(jnp.asarray(rates))
    expected = np.concatenate([family.degrees, family.degrees])
    np.testing.assert_array_equal(state.work.num_gradients, expected + 1)
    assert np.all(np.abs(end) <= 1)


@both
def test_no_component_of_a_spread_spectrum_grows(kind):
    # The safety factor covers what power iteration has not yet found.
    field = lambda t, y, rates: -rates * y
    for interval in kind().family.intervals[[0, 1, 7, 40, -10]]:
        rates = jnp.linspace(0, interval, 301)
        end, _, _, state, _ = one_step(field, kind(), jnp.ones(301), 1.0, args=rates)
        assert jnp.max(jnp.abs(end)) <= 1 + 1e-12
        assert 0.85 * interval < state.radius < interval


def season(t, y, rate):
    # Predator and prey with a season, and a fast component that sets the number of stages.
    swing = 1 + 0.5 * jnp.cos(3 * t)
    return jnp.stack([y[0] * (1 - y[1]) * swing, -y[1] * (1 - y[0]), -rate * y[2]])


@both
def test_order(kind):
    start, t1 = np.array([1.5, 0.7, 0.0]), 2.0
    plain = lambda t, y: np.asarray(season(t, jnp.asarray(y), 0.0))
    exact = solve_ivp(plain, (0, t1), start, "DOP853", rtol=1e-10, atol=1e-12).y[:, -1]
    steps = np.array([20, 40, 80])
    run = jax.jit(
        lambda dt, rate: solve(season, kind(), jnp.asarray(start), t1, dt, args=rate).ys[0]
    )
    for stiffness in (0, 30, 3000):  # the fewest stages, about 7 and about 70
        errors = [np.abs(run(t1 / n, stiffness * n / t1) - exact).max() for n in steps]
        assert slope(1 / steps, errors) == pytest.approx(2, abs=0.15)


@both
def test_values_inside_a_step_and_its_error_have_their_orders(kind):
    # y' = -y^2 (1 + sin t) from 1: 1 / (2 + t - cos t).
    field = lambda t, y, args: -(y**2) * (1 + jnp.sin(t))
    ts = np.linspace(0.1, 0.9, 9)
    step = jax.jit(lambda h: one_step(field, kind(), jnp.ones(1), h)[:3])
    sizes, inside, estimates = np.array([0.04, 0.02, 0.01]), [], []
    for h in sizes:
        y1, error, dense = step(h)
        between = kind.interpolation_cls(t0=0.0, t1=h, **dense)
        values = np.array([between.evaluate(t * h)[0] for t in ts])
        inside.append(np.abs(values - 1 / (2 + ts * h - np.cos(ts * h))).max())
        estimates.append(np.abs(error[0]))
        assert between.evaluate(h)[0] == pytest.approx(y1[0])
    assert slope(sizes, inside) == pytest.approx(3, abs=0.15)
    assert slope(sizes, estimates) == pytest.approx(kind().error_order(None), abs=0.15)


@both
def test_the_error_estimated_on_a_linear_problem(kind):
    # RKC's published estimate is (12 (1 - R) + 6 z (1 + R)) / 15 on y' = zy, and ROCK2's the
    # product of P with what its finish, 1 + 2 sigma z + tau z^2, is above (1 + sigma z)^2.
    z, solver = -30.0, kind(safety=1.0)
    end, error, _, _, _ = one_step(lambda t, y, args: z * y, solver, jnp.ones(1), 1.0)
    family = solver.family
    i = np.searchsorted(family.intervals, -z)
    growth = amplification(family, i, np.array(z))
    assert end[0] == pytest.approx(growth)
    if kind is RKC2:
        expected = (12 * (1 - growth) + 6 * z * (1 + growth)) / 15
    else:
        s = family.degrees[i]
        sigma = family.stages[i, s - 2, 2]
        tau = family.stages[i, s - 1, 2] * sigma
        expected = growth / (1 + 2 * sigma * z + tau * z**2) * (tau - sigma**2) * z**2
    assert error[0] == pytest.approx(expected)


@pytest.mark.slow
@both
def test_heat_equation_against_the_matrix_exponential(kind):
    size = 100
    laplacian = (size + 1) ** 2 * (2 * np.eye(size) - np.eye(size, k=1) - np.eye(size, k=-1))
    x = np.arange(1, size + 1) / (size + 1)
    start, matrix = np.minimum(x, 1 - x), jnp.asarray(laplacian)
    values, vectors = np.linalg.eigh(laplacian)
    exact = vectors @ (np.exp(-0.5 * values) * (vectors.T @ start))

    @jax.jit
    def run(tol):
        return solve(field, kind(), jnp.asarray(start), 0.5, 1e-4, tol)

    field = lambda t, y, args: -matrix @ y
    tols = np.array([1e-2, 1e-3, 1e-4, 1e-5, 1e-6])
    solutions = [run(tol) for tol in tols]
    errors = np.array([np.abs(solution.ys[0] - exact).max() for solution in solutions])
    assert np.all(errors < tols * np.array([1, 1, 1, 3, 10]))
    steps = [int(solution.stats["num_steps"]) for solution in solutions]
    assert steps[0] < 40
    state = one_step(field, kind(), solutions[0].ys[0], 0.1)[3]
    assert int(state.work.num_gradients) >= 50
    expected = {RKC2: 2 / 3, ROCK2: 1.0}[kind]
    assert slope(tols, errors) == pytest.approx(expected, abs=0.25)


@both
def test_tolerance_is_kept_on_a_stiff_nonlinear_problem(kind):
    # Allen and Cahn's front between two phases, against SciPy's Radau.
    size = 40
    second = (size + 1) ** 2 * (np.eye(size, k=1) + np.eye(size, k=-1) - 2 * np.eye(size))
    matrix = 0.1 * jnp.asarray(second)
    start = np.sin(3 * np.pi * np.arange(1, size + 1) / (size + 1)) + 0.1
    exact = solve_ivp(
        lambda t, y: 0.1 * second @ y + 20 * (y - y**3),
        (0, 1),
        start,
        "Radau",
        rtol=1e-9,
        atol=1e-9,
    ).y[:, -1]
    field = lambda t, y, args: matrix @ y + 20 * (y - y**3)
    run = jax.jit(lambda tol: solve(field, kind(), jnp.asarray(start), 1.0, 1e-3, tol).ys[0])
    tols = np.array([1e-3, 1e-4, 1e-5, 1e-6])
    errors = [np.abs(run(tol) - exact).max() for tol in tols]
    assert slope(tols, errors) == pytest.approx({RKC2: 2 / 3, ROCK2: 1.0}[kind], abs=0.25)


# As a solver of diffrax


@both
def test_backwards_in_time(kind):
    # y' = rate (y - cos t) - sin t through y(1) = 1 + cos 1; the difference to cos t decays
    # backwards, so that the larger rate is stiff.
    field = lambda t, y, rate: rate * (y - jnp.cos(t)) - jnp.sin(t)
    run = jax.jit(
        lambda rate: solve(
            field, kind(), jnp.ones(2) + jnp.cos(1), 0.0, -0.01, 1e-5, 1.0, args=rate
        )
    )
    for rate, atol in ((0.5, 1e-3), (1e4, 1e-4)):
        solution = run(rate)
        np.testing.assert_allclose(solution.ys[0], np.full(2, 1 + np.exp(-rate)), atol=atol)
        assert int(solution.stats["num_steps"]) < 1000


@pytest.mark.slow
@both
def test_pytrees_and_vmap(kind):
    # The leaves are coupled, of different shapes, one of them scalar; also with a batch of
    # rates that need different numbers of stages.
    def field(t, y, rate):
        mean = jnp.mean(y["matrix"])
        return {
            "matrix": -rate * (y["matrix"] - y["scalar"]),
            "scalar": jnp.cos(t) - y["scalar"] + 0.1 * mean,
        }

    start = {"matrix": jnp.arange(6.0).reshape(2, 3), "scalar": jnp.asarray(1.0)}
    run = jax.jit(lambda rate: solve(field, kind(), start, 1.0, 0.01, 1e-6, args=rate).ys)
    rates = jnp.asarray([1.0, 3e3])
    together = jax.jit(jax.vmap(run))(rates)
    for i, rate in enumerate(rates):
        alone = run(rate)
        for key in start:
            np.testing.assert_allclose(together[key][i], alone[key], rtol=1e-10)
        flat = lambda t, y, rate=float(rate): np.append(
            -rate * (y[:-1] - y[-1]), np.cos(t) - y[-1] + 0.1 * y[:-1].mean()
        )
        exact = solve_ivp(flat, (0, 1), [0, 1, 2, 3, 4, 5, 1], "Radau", rtol=1e-9, atol=1e-9)
        found = np.append(alone["matrix"], alone["scalar"])
        np.testing.assert_allclose(found, exact.y[:, -1], atol=2e-4)


@pytest.mark.slow
@both
def test_keeps_single_precision_and_the_types_of_its_state(kind):
    dtype = jnp.float32
    y0 = (jnp.linspace(1, 2, 50, dtype=dtype), jnp.ones((2, 1), dtype))
    field = lambda t, y, args: (-300 * y[0], -y[1] * t)
    solver, term = kind(), diffrax.ODETerm(field)
    t0, t1 = jnp.asarray(0, dtype), jnp.asarray(1, dtype)
    state = solver.init(term, t0, t1, y0, None)
    describe = lambda tree: jax.tree.map(lambda x: (x.shape, x.dtype, x.weak_type), tree)
    step = lambda state: solver.step(term, t0, t1, y0, None, state, jnp.asarray(False))
    for _ in range(2):
        y1, error, _, new, _ = jax.eval_shape(step, state)
        assert describe(y1) == describe(error) == describe(y0)
        assert describe(new) == describe(state)
        state = new
    dt0 = jnp.asarray(0.1, dtype)
    ys = solve(field, solver, y0, t1, dt0, 1e-3, t0=t0).ys
    assert ys[0].dtype == ys[1].dtype == dtype
    np.testing.assert_allclose(ys[1][0], np.full((2, 1), np.exp(-0.5)), rtol=1e-2)


@both
def test_leaving_the_domain_shortens_the_step(kind):
    # y' = -1 / (2 y), y = sqrt(1 - t): a long first step leaves the domain of the root.
    field = lambda t, y, out: jnp.where(y > 0, -1 / (2 * jnp.abs(y)), out)
    run = jax.jit(lambda out: solve(field, kind(), jnp.ones(1), 0.9, 0.8, 1e-6, args=out))
    for outside in (jnp.nan, jnp.inf):
        solution = run(outside)
        assert solution.ys[0, 0] == pytest.approx(np.sqrt(0.1), rel=1e-3)
        assert solution.stats["num_rejected_steps"] > 0
    # Far enough outside, numbers overflow before they are no numbers.
    _, error, _, _, _ = one_step(lambda t, y, args: y**9, kind(), jnp.full(3, 1e40), 1.0)
    assert np.all(np.isposinf(error))


@both
def test_a_step_that_cannot_be_stable_is_not_taken(kind):
    field = lambda t, y, args: -1e4 * y
    solver = kind(max_stages=10)
    y1, error, _, state, _ = one_step(field, solver, jnp.ones(3), 1.0)
    assert np.all(np.isposinf(error))
    assert np.all(np.isnan(y1))
    assert int(state.work.num_gradients) == 1
    solution = solve(field, solver, jnp.ones(3), 1.0, 1.0, 1e-2)
    assert int(solution.stats["num_rejected_steps"]) > 0
    # An error estimate that stays small lets steps be as long as they can be stable.
    longest = solver.family.intervals[-1] / (1.2 * 1e4)
    assert int(solution.stats["num_accepted_steps"]) < 5 / longest
    np.testing.assert_allclose(solution.ys[0], np.zeros(3), atol=1e-2)


@both
def test_counts_its_work(kind):
    calls = []

    def field(t, y, args):
        jax.debug.callback(lambda: calls.append(1))
        return -jnp.linspace(0, 1e3, 20) * y

    state, counted = None, []
    for _ in range(3):
        calls.clear()
        state = one_step(field, kind(), jnp.ones(20), 1.0, state=state)[3]
        jax.effects_barrier()
        counted.append(state.work)
        # A product evaluates the field too.
        assert len(calls) == state.work.num_gradients + state.work.num_products
    assert counted[0].num_products > 1
    assert all(work.num_products <= 1 for work in counted[1:])
    stages = [int(work.num_gradients) for work in counted]
    assert stages[0] - 1 in kind().family.degrees
    assert stages[2] in kind().family.degrees


@both
def test_slope_is_handed_on_except_over_a_jump(kind):
    field = lambda t, y, args: -y
    start = jnp.ones(2)
    y1, _, _, state, _ = one_step(field, kind(), start, 0.1)
    np.testing.assert_allclose(state.slope, -y1)
    wrong = state._replace(slope=jnp.full(2, 5.0))
    kept = one_step(field, kind(), start, 0.1, state=wrong)[0]
    assert np.all(np.abs(kept - y1) > 0.1)
    again = one_step(field, kind(), start, 0.1, state=wrong, made_jump=True)[0]
    np.testing.assert_allclose(again, y1)


@both
def test_no_jacobian(kind):
    field = lambda t, y, speed: 0 * y + speed
    for speed in (0.0, 2.0):
        y1, error, _, state, _ = one_step(field, kind(), jnp.zeros(3), 0.5, args=speed)
        np.testing.assert_allclose(y1, np.full(3, 0.5 * speed))
        np.testing.assert_allclose(error, np.zeros(3), atol=1e-15)
        assert float(state.radius) == 0


@pytest.mark.slow
def test_forward_derivatives():
    def end(rate):
        field = lambda t, y, args: -rate * y
        return solve(field, ROCK2(), jnp.ones(2), 1.0, 0.1, 1e-6, adjoint=diffrax.ForwardMode()).ys

    tangent = jax.jvp(end, (jnp.asarray(2.0),), (jnp.asarray(1.0),))[1]
    np.testing.assert_allclose(tangent[0], np.full(2, -np.exp(-2)), rtol=1e-3)


@both
def test_refuses_fields_that_make_no_sense(kind):
    low, high = kind.bounds
    for bad in (low - 1, high + 1):
        with pytest.raises(InputError, match="max_stages"):
            kind(max_stages=bad)
    for bad in (0.9, np.inf, np.nan):
        with pytest.raises(InputError, match="safety"):
            kind(safety=bad)


# The spectral radius


@jax.jit
def along(matrix, vector, radius, slope):
    y = jnp.ones_like(slope)
    return spectral_radius(lambda y: matrix @ y, y, slope, vector, radius, jnp.isinf(radius))


def estimate(matrix, last=None, slope=None):
    """The estimate that follows `last`, or the first."""
    matrix = jnp.asarray(matrix)
    slope = matrix @ jnp.ones(len(matrix)) if slope is None else slope
    if last is None:
        return along(matrix, jnp.zeros_like(slope), jnp.asarray(jnp.inf), slope)
    return along(matrix, last.vector, last.radius, slope)


@pytest.mark.parametrize("value", [-100.0, 100.0])
@pytest.mark.parametrize("slope", [-1.0, 1.0])
def test_one_unknown_has_a_radius_whatever_the_slope(value, slope):
    found = estimate([[value]], slope=jnp.array([slope]))
    assert found.radius == pytest.approx(100.0)


def spectra():
    rng = np.random.default_rng(0)
    line = np.eye(10, k=1) + np.eye(10, k=-1) - 2 * np.eye(10)
    sample = rng.normal(size=(100, 200))
    return {
        "no gap": -np.diag(np.linspace(0, 1, 100)),
        "gap": -np.diag([*np.linspace(0, 1, 99), 2.0]),
        "plane": np.kron(line, np.eye(10)) + np.kron(np.eye(10), line),
        "random": sample @ sample.T,
        "both signs": np.diag(np.linspace(-1, 1, 100)),
        "complex pairs": np.kron(np.eye(50), np.array([[-1.0, 3.0], [-3.0, -1.0]])),
    }


@pytest.mark.parametrize("name", spectra())
def test_radius_lies_within_the_safety_factor(name):
    matrix = spectra()[name]
    radius = np.abs(np.linalg.eigvals(matrix)).max()
    found = estimate(matrix)
    assert 0.88 * radius < found.radius < 1.001 * radius
    assert 2 <= found.num_products <= 30
    before = found.radius
    for _ in range(5):
        found = estimate(matrix, found)
        assert found.num_products == 1
    # Later steps go on with the same iteration.
    assert found.radius >= before * (1 - 1e-3)


def test_radius_follows_when_another_component_becomes_the_fastest():
    # Once the vector has had time to lose every trace of it.
    slow, fast = np.diag([-10.0, *np.ones(50)]), np.diag([-10.0, *np.ones(49), -100.0])
    found = estimate(slow)
    for _ in range(20):
        found = estimate(slow, found)
    assert found.radius == pytest.approx(10, rel=0.01)
    # At once if the state moves along it, as it does when steps are too long for it.
    assert estimate(fast, found).radius == pytest.approx(100, rel=0.05)
    # From the noise alone if it does not, after a few steps.
    for _ in range(4):
        found = estimate(fast, found, slope=jnp.zeros(51))
    assert found.radius == pytest.approx(100, rel=0.01)


@both
def test_rates_that_overtake_one_another(kind):
    # The last component, at first among the slowest, becomes the fastest by far.
    rates = jnp.geomspace(1, 500, 30)

    def field(t, y, args):
        return 1 - rates.at[0].set(10 * jnp.exp(t)) * y

    solution = solve(field, kind(), jnp.zeros(30), 7.0, 1e-3, 1e-4)
    np.testing.assert_allclose(
        solution.ys[0, 1:], (1 - np.exp(-7 * rates))[1:] / rates[1:], atol=1e-4
    )
    assert solution.ys[0, 0] == pytest.approx(np.exp(-7) / 10, abs=1e-3)
    assert solution.stats["num_rejected_steps"] < solution.stats["num_accepted_steps"] / 2


def test_radius_does_not_rest_on_the_slope():
    # The slope is zero, or an eigenvector of the wrong component.
    matrix = np.diag([-1.0, -100.0, -1.0])
    for slope in ([0.0, 0, 0], [1.0, 0, 0]):
        assert estimate(matrix, slope=jnp.asarray(slope)).radius == pytest.approx(100, rel=0.01)


def test_radius_of_nothing_and_of_no_number():
    assert estimate(np.zeros((3, 3))).radius == 0
    assert np.all(np.isfinite(estimate(np.zeros((3, 3))).vector))
    assert np.isnan(estimate(np.full((3, 3), np.nan)).radius)
    assert np.isfinite(estimate(np.eye(9, k=1)).radius)


# On a manifold


class Circle(AbstractManifoldTerm):
    """A rotation of the plane. Projections go to the unit circle, short of it by `distance`."""

    distance: float = 0.0

    def vf(self, t, y, args):
        return jnp.stack([-y[1], y[0]])

    def contr(self, t0, t1, **kwargs):
        return t1 - t0

    def prod(self, vf, control):
        return vf * control

    def project(self, y):
        return y / jnp.linalg.norm(y), jnp.asarray(self.distance)

    @property
    def field_work(self):
        return work(num_gradients=2)

    @property
    def projection_work(self):
        return work(num_products=3)


def test_a_projected_step_stays_on_its_manifold_and_counts_its_work():
    solver, term, y, h = ProjectedTsit5(allowed=1e-3), Circle(), jnp.asarray([1.0, 0.0]), 0.1
    state = solver.init(term, 0.0, h, y, None)
    inner = diffrax.Tsit5().init(term, 0.0, h, y, None)
    plain = diffrax.Tsit5().step(term, 0.0, h, y, None, inner, False)
    # Seven evaluations of the field in the first step, then six, and one projection in each.
    for i, num_fields in ((1, 7), (2, 6)):
        y, error, _, state, _ = solver.step(term, (i - 1) * h, i * h, y, None, state, False)
        np.testing.assert_array_equal(state.work, [2 * num_fields, 3, 0, 0])
        np.testing.assert_allclose(y, [np.cos(i * h), np.sin(i * h)], atol=1e-7)
        assert float(jnp.linalg.norm(y)) == pytest.approx(1, abs=1e-15)
        if i == 1:
            np.testing.assert_allclose(error, 2 * plain[1], rtol=1e-12)
    # What is farther from the constraints than allowed is no step.
    far = solver.step(Circle(2e-3), 0.0, h, y, None, state, False)
    assert np.isinf(far[1]).all()
    near = solver.step(Circle(1e-3), 0.0, h, y, None, state, False)
    assert np.isfinite(near[1]).all()

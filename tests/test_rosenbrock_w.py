from typing import Any

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree
from scipy.integrate import solve_ivp

from lazyrich import InputError
from lazyrich.dynamics import GradientFlow
from lazyrich.losses import Logistic, Squared
from lazyrich.models import DiagonalLinear, Functions, MatrixFactorisation
from lazyrich.solvers import ROS34PW2, AbstractMatrix, DualROS34PW2, ros34pw2
from lazyrich.solvers._work import work

from .helpers import in_double, relative_error

# Solvers are called through diffrax, whose precision is the user's.
pytestmark = pytest.mark.usefixtures("double")


def solve(term, solver, t1, y0, num_steps=None, tol=None, t0=0.0, ts=None, **more):
    """The solution; steps of one length unless `tol` is given."""
    controller: diffrax.AbstractStepSizeController[Any, Any] = diffrax.ConstantStepSize()
    dt0 = None
    if tol is None:
        dt0 = jnp.asarray((t1 - t0) / num_steps)  # an array: every length shares a program
    else:
        controller = diffrax.PIDController(rtol=tol, atol=tol, norm=root_mean_square)
    return diffrax.diffeqsolve(
        term,
        solver,
        jnp.asarray(t0),
        jnp.asarray(t1),
        dt0,
        y0,
        saveat=diffrax.SaveAt(ts=ts, t1=ts is None, solver_state=True),
        stepsize_controller=controller,
        max_steps=10**5,
        **more,
    )


def root_mean_square(tree):
    flat = ravel_pytree(tree)[0]
    return jnp.linalg.norm(flat) / jnp.sqrt(flat.size)


def rows(tree):
    """States on a leading axis, each raveled."""
    return np.asarray(jax.vmap(lambda state: ravel_pytree(state)[0])(tree))


@in_double
def reference(field, t1, start, method="DOP853", rtol=1e-13, atol=1e-15):
    """The trajectory of a pytree by SciPy, as a function of time on raveled states."""
    flat, unravel = ravel_pytree(start)
    raveled = jax.jit(lambda t, y: ravel_pytree(field(t, unravel(y), None))[0])
    jacobian = jax.jit(jax.jacfwd(raveled, argnums=1))
    known = {} if method == "DOP853" else {"jac": lambda t, y: np.asarray(jacobian(t, y))}
    return solve_ivp(
        lambda t, y: np.asarray(raveled(t, y)),
        (0, t1),
        np.asarray(flat),
        method,
        rtol=rtol,
        atol=atol,
        dense_output=True,
        **known,
    ).sol


def slope(x, y):
    return np.polyfit(np.log(x), np.log(y), 1)[0]


# The tableau


def untransformed():
    """What Hairer & Wanner, (IV.7.25), made the constants from: alpha, gamma, b, b-hat."""
    before, coupling = (
        np.stack([np.pad(row, (0, 4 - len(row))) for row in table])
        for table in (ros34pw2.BEFORE, ros34pw2.COUPLING)
    )
    gamma = np.linalg.inv(np.eye(4) / ros34pw2.GAMMA - coupling)
    weights = np.array([*ros34pw2.BEFORE[3][:3], 1.0])
    return before @ gamma, gamma, weights @ gamma, (weights - ros34pw2.ERROR) @ gamma


def test_constants_are_those_published():
    # Rang & Angermann's own variables, as other codes carry them.
    alpha, gamma, b, b_hat = untransformed()
    a = np.zeros((4, 4))
    a[1, 0], a[2, :2], a[3, 2] = 0.87173304301691801, [0.84457060015369423, -0.11299064236484185], 1
    g = 0.43586652150845900 * np.eye(4)
    g[1, 0], g[2, :2] = -0.87173304301691801, [-0.90338057013044082, 0.054180672388095326]
    g[3, :3] = [0.24212380706095346, -1.2232505839045147, 0.54526025533510214]
    published = [0.37810903145819369, -0.096042292212423178, 0.5, 0.21793326075422950]
    np.testing.assert_allclose(alpha, a, atol=2e-15)
    np.testing.assert_allclose(gamma, g, atol=2e-15)
    np.testing.assert_allclose(b, [*g[3, :2], 1.5452602553351020, g[3, 3]], atol=2e-15)
    np.testing.assert_allclose(b_hat, published, atol=2e-15)
    np.testing.assert_allclose(alpha.sum(1), ros34pw2.NODES, atol=2e-15)


def test_order_conditions_hold_for_any_matrix():
    # Hairer & Wanner, IV.7: every tree, and every tree with W in place of a derivative.
    alpha, gamma, b, b_hat = untransformed()
    nodes, sums = alpha.sum(1), gamma.sum(1)
    for weights in (b, b_hat):
        assert weights.sum() == pytest.approx(1)
        assert weights @ nodes == pytest.approx(1 / 2)
        assert weights @ sums == pytest.approx(0, abs=1e-14)
    third = np.array([nodes**2, alpha @ nodes, alpha @ sums, gamma @ nodes, gamma @ sums])
    np.testing.assert_allclose(third @ b, [1 / 3, 1 / 6, 0, 0, 0], atol=1e-14)
    # Were the embedded method of order 3 as well, there would be no error to see.
    assert np.abs(third @ b_hat - [1 / 3, 1 / 6, 0, 0, 0]).max() > 0.01


def test_l_stable():
    alpha, gamma, b, _ = untransformed()
    both = alpha + gamma
    np.testing.assert_allclose(both[3], b, atol=1e-14)  # stiffly accurate
    assert 1 - b @ np.linalg.solve(both, np.ones(4)) == pytest.approx(0, abs=1e-13)
    for y in np.concatenate([np.linspace(0, 20, 401), np.logspace(1.3, 8, 50)]):
        stages = np.linalg.solve(np.eye(4) - 1j * y * both, np.ones(4))
        assert abs(1 + 1j * y * b @ stages) <= 1 + 1e-12


# ROS34PW2


class Flat(AbstractMatrix):
    """A matrix on raveled states."""

    def __init__(self, matrix):
        self.matrix = matrix

    def shifted_solve(self, shift):
        shifted = shift * jnp.eye(len(self.matrix), dtype=self.matrix.dtype) - self.matrix

        def solution(v):
            flat, unravel = ravel_pytree(v)
            return unravel(jnp.linalg.solve(shifted, flat))

        return solution, work(num_matrices=1)


def season(t, y, args):
    # Predator and prey with a season, pulled by a third: its Jacobians do not commute.
    del args
    (p, q), z = y["pair"], y["third"]
    swing = 1 + 0.5 * jnp.cos(2 * t)
    pair = jnp.stack([p * (1 - q) * swing, -q * (1 - p) + jnp.sin(t) * z[0]])
    return {"pair": pair, "third": -(z**3) + p * jnp.cos(3 * t)}


SEASON_START = {"pair": np.asarray([1.5, 0.7]), "third": np.asarray([0.4])}
SEASON_END = 3.0


def season_jacobian(t, y):
    flat, unravel = ravel_pytree(y)
    return jax.jacfwd(lambda flat: ravel_pytree(season(t, unravel(flat), None))[0])(flat)


matrices = pytest.mark.parametrize(
    "approximate",
    [
        None,
        lambda t, y, args: Flat(jnp.zeros((3, 3))),
        lambda t, y, args: Flat(0.5 * season_jacobian(t, y)),
        lambda t, y, args: Flat(jr.normal(jr.key(1), (3, 3))),
    ],
    ids=["own", "zero", "half", "random"],
)


@pytest.fixture(scope="module")
def season_exact():
    return reference(season, SEASON_END, SEASON_START)


@pytest.mark.slow
@matrices
def test_order_three_whatever_the_matrix(approximate, season_exact):
    term, solver = diffrax.ODETerm(season), ROS34PW2(approximate)
    ts = np.linspace(0, SEASON_END, 101)
    steps = np.array([64, 128, 256])
    wrong = [
        np.abs(
            rows(solve(term, solver, SEASON_END, SEASON_START, n, ts=jnp.asarray(ts)).ys)
            - season_exact(ts).T
        ).max(1)
        for n in steps
    ]
    assert -slope(steps, [w[-1] for w in wrong]) == pytest.approx(3, abs=0.15)  # 2.95 to 3.05
    # Between steps, the worst of all.
    assert -slope(steps, [w.max() for w in wrong]) == pytest.approx(3, abs=0.15)


@pytest.mark.slow
@matrices
def test_error_of_the_interpolant_is_of_order_three_within_a_step(approximate, season_exact):
    # One step from the exact start: what is left is the interpolant's own.
    lengths = np.array([0.08, 0.04, 0.02, 0.01])
    within, end = [], []
    for h in lengths:
        ts = np.linspace(0, h, 101)
        one = solve(
            diffrax.ODETerm(season), ROS34PW2(approximate), h, SEASON_START, 1, ts=jnp.asarray(ts)
        )
        wrong = np.abs(rows(one.ys) - season_exact(ts).T).max(1)
        within.append(wrong[1:-1].max())
        end.append(wrong[-1])
    assert slope(lengths, within) == pytest.approx(3, abs=0.2)
    assert slope(lengths, end) > 3.7


@matrices
def test_error_falls_with_the_tolerance(approximate, season_exact):
    tolerances = 10.0 ** -np.arange(3, 8)
    term, solver = diffrax.ODETerm(season), ROS34PW2(approximate)
    wrong = [
        np.abs(
            rows(solve(term, solver, SEASON_END, SEASON_START, tol=tol).ys)[-1]
            - season_exact(SEASON_END)
        ).max()
        for tol in jnp.asarray(tolerances)
    ]
    assert slope(tolerances, wrong) == pytest.approx(1, abs=0.1)
    assert np.all(wrong < 5 * tolerances)


@pytest.mark.parametrize("stiffness", [1e4, 1e8])
def test_stiffly_accurate_on_prothero_robinson(stiffness):
    # y' = -k (y - cos t) - sin t has y = cos t for any k; explicit methods need steps of 1/k.
    field = lambda t, y, args: -stiffness * (y - jnp.cos(t)) - jnp.sin(t)
    end = solve(diffrax.ODETerm(field), ROS34PW2(), 3.0, jnp.ones(1), 20).ys
    assert float(end[0, 0]) == pytest.approx(np.cos(3.0), abs=2e3 / stiffness**1.25)


def test_backwards_in_time():
    field = lambda t, y, args: -y * t
    end = solve(diffrax.ODETerm(field), ROS34PW2(), 0.0, jnp.ones(2), 200, t0=1.0).ys
    np.testing.assert_allclose(end[0], np.full(2, np.exp(0.5)), rtol=1e-7)


def exact_growth(t, y, args):
    del y, args
    return Flat(jnp.diag(1e6 * t[None]))


@pytest.mark.parametrize("approximate", [None, exact_growth])
def test_backwards_the_matrix_is_taken_at_the_time_it_stands_for(approximate):
    # Backwards this decays, at a rate that the sign of time would turn into growth.
    field = lambda t, y, args: 1e6 * t * (y - jnp.cos(t)) - jnp.sin(t)
    start = jnp.cos(jnp.asarray([2.0]))
    end = solve(diffrax.ODETerm(field), ROS34PW2(approximate), 1.0, start, 200, t0=2.0).ys
    assert float(end[0, 0]) == pytest.approx(np.cos(1.0), abs=1e-4)


@pytest.mark.slow
def test_leaving_the_domain_shortens_the_step():
    # y' = -2 sqrt(y), y = (1 - t)^2: a long first step has a stage below zero.
    term = diffrax.ODETerm(lambda t, y, args: jnp.where(y > 0, -2 * jnp.sqrt(jnp.abs(y)), jnp.nan))
    solution = diffrax.diffeqsolve(
        term,
        ROS34PW2(),
        t0=0.0,
        t1=0.9,
        dt0=0.9,
        y0=jnp.ones(1),
        stepsize_controller=diffrax.PIDController(rtol=1e-8, atol=1e-10),
    )
    assert float(solution.ys[0, 0]) == pytest.approx(0.01, rel=1e-4)
    assert int(solution.stats["num_rejected_steps"]) > 0
    # Not a number would leave it to the controller what to make of that.
    times, solver = (jnp.zeros(()), jnp.asarray(0.9)), ROS34PW2()
    state = solver.init(term, *times, jnp.ones(1), None)
    y1, error, *_ = solver.step(term, *times, jnp.ones(1), None, state, False)
    assert jnp.all(jnp.isnan(y1))
    assert jnp.all(jnp.isposinf(error))


def test_vmaps():
    term = diffrax.ODETerm(lambda t, y, args: -y * args)
    end = jax.vmap(
        lambda rate: diffrax.diffeqsolve(
            term, ROS34PW2(), 0.0, 1.0, 0.05, jnp.ones(1), args=rate
        ).ys[0, 0]
    )(jnp.asarray([1.0, 1e3]))
    np.testing.assert_allclose(end, [np.exp(-1), 0], atol=1e-5)


def single(tree):
    """A copy in single precision."""
    return jax.tree.map(lambda a: a.astype(jnp.float32) if eqx.is_inexact_array(a) else a, tree)


def one_step_in_single_precision(term, solver, start):
    """Checks every type a step makes; nothing is computed."""

    def step(term, y0):
        times = jnp.float32(0), jnp.float32(0.1)
        before = solver.init(term, *times, y0, None)
        y1, error, dense, after, _ = solver.step(term, *times, y0, None, before, False)
        return before, after, (y1, error, dense)

    before, after, made = eqx.filter_eval_shape(step, single(term), single(start))
    assert before == after
    inexact = [a for a in jax.tree.leaves((made, after)) if a.dtype != jnp.int32]
    assert all(a.dtype == jnp.float32 for a in inexact)


@pytest.mark.parametrize(
    "approximate", [None, lambda t, y, args: Flat(jnp.zeros((3, 3), jnp.float32))]
)
def test_single_precision_stays_single(approximate):
    one_step_in_single_precision(diffrax.ODETerm(season), ROS34PW2(approximate), SEASON_START)


def test_counts_what_it_takes():
    state = solve(diffrax.ODETerm(season), ROS34PW2(), 1.0, SEASON_START, 2).solver_state
    assert state.work == (4, 0, 1, 0)


# DualROS34PW2


def net(*shape, width=4):
    """Hyperbolic tangents, with outputs of `shape` a sample."""

    def init(key, dim):
        first, second = jr.split(key)
        out = 0.7 * jr.normal(second, (width, *shape))
        return {"in": jr.normal(first, (width, dim)), "out": out}

    def function(params, x):
        return jnp.tanh(x @ params["in"].T) @ params["out"]

    return Functions(init_params=init, function=function)


def net_flow(*shape, loss=None, weight_decay=0.1, n=5, width=4):
    x, y = jr.normal(jr.key(3), (n, 2)), jr.normal(jr.key(4), (n, *shape))
    model, loss = net(*shape, width=width), loss or Squared()
    y = jnp.sign(y) if loss.is_classification else y
    return GradientFlow(x, y, jnp.asarray(weight_decay), model, loss), model.init(jr.key(0), 2)


def completion(init_scale, weight_decay, size=6, n=18):
    """Half the entries of a matrix of rank 2, and the identities to start from."""
    model = MatrixFactorisation(size=size)
    first, second = jr.split(jr.key(0))
    factor = jr.normal(first, (size, 2))
    target = factor @ factor.T
    target = size * target / jnp.linalg.norm(target)
    index = jr.permutation(second, size * size)[:n]
    x = jnp.stack([index // size, index % size], axis=1)
    decay = jnp.asarray(weight_decay)
    flow = GradientFlow(x, target[x[:, 0], x[:, 1]], decay, model, Squared())
    return flow, jax.tree.map(lambda p: init_scale * p, model.init(jr.key(0), 2))


def diagonal(init_scale, weight_decay, n=10, d=20):
    model = DiagonalLinear(depth=2)
    x, y = jr.normal(jr.key(3), (n, d)), jr.normal(jr.key(4), (n,))
    flow = GradientFlow(x, y, jnp.asarray(weight_decay), model, Squared())
    return flow, jax.tree.map(lambda p: init_scale * p, model.init(jr.key(0), d))


def relative_errors(ours, theirs):
    """Of each state, in the norm of all parameters."""
    return np.linalg.norm(ours - theirs, axis=1) / np.linalg.norm(theirs, axis=1)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("shape", "solver", "loss"),
    [
        ((), DualROS34PW2(), Squared()),
        ((2,), DualROS34PW2(), Squared()),
        ((2,), DualROS34PW2(max_outputs=1), Squared()),
        ((), ROS34PW2(), Logistic()),
        ((), ROS34PW2(), Squared()),
    ],
    ids=["dual", "dual, two outputs", "dual, by products", "logistic", "squared"],
)
def test_order_three_on_gradient_flows(shape, solver, loss):
    flow, start = net_flow(*shape, loss=loss)
    t1, ts = 4.0, np.linspace(0, 4, 101)
    exact = reference(flow.vf, t1, start)(ts).T
    steps = np.array([32, 64, 128])
    ends, worst, duals = [], [], []
    for n in steps:
        solution = solve(flow, solver, t1, start, n, ts=jnp.asarray(ts))
        wrong = np.abs(rows(solution.ys) - exact).max(1)
        ends.append(wrong[-1])
        worst.append(wrong.max())
        if isinstance(solver, ROS34PW2):
            assert solution.solver_state.work == (4, 0, 1, 0)
        if isinstance(solver, DualROS34PW2):
            end = jax.tree.map(lambda a: a[-1], solution.ys)
            defect = solution.solver_state.dual - flow.dual(flow.outputs(end))
            duals.append(np.abs(defect).max())
    assert -slope(steps, ends) == pytest.approx(3, abs=0.15)  # 2.95 to 3.01
    assert -slope(steps, worst) == pytest.approx(3, abs=0.25)
    if duals:
        # The dual it carries is 2 (y - f) but for the method's own error.
        assert -slope(steps, duals) > 2.85
        assert np.all(np.array(duals) < np.array(ends))


@pytest.mark.slow
@pytest.mark.parametrize("loss", [Logistic(), Squared()])
def test_many_parameters_are_solved_for_through_the_kernel(loss):
    flow, start = net_flow(loss=loss, width=40)  # 120 parameters
    state = solve(flow, ROS34PW2(), 0.1, start, 1).solver_state
    # A matrix of automatic differentiation takes no products.
    assert state.work == (4, 8, 1, 0)


def linear_flow(weight_decay):
    r"""$f = x \theta$ with rates $2 s_i^2 / n$ of $10^{-6}, \dots, 10^6$, and its solution."""
    n = 7
    rates = np.logspace(-6, 6, n)
    left, right = (np.asarray(jnp.linalg.qr(jr.normal(jr.key(k), (n, n)))[0]) for k in (0, 1))
    singular = np.sqrt(rates * n / 2)
    start, ends = np.linspace(1, 2, n), np.linspace(-1, 1, n)  # in the singular basis
    x, y = (left * singular) @ right.T, left @ (singular * ends)
    model = Functions(init_params=lambda key, dim: {"w": jnp.zeros(dim)}, function=_linear)
    decay = jnp.asarray(weight_decay)
    flow = GradientFlow(jnp.asarray(x), jnp.asarray(y), decay, model, Squared())
    total = rates + weight_decay

    def exact(ts):
        limit = rates * ends / total
        return (limit + (start - limit) * np.exp(-np.outer(ts, total))) @ right.T

    return flow, {"w": jnp.asarray(right @ start)}, exact


def _linear(params, x):
    return x @ params["w"]


@pytest.mark.slow
@pytest.mark.parametrize("max_outputs", [8192, 1])
def test_linear_models_from_the_fastest_mode_to_the_slowest(max_outputs):
    flow, start, exact = linear_flow(1e-7)
    ts = np.concatenate([[0], np.logspace(-8, 8, 200)])  # most of them inside steps
    solver = DualROS34PW2(max_outputs=max_outputs)
    for tol in jnp.asarray([1e-4, 1e-6]):
        solution = solve(flow, solver, 1e8, start, tol=tol, ts=jnp.asarray(ts))
        assert relative_errors(rows(solution.ys), exact(ts)).max() < 20 * tol
        end = jax.tree.map(lambda a: a[-1], solution.ys)
        dual = flow.dual(flow.outputs(end))
        assert relative_error(solution.solver_state.dual, dual) < 20 * tol


@pytest.mark.slow
@pytest.mark.parametrize(
    ("problem", "init_scale", "weight_decay"),
    [(completion, 100.0, 1e-3), (diagonal, 10.0, 1e-3)],
)
def test_agrees_with_radau_where_it_is_stiff(problem, init_scale, weight_decay):
    flow, start = problem(init_scale, weight_decay)
    t1 = 15 / weight_decay
    ts = np.linspace(1e-3, 1, 200) * t1
    exact = reference(flow.vf, t1, start, "Radau", rtol=1e-8, atol=1e-10)(ts).T
    tolerances = 10.0 ** -np.arange(3, 7)
    wrong, steps = [], []
    for tol in jnp.asarray(tolerances):
        solution = solve(flow, DualROS34PW2(), t1, start, tol=tol, ts=jnp.asarray(ts))
        wrong.append(relative_errors(rows(solution.ys), exact).max())
        steps.append(int(solution.stats["num_accepted_steps"]))
    assert steps[0] < 40
    assert np.all(wrong < 30 * tolerances)
    # Once the data are fitted the dual acts as a multiplier, as in equations of index 2, for
    # which the method has order 2: the error falls as the tolerance to the power 2/3 or more.
    assert slope(tolerances, wrong) > 0.66


@pytest.mark.slow
@pytest.mark.parametrize("problem", [completion, diagonal])
def test_steps_depend_on_neither_init_scale_nor_decay(problem):
    steps = []
    for init_scale, decay in [(10, 1e-1), (10, 1e-5), (100, 1e-1), (100, 1e-5), (1e3, 1e-3)]:
        flow, start = problem(float(init_scale), decay)
        stats = solve(flow, DualROS34PW2(), 15 / decay, start, tol=1e-3).stats
        steps.append(int(stats["num_steps"]))
    assert max(steps) < 2 * min(steps)  # 21 to 35


@pytest.mark.slow
def test_interpolates_the_start_of_training_within_a_long_step():
    # Outputs reach the labels in a time 1e-6; a step of 1e-3 holds all of it.
    flow, start = diagonal(1e3, 1e-5)
    ts = jnp.linspace(0, 1e-3, 21)
    path = solve(flow, DualROS34PW2(), 1e-3, start, 1, ts=ts).ys
    outputs = jax.vmap(flow.outputs)(path)
    assert jnp.max(jnp.abs(outputs)) < 3 * jnp.max(jnp.abs(flow.y))
    np.testing.assert_allclose(outputs[-1], flow.y, atol=0.05)


@pytest.mark.slow
def test_by_products_as_by_the_kernel():
    # More outputs than the preconditioner's rank, so that iterations are needed.
    flow, start = diagonal(100.0, 1e-5, n=110, d=150)

    @eqx.filter_jit
    def step(max_outputs):
        solver, times = DualROS34PW2(max_outputs=max_outputs), (jnp.zeros(()), jnp.asarray(0.1))
        state = solver.init(flow, *times, start, None)
        y1, error, _, state, _ = solver.step(flow, *times, start, None, state, False)
        return y1, error, state

    by_kernel, by_products = step(110), step(109)
    for ours, theirs in zip(by_products[:2], by_kernel[:2], strict=True):
        assert relative_error(ravel_pytree(ours)[0], ravel_pytree(theirs)[0]) < 1e-6
    assert by_kernel[2].work == (5, 8, 1, 0)
    taken = by_products[2].work
    assert (taken.num_gradients, taken.num_matrices) == (5, 0)
    # A preconditioner of rank 100 and four solves of two products and their iterations.
    assert 208 + 16 < taken.num_products < 208 + 8 * 221


@pytest.mark.slow
def test_dual_solver_takes_classes_for_unit_vectors():
    classes = jnp.asarray([1, 0, 2, 1])
    model = Functions(init_params=lambda k, d: None, function=lambda w, x: jnp.tanh(x @ w))
    x, start = jr.normal(jr.key(0), (4, 2)), jr.normal(jr.key(1), (2, 3))

    @eqx.filter_jit
    def step(y, max_outputs):
        flow = GradientFlow(x, y, jnp.asarray(0.1), model, Squared())
        solver, times = DualROS34PW2(max_outputs=max_outputs), (jnp.zeros(()), jnp.asarray(0.3))
        state = solver.init(flow, *times, start, None)
        return solver.step(flow, *times, start, None, state, False)[:2]

    expected = step(jnp.eye(3)[classes], 12)
    np.testing.assert_allclose(step(classes, 12), expected, rtol=1e-12)
    np.testing.assert_allclose(step(classes, 1), expected, rtol=1e-5, atol=1e-12)


class InItsOwnPrecision(Functions):
    """Functions that compute in the type of their inputs, not in double precision."""

    def cast_inputs(self, x):
        return x


@pytest.mark.parametrize("width", [4, 40])  # solved for 12 parameters, and through the kernel
def test_dual_solver_in_single_precision(width):
    model = InItsOwnPrecision(**vars(net(width=width)))
    flow = eqx.tree_at(lambda flow: flow.model, net_flow()[0], model)
    start = model.init(jr.key(0), 2)
    for solver in (DualROS34PW2(), DualROS34PW2(max_outputs=1)):
        one_step_in_single_precision(flow, solver, start)


@pytest.mark.slow
def test_dual_solver_vmaps_over_decay():
    flow, start = net_flow()
    decays = jnp.asarray([0.0, 0.1])

    def end(decay):
        changed = eqx.tree_at(lambda flow: flow.weight_decay, flow, decay)
        return diffrax.diffeqsolve(changed, DualROS34PW2(), 0.0, 1.0, 0.1, start).ys

    many = jax.vmap(end)(decays)
    for k, decay in enumerate(decays):
        exact = reference(net_flow(weight_decay=decay)[0].vf, 1, start)(1)
        np.testing.assert_allclose(
            rows(jax.tree.map(lambda a, k=k: a[k], many))[0], exact, atol=1e-4
        )


@pytest.mark.slow
def test_dual_solver_needs_a_gradient_flow_on_squared_loss():
    flow, start = net_flow(loss=Logistic())
    with pytest.raises(InputError, match="needs a loss of constant curvature, such as Squared"):
        solve(flow, DualROS34PW2(), 1.0, start, 1)
    with pytest.raises(InputError, match="needs a term that provides the dual"):
        solve(diffrax.ODETerm(season), DualROS34PW2(), 1.0, SEASON_START, 1)

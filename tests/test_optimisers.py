"""Optimisers against NumPy loops, the gradient flow, and what their docstrings promise."""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

import lazyrich as lr
from lazyrich.dynamics import AbstractDynamics, AbstractStochastic, Problem, discrete
from lazyrich.tasks import Samples
from tests.helpers import (
    built_in,
    compilations,
    diagonal_problem,
    entry_of,
    given,
    in_double,
    normal,
    problem_of,
    samples,
    silent,
)

RATE, DECAY = 0.02, 0.3

# --- The same steps in NumPy. `theta` is (2, d): u and v of a diagonal net. ---


def mean_gradient(theta: np.ndarray, x: np.ndarray, y: np.ndarray, problem: Problem) -> np.ndarray:
    """Of the mean of (f - y)² or of log(1 + exp(-y f)), f = <u**depth - v**depth, x>."""
    depth = problem.model.depth  # type: ignore[attr-defined]
    f = x @ (theta[0] ** depth - theta[1] ** depth)
    slope = -y / (1 + np.exp(y * f)) if problem.loss.is_classification else 2 * (f - y)
    pull = slope @ x / len(y)
    return np.stack([pull, -pull]) * depth * theta ** (depth - 1)


def descent(o: Any, theta: np.ndarray, g: np.ndarray, memory: dict[str, Any]) -> np.ndarray:
    del memory
    return theta - o.learning_rate * (g + DECAY * theta)


def momentum(o: Any, theta: np.ndarray, g: np.ndarray, memory: dict[str, Any]) -> np.ndarray:
    # torch.optim.SGD, dampening 0: the buffer starts as the first gradient.
    g = g + DECAY * theta
    b = o.momentum * memory["b"] + g if "b" in memory else g
    memory["b"] = b
    return theta - o.learning_rate * (g + o.momentum * b if o.nesterov else b)


def adam(o: Any, theta: np.ndarray, g: np.ndarray, memory: dict[str, Any]) -> np.ndarray:
    # torch.optim.Adam: decay enters the gradient, hence both moments.
    return adam_direction(o, theta, g + DECAY * theta, memory)


def adamw(o: Any, theta: np.ndarray, g: np.ndarray, memory: dict[str, Any]) -> np.ndarray:
    # torch.optim.AdamW: first θ ← θ - ηλθ, then Adam on the gradient alone.
    return adam_direction(o, theta * (1 - o.learning_rate * DECAY), g, memory)


def adam_direction(o: Any, theta: np.ndarray, g: np.ndarray, memory: dict[str, Any]) -> np.ndarray:
    t = memory["t"] = memory.get("t", 0) + 1
    m = memory["m"] = o.beta1 * memory.get("m", 0.0) + (1 - o.beta1) * g
    v = memory["v"] = o.beta2 * memory.get("v", 0.0) + (1 - o.beta2) * g**2
    m_hat, v_hat = m / (1 - o.beta1**t), v / (1 - o.beta2**t)
    return theta - o.learning_rate * m_hat / (np.sqrt(v_hat) + o.epsilon)


def batches(o: Any, num_samples: int) -> Iterator[np.ndarray]:
    """Indices step after step: a pass's order is drawn at its first step, from its number."""
    size = getattr(o, "batch_size", 0) or num_samples
    per_pass, key = num_samples // size, jr.fold_in(jr.key(getattr(o, "seed", 0)), 0)
    step = 0
    while True:
        order = np.arange(num_samples)
        if size < num_samples:
            order = np.asarray(jr.permutation(jr.fold_in(key, step), num_samples))
        for place in range(per_pass):
            yield order[place * size : (place + 1) * size]
            step += 1


class Row(NamedTuple):
    optimiser: Any
    rule: Callable[..., np.ndarray]

    @in_double
    def walk(self, problem: Problem, num_steps: int) -> np.ndarray:
        """Parameters before the first step and after each."""
        o = self.optimiser
        x, y = np.asarray(problem.train.x), np.asarray(problem.train.y)
        theta = np.stack([np.asarray(p) for p in problem.params])
        memory: dict[str, Any] = {}
        seen, chosen = [theta], batches(o, len(y))
        noise_key = jr.fold_in(jr.key(getattr(o, "seed", 0)), 1)
        for step in range(num_steps):
            batch = next(chosen)
            labels = y[batch]
            if hasattr(o, "noise"):
                signs = jr.rademacher(jr.fold_in(noise_key, step), labels.shape, jnp.float64)
                labels = labels + o.noise * np.asarray(signs)
            theta = self.rule(o, theta, mean_gradient(theta, x[batch], labels, problem), memory)
            seen.append(theta)
        return np.stack(seen)


GD, SGD, Adam, AdamW, LabelNoiseSGD = (
    lr.dynamics.GradientDescent,
    lr.dynamics.SGD,
    lr.dynamics.Adam,
    lr.dynamics.AdamW,
    lr.dynamics.LabelNoiseSGD,
)
ROWS = {
    "descent": Row(GD(learning_rate=RATE), descent),
    "sgd": Row(SGD(learning_rate=RATE), descent),
    "batches": Row(SGD(learning_rate=RATE, batch_size=2, seed=3), descent),
    "one-batch": Row(SGD(learning_rate=RATE, batch_size=5), descent),
    "momentum": Row(SGD(learning_rate=RATE, batch_size=3, momentum=0.9), momentum),
    "nesterov": Row(SGD(learning_rate=RATE, batch_size=3, momentum=0.7, nesterov=True), momentum),
    "adam": Row(Adam(learning_rate=RATE), adam),
    "adam-batches": Row(
        Adam(learning_rate=RATE, batch_size=3, beta1=0.8, beta2=0.95, epsilon=1e-3), adam
    ),
    "adamw": Row(AdamW(learning_rate=RATE), adamw),
    "adamw-batches": Row(
        AdamW(learning_rate=RATE, batch_size=1, beta1=0.0, beta2=0.9, epsilon=0.1), adamw
    ),
    "noise": Row(LabelNoiseSGD(learning_rate=RATE), descent),
    "noise-batches": Row(
        LabelNoiseSGD(learning_rate=RATE, batch_size=5, noise=2.0, seed=1), descent
    ),
}
KINDS = ["descent", "momentum", "adam-batches", "adamw-batches", "noise-batches"]
each_kind = pytest.mark.parametrize("name", KINDS)
PAIRS = [(name, "squared") for name in ROWS] + [
    (name, "logistic") for name in ("descent", "nesterov", "adam-batches", "adamw")
]


@in_double
def general_problem(loss: Any = None, depth: int = 2, n: int = 7) -> Problem:
    """Parameters of no symmetry, so that no term of a step is zero or hidden by another."""
    problem = diagonal_problem(depth, loss or lr.losses.Squared(), DECAY, n=n, d=5)
    u, v = (0.4 * jr.normal(jr.key(i), (5,)) for i in (10, 11))
    return Problem(
        problem.train, lr.models.DiagonalParams(u, v), DECAY, problem.model, problem.loss
    )


def states(trajectory: Any) -> np.ndarray:
    return np.stack([np.asarray(trajectory.states.u), np.asarray(trajectory.states.v)], axis=1)


def test_no_optimiser_is_missing():
    flows = {"ReducedFlow", "Flow", "SmallDecayLimit"}
    optimisers = built_in(AbstractDynamics) - flows
    assert {type(row.optimiser).__name__ for row in ROWS.values()} == optimisers
    assert {type(ROWS[name].optimiser).__name__ for name in KINDS} == optimisers


@pytest.mark.parametrize(("name", "loss"), PAIRS)
def test_takes_the_steps_a_loop_takes(name, loss):
    losses = {"squared": lr.losses.Squared(), "logistic": lr.losses.Logistic()}
    row, problem = ROWS[name], general_problem(losses[loss], depth=3 if name == "descent" else 2)
    # The nearest whole steps, each once.
    times = RATE * np.array([0.0, 1.0, 1.2, 1.7, 10.2, 40.0])
    marks = [0, 1, 2, 10, 40]
    trajectory = row.optimiser.follow(problem, times, silent)
    assert trajectory.ending == "completed"
    assert trajectory.times.tolist() == [step * RATE for step in marks]
    expected = row.walk(problem, 40)[marks]
    np.testing.assert_allclose(states(trajectory), expected, rtol=1e-10, atol=1e-13)
    np.testing.assert_array_equal(trajectory.final.u, entry_of(trajectory.states.u))
    effort = trajectory.effort
    assert (effort.name, effort.num_steps) == (type(row.optimiser).__name__, 40)
    size = getattr(row.optimiser, "batch_size", 0) or 7
    assert effort.num_gradients == round(40 * size / 7)


@pytest.mark.slow
def test_decay_stands_where_each_optimiser_says():
    # Without data the mean loss is flat: only decay moves parameters.
    x, y, model = np.zeros((2, 3)), np.zeros(2), lr.models.DiagonalLinear()
    params = lr.models.DiagonalParams(*given([[1.0, -2.0, 0.5], [3.0, 1.0, -1.0]]))
    problem = problem_of(x, y, params, DECAY, model, lr.losses.Squared())
    times = RATE * np.arange(4)
    shrunk = (1 - RATE * DECAY) ** np.arange(4)
    for name in ("descent", "sgd", "batches", "noise", "adamw"):
        optimiser = ROWS[name].optimiser
        if isinstance(optimiser, LabelNoiseSGD):
            optimiser = LabelNoiseSGD(learning_rate=RATE, noise=0.0)
        u = optimiser.follow(problem, times, silent).states.u
        np.testing.assert_allclose(u, np.outer(shrunk, params.u), rtol=1e-14)
    # Adam cannot tell λθ from a gradient: its first step is η whatever the size of either.
    u = ROWS["adam"].optimiser.follow(problem, times, silent).states.u
    np.testing.assert_allclose(np.asarray(u)[1], params.u - RATE * np.sign(params.u), rtol=1e-6)


# --- Batches and noise. ---


@in_double
def orders(
    kind: type[AbstractStochastic], batch_size: int, seeds: list[int], num_steps: int
) -> np.ndarray:
    """Which of 12 samples the steps see, for each seed."""
    train = Samples(jnp.arange(12)[:, None], jnp.zeros(12))
    optimiser = kind(batch_size=batch_size)

    def step(draws, number):
        batch, draws = optimiser.draw(train, draws, number)
        return draws, batch.x[:, 0]

    firsts = [kind(seed=seed).first_draws(train) for seed in seeds]
    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *firsts)
    run = jax.vmap(lambda first: jax.lax.scan(step, first, jnp.arange(num_steps))[1])
    return np.asarray(run(stacked))


@pytest.mark.parametrize("kind", [SGD, LabelNoiseSGD, Adam, AdamW])
def test_a_pass_sees_every_sample_once_in_an_order_fixed_by_the_seed(kind):
    seeds = [1, 0, 2, 2**40, 1]
    passes = orders(kind, 4, seeds, 12).reshape(5, 4, 12)
    assert np.all(np.sort(passes) == np.arange(12))
    distinct = np.unique(passes.reshape(-1, 12), axis=0)
    assert len(distinct) == 16  # four passes of four seeds
    np.testing.assert_array_equal(passes[0], passes[-1])


def test_what_is_left_of_a_pass_is_seen_in_others():
    passes = orders(SGD, 5, [0], 40).reshape(20, 10)
    assert all(len(set(order)) == 10 for order in passes)
    assert set(passes.ravel()) == set(range(12))


@pytest.mark.parametrize("batch_size", [0, 7])
@pytest.mark.parametrize("kind", [SGD, LabelNoiseSGD])
def test_a_full_batch_without_noise_is_gradient_descent(kind, batch_size):
    fields = {"noise": 0.0} if kind is LabelNoiseSGD else {}
    problem, times = general_problem(), RATE * np.arange(0, 50, 7)
    plain = GD(learning_rate=RATE).follow(problem, times, silent)
    other = kind(learning_rate=RATE, batch_size=batch_size, **fields)
    np.testing.assert_array_equal(states(other.follow(problem, times, silent)), states(plain))


@pytest.mark.slow
@pytest.mark.usefixtures("double")
@pytest.mark.parametrize("batch_size", [0, 4])
def test_label_noise_is_fresh_and_leaves_the_gradient_right_on_average(batch_size):
    num_steps, sigma, problem = 4000, 0.7, general_problem()
    optimiser = LabelNoiseSGD(noise=sigma, seed=5, batch_size=batch_size)
    train, size = problem.train, batch_size or 7
    draws = optimiser.first_draws(train)

    def noise_and_gradient(step):
        noisy, _ = optimiser.draw(train, draws, step)
        clean, _ = SGD(seed=5, batch_size=batch_size).draw(train, draws, step)

        def mean_loss(params, batch):
            return problem.loss.mean(problem.model.apply(params, batch.x), batch.y)

        bias = jax.grad(mean_loss)(problem.params, noisy).u
        return noisy.y - clean.y, bias - jax.grad(mean_loss)(problem.params, clean).u

    noise, bias = map(np.asarray, jax.vmap(noise_and_gradient)(jnp.arange(num_steps)))
    assert noise.shape == (num_steps, size)
    np.testing.assert_allclose(np.abs(noise), sigma, rtol=1e-12)
    # Five standard errors everywhere.
    bound = 5 / np.sqrt(num_steps)
    assert np.all(np.abs(noise.mean(axis=0)) < bound * sigma)
    assert np.all(np.abs(bias.mean(axis=0)) < bound * bias.std(axis=0))
    assert np.all(bias.std(axis=0) > 0.01)
    correlation = np.corrcoef(np.hstack([noise[:-1], noise[1:]]), rowvar=False)
    assert np.all(np.abs(correlation - np.eye(2 * size)) < bound)


@pytest.mark.usefixtures("double")
def test_the_keys_of_noise_and_of_shuffles_are_apart():
    # With one batch a pass every step shuffles and draws noise; no key may serve twice.
    # Sampling splits its key, and in JAX a split is a fold-in of 0, 1, ...
    draws = LabelNoiseSGD(seed=2).first_draws(samples())

    def used(stream, step):
        key = draws.key(stream, step)
        return jr.key_data(jnp.append(jr.split(key), key))

    keys = [
        jax.vmap(used, (None, 0))(stream, jnp.arange(50)).reshape(-1, 2)
        for stream in (discrete.SHUFFLES, discrete.LABEL_NOISE)
    ]
    assert len(np.unique(np.concatenate(keys), axis=0)) == 300


def test_label_noise_needs_a_regression_loss():
    problem = general_problem(lr.losses.Logistic())
    with pytest.raises(lr.InputError, match=r"^dynamics\.kind = .*regression.*Logistic$"):
        LabelNoiseSGD().follow(problem, np.array([0.0, 1.0]), silent)
    # Squared loss takes classes, but there is nothing between two classes.
    model = lr.models.Functions(init_params=lambda k, d: None, function=lambda w, x: x @ w)
    classes = Samples(jnp.eye(2), jnp.asarray([0, 1]))
    problem = Problem(classes, jnp.ones((2, 3)), 0.0, model, lr.losses.Squared())
    with pytest.raises(lr.InputError, match=r"^dynamics\.kind = .*numbers, .*not to classes$"):
        LabelNoiseSGD().follow(problem, np.array([0.0, 1.0]), silent)


@pytest.mark.parametrize("kind", [SGD, LabelNoiseSGD, Adam, AdamW])
def test_a_batch_larger_than_the_data_is_refused(kind):
    with pytest.raises(lr.InputError, match=r"^dynamics\.batch_size = 8: .*, 7$") as error:
        kind(batch_size=8).follow(general_problem(), np.array([0.0, 1.0]), silent)
    assert "\n" not in str(error.value)


def test_more_steps_than_can_be_told_apart_are_refused():
    with pytest.raises(lr.InputError, match=r"^dynamics\.learning_rate = 1e-06: takes 1e\+19 st"):
        GD(learning_rate=1e-6).follow(general_problem(), np.array([0.0, 1e13]), silent)


@pytest.mark.parametrize(
    ("kind", "field", "bad"),
    [
        (GD, "learning_rate", 0.0),
        (SGD, "batch_size", -1),
        (SGD, "seed", 2**63),
        (SGD, "momentum", 1.0),
        (Adam, "beta1", 1.0),
        (AdamW, "beta2", -0.1),
        (Adam, "epsilon", 0.0),
        (LabelNoiseSGD, "noise", -1.0),
    ],
)
def test_constants_out_of_range_are_refused(kind, field, bad):
    with pytest.raises(lr.InputError, match=f"^{field} = "):
        kind(**{field: bad})


# --- Records. ---


@pytest.mark.slow
@pytest.mark.usefixtures("double")
@each_kind
def test_what_is_observed_on_the_way_is_what_states_would_show(name):
    problem, times = general_problem(), RATE * np.array([0, 3, 4, 30])

    def observe(time, params):
        outputs = problem.model.apply(params, problem.train.x)
        return {
            "time": time,
            "outputs": outputs,
            "norm": jnp.linalg.norm(params.u),
            "num_positive": jnp.sum(outputs > 0, dtype=jnp.int32),
            "fits": jnp.all(outputs > 0),
        }

    optimiser = ROWS[name].optimiser
    observing = optimiser.follow(problem, times, silent, observe)
    plain = optimiser.follow(problem, times, silent)
    assert observing.states is None
    assert plain.observed is None
    afterwards = jax.vmap(observe)(jnp.asarray(plain.times), plain.states)
    for key, value in observing.observed.items():
        assert value.dtype == afterwards[key].dtype
        np.testing.assert_allclose(value, afterwards[key], rtol=1e-13, atol=1e-15)
    assert observing.observed["num_positive"].dtype == jnp.int32
    assert observing.observed["fits"].dtype == bool
    np.testing.assert_array_equal(observing.final.u, plain.final.u)


@each_kind
def test_parameters_keep_their_type(name):
    wide = general_problem()
    with jax.enable_x64(True):
        single = jax.tree.map(lambda p: p.astype(jnp.float32), wide.params)
        # A decay of type float64 for good, unlike a Python number's.
        decay = jnp.asarray(np.float64(DECAY))
    narrow = Problem(wide.train, single, decay, wide.model, wide.loss)
    times, optimiser = RATE * np.arange(5), ROWS[name].optimiser
    trajectory = optimiser.follow(narrow, times, silent)
    assert trajectory.states.u.dtype == jnp.float32
    expected = states(optimiser.follow(wide, times, silent))
    np.testing.assert_allclose(states(trajectory), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.slow
def test_inputs_keep_their_type():
    problem = general_problem()
    signs, y = np.sign(np.asarray(problem.train.x)), problem.train.y
    narrow, wide = (
        SGD(learning_rate=RATE, batch_size=2).follow(
            problem_of(x, y, problem.params, DECAY, problem.model, problem.loss),
            np.array([0.0, 1.0]),
            silent,
        )
        for x in (signs.astype(np.int8), signs)
    )
    np.testing.assert_allclose(states(narrow), states(wide), rtol=1e-12)


@each_kind
def test_divergence_is_named_and_keeps_what_was_reached(name):
    # One step of this size is finite; the loss after it is not.
    optimiser = ROWS[name].optimiser.model_copy(update={"learning_rate": 1e200})
    problem = general_problem(depth=2)
    trajectory = optimiser.follow(problem, 1e200 * np.arange(9), silent)
    assert trajectory.ending == "diverged"
    assert 1 <= len(trajectory.times) < 9
    assert trajectory.times[0] == 0
    assert np.all(np.isfinite(states(trajectory)))
    assert len(states(trajectory)) == len(trajectory.times)
    assert trajectory.effort.num_steps < 9


@pytest.mark.slow
def test_a_diverged_run_has_a_record():
    data = samples(n=5, d=8, labels="real")
    x, y = np.asarray(data.x), np.asarray(data.y)
    experiment = lr.Experiment(
        task=lr.tasks.Arrays(x_train=x, y_train=y, x_test=x, y_test=y),
        loss=lr.losses.Squared(),
        dynamics=SGD(learning_rate=1e200),
        t1=8e200,
        probes=("param_norm",),
    )
    record = lr.simulate(experiment)
    assert record.attrs["ending"] == "diverged"
    assert 0 < record.sizes["time"] < 9
    assert np.isfinite(record["param_norm"][0])


@pytest.mark.parametrize("steps", [[5], [0], [0, 0, 1]], ids=str)
def test_few_records_are_enough(steps):
    row, problem = ROWS["momentum"], general_problem()
    trajectory = row.optimiser.follow(problem, RATE * np.array(steps, float), silent)
    assert trajectory.times.tolist() == [RATE * step for step in sorted(set(steps))]
    expected = row.walk(problem, 5)[sorted(set(steps))]
    np.testing.assert_allclose(states(trajectory), expected, rtol=1e-10)


@pytest.mark.parametrize("name", ["momentum", "adam-batches", "noise-batches"])
def test_steps_do_not_depend_on_how_they_are_cut(name, monkeypatch):
    problem, times = general_problem(), RATE * np.array([0, 1, 13, 14, 100])
    optimiser, found = ROWS[name].optimiser, {}
    # First chunk and seconds aimed at: alone, in sevens, growing fourfold, all at once.
    for first, seconds in ((1, 0.0), (7, 1e-9), (3, 1e9), (10**6, 1.0)):
        monkeypatch.setattr(discrete, "_FIRST_CHUNK", first)
        monkeypatch.setattr(discrete, "_CHUNK_SECONDS", seconds)
        told: list[tuple[float, int]] = []

        def progress(t, n, so_far=None, told=told):
            told.append((t, n))

        trajectory = optimiser.follow(problem, times, progress)
        found[first] = states(trajectory)
        steps = [n for _, n in told]
        assert steps == sorted(set(steps))
        assert steps[-1] == 100
        assert len(steps) == {1: 100, 3: 4, 10**6: 1}.get(first, len(steps))
        np.testing.assert_allclose([t for t, _ in told], RATE * np.array(steps))
    for other in found.values():
        np.testing.assert_array_equal(other, found[1])


def test_runs_that_differ_in_numbers_share_their_compilation():
    # Of a shape that no other test has: else it may be compiled already.
    optimiser, times = SGD(learning_rate=0.0625, batch_size=4), np.linspace(0.0, 2.0, 5)

    def end(weight_decay, params_seed):
        problem = general_problem(n=9)
        params = lr.models.DiagonalParams(*(0.3 * normal(params_seed + i, 5) for i in (0, 1)))
        problem = Problem(problem.train, params, weight_decay, problem.model, problem.loss)
        return states(optimiser.follow(problem, times, silent))[-1]

    with compilations() as first:
        one = end(0.1, 0)
    with compilations() as again:
        others = [end(0.2, 0), end(0.1, 7), end(0.0, 3)]
    assert len(first) > 0
    assert again == []
    assert all(not np.array_equal(one, other) for other in others)


# --- Towards the flow. ---


def flow_ends(problem: Problem, times: np.ndarray) -> np.ndarray:
    flow = lr.dynamics.Flow(method="tsit5", rtol=1e-9)
    return states(flow.follow(problem, times, silent))


def errors_against_the_flow(optimiser: Any, num_steps: np.ndarray, speed: float) -> np.ndarray:
    problem, horizon = general_problem(), 1.0
    exact = flow_ends(problem, np.array([0.0, speed * horizon]))[-1]
    ends = []
    for n in num_steps:
        rated = optimiser.model_copy(update={"learning_rate": horizon / n})
        ends.append(states(rated.follow(problem, np.array([0.0, horizon]), silent))[-1])
    return np.array([np.linalg.norm(end - exact) for end in ends])


@pytest.mark.parametrize(
    ("optimiser", "speed"),
    [(GD(), 1.0), (SGD(momentum=0.5), 2.0), (SGD(momentum=0.5, nesterov=True), 2.0)],
    ids=["descent", "momentum", "nesterov"],
)
def test_small_steps_follow_the_flow_to_first_order(optimiser, speed):
    num_steps = np.array([800, 1600, 3200])
    errors = errors_against_the_flow(optimiser, num_steps, speed)
    order = -np.polyfit(np.log(num_steps), np.log(errors), 1)[0]
    assert order == pytest.approx(1.0, abs=0.05)
    assert errors[-1] < 0.01


def test_a_pass_of_batches_follows_the_flow_too():
    errors = errors_against_the_flow(SGD(batch_size=1), np.array([700, 7000]), 1.0)
    assert errors[1] < 0.2 * errors[0]
    assert errors[1] < 0.01


def test_a_million_steps():
    x, y = np.array([[1.0, 2.0], [2.0, -1.0]]), np.array([1.0, -0.5])
    model = lr.models.DiagonalLinear()
    problem = problem_of(x, y, model.init(jr.key(0), 2), 0.1, model, lr.losses.Squared())
    trajectory = SGD(learning_rate=1e-3).follow(problem, np.array([0.0, 500.0, 1000.0]), silent)
    assert trajectory.effort.num_steps == 10**6
    # At rest, where the gradient of the whole is zero.
    theta = states(trajectory)[-1]
    residual = mean_gradient(theta, x, y, problem)
    assert np.max(np.abs(residual + 0.1 * theta)) < 1e-9
    np.testing.assert_allclose(states(trajectory)[1], theta, atol=1e-6)


@pytest.mark.slow
def test_label_noise_acts_as_a_decay():
    # At rest the weights fluctuate with the covariance (rate noise^2 / n) on the range of the
    # Hessian, and drift against the gradient of its trace, 8 |theta|^2 for x = +-1, at
    # (rate noise^2 / (2 n)) times that: as under a decay of 8 rate noise^2 / n.
    rate, noise, n = 0.01, 0.7, 20
    train = lr.tasks.SparseRegression(n=n, d=40, k=2).sample(jr.key(3)).train
    model = lr.models.DiagonalLinear()
    start = jax.tree.map(lambda p: 3 * np.asarray(p), model.init(jr.key(0), 40))
    decay = 8 * rate * noise**2 / n
    times = np.array([0.0, 0.25, 0.5, 1.0, 1.5]) / decay
    norms = []
    for optimiser, weight_decay in (
        (LabelNoiseSGD(learning_rate=rate, noise=noise), 0.0),
        (GD(learning_rate=rate), decay),
    ):
        problem = Problem(train, start, weight_decay, model, lr.losses.Squared())
        moved = states(optimiser.follow(problem, times, silent)).reshape(len(times), -1)
        norms.append(np.linalg.norm(moved, axis=1))
    np.testing.assert_allclose(norms[0], norms[1], rtol=0.03)
    # Without either the norm stays where the fit has left it.
    assert norms[1][-1] < 0.6 * norms[1][1]

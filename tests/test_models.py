from typing import Any

import jax
import jax.flatten_util
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

import lazyrich as lr
from lazyrich.models import _row_blocks, power_difference
from tests.helpers import given, normal


@pytest.mark.parametrize("depth", [2, 3, 5])
def test_diagonal_net(depth):
    model = lr.models.DiagonalLinear(depth=depth)
    start = model.init(jr.key(0), 12)
    x = normal(1, 4, 12)
    assert np.linalg.norm(start) == pytest.approx(1.0)
    np.testing.assert_array_equal(model.apply(start, x), np.zeros(4))

    u, v = np.random.default_rng(0).uniform(size=(2, 12))
    params, scaled = (lr.models.DiagonalParams(c * u, c * v) for c in (1.0, 1.7))
    by_hand = x @ (u**depth - v**depth)
    np.testing.assert_allclose(model.apply(params, x), by_hand, rtol=1e-12)
    np.testing.assert_allclose(model.apply(scaled, x), 1.7**model.homogeneity * by_hand, rtol=1e-12)


@pytest.mark.usefixtures("double")
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("power", [2, 3, 5])
def test_power_difference_has_exact_derivatives_at_any_ratio(power, dtype):
    # The Jacobian of u^L - v^L is (L u^(L-1), -L v^(L-1)), which here spans twenty decades.
    u, v = np.array([3.0, 1.0, 1e-4]), np.array([1e-5, 1.0, 1e-2])
    with jax.enable_x64(True):
        both = jnp.asarray(u, dtype), jnp.asarray(v, dtype)

        def total(u, v):
            return jnp.sum(power_difference(u, v, power))

        found = jax.jit(jax.grad(total, argnums=(0, 1)))(*both)
        bends = jax.jit(jax.grad(lambda u, v: jnp.sum(jax.grad(total, 1)(u, v)), argnums=1))(*both)
    eps = 8 * power * float(np.finfo(dtype).eps)
    np.testing.assert_allclose(found[0], power * u ** (power - 1), rtol=eps)
    np.testing.assert_allclose(found[1], -power * v ** (power - 1), rtol=eps)
    np.testing.assert_allclose(bends, -power * (power - 1) * v ** (power - 2), rtol=eps)
    assert found[0].dtype == dtype


def test_power_difference_is_exactly_zero_under_compilation():
    # u**2 - v**2 compiles to a fused multiply-add that leaves rounding errors here.
    u = jr.uniform(jr.key(0), (1000,))
    difference = jax.jit(lambda u: power_difference(u * jnp.exp(0 * u), u * jnp.exp(-0 * u), 2))
    np.testing.assert_array_equal(difference(u), np.zeros(1000))


def test_depth_one_is_refused():
    with pytest.raises(lr.InputError, match=r"^depth = 1: .*greater than or equal to 2"):
        lr.models.DiagonalLinear(depth=1)


X = normal(5, 7, 4)
MODELS = [
    lr.models.DiagonalLinear(depth=3),
    lr.models.MLP(widths=(5,), outputs=3),
    lr.models.MLP(widths=(5, 6), outputs=2, activation="tanh"),
    lr.models.MLP(widths=(5, 6, 4), activation="quadratic", bias=False),
    lr.models.MLP(widths=(6,), activation="leaky_relu"),
    lr.models.MLP(
        widths=(5, 6), outputs=2, bias="all", parametrisation="mean_field", output_scale=3.0
    ),
    lr.models.CommitteeMachine(width=6, output_scale=3.0),
    lr.models.CommitteeMachine(width=6, epsilon=0.5, readouts="trained", inputs="over_root_d"),
    lr.models.MatrixFactorisation(size=6),
    lr.models.Doubled(model=lr.models.MLP(widths=(5,), outputs=3)),
]


def inputs(model):
    pairs = jnp.asarray([[0, 1], [1, 0], [2, 2], [3, 4], [4, 0]])
    return pairs if isinstance(model, lr.models.MatrixFactorisation) else X


def moved(model):
    start = model.init(jr.key(1), 4)
    keys = jr.split(jr.key(2), len(jax.tree.leaves(start)))
    leaves, structure = jax.tree.flatten(start)
    with jax.enable_x64(True):
        noise = [0.5 * jr.normal(k, p.shape) for k, p in zip(keys, leaves, strict=True)]
    return jax.tree.unflatten(structure, map(np.add, leaves, noise))


@pytest.mark.slow
@pytest.mark.usefixtures("double")
@pytest.mark.parametrize("model", MODELS, ids=str)
def test_tangent_kernel_is_that_of_the_jacobian(model):
    params, x = moved(model), inputs(model)
    flat, unravel = jax.flatten_util.ravel_pytree(params)
    jacobian = jax.jacrev(lambda flat: model.apply(unravel(flat), jnp.asarray(x)).ravel())(flat)
    np.testing.assert_allclose(model.tangent_kernel(params, x), jacobian @ jacobian.T, rtol=1e-11)


@pytest.mark.parametrize("model", MODELS, ids=str)
def test_parameters_pass_through_loops_of_diffrax(model):
    # Its Runge-Kutta methods take an empty tuple among the parameters for a leaf.
    def empty(node):
        return isinstance(node, tuple) and not node

    nodes = jax.tree.leaves(model.init(jr.key(0), 4), is_leaf=empty)
    assert not any(map(empty, nodes))


@pytest.mark.parametrize("model", MODELS, ids=str)
def test_homogeneity_is_what_scaling_shows(model):
    measured = lr.models.measured_homogeneity(model, moved(model), inputs(model))
    assert measured == model.homogeneity


def one_hot_pairs(p=5):
    a, b = jnp.divmod(jnp.arange(p**2), p)
    return jnp.concatenate([jax.nn.one_hot(r, p, dtype=jnp.int8) for r in (a, b)], axis=1)


@pytest.mark.slow
@pytest.mark.usefixtures("double")
def test_one_hot_inputs_and_blocks_of_rows_change_nothing(monkeypatch):
    plain = lr.models.MLP(widths=(6, 4), outputs=3)
    hot = plain.model_copy(update={"one_hot": 2})
    x = one_hot_pairs()
    params = plain.init(jr.key(0), 10)
    params = params._replace(bias=jr.normal(jr.key(1), (6,)))
    forces = jr.normal(jr.key(2), (25, 3))

    def all_of(model):
        f, pullback = jax.vjp(lambda p: model.apply(p, x), params)
        return f, pullback(forces), model.tangent_kernel(params, x)

    expected = all_of(plain)
    # 25 rows in blocks of 4 and 3: the last is filled up.
    for entries in (_row_blocks._BLOCK_ENTRIES, 24, 18):
        monkeypatch.setattr(_row_blocks, "_BLOCK_ENTRIES", entries)
        for model in (plain, hot):
            for ours, theirs in zip(
                jax.tree.leaves(all_of(model)), jax.tree.leaves(expected), strict=True
            ):
                np.testing.assert_allclose(ours, theirs, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize(
    "x",
    [jnp.eye(9)[:, :9], 2 * one_hot_pairs(), one_hot_pairs()[:, ::2], -one_hot_pairs()],
    ids=["odd", "twos", "empty", "negative"],
)
def test_inputs_that_are_not_one_hot_are_refused(x):
    with pytest.raises(lr.InputError, match=r"^model\.one_hot = 2: .*one-hot blocks"):
        lr.models.MLP(widths=(5,), one_hot=2).check_inputs(x, "task")
    lr.models.MLP(widths=(5,), one_hot=2).check_inputs(one_hot_pairs(), "task")


def test_doubling_starts_at_zero_and_keeps_the_kernel():
    model = lr.models.MLP(widths=(5, 6), outputs=3)
    doubled = lr.models.Doubled(model=model)
    start = doubled.init(jr.key(1), 4)
    np.testing.assert_array_equal(doubled.apply(start, X), np.zeros((7, 3)))
    expected = model.tangent_kernel(model.init(jr.key(1), 4), X)
    np.testing.assert_allclose(doubled.tangent_kernel(start, X), expected, rtol=1e-12)


def test_mlp_by_hand_and_at_its_start():
    model = lr.models.MLP(widths=(5,), outputs=3)
    params = moved(model)
    hidden = np.maximum(X @ params.weights[0].T + params.bias, 0)
    np.testing.assert_allclose(model.apply(params, X), hidden @ params.weights[1].T)
    wide = lr.models.MLP(widths=(4000,), zero_last=True)
    start = wide.init(jr.key(0), 4)
    assert np.var(np.asarray(start.weights[0])) == pytest.approx(2 / 4, rel=0.05)  # He
    np.testing.assert_array_equal(wide.apply(start, X), np.zeros(7))
    # One-hot inputs in a narrow type are numbers all the same.
    np.testing.assert_allclose(
        model.apply(params, given(np.eye(4, dtype=np.int8))), model.apply(params, given(np.eye(4)))
    )


def test_a_scaled_mlp_by_hand():
    model = lr.models.MLP(
        widths=(5, 6), outputs=2, bias="all", parametrisation="mean_field", output_scale=3.0
    )
    params = moved(model)
    w, (b2, b3) = params.weights, params.later
    h = np.maximum(X @ w[0].T / np.sqrt(4) + params.bias, 0)
    h = np.maximum(h @ w[1].T / np.sqrt(5) + b2, 0)
    np.testing.assert_allclose(model.apply(params, X), 3 * (h @ w[2].T / 6 + b3), rtol=1e-12)
    # The gradient of an output in the weights of a layer is its force times the layer's input, and
    # in the biases its force. Forces pass through the layers backwards.
    first = np.maximum(X @ w[0].T / np.sqrt(4) + params.bias, 0)
    entries, force = [], 3 * np.broadcast_to(np.eye(2), (7, 2, 2))
    for layer, factor, before in ((2, 1 / 6, h), (1, 5**-0.5, first), (0, 4**-0.5, X)):
        entries += [np.einsum("iao,ik->iaok", force, factor * before).reshape(7, 2, -1), force]
        force = (force @ np.asarray(w[layer])) * factor * (before[:, None] > 0)
    jacobian = np.concatenate(entries, axis=2)
    kernel = jacobian.reshape(14, -1) @ jacobian.reshape(14, -1).T
    np.testing.assert_allclose(model.tangent_kernel(params, X), kernel, rtol=1e-11, atol=1e-12)
    r = np.random.default_rng(0).normal(size=(7, 2))
    rows = np.einsum("ia,iap->ip", r, jacobian)
    gram = lr.kernel.row_gram(model, params, X, given(r))
    np.testing.assert_allclose(gram, rows @ rows.T, rtol=1e-11, atol=1e-12)
    # The factors of a homogeneous net could as well stand before its outputs.
    mean_field = lr.models.MLP(widths=(5, 6), bias=False, parametrisation="mean_field")
    plain = lr.models.MLP(widths=(5, 6), bias=False, output_scale=1 / np.sqrt(4) / np.sqrt(5) / 6)
    params = moved(plain)
    np.testing.assert_allclose(mean_field.apply(params, X), plain.apply(params, X), rtol=1e-12)


@pytest.mark.slow
def test_an_mlp_starts_as_it_says():
    gaussian = lr.models.MLP(widths=(4000,), initialisation="normal").init(jr.key(0), 4)
    assert np.var(np.asarray(gaussian.weights[0])) == pytest.approx(1, rel=0.05)
    np.testing.assert_array_equal(gaussian.bias, np.zeros(4000))
    uniform = lr.models.MLP(widths=(4000, 9), bias="all", initialisation="uniform", outputs=5)
    params = uniform.init(jr.key(0), 4)
    assert [b.shape for b in (params.bias, *(params.later or ()))] == [(4000,), (9,), (5,)]
    sizes = ((params.weights[0], 4), (params.bias, 4), (params.weights[1], 4000))
    for values, fan_in in ((np.asarray(array), size) for array, size in sizes):
        assert np.max(np.abs(values)) == pytest.approx(fan_in**-0.5, rel=2e-3)
        assert np.var(values) == pytest.approx(1 / (3 * fan_in), rel=0.05)
    flat = np.concatenate([np.asarray(params.weights[0])[:, 0], params.bias])
    assert len(np.unique(flat)) == 8000  # no draw is used twice


TRANSFORMER = lr.models.Transformer(width=8, heads=2, mlp_width=12, output_scale=0.3)
PAIRS = jnp.concatenate(
    [jax.nn.one_hot(jnp.asarray(column), 5, dtype=jnp.int8) for column in ((0, 3, 4), (2, 1, 4))],
    axis=1,
)


def transformer_by_hand(params, a, b):
    """All three positions, by loops and with a causal mask; the last one's outputs."""
    p = jax.tree.map(np.asarray, params)
    x = p.embedding[[a, b, len(p.embedding) - 1]] + p.positions
    mixed = x.copy()
    for q, k, v, out in zip(p.queries, p.keys, p.values, p.heads_out.swapaxes(0, 1), strict=True):
        scores = (x @ q.T) @ (x @ k.T).T / np.sqrt(len(q))
        scores[np.triu_indices(3, 1)] = -np.inf
        weights = np.exp(scores - scores.max(axis=1, keepdims=True))
        mixed += (weights / weights.sum(axis=1, keepdims=True)) @ (x @ v.T) @ out.T
    hidden = np.maximum(mixed @ p.mlp_in.T + p.mlp_in_bias, 0)
    return ((mixed + hidden @ p.mlp_out.T + p.mlp_out_bias) @ p.unembedding)[-1]


@pytest.mark.slow
@pytest.mark.usefixtures("double")
def test_the_transformer_by_hand():
    start = TRANSFORMER.init(jr.key(1), 10)
    keys = jr.split(jr.key(2), len(start))
    params = type(start)(*(p + jr.normal(k, p.shape) for k, p in zip(keys, start, strict=True)))
    f = TRANSFORMER.apply(params, PAIRS)
    by_hand = [transformer_by_hand(params, a, b) for a, b in ((0, 2), (3, 1), (4, 4))]
    np.testing.assert_allclose(f, 0.3 * np.array(by_hand), rtol=1e-10)
    # Positions alone tell the two tokens apart.
    swapped = jnp.concatenate([PAIRS[:, 5:], PAIRS[:, :5]], axis=1)
    assert not np.allclose(TRANSFORMER.apply(params, swapped)[:2], f[:2])
    alike = params._replace(positions=params.positions.at[1].set(params.positions[0]))
    np.testing.assert_allclose(
        TRANSFORMER.apply(alike, swapped), TRANSFORMER.apply(alike, PAIRS), rtol=1e-12
    )
    # The slope along a direction, by central differences.
    direction = type(start)(
        *(jr.normal(jr.fold_in(k, 1), p.shape) for k, p in zip(keys, start, strict=True))
    )
    outputs = lambda h: TRANSFORMER.apply(
        jax.tree.map(lambda p, d: p + h * d, params, direction), PAIRS
    )
    slope = jax.jvp(outputs, (0.0,), (1.0,))[1]
    np.testing.assert_allclose((outputs(1e-5) - outputs(-1e-5)) / 2e-5, slope, rtol=1e-6, atol=1e-8)


@pytest.mark.slow
def test_the_transformer_starts_as_published():
    start = lr.models.Transformer(width=64, heads=4, mlp_width=256).init(jr.key(0), 2 * 113)
    assert sum(p.size for p in start) == 64 * (114 + 3 + 4 * 64 + 2 * 256 + 114) + 256 + 64
    for name, variance in (("queries", 1 / 64), ("mlp_out", 1 / 64), ("unembedding", 1 / 114)):
        assert np.var(np.asarray(getattr(start, name))) == pytest.approx(variance, rel=0.1)
    assert not np.any(start.mlp_in_bias)
    assert not np.any(start.mlp_out_bias)
    with pytest.raises(lr.InputError, match=r"heads = 3: should divide the width, 8"):
        lr.models.Transformer(width=8, heads=3)
    with pytest.raises(lr.InputError, match=r"inputs of length 7': .*2 one-hot blocks"):
        TRANSFORMER.check_inputs(jnp.zeros((3, 7)), "task")


def test_committee_machine_by_hand():
    model = lr.models.CommitteeMachine(width=6, epsilon=0.3, output_scale=2.0)
    w = moved(model)
    h = X @ w.T
    np.testing.assert_allclose(model.apply(w, X), 2 / 6 * (h + 0.15 * h**2).sum(axis=1))
    a = np.arange(6.0)
    model = lr.models.CommitteeMachine(
        width=6, epsilon=0.3, output_scale=2.0, readouts="trained", inputs="over_root_d"
    )
    params = lr.models.CommitteeParams(w, given(a))
    h = h / 2  # inputs have four entries
    np.testing.assert_allclose(model.apply(params, X), 2 / 6 * (h + 0.15 * h**2) @ a)
    np.testing.assert_array_equal(model.init(jr.key(0), 4).readouts, np.ones(6))


def test_outputs_counted_from_the_start():
    inner = lr.models.CommitteeMachine(width=6, epsilon=0.3, output_scale=3.0)
    model = lr.models.Centred(model=inner)
    start, params = model.init(jr.key(0), 4), moved(inner)
    np.testing.assert_array_equal(model.apply(start, X), np.zeros(7))
    here = start._replace(moved=params)
    gap = np.asarray(inner.apply(params, X)) - np.asarray(inner.apply(start.moved, X))
    np.testing.assert_allclose(model.apply(here, X), gap, rtol=1e-12)
    with jax.enable_x64(True):
        gradient = jax.grad(lambda p: model.apply(p, jnp.asarray(X))[0])(here)
    np.testing.assert_array_equal(gradient.origin, np.zeros((6, 4)))
    np.testing.assert_array_equal(model.trained(here), params)
    assert model.alpha_out == 3.0
    assert lr.models.DiagonalLinear().alpha_out is None


def test_wrappers_pass_on_what_the_model_inside_says():
    inner = lr.models.MLP(widths=(5,), bias=False, output_scale=3.0)
    start = inner.init(jr.key(0), 4)
    kinds: tuple[Any, ...] = (lr.models.Centred, lr.models.Doubled)
    for kind in kinds:
        model = kind(model=inner)
        assert (model.alpha_out, model.has_kinks, model.theory(True).family) == (3.0, True, "MLP")
        assert model.has_origin == (kind is lr.models.Centred)
        weights = model.layer_weights(model.init(jr.key(0), 4))
        np.testing.assert_array_equal(weights[0], start.weights[0])
    twin = lr.models.Linearised(model=inner)
    assert (twin.alpha_out, twin.has_kinks, twin.theory(True).family) == (3.0, False, "Linearised")
    # Two centred copies: training and decay leave both origins alone, and norms are without them.
    both = lr.models.Doubled(model=lr.models.Centred(model=inner))
    params = both.init(jr.key(0), 4)
    assert both.has_origin
    norm = np.sqrt(2) * float(inner.norm(start))
    np.testing.assert_allclose(both.norm(params), norm, rtol=1e-12)
    for copy in both.decayed(params):
        assert not np.any(copy.origin.weights[0])
        np.testing.assert_array_equal(copy.moved.weights[0], start.weights[0])


@pytest.mark.usefixtures("double")
def test_what_is_compiled_for_a_model_serves_others_of_its_shape():
    traces = []

    @jax.jit
    def outputs(model, params):
        traces.append(model)
        return model.apply(params, jnp.asarray(X))

    few = [lr.models.CommitteeMachine(width=6, epsilon=e) for e in (0.1, 0.2)]
    params = moved(few[0])
    for model in few:
        np.testing.assert_allclose(outputs(model, params), model.apply(params, X), rtol=1e-12)
    assert len(traces) == 1
    assert jax.tree.map(float, few[0]) == few[0]


def test_matrix_factorisation_by_hand():
    model = lr.models.MatrixFactorisation(size=6)
    params = moved(model)
    w = params.u @ params.u.T - params.v @ params.v.T
    x = inputs(model)
    np.testing.assert_allclose(model.apply(params, x), w[tuple(np.asarray(x).T)], rtol=1e-12)
    every = jnp.stack(jnp.meshgrid(jnp.arange(6), jnp.arange(6), indexing="ij"), -1).reshape(-1, 2)
    np.testing.assert_allclose(model.apply(params, every), w.ravel(), rtol=1e-12)
    start = model.init(jr.key(0), 2)
    assert np.linalg.norm(start) == pytest.approx(np.sqrt(12))
    np.testing.assert_array_equal(model.weights(start), np.zeros((6, 6)))


def test_a_model_of_no_degree_has_none():
    affine = lr.models.Functions(init_params=lambda k, d: None, function=lambda p, x: x @ p + 1.0)
    assert lr.models.measured_homogeneity(affine, jnp.ones(4), X) is None
    zero = lr.models.Functions(init_params=lambda k, d: None, function=lambda p, x: 0 * x[:, 0])
    assert lr.models.measured_homogeneity(zero, jnp.ones(4), X) is None
    root = lr.models.Functions(
        init_params=lambda k, d: None, function=lambda p, x: jnp.sqrt(x**2 @ p)
    )
    assert lr.models.measured_homogeneity(root, jnp.ones(4), X) == pytest.approx(0.5)


def test_own_models_are_named_but_not_kept_in_files(tmp_path):
    own = lr.models.Functions(init_params=test_depth_one_is_refused, function=moved, degree=2)
    experiment = lr.Experiment(task=lr.tasks.PolynomialRegression(), model=own)
    assert "tests.test_models.moved" in experiment.to_toml()
    assert experiment.content_hash != lr.Experiment(task=experiment.task).content_hash
    other = own.model_copy(update={"function": inputs})
    assert experiment.model_copy(update={"model": other}).content_hash != experiment.content_hash
    experiment.save(tmp_path / "own.toml")
    with pytest.raises(lr.InputError, match=r"model\."):
        lr.Experiment.load(tmp_path / "own.toml")


def test_the_committee_kernel_is_whole_where_its_rows_come_in_parts():
    model = lr.models.CommitteeMachine(width=3, epsilon=0.5)
    params, x = np.asarray(model.init(jr.key(1), 2)), normal(2, 600, 2)
    slopes = (1 + 0.5 * x @ params.T) / 3
    expected = (x @ x.T) * (slopes @ slopes.T)
    np.testing.assert_allclose(model.tangent_kernel(params, x), expected, atol=1e-12)

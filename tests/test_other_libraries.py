"""Modules of Flax and Haiku as models: the same net written four times, and what is refused."""

import itertools
import pickle
import subprocess
import sys
from typing import Any

import cloudpickle
import equinox as eqx
import flax.linen as nn
import haiku as hk
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import lazyrich as lr

WIDTHS = (3, 5, 2)
RNG = np.random.default_rng(0)
WEIGHTS = [np.float32(RNG.normal(size=(m, n))) for m, n in itertools.pairwise(WIDTHS)]
BIASES = [np.float32(RNG.normal(size=n)) for n in WIDTHS[1:]]
X = RNG.normal(size=(9, WIDTHS[0]))
Y = RNG.normal(size=(9, WIDTHS[-1]))


class Linen(nn.Module):
    """A net of Flax Linen, written as users do."""

    widths: tuple[int, ...] = WIDTHS[1:]

    @nn.compact
    def __call__(self, x, train: bool = True):
        for width in self.widths[:-1]:
            x = nn.Dropout(0.5, deterministic=not train)(nn.tanh(nn.Dense(width)(x)))
        return nn.Dense(self.widths[-1])(x)


class Nnx(nnx.Module):
    """A net of Flax NNX, with its layers in a list."""

    def __init__(self, rngs: nnx.Rngs):
        pairs = itertools.pairwise(WIDTHS)
        self.layers = nnx.List([nnx.Linear(m, n, rngs=rngs) for m, n in pairs])
        self.dropout = nnx.Dropout(0.5, rngs=rngs)

    def __call__(self, x):
        for layer in self.layers[:-1]:
            x = self.dropout(jnp.tanh(layer(x)))
        return self.layers[-1](x)


def haiku_net(x: Any) -> Any:
    return hk.nets.MLP(WIDTHS[1:], activation=jnp.tanh)(x)


def haiku_relu(x: Any) -> Any:
    return hk.nets.MLP(WIDTHS[1:])(x)


def plain(weights: Any, biases: Any, x: Any) -> Any:
    """The net in jax.numpy."""
    for place, (w, b) in enumerate(zip(weights, biases, strict=True)):
        x = x @ w + b[None]
        x = jnp.tanh(x) if place < len(weights) - 1 else x
    return x


def linen_variables(dtype: Any = np.float32) -> Any:
    pairs = enumerate(zip(WEIGHTS, BIASES, strict=True))
    layers = {f"Dense_{i}": {"kernel": w, "bias": b} for i, (w, b) in pairs}
    return {"params": jax.tree.map(lambda a: jnp.asarray(a, dtype), layers)}


def nnx_module(dtype: Any = np.float32) -> Any:
    module: Any = Nnx(nnx.Rngs(0))
    module.eval()
    for layer, w, b in zip(module.layers, WEIGHTS, BIASES, strict=True):
        layer.kernel.set_value(jnp.asarray(w, dtype))
        layer.bias.set_value(jnp.asarray(b, dtype))
    return module


def haiku_params(dtype: Any = np.float32) -> Any:
    pairs = enumerate(zip(WEIGHTS, BIASES, strict=True))
    layers = {f"mlp/~/linear_{i}": {"w": w, "b": b} for i, (w, b) in pairs}
    return jax.tree.map(lambda a: jnp.asarray(a, dtype), layers)


def of_linen(dtype: Any = np.float32) -> Any:
    variables = linen_variables(dtype)
    return lr.models.FromFlax(module=Linen(), variables=variables, arguments={"train": False})


def of_nnx(dtype: Any = np.float32) -> Any:
    return lr.models.FromFlaxNNX(module=nnx_module(dtype))


def of_haiku(dtype: Any = np.float32) -> Any:
    return lr.models.FromHaiku(module=hk.transform(haiku_net), params=haiku_params(dtype))


def of_equinox() -> Any:
    module = eqx.nn.MLP(3, 2, 5, 1, activation=jnp.tanh, key=jax.random.key(0))
    return lr.models.FromEquinox(
        module=eqx.tree_at(
            lambda m: [leaf for layer in m.layers for leaf in (layer.weight, layer.bias)],
            module,
            [jnp.asarray(a) for w, b in zip(WEIGHTS, BIASES, strict=True) for a in (w.T, b)],
        )
    )


MAKERS: dict[str, Any] = {"linen": of_linen, "nnx": of_nnx, "haiku": of_haiku}
KEY = jax.random.key(0)


def in_order(tree: Any, name: str) -> list[np.ndarray]:
    """Weights `(in, out)` and biases of all layers, from a pytree like the parameters."""
    if name == "linen":
        layers = [tree["Dense_0"], tree["Dense_1"]]
    elif name == "nnx":
        layers = [tree["layers"][0], tree["layers"][1]]
    else:
        layers = [tree["mlp/~/linear_0"], tree["mlp/~/linear_1"]]
    keys = ("w", "b") if name == "haiku" else ("kernel", "bias")
    return [np.asarray(layer[key]) for layer in layers for key in keys]


@pytest.mark.parametrize("name", MAKERS)
def test_outputs_gradients_and_kernels_are_those_of_the_plain_net(name):
    model = MAKERS[name]()
    params = model.init(KEY, 3)
    exact = [np.float64(a) for w, b in zip(WEIGHTS, BIASES, strict=True) for a in (w, b)]
    for ours, right in zip(in_order(params, name), exact, strict=True):
        assert ours.dtype == np.float64
        np.testing.assert_array_equal(ours, right)
    with jax.enable_x64(True):

        def loss_of(outputs):
            return jnp.mean((outputs - Y) ** 2)

        def twin(leaves):
            return plain(leaves[::2], leaves[1::2], X)

        right = twin(exact)
        slopes = jax.grad(lambda leaves: loss_of(twin(leaves)))(exact)
        found = jax.grad(lambda p: loss_of(model.apply(p, jnp.asarray(X))))(params)
        jacobian = jax.jacobian(twin)(exact)
        rows = np.concatenate([np.asarray(j).reshape(right.size, -1) for j in jacobian], axis=1)
    np.testing.assert_allclose(model.apply(params, X), right, rtol=1e-10, atol=1e-12)
    for ours, theirs in zip(in_order(found, name), slopes, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-10, atol=1e-12)
    kernel = model.tangent_kernel(params, X)
    np.testing.assert_allclose(kernel, rows @ rows.T, rtol=1e-10, atol=1e-10)


def experiment(model: Any, **changes: Any) -> lr.Experiment:
    task = lr.tasks.Arrays(x_train=X[:6], y_train=Y[:6], x_test=X[6:], y_test=Y[6:])
    fields: dict[str, Any] = {
        "task": task,
        "model": model,
        "loss": lr.losses.Squared(),
        "t1": 0.5,
        "times": lr.dynamics.Times(first=0.1, num_log=3, num_linear=2),
        "dynamics": lr.dynamics.GradientDescent(learning_rate=0.05),
        "probes": ("train_loss", "test_loss"),
    }
    return lr.Experiment(**{**fields, **changes})


@pytest.mark.slow
@pytest.mark.parametrize("dtype", [np.float32, jnp.bfloat16], ids=["float32", "bfloat16"])
@pytest.mark.parametrize("name", MAKERS)
def test_a_run_is_gradient_descent_by_hand(name, dtype):
    record = lr.simulate(experiment(MAKERS[name](dtype)), keep_params="end")
    cast = [np.asarray(jnp.asarray(a, dtype), np.float64) for a in (*WEIGHTS, *BIASES)]
    (w1, w2, b1, b2), x, y = cast, X[:6], Y[:6]
    for _ in range(10):
        h = np.tanh(x @ w1 + b1)
        r = 2 * (h @ w2 + b2 - y) / len(x)
        back = (r @ w2.T) * (1 - h**2)
        w1, b1 = w1 - 0.05 * x.T @ back, b1 - 0.05 * back.sum(0)
        w2, b2 = w2 - 0.05 * h.T @ r, b2 - 0.05 * r.sum(0)
    end = in_order(record.params(), name)
    for ours, right in zip(end, (w1, b1, w2, b2), strict=True):
        np.testing.assert_allclose(ours, right, rtol=1e-10)
    loss = np.sum((np.tanh(x @ w1 + b1) @ w2 + b2 - y) ** 2) / len(x)
    assert record["train_loss"].values[-1] == pytest.approx(loss, rel=1e-10)


@pytest.mark.slow
def test_a_flow_is_that_of_equinox():
    right = lr.simulate(experiment(of_equinox(), dynamics=lr.dynamics.Flow(rtol=1e-6)))
    for make in MAKERS.values():
        found = lr.simulate(experiment(make(), dynamics=lr.dynamics.Flow(rtol=1e-6)))
        for name in ("train_loss", "test_loss"):
            np.testing.assert_allclose(found[name], right[name], rtol=1e-5)


def test_a_module_without_weights_draws_them_from_the_seed():
    model = lr.models.FromFlax(module=Linen(), arguments={"train": False})
    other = lr.models.FromHaiku(module=hk.without_apply_rng(hk.transform(haiku_net)))
    with jax.enable_x64(True):
        right = Linen().init(KEY, jnp.zeros((1, 3)), train=False)["params"]
        drawn = hk.transform(haiku_net).init(KEY, jnp.zeros((1, 3)))
    assert jax.tree.all(jax.tree.map(np.array_equal, model.init(KEY, 3), right))
    assert jax.tree.all(jax.tree.map(np.array_equal, dict(other.init(KEY, 3)), dict(drawn)))
    assert not np.array_equal(
        model.init(jax.random.key(1), 3)["Dense_0"]["kernel"], right["Dense_0"]["kernel"]
    )


class Normalised(nn.Module):
    """A net with running averages."""

    @nn.compact
    def __call__(self, x, train: bool):
        return nn.Dense(1)(nn.BatchNorm(use_running_average=not train)(x))


def normalised_haiku(train: bool) -> Any:
    return hk.transform_with_state(
        lambda x: hk.Linear(1)(hk.BatchNorm(True, True, 0.9)(x, is_training=train))
    )


def test_running_averages_are_constants():
    mean, var = np.array([1.0, 2.0, 3.0]), np.array([4.0, 5.0, 6.0])
    right = ((X - mean) / np.sqrt(var + 1e-5)) @ np.ones((3, 1))
    net = Normalised()
    variables = net.init(KEY, jnp.zeros((1, 3)), train=False)
    variables["batch_stats"]["BatchNorm_0"] = {"mean": jnp.asarray(mean), "var": var}
    variables["params"]["Dense_0"]["kernel"] = jnp.ones((3, 1))
    model: Any = lr.models.FromFlax(module=net, variables=variables, arguments={"train": False})
    params = model.init(KEY, 3)
    np.testing.assert_allclose(model.apply(params, X), right[:, 0], rtol=1e-10)
    assert list(params) == ["BatchNorm_0", "Dense_0"]
    layers: Any = nnx.BatchNorm(3, rngs=nnx.Rngs(0)), nnx.Linear(3, 1, rngs=nnx.Rngs(0))
    module = nnx.Sequential(*layers)
    layers[0].mean.set_value(jnp.asarray(mean))
    layers[0].var.set_value(jnp.asarray(var))
    layers[1].kernel.set_value(jnp.ones((3, 1)))
    module.eval()
    other: Any = lr.models.FromFlaxNNX(module=module)
    np.testing.assert_allclose(other.apply(other.init(KEY, 3), X), right[:, 0], rtol=1e-10)


def haiku_dropout(x: Any) -> Any:
    return hk.Linear(1)(hk.dropout(hk.next_rng_key(), 0.5, x))


def training(name: str) -> Any:
    """A model whose forward pass is that of training."""
    if name == "linen dropout":
        return lr.models.FromFlax(module=Linen(), variables=linen_variables())
    if name == "linen averages":
        variables = Normalised().init(KEY, jnp.zeros((1, 3)), train=False)
        return lr.models.FromFlax(
            module=Normalised(), variables=variables, arguments={"train": True}
        )
    if name == "nnx dropout":
        module = nnx_module()
        module.train()
        return lr.models.FromFlaxNNX(module=module)
    if name == "nnx averages":
        layers = nnx.BatchNorm(3, rngs=nnx.Rngs(0)), nnx.Linear(3, 2, rngs=nnx.Rngs(0))
        return lr.models.FromFlaxNNX(module=nnx.Sequential(*layers))
    if name == "haiku dropout":
        return lr.models.FromHaiku(module=hk.transform(haiku_dropout))
    transformed = normalised_haiku(train=True)
    params, state = transformed.init(KEY, jnp.zeros((1, 3)))
    return lr.models.FromHaiku(module=transformed, params=params, state=state)


@pytest.mark.parametrize(
    "name",
    [
        "linen dropout", "linen averages", "nnx dropout", "nnx averages", "haiku dropout",
        "haiku averages",
    ],
)  # fmt: skip
def test_a_forward_pass_of_training_is_refused(name):
    model = training(name)
    params = model.init(KEY, 3)
    with pytest.raises(lr.InputError, match=r"model\.module = .*turn dropout off") as error:
        model.apply(params, X)
    assert "\n" not in str(error.value)


def test_states_and_modules_that_do_not_fit_are_one_line():
    transformed = normalised_haiku(train=False)
    params, state = normalised_haiku(train=True).init(KEY, jnp.zeros((1, 3)))
    wrong: list[tuple[Any, dict[str, Any], str]] = [
        (lr.models.FromHaiku, {"module": transformed, "params": params}, r"model\.state = None"),
        (lr.models.FromHaiku, {"module": transformed, "state": state}, r"model\.params = None"),
        (
            lr.models.FromHaiku,
            {"module": hk.transform(haiku_net), "state": state},
            "is for a function of hk.transform_with_state",
        ),
        (lr.models.FromHaiku, {"module": haiku_net}, "as hk.transform returns it"),
        (lr.models.FromFlax, {"module": Linen(), "variables": {"w": X}}, "the collection params"),
        (lr.models.FromFlaxNNX, {"module": Linen()}, "should be a module of flax.nnx"),
    ]
    for kind, fields, words in wrong:
        with pytest.raises(lr.InputError, match=words):
            kind(**fields)
    state_besides = lr.models.FromFlax(module=Normalised(), arguments={"train": False})
    with pytest.raises(lr.InputError, match=r"has the collections batch_stats beside params"):
        state_besides.init(KEY, 3)
    in_float32 = lr.models.FromFlax(module=nn.Dense(2, dtype=jnp.float32))
    with pytest.raises(lr.InputError, match=r"outputs float32.*should be float64"):
        lr.simulate(experiment(in_float32))
    for module, name in ((Linen(), "FromFlax"), (nnx_module(), "FromFlaxNNX")):
        with pytest.raises(lr.InputError, match=rf"wrapped, lazyrich\.models\.{name}\(module="):
            experiment(module)
    with pytest.raises(lr.InputError, match=r"wrapped, lazyrich\.models\.FromHaiku\(module="):
        experiment(hk.transform(haiku_net))


def test_a_worker_gets_the_same_model():
    for make in MAKERS.values():
        model = make()
        sent = pickle.loads(cloudpickle.dumps(model))
        assert sent == model
        params = sent.init(KEY, 3)
        np.testing.assert_array_equal(sent.apply(params, X), model.apply(params, X))


def test_equal_modules_are_equal_runs_and_others_are_not():
    for make in MAKERS.values():
        assert make() == make()
        assert hash(make()) == hash(make())
        assert experiment(make()).content_hash == experiment(make()).content_hash
        assert experiment(make()).content_hash != experiment(make(jnp.bfloat16)).content_hash
        assert make() != make(jnp.bfloat16)
    relu = lr.models.FromHaiku(module=hk.transform(haiku_relu))
    tanh = lr.models.FromHaiku(module=hk.transform(haiku_net))
    assert relu != tanh
    wide = lr.models.FromFlax(module=Linen(widths=(6, 2)), arguments={"train": False})
    assert wide != lr.models.FromFlax(module=Linen(), arguments={"train": False})
    assert wide != lr.models.FromFlax(module=Linen(widths=(6, 2)), arguments={"train": True})


@pytest.mark.slow
def test_hashes_are_those_of_every_process():
    code = (
        "from tests.test_other_libraries import *\n"
        "print(*(experiment(make()).content_hash for make in MAKERS.values()))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == [experiment(make()).content_hash for make in MAKERS.values()]


@pytest.mark.slow
def test_no_other_library_is_imported_unless_used():
    code = (
        "import sys, lazyrich as lr\n"
        "[getattr(lr.models, name) for name in dir(lr.models)]\n"
        "lr.Experiment(task=lr.tasks.SparseClassification())\n"
        "print({'flax', 'haiku', 'torch'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"

"""`FromTorch` against the same networks in plain JAX, against PyTorch itself, and its refusals."""

import copy
import pickle
from collections.abc import Callable
from typing import Any, NamedTuple

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from torch import nn

import lazyrich as lr

torch.set_num_threads(1)
RNG = np.random.default_rng(0)


class Transformer(nn.Module):
    """Token ids, one layer of attention and a hidden layer, each after a layer norm."""

    def __init__(self, v=5, tokens=2, d=8, heads=2):
        super().__init__()
        self.embedding = nn.Embedding(v, d)
        self.positions = nn.Parameter(torch.randn(tokens, d))
        self.first, self.second = nn.LayerNorm(d), nn.LayerNorm(d)
        self.attention = nn.MultiheadAttention(d, heads, batch_first=True)
        self.up, self.down = nn.Linear(d, 12), nn.Linear(12, d)
        self.out = nn.Linear(d, v, bias=False)

    def forward(self, x):
        h = self.embedding(x) + self.positions
        g = self.first(h)
        h = h + self.attention(g, g, g, need_weights=False)[0]
        h = h + self.down(nn.functional.gelu(self.up(self.second(h))))
        return self.out(h[:, -1])


def broadcasting(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function with NumPy's rule for axes, which the tests otherwise forbid."""

    def loose(p: Any, x: Any) -> Any:
        with jax.numpy_rank_promotion("allow"):
            return function(p, x)

    return loose


@broadcasting
def mlp_twin(p: Any, x: Any) -> Any:
    h = jnp.tanh(x @ p["0.weight"].T + p["0.bias"])
    h = jax.nn.gelu(h @ p["2.weight"].T + p["2.bias"], approximate=False)
    return (h @ p["4.weight"].T)[:, 0]


@broadcasting
def cnn_twin(p: Any, x: Any) -> Any:
    x = x.reshape(-1, 1, 6, 6)
    h = jax.lax.conv_general_dilated(x, p["0.weight"], (1, 1), "VALID")
    h = jnp.tanh(h + p["0.bias"][:, None, None])
    h = h.reshape(len(x), -1, 2, 2, 2, 2).mean((3, 5))
    return h.reshape(len(x), -1) @ p["4.weight"].T + p["4.bias"]


def normed(p: Any, name: str, h: Any) -> Any:
    h = h - h.mean(-1, keepdims=True)
    h = h / jnp.sqrt((h**2).mean(-1, keepdims=True) + 1e-5)
    return h * p[f"{name}.weight"] + p[f"{name}.bias"]


@broadcasting
def transformer_twin(p: Any, x: Any) -> Any:
    h = p["embedding.weight"][x.astype(int)] + p["positions"]
    n, t, d = h.shape
    g = normed(p, "first", h) @ p["attention.in_proj_weight"].T + p["attention.in_proj_bias"]
    q, k, v = (a.reshape(n, t, 2, d // 2) for a in jnp.split(g, 3, -1))
    weights = jax.nn.softmax(jnp.einsum("nshk,nthk->nhst", q, k) / (d // 2) ** 0.5, axis=-1)
    mixed = jnp.einsum("nhst,nthk->nshk", weights, v).reshape(n, t, d)
    h = h + mixed @ p["attention.out_proj.weight"].T + p["attention.out_proj.bias"]
    hidden = normed(p, "second", h) @ p["up.weight"].T + p["up.bias"]
    hidden = jax.nn.gelu(hidden, approximate=False)
    h = h + hidden @ p["down.weight"].T + p["down.bias"]
    return h[:, -1] @ p["out.weight"].T


class Pair(NamedTuple):
    net: Any
    model: lr.models.FromTorch
    twin: lr.models.Functions
    x: Any


def twin_of(model: lr.models.FromTorch, function: Callable[..., Any]) -> lr.models.Functions:
    params = model.init(jax.random.key(0), 0)
    return lr.models.Functions(init_params=lambda key, dim: params, function=function)


def mlp() -> Any:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 6), nn.Tanh(), nn.Linear(6, 5), nn.GELU(),
                         nn.Linear(5, 1, bias=False))  # fmt: skip


def pair(name: str) -> Pair:
    net: Any
    x: Any
    torch.manual_seed(1)
    if name == "mlp":
        net, x, function = mlp(), RNG.normal(size=(7, 3)), mlp_twin
        model = lr.models.FromTorch(net)
    elif name == "cnn":
        net = nn.Sequential(nn.Conv2d(1, 2, 3), nn.Tanh(), nn.AvgPool2d(2), nn.Flatten(),
                            nn.Linear(8, 3))  # fmt: skip
        x, function = RNG.normal(size=(5, 36)), cnn_twin
        model = lr.models.FromTorch(net, input_shape=(1, 6, 6))
    else:
        net, x, function = Transformer(), RNG.integers(0, 5, size=(6, 2)), transformer_twin
        model = lr.models.FromTorch(net)
    return Pair(net, model, twin_of(model, function), x)


NAMES = ("mlp", "cnn", "transformer")


def assert_close(found: Any, wanted: Any) -> None:
    assert jax.tree.all(jax.tree.map(lambda a, b: a.shape == b.shape, found, wanted))
    for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(wanted), strict=True):
        assert a.dtype == b.dtype == np.float64
        np.testing.assert_allclose(a, b, rtol=0, atol=1e-10 * (1 + np.abs(b).max()))


@pytest.mark.parametrize("name", NAMES)
def test_outputs_gradients_and_kernels_are_those_of_the_twin(name):
    net, model, twin, x = pair(name)
    params = model.init(jax.random.key(0), x.shape[1])
    f = model.apply(params, x)
    with torch.no_grad():
        inputs = torch.from_numpy(x).reshape(-1, 1, 6, 6) if name == "cnn" else torch.from_numpy(x)
        own = copy.deepcopy(net).double()(inputs).numpy()
    np.testing.assert_allclose(f, own.reshape(f.shape), atol=1e-13)
    assert_close(f, twin.apply(params, x))
    assert_close(model.tangent_kernel(params, x), twin.tangent_kernel(params, x))
    with jax.enable_x64(True), jax.numpy_dtype_promotion("standard"):
        gradients = [
            jax.grad(lambda p, m=m: jnp.sum(jnp.sin(m.apply(p, jnp.asarray(x)))))(params)
            for m in (model, twin)
        ]
    assert_close(*gradients)


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_derivatives_in_any_order_are_those_of_the_twin(name):
    _, model, twin, x = pair(name)
    params = model.init(jax.random.key(0), x.shape[1])
    f = model.apply(params, x)
    functions: Any = (
        lambda m: lr.kernel.class_kernel(m, params, x),
        lambda m: lr.kernel.kernel_product(m, params, jnp.ones_like(f), x),
        lambda m: m.kernels_onto(params, x[:3], x[3:]),
    )
    for function in functions:
        assert_close(function(model), function(twin))
    with jax.enable_x64(True), jax.numpy_dtype_promotion("standard"):
        x, rows = jnp.asarray(x), jnp.eye(f.size).reshape(-1, *f.shape)
        many = jax.tree.map(lambda p: jnp.stack([p, 0.5 * p, -p]), params)
        functions = (
            lambda m, p: jax.jvp(lambda p: m.apply(p, x), (p,), (p,))[1],
            # Vectorised: gradients of every output, of every sample, for many parameters.
            lambda m, p: jax.vmap(jax.vjp(lambda p: m.apply(p, x), p)[1])(rows),
            lambda m, p: jax.vmap(
                lambda one: jax.grad(lambda p: jnp.sum(m.apply(p, one[None])))(p)
            )(x),
            lambda m, p: jax.vmap(lambda p: m.apply(p, x))(many),
            lambda m, p: jax.vmap(jax.grad(lambda p: jnp.sum(jnp.sin(m.apply(p, x)))))(many),
            lambda m, p: jax.grad(
                lambda p: jnp.sum(jax.vmap(lambda one: jnp.sin(m.apply(p, one[None])))(x))
            )(p),
            lambda m, p: jax.lax.map(lambda p: m.apply(p, x), many),
            # The transpose of the derivative along a direction.
            lambda m, p: jax.linear_transpose(
                lambda v: jax.jvp(lambda p: m.apply(p, x), (p,), (v,))[1], p
            )(jnp.ones_like(f)),
        )
        for function in functions:
            assert_close(jax.jit(function, static_argnums=0)(model, params), function(twin, params))


def test_a_session_in_single_precision_gets_results_in_double_precision():
    net, model, _, x = pair("mlp")
    params = model.init(jax.random.key(0), 3)
    assert {p.dtype for p in params.values()} == {np.dtype("float64")}
    assert all(p.dtype == torch.float32 for p in net.parameters())  # the user's net is not changed
    # In a trace of the user the precision is that of the trace, as for other models.
    half = jax.tree.map(lambda p: jnp.asarray(p, jnp.float32), params)
    traced = jax.jit(model.apply)(half, jnp.asarray(x, jnp.float32))
    assert traced.dtype == np.float32
    np.testing.assert_allclose(traced, model.apply(params, x), atol=1e-6)


def experiment(model: Any, x: np.ndarray, **fields: Any) -> lr.Experiment:
    y = np.sign(x @ [1.0, -1.0, 0.5])
    task = lr.tasks.Arrays(x_train=x, y_train=y, x_test=x + 0.3, y_test=y)
    given = {"loss": lr.losses.Logistic(), "init_scale": 1.5, "weight_decay": 0.02, "t1": 20.0}
    return lr.Experiment(task=task, model=model, **{**given, **fields})


@pytest.mark.parametrize("method", ["rkc2", "rosenbrock"])
def test_a_flow_is_that_of_the_twin(method):
    _, model, twin, x = pair("mlp")
    flow = lr.dynamics.Flow(method=method, rtol=1e-5)
    runs = [lr.simulate(experiment(m, x, dynamics=flow)) for m in (model, twin)]
    assert [run.attrs["ending"] for run in runs] == ["completed"] * 2
    for name in ("train_loss", "test_loss", "param_norm"):
        times = np.linspace(0, 20, 30)
        ours, theirs = (run[name].interp(time=times) for run in runs)
        np.testing.assert_allclose(ours, theirs, rtol=2e-4)


@pytest.mark.parametrize("name", ["mlp", "transformer"])
def test_gradient_descent_is_that_of_pytorch(name):
    net, model, _, x = pair(name)
    rate, decay, steps = 0.1, 0.02, 40
    signs = np.sign(x @ [1.0, -1.0, 0.5]) if name == "mlp" else None
    y = x.sum(1) % 5 if signs is None else signs
    dynamics = lr.dynamics.GradientDescent(learning_rate=rate)
    task = lr.tasks.Arrays(x_train=x, y_train=y, x_test=x, y_test=y)
    loss = lr.losses.CrossEntropy() if signs is None else lr.losses.Logistic()
    run = lr.simulate(
        lr.Experiment(task=task, model=model, loss=loss, dynamics=dynamics, weight_decay=decay,
                      t1=rate * steps, probes=("train_loss", "test_loss")),
        keep_params="end",
    )  # fmt: skip
    kept = copy.deepcopy(net)
    kept.load_state_dict(lr.torch.state_dict(run))
    net = copy.deepcopy(net).double()
    inputs, labels = torch.from_numpy(x), torch.from_numpy(y)
    optimizer = torch.optim.SGD(net.parameters(), lr=rate, weight_decay=decay)
    losses = []
    for step in range(steps + 1):
        if step == steps:  # the parameters of the record, in the net's own precision
            for ours, theirs in zip(kept.parameters(), net.parameters(), strict=True):
                torch.testing.assert_close(ours, theirs.to(ours.dtype))
        f = net(inputs)
        if signs is None:
            value = nn.functional.cross_entropy(f, labels)
        else:
            value = nn.functional.softplus(-labels * f[:, 0]).mean()
        losses.append(float(value.detach()))
        optimizer.zero_grad()
        value.backward()
        optimizer.step()
    seen = np.rint(run.time.values / rate).astype(int)
    assert seen[-1] == steps
    np.testing.assert_allclose(run.train_loss, np.array(losses)[seen], rtol=1e-10)


@pytest.mark.slow
def test_a_sweep_is_that_of_the_twin(tmp_path):
    _, model, twin, x = pair("mlp")
    swept = [
        lr.sweep(
            experiment(
                lr.models.Centred(model=one),
                x,
                probes=("train_loss", "test_loss"),
                t1=2.0,
                weight_decay=0.0,
            ),
            {"init_scale": [1.0, 2.0]},
            tmp_path / name,
        )
        for one, name in ((model, "ours"), (twin, "theirs"))
    ]
    # The smallest loss is the last one: without decay it falls.
    ours, theirs = (runs.train_loss.min("record").values for runs in swept)
    assert np.all(np.isfinite(theirs))
    np.testing.assert_allclose(ours, theirs, rtol=1e-3)


def test_identity_is_the_content_of_the_net():
    net, x = mlp(), RNG.normal(size=(4, 3))
    first = experiment(lr.models.FromTorch(net), x)
    same = copy.deepcopy(net).eval()
    assert experiment(lr.models.FromTorch(net=same), x).content_hash == first.content_hash
    assert lr.models.FromTorch(net) == lr.models.FromTorch(same)
    assert hash(lr.models.FromTorch(net)) == hash(lr.models.FromTorch(same))
    before = first.model.init(jax.random.key(0), 3)
    with torch.no_grad():
        net[0].weight += 1e-3
    # A model is a description: it does not follow the training of the net.
    assert_close(first.model.init(jax.random.key(0), 3), before)
    others: list[Any] = [net, copy.deepcopy(same), copy.deepcopy(same), copy.deepcopy(same)]
    others[1][1] = nn.Sigmoid()
    others[2][0].bias.requires_grad_(False)
    others[3].register_forward_hook(lambda module, args, f: 2 * f)
    hashes = {experiment(lr.models.FromTorch(one), x).content_hash for one in others}
    assert len(hashes | {first.content_hash}) == 5
    options: list[dict[str, Any]] = [{"degree": 2.0}, {"undecayed": ("0.bias",)}, {"kinks": True}]
    hashes = {experiment(lr.models.FromTorch(same, **o), x).content_hash for o in options}
    assert len(hashes | {first.content_hash}) == 4


def test_a_model_can_be_sent_to_another_process():
    _, model, _, x = pair("mlp")
    params = model.init(jax.random.key(0), 3)
    wanted = model.apply(params, jnp.asarray(x))
    there = pickle.loads(pickle.dumps(model))
    assert there == model
    assert_close(there.apply(params, jnp.asarray(x)), wanted)


def test_weight_decay_leaves_out_what_is_named():
    model = lr.models.FromTorch(mlp(), undecayed=("0.bias",))
    params = model.init(jax.random.key(0), 3)
    decayed = model.decayed(params)
    assert not np.any(decayed["0.bias"])
    assert np.array_equal(decayed["0.weight"], params["0.weight"])
    with pytest.raises(lr.InputError, match=r"undecayed = 'bias': should be among 0\.bias"):
        lr.models.FromTorch(mlp(), undecayed=("bias",))


def test_kinks_are_found_among_the_layers():
    assert lr.models.FromTorch(nn.Sequential(nn.Linear(2, 2), nn.ReLU())).has_kinks
    assert not lr.models.FromTorch(mlp()).has_kinks


@pytest.mark.parametrize(
    ("net", "words"),
    [
        (lambda x: x, "should be a torch.nn.Module"),
        (nn.Sequential(nn.Linear(3, 1), nn.Dropout(0.5)), r"call net\.eval\(\) first"),
        (nn.Tanh(), "no parameters that require gradients"),
        (nn.Linear(3, 1, dtype=torch.complex64), "real parameters"),
    ],
)
def test_modules_that_cannot_be_used_are_refused(net, words):
    with pytest.raises(lr.InputError, match=words):
        lr.models.FromTorch(net)


def test_inputs_and_outputs_that_do_not_fit_are_refused():
    x: Any = RNG.normal(size=(4, 5))
    model = lr.models.FromTorch(mlp())
    params = model.init(jax.random.key(0), 5)
    with pytest.raises(lr.InputError, match=r"fails on inputs of shape \(3, 5\)"):
        model.apply(params, x)
    model = lr.models.FromTorch(nn.Conv1d(1, 1, 4), input_shape=(1, 5))
    params = model.init(jax.random.key(0), 5)
    with pytest.raises(lr.InputError, match=r"\(n,\) or \(n, c\), not \(3, 1, 2\)"):
        model.apply(params, x)
    with pytest.raises(lr.InputError, match="should have length 36"):
        pair("cnn").model.check_inputs(jnp.asarray(x), "task.x_train")


@pytest.mark.slow
def test_methods_that_need_second_derivatives_are_refused_before_computing():
    _, model, _, x = pair("mlp")
    flow = lr.dynamics.Flow(method=diffrax.Kvaerno5())
    with pytest.raises(lr.InputError, match=r"Kvaerno5.*rkc2.*do not"):
        experiment(model, x, dynamics=flow)
    centred = lr.models.Centred(model=model)
    with pytest.raises(lr.InputError, match=r"Kvaerno5.*Centred does not have"):
        experiment(centred, x, dynamics=flow)
    params = model.init(jax.random.key(0), 3)
    with jax.enable_x64(True), pytest.raises(lr.ComputationError, match="only first derivatives"):
        jax.hessian(lambda p: jnp.sum(model.apply(p, jnp.asarray(x)) ** 2))(params)
    with jax.enable_x64(True), pytest.raises(lr.ComputationError, match="for the inputs"):
        jax.grad(lambda x: jnp.sum(model.apply(params, x)))(jnp.asarray(x))


def test_the_field_is_differentiated_by_differences():
    _, model, twin, x = pair("mlp")
    params = model.init(jax.random.key(0), 3)
    with jax.enable_x64(True), jax.numpy_dtype_promotion("standard"):
        samples = lr.tasks.Samples(jnp.asarray(x), jnp.sign(jnp.asarray(x[:, 0])))
        products = []
        for one in (model, twin):
            flow = lr.dynamics.GradientFlow(
                samples.x, samples.y, jnp.asarray(0.1), one, lr.losses.Logistic()
            )
            field = eqx.filter_jit(lambda p, flow=flow: flow.vf(0.0, p, None))
            products.append(jax.jvp(field, (params,), (params,))[1])
        for a, b in zip(*map(jax.tree.leaves, products), strict=True):
            np.testing.assert_allclose(a, b, atol=1e-6 * np.abs(b).max())


def test_a_derivative_is_linear_in_its_direction():
    # The derivative of J v with respect to v, along w, is J w.
    _, model, twin, x = pair("mlp")
    params = model.init(jax.random.key(0), 3)
    with jax.enable_x64(True), jax.numpy_dtype_promotion("standard"):
        v, w = (jax.tree.map(lambda p, k=k: jnp.cos(k * p), params) for k in (1, 2))

        def pushed(model: Any, v: Any) -> Any:
            return jax.jvp(lambda p: model.apply(p, jnp.asarray(x)), (params,), (v,))[1]

        value, change = jax.jvp(lambda v: pushed(model, v), (v,), (w,))
        np.testing.assert_allclose(value, pushed(twin, v), rtol=1e-10)
        np.testing.assert_allclose(change, pushed(twin, w), rtol=1e-10)


def test_a_module_is_told_how_to_be_wrapped():
    with pytest.raises(lr.InputError, match=r"lazyrich\.models\.FromTorch\(net=\.\.\.\)"):
        experiment(mlp(), RNG.normal(size=(4, 3)))

"""Normalised networks: what is scale-invariant, and the clock of weight decay."""

import json
from typing import Any

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest
from scipy.integrate import solve_ivp

import lazyrich as lr

from .helpers import given, normal

X = normal(3, 9, 5)
PAIRS = jnp.concatenate(
    [jax.nn.one_hot(jnp.asarray(column), 5, dtype=jnp.int8) for column in ((0, 3, 4), (2, 1, 4))],
    axis=1,
)
INVARIANT: dict[str, Any] = {"normalisation": "rms", "normalised_readout": True, "outputs": 2}


def moved(model, dim):
    """Parameters without zeros, so that every block has an effect."""
    start = model.init(jr.key(1), dim)
    leaves, structure = jax.tree.flatten(start)
    keys = jr.split(jr.key(2), len(leaves))
    noise = [np.asarray(jr.normal(k, p.shape), float) for k, p in zip(keys, leaves, strict=True)]
    return jax.tree.unflatten(
        structure, [np.asarray(p, float) + d for p, d in zip(leaves, noise, strict=True)]
    )


def by_hand(params, x, kind, affine):
    """A net with two hidden layers of ReLUs, in NumPy."""
    biases = [params.bias, *(params.later or ())]
    for place, w in enumerate(params.weights[:-1]):
        z = x @ np.asarray(w).T + np.asarray(biases[place])
        z = (
            (z - z.mean(1, keepdims=True)) / z.std(1, keepdims=True)
            if kind == "layer"
            else (z / np.sqrt((z**2).mean(1, keepdims=True)))
        )
        if affine:
            z = z * np.asarray(params.gains[place])
            z = z + np.asarray(params.shifts[place]) if kind == "layer" else z
        x = np.maximum(z, 0)
    last = np.asarray(params.weights[-1])
    return x @ (last / np.linalg.norm(last)).T + np.asarray(biases[-1])


@pytest.mark.slow
@pytest.mark.parametrize("affine", [False, True])
@pytest.mark.parametrize("kind", ["layer", "rms"])
def test_the_net_by_hand(kind, affine):
    model = lr.models.MLP(
        widths=(6, 4), bias="all", affine=affine, **INVARIANT | {"normalisation": kind}
    )
    params = moved(model, 5)
    np.testing.assert_allclose(model.apply(params, X), by_hand(params, X, kind, affine), rtol=1e-12)


def changes(model, params, x, blocks):
    """The largest change of outputs when blocks, by their place, are multiplied by 3."""
    leaves, structure = jax.tree.flatten(params)
    scaled = [3 * p if place in blocks else p for place, p in enumerate(leaves)]
    f, other = (model.apply(jax.tree.unflatten(structure, all_), x) for all_ in (leaves, scaled))
    return float(np.max(np.abs(f - other)) / np.max(np.abs(f)))


def test_which_blocks_of_a_net_are_invariant():
    plain: dict[str, Any] = {"widths": (6, 4), "normalisation": "layer", "outputs": 2}
    # Blocks: two hidden layers, the last layer, the bias of the first layer, gains and shifts.
    free = lr.models.MLP(**plain)
    params = moved(free, 5)
    assert [changes(free, params, X, {k}) > 0.1 for k in range(4)] == [True, False, True, True]
    assert changes(free, params, X, {0, 3}) < 1e-12
    affine = lr.models.MLP(**plain, affine=True, bias=False)
    params = moved(affine, 5)
    found = [changes(affine, params, X, {k}) > 0.1 for k in range(8) if k != 3]
    assert found == [False, False, True, True, True, True, True]
    assert (free.homogeneity, affine.homogeneity) == (None, None)


@pytest.mark.slow
def test_what_writes_to_the_stream_of_a_transformer_is_invariant():
    model = lr.models.Transformer(width=8, heads=2, mlp_width=12, normalisation="layer")
    params = moved(model, 10)
    names = params._fields
    writes = {"embedding", "positions", "heads_out", "mlp_out", "mlp_out_bias"}
    places = {k for k, name in enumerate(names) if name in writes}
    assert changes(model, params, PAIRS, places) < 1e-12
    for k, name in enumerate(names):
        assert changes(model, params, PAIRS, {k}) > 1e-3, name
    plain = model.model_copy(update={"normalisation": "none"})
    assert changes(plain, params, PAIRS, places) > 0.1


@pytest.mark.usefixtures("double")
@pytest.mark.parametrize("scale", [1e-200, 1.0, 1e200])
def test_a_norm_at_any_scale(scale):
    z = scale * jnp.asarray([[3.0, 4.0], [0.0, 0.0]], jnp.float64)
    rows = lambda z: lr.models.normalised(z, "rms")
    expected = np.array([[0.6, 0.8], [0, 0]]) * 2**0.5
    np.testing.assert_allclose(rows(z), expected, rtol=1e-14)
    slope = jax.jacrev(rows)(z)
    assert np.all(np.isfinite(slope))
    assert not np.any(slope[1])
    along = np.einsum("ijkl,kl->ij", slope, z)
    np.testing.assert_allclose(along, 0, atol=1e-14)


@pytest.mark.parametrize(
    ("fields", "line"),
    [
        ({"affine": True}, "affine = True: needs a normalisation"),
        ({"widths": (1,), "normalisation": "layer"}, "one number minus its mean is zero"),
        ({"zero_last": True, "normalised_readout": True}, "weights of zero have no direction"),
    ],
)
def test_nets_without_a_direction_are_refused(fields: Any, line):
    with pytest.raises(lr.InputError, match=line):
        lr.models.MLP(**fields)


# One sample at e_1 with label 0: f = 3 cos(phi) for w at the angle phi, and
# tan(phi) grows as exp(2 * 9 tau). All of the run is known.
ANGLE, OUT = 0.05, 3.0
CIRCLE = lr.Experiment(
    task=lr.tasks.Arrays(
        x_train=np.array([[1.0, 0.0]]), y_train=np.zeros(1),
        x_test=np.array([[0.0, 1.0]]), y_test=np.zeros(1),
    ),
    model=lr.models.MLP(widths=(), bias=False, normalised_readout=True, output_scale=OUT),
    loss=lr.losses.Squared(),
    dynamics=lr.dynamics.Flow(method="tsit5", rtol=1e-8, densify=0.0),
    probes=("train_loss", "test_loss", "param_norm", "kernel_top_eigenvalue", "kernel_velocity",
            "parameters", "invariance", "block_invariance"),
    times=lr.dynamics.Times(first=0.01, num_log=5, num_linear=4),
    init_scale=2.0,
    t1=3.0,
)  # fmt: skip


@pytest.fixture(scope="module")
def circle():
    row = given(2 * np.array([[np.cos(ANGLE), np.sin(ANGLE)]]))
    start = lr.models.MLPParams((row,), given(np.zeros(0)))
    return lr.simulate(CIRCLE, params=start, keep_params=(1.5,))


def check_circle(record, decay):
    """The record of the run whose norm is 2 at first and decays."""
    t = record["time"].values
    r = 2 * np.exp(-decay * t)
    tau = t / 4 if decay == 0 else np.expm1(2 * decay * t) / (8 * decay)
    phi = np.arctan(np.tan(ANGLE) * np.exp(2 * OUT**2 * tau))
    expected = {
        "train_loss": (OUT * np.cos(phi)) ** 2,
        "test_loss": (OUT * np.sin(phi)) ** 2,
        "param_norm": r,
        "kernel_top_eigenvalue": (OUT * np.sin(phi) / r) ** 2,
        "parameters": r[:, None] * np.stack([np.cos(phi), np.sin(phi)], axis=1),
    }
    for name, values in expected.items():
        np.testing.assert_allclose(record[name], values, rtol=1e-5, atol=1e-6, err_msg=name)
    at = record["kept_time"].values
    np.testing.assert_allclose(
        np.linalg.norm(record["kept_parameters"], axis=1), 2 * np.exp(-decay * at), rtol=1e-7
    )


@pytest.mark.slow
@pytest.mark.parametrize("decay", [0.0, 0.2, 5.0])
def test_a_run_on_the_circle(circle, decay):
    mapped = lr.invariant_run(circle, CIRCLE, weight_decay=decay)
    check_circle(mapped, decay)
    assert "kernel_velocity" in circle
    assert "kernel_velocity" not in mapped
    assert float(circle["invariance"].max()) < 1e-14
    assert circle["block"].values.tolist() == ["weights.0", "bias"]
    assert np.all(np.isnan(circle["block_invariance"][:, 1]))  # there is no bias
    assert circle["block_invariance"].attrs["units"] == "1"
    assert f"weight_decay = {decay}" in mapped.attrs["experiment"]
    source = json.loads(mapped.attrs["mapped_from"])
    assert source["experiment_hash"] == CIRCLE.content_hash
    assert mapped.attrs["experiment_hash"] == ""


def refused(record, experiment, **changes):
    """The line that refuses to map a run of an experiment."""
    marked = record.assign_attrs(experiment_hash=experiment.content_hash, own_params="")
    with pytest.raises(lr.InputError) as caught:
        lr.invariant_run(marked, experiment, **changes)
    return str(caught.value)


@pytest.mark.slow
def test_what_is_not_invariant_is_refused(circle):
    with pytest.raises(lr.InputError, match="does not scale initial parameters of your own"):
        lr.invariant_run(circle, CIRCLE, init_scale=1.0)
    with pytest.raises(lr.InputError, match="should be the solved run of this experiment"):
        lr.invariant_run(circle, CIRCLE.with_changes({"seed": 1}))
    steps = CIRCLE.model_copy(update={"dynamics": lr.dynamics.GradientDescent(learning_rate=0.1)})
    assert "does not follow the gradient flow" in refused(circle, steps)
    free = CIRCLE.with_changes({"model.normalised_readout": False})
    assert "outputs change by 1 of their size" in refused(circle, free)
    # Its biases start at zero, which hides that they are not invariant.
    bias = CIRCLE.with_changes({"model.bias": True})
    assert "should be scale-invariant" in refused(circle, bias)
    twin = lr.models.Linearised(model=CIRCLE.model)
    assert "keeps initial parameters" in refused(circle, CIRCLE.model_copy(update={"model": twin}))
    assert "should be a number, 0 or more" in refused(circle, CIRCLE, weight_decay=-1.0)
    for key in ("weight_decay", "init_scale", "tolerance"):
        for value in (-1.0, np.nan, np.inf):
            assert refused(circle, CIRCLE, **{key: value}).startswith(f"{key} = ")
    assert "should be a positive number" in refused(circle, CIRCLE, init_scale=0.0)


@pytest.mark.slow
def test_a_run_that_ended_early_is_mapped_without_its_final_parameters(circle):
    assert "final_parameters" in lr.invariant_run(circle, CIRCLE, weight_decay=0.0)
    part = circle.isel(time=slice(0, circle.sizes["time"] // 2))
    mapped = lr.invariant_run(part, CIRCLE, weight_decay=0.0)
    assert "final_parameters" not in mapped
    assert mapped.sizes["time"] == part.sizes["time"]


def test_a_constant_row_minus_its_mean_is_zero():
    for row in (np.full(3, 0.1), np.full(7, 1e3 / 3), np.zeros(4)):
        found = lr.models.MLP(widths=(len(row),), normalisation="layer", outputs=1)
        params = found.init(jr.key(0), 1)
        flat = params._replace(weights=(given(row[:, None]), params.weights[1]))
        assert np.abs(found.apply(flat, given(np.ones((1, 1))))).max() == 0


def test_a_net_without_hidden_layers_has_nothing_to_normalise():
    with pytest.raises(lr.InputError, match=r"normalisation = 'rms': needs a hidden layer"):
        lr.models.MLP(widths=(), normalisation="rms")


def test_an_invariant_block_is_found():
    x = normal(0, 6, 3)
    cases: tuple[tuple[dict[str, Any], bool], ...] = (
        ({"normalisation": "rms"}, True),
        ({"normalisation": "rms", "affine": True}, True),
        ({}, False),
        ({"bias": "all"}, False),
    )
    for changes, expected in cases:
        fields: dict[str, Any] = {"bias": False, **changes}
        model = lr.models.MLP(widths=(5,), outputs=2, **fields)
        assert lr.models.has_invariant_block(model, moved(model, 3), x) is expected


DECAYS, SCALES, AT, LAST = (
    (0.0, 0.03, 0.1, 0.3, 1.0),
    (0.5, 1.0, 2.0),
    np.array([0.05, 0.2, 0.4]),
    3.0,
)
RNG = np.random.default_rng(0)
POINTS = RNG.normal(size=(30, 4))
CLASSES = (POINTS[:, 0] * POINTS[:, 1] > 0).astype(int)


def net(**changes: Any) -> lr.Experiment:
    fields: dict[str, Any] = {
        "task": lr.tasks.Arrays(
            x_train=POINTS[:10], y_train=CLASSES[:10], x_test=POINTS[10:], y_test=CLASSES[10:]
        ),
        "model": lr.models.MLP(
            widths=(6, 5), bias=False, activation="tanh", output_scale=3.0, **INVARIANT
        ),
        "loss": lr.losses.CrossEntropy(),
        "dynamics": lr.dynamics.Flow(method="tsit5", rtol=1e-8, densify=0.0),
        "probes": ("train_loss", "test_loss", "param_norm"),
    }
    return lr.Experiment(**fields | changes)


def directions(record):
    w = np.concatenate([np.ravel(p) for p in record.params().weights])
    return w / np.linalg.norm(w)


@pytest.mark.slow
def test_one_solve_is_the_run_at_every_decay_and_norm():
    clocks = {(d, s): lr.dynamics.InvariantClock(d, s) for d in DECAYS for s in SCALES}
    asked = np.unique([clock.intrinsic(AT) for clock in clocks.values()])
    times = lr.dynamics.Times(first=0.003, num_log=2, num_linear=0)
    once = net(t1=LAST, times=times.model_copy(update={"at": tuple(asked[asked < LAST])}))
    record = lr.simulate(once, keep_params=True)
    every = [
        net(weight_decay=d, init_scale=s, t1=float(clock.time(LAST)),
            times=times.model_copy(update={"at": tuple(AT)}))
        for (d, s), clock in clocks.items()
    ]  # fmt: skip
    found = lr.simulate_many(every, keep_params=True)
    assert record["train_loss"][0] > 3 * record["train_loss"][-1]
    for experiment, direct in zip(every, found, strict=True):
        scales = {"weight_decay": experiment.weight_decay, "init_scale": experiment.init_scale}
        mapped = lr.invariant_run(record, once, **scales)
        t = direct["time"].values
        # The norm decays exactly, whatever the loss does.
        shrunk = float(direct["param_norm"][0]) * np.exp(-experiment.weight_decay * t)
        np.testing.assert_allclose(direct["param_norm"], shrunk, rtol=1e-8)
        shared = [k for k, at in enumerate(t) if np.min(np.abs(mapped["time"] - at)) < 1e-9 * at]
        assert len(shared) >= len(AT) + 1
        same = mapped.sel(time=t[shared], method="nearest")
        for name in ("train_loss", "test_loss", "param_norm"):
            np.testing.assert_allclose(same[name], direct[name][shared], rtol=1e-6, err_msg=name)
        # The end point depends neither on decay nor on the norm.
        np.testing.assert_allclose(directions(direct), directions(record), atol=1e-6)
        np.testing.assert_allclose(
            mapped["final_parameters"], direct["final_parameters"], rtol=1e-5, atol=1e-6
        )
        assert json.loads(mapped.attrs["mapped_from"])["init_scale"] == 1.0


def test_the_clock_and_back():
    t = np.array([0.0, 1e-9, 0.3, 40.0])
    for decay, norm in ((0.0, 2.0), (1e-12, 0.5), (0.7, 3.0)):
        clock = lr.dynamics.InvariantClock(decay, norm)
        np.testing.assert_allclose(clock.time(clock.intrinsic(t)), t, rtol=1e-12)
        np.testing.assert_allclose(clock.norm_at(t), norm * np.exp(-decay * t), rtol=1e-15)
    assert lr.dynamics.InvariantClock(0.5, 2.0).intrinsic(np.log(3)) == pytest.approx(0.5)
    assert lr.dynamics.InvariantClock(1.0).intrinsic(1e4) == np.inf


@pytest.mark.slow
@pytest.mark.usefixtures("double")
def test_coupled_block_clocks_hold_where_one_clock_does_not():
    # The hidden layer is invariant, the last layer is not.
    decay, t1 = 0.3, 1.0
    model = lr.models.MLP(
        widths=(5,), bias=False, activation="tanh", outputs=2, normalisation="rms"
    )
    probes = ("train_loss", "param_norm", "block_invariance", "invariance")
    times = lr.dynamics.Times(first=0.1, num_log=3, num_linear=4)
    clock = lr.dynamics.InvariantClock(decay)
    free = net(model=model, probes=("train_loss",), t1=float(clock.intrinsic(t1)), times=times)
    decayed = net(model=model, probes=probes, t1=t1, weight_decay=decay, times=times)
    ends = lr.simulate(decayed, keep_params=(0.0,))
    assert ends["block"].values.tolist() == ["weights.0", "weights.1", "bias"]
    assert float(ends["block_invariance"][:, 0].max()) < 1e-13
    assert float(ends["block_invariance"][:, 1].min()) > 1e-3
    assert float(ends["invariance"].min()) > 1e-3

    start = ends.params(0.0)
    first, last = (jnp.asarray(w) for w in start.weights)
    r0 = float(jnp.linalg.norm(first))
    loss = lr.losses.CrossEntropy()
    x, y = jnp.asarray(POINTS[:10]), jnp.asarray(CLASSES[:10])

    def value(flat):
        u, w = flat[: first.size].reshape(first.shape), flat[first.size :].reshape(last.shape)
        params = start._replace(weights=(u, w), bias=jnp.zeros(0))
        return loss.mean(model.apply(params, x), y)

    slope = jax.jit(jax.grad(value))

    def velocity(t, flat):
        g, r = np.array(slope(flat)), r0 * np.exp(-decay * t)
        g[: first.size] /= r**2
        g[first.size :] += decay * flat[first.size :]
        return -g

    state = np.concatenate([np.ravel(first) / r0, np.ravel(last)])
    blocks = solve_ivp(velocity, (0, t1), state, rtol=1e-9, atol=1e-11)
    final = blocks.y[:, -1]
    here, there = ends.params().weights
    np.testing.assert_allclose(np.linalg.norm(here), r0 * np.exp(-decay * t1), rtol=1e-8)
    np.testing.assert_allclose(np.ravel(there), final[first.size :], rtol=1e-5, atol=1e-6)
    loss_error = abs(float(value(final)) - float(ends["train_loss"][-1]))
    # One clock for all parameters, as if the last layer were invariant too.
    once = lr.simulate(free)
    ignored = lr.invariant_run(once, free, weight_decay=decay, tolerance=10.0)
    assert float(ignored["time"][-1]) == pytest.approx(t1)
    naive_error = abs(float(ignored["train_loss"][-1]) - float(ends["train_loss"][-1]))
    assert loss_error < 1e-6
    assert naive_error > 0.01

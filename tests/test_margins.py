from decimal import Decimal, localcontext
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

import lazyrich as lr
from lazyrich.probes import BUILT_IN, ON_REQUEST, RunContext, RunState, margins
from tests.helpers import given

P = 3


class Entry(lr.probes.AbstractProbe):
    """One parameter, so that a record holds them all."""

    leaf: int = eqx.field(static=True)
    place: tuple[int, ...] = eqx.field(static=True)

    @property
    def name(self):
        return f"theta_{self.leaf}_{'_'.join(map(str, self.place))}"

    @property
    def long_name(self):
        return self.name

    def __call__(self, state, context):
        del context
        return jax.tree.leaves(state.params)[self.leaf][self.place]


MODEL = lr.models.MLP(widths=(6,), outputs=P)
SHAPES = ((6, 2 * P), (P, 6), (6,))
ENTRIES = [Entry(leaf, place) for leaf, shape in enumerate(SHAPES) for place in np.ndindex(shape)]


def parameters(record, time):
    """The leaves at a record: weights of both layers and the bias."""
    values = iter([float(record[entry.name][time]) for entry in ENTRIES])
    return [np.reshape([next(values) for _ in np.ndindex(shape)], shape) for shape in SHAPES]


@pytest.fixture(scope="module")
def record():
    """Without decay, on the logarithmic clock, far past where the loss is zero in float64."""
    experiment = lr.Experiment(
        task=lr.tasks.ModularArithmetic(p=P, train_fraction=0.7),
        model=MODEL,
        loss=lr.losses.CrossEntropy(),
        init_scale=1.0,
        t1=600.0,  # log10(1 + t): log t = 1381
        times=lr.dynamics.Times(num_log=6, num_linear=14, first=0.5),
        dynamics=lr.dynamics.Flow(clock="log", densify=0.0, rtol=1e-2),
        probes=(
            "train_log_loss", "train_loss", "test_loss", "train_accuracy", "test_accuracy",
            "margin", "normalised_margin", "softmax_saturation", "fourier_ipr_first", *ENTRIES,
        ),
    )  # fmt: skip
    return experiment, lr.simulate(experiment)


def exact_log_loss(weights, x, y):
    """By 60-digit arithmetic from the parameters as they stand."""
    first, bias, last = ([[Decimal(v) for v in row] for row in np.atleast_2d(w).tolist()]
                         for w in weights)  # fmt: skip
    total = Decimal(0)
    for row, label in zip(x.tolist(), y.tolist(), strict=True):
        hidden = [max(sum(w * int(v) for w, v in zip(ws, row, strict=True)) + b, Decimal(0))
                  for ws, b in zip(first, bias[0], strict=True)]  # fmt: skip
        f = [sum(w * h for w, h in zip(ws, hidden, strict=True)) for ws in last]
        odds = sum((f[j] - f[label]).exp() for j in range(P) if j != label)
        # ln(1 + q) loses q's digits once q is below the precision; its series does not.
        total += odds - odds * odds / 2 if odds < Decimal("1e-30") else (1 + odds).ln()
    return float((total / len(y)).ln())


@pytest.mark.slow
def test_log_loss_keeps_its_digits_where_the_loss_is_zero(record):
    experiment, found = record
    assert found.attrs["ending"] == "completed"
    log_t = found["time"].values * np.log(10)
    assert log_t[1] < 1.5
    assert log_t[-1] > 1000
    train = experiment.task.sample(jr.split(jr.key(experiment.seed))[0]).train
    for i in range(len(log_t)):
        first, last, bias = parameters(found, i)
        with localcontext() as context:
            context.prec, context.Emin = 60, -(10**9)
            exact = exact_log_loss((first, bias, last), np.asarray(train.x), np.asarray(train.y))
        # To 12 digits of the logarithm: a loss 1e-600 is known to nine of its own.
        assert float(found["train_log_loss"][i]) == pytest.approx(exact, rel=1e-12, abs=1e-12)
    assert float(found["train_loss"][-1]) == 0.0
    # Late, log t rises as minus the log of the loss does, but for a constant and log log t.
    last = found["train_log_loss"].values[-4:] + log_t[-4:]
    assert np.ptp(last) < 5
    assert -20 < last[0] < 20


@pytest.mark.slow
def test_a_record_says_where_others_would_have_stopped(record):
    _, found = record
    saturation = found["softmax_saturation"].values
    assert saturation[0] == 0.0
    assert saturation[-1] == 1.0
    assert np.all((found["margin"].values > 36.8) <= (saturation == 1.0))
    assert np.all((found["margin"].values < 36.0) <= (saturation < 1.0))
    summary = lr.summarise(found)
    assert summary["late"]["softmax_saturation"] == 1.0
    # The normalised margin rises in the end, as it must without decay.
    normalised = found["normalised_margin"].values
    assert normalised[-1] > normalised[len(normalised) // 2] > 0
    norm = np.sqrt(sum(np.sum(leaf**2) for leaf in parameters(found, -1)))
    assert normalised[-1] == pytest.approx(float(found["margin"][-1]) / norm**2)
    assert 1 / P <= float(found["fourier_ipr_first"][0]) <= 1.0


NOTHING = jnp.zeros(1)


def seen(f, y, params: Any = None, model: Any = MODEL):
    state = RunState(jnp.zeros(()), params, None, f, f)
    context = RunContext(
        y_train=y, y_test=NOTHING, params=params, init_scale=1.0, weight_decay=0.0, kernel=None,
        rich=None, model=model, loss=lr.losses.CrossEntropy(), labels="classes",
    )  # fmt: skip
    return state, context


def test_margins_by_hand():
    f = jnp.asarray([[1.0, 4.0, 2.5], [0.0, -1.0, 7.0], [3.0, 3.0, 3.0]])
    y = jnp.asarray([1, 0, 2])
    np.testing.assert_array_equal(margins(f, y), [1.5, -7.0, 0.0])
    np.testing.assert_array_equal(margins(f[:, 0], jnp.asarray([1.0, -1.0, -1.0])), [1, 0, -3])
    assert float(BUILT_IN["margin"](*seen(f, y))) == -7.0


@pytest.mark.slow
def test_saturation_begins_where_a_naive_pull_is_zero():
    # 1 + e^{-m} is 1 in float64 from m = 53 log 2 = 36.74 on.
    with jax.enable_x64(True):
        f = jnp.asarray([[36.0, 0.0], [36.6, 0.0], [36.8, 0.0], [0.0, 36.8]])
        y = jnp.zeros(4, jnp.int32)
    probe = BUILT_IN["softmax_saturation"]
    assert float(probe(*seen(f, y))) == 0.25

    def naive(f):
        return -jnp.log(jax.nn.softmax(f)[0])

    with jax.enable_x64(True):
        pulls = np.asarray(jax.vmap(jax.grad(naive))(f))[:, 0]
    np.testing.assert_array_equal(pulls == 0.0, [False, False, True, False])
    assert np.all(np.asarray(lr.losses.CrossEntropy().dual(f, y))[:, 0] > 0)
    assert probe.applies(seen(f, y)[1])


@pytest.mark.slow
def test_participation_of_known_neurons():
    p, residues = 23, np.arange(23)
    tone = lambda k, phase: np.cos(2 * np.pi * k * residues / p + phase)
    spectrum = lr.probes.residue_spectrum
    pure = np.stack([np.r_[tone(3, 0.4), tone(3, 1.0)], 1e-3 * np.r_[tone(5, 0.0), tone(5, 2.0)]])
    ipr = lambda w, p=p: float(lr.probes.participation(spectrum(w, p)))
    assert ipr(pure) == pytest.approx(1.0)
    assert ipr(pure + 7.0) == pytest.approx(1.0)  # a mean is no frequency
    assert ipr(1e-120 * pure) == pytest.approx(1.0)
    assert ipr(tone(2, 0.1)[None] + tone(9, 0.3)[None]) == pytest.approx(0.5)
    # A neuron that decay has emptied does not count, nor does one without power.
    mixed = np.stack([pure[0], 1e-9 * np.random.default_rng(0).normal(size=2 * p), 0 * pure[0]])
    assert ipr(mixed) == pytest.approx(1.0)
    assert np.isnan(ipr(np.ones((2, 2 * p))))
    # Power is that of the weights without their mean; for an even p the middle counts once.
    for size in (23, 8):
        w = np.random.default_rng(1).normal(size=(1, size))
        power = np.asarray(spectrum(given(w), size)).sum()
        assert power == pytest.approx(((w - w.mean()) ** 2).sum())
    # White noise: shares are Dirichlet with parameters b, the number of blocks.
    for blocks in (1, 2):
        noise = np.random.default_rng(2).normal(size=(20_000, blocks * p))
        expected = (blocks + 1) / (blocks * (p - 1) / 2 + 1)
        assert ipr(noise) == pytest.approx(expected, rel=0.01)


def test_fourier_probes_are_about_residues():
    params = MODEL.init(jr.key(0), 2 * P)
    for name in ("fourier_ipr_first", "fourier_ipr_last"):
        probe = ON_REQUEST[name]
        assert probe.applies(seen(NOTHING, NOTHING, params)[1])
        doubled = lr.models.Doubled(model=MODEL)
        twice = lr.models.DoubledParams(params, params)
        state, context = seen(NOTHING, NOTHING, twice, doubled)
        assert probe.applies(context)
        assert float(probe(state, context)) == float(probe(*seen(NOTHING, NOTHING, params)))
        narrow = MODEL.init(jr.key(0), 5)
        assert not probe.applies(seen(NOTHING, NOTHING, narrow)[1])
        other = lr.models.DiagonalLinear()  # which has no layers
        assert not probe.applies(seen(NOTHING, NOTHING, jnp.ones(3), other)[1])

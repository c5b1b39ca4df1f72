"""Weight decay that leaves out biases and gains: the flow, its limit, its probes, its refusals."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.integrate import solve_ivp

import lazyrich as lr
from lazyrich.forecasts.calibration import family_of
from lazyrich.forecasts.caveats import caveats_of_model
from lazyrich.models.wrappers.partly_decayed import PartlyDecayed, partly_decayed
from tests.helpers import in_double

# Types name arrays of JAX, and those of NumPy are taken.
MLPParams: Any = lr.models.MLPParams
RNG = np.random.default_rng(1)
X, Y = RNG.normal(size=(8, 3)), RNG.normal(size=8)
H, DECAY = 5, 0.2
START = MLPParams(
    weights=(RNG.normal(size=(H, 3)), RNG.normal(size=(1, H))),
    bias=RNG.normal(size=H),
    later=(RNG.normal(size=1),),
)
TASK = lr.tasks.Arrays(x_train=X, y_train=Y, x_test=X, y_test=Y)
MLP = lr.models.MLP
NET = MLP(widths=(H,), activation="tanh", bias="all")


def experiment(**changes: Any) -> lr.Experiment:
    fields: dict[str, Any] = {
        "task": TASK,
        "model": NET,
        "loss": lr.losses.Squared(),
        "weight_decay": DECAY,
        "decayed": "matrices",
        "t1": 40.0,
        "dynamics": lr.dynamics.Flow(rtol=1e-5),
        "probes": ("train_loss", "test_loss", "param_norm", "drift"),
    }
    return lr.Experiment(**fields | changes)


def flat(params: Any) -> np.ndarray:
    first, last = params.weights
    return np.concatenate([np.ravel(a) for a in (first, params.bias, last, params.later[0])])


BIASES = np.r_[np.zeros(3 * H), np.ones(H), np.zeros(H), 1.0].astype(bool)


def field(time: float, theta: np.ndarray) -> np.ndarray:
    """The flow with decay of the two matrices only, in NumPy."""
    del time
    w, b, a, c = np.split(theta, [3 * H, 4 * H, 5 * H])
    hidden = np.tanh(X @ w.reshape(H, 3).T + b)
    force = 2 * (hidden @ a + c - Y) / len(Y)
    back = np.outer(force, a) * (1 - hidden**2)
    gradient = np.concatenate([(back.T @ X).ravel(), back.sum(0), hidden.T @ force, [force.sum()]])
    return -gradient - DECAY * np.where(BIASES, 0.0, theta)


@pytest.fixture(scope="module")
def exact() -> Any:
    times = np.array([0.5, 3.0, 40.0])
    solved = solve_ivp(field, (0, 40), flat(START), "LSODA", times, rtol=1e-10, atol=1e-12)
    return times, solved.y.T


@pytest.mark.slow
def test_the_flow_is_that_of_scipy_and_drift_knows_what_decay_leaves(exact):
    times, expected = exact
    run = experiment(times=lr.dynamics.Times(at=(0.5, 3.0, 40.0)))
    record = lr.simulate(run, params=START, keep_params=times)
    assert record.attrs["homogeneity"] == 0
    for time, theta in zip(times, expected, strict=True):
        own = flat(record.params(time))
        assert np.linalg.norm(own - theta) < 2e-4 * np.linalg.norm(theta)
        left = np.where(BIASES, 1.0, np.exp(-DECAY * time)) * flat(START)
        gaps = np.where(BIASES, 1.0, np.exp(DECAY * time)) * (theta - left)
        drift = float(record["drift"].sel(time=time))
        assert drift == pytest.approx(np.linalg.norm(gaps), rel=1e-3)


@pytest.mark.slow
def test_in_the_limit_of_small_decay_a_bias_takes_over():
    # f = w + b with one sample: on w + b = 1, decay of w only gives w = w(0) e^(-s/2).
    one = np.ones((1, 1))
    run = experiment(
        task=lr.tasks.Arrays(x_train=one, y_train=one[0], x_test=one, y_test=one[0]),
        model=lr.models.MLP(widths=()),
        weight_decay=1e-6,
        t1=2e6,
        dynamics=lr.dynamics.SmallDecayLimit(rtol=1e-6),
        probes=("train_loss", "test_loss"),
    )
    record = lr.simulate(run, params=MLPParams((one,), np.zeros(1)), keep_params=(1e6, 2e6))
    for s in (1.0, 2.0):
        params = record.params(s * 1e6)
        assert float(params.weights[0][0, 0]) == pytest.approx(np.exp(-s / 2), rel=1e-4)
        assert float(params.bias[0]) == pytest.approx(1 - np.exp(-s / 2), rel=1e-4)


Function = type(lambda: None)
# Closures are models of their own.
OF_NO_NET_WITH_BIASES = {
    "closed", "condensed", "statistics", "closes", "is_closed", "diagonal_depth",
}  # fmt: skip


def test_every_question_to_the_model_goes_to_the_inner_model():
    """A new method of models that only the base class would answer is found here."""
    asked = {
        name
        for name, member in vars(lr.models.AbstractModel).items()
        if not name.startswith(("_", "model_"))
        and (callable(member) or isinstance(member, property))
    }
    answered = {*vars(PartlyDecayed), *vars(lr.models.AbstractWrapper)}
    assert len(asked) > 25
    assert asked - answered == OF_NO_NET_WITH_BIASES


@in_double
def test_the_net_of_the_first_output_decays_likewise():
    model = MLP(widths=(4,), outputs=2)
    params = model.init(jax.random.key(0), 3)
    own = partly_decayed(model, params)
    ones = jax.tree.map(jnp.ones_like, params)
    assert [bool(jnp.any(p)) for p in jax.tree.leaves(own.decayed(ones))] == [True, True, False]
    assert own.homogeneity is None
    one = own.first_output(params)
    assert one is not None
    assert not one.model.decays_all


LEFT_OUT: list[tuple[Any, set[str]]] = [
    (MLP(widths=(4,), bias="all"), {".bias", ".later[0]"}),
    (
        MLP(widths=(4,), bias=False, normalisation="layer", affine=True),
        {".gains[0]", ".shifts[0]", ".bias"},
    ),
    (lr.models.Doubled(model=MLP(widths=(4,))), {".plus.bias", ".minus.bias"}),
    (lr.models.Centred(model=MLP(widths=(4,))), {".moved.bias", ".origin.bias"}),
    (
        lr.models.Transformer(width=4, heads=2, mlp_width=3, num_tokens=3),
        {".mlp_in_bias", ".mlp_out_bias"},
    ),
    (lr.models.CommitteeMachine(width=4, readouts="trained"), set()),
    (lr.models.DiagonalLinear(), set()),
    (lr.models.MatrixFactorisation(size=3), set()),
]


@pytest.mark.parametrize(("model", "expected"), LEFT_OUT, ids=lambda m: type(m).__name__)
def test_biases_gains_and_shifts_are_left_out(model, expected):
    params = model.init(jax.random.key(0), 3)
    own = partly_decayed(model, params)
    marks = jax.tree_util.tree_leaves_with_path(model.is_matrix(params))
    assert {jax.tree_util.keystr(path) for path, is_one in marks if not is_one} == expected
    assert own.decays_all == (not expected)
    assert (own is model) == (not expected)


def test_what_takes_one_decay_for_all_says_so():
    with pytest.raises(lr.InputError, match=r"^decayed = .matrices.: leaves out every parameter"):
        lr.simulate(
            experiment(
                model=lr.models.Functions(
                    init_params=lambda key, dim: jnp.ones(dim), function=lambda p, x: x @ p
                )
            )
        )
    with pytest.raises(lr.InputError, match=r"^experiments = .*share their decayed"):
        lr.simulate_many([experiment(), experiment(decayed="all")])
    with pytest.raises(lr.InputError, match=r"^decayed = .biases.: "):
        experiment(decayed="biases")


@pytest.mark.slow
def test_forecasts_and_maps_of_other_decays_refuse_runs_whose_biases_do_not_decay():
    with pytest.raises(lr.InputError, match=r"^decayed = .*linear in its parameters needs decay"):
        lr.forecast(experiment(model=MLP(widths=())))
    unit = MLP(widths=(4,), normalisation="layer", normalised_readout=True)
    run = experiment(model=unit)
    record = lr.record([0.0, 1.0], {"train_loss": [1.0, 0.5], "test_loss": [1, 1]}, experiment=run)
    with pytest.raises(lr.InputError, match=r"parameters without weight decay"):
        lr.invariant_run(record, run, weight_decay=0.1)


def test_no_calibrated_constant_is_used():
    run = experiment(model=lr.models.Transformer())
    assert family_of(run, "grok").name == "unknown"
    assert "biases and gains do not decay" in caveats_of_model(run, 10.0)[-1].text


def test_it_is_named_in_files_and_has_a_hash_of_its_own(tmp_path):
    both = experiment(), experiment(decayed="all")
    assert both[0].content_hash != both[1].content_hash
    both[0].save(tmp_path / "one.toml")
    assert lr.Experiment.load(tmp_path / "one.toml") == both[0]
    for changes in ({"weight_decay": 0.0}, {"model": MLP(widths=(4,), bias=False)}):
        with pytest.raises(lr.InputError, match="changes nothing"):
            lr.sweep(
                experiment(**changes), {"decayed": ["all", "matrices"]}, tmp_path / "s", workers=0
            )

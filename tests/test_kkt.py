import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.optimize import minimize, nnls

import lazyrich as lr
from lazyrich.predictors.constraints import own_point
from lazyrich.predictors.multipliers import explain
from lazyrich.predictors.nonnegative import descend_nonnegative
from tests.helpers import given, small_experiment

RESIDUALS = ("rich_stationarity", "rich_complementarity", "kernel_stationarity")
SCORES = ("train_loss", "test_loss", "train_accuracy", "test_accuracy")

# A linear function of three classes: f = W x, of degree one, whose max margin is a convex problem.
CLASSIFIER = lr.models.MLP(widths=(), outputs=3, bias=False)


@pytest.mark.usefixtures("double")
def test_descent_finds_what_active_sets_find():
    rng = np.random.default_rng(0)
    descend = jax.jit(descend_nonnegative)
    for rows in (40, 12):  # of full rank, and not
        a, target = rng.normal(size=(rows, 20)), rng.normal(size=rows)
        exact, left = nnls(a, target)
        found = descend(jnp.asarray(a.T @ a), jnp.asarray(a.T @ target))
        assert np.all(np.asarray(found) >= 0)
        assert np.linalg.norm(a @ found - target) == pytest.approx(left, rel=1e-6)
        if rows == 40:
            np.testing.assert_allclose(found, exact, atol=1e-4)
    unknown = descend(jnp.eye(20), jnp.full(20, jnp.nan))
    assert np.all(np.isnan(unknown))


def three_classes():
    rng = np.random.default_rng(1)
    x = rng.normal(size=(9, 5))
    y = np.argmax(x @ rng.normal(size=(5, 3)), axis=1)

    rows = []
    for i, j in [(i, j) for i in range(9) for j in range(3) if j != y[i]]:
        row = np.zeros((3, 5))
        row[y[i]], row[j] = x[i], -x[i]
        rows.append(row.ravel())
    # The shortest w with every margin at least 1, as least distance programming (Lawson & Hanson).
    system = np.vstack([np.stack(rows).T, np.ones(len(rows))])
    target = np.eye(16)[15]
    left = system @ nnls(system, target)[0] - target
    return x, y, (-left[:15] / left[15]).reshape(3, 5)


def as_params(weights):
    return lr.models.MLPParams((weights,), given(np.zeros(0)))


@pytest.mark.slow
def test_residual_vanishes_at_the_multiclass_max_margin():
    x, y, weights = three_classes()
    at = lr.predictors.margin_kkt(CLASSIFIER, as_params(7.0 * weights), x, y)
    assert at.stationarity < 1e-5
    assert at.complementarity < 1e-5
    # The dual problem's multipliers: their sum is the squared norm.
    assert at.multipliers.sum() == pytest.approx(np.sum(weights**2), rel=1e-4)
    margins = x @ weights.T
    tight = {(i, j) for i in range(9) for j in range(3)
             if j != y[i] and margins[i, y[i]] - margins[i, j] < 1 + 1e-6}  # fmt: skip
    pairs = list(zip(at.samples.tolist(), at.classes.tolist(), strict=True))
    used = {pair for pair, mu in zip(pairs, at.multipliers, strict=True) if mu > 1e-4}
    assert used <= tight
    assert at.num_active == len(pairs) >= len(tight)
    # Without the Gram matrix it is the same problem.
    free = lr.predictors.margin_kkt(CLASSIFIER, as_params(weights), x, y, max_active=1)
    assert free.num_active == at.num_active
    assert free.stationarity < 1e-4
    off = weights + 0.1 * np.random.default_rng(2).normal(size=(3, 5))
    both = [lr.predictors.margin_kkt(CLASSIFIER, as_params(off), x, y, max_active=m)
            for m in (1, 99)]  # fmt: skip
    assert both[0].stationarity == pytest.approx(both[1].stationarity, rel=1e-3)
    assert both[0].complementarity == pytest.approx(both[1].complementarity, rel=0.05)
    assert both[1].stationarity > 0.05
    wrong = lr.predictors.margin_kkt(CLASSIFIER, as_params(-weights), x, y)
    assert np.isnan(wrong.stationarity)
    with pytest.raises(lr.InputError, match=r"^model = 'CommitteeMachine': should be homogeneous"):
        lr.predictors.margin_kkt(lr.models.CommitteeMachine(), jnp.ones((2, 5)), x, y)


@pytest.mark.slow
@pytest.mark.usefixtures("double")
def test_training_multipliers_explain_a_stationary_point_of_the_decayed_loss():
    # There θ = (1/λn) Jᵀs with s the loss's dual.
    x, y, weights = (jnp.asarray(a) for a in three_classes())
    loss, decay = lr.losses.CrossEntropy(), 1e-4

    def objective(w):
        return loss.mean(x @ w.reshape(3, 5).T, y) + 0.5 * decay * jnp.sum(w**2)

    found = minimize(jax.value_and_grad(objective), 5 * np.asarray(weights).ravel(), jac=True,
                     method="BFGS", options={"gtol": 1e-10})  # fmt: skip
    point = own_point(CLASSIFIER, as_params(found.x.reshape(3, 5)), x)
    at = explain(CLASSIFIER, point, x, y, np.inf, 0)
    # Nearly: the best multiple of them gives way to complementarity, by a square of small numbers.
    assert float(at.stationarity) < 1e-3
    # Finite decay spreads the multipliers: complementarity is what is left.
    assert 1e-3 < float(at.complementarity) < 0.2


def test_min_norm_residual_of_a_linear_model():
    rng = np.random.default_rng(3)
    x, y = rng.normal(size=(4, 7)), rng.normal(size=4)
    model = lr.models.MLP(widths=(), bias=False)
    shortest = np.linalg.pinv(x) @ y
    beside = np.linalg.svd(x)[2][-1]  # what x does not see
    for aside in (0.0, 0.3):
        w = shortest + aside * beside
        found = lr.predictors.min_norm_kkt(model, as_params(w[None]), x, y)
        assert found.feasibility < 1e-12
        assert found.stationarity == pytest.approx(aside / np.linalg.norm(w), abs=1e-9)


def fall(record, name):
    """The residual's median over the plateau and its end."""
    plateau = lr.transition(record).plateau
    return float(record[name].sel(time=slice(*plateau)).median()), float(record[name][-1])


@pytest.mark.slow
def test_each_phase_has_its_own_certificate():
    experiment = small_experiment(probes=(*SCORES, *RESIDUALS))
    record = lr.simulate(experiment)
    early, late = fall(record, "rich_stationarity")
    assert early > 0.9
    assert late < early / 100
    assert float(record["rich_complementarity"][-1]) < 0.1
    # It is that of the record's end, where every sample may carry a multiplier.
    assert late == pytest.approx(float(record["kkt_stationarity"]), abs=1e-3)
    early, late = fall(record, "kernel_stationarity")
    assert early < 0.05
    assert late > 0.5


@pytest.mark.slow
def test_completion_ends_at_its_own_certificate():
    experiment = lr.studies.load("lyu2024/3").with_changes({
        "task.d": 8, "task.num_observed": 30, "model.size": 8, "weight_decay": 1e-3,
        "t1": 3e4, "times.num_log": 20, "times.num_linear": 4,
        "probes": ["train_loss", "test_loss", "rich_stationarity", "kernel_stationarity"],
    })  # fmt: skip
    record = lr.simulate(experiment)
    early = int(np.searchsorted(record["time"].values, 3.0))
    assert float(record["rich_stationarity"][early]) > 0.9
    assert float(record["rich_stationarity"][-1]) < 1e-2 * float(record["rich_stationarity"][early])
    assert float(record["kernel_stationarity"][early]) < 0.05
    assert float(record["kernel_stationarity"][-1]) > 0.5


@pytest.mark.slow
def test_modular_addition_ends_at_a_certificate():
    experiment = lr.Experiment(
        task=lr.tasks.ModularArithmetic(p=13, train_fraction=0.8),
        model=lr.models.MLP(
            widths=(64,), outputs=13, activation="quadratic", bias=False, zero_last=True
        ),
        loss=lr.losses.CrossEntropy(),
        init_scale=10.0,
        weight_decay=1e-4,
        t1=3e5,
        dynamics=lr.dynamics.Flow(densify=0.0),
        times=lr.dynamics.Times(num_log=5, num_linear=0, first=30.0),
        probes=(*SCORES, "rich_stationarity", "fourier_ipr_first"),
    )
    record = lr.simulate(experiment)
    plateau = record.sel(time=300.0, method="nearest")
    assert float(plateau["train_accuracy"]) == 1.0
    assert float(plateau["rich_stationarity"]) > 0.9
    assert float(record["rich_stationarity"][-1]) < float(plateau["rich_stationarity"]) / 100
    # Neurons have begun as noise and settle on a frequency each.
    assert float(record["fourier_ipr_first"][0]) == pytest.approx(3 / 13, rel=0.1)
    assert float(record["fourier_ipr_first"][-1]) > 0.85

"""Output scale, centring and the divided loss, of an experiment with any model."""

import jax.random as jr
import numpy as np
import pytest
import xarray as xr

import lazyrich as lr
from lazyrich._run.prepared import prepare


def model(output_scale=1.0, epsilon=0.5):
    machine = lr.models.CommitteeMachine(width=4, epsilon=epsilon, output_scale=output_scale)
    return lr.models.Centred(model=machine)


def experiment(**changes):
    fields = {
        "task": lr.tasks.PolynomialRegression(n=8, d=3, num_test=20),
        "model": model(),
        "loss": lr.losses.Squared(),
        "dynamics": lr.dynamics.Flow(densify=0.0),
        "times": lr.dynamics.Times(num_log=10, num_linear=0),
        "probes": ("train_loss", "test_loss", "param_norm"),
        "t1": 50.0,
    }
    return lr.Experiment(**{**fields, **changes})


def descent(rate, steps, **changes):
    dynamics = lr.dynamics.GradientDescent(learning_rate=rate)
    times = lr.dynamics.Times(first=rate, num_log=2, num_linear=10)
    return lr.simulate(experiment(dynamics=dynamics, times=times, t1=steps * rate, **changes))


@pytest.fixture(scope="module")
def lazy():
    """A run at four times the output's scale, its loss divided."""
    return lr.simulate(experiment(model=model(4.0), divide_loss=True))


@pytest.mark.slow
def test_dividing_the_loss_is_dividing_the_learning_rate():
    plain = descent(0.5 / 16, 20, model=model(4.0))
    divided = descent(0.5, 20, model=model(4.0), divide_loss=True)
    np.testing.assert_allclose(divided["time"], 16 * plain["time"])
    for name in plain.data_vars:
        np.testing.assert_allclose(divided[name], plain[name], rtol=1e-12)
    assert float(plain["train_loss"][-1] / plain["train_loss"][0]) < 0.9


@pytest.mark.slow
def test_the_flow_is_the_limit_of_descent(lazy):
    # Euler's error is of first order in the rate: two rates give its limit to the second.
    ends = [
        descent(rate, round(50 / rate), model=model(4.0), divide_loss=True) for rate in (0.02, 0.01)
    ]
    for name in ("train_loss", "test_loss", "param_norm"):
        coarse, fine = (float(end[name][-1]) for end in ends)
        assert float(lazy[name][-1]) == pytest.approx(2 * fine - coarse, rel=3e-3), name


@pytest.mark.slow
@pytest.mark.usefixtures("double")
def test_a_centred_model_starts_from_zero_whatever_its_scale(lazy):
    y = np.asarray(prepare(experiment()).data.split.train.y)
    assert float(lazy["train_loss"][0]) == pytest.approx(np.mean(y**2), rel=1e-12)
    # At early times runs of all scales are alike, if the loss is divided.
    other = lr.simulate(experiment(model=model(1e3), divide_loss=True))
    early = lazy["time"] < 0.1
    assert early.sum() > 2
    np.testing.assert_allclose(lazy["train_loss"][early], other["train_loss"][early], rtol=1e-2)


@pytest.mark.slow
def test_what_nothing_moves_has_no_part_in_norms_and_decays(lazy):
    start = model().init(jr.key(0), 3)
    assert float(model().norm(start)) == pytest.approx(np.linalg.norm(start.moved))
    # Decay alone: without labels to fit, from outputs of zero, weights shrink at its rate.
    zero = lr.tasks.Arrays(
        x_train=np.ones((2, 3)), y_train=np.zeros(2), x_test=np.ones((2, 3)), y_test=np.zeros(2)
    )
    still = experiment(task=zero, model=model(1e-9), weight_decay=0.1, t1=10.0)
    norm = lr.simulate(still)["param_norm"].values
    assert norm[-1] / norm[0] == pytest.approx(np.exp(-1), rel=1e-3)


@pytest.mark.slow
def test_scales_and_numbers_of_a_model_share_a_solve(lazy):
    few = [
        experiment(model=model(4.0), divide_loss=True),
        experiment(model=model(1.0), divide_loss=True, seed=1),
        experiment(model=model(2.0, epsilon=0.3), divide_loss=True),
    ]
    together = lr.simulate_many(few)
    for ours, theirs in zip(together, [lazy, *map(lr.simulate, few[1:])], strict=True):
        xr.testing.assert_allclose(ours, theirs, rtol=1e-9)
        assert ours.attrs["experiment_hash"] == theirs.attrs["experiment_hash"]
    one = lr.sweeps.Axis(keys=("model.model.epsilon", "model.model.output_scale"), points=())
    assert one.keeps_shape
    assert not lr.sweeps.Axis(keys=("model.model.width",), points=()).keeps_shape


def test_only_a_model_with_an_output_scale_can_divide_its_loss():
    task = lr.tasks.SparseClassification(n=8, d=20, num_test=20)
    with pytest.raises(lr.InputError, match=r"^divide_loss = True: needs a model with an output"):
        lr.Experiment(task=task, divide_loss=True)

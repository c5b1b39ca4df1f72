"""Probes with axes that look inside a run: weights, spectra of the kernel and of layers."""

import jax.random as jr
import numpy as np
import pytest

import lazyrich as lr
from tests.helpers import normal


@pytest.mark.slow
def test_weights_of_a_diagonal_net():
    experiment = lr.Experiment(
        task=lr.tasks.SparseClassification(n=5, d=7, k=1, num_test=10),
        model=lr.models.DiagonalLinear(depth=3),
        init_scale=2.0,
        weight_decay=0.01,
        t1=30.0,
        times=lr.dynamics.Times(num_log=4, num_linear=2),
        probes=("weights", "weight_matrix", "parameters", "weight_norm_l1"),
    )
    record = lr.simulate(experiment)
    assert record["weights"].dims == ("time", "input")
    assert "weight_matrix" not in record
    u, v = np.split(record["parameters"].values, 2, axis=1)
    np.testing.assert_allclose(record["weights"], u**3 - v**3, rtol=1e-9, atol=1e-12)
    np.testing.assert_array_equal(record["weights"][0], 0.0)
    norms = np.abs(record["weights"].values).sum(axis=1)
    np.testing.assert_allclose(record["weight_norm_l1"], norms, rtol=1e-12)


def test_the_matrix_of_a_completion():
    size = 6
    start = lr.models.FactorParams(normal(0, size, size), normal(1, size, size))
    experiment = lr.Experiment(
        task=lr.tasks.MatrixCompletion(d=size, num_observed=20),
        model=lr.models.MatrixFactorisation(size=size),
        loss=lr.losses.Squared(),
        dynamics=lr.dynamics.GradientDescent(),
        t1=0.1,
        times=lr.dynamics.Times(num_log=2, num_linear=0),
        probes=("train_loss", "test_loss", "weights", "weight_matrix"),
    )
    record = lr.simulate(experiment, params=start)
    assert "weights" not in record
    assert record["weight_matrix"].dims == ("time", "row", "column")
    right = start.u @ start.u.T - start.v @ start.v.T
    np.testing.assert_allclose(record["weight_matrix"][0], right, rtol=1e-12)
    lr.summarise(record)  # arrays are no numbers of a summary, and do not disturb it


@pytest.mark.slow
def test_the_spectrum_of_a_constant_kernel():
    # Inputs in orthogonal directions: the eigenvectors are the samples, in order of length.
    x = np.diag([1.0, 3.0, 2.0])
    x_test, y_test = np.ones((2, 3)), np.zeros(2)
    y = np.array([2.0, 0.0, 1.0])
    experiment = lr.Experiment(
        task=lr.tasks.Arrays(x_train=x, y_train=y, x_test=x_test, y_test=y_test),
        model=lr.models.MLP(widths=(), bias=False),
        loss=lr.losses.Squared(),
        dynamics=lr.dynamics.Flow(),
        t1=1.0,
        times=lr.dynamics.Times(num_log=3, num_linear=0),
        probes=(
            "train_loss",
            "kernel_spectrum",
            "kernel_label_power",
            "kernel_top_eigenvalue",
            lr.probes.KernelTop("label_power", num=2),
        ),
    )
    record = lr.simulate(experiment)
    assert record["kernel_spectrum"].dims == ("time", "eigenvalue")
    values = record["kernel_spectrum"].values
    unit = values[:, :1] / 9  # a layer can have a factor
    np.testing.assert_allclose(values, unit * np.array([9.0, 4.0, 1.0]), rtol=1e-9)
    np.testing.assert_array_equal(record["kernel_top_eigenvalue"], values[:, 0])
    shares = record["kernel_label_power"].values
    np.testing.assert_allclose(shares, np.tile([0.0, 0.2, 0.8], (len(shares), 1)), atol=1e-12)
    np.testing.assert_allclose(record["kernel_top_label_power"], shares[:, :2].sum(axis=1))


@pytest.mark.slow
def test_the_power_of_layers_at_each_frequency():
    p, width = 7, 4
    residues = np.arange(p)
    wave = [2.0 * np.cos(2 * np.pi * k * residues / p + 0.3 * k) for k in (1, 3, 3, 2)]
    # The two blocks of a neuron: one wave of amplitude 2, and a constant, which has no frequency.
    first = np.stack([np.concatenate([row, np.full(p, 5.0)]) for row in wave])
    experiment = lr.Experiment(
        task=lr.tasks.ModularArithmetic(p=p, train_fraction=0.5),
        model=lr.models.MLP(widths=(width,), outputs=p, bias=False),
        loss=lr.losses.CrossEntropy(),
        dynamics=lr.dynamics.GradientDescent(),
        t1=0.01,
        times=lr.dynamics.Times(num_log=2, num_linear=0),
        probes=("train_loss", "fourier_power_first", "fourier_power_last", "fourier_ipr_first"),
    )
    start = experiment.model.init(jr.key(0), 2 * p)
    last = np.asarray(start.weights[1])
    params = start._replace(weights=(first, last))
    record = lr.simulate(experiment, params=params)
    power = record["fourier_power_first"]
    assert power.dims == ("time", "frequency")
    # A wave of amplitude A on p residues has the squared norm A^2 p / 2.
    np.testing.assert_allclose(power[0], 2.0 * p * np.array([1, 1, 2]), rtol=1e-9)
    assert float(record["fourier_ipr_first"][0]) == pytest.approx(1.0)
    centred = last - last.mean(axis=0)
    whole = float(record["fourier_power_last"][0].sum())
    assert whole == pytest.approx(np.sum(centred**2), rel=1e-9)


def test_they_are_left_out_where_they_mean_nothing():
    experiment = lr.Experiment(
        task=lr.tasks.ModularArithmetic(p=5, train_fraction=0.5),
        model=lr.models.MLP(widths=(3,), outputs=5),
        loss=lr.losses.CrossEntropy(),
        dynamics=lr.dynamics.GradientDescent(),
        t1=0.01,
        times=lr.dynamics.Times(num_log=2, num_linear=0),
        probes=("train_loss", "weights", "weight_matrix", "kernel_spectrum", "kernel_label_power"),
    )
    measured = {*experiment.probes} & {*lr.simulate(experiment).data_vars}
    assert measured == {"train_loss"}


def test_records_that_do_not_fit_are_refused_before_the_run():
    task = lr.tasks.SparseClassification(n=8, d=100_000, k=1, num_test=10)
    experiment = lr.Experiment(
        task=task,
        times=lr.dynamics.Times(num_log=1_000_000, num_linear=0),
        probes=("train_loss", "weights"),
    )
    # 800 GB; with the training loss only it would be 16 MB.
    with pytest.raises(lr.InputError, match=r"^times\.num_log = 1000000: takes"):
        lr.simulate(experiment)

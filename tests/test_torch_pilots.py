"""Forecasts of PyTorch modules by pilots: copies of them, trained at a higher learning rate."""

import copy
import json
import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy
from torch.utils._pytree import tree_leaves
from torch.utils.data import DataLoader, TensorDataset

import lazyrich as lr
from lazyrich.torch._monitor.schedule import LogSteps

torch.set_num_threads(1)
FAST, SLOW, STEPS = 0.06, 0.002, 3000
LATE = lr.Thresholds(delay=3.0, train=0.95)


def line(dtype=torch.float64):
    net = nn.Linear(2, 1, bias=False, dtype=dtype)
    nn.init.zeros_(net.weight)
    return net


def two_rates():
    """Linear regression on two coordinates that do not affect each other.

    At the learning rate 1 a step multiplies the error of the first by 1 - `FAST` and of the second
    by 1 - `SLOW`. The first fits the training labels. The test labels depend only on the second.
    """
    a, b = math.sqrt(FAST), math.sqrt(SLOW)
    x = torch.tensor([[a, 0], [-a, 0], [0, b], [0, -b]], dtype=torch.float64)
    test = torch.tensor([[0.0, 1.0], [0.0, -1.0]], dtype=torch.float64)
    return (x, x.sum(1, keepdim=True)), (test, test.sum(1, keepdim=True))


def forecast_of_line(steps=STEPS, rate=1.0):
    net, (train, test) = line(), two_rates()
    optimizer = torch.optim.SGD(net.parameters(), lr=rate)
    return lr.torch.forecast(
        net, train, test, loss=nn.MSELoss(), optimizer=optimizer, steps=steps, thresholds=LATE,
        passage="pilot",
    )  # fmt: skip


def times(factor):
    num = STEPS // factor
    spaced = np.linspace(0, num, 61).round().astype(int)
    return np.union1d(LogSteps(20).until(num), spaced)


def test_gradient_descent_in_closed_form():
    found = forecast_of_line()
    exact = []
    for factor, record in zip((16, 8), found.pilots, strict=True):
        steps = times(factor)
        first, second = ((1 - factor * rate) ** (2.0 * steps) for rate in (FAST, SLOW))
        losses = {"train_loss": (FAST * first + SLOW * second) / 2, "test_loss": second}
        for name, values in losses.items():
            np.testing.assert_allclose(record[name].values, values, rtol=1e-9, atol=1e-25)
        np.testing.assert_array_equal(record["time"].values, factor * steps)
        scales = {"train_variance": (FAST + SLOW) / 2, "test_variance": 1.0}
        expected = lr.record(factor * steps, losses, unit="step", scales=scales)
        exact.append(lr.transition(expected, LATE).t50)
    # No runs calibrate such nets: the middle of the constant is zero, its interval is wide.
    assert found.step50 == pytest.approx(math.sqrt(math.prod(exact)), rel=1e-6)
    assert found.step50_interval[0] < 0.8 * found.step50 < 1.25 * found.step50
    assert (found.verdict, found.confidence) == ("grok", "low")
    assert (found.flow, found.experiment) == (None, None)
    assert math.isnan(found.step_kernel_end)
    assert any("19 % of those of the training" in reason for reason in found.reasons)
    assert found.advice.startswith("Run to step ")
    assert "pilots" not in found.summary()


def test_advice_names_the_present_number_of_steps():
    still = forecast_of_line(steps=1600, rate=1e-6)
    assert still.advice.endswith(": the training data are not fitted by step 1,600.")


def test_pilots_that_all_diverge_say_nothing():
    found = forecast_of_line(steps=1600, rate=1e9)
    assert (found.verdict, found.confidence) == ("cannot_say", "low")
    assert math.isnan(found.step50)
    assert [record.attrs["ending"] for record in found.pilots] == ["diverged"] * 3
    assert "lazyrich.torch.Monitor" in found.advice


def sums(p=5):
    pairs = torch.cartesian_prod(torch.arange(p), torch.arange(p))
    x = nn.functional.one_hot(pairs, p).flatten(1).float()
    order = torch.randperm(p * p, generator=torch.Generator().manual_seed(0))
    x, y = x[order], (pairs.sum(1) % p)[order]
    cut = 4 * p * p // 5
    return (x[:cut], y[:cut]), (x[cut:], y[cut:])


def begun(steps=3, dropout=0.0):
    """A training that has done some steps, and its data."""
    torch.manual_seed(0)
    layers = [nn.Linear(10, 8), nn.Dropout(dropout), nn.ReLU(), nn.Linear(8, 5)]
    net, (train, test) = nn.Sequential(*layers), sums()
    groups: Any = [{"params": layers[0].parameters(), "weight_decay": 1.0},
                   {"params": layers[3].parameters(), "weight_decay": 0.0}]  # fmt: skip
    optimizer = torch.optim.AdamW(groups, lr=1e-3, betas=(0.9, 0.98))
    for _ in range(steps):
        optimizer.zero_grad()
        cross_entropy(net(train[0]), train[1]).backward()
        optimizer.step()
    return net, optimizer, train, test


def state(net, optimizer):
    marks = [net.state_dict(), optimizer.state_dict(), [p.grad for p in net.parameters()]]
    modes = [module.training for module in net.modules()]
    # Not Python's: checks of types under pytest draw from it.
    draws = [torch.get_rng_state(), np.random.get_state()]
    hooks = [len(optimizer._optimizer_step_post_hooks), torch.is_grad_enabled()]
    return copy.deepcopy(tree_leaves([*marks, modes, draws, hooks]))


def test_the_training_is_left_as_it_was_to_the_last_bit():
    net, optimizer, train, test = begun(dropout=0.3)
    net[1].eval()  # a mode of its own
    loader = DataLoader(TensorDataset(*train), batch_size=6, shuffle=True)
    options: dict[str, Any] = {"optimizer": optimizer, "steps": 1600, "passage": "pilot"}
    before = state(net, optimizer)
    with torch.no_grad():  # as a script may, at its evaluation
        found = lr.torch.forecast(net, loader, test, loss="cross_entropy", **options)
    for now, then in zip(state(net, optimizer), before, strict=True):
        assert type(now) is type(then)
        same = torch.equal(now, then) if isinstance(now, torch.Tensor) else np.all(now == then)
        assert same, (now, then)
    again = lr.torch.forecast(net, loader, test, loss=lr.losses.CrossEntropy(), **options)
    assert again.pilots[0].drop_attrs().identical(found.pilots[0].drop_attrs())
    # Dropout of a net in train mode is trained with.
    net.train()
    other = lr.torch.forecast(net, loader, test, loss="cross_entropy", **options)
    assert not other.pilots[0].drop_attrs().identical(found.pilots[0].drop_attrs())


def test_a_pilot_is_the_training_at_a_higher_rate_with_its_memory_and_state():
    net, optimizer, train, test = begun()
    monitor = lr.torch.Monitor(net, train, test, optimizer=optimizer, loss=cross_entropy)
    found = monitor.forecast(steps=1600, passage="pilot")
    about = json.loads(found.pilots[0].attrs["monitor"])
    assert about["betas"] == pytest.approx([0.9**16, 0.98**16])
    # The same by PyTorch, where the moments of three steps are those of 3/16 of a pilot's step.
    twin, faster, _, _ = begun()
    for group in faster.param_groups:
        group |= {"lr": 16e-3, "betas": (0.9**16, 0.98**16)}
    for held in faster.state.values():
        held["step"] = torch.tensor(3 / 16)
    for _ in range(100):
        faster.zero_grad()
        cross_entropy(twin(train[0]), train[1]).backward()
        faster.step()
    for name, (x, y) in {"train_loss": train, "test_loss": test}.items():
        expected = float(cross_entropy(twin(x), y).detach())
        assert float(found.pilots[0][name][-1]) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"steps": None}, "steps = None: should be given for pilots"),
        ({"steps": 0}, "steps = 0: should be given for pilots"),
        ({"steps": 300}, "steps = 300: takes too few steps: pilots need 100, so the run 400"),
        ({"t1": 3.0}, "t1 = 3.0: should be left out for pilots"),
        ({"subset": 2}, "subset = 2: should be left out for pilots"),
        ({"degree": 2.0}, "degree = 2.0: should be left out"),
        ({"optimizer": None}, "optimizer = 'NoneType': should be a torch.optim.SGD, Adam"),
        ({"optimizer": torch.optim.LBFGS}, "optimizer = 'LBFGS': should be"),
        ({"loss": "mean"}, "loss = 'mean': should be cross_entropy"),
    ],
)
def test_what_pilots_need_is_said_in_one_line(options, words):
    net, optimizer, train, test = begun(0)
    if (other := options.get("optimizer", optimizer)) is not None and isinstance(other, type):
        options = {"optimizer": other(net.parameters())}
    settings = {"loss": "cross_entropy", "optimizer": optimizer, "steps": 800} | options
    with pytest.raises(lr.InputError, match=words):
        lr.torch.forecast(net, train, test, passage="pilot", **settings)


@pytest.mark.slow
def test_addition_by_adamw_and_its_control():
    p, steps = 19, 2400
    train, test = sums(p)
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(2 * p, 96), nn.ReLU(), nn.Linear(96, p))
    optimizer = torch.optim.AdamW(net.parameters(), lr=3e-3, weight_decay=1.0, betas=(0.9, 0.98))
    options: dict[str, Any] = {
        "loss": "cross_entropy", "optimizer": optimizer, "steps": steps, "passage": "pilot"
    }  # fmt: skip
    found = lr.torch.forecast(net, train, test, **options)
    draw = torch.randperm(len(train[1]), generator=torch.Generator().manual_seed(1))
    control = lr.torch.forecast(net, (train[0], train[1][draw]), test, **options)
    monitor = lr.torch.Monitor(net, train, test, optimizer=optimizer, loss="cross_entropy")
    for _ in range(steps):
        optimizer.zero_grad()
        cross_entropy(net(train[0]), train[1]).backward()
        optimizer.step()
        monitor.step()
    came = lr.transition(monitor.record)
    assert came.outcome in ("grokked", "gradual")
    assert found.verdict in ("grok", "immediate")
    assert found.step50 == pytest.approx(came.t50, rel=0.5)
    assert found.step50_interval[0] < came.t50 < found.step50_interval[1]
    assert (control.verdict, control.confidence) == ("none", "medium")
    assert control.advice == "Use more training samples or another model, or raise steps."
    assert any("still moves at its end" in reason for reason in control.reasons)

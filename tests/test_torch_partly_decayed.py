"""Decay without biases and gains against optimisers of PyTorch with two parameter groups."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import lazyrich as lr

torch.set_num_threads(1)

RATE, DECAY, STEPS = 0.02, 0.3, 25
RNG = np.random.default_rng(0)
X, Y = RNG.normal(size=(6, 3)), RNG.normal(size=(6, 2))
MODEL = lr.models.MLP(
    widths=(4,), outputs=2, activation="tanh", bias="all", normalisation="layer", affine=True
)
Params: Any = lr.models.MLPParams  # whose types name arrays of JAX
PARAMS = Params(
    weights=(RNG.normal(size=(4, 3)), RNG.normal(size=(2, 4))),
    bias=RNG.normal(size=4),
    later=(RNG.normal(size=2),),
    gains=(RNG.normal(size=4),),
    shifts=(RNG.normal(size=4),),
)


def net() -> nn.Module:
    """The same net. Its layer norm has no epsilon, either."""
    made = nn.Sequential(nn.Linear(3, 4), nn.LayerNorm(4, eps=0.0), nn.Tanh(), nn.Linear(4, 2))
    with torch.no_grad():
        for own, theirs in zip(made.parameters(), in_order(PARAMS), strict=True):
            own.copy_(torch.as_tensor(theirs))
    return made


def in_order(params: Any) -> list[np.ndarray]:
    """The arrays in the order of the module's parameters."""
    (first, last), gains, shifts = params.weights, params.gains[0], params.shifts[0]
    return [*map(np.asarray, (first, params.bias, gains, shifts, last, params.later[0]))]


KINDS: dict[str, tuple[Any, Any, dict[str, Any]]] = {
    "descent": (lr.dynamics.GradientDescent(learning_rate=RATE), torch.optim.SGD, {}),
    "momentum": (
        lr.dynamics.SGD(learning_rate=RATE, momentum=0.8), torch.optim.SGD, {"momentum": 0.8}
    ),
    "adam": (lr.dynamics.Adam(learning_rate=RATE), torch.optim.Adam, {}),
    "adamw": (lr.dynamics.AdamW(learning_rate=RATE), torch.optim.AdamW, {}),
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_steps_equal_those_of_torch_with_two_groups(kind):
    dynamics, optimizer, options = KINDS[kind]
    with torch.random.fork_rng():
        torch.set_default_dtype(torch.float64)
        try:
            theirs = net()
            x, y = torch.as_tensor(X), torch.as_tensor(Y)
        finally:
            torch.set_default_dtype(torch.float32)
    decays = [p for p in theirs.parameters() if p.ndim >= 2]
    others = [p for p in theirs.parameters() if p.ndim < 2]
    groups = [{"params": decays, "weight_decay": DECAY}, {"params": others, "weight_decay": 0.0}]
    steps = optimizer(groups, lr=RATE, **options)
    walked = []
    for _ in range(STEPS):
        steps.zero_grad()
        ((theirs(x) - y) ** 2).sum(1).mean().backward()
        steps.step()
        walked.append([p.detach().numpy().copy() for p in theirs.parameters()])

    times = RATE * np.arange(1, STEPS + 1)
    record = lr.simulate(
        lr.Experiment(
            task=lr.tasks.Arrays(x_train=X, y_train=Y, x_test=X, y_test=Y),
            model=MODEL,
            loss=lr.losses.Squared(),
            weight_decay=DECAY,
            decayed="matrices",
            t1=float(times[-1]),
            dynamics=dynamics,
            probes=("train_loss", "test_loss"),
        ),
        params=PARAMS,
        keep_params=times,
    )
    for time, expected in zip(times, walked, strict=True):
        for own, other in zip(in_order(record.params(time)), expected, strict=True):
            np.testing.assert_allclose(own, other, rtol=1e-10, atol=1e-12)


def test_a_wrapped_net_with_undecayed_parameters_has_no_degree():
    two = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 1, bias=False))
    assert lr.models.FromTorch(two, degree=2.0).homogeneity == 2
    partly = lr.models.FromTorch(two, degree=2.0, undecayed=("0.bias",))
    assert partly.homogeneity is None
    assert not partly.decays_all

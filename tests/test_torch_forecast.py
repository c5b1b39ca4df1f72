"""`lr.torch.forecast`: its conversions against PyTorch itself, and its answer for a module."""

import contextlib
import copy
import io
import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset, TensorDataset

import lazyrich as lr
from lazyrich.torch._forecast.data import arrays_of, batch_size_of
from lazyrich.torch._forecast.forecast import _model as model_of, _reasons as reasons_of
from lazyrich.torch._forecast.losses import converted_loss
from lazyrich.torch._forecast.optimisers import trained_by

torch.set_num_threads(1)
RNG = np.random.default_rng(3)
X = RNG.normal(size=(12, 4))
LABELS: dict[str, np.ndarray] = {
    "classes": RNG.integers(0, 3, size=12),
    "reals": RNG.normal(size=(12, 3)),
    "bits": RNG.integers(0, 2, size=(12, 1)).astype(float),
    "signs": np.where(RNG.normal(size=(12, 1)) > 0, 1.0, -1.0),
}


def net(outputs: int = 3) -> Any:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, outputs)).double()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("loss", "labels", "outputs"),
    [
        (nn.CrossEntropyLoss(), "classes", 3),
        (nn.functional.cross_entropy, "classes", 3),
        (nn.MSELoss(), "reals", 3),
        (nn.BCEWithLogitsLoss(), "bits", 1),
        (nn.SoftMarginLoss(), "signs", 1),
    ],
)
def test_a_step_of_the_converted_training_is_a_step_of_pytorch(loss, labels, outputs):
    ours, y = net(outputs), LABELS[labels]
    optimizer = torch.optim.SGD(ours.parameters(), lr=0.3, weight_decay=0.2)
    model = lr.models.FromTorch(ours)
    start = model.init(jax.random.key(0), 4)
    converted = converted_loss(loss, outputs)
    trained = trained_by(optimizer, ours, None, converted.factor, 0)
    with jax.enable_x64(True):
        target = jnp.asarray(converted.labels(y))
        gradient = jax.grad(lambda p: converted.loss.mean(model.apply(p, jnp.asarray(X)), target))
        step, decay = trained.time_per_step, trained.weight_decay
        moved = jax.tree.map(lambda p, g: p - step * (g + decay * p), start, gradient(start))
    loss(ours(torch.from_numpy(X)), torch.from_numpy(y)).backward()
    optimizer.step()
    for name, value in ours.named_parameters():
        np.testing.assert_allclose(moved[name], value.detach().numpy(), rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize(
    ("loss", "words"),
    [
        (nn.L1Loss(), "L1Loss.*torch.nn.CrossEntropyLoss"),
        ("hing", "'hing'.*squared_hinge"),
        (nn.MSELoss(reduction="sum"), "reduction = 'sum': should be mean"),
        (nn.CrossEntropyLoss(label_smoothing=0.1), "label_smoothing = 0.1"),
        (nn.CrossEntropyLoss(weight=torch.ones(3)), "loss.weight"),
        (nn.BCEWithLogitsLoss(), "one output; the net has 3"),
    ],
)
def test_losses_that_are_none_of_ours_are_refused(loss, words):
    with pytest.raises(lr.InputError, match=words):
        converted_loss(loss, 3)


def test_labels_that_do_not_fit_the_loss_are_refused():
    with pytest.raises(lr.InputError, match="0 or 1"):
        converted_loss(nn.BCEWithLogitsLoss(), 1).labels(np.array([0.0, 0.3]))
    with pytest.raises(lr.InputError, match="class numbers"):
        converted_loss(nn.CrossEntropyLoss(), 3).labels(np.ones((2, 3)) / 3)
    rows = np.eye(3)[LABELS["classes"]]
    assert np.array_equal(converted_loss(nn.CrossEntropyLoss(), 3).labels(rows), LABELS["classes"])
    with pytest.raises(lr.InputError, match="shape of the 3 outputs"):
        converted_loss(nn.MSELoss(), 3).labels(LABELS["classes"])
    with pytest.raises(lr.InputError, match="ignores"):
        converted_loss(nn.CrossEntropyLoss(), 3).labels(np.array([0, -100]))
    assert isinstance(converted_loss("squared_hinge", 1).loss, lr.losses.SquaredHinge)


def test_momentum_makes_a_step_longer():
    # On a constant gradient the velocity tends to (1 - dampening) / (1 - momentum) gradients.
    ours = nn.Linear(1, 1, bias=False).double()
    optimizer = torch.optim.SGD(ours.parameters(), lr=0.1, momentum=0.9, dampening=0.5)
    trained = trained_by(optimizer, ours, None, 1.0, 0)
    for _ in range(400):
        ours.weight.grad = torch.ones(1, 1, dtype=torch.float64)
        before = float(ours.weight.detach())
        optimizer.step()
    assert before - float(ours.weight.detach()) == pytest.approx(trained.time_per_step, rel=1e-9)


def test_optimisers_are_read_group_by_group():
    ours = net()
    biases = [p for name, p in ours.named_parameters() if name.endswith("bias")]
    weights = [p for name, p in ours.named_parameters() if name.endswith("weight")]
    groups: list[Any] = [{"params": weights, "weight_decay": 0.1}, {"params": biases}]
    trained = trained_by(torch.optim.SGD(groups, lr=0.5), ours, None, 0.5, 0)
    assert trained.undecayed == ("0.bias", "2.bias")
    assert trained.weight_decay == pytest.approx(0.2)
    assert isinstance(trained.dynamics, lr.dynamics.GradientDescent)
    adam = trained_by(torch.optim.AdamW(ours.parameters(), lr=1e-3), ours, None, 0.5, 4)
    assert isinstance(adam.dynamics, lr.dynamics.AdamW)
    assert adam.weight_decay == pytest.approx(
        1e-2
    )  # decoupled: the factor of the loss is no matter
    assert math.isnan(adam.time_per_step)
    plain = trained_by(torch.optim.Adam(ours.parameters(), weight_decay=0.1), ours, None, 1.0, 0)
    assert isinstance(plain.dynamics, lr.dynamics.Adam)
    other: Any
    for other, words in (
        (torch.optim.RMSprop(ours.parameters()), "RMSprop"),
        (torch.optim.SGD([{"params": weights, "lr": 0.1}, {"params": biases, "lr": 0.2}]), "lr"),
        (torch.optim.SGD([{"params": weights, "weight_decay": 0.1},
                          {"params": biases, "weight_decay": 0.2}]), "weight_decay"),
        (torch.optim.SGD(weights, lr=0.1), "does not train 0.bias"),
        (torch.optim.SGD(net().parameters(), lr=0.1), "has no parameter of net"),
        (torch.optim.SGD(ours.parameters(), lr=0.1, maximize=True), "maximize"),
    ):  # fmt: skip
        with pytest.raises(lr.InputError, match=words):
            trained_by(other, ours, None, 1.0, 0)
    with pytest.raises(lr.InputError, match="the optimizer has"):
        trained_by(torch.optim.SGD(ours.parameters(), weight_decay=0.1), ours, 0.3, 1.0, 0)


class Numbers(Dataset[Any]):
    def __len__(self) -> int:
        return 5

    def __getitem__(self, place: int) -> Any:
        return torch.tensor([float(place), torch.rand(1).item()]), place % 2


def test_data_of_every_kind_are_read_without_a_random_number():
    state = torch.get_rng_state()
    x, y = torch.arange(10.0).reshape(5, 2), torch.arange(5)
    dataset = TensorDataset(x, y)
    for data in ((x, y), (x.numpy(), y.numpy()), dataset,
                 DataLoader(dataset, batch_size=2, shuffle=True)):  # fmt: skip
        (found, labels), num = arrays_of(data, 100, 0, "train")
        assert num == 5
        assert np.array_equal(found, x.numpy())
        assert np.array_equal(labels, y.numpy())
    (found, labels), num = arrays_of(Numbers(), 3, 0, "train")
    assert (found.shape, labels.shape, num) == ((3, 2), (3,), 5)
    assert np.array_equal(found[:, 0] % 2, labels)
    assert torch.equal(torch.get_rng_state(), state)
    loader: Any = DataLoader(dataset, batch_size=2)
    assert batch_size_of(loader, 5) == 2
    assert batch_size_of(dataset, 5) == 0
    for other in (x, [1, 2, 3]):
        with pytest.raises(lr.InputError, match="train ="):
            arrays_of(other, 10, 0, "train")


class PerPosition(nn.Linear):
    """Outputs `(n, t, c)` for token ids `(n, t)`."""

    def forward(self, x):
        return super().forward(nn.functional.one_hot(x, 4).to(self.weight.dtype))


def test_outputs_can_be_chosen_and_the_mode_is_kept():
    ours, ids = PerPosition(4, 3).double(), RNG.integers(0, 4, size=(5, 2))
    chosen = model_of(ours, lambda f: f[:, -1], ids)
    chosen = lr.models.FromTorch(chosen.net.net, input_shape=(2,), token_ids=True)
    f = chosen.apply(chosen.init(jax.random.key(0), 2), jnp.asarray(ids))
    assert list(chosen.init(jax.random.key(0), 2)) == ["net.bias", "net.weight"]
    np.testing.assert_allclose(f, ours(torch.from_numpy(ids))[:, -1].detach().numpy())
    assert ours.training


@pytest.mark.slow
def test_a_learning_rate_above_the_stable_one_is_said():
    # |w - 1|^2 has the curvature 2: rates above 1 are unstable, with momentum 1/2 above 3/2.
    torch.manual_seed(0)
    line = nn.Linear(2, 1, bias=False)
    x, y = np.sqrt(2) * np.eye(2), np.full((2, 1), np.sqrt(2))
    task = lr.tasks.Arrays(x_train=x, y_train=y, x_test=x, y_test=y)
    for rate, momentum, ratio in ((1.5, 0.0, "1.5 times"), (3.0, 0.5, "2 times"), (0.9, 0.0, "")):
        optimizer = torch.optim.SGD(line.parameters(), lr=rate, momentum=momentum)
        trained = trained_by(optimizer, line, None, 1.0, 0)
        experiment = lr.Experiment(
            task=task, model=lr.models.FromTorch(line), loss=lr.losses.Squared(),
            dynamics=trained.dynamics,
        )  # fmt: skip
        texts = [reason.text for reason in reasons_of(experiment, trained, 2, 2)]
        assert len(texts) == bool(ratio)
        assert all(ratio in text for text in texts)


# --- Forecasts. ---


def homogeneous() -> Any:
    torch.manual_seed(0)
    layers = nn.Sequential(nn.Linear(4, 12, bias=False), nn.ReLU(), nn.Linear(12, 1, bias=False))
    with torch.no_grad():
        for p in layers.parameters():
            p.mul_(3)
    return layers


SIGNS = np.sign(X[:, :1])


@pytest.fixture(scope="module")
def found() -> Any:
    ours = homogeneous()
    optimizer = torch.optim.SGD(ours.parameters(), lr=0.01, weight_decay=0.02)
    before = copy.deepcopy(ours.state_dict())
    with contextlib.redirect_stderr(io.StringIO()) as shown:
        answer = lr.torch.forecast(
            ours, (X, SIGNS), (X + 0.2, SIGNS), loss=nn.SoftMarginLoss(), optimizer=optimizer,
            steps=20_000, progress=True,
        )  # fmt: skip
    stages = [line.rpartition(": ")[2] for line in shown.getvalue().splitlines()]
    assert answer.flow is not None
    assert stages == list(answer.flow.seconds)
    assert all(torch.equal(value, before[name]) for name, value in ours.state_dict().items())
    return ours, answer


@pytest.mark.slow
def test_the_answer_is_that_of_the_same_net_in_jax(found):
    ours, answer = found
    params = {n: jnp.asarray(p.detach().numpy()) for n, p in ours.named_parameters()}

    def function(p: Any, x: Any) -> Any:
        return jax.nn.relu(x @ p["0.weight"].T) @ p["2.weight"].T

    twin = lr.models.Functions(init_params=lambda key: params, function=function, degree=2,
                               kinks=True)  # fmt: skip
    task = lr.tasks.Arrays(x_train=X, y_train=SIGNS[:, 0], x_test=X + 0.2, y_test=SIGNS[:, 0])
    theirs = lr.forecast(
        lr.Experiment(task=task, model=twin, loss=lr.losses.Logistic(), weight_decay=0.02, t1=200.0)
    )
    assert answer.experiment.t1 == pytest.approx(200.0)
    assert answer.experiment.model.degree == 2
    assert answer.flow.verdict == theirs.verdict
    np.testing.assert_allclose(answer.flow.t_kernel_end, theirs.t_kernel_end, rtol=1e-6)
    np.testing.assert_allclose(answer.step_kernel_end, theirs.t_kernel_end / 0.01, rtol=1e-6)
    np.testing.assert_allclose(answer.step_fit, theirs.t_fit / 0.01, rtol=1e-6)


@pytest.mark.slow
def test_a_number_that_is_not_known_is_not_given(found):
    _, answer = found
    assert answer.verdict == "cannot_say"
    assert math.isnan(answer.step50)
    assert any("calibrate" in reason for reason in answer.reasons)
    # No reason is of a number that is not given.
    assert not any(word in " ".join(answer.reasons) for word in ("t50", "times are valid"))
    assert any("t50" in reason for reason in answer.flow.reasons)
    assert not any(line.startswith("step50") for line in str(answer).splitlines())
    assert "solved" in answer.advice
    fit_is_said = any("time of the fit is not known" in reason for reason in answer.reasons)
    assert fit_is_said == ("step_fit" in answer.advice) == math.isnan(answer.step_fit)
    assert any(line.startswith("step fit") for line in str(answer).splitlines())
    assert answer.summary()["step50"] is None
    assert answer.summary()["flow"]["verdict"] == answer.flow.verdict
    assert "step kernel end" in str(answer)


def test_adam_gets_no_steps_and_no_verdict_at_once(monkeypatch):
    # Whatever is computed would not be used.
    monkeypatch.setattr("lazyrich.torch._forecast.forecast.forecast_of", None)
    ours = homogeneous()
    answer = lr.torch.forecast(
        ours, (X, SIGNS), (X + 0.2, SIGNS), loss="logistic",
        optimizer=torch.optim.AdamW(ours.parameters(), lr=1e-3, weight_decay=0.02),
    )  # fmt: skip
    assert (answer.verdict, answer.confidence, answer.flow) == ("cannot_say", "low", None)
    assert math.isnan(answer.step_kernel_end)
    assert math.isnan(answer.time_per_step)
    assert answer.summary()["flow"] is None
    assert [line for line in str(answer).splitlines() if "step" in line.split("because")[0]] == []
    assert any("AdamW" in reason for reason in answer.reasons)


def test_what_a_forecast_needs_is_said_in_one_line():
    pair: Any = (X, SIGNS)
    with pytest.raises(lr.InputError, match=r"steps = None: is needed without weight decay"):
        lr.torch.forecast(homogeneous(), pair, pair, loss="logistic")
    with pytest.raises(lr.InputError, match="steps = 0: should be at least 1"):
        lr.torch.forecast(homogeneous(), pair, pair, loss="logistic", steps=0)
    with pytest.raises(lr.InputError, match="needs an SGD optimizer"):
        lr.torch.forecast(homogeneous(), pair, pair, loss="logistic", steps=100)
    dropped = nn.Sequential(nn.Linear(4, 1), nn.Dropout(0.5))
    with pytest.raises(lr.InputError, match=r"call net\.eval\(\) first"):
        lr.torch.forecast(dropped, pair, pair, loss="logistic", weight_decay=0.1)

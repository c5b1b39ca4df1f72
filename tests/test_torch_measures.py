"""What a monitor measures, against closed forms and calculations of another kind."""

import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import lazyrich as lr
from lazyrich import probes

torch.set_num_threads(1)


def monitor_of(net, x, y, loss, optimizer=None, **options):
    """A monitor with the same data for training and test, and its record of step 0."""
    found = lr.torch.Monitor(net, (x, y), (x, y), loss=loss, optimizer=optimizer, **options)
    return found, found.record


def points(n=12, d=5, seed=0):
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed))


class OwnNorm(nn.Module):
    """A layer norm without gain and bias, so that the scale of the layer before has no effect."""

    def __init__(self, d=5, width=7):
        super().__init__()
        self.inner, self.outer = nn.Linear(d, width, bias=False), nn.Linear(width, 3)

    def forward(self, x):
        z = self.inner(x)
        z = z - z.mean(-1, keepdim=True)
        return self.outer(torch.relu(z / z.norm(dim=-1, keepdim=True)))


def test_a_ridge_optimum_has_arrived_and_another_point_has_not():
    x, decay = points(20, 5).double(), 0.3
    y = torch.stack([x[:, 0] - x[:, 1], x[:, 2] ** 2], 1)
    net = nn.Linear(5, 2, bias=False).double()
    # Mean over samples of the sum of squares, plus (λ/2) times the squared norm.
    exact = torch.linalg.solve(2 / 20 * x.T @ x + decay * torch.eye(5), 2 / 20 * x.T @ y)
    residuals = []
    for scale in (1.0, 1.1):
        with torch.no_grad():
            net.weight.copy_(scale * exact.T)
        optimizer = torch.optim.SGD(net.parameters(), lr=0.1, weight_decay=decay)
        _, record = monitor_of(net, x, y, "squared", optimizer)
        residuals.append(float(record["arrival_residual"][0]))
    assert residuals[0] < 1e-7
    # There the gradient is linear in the scale: 10 % of its slope remains.
    slope = 2 / 20 * x.T @ x @ exact + decay * exact
    w, g = 1.1 * exact.T, (0.1 * slope).T - decay * 1.1 * exact.T
    by_hand = torch.linalg.norm((decay * w + g) @ w.T)
    by_hand /= torch.linalg.norm(decay * w @ w.T) + torch.linalg.norm(g @ w.T)
    assert residuals[1] == pytest.approx(float(by_hand), rel=1e-5)


def test_the_residual_is_the_sum_of_backpropagated_signals_times_outputs():
    # Science notes 8.3: λWWᵀ against −(1/n) Σ δ zᵀ, with δ and z caught by hooks at a layer inside.
    torch.manual_seed(1)
    net: Any = nn.Sequential(nn.Linear(5, 4), nn.Tanh(), nn.Linear(4, 6, bias=False))
    net.append(nn.LayerNorm(6))
    net.append(nn.Linear(6, 3))
    x, y = points(10, 5), torch.arange(10) % 3
    held: dict[str, Any] = {}

    def keep(module, args, out):
        out.register_hook(lambda slope: held.update(z=out.detach(), slope=slope))

    handle = net[2].register_forward_hook(keep)
    nn.functional.cross_entropy(net(x), y).backward()
    handle.remove()
    w = net[2].weight.detach()
    own, sent = 0.05 * w.T @ w, w.T @ held["slope"].T @ x_into(net, x)
    # W is 6 × 4, so the smaller relation is λWᵀW = −(1/n) Σ Wᵀδ xᵀ.
    expected = torch.linalg.norm(own + sent) / (torch.linalg.norm(own) + torch.linalg.norm(sent))
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1, weight_decay=0.05)
    _, record = monitor_of(net, x, y, "cross_entropy", optimizer)
    place = record["block"].values.tolist().index("2.weight")
    assert float(record["block_arrival"][0, place]) == pytest.approx(float(expected), rel=1e-4)
    assert math.isnan(record["block_arrival"][0, record["block"].values.tolist().index("0.bias")])


def x_into(net, x):
    return net[1](net[0](x)).detach()


def test_the_optimisers_own_average_is_the_gradient_of_arrival():
    # At a constant gradient of full batches every average is the gradient itself.
    x, y = points(8, 3), points(8, 1, seed=1)
    for make in (
        lambda p: torch.optim.SGD(p, lr=1e-9, momentum=0.5, weight_decay=0.2),
        lambda p: torch.optim.SGD(p, lr=1e-9, momentum=0.5, dampening=0.5, weight_decay=0.2),
        lambda p: torch.optim.Adam(p, lr=1e-9, weight_decay=0.2),
    ):
        torch.manual_seed(0)
        net = nn.Linear(3, 1, bias=False)
        optimizer = make(net.parameters())
        monitor, record = monitor_of(net, x, y, nn.MSELoss(), optimizer)
        for _ in range(60):
            optimizer.zero_grad()
            nn.functional.mse_loss(net(x), y).backward()
            optimizer.step()
            monitor.step()
        monitor.finish()
        last = float(monitor.record["arrival_residual"][-1])
        assert last == pytest.approx(float(record["arrival_residual"][0]), rel=1e-3)


def test_adamw_arrives_where_it_stops():
    # θ stops where m / √v = −λθ: with a gradient that always is 1, at −1/λ.
    net = nn.Linear(1, 1, bias=False)
    optimizer = torch.optim.AdamW(net.parameters(), lr=0.05, weight_decay=2.0)
    x = torch.ones(4, 1)
    monitor, record = monitor_of(net, x, x, lambda f, y: f.mean(), optimizer)
    for _ in range(400):
        optimizer.zero_grad()
        net(x).mean().backward()
        optimizer.step()
        monitor.step()
    assert net.weight.item() == pytest.approx(-0.5, abs=1e-4)
    assert float(monitor.record["arrival_residual"][-1]) < 1e-3
    assert float(record["arrival_residual"][0]) > 0.1


def test_a_normalised_layer_is_scale_invariant_and_others_are_not():
    torch.manual_seed(0)
    _, record = monitor_of(OwnNorm(), points(), torch.arange(12) % 3, "cross_entropy")
    found = dict(zip(record["block"].values, record["block_invariance"].values[0], strict=True))
    assert found["inner.weight"] < 1e-5
    assert found["outer.weight"] > 0.01


def test_the_kernel_is_that_of_autograd_sample_by_sample():
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(5, 6), nn.Tanh(), nn.Linear(6, 3)).double()
    x, y = points(9, 5).double(), torch.arange(9) % 3
    monitor, record = monitor_of(net, x, y, "cross_entropy", num_outputs=3)
    setting = monitor._setting
    rows = []
    for i in range(9):
        for c in range(3):
            slopes = torch.autograd.grad(
                net(setting.kernel.x[i : i + 1])[0, c], [*net.parameters()]
            )
            rows.append(torch.cat([slope.flatten() for slope in slopes]))
    j = torch.stack(rows).reshape(9, 3, -1)
    kernel = torch.einsum("icp,jcp->ij", j, j).numpy()
    values = np.linalg.eigvalsh(kernel)[::-1]
    np.testing.assert_allclose(record["kernel_spectrum"].values[0], values, rtol=1e-9, atol=1e-9)
    unit = np.eye(3)[setting.kernel.y.numpy()]
    unit = unit - unit.mean(0)
    power = np.sum((np.linalg.eigh(kernel)[1].T @ unit) ** 2, axis=1)[::-1] / np.sum(unit**2)
    np.testing.assert_allclose(record["kernel_label_power"].values[0], power, rtol=1e-6, atol=1e-9)
    h = np.eye(9) - 1 / 9
    centred = h @ kernel @ h
    labels = unit @ unit.T
    expected = np.sum(centred * labels) / np.linalg.norm(centred) / np.linalg.norm(labels)
    assert float(record["kernel_alignment_labels"][0]) == pytest.approx(expected, rel=1e-9)
    assert float(record["kernel_alignment_start"][0]) == pytest.approx(1.0)
    assert float(record["kernel_label_power"].sum()) == pytest.approx(1.0)
    # Random combinations of outputs: the sum over them, by the directions that the monitor drew.
    monitor, record = monitor_of(net, x, y, "cross_entropy", num_outputs=2, seed=3)
    order = [int((x == row).all(1).nonzero()[0, 0]) for row in monitor._setting.kernel.x]
    rows_of_x = {tuple(row.tolist()): jac for row, jac in zip(setting.kernel.x, j, strict=True)}
    j = torch.stack([rows_of_x[tuple(x[i].tolist())] for i in order])
    mixed = torch.einsum("kc,icp->ikp", monitor._setting.directions, j)
    values = np.linalg.eigvalsh(torch.einsum("ikp,jkp->ij", mixed, mixed).numpy())[::-1]
    np.testing.assert_allclose(record["kernel_spectrum"].values[0], values, rtol=1e-9, atol=1e-9)


def test_kernel_distance_and_velocity_of_a_model_of_two_weights():
    # f = a b x has the kernel (a² + b²) x x': its direction never changes.
    class Two(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b = nn.Parameter(torch.tensor(2.0)), nn.Parameter(torch.tensor(0.5))

        def forward(self, x):
            return self.a * self.b * x[:, 0]

    class Turning(Two):
        # f = a x_0 + a² x_1 / 2: kernel rows are x_0 + a x_1.
        def forward(self, x):
            return self.a * x[:, 0] + 0.5 * self.a**2 * x[:, 1] + 0 * self.b

    x = torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0], [2.0, -1.0]])
    y = torch.tensor([1.0, 2.0, 3.0, 4.0])
    _, record = monitor_of(Two(), x, y, "squared")
    assert float(record["kernel_velocity"][0]) < 1e-2  # radians a time; the weights move at 40
    net = Turning()
    monitor, record = monitor_of(net, x, y, "squared")
    a = 2.0
    at = monitor._setting.kernel
    residual = (at.x[:, 0] * a + 0.5 * a**2 * at.x[:, 1]) - at.y
    rate = -float((2 * residual * (at.x[:, 0] + a * at.x[:, 1])).mean())  # da/dt
    j, turn = (at.x[:, 0] + a * at.x[:, 1]).numpy(), at.x[:, 1].numpy()
    # K̂ = ĵ ĵᵀ turns √2 times as fast as ĵ.
    unit = j / np.linalg.norm(j)
    side = (turn - unit * (unit @ turn)) * rate / np.linalg.norm(j)
    assert float(record["kernel_velocity"][0]) == pytest.approx(
        math.sqrt(2) * np.linalg.norm(side), rel=0.02
    )


@pytest.mark.parametrize("rate", [0.1, 0.01])
def test_pure_decay_has_no_drift(rate):
    # The loss does not depend on the weights of the hidden layer, because the others are zero.
    net: Any = nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, 1))
    nn.init.zeros_(net[2].weight)
    nn.init.zeros_(net[2].bias)
    x, y = points(6, 4), torch.zeros(6)
    for kind, options in ((torch.optim.SGD, {}), (torch.optim.AdamW, {})):
        optimizer = kind(net.parameters(), lr=rate, weight_decay=0.5, **options)
        monitor, _ = monitor_of(net, x, y, "squared", optimizer)
        before = float(monitor.record["param_norm"][0])
        for _ in range(50):
            optimizer.zero_grad()
            (net(x)[:, 0] ** 2).mean().backward()
            optimizer.step()
            monitor.step()
        monitor.finish()
        record = monitor.record
        shrunk = (1 - 0.5 * rate) ** 50
        assert float(record["param_norm"][-1]) == pytest.approx(shrunk * before, rel=1e-4)
        assert float(record["drift"][-1]) < 1e-5
        assert float(record["drift_share"][-1]) < 1e-5
        with torch.no_grad():
            net[0].weight.add_(1.0)
        optimizer.step()
        monitor.finish()
        assert float(monitor.record["drift"][-1]) < 1e-5, "a finished record has no further row"


def test_drift_of_a_known_displacement():
    net = nn.Linear(3, 1, bias=False)
    with torch.no_grad():
        net.weight.copy_(torch.tensor([[3.0, 0.0, 4.0]]))
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1, weight_decay=1.0)
    x = torch.zeros(4, 3)
    monitor, _ = monitor_of(net, x, torch.zeros(4), "squared", optimizer)
    optimizer.zero_grad()
    (net(x) ** 2).mean().backward()
    optimizer.step()  # shrinks by 0.9
    with torch.no_grad():
        net.weight[0, 1] += 0.9
    monitor.step()
    assert float(monitor.record["drift"][-1]) == pytest.approx(1.0 / 5.0, rel=1e-5)
    share = 0.9 / (0.9 * math.sqrt(26))
    assert float(monitor.record["drift_share"][-1]) == pytest.approx(share, rel=1e-5)


def test_entropy_of_features_and_positions_that_reach_no_output():
    class LastPosition(nn.Module):
        def __init__(self):
            super().__init__()
            self.scale = nn.Parameter(torch.ones(1))
            self.out = nn.Linear(4, 2)

        def forward(self, x):
            return self.out(self.scale * x)[:, -1]

    # The last position has four directions of equal variance, the first one has a huge one.
    rows = torch.cat([torch.eye(4), -torch.eye(4)])
    x = torch.stack([100.0 * torch.arange(8.0)[:, None].expand(8, 4), rows], 1)
    _, record = monitor_of(LastPosition(), x, torch.arange(8) % 2, "cross_entropy")
    assert float(record["spectral_entropy"][0]) == pytest.approx(math.log(4), rel=1e-6)
    net = nn.Linear(4, 2)
    line = torch.arange(8.0)[:, None] * torch.tensor([[1.0, 2.0, 0.0, -1.0]])
    _, record = monitor_of(net, line, torch.arange(8) % 2, "cross_entropy")
    assert abs(float(record["spectral_entropy"][0])) < 1e-6


@pytest.mark.slow
@pytest.mark.parametrize("p", [6, 7])
def test_fourier_participation_is_that_of_the_probe(p):
    torch.manual_seed(0)

    class Sums(nn.Module):
        def __init__(self):
            super().__init__()
            self.table = nn.Embedding(p + 1, 5)
            self.out = nn.Linear(5, p)

        def forward(self, x):
            return self.out(self.table(x).sum(1))

    def by_probe(rows):
        spectrum = probes.residue_spectrum(rows.detach().numpy(), p)
        return float(probes.participation(spectrum))

    x = torch.tensor([[i % p, (2 * i) % p, p] for i in range(30)])
    net, y = Sums(), torch.arange(30) % p
    _, record = monitor_of(net, x, y, "cross_entropy")
    first, last = (float(record[f"fourier_ipr_{name}"][0]) for name in ("first", "last"))
    assert first == pytest.approx(by_probe(net.table.weight[:p].T), rel=1e-5)
    assert last == pytest.approx(by_probe(net.out.weight.T), rel=1e-5)
    with torch.no_grad():  # one frequency
        net.table.weight[:p] = torch.cos(2 * math.pi * torch.arange(p) / p)[:, None]
    _, record = monitor_of(net, x, y, "cross_entropy")
    assert float(record["fourier_ipr_first"][0]) == pytest.approx(1.0, rel=1e-5)
    flat = nn.Linear(2 * p, p)
    one_hot = nn.functional.one_hot(x[:, :2], p).flatten(1).float()
    _, record = monitor_of(flat, one_hot, y, "cross_entropy")
    assert float(record["fourier_ipr_first"][0]) == pytest.approx(by_probe(flat.weight), rel=1e-5)


@pytest.mark.slow
def test_losses_accuracies_and_margins_are_those_of_lazyrich():
    torch.manual_seed(2)
    x = points(40, 5)
    cases = [
        ("cross_entropy", lr.losses.CrossEntropy(), 3, torch.arange(40) % 3),
        ("logistic", lr.losses.Logistic(), 1, torch.sign(x[:, 0])),
        ("squared", lr.losses.Squared(), 2, x[:, :2]),
        (nn.CrossEntropyLoss(), lr.losses.CrossEntropy(), 3, torch.arange(40) % 3),
        (nn.SoftMarginLoss(), lr.losses.Logistic(), 1, torch.sign(x[:, 0])),
        (nn.functional.mse_loss, lr.losses.Squared(), 1, x[:, 0]),
    ]
    for loss, own, width, y in cases:
        net = nn.Linear(5, width)
        _, record = monitor_of(net, x, y, loss)
        f, labels = net(x).detach().numpy().squeeze(), y.numpy()
        assert float(record["train_loss"][0]) == pytest.approx(float(own.mean(f, labels)), rel=1e-5)
        if "train_accuracy" in record:
            expected = float(probes.accuracy(f, labels))
            assert float(record["train_accuracy"][0]) == pytest.approx(expected, rel=1e-6)
            margins = np.asarray(probes.margins(f, labels))
            assert float(record["margin"][0]) == pytest.approx(float(margins.min()), rel=1e-5)
            # Test data are the training data here.
            ratio = np.median(margins) / margins.std()
            assert float(record["test_margin_ratio"][0]) == pytest.approx(float(ratio), rel=1e-5)
        else:
            assert y.ndim == 2 or loss is nn.functional.mse_loss
    ones = nn.BCEWithLogitsLoss()
    _, record = monitor_of(net, x, (x[:, 0] > 0).float(), ones)
    f = net(x)[:, 0].detach()
    expected = ((f > 0) == (x[:, 0] > 0)).float().mean()
    assert float(record["train_accuracy"][0]) == pytest.approx(float(expected))


def test_a_saturated_softmax_is_seen_in_both_precisions():
    net = nn.Linear(2, 2, bias=False)
    with torch.no_grad():
        net.weight.copy_(torch.eye(2))
    # 1 − p is e^−gap: below 2⁻²⁴ from 17 on, and below 2⁻⁵³ from 37 on.
    x = torch.tensor([[5.0, 0.0], [20.0, 0.0], [30.0, 0.0], [40.0, 0.0]])
    _, record = monitor_of(net, x, torch.zeros(4, dtype=torch.long), "cross_entropy")
    assert float(record["softmax_saturation"][0]) == 0.25
    assert float(record["softmax_saturation_own"][0]) == 0.75


def test_norms_by_block_and_top_labels():
    net = nn.Linear(2, 1)
    with torch.no_grad():
        net.weight.copy_(torch.tensor([[3.0, 4.0]]))
        net.bias.fill_(12.0)
    _, record = monitor_of(net, points(12, 2), torch.arange(12) / 4.0, "squared")
    assert record["block_norm"].values[0].tolist() == [5.0, 12.0]
    assert float(record["param_norm"][0]) == pytest.approx(13.0)
    power = record["kernel_label_power"].values[0]
    # The kernel of a line with a bias has rank 3: all other eigenvalues are 0.
    assert record["kernel_spectrum"].values[0][3:].max() < 1e-4
    assert float(record["kernel_top_label_power"][0]) == pytest.approx(power[:10].sum())
    assert record["train_variance"].item() == pytest.approx(np.var(np.arange(12) / 4), rel=1e-6)

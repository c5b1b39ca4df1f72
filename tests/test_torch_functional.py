"""A PyTorch module as a pure function: outputs, Gram matrices and refusals."""

import subprocess
import sys
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import lazyrich as lr
from lazyrich._torch import functional
from lazyrich.torch import functional as lt

torch.set_num_threads(1)


class Attention(nn.Module):
    """Token ids through an embedding, attention, layer norm, and a tied unembedding."""

    def __init__(self, v=5, d=6, heads=2):
        super().__init__()
        self.embedding = nn.Embedding(v, d)
        self.attention = nn.MultiheadAttention(d, heads, batch_first=True)
        self.norm = nn.LayerNorm(d)
        self.out = nn.Linear(d, v, bias=False)
        self.out.weight = self.embedding.weight

    def forward(self, x):
        h = self.embedding(x)
        h = h + self.attention(h, h, h, need_weights=False)[0]
        return self.out(self.norm(h)[:, -1])


class Branching(nn.Module):
    """A forward pass that reads a value, so that it cannot be vectorised."""

    def __init__(self):
        super().__init__()
        self.line = nn.Linear(3, 2)

    def forward(self, x):
        return self.line(x) * (2.0 if float(x.sum()) > 0 else 0.5)


class Scaled(nn.Module):
    """A net with a parameter that has no axis."""

    def __init__(self):
        super().__init__()
        self.line, self.scale = nn.Linear(3, 2), nn.Parameter(torch.tensor(1.5))

    def forward(self, x):
        return self.scale * self.line(x)


class Transformer(nn.Module):
    """Two layers of PyTorch's transformer, with padding and a mask of later positions."""

    def __init__(self, v=5, d=6):
        super().__init__()
        self.table = nn.Embedding(v, d, padding_idx=0)
        self.place = nn.Parameter(torch.randn(3, d))
        layers = (nn.TransformerEncoderLayer(d, 2, 8, batch_first=True) for _ in range(2))
        self.layers = nn.ModuleList(layers)
        self.out = nn.Linear(d, v)

    def forward(self, x):
        h = self.table(x) + self.place
        later = torch.triu(torch.full((3, 3), -torch.inf, dtype=h.dtype), 1)
        for layer in self.layers:
            h = layer(h, src_mask=later)
        return self.out(h[:, -1])


class ByHand(nn.Module):
    """Products and sums with parameters, positions first, a map used twice, and an own gain."""

    def __init__(self, d=4):
        super().__init__()
        self.into, self.bias = nn.Parameter(torch.randn(3, d)), nn.Parameter(torch.randn(2, 1, d))
        self.twice, self.gain = nn.Linear(d, d), nn.Parameter(torch.randn(1, d))
        self.norm, self.act = nn.RMSNorm(d), nn.ReLU(inplace=True)
        self.out = nn.Parameter(torch.randn(d, 2))
        self.shift = nn.Parameter(torch.tensor(0.3))

    def forward(self, x):
        h = torch.stack([x, x.flip(1)]) @ self.into + self.bias  # (positions, samples, width)
        for _ in range(2):
            h = h + self.act(self.twice(self.norm(h) * self.gain))
        return torch.matmul(h[1] - h[0] ** 2, self.out) + self.shift


class Mixing(nn.Module):
    """A net that mixes its samples: a sample by itself is at zero."""

    def __init__(self):
        super().__init__()
        self.line = nn.Linear(3, 2)

    def forward(self, x):
        return torch.tanh(self.line(x - x.mean(0)))


FOLLOWED = ("mlp", "attention", "frozen", "scaled", "transformer", "by hand")
"""Nets whose per-sample gradients are not formed, but for those of tied parameters."""


def nets():
    torch.manual_seed(0)
    mlp = nn.Sequential(nn.Linear(3, 5), nn.GELU(), nn.Dropout(0.5), nn.Linear(5, 2))
    conv = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.ReLU(), nn.Flatten(),
                         nn.Linear(8, 1))  # fmt: skip
    frozen = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2))
    frozen[0].weight.requires_grad_(False)
    x = torch.randn(4, 3)
    return {
        "mlp": (mlp, x),
        "conv": (conv, torch.randn(4, 1, 4, 4)),
        "attention": (Attention(), torch.randint(0, 5, (4, 3))),
        "branching": (Branching(), x),
        "frozen": (frozen, x),
        "scaled": (Scaled(), x),
        "transformer": (Transformer(), torch.randint(0, 5, (4, 3))),
        "by hand": (ByHand(), x),
        "mixing": (Mixing(), x),
    }


def brute_rows(net, x):
    """A backward pass for every output of every sample, on a copy in `eval` mode."""
    net.eval()
    leaves = [p for p in net.parameters() if p.requires_grad]
    rows = []
    for i in range(len(x)):
        for f in net(x[i : i + 1]).flatten():
            pulled = torch.autograd.grad(f, leaves, retain_graph=True, allow_unused=True)
            rows.append(torch.cat([g.flatten() for g in pulled]))
    return torch.stack(rows)


@pytest.mark.parametrize("name", nets())
def test_gram_matrices_are_those_of_a_backward_pass_for_every_output(name):
    net, x = nets()[name]
    net = net.double()
    x = x.double() if x.is_floating_point() else x
    params = lt.parameters_of(net)
    found = lt.gram(net, params, x)
    parts = lt.gram(net, params, x, chunk=3)
    other = lt.gram(net, params, x[:3], x[1:], chunk=2)
    c = len(found) // len(x)
    r = torch.linspace(-1, 1, len(x) * c).double().reshape(len(x), 1, c)
    along = lt.gram(net, params, x, directions=r)
    rows = brute_rows(net, x)
    exact = rows @ rows.T
    close: dict[str, Any] = {"rtol": 1e-11, "atol": 1e-11}
    torch.testing.assert_close(found, exact, **close)
    torch.testing.assert_close(parts, exact, **close)
    torch.testing.assert_close(other, exact[: 3 * c, c:], **close)
    mixed = (r @ rows.reshape(len(x), c, -1))[:, 0]
    torch.testing.assert_close(along, mixed @ mixed.T, **close)
    torch.testing.assert_close(lt.per_sample_jacobian(net, params, x).flatten(0, 1), rows, **close)
    for chunk in (None, 3):
        traced = lt.gram(net, params, x, traced=True, chunk=chunk)
        every = exact.reshape(len(x), c, len(x), c)
        torch.testing.assert_close(traced, torch.einsum("iaja->ij", every), **close)
    assert (functional._plans[net][1] is not None) == (name in FOLLOWED)


def test_the_training_is_left_as_it_was():
    net = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Dropout(0.5), nn.Linear(4, 2))
    net[1].eval()  # a module in another mode than the rest
    net[0].weight.grad = torch.ones(4, 3)
    x, y = torch.randn(5, 3), torch.tensor([0, 1, 0, 1, 1])
    state = {name: value.clone() for name, value in net.state_dict().items()}
    random = torch.get_rng_state()
    params = lt.parameters_of(net)
    lt.outputs(net, params, x)
    lt.gram(net, params, x)
    value, gradient = lt.loss_gradient(net, params, x, y, nn.functional.cross_entropy)
    assert [m.training for m in net.modules()] == [True, True, False, True, True]
    assert torch.equal(net[0].weight.grad, torch.ones(4, 3))
    assert net[3].weight.grad is None
    assert torch.equal(torch.get_rng_state(), random)
    for name, kept in net.state_dict().items():
        assert torch.equal(kept, state[name])
    # The loss and gradient are those of the net in `eval` mode.
    net.eval()
    own = nn.functional.cross_entropy(net(x), y)
    own.backward()
    torch.testing.assert_close(value, own.detach())
    torch.testing.assert_close(gradient["3.bias"], net[3].bias.grad)


def test_wrappers_are_taken_off():
    net = nn.Linear(2, 1)
    wrapped: Any = torch.compile(nn.DataParallel(net), backend="eager")
    assert lt.unwrapped(wrapped) is net
    assert list(lt.parameters_of(wrapped)) == ["weight", "bias"]
    x = torch.randn(3, 2)
    assert torch.equal(lt.outputs(wrapped, lt.parameters_of(wrapped), x), net(x))


@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")
def test_scripts_are_refused():
    with pytest.raises(lr.InputError, match=r"^net = .*: should be the module before torch.jit"):
        lt.unwrapped(torch.jit.script(nn.Sequential(nn.Linear(2, 1))))


def test_tied_parameters_are_taken_once():
    net, x = Attention(), torch.tensor([[1, 2, 3]])
    params = lt.parameters_of(net)
    assert "out.weight" not in params
    doubled = {**params, "embedding.weight": 2 * params["embedding.weight"]}
    found = lt.outputs(net, doubled, x)
    with torch.no_grad():
        net.embedding.weight *= 2
    net.eval()
    torch.testing.assert_close(found, net(x))


class Noisy(nn.Linear):
    def forward(self, x):
        return super().forward(x) + torch.randn(len(x), 1)


class Counting(nn.Linear):
    calls: Tensor

    def __init__(self, *sizes):
        super().__init__(*sizes)
        self.register_buffer("calls", torch.zeros(()))

    def forward(self, x):
        self.calls += 1
        return super().forward(x)


class Changing(nn.Linear):
    calls = 0

    def forward(self, x):
        self.calls += 1
        return super().forward(x) * self.calls


class Centred(nn.Linear):
    def forward(self, x):
        f = super().forward(x)
        return f - f.mean(0)


class Pair(nn.Linear):
    def forward(self, x):
        return super().forward(x), x


@pytest.mark.parametrize(
    ("net", "words"),
    [
        (nn.Sequential(nn.Linear(3, 2), nn.Dropout(0.1)), "Sequential.1.*dropout in train mode"),
        (nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2)), "statistics of the batch"),
        (nn.BatchNorm1d(3, track_running_stats=False).eval(), "without running statistics"),
        (nn.Sequential(nn.LazyLinear(2)), "without a shape"),
        (Noisy(3, 1).eval(), "draws random numbers"),
        (Counting(3, 1), "writes its buffers"),
        (Changing(3, 1), "other outputs if it is called again"),
        (Centred(3, 1), "depend on the other inputs"),
        (Pair(3, 1), "one tensor"),
    ],
)
def test_what_is_no_deterministic_function_is_refused(net, words):
    with pytest.raises(lr.InputError, match=words):
        lt.check_deterministic(net, torch.randn(4, 3))


def test_what_is_one_is_accepted_and_left_alone():
    net = nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2), nn.Dropout(0.1)).eval()
    random = torch.get_rng_state()
    lt.check_deterministic(net, torch.randn(4, 3, generator=torch.Generator()))
    assert torch.equal(torch.get_rng_state(), random)
    counting = Counting(3, 1)
    with pytest.raises(lr.InputError):
        lt.check_deterministic(counting, torch.randn(4, 3))
    assert isinstance(counting.calls, Tensor)
    assert float(counting.calls) == 0


@pytest.mark.slow
def test_pytorch_is_imported_only_when_it_is_used():
    code = (
        "import sys, lazyrich as lr; [getattr(lr, name) for name in dir(lr)]; lr.models.FromTorch;"
        "dir(lr.torch); sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
    # JAX draws from NumPy's global state when it is imported; a training must not see this.
    code = (
        "import sys, numpy as np; np.random.seed(0); import lazyrich as lr; lr.torch.Monitor;"
        "assert 'jax' in sys.modules; sys.exit(np.random.rand() != np.random.RandomState(0).rand())"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_without_pytorch_the_first_use_says_how_to_install_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    monkeypatch.delitem(sys.modules, "lazyrich.torch.functional")
    monkeypatch.delattr(lr.torch, "functional")
    with pytest.raises(lr.ComputationError, match=r"pip install 'lazyrich\[torch\]'"):
        lr.torch.functional  # noqa: B018

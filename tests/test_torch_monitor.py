"""The monitor of a training loop: it changes nothing, resumes, and never ends a training."""

import contextlib
import copy
import io
import json
import random
import re
import runpy
import shutil
import warnings
from pathlib import Path
from typing import Any

import jaxtyping
import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset, IterableDataset, TensorDataset

import lazyrich as lr
from lazyrich.torch._monitor.schedule import LogSteps

torch.set_num_threads(1)
cross_entropy = nn.functional.cross_entropy


class Transformer(nn.Module):
    """One layer of attention with dropout and layer norms, on token ids."""

    def __init__(self, p=7, d=8):
        super().__init__()
        self.table = nn.Embedding(p, d)
        self.layer = nn.TransformerEncoderLayer(d, 2, 16, dropout=0.2, batch_first=True)
        self.out = nn.Linear(d, p, bias=False)

    def forward(self, x):
        return self.out(self.layer(self.table(x)))[:, -1]


def mlp():
    return nn.Sequential(
        nn.Linear(14, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Dropout(0.3), nn.Linear(16, 7)
    )


def sums(p=7):
    """Token ids and their sum mod p, 30 for training."""
    a = torch.cartesian_prod(torch.arange(p), torch.arange(p))
    order = torch.randperm(p * p, generator=torch.Generator().manual_seed(0))
    x, y = a[order], a[order].sum(1) % p
    return (x[:30], y[:30]), (x[30:], y[30:])


def one_hot(data):
    return tuple((nn.functional.one_hot(x, 7).flatten(1).float(), y) for x, y in data)


NETS = {"mlp": (mlp, lambda: one_hot(sums())), "transformer": (Transformer, sums)}
OPTIMISERS = {
    "adamw": lambda p: torch.optim.AdamW(p, lr=1e-2, weight_decay=0.1),
    "sgd": lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9, weight_decay=1e-2),
}


def trained(
    kind,
    steps=40,
    *,
    watched=True,
    optimiser="adamw",
    accumulate=1,
    after=0,
    state=None,
    backend=None,
    in_place=False,
    mixed=False,
    **options,
):
    """A training in batches with a schedule and clipping; what it ends with, and its monitor.

    Mixed precision skips the sixth step, as if its gradients were infinite.
    """
    torch.manual_seed(1)
    random.seed(1)
    np.random.seed(1)
    make, data = NETS[kind]
    net: Any = make()
    train, test = data()
    if backend is not None:
        torch.compiler.reset()
        if in_place:
            net.compile(backend=backend)
        else:
            net = torch.compile(net, backend=backend)
    scaler = torch.amp.GradScaler("cpu", init_scale=1024.0, growth_interval=7, enabled=mixed)
    cast = torch.autocast("cpu", torch.bfloat16) if mixed else contextlib.nullcontext()
    optimizer = OPTIMISERS[optimiser](net.parameters())
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 100)
    monitor = None
    if watched:
        monitor = lr.torch.Monitor(
            net, train, test, optimizer=optimizer, loss="cross_entropy", **options
        )
    if state is not None:
        net.load_state_dict(state["net"])
        optimizer.load_state_dict(state["optimizer"])
        schedule.load_state_dict(state["schedule"])
        torch.set_rng_state(state["rng"])
        if monitor is not None:
            monitor.load_state_dict(state["monitor"])
    for step in range(after, steps):
        optimizer.zero_grad()
        for part in range(accumulate):
            chosen = torch.randint(30, (10,))
            with cast:
                loss = cross_entropy(net(train[0][chosen]), train[1][chosen]) / accumulate
            scaler.scale(loss).backward()
            if monitor is not None and part < accumulate - 1:
                monitor.step()  # a loop may call it after every batch
        if mixed and step == 5:
            next(net.parameters()).grad.view(-1)[0] = torch.inf
        scaler.unscale_(optimizer)
        nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        scaler.step(optimizer)
        scaler.update()
        schedule.step()
        if monitor is not None:
            monitor.step()
    left = {
        "scaler": scaler.state_dict(),
        "net": net.state_dict(),
        "optimizer": optimizer.state_dict(),
        "schedule": schedule.state_dict(),
        "rng": torch.get_rng_state(),
    }
    marks = {
        "grads": [p.grad for p in net.parameters()],
        "modes": [module.training for module in net.modules()],
        "hooks": [len(module._forward_hooks) for module in net.modules()],
        "numpy": _numpy_state(),
        "python": random.getstate(),
    }
    return left, marks, monitor


def flat(value):
    """Every tensor and number of a nested state, in order."""
    if isinstance(value, dict):
        return [part for key in value for part in [key, *flat(value[key])]]
    if isinstance(value, list | tuple):
        return [part for each in value for part in flat(each)]
    return [value]


def _numpy_state():
    kind, keys, *rest = np.random.get_state(legacy=True)
    return [kind, np.asarray(keys).tolist(), *rest]


@pytest.fixture
def unchecked():
    """Without the checker of types, which draws from the random numbers of Python."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)


def assert_same(first, second):
    first, second = flat(first), flat(second)
    assert len(first) == len(second)
    for one, other in zip(first, second, strict=True):
        if isinstance(one, torch.Tensor):
            assert torch.equal(one, other)
        else:
            assert one == other


@pytest.mark.parametrize(
    ("kind", "optimiser", "accumulate", "mixed"),
    [
        ("mlp", "adamw", 1, False),
        ("mlp", "sgd", 2, True),
        ("transformer", "adamw", 2, False),
        ("transformer", "adamw", 1, True),
    ],
)
def test_training_is_bit_for_bit_that_without_a_monitor(
    unchecked, kind, optimiser, accumulate, mixed
):
    options = {"optimiser": optimiser, "accumulate": accumulate, "mixed": mixed}
    with_, marks, monitor = trained(kind, **options)
    without, other_marks, _ = trained(kind, watched=False, **options)
    assert_same(with_, without)
    assert_same(marks, other_marks)
    record = monitor.record
    steps = record["step" if optimiser == "sgd" else "time"].values.tolist()
    assert steps == LogSteps(20).until(40 - mixed)  # the step that was skipped does not count
    if mixed:
        assert with_["scaler"]["scale"] == 1024.0 * 2.0**3  # halved once, doubled four times
    assert json.loads(record.attrs["monitor"])["notes"] == []
    # The losses are those of the net at that moment, in eval mode.
    net = NETS[kind][0]()
    net.load_state_dict(with_["net"])
    (x, y), _ = NETS[kind][1]()
    with torch.autocast("cpu", torch.bfloat16, enabled=mixed):
        monitor.finish()
    expected = float(cross_entropy(net.eval()(x), y).detach())
    assert float(monitor.record["train_loss"][-1]) == pytest.approx(expected, rel=1e-6)


def test_a_resumed_record_is_the_uninterrupted_one():
    _, _, whole = trained("mlp", 40)
    left, _, monitor = trained("mlp", 17)
    file = io.BytesIO()
    torch.save({**left, "monitor": monitor.state_dict()}, file)
    file.seek(0)
    state = torch.load(file, weights_only=True)
    again, _, resumed = trained("mlp", 40, after=17, state=state)
    straight, _, _ = trained("mlp", 40, watched=False)
    assert_same(again["net"], straight["net"])
    assert resumed.record.identical(whole.record)
    other = lr.torch.Monitor(mlp(), *one_hot(sums()), loss="cross_entropy", seed=1)
    with pytest.raises(lr.InputError, match=r"state.seed = 0: should be that of this monitor, 1"):
        other.load_state_dict(state["monitor"])
    net = nn.Linear(14, 7)
    other = lr.torch.Monitor(net, *one_hot(sums()), loss="cross_entropy")
    ours = r"state = '\S+ of shape .*': should be of a net with the same parameters; in this net"
    with pytest.raises(lr.InputError, match=ours):
        other.load_state_dict(state["monitor"])
    with pytest.raises(lr.InputError, match="should be a state_dict of a Monitor"):
        other.load_state_dict(state["net"])


@pytest.mark.parametrize("optimiser", OPTIMISERS)
def test_a_monitor_that_is_built_late_says_so(optimiser):
    net, (train, test) = mlp(), one_hot(sums())
    optimizer = OPTIMISERS[optimiser](net.parameters())

    def step():
        optimizer.zero_grad()
        cross_entropy(net(train[0]), train[1]).backward()
        optimizer.step()

    for _ in range(3):
        step()
    monitor = lr.torch.Monitor(net, train, test, loss="cross_entropy", optimizer=optimizer)
    assert not notes_of(monitor)  # a state may still be loaded
    with pytest.warns(RuntimeWarning, match=r"made (3 )?steps before the monitor was built"):
        step()
    monitor.step()
    step()
    assert len(notes_of(monitor)) == 1
    state = monitor.state_dict()
    again = lr.torch.Monitor(net, train, test, loss="cross_entropy", optimizer=optimizer)
    again.load_state_dict(state)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        step()


KINDS = [
    name
    for name in dir(torch.optim)
    if isinstance(kind := getattr(torch.optim, name), type)
    and issubclass(kind, torch.optim.Optimizer)
    and kind is not torch.optim.Optimizer
]


def followed(kind, seed=0, **options):
    """A net with an optimiser of a kind, a step of it, and a function that makes monitors."""
    torch.manual_seed(seed)
    sparse = kind == "SparseAdam"  # takes nothing but sparse gradients
    net: Any = nn.Embedding(6, 2, sparse=sparse) if sparse else nn.Linear(3, 2, bias=False)
    x = torch.arange(6) if sparse else torch.randn(6, 3)
    y = torch.arange(6) % 2
    optimizer = getattr(torch.optim, kind)(net.parameters(), lr=1e-3, **options)

    def loss():
        optimizer.zero_grad()
        value = cross_entropy(net(x), y)
        value.backward()
        return value

    def monitor_of(**given):
        data: Any = {"train": (x, y), "test": (x, y), "loss": "cross_entropy"}
        return lr.torch.Monitor(net, **data, **given)

    return net, optimizer, lambda: optimizer.step(loss), monitor_of


def noted(monitor, *calls):
    """What a monitor notes during some calls."""
    before = len(notes_of(monitor))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for call in calls:
            call()
            monitor.step()
    return notes_of(monitor)[before:]


@pytest.mark.parametrize("kind", KINDS)
def test_every_optimiser_that_does_not_fit_to_the_record_says_so(kind):
    net, optimizer, step, monitor_of = followed(kind)
    monitor = monitor_of(optimizer=optimizer)
    assert not noted(monitor, *[step] * 30)
    assert monitor.record["step" if kind == "SGD" else "time"].values[-1] == 28
    late = monitor_of(optimizer=optimizer)
    (note,) = noted(late, step)
    # SGD without momentum keeps no state: the net itself shows that it was trained.
    words = r"parameters were written \d+ times before" if kind == "SGD" else r"made (30 )?steps"
    assert re.search(words, note), note
    left = copy.deepcopy([net.state_dict(), optimizer.state_dict(), late.state_dict()])

    def resumed(kind, forgotten):
        net, optimizer, step, monitor_of = followed(kind, seed=1)
        net.load_state_dict(left[0])
        if not forgotten:
            optimizer.load_state_dict(left[1])
        monitor = monitor_of(optimizer=optimizer)
        monitor.load_state_dict(left[2])
        return noted(monitor, step, step)

    assert not resumed(kind, forgotten=False)
    # Nothing is lost where there was no state, and nothing is known.
    assert len(resumed(kind, forgotten=True)) == (kind != "SGD")
    if kind != "SparseAdam":
        other = "Adagrad" if kind != "Adagrad" else "Adam"
        (note,) = resumed(other, forgotten=True)
        assert f"the optimiser is {other} after step 1 and was {kind} until then" in note


def test_an_optimiser_that_is_exchanged_counts_on():
    net, optimizer, step, monitor_of = followed("SGD", momentum=0.9)
    monitor = monitor_of(optimizer=optimizer)
    monitor.attach(optimizer)  # a second time, as a trainer may do
    noted(monitor, *[step] * 20)
    x, y = torch.randn(6, 3), torch.arange(6) % 2
    later = torch.optim.AdamW(net.parameters(), lr=1e-3)

    def step_later():
        later.zero_grad()
        cross_entropy(net(x), y).backward()
        later.step()

    with pytest.warns(RuntimeWarning, match=r"is AdamW after step 20 and was SGD"):
        monitor.attach(later)
    assert not noted(monitor, *[step_later] * 2)
    state = monitor.state_dict()
    assert state["num_steps"] == 22
    # Resumed with all that was saved: the optimiser has fewer steps than the record.
    again = monitor_of(optimizer=later)
    again.load_state_dict(state)
    assert not noted(again, step_later)
    assert again.state_dict()["num_steps"] == 23


class Lion(torch.optim.Optimizer):
    """An optimiser that makes its state when it is built, and counts no steps."""

    def __init__(self, params, start=torch.zeros_like):
        super().__init__(params, {"lr": 1e-3})
        for p in self.param_groups[0]["params"]:
            self.state[p]["exp_avg"] = start(p).detach()

    def step(self, closure=None):
        closure()
        for p in self.param_groups[0]["params"]:
            self.state[p]["exp_avg"].lerp_(p.grad, 0.1)
            p.data.sub_(1e-3 * self.state[p]["exp_avg"].sign())


class AdamWOfOnesOwn(torch.optim.AdamW):
    """Another name, and nothing else."""


@pytest.mark.parametrize("start", [torch.zeros_like, torch.clone])
def test_a_state_made_with_the_optimiser_is_not_of_steps(monkeypatch, start):
    monkeypatch.setattr(torch.optim, "Lion", lambda p, lr: Lion(p, start), raising=False)
    _, optimizer, step, monitor_of = followed("Lion")
    assert not noted(monitor_of(optimizer=optimizer), *[step] * 3)
    (note,) = noted(monitor_of(optimizer=optimizer), step)
    assert "made steps before the monitor was built" in note


@pytest.mark.parametrize(("kind", "momentum"), [("Adam", None), ("SGD", 0.9), ("SGD", None)])
def test_entries_that_are_drawn_one_by_one_are_no_steps(kind, momentum):
    options = {} if momentum is None else {"momentum": momentum}
    net, optimizer, step, monitor_of = followed(kind, **options)
    with torch.no_grad():
        for i in range(25):
            net.weight[i % 2, i % 3] = 0.1 * i
    # Of an optimiser without a state nothing else can be seen.
    assert len(noted(monitor_of(optimizer=optimizer), step)) == (options == {} and kind == "SGD")


def test_an_optimiser_of_a_class_that_derives_from_the_one_before_is_the_same(monkeypatch):
    monkeypatch.setattr(torch.optim, "AdamWOfOnesOwn", AdamWOfOnesOwn, raising=False)

    def notes(before, after):
        net, optimizer, step, monitor_of = followed(before)
        monitor = monitor_of(optimizer=optimizer)
        noted(monitor, step)
        left = copy.deepcopy([net.state_dict(), optimizer.state_dict(), monitor.state_dict()])
        net, optimizer, step, monitor_of = followed(after, seed=1)
        net.load_state_dict(left[0])
        optimizer.load_state_dict(left[1])
        again = monitor_of(optimizer=optimizer)
        again.load_state_dict(left[2])
        found = noted(again, step)
        kind = getattr(torch.optim, before)
        return found + noted(again, lambda: again.attach(kind(net.parameters(), lr=1e-3)))

    assert not notes("AdamW", "AdamWOfOnesOwn")
    assert not notes("AdamWOfOnesOwn", "AdamW")
    # Within PyTorch AdamW derives from Adam, and is another optimiser.
    assert len(notes("Adam", "AdamWOfOnesOwn")) == 2
    assert len(notes("AdamW", "Adam")) == 2


@pytest.mark.parametrize("frozen_first", [True, False])
def test_parameters_that_freeze_or_join_change_no_shapes(line, frozen_first):
    net, _, _, step = line()
    net.bias.requires_grad_(not frozen_first)
    x = torch.randn(16, 3, generator=torch.Generator().manual_seed(0))
    y = (x[:, 0] > 0).long()
    monitor = lr.torch.Monitor(net, (x, y), (x, y), loss="cross_entropy")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        step()
        monitor.step()
        net.bias.requires_grad_(frozen_first)
        for _ in range(3):
            step()
            monitor.step()
    norms = monitor.record["block_norm"]
    assert norms.shape == (monitor.record.sizes["time"], 1 if frozen_first else 2)
    assert np.isfinite(norms).all()
    again = lr.torch.Monitor(net, (x, y), (x, y), loss="cross_entropy")
    assert len(again.state_dict()["start"]) == 2 - (not frozen_first)


def test_a_state_that_goes_on_elsewhere_says_so():
    left, _, monitor = trained("mlp", 17)
    state = monitor.state_dict()
    for forgotten, words in {
        "net": "parameters are not those",
        "optimizer": "made 0 steps, and 17 steps when the state was saved",
    }.items():
        net, (train, test) = mlp(), one_hot(sums())
        optimizer = OPTIMISERS["adamw"](net.parameters())
        other = lr.torch.Monitor(net, train, test, loss="cross_entropy", optimizer=optimizer)
        other.load_state_dict(state)
        if forgotten != "net":
            net.load_state_dict(left["net"])
        if forgotten != "optimizer":
            optimizer.load_state_dict(left["optimizer"])
        cross_entropy(net(train[0]), train[1]).backward()
        with pytest.warns(RuntimeWarning, match=words):
            optimizer.step()
        assert len(notes_of(other)) == 1


def test_a_net_is_known_by_most_of_its_values():
    # Gains of 1 and biases of 0 are those of any draw, and weights are small beside them.
    data = torch.randn(16, 3), torch.arange(16) % 2

    def draw(seed):
        torch.manual_seed(seed)
        first, last = nn.Linear(3, 8, bias=False), nn.Linear(8, 2)
        with torch.no_grad():
            first.weight.mul_(1e-3)
            last.weight.mul_(1e-3)
            last.bias.zero_()
        return nn.Sequential(first, nn.LayerNorm(8), last)

    def monitor_of(net):
        optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
        return optimizer, lr.torch.Monitor(
            net, data, data, optimizer=optimizer, loss="cross_entropy"
        )

    state = monitor_of(draw(0))[1].state_dict()

    def notes(net):
        optimizer, monitor = monitor_of(net)
        monitor.load_state_dict(state)
        cross_entropy(net(data[0]), data[1]).backward()
        with warnings.catch_warnings(record=True):
            warnings.simplefilter("always")
            optimizer.step()
        return notes_of(monitor)

    assert not notes(draw(0))
    assert not notes(draw(0).bfloat16().float())
    small = draw(0)
    with torch.no_grad():
        small[0].weight.mul_(1e-2)  # near 1e-5, where float16 has steps of 6e-8
    state = monitor_of(small)[1].state_dict()
    assert not notes(small.half().float())
    state = monitor_of(draw(0))[1].state_dict()
    (note,) = notes(draw(1))
    assert "the parameters are not those with which the state was saved" in note


@pytest.fixture(scope="module")
def line():
    """A net and data of a few samples, and a monitor of it with SGD."""

    def make(rate=0.1, **options):
        torch.manual_seed(0)
        net = nn.Linear(3, 2)
        x = torch.randn(16, 3)
        y = (x[:, 0] > 0).long()
        optimizer = torch.optim.SGD(net.parameters(), lr=rate, weight_decay=0.1)
        settings = {"optimizer": optimizer, "loss": "cross_entropy", **options}
        monitor = lr.torch.Monitor(net, (x, y), (x, y), **settings)

        def step():
            optimizer.zero_grad()
            cross_entropy(net(x), y).backward()
            optimizer.step()
            monitor.step()

        return net, optimizer, monitor, step

    return make


@pytest.mark.slow
def test_a_record_works_everywhere(line, tmp_path):
    _, _, monitor, step = line()
    for _ in range(30):
        step()
    assert monitor.record.attrs["ending"] == "running"
    monitor.finish()
    record = monitor.record
    assert record.attrs["ending"] == "completed"
    assert record["step"].values[-1] == 30
    # Time is flow time, the sum of learning rates, as for optimisers of lazyrich.
    np.testing.assert_allclose(record["time"], 0.1 * record["step"])
    assert record["time"].attrs["units"] == "1"
    for name in record.data_vars:
        if record[name].dims[:1] == ("time",):
            known = lr.records.VARIABLES[name]
            assert record[name].dims == known.dims
            assert record[name].attrs == known.labels
    events = lr.transition(record)
    assert events.outcome == lr.summarise(record)["outcome"]
    assert record["test_chance"] >= 0.5
    lr.save_record(record, tmp_path / "run.nc")
    assert lr.open_record(tmp_path / "run.nc").identical(record)
    assert lr.plot.run(record) is not None
    lr.report(record, tmp_path / "run.html")


def test_skipped_steps_do_not_count(line):
    net, optimizer, monitor, step = line()
    scaler = torch.amp.GradScaler("cpu", init_scale=4.0)
    x, y = torch.randn(16, 3), torch.arange(16) % 2
    for call in range(6):
        optimizer.zero_grad()
        with torch.autocast("cpu", dtype=torch.bfloat16):
            loss = cross_entropy(net(x), y)
        scaler.scale(loss).backward()
        if call in (0, 3):
            net.weight.grad[0, 0] = torch.inf
        scaler.step(optimizer)
        scaler.update()
        monitor.step()
    assert monitor.record["step"].values.tolist() == [0, 1, 2, 3, 4]
    np.testing.assert_allclose(monitor.record["time"], 0.1 * np.arange(5))
    del step


def test_rates_of_a_schedule_are_those_of_the_steps(line):
    _, optimizer, monitor, step = line(rate=1.0)
    for rate in (0.5, 0.25, 0.125):
        optimizer.param_groups[0]["lr"] = rate
        step()
        optimizer.param_groups[0]["lr"] = 100.0  # what a scheduler sets after the step
    assert monitor.record["time"].values.tolist() == [0.0, 0.5, 0.75, 0.875]


def test_a_learning_rate_of_zero_stops_the_time_and_not_its_axis(line):
    _, optimizer, monitor, step = line(rate=1.0)
    for rate in (0.0, 0.5, 0.25, 0.0, 0.0):
        optimizer.param_groups[0]["lr"] = rate
        step()
    assert monitor.record["time"].attrs["units"] != "step"
    assert monitor.record["time"].values.tolist() == [0.0, 0.5, 0.75]
    assert monitor.record["step"].values.tolist() == [0, 2, 5]
    assert monitor.record["learning_rate"].values[-1] == 0


# The default backend compiles C++.
_no_compiler = not any(map(shutil.which, ("g++", "clang++", "clang", "cl")))
_compiles = pytest.mark.skipif(_no_compiler, reason="torch.compile finds no compiler of C++")


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # within PyTorch
@pytest.mark.parametrize(
    ("backend", "in_place", "kind"),
    [
        pytest.param("eager", True, "transformer", marks=pytest.mark.slow),
        pytest.param("aot_eager", False, "transformer", marks=pytest.mark.slow),
        pytest.param("inductor", False, "mlp", marks=[pytest.mark.battery, _compiles]),
    ],
)
def test_compiled_nets_are_trained_and_measured_alike(unchecked, backend, in_place, kind):
    options = {"backend": backend, "in_place": in_place}
    graphs = torch._dynamo.utils.counters["stats"]
    without, other_marks, _ = trained(kind, watched=False, **options)
    num = graphs["unique_graphs"]
    with_, marks, monitor = trained(kind, **options)
    assert graphs["unique_graphs"] == num + 1  # passes of the monitor compile nothing
    assert_same(with_, without)
    assert_same(marks, other_marks)
    assert monitor.record["time"].values.tolist() == LogSteps(20).until(40)
    about = json.loads(monitor.record.attrs["monitor"])
    assert about["net"] == type(NETS[kind][0]()).__name__
    assert about["notes"] == []
    torch.compiler.reset()


def test_losses_that_are_not_finite_end_the_record(line):
    net, _, monitor, step = line()
    for _ in range(3):
        step()
    with torch.no_grad():
        net.weight[0, 0] = torch.nan
    with pytest.warns(RuntimeWarning, match="losses are not finite at step 4"):
        step()
    step()
    record = monitor.record
    assert record.attrs["ending"] == "diverged"
    assert record["step"].values.tolist() == [0, 1, 2, 3]
    assert lr.transition(record).outcome == "failed"
    monitor.finish()
    assert monitor.record.attrs["ending"] == "diverged"
    assert "infinite or not-a-number" in monitor.diagnosis().text


def test_an_error_of_the_monitor_does_not_end_the_training(line, monkeypatch):
    _, _, monitor, step = line()
    measures = monitor._measures

    def broken(view):
        raise ArithmeticError("of a measure")

    monkeypatch.setitem(measures, "tangent", broken)
    with pytest.warns(RuntimeWarning, match="tangent: ArithmeticError at step 1"):
        step()
    for _ in range(4):
        step()  # with a second warning the test would fail
    record = monitor.record
    assert record.sizes["time"] == 6
    assert np.isnan(record["kernel_distance"].values[1:]).all()
    assert np.isfinite(record["param_norm"]).all()
    # The losses themselves fail: there is no row, and the training goes on.
    monkeypatch.setattr(monitor._setting.objective, "kind", "no kind")
    calls = []

    def failing(f, y):
        calls.append(1)
        raise ZeroDivisionError

    monkeypatch.setattr(monitor._setting.objective, "function", failing)
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # as a script may: the warning goes to standard error
        for _ in range(7):
            step()
    assert len(calls) == 6  # at steps 6 to 11, and not at 12, where no record is due
    assert monitor.record.sizes["time"] == 6
    notes = json.loads(monitor.record.attrs["monitor"])["notes"]
    assert [note.split(" at ")[0] for note in notes] == [
        "tangent: ArithmeticError",
        "step: ZeroDivisionError",
    ]


def test_a_rate_that_is_no_number_does_not_end_the_training(line):
    _, optimizer, monitor, step = line()
    step()
    optimizer.param_groups.append({"params": [], "lr": "fast", "momentum": 0.0})
    with pytest.warns(RuntimeWarning, match="optimiser: ValueError at step 2"):
        _hooked(optimizer, monitor)
    assert monitor.record["step"].values.tolist() == [0, 1, 2]


def _hooked(optimizer, monitor):
    for hook in optimizer._optimizer_step_post_hooks.values():
        hook(optimizer, (), {})
    monitor.step()


class Items(Dataset[object]):
    """Items that draw random numbers, as augmented images do."""

    def __len__(self):
        return 20

    def __getitem__(self, i):
        noise = 0 * torch.rand(3) + 0 * random.random() + 0 * np.random.rand()
        return torch.full((3,), float(i)) + noise.float(), i % 2


class Endless(IterableDataset[object]):
    def __iter__(self):
        yield torch.zeros(3), 0


def test_data_in_the_forms_that_scripts_have(unchecked):
    x = torch.arange(20.0)[:, None].expand(20, 3)
    y = torch.arange(20) % 2
    forms = [
        (x, y),
        (x.numpy(), y.numpy()),
        TensorDataset(x, y),
        DataLoader(TensorDataset(x, y), batch_size=7, shuffle=True),
        Items(),
        DataLoader(Items(), batch_size=3, shuffle=True),
    ]
    torch.manual_seed(0)
    net = nn.Linear(3, 2)
    before = (torch.get_rng_state(), _numpy_state(), random.getstate())
    found = []
    for data in forms:
        monitor = lr.torch.Monitor(net, data, data, loss="cross_entropy", num_samples=12)
        found.append(monitor.record)
        assert json.loads(found[-1].attrs["monitor"])["num_train"] == [12, 20]
    assert_same(before, (torch.get_rng_state(), _numpy_state(), random.getstate()))
    for other in found[1:]:
        assert other.identical(found[0])
    seeded = lr.torch.Monitor(net, (x, y), (x, y), loss="cross_entropy", num_samples=12, seed=1)
    assert not seeded.record.identical(found[0])


class Answer:
    """Outputs as those of language models: an object with logits."""

    def __init__(self, logits):
        self.logits = logits


def test_items_that_are_dicts_and_a_choice_of_outputs():
    class Language(nn.Module):
        def __init__(self):
            super().__init__()
            self.table, self.out = nn.Embedding(5, 4), nn.Linear(4, 5)

        def forward(self, input_ids, mask=None):
            return Answer(self.out(self.table(input_ids)))

    torch.manual_seed(0)
    net = Language()
    ids = torch.arange(12).reshape(6, 2) % 5
    items = [{"input_ids": row, "labels": int(row[-1])} for row in ids]

    class Rows(Dataset[object]):
        def __len__(self):
            return 6

        def __getitem__(self, i):
            return items[i]

    monitor = lr.torch.Monitor(
        net, Rows(), {"input_ids": ids, "labels": ids[:, -1]}, loss=nn.CrossEntropyLoss(),
        select=lambda f: f[:, -1],
    )  # fmt: skip
    expected = cross_entropy(net(ids).logits[:, -1], ids[:, -1]).item()
    assert float(monitor.record["train_loss"][0]) == pytest.approx(expected, rel=1e-6)
    assert monitor.record["block"].values.tolist() == ["table.weight", "out.weight", "out.bias"]
    with pytest.raises(lr.InputError, match=r"choose the outputs that labels are of by select"):
        lr.torch.Monitor(net, Rows(), Rows(), loss="cross_entropy")


def scripted(net):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # PyTorch has deprecated it
        return torch.jit.script(net)


def notes_of(monitor):
    return json.loads(monitor.record.attrs["monitor"])["notes"]


def test_a_net_that_is_random_in_eval_mode_is_noted():
    class Noisy(nn.Linear):
        def forward(self, x):
            return super().forward(x + torch.randn_like(x))

    x, y = torch.randn(6, 3), torch.arange(6) % 2
    with pytest.warns(RuntimeWarning, match="draws random numbers in eval mode"):
        monitor = lr.torch.Monitor(Noisy(3, 2), (x, y), (x, y), loss="cross_entropy")
    assert "draws random numbers in eval mode" in notes_of(monitor)[0]
    assert any("random numbers" in line for line in monitor.diagnosis().cannot_say)
    dropout = nn.Sequential(nn.Linear(3, 2), nn.Dropout(0.5))
    assert not notes_of(lr.torch.Monitor(dropout, (x, y), (x, y), loss="cross_entropy"))


@pytest.mark.parametrize("attached", [True, False])
def test_steps_that_the_monitor_was_never_told_of_are_noted(attached):
    x, y = torch.randn(6, 3), torch.arange(6) % 2
    net = nn.Linear(3, 2)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    given = optimizer if attached else None
    monitor = lr.torch.Monitor(net, (x, y), (x, y), loss="cross_entropy", optimizer=given)
    cross_entropy(net(x), y).backward()
    optimizer.step()
    with pytest.warns(RuntimeWarning, match=r"step\(\) was never called"):
        monitor.finish()
    untrained = lr.torch.Monitor(net, (x, y), (x, y), loss="cross_entropy")
    untrained.finish()
    assert not notes_of(untrained)


def own_loss(f, y):
    return cross_entropy(f, y)


@pytest.mark.slow
@pytest.mark.parametrize("decay", [0.0, 0.1])
@pytest.mark.parametrize("form", [lambda x, y: (x, y), lambda x, y: DataLoader(Pairs(x, y), 4)])
def test_a_forecast_for_adamw_is_an_answer_for_every_loss(form, decay):
    x, y = torch.randn(8, 3), torch.arange(8) % 2
    net = nn.Linear(3, 2)
    optimizer = torch.optim.AdamW(net.parameters(), lr=0.1, weight_decay=decay)
    data = form(x, nn.functional.one_hot(y, 2).float())
    monitor = lr.torch.Monitor(net, data, data, optimizer=optimizer, loss=own_loss)
    for options in ({}, {"steps": 100}):
        found = monitor.forecast(**options)
        assert found.verdict == "cannot_say"
        assert "is not proportional to the gradient" in found.reasons[0]
        assert (found.start, "count from" in str(found)) == (0, False)
    own_loss(net(x), y).backward()
    for _ in range(3):
        optimizer.step()
        monitor.step()
    later = monitor.forecast()
    assert later.start == later.summary()["start"] == 3
    assert "count from step 3 of the training" in str(later)


class Pairs(Dataset[object]):
    """Items as pairs, in a dataset of its own kind."""

    def __init__(self, x, y):
        self.x, self.y = x, y

    def __len__(self):
        return len(self.x)

    def __getitem__(self, i):
        return self.x[i], self.y[i]


def test_a_forecast_with_a_loss_that_it_does_not_know_is_refused_in_one_line():
    x, y = torch.randn(8, 3), torch.arange(8) % 2
    net = nn.Linear(3, 2)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    monitor = lr.torch.Monitor(net, (x, y), (x, y), optimizer=optimizer, loss=own_loss)
    with pytest.raises(lr.InputError, match=r"loss = 'own_loss'.*CrossEntropyLoss.*goes on") as it:
        monitor.forecast(steps=100)
    assert "\n" not in str(it.value)
    monitor.step()
    assert not notes_of(monitor)


@pytest.mark.parametrize("cost", [0.0, 0.005, 0.2, 1.3, 50.0, 2000.0])
def test_the_benchmark_says_from_which_step_records_cost_one_percent(cost):
    place = Path(__file__).parents[1] / "benchmarks" / "torch_monitor.py"
    enough = runpy.run_path(str(place))["enough"]
    found = enough(cost)

    def share(num_steps):
        return len(LogSteps(20).until(num_steps)) * cost / num_steps

    assert all(share(num) <= 0.01 for num in range(found, 3 * found, 1 + found // 1000))
    assert found == 1 or share(found - 1) > 0.01


def test_what_cannot_be_used_is_refused_in_one_line():
    net = nn.Linear(3, 2)
    x, y = torch.zeros(4, 3), torch.zeros(4, dtype=torch.long)

    def build(net=net, train=(x, y), test=(x, y), loss="cross_entropy", **options):
        return lambda: lr.torch.Monitor(net, train, test, loss=loss, **options)

    other = nn.Linear(3, 2)
    frozen = nn.Linear(3, 2).requires_grad_(False)
    cases = {
        "parameters to train": build(net=frozen),
        "without a shape": build(net=nn.LazyLinear(2)),
        "train = 'Endless'": build(train=Endless()),
        "train = 'int'": build(train=3),
        "only one element tensors": build(train=(x, [torch.zeros(2, requires_grad=True)] * len(x))),
        "should be a tensor or an array": build(
            train=(x, [torch.zeros(2, device="meta")] * len(x))
        ),
        "number words by np.unique": build(train=(x, ["a", "b"] * (len(x) // 2))),
        "test = 'no samples'": build(test=(x[:0], y[:0])),
        "one length, and have": build(train=(x, y[:3])),
        "the net should accept its inputs": build(train=(torch.zeros(4, 5), y)),
        "did you mean cross_entropy": build(loss="cross_entrpy"),
        "should be called, such as": build(loss=nn.CrossEntropyLoss),
        "loss.reduction = 'sum'": build(loss=nn.CrossEntropyLoss(reduction="sum")),
        "should accept outputs": build(train=(x, torch.zeros(4, 7)), test=(x, torch.zeros(4, 7))),
        "one number, the mean": build(loss=lambda f, y: f),
        "num_kernel = 0": build(num_kernel=0),
        "before torch.jit.script": build(net=scripted(net)),
        "is scripted, and its": build(net=nn.Sequential(scripted(net))),
        "records_per_decade = 0": build(records_per_decade=0),
        "param_groups": build(optimizer=3),
        "parameters of the net": build(optimizer=torch.optim.SGD(other.parameters(), lr=1.0)),
        "maximize": build(optimizer=torch.optim.SGD(net.parameters(), lr=1.0, maximize=True)),
    }
    for words, call in cases.items():
        with pytest.raises(lr.InputError) as found:
            call()
        assert words in str(found.value)
        assert "\n" not in str(found.value)
    with torch.no_grad():
        net.weight.fill_(torch.inf)
    with pytest.raises(lr.InputError, match="finite at the initial parameters"):
        build()()


def test_steps_are_in_equal_ratios():
    assert LogSteps(20).until(30) == [*range(11), 11, 13, 14, 16, 18, 20, 22, 25, 28]
    steps = np.array(LogSteps(20).until(10**6))
    late = steps[steps > 200]
    np.testing.assert_allclose(np.diff(np.log10(late)), 0.05, atol=2e-3)
    assert {10**k for k in range(7)} <= set(steps.tolist())
    assert all(LogSteps(7).after(n) > n for n in range(-1, 3000))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"loss": lambda f, y: cross_entropy(f, y, reduction="sum")},
            "if every sample counts twic",
        ),
        ({"loss": torch.nn.BCEWithLogitsLoss(), "labels": -1.0}, "needs labels from 0 to 1"),
        ({"loss": "cross_entropy", "labels": 0.5}, "labels that are whole numbers, the classes of"),
        ({"loss": "squared", "labels": 0.5}, "labels that are whole numbers, the classes of 2 out"),
        (
            {"loss": torch.nn.MSELoss(), "labels": torch.nan},
            "train = 'labels': should be finite: 1 of",
        ),
        (
            {"loss": torch.nn.MSELoss(), "inputs": torch.inf},
            "train = 'inputs': should be finite: 1 of",
        ),
    ],
)
def test_data_and_losses_that_make_no_mean_are_one_line(change, message):
    x, y = torch.ones(6, 3), torch.zeros(6, 1)
    if not isinstance(change["loss"], torch.nn.Module):
        y = torch.arange(6.0) % 2 if "labels" in change else torch.arange(6) % 2
    if "inputs" in change:
        x[2, 1] = change["inputs"]
    if "labels" in change:
        y[2] = change["labels"]
    net = torch.nn.Linear(3, 1 if y.ndim == 2 else 2)
    with pytest.raises(lr.InputError, match=message):
        lr.torch.Monitor(net, (x, y), (x, y), loss=change["loss"])


def test_a_test_set_of_one_sample_has_no_score():
    x, y = torch.ones(6, 3), torch.arange(6) % 2
    net = torch.nn.Linear(3, 2)
    monitor = lr.torch.Monitor(net, (x, y), (x[:1], y[:1]), loss="cross_entropy")
    assert "pass more test samples" in monitor.diagnosis().next_steps[0]
    assert "pass more test samples" in lr.remaining(monitor.record).reasons[0]
    monitor = lr.torch.Monitor(net, (x, y), (x[::2], y[::2]), loss="cross_entropy")
    assert "more than one label" in monitor.diagnosis().next_steps[0]


def test_a_mean_of_the_user_is_taken():
    x, y = torch.ones(6, 3), torch.arange(6) % 2
    loss = lambda f, y: cross_entropy(f, y) + 0.01 * (f**2).mean()
    monitor = lr.torch.Monitor(torch.nn.Linear(3, 2), (x, y), (x, y), loss=loss)
    assert monitor.record.sizes["time"] == 1


def test_decay_is_that_of_the_parameters_that_decay():
    torch.manual_seed(0)
    x, y = torch.randn(12, 3), torch.arange(12) % 2
    net = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.LayerNorm(4), torch.nn.Linear(4, 2))
    # Most parameters do not decay.
    groups = [
        {"params": [net[0].weight], "weight_decay": 1.0},
        {"params": [*net[1].parameters(), *net[2].parameters(), net[0].bias], "weight_decay": 0.0},
    ]
    optimizer = torch.optim.AdamW(groups, lr=0.1)
    monitor = lr.torch.Monitor(net, (x, y), (x, y), optimizer=optimizer, loss="cross_entropy")
    for _ in range(20):
        optimizer.zero_grad()
        cross_entropy(net(x), y).backward()
        optimizer.step()
        monitor.step()
    monitor.finish()
    found = monitor.diagnosis()
    assert found.evidence["decay_time"] == pytest.approx(2.0)
    text = str(found)
    assert "There is no weight decay" not in text
    # e^-2 of the 12 weights, by 20 steps of 0.1.
    assert "multiplied the 12 of 34 parameters that decay by 0.14 (λt = 2)" in text

"""Callbacks of trainers, by stand-ins that call the hooks in the documented order, and processes.

The stand-ins call what `transformers.Trainer` and `lightning.Trainer` call. Neither is imported.
"""

import socket
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch import nn
from torch.multiprocessing.spawn import spawn
from torch.nn.functional import cross_entropy

import lazyrich as lr

torch.set_num_threads(1)


def problem():
    torch.manual_seed(0)
    net = nn.Linear(4, 3)
    x = torch.randn(24, 4)
    y = (x @ torch.randn(4, 3)).argmax(1)
    return net, (x[:12], y[:12]), (x[12:], y[12:])


def by_hand(num):
    """The record of a plain loop."""
    net, train, test = problem()
    optimizer = torch.optim.AdamW(net.parameters(), lr=0.1)
    monitor = lr.torch.Monitor(net, train, test, optimizer=optimizer, loss="cross_entropy")
    for _ in range(num):
        optimizer.zero_grad()
        cross_entropy(net(train[0]), train[1]).backward()
        optimizer.step()
        monitor.step()
    monitor.finish()
    return monitor.record


class HuggingFaceTrainer:
    """The order of hooks of `transformers.Trainer`, with its optimiser made inside."""

    def __init__(self, net, train, callback, folder, every=5):
        self.net, self.train_data, self.callback = net, train, callback
        self.args = SimpleNamespace(output_dir=str(folder), resume_from_checkpoint=None)
        self.state = SimpleNamespace(global_step=0, is_world_process_zero=True)
        self.optimizer = torch.optim.AdamW(net.parameters(), lr=0.1)
        self.every = every
        self.call("on_init_end")

    def call(self, hook):
        getattr(self.callback, hook)(
            self.args, self.state, SimpleNamespace(), model=self.net, optimizer=self.optimizer
        )

    def train(self, num, resume=None):
        if resume is not None:
            state = torch.load(Path(resume) / "trainer.pt", weights_only=True)
            self.net.load_state_dict(state["net"])
            self.optimizer.load_state_dict(state["optimizer"])
            self.state.global_step = int(Path(resume).name.split("-")[1])
        self.call("on_train_begin")
        self.call("on_epoch_begin")
        while self.state.global_step < num:
            self.call("on_step_begin")
            self.optimizer.zero_grad()
            cross_entropy(self.net(self.train_data[0]), self.train_data[1]).backward()
            self.call("on_pre_optimizer_step")
            self.optimizer.step()
            self.call("on_optimizer_step")
            self.state.global_step += 1
            self.call("on_step_end")
            if self.state.global_step % self.every == 0:
                folder = Path(self.args.output_dir) / f"checkpoint-{self.state.global_step}"
                folder.mkdir(parents=True, exist_ok=True)
                state = {"net": self.net.state_dict(), "optimizer": self.optimizer.state_dict()}
                torch.save(state, folder / "trainer.pt")
                self.call("on_save")
        self.call("on_epoch_end")
        self.call("on_train_end")


def test_a_hugging_face_trainer_records_and_resumes(tmp_path):
    expected = by_hand(13)
    net, train, test = problem()
    monitor = lr.torch.Monitor(net, train, test, loss="cross_entropy")
    HuggingFaceTrainer(net, train, monitor.hugging_face(), tmp_path).train(13)
    assert monitor.record.drop_attrs().identical(expected.drop_attrs())
    assert monitor.record.attrs["ending"] == "completed"
    assert '"AdamW"' in monitor.record.attrs["monitor"]
    # Another process goes on from the second checkpoint.
    net, train, test = problem()
    monitor = lr.torch.Monitor(net, train, test, loss="cross_entropy")
    trainer = HuggingFaceTrainer(net, train, monitor.hugging_face(), tmp_path)
    trainer.train(13, resume=tmp_path / "checkpoint-10")
    assert monitor.record.drop_attrs().identical(expected.drop_attrs())
    with pytest.raises(AttributeError, match="no attribute 'other'"):
        monitor.hugging_face().other  # noqa: B018


class LightningTrainer:
    """The order of hooks of `lightning.Trainer`, with two batches for each optimiser step."""

    def __init__(self, callback):
        self.callbacks, self.optimizers = [callback], []

    def call(self, hook, *arguments):
        for callback in self.callbacks:
            function = getattr(callback, hook)
            assert callable(function)
            function(self, None, *arguments)

    def fit(self, net, train, num, checkpoint=None):
        self.call("setup", "fit")
        self.call("on_fit_start")
        self.optimizers = [torch.optim.AdamW(net.parameters(), lr=0.1)]
        if checkpoint is not None:
            net.load_state_dict(checkpoint["net"])
            self.optimizers[0].load_state_dict(checkpoint["optimizer"])
            for callback in self.callbacks:
                held = checkpoint["callbacks"]
                callback.load_state_dict(
                    held.get(callback.state_key, held.get(callback._legacy_state_key))
                )
        self.call("on_train_start")
        self.call("on_train_epoch_start")
        for index in range(2 * num):
            self.call("on_train_batch_start", None, index)
            loss = cross_entropy(net(train[0]), train[1]) / 2
            self.call("on_before_backward", loss)
            loss.backward()
            if index % 2 == 1:
                self.call("on_before_optimizer_step", self.optimizers[0])
                self.optimizers[0].step()
                self.call("on_before_zero_grad", self.optimizers[0])
                self.optimizers[0].zero_grad()
            self.call("on_train_batch_end", loss, None, index)
        self.call("on_train_epoch_end")
        saved = {
            "net": net.state_dict(),
            "optimizer": self.optimizers[0].state_dict(),
            "callbacks": {c.state_key: c.state_dict() for c in self.callbacks},
        }
        self.call("on_train_end")
        self.call("teardown", "fit")
        return saved


def test_a_lightning_trainer_records_and_resumes():
    expected = by_hand(12)
    net, train, test = problem()
    monitor = lr.torch.Monitor(net, train, test, loss="cross_entropy")
    saved = LightningTrainer(monitor.lightning()).fit(net, train, 7)
    assert monitor.record["time"].values.tolist() == [*range(8)]
    net, train, test = problem()
    monitor = lr.torch.Monitor(net, train, test, loss="cross_entropy")
    LightningTrainer(monitor.lightning()).fit(net, train, 5, saved)
    again, straight = monitor.record, expected
    assert again["time"].equals(straight["time"])
    assert abs(again["train_loss"] - straight["train_loss"]).max() < 1e-6


@pytest.mark.slow
def test_a_monitor_forecasts_from_the_present_parameters():
    torch.manual_seed(0)
    net = nn.Sequential(nn.Dropout(0.5), nn.Linear(6, 1))
    x = torch.randn(30, 6)
    y = torch.sign(x[:, 0])
    train, test = (x[:10], y[:10]), (x[10:], y[10:])
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1, weight_decay=0.01)
    monitor = lr.torch.Monitor(net, train, test, optimizer=optimizer, loss=nn.SoftMarginLoss())
    for _ in range(5):
        optimizer.zero_grad()
        nn.functional.soft_margin_loss(net(train[0])[:, 0], train[1]).backward()
        optimizer.step()
        monitor.step()
    before = (torch.get_rng_state(), [module.training for module in net.modules()])
    found = monitor.forecast(steps=2000)
    assert torch.equal(before[0], torch.get_rng_state())
    assert before[1] == [module.training for module in net.modules()]
    expected = lr.torch.forecast(
        net.eval(), train, test, loss=nn.SoftMarginLoss(), optimizer=optimizer, steps=2000
    )
    ours, theirs = found.summary(), expected.summary()
    assert ours["flow"].pop("experiment_hash") == theirs["flow"].pop("experiment_hash")
    assert (ours["start"], theirs["start"]) == (5, 0)
    same = {"flow": None, "start": 0}
    assert ours | same == theirs | same


def _process(rank, port, folder):
    torch.set_num_threads(1)
    torch.distributed.init_process_group(
        "gloo", init_method=f"tcp://127.0.0.1:{port}", rank=rank, world_size=2
    )
    net, train, test = problem()
    wrapped = nn.parallel.DistributedDataParallel(net)
    optimizer = torch.optim.AdamW(wrapped.parameters(), lr=0.1)
    monitor = lr.torch.Monitor(wrapped, train, test, optimizer=optimizer, loss="cross_entropy")
    for _ in range(12):
        optimizer.zero_grad()
        cross_entropy(wrapped(train[0]), train[1]).backward()
        optimizer.step()
        monitor.step()
    monitor.finish()
    assert monitor.is_recording == (rank == 0)
    if rank == 0:
        lr.save_record(monitor.record, Path(folder) / "record.nc")
    else:
        assert set(monitor.state_dict()) == {"version"}
        monitor.load_state_dict(monitor.state_dict())
        try:
            monitor.record  # noqa: B018
        except lr.InputError as error:
            Path(folder, "refused").write_text(str(error))
    torch.distributed.destroy_process_group()


@pytest.mark.slow
def test_of_two_processes_the_first_records(tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    spawn(_process, (port, str(tmp_path)), nprocs=2)
    # Both have the same batch, so the mean gradient is that of one process.
    found = lr.open_record(tmp_path / "record.nc")
    expected = by_hand(12)
    assert found["time"].equals(expected["time"])
    assert abs(found["train_loss"] - expected["train_loss"]).max() < 1e-5
    assert "only the process of rank 0" in (tmp_path / "refused").read_text()

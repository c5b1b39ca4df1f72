"""A pilot of a PyTorch module: a copy of it, trained at a higher learning rate in fewer steps."""

import copy
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import xarray as xr
from torch import nn

from ..._core.errors import InputError, one_line
from ..._run.solve import Listener
from ..._torch.functional import called_as_it_is
from ...records.transition import Thresholds
from .._monitor.measures import fit, norms
from .._monitor.objective import Objective
from .._monitor.prepare import Counts, about, prepared
from .._monitor.rows import Rows, make_record
from .._monitor.samples import Samples, samples_of, some
from .._monitor.schedule import LogSteps
from .._monitor.steps import Steps
from .._monitor.view import Setting, View
from ..functional import unwrapped
from .data import batch_size_of

# Records of a pilot: for each factor of 10 in steps, and equally spaced ones.
_PER_DECADE, _SPACED = 20, 60
# How many training samples are measured.
_MEASURED = 2000
_OPTIMISERS = (torch.optim.SGD, torch.optim.Adam, torch.optim.AdamW)


@dataclass(frozen=True)
class PlannedTraining:
    """The training of which pilots are made.

    - `steps`, how many are planned; `most`, the number of training samples to take at most, and
        `max_test`, of test samples.
    """

    net: nn.Module
    train: Any
    test: Any
    loss: Any
    optimizer: Any
    steps: int
    select: Any
    seed: int
    most: int
    max_test: int
    thresholds: Thresholds
    name: str


def check_optimiser(optimizer: Any) -> None:
    """Raises [`InputError`][lazyrich.InputError] for an optimiser without a known faster one."""
    if not isinstance(optimizer, _OPTIMISERS):
        accepted = "should be a torch.optim.SGD, Adam or AdamW, for pilots"
        raise InputError("optimizer", type(optimizer).__name__, accepted)
    for group in optimizer.param_groups:
        if not float(group["lr"]) > 0:
            raise InputError("optimizer.lr", float(group["lr"]), "should be positive")


def piloted(planned: PlannedTraining, factor: int, listen: Listener) -> xr.Dataset:
    """The record of a pilot, with times in steps of the training. Draws random numbers."""
    torch.manual_seed(planned.seed)
    net, optimizer = _faster(unwrapped(planned.net), planned.optimizer, factor)
    steps = Steps()
    steps.attach(optimizer)
    counts = Counts(max(_MEASURED, planned.max_test), 1, 1, 1)
    setting = prepared(
        net, (planned.train, planned.test), Objective(planned.loss), steps, counts,
        select=planned.select, residues=None, seed=planned.seed,
    )  # fmt: skip
    train = samples_of("train", planned.train, planned.most, planned.seed, setting.train.y.device)
    batch = batch_size_of(planned.train, len(train.y))
    rows, ending = Rows(), "completed"
    for step in _trained(setting, optimizer, train, batch, planned.steps // factor):
        view = View(setting)
        row = fit(view) | {"param_norm": norms(view)["param_norm"]}
        if not all(math.isfinite(row[name]) for name in ("train_loss", "test_loss")):
            ending = "diverged"
            break
        rows.add(step * factor, row)
        words = f"training loss {row['train_loss']:.3g}, test loss {row['test_loss']:.3g}"
        listen(f"pilot at factor {factor}", step * factor / planned.steps, words)
    return make_record(
        rows, (), in_flow_time=False, name=f"{planned.name}, {factor} times the learning rate",
        weight_decay=steps.weight_decay, scales=setting.scales, ending=ending,
        thresholds=planned.thresholds, about=about(setting, planned.seed, []) | _numbers(train),
    )  # fmt: skip


def _numbers(train: Samples) -> dict[str, list[int]]:
    return {"num_train": [len(train.y), train.num_all]}


def _faster(net: nn.Module, optimizer: Any, factor: int) -> tuple[nn.Module, Any]:
    """Copies of net and optimiser, at a learning rate larger by a factor.

    The moments of Adam then forget in the same time, not in the same number of steps: its betas are
    raised to the power `factor`, and the number of steps done, by which it corrects its moments, is
    divided by it. The momentum of SGD is kept, because another one would change the speed.
    """
    try:
        net, optimizer = copy.deepcopy((net, optimizer))
    except Exception as error:
        accepted = f"should be a module that copy.deepcopy copies ({one_line(error, 200)})"
        raise InputError("net", type(net).__name__, accepted) from None
    for group in optimizer.param_groups:
        group["lr"] = group["lr"] * factor
        if "betas" in group:
            group["betas"] = tuple(beta**factor for beta in group["betas"])
    for state in optimizer.state.values():
        if "step" in state:
            state["step"] = state["step"] / factor
    return net, optimizer


def _trained(
    setting: Setting, optimizer: Any, train: Samples, batch: int, num: int
) -> Iterator[int]:
    """Trains for `num` steps. Stops at each step that is to be measured, the first is 0."""
    due = set(LogSteps(_PER_DECADE).until(num))
    due |= set(np.linspace(0, num, _SPACED + 1).round().astype(int).tolist())
    yield 0
    batches = _batches(train, batch)
    for step in range(1, num + 1):
        part = next(batches)
        optimizer.zero_grad()
        f = called_as_it_is(setting.net, part.x)
        setting.objective(f, part.y).backward()
        optimizer.step()
        if step in due:
            yield step


def _batches(train: Samples, size: int) -> Iterator[Samples]:
    """Passes over the samples in random order, without what fills no batch; or all of them."""
    while True:
        if not 0 < size < len(train.y):
            yield train
            continue
        order: list[int] = torch.randperm(len(train.y)).tolist()
        for first in range(0, len(order) - size + 1, size):
            yield some(train, order[first : first + size])

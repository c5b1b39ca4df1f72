"""What a monitor sets up before the training, and its checks."""

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ..._core.errors import InputError, one_line
from ..._torch.deterministic import random_state
from ..._torch.functional import called, parameters_of
from ..._torch.undisturbed import undisturbed, unwrapped
from .measures.fit import chance
from .objective import Objective
from .samples import Samples, balanced, samples_of, some
from .steps import Steps
from .view import Selected, Setting, check_outputs, find_head, first, forward

# Classes in the samples of the kernel: several samples of each show whether it knows classes.
_CLASSES = 8


@dataclass(frozen=True)
class Counts:
    """How many samples are measured, and of how many outputs kernels are added."""

    num_samples: int
    num_gradient: int
    num_kernel: int
    num_outputs: int

    def __post_init__(self) -> None:
        for key, value in vars(self).items():
            if not isinstance(value, int) or isinstance(value, bool) or value < 1:
                raise InputError(key, value, "should be a whole number, at least 1")


def prepared(
    net: nn.Module,
    data: tuple[Any, Any],
    objective: Objective,
    steps: Steps,
    counts: Counts,
    *,
    select: Any,
    residues: int | None,
    seed: int,
) -> Setting:
    """The setting of a monitor, at the present parameters.

    - **Raises** [`InputError`][lazyrich.InputError] for a net, data or a loss that do not fit.
    """
    inner = unwrapped(net)
    if any(isinstance(module, torch.jit.ScriptModule) for module in inner.modules()):
        accepted = "is scripted, and its parameters cannot be exchanged: use the net before "
        raise InputError("net", type(net).__name__, f"{accepted}torch.jit.script")
    if any(nn.parameter.is_lazy(value) for value in (*inner.parameters(), *inner.buffers())):
        accepted = "has parameters without a shape: call it once on a batch of inputs first"
        raise InputError("net", type(inner).__name__, accepted)
    if select is not None:
        inner = Selected(inner, select)
    parameters = {name: p for name, p in inner.named_parameters() if p.requires_grad}
    if not parameters:
        raise InputError("net", type(inner).__name__, "should have parameters to train")
    if steps.optimizer is not None and all(steps.group_of(p) is None for p in parameters.values()):
        accepted = "should train parameters of the net: build it after the net, and not of a copy"
        raise InputError("optimizer", type(steps.optimizer).__name__, accepted)
    device = next(iter(parameters.values())).device
    train, test = (
        samples_of(key, value, counts.num_samples, seed, device)
        for key, value in zip(("train", "test"), data, strict=True)
    )
    nothing = torch.zeros(0)
    setting = Setting(inner, objective, train, test, train, train, steps, parameters, nothing)
    f = _checked(setting, "train", train)
    _checked(setting, "test", test)
    setting.labels, labels = objective.labels(f, train.y)
    width = f.shape[1] if f.ndim == 2 else 1
    setting.directions = _directions(width, counts.num_outputs, seed).to(device, f.dtype)
    classes = labels.numpy() if setting.labels == "classes" else None
    setting.kernel = some(train, balanced(classes, counts.num_kernel, len(train.y), _CLASSES))
    setting.gradient = some(train, range(min(counts.num_gradient, len(train.y))))
    if setting.labels == "classes":
        setting.residues = width if residues is None else residues
    find_head(setting)
    setting.scales = _scales(setting)
    setting.start = {name: p.clone() for name, p in parameters_of(inner).items()}
    setting.random = _is_random(setting)
    return setting


def _is_random(setting: Setting) -> bool:
    """Whether passes in `eval` mode draw random numbers."""
    with undisturbed(setting.net), torch.no_grad():
        before = random_state(setting.net)
        called(setting.net, parameters_of(setting.net), first(setting.train.x, 2))
        return not all(map(torch.equal, before, random_state(setting.net)))


def _checked(setting: Setting, key: str, samples: Samples) -> Tensor:
    """Outputs on samples, after checks of inputs, outputs, labels and loss."""
    _check_finite(key, samples)
    try:
        f, _ = forward(setting, parameters_of(setting.net), samples)
    except InputError:
        raise
    except Exception as error:
        accepted = f"the net should accept its inputs ({one_line(error, 300)})"
        raise InputError(key, _shape(samples.x), accepted) from None
    check_outputs(f, samples, key)
    try:
        value = setting.objective(f, samples.y.cpu())
        fits = isinstance(value, Tensor) and value.numel() == 1
    except Exception as error:
        accepted = f"should accept outputs {_shape(f)} and labels {_shape(samples.y)}"
        raise InputError(
            "loss", setting.objective.kind, f"{accepted} ({one_line(error, 300)})"
        ) from None
    fault = "" if fits else "should return one number, the mean over samples"
    fault = fault or setting.objective.fault(f, samples.y.cpu())
    if fault:
        raise InputError("loss", setting.objective.kind, fault)
    return f


def _check_finite(key: str, samples: Samples) -> None:
    """Refuses inputs or labels that are infinite or not-a-number."""
    x = samples.x
    inputs = x.values() if isinstance(x, dict) else x if isinstance(x, tuple) else (x,)
    for what, value in (*(("inputs", each) for each in inputs), ("labels", samples.y)):
        if value.is_floating_point() and not bool(torch.isfinite(value).all()):
            num = int((~torch.isfinite(value)).reshape(len(value), -1).any(1).sum())
            accepted = f"should be finite: {num} of {len(value)} samples are not"
            raise InputError(key, what, accepted)


def _directions(width: int, num: int, seed: int) -> Tensor:
    """Outputs whose kernels are added, `(k, c)`: all, or random combinations."""
    if width <= num:
        return torch.eye(width)
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(num, width, generator=generator) / math.sqrt(num)


def _shape(x: Any) -> str:
    if isinstance(x, dict):
        return str({name: tuple(value.shape) for name, value in x.items()})
    shapes = [tuple(value.shape) for value in x] if isinstance(x, tuple) else tuple(x.shape)
    return f"shape {shapes}"


def _scales(setting: Setting) -> dict[str, float]:
    """Reference values for the scores of the record, in the units of the loss."""
    found = {}
    objective = setting.objective
    width = setting.directions.shape[1]
    if setting.labels != "reals":
        zeros = torch.zeros(len(setting.test.y), width)
        labels = objective.labels(zeros, setting.test.y)[1]
        found["test_chance"] = chance(setting.labels, labels)
        found["num_test"] = float(len(labels))
    with torch.no_grad():
        y = setting.train.y.cpu()
        found["blank_loss"] = float(objective(torch.zeros(len(y), width), y))
        if objective.kind == "squared" and setting.labels == "reals":
            for name, samples in (("train", setting.train), ("test", setting.test)):
                y = samples.y.cpu().double()
                mean = y.reshape(len(y), -1).mean(0).expand(len(y), -1)
                found[f"{name}_variance"] = float(objective(mean, y))
    return {name: value for name, value in found.items() if math.isfinite(value)}


def about(setting: Setting, seed: int, notes: list[str]) -> dict[str, Any]:
    """What was monitored, and on which samples."""
    net, optimizer = setting.net, setting.steps.optimizer
    return {
        "net": type(net.net if isinstance(net, Selected) else net).__name__,
        "num_params": sum(p.numel() for p in setting.parameters.values()),
        "num_trained": sum(
            p.numel()
            for p in setting.parameters.values()
            if optimizer is None or setting.steps.group_of(p) is not None
        ),
        "num_decayed": sum(
            p.numel() for p in setting.parameters.values() if setting.steps.decay(p) > 0
        ),
        "learning_rates": setting.steps.rates,
        "random": setting.random,
        "optimizer": "unknown" if optimizer is None else type(optimizer).__name__,
        "rule": setting.steps.rule,
        "betas": setting.steps.betas,
        "loss": setting.objective.kind,
        "labels": setting.labels,
        "num_train": [len(setting.train.y), setting.train.num_all],
        "num_test": [len(setting.test.y), setting.test.num_all],
        "num_gradient": len(setting.gradient.y),
        "num_kernel": len(setting.kernel.y),
        "outputs_of_kernel": list(setting.directions.shape),
        "seed": seed,
        "notes": notes,
    }


def blocks_of(setting: Setting) -> list[str]:
    """The names of the blocks: those of the trainable parameters."""
    prefix = "net." if isinstance(setting.net, Selected) else ""
    return [name.removeprefix(prefix) for name in setting.start]


def check_state(state: dict[str, Any], setting: Setting, seed: int, version: int) -> None:
    """Raises [`InputError`][lazyrich.InputError] for a state of another net, data or seed."""
    if not isinstance(state, dict) or state.get("version") != version or "start" not in state:
        raise InputError("state", type(state).__name__, "should be a state_dict of a Monitor")
    theirs = {name: tuple(p.shape) for name, p in state["start"].items()}
    ours = {name: tuple(p.shape) for name, p in setting.start.items()}
    for name in theirs | ours:
        if theirs.get(name) != ours.get(name):
            had, has = (of.get(name, "missing") for of in (theirs, ours))
            accepted = f"should be of a net with the same parameters; in this net it is {has}"
            raise InputError("state", f"{name} of shape {had}", accepted)
    if state["seed"] != seed:
        raise InputError("state.seed", state["seed"], f"should be that of this monitor, {seed}")
    if not torch.equal(state["labels"].to(setting.kernel.y.device), setting.kernel.y):
        raise InputError("state", "labels", "should be of the same training data and settings")

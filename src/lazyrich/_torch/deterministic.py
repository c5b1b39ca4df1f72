"""Refuses modules that are not one deterministic function of parameters and inputs."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.dropout import _DropoutNd

from .._core.errors import InputError
from .functional import called_as_it_is, num_samples, taken
from .undisturbed import device_of, undisturbed, unwrapped


def check_deterministic(net: nn.Module, x: Any, key: str = "net") -> None:
    """Raises [`InputError`][lazyrich.InputError] if the module, in its present mode, is random,
    uses statistics of the batch, or writes its buffers.

    - **Takes** `x`, some inputs, on which the module runs three times; `key`, for the message.
    """
    net = unwrapped(net)
    check_layers(net, key)
    _check_by_calls(net, x, key)


def check_layers(net: nn.Module, key: str) -> None:
    """The part of `check_deterministic` that needs no inputs."""
    if any(nn.parameter.is_lazy(value) for value in (*net.parameters(), *net.buffers())):
        accepted = "has parameters without a shape; call it once on a batch of inputs first"
        raise InputError(key, type(net).__name__, accepted)
    for name, module in net.named_modules():
        problem = _problem(module)
        if problem:
            place = f"{type(net).__name__}.{name}" if name else type(net).__name__
            raise InputError(key, place, problem)


_EVAL = "call net.eval() first, and the net without it is studied"


def _problem(module: nn.Module) -> str:
    """What is known of a layer without calling it."""
    training = module.training
    if isinstance(module, _BatchNorm):
        if module.running_mean is None:
            kind = type(module).__name__
            return f"is {kind} without running statistics: its outputs depend on the whole batch"
        if training:
            return (
                "uses statistics of the batch in train mode; call net.eval() first, and the running"
                " statistics are used as constants"
            )
    if training and isinstance(module, _DropoutNd) and module.p > 0:
        return f"is dropout in train mode; {_EVAL}"
    dropout = getattr(module, "dropout", 0.0)
    library = isinstance(module, nn.MultiheadAttention | nn.RNNBase)
    if training and library and isinstance(dropout, float) and dropout > 0:
        return f"has dropout in train mode; {_EVAL}"
    return ""


def _check_by_calls(net: nn.Module, x: Any, key: str) -> None:
    name = type(net).__name__
    hint = "; if it is dropout, call net.eval() first" if net.training else ""
    kept = [(module, dict(module._buffers)) for module in net.modules()]
    copies = {id(b): b.clone() for _, held in kept for b in held.values() if b is not None}
    with undisturbed(net, in_eval=False), torch.no_grad():
        before = random_state(net)
        try:
            first = called_as_it_is(net, x)
            if not _equal(before, random_state(net)):
                raise InputError(key, name, f"draws random numbers in its forward pass{hint}")
            if _written(kept, copies):
                raise InputError(key, name, "writes its buffers in its forward pass")
            if not torch.equal(first, called_as_it_is(net, x)) and bool(
                torch.isfinite(first).all()
            ):
                accepted = f"gives other outputs if it is called again on the same inputs{hint}"
                raise InputError(key, name, accepted)
            if num_samples(x) > 1:
                single = called_as_it_is(net, taken(x, slice(0, 1)))
                room = 1e-3 * (first.abs().amax() + 1e-30)
                if single.shape != first[:1].shape or bool(
                    ((single - first[:1]).abs() > room).any()
                ):
                    raise InputError(key, name, "outputs of one input depend on the other inputs")
        finally:
            for module, held in kept:
                module._buffers.update(held)
                for value in held.values():
                    if value is not None and not torch.equal(value, copies[id(value)]):
                        value.copy_(copies[id(value)])


def random_state(net: nn.Module) -> list[Tensor]:
    """The states of the random numbers that a net can draw from."""
    device = device_of(net)
    on_device = [torch.cuda.get_rng_state(device)] if device.type == "cuda" else []
    return [torch.get_rng_state(), *on_device]


def _equal(first: list[Tensor], second: list[Tensor]) -> bool:
    return all(map(torch.equal, first, second))


def _written(kept: list[tuple[nn.Module, dict[str, Any]]], copies: dict[int, Tensor]) -> bool:
    """Whether a buffer was replaced or changed in its place."""
    for module, held in kept:
        for name, value in held.items():
            if module._buffers.get(name) is not value:
                return True
            if value is not None and not torch.equal(value, copies[id(value)]):
                return True
    return False

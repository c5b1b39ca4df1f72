"""Evaluation of a PyTorch module that leaves its training as it was."""

import contextlib
import sys
import warnings
from collections.abc import Iterator

import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from .._core.errors import InputError


def unwrapped(net: nn.Module) -> nn.Module:
    """The module itself, without `torch.compile`, `DataParallel` or `DistributedDataParallel`.

    - **Raises** [`InputError`][lazyrich.InputError] for a module of TorchScript, whose passes
        cannot be called with other parameters.
    """
    parallel = (nn.DataParallel, nn.parallel.DistributedDataParallel)
    while True:
        if isinstance(net, torch.jit.ScriptModule):
            accepted = "should be the module before torch.jit.script or torch.jit.trace"
            raise InputError("net", type(net).__name__, accepted)
        inner = dict(net.named_children()).get("_orig_mod")
        if inner is None and isinstance(net, parallel):
            inner = net.module
        if inner is None:
            return net
        net = inner


@contextlib.contextmanager
def undisturbed(
    net: nn.Module, *, in_eval: bool = True, differentiated: bool = True
) -> Iterator[None]:
    """Runs the passes of the block in `eval` mode, then restores modes and random states.

    - **Takes** `in_eval`, whether to set `eval` mode; `differentiated`, whether the passes need
        derivatives, or vectorised passes, which the fused kernel of attention does not have.
    """
    modes = [(module, module.training) for module in net.modules()]
    device = device_of(net)
    with contextlib.ExitStack() as stack:
        stack.enter_context(torch.random.fork_rng([device] if device.type == "cuda" else []))
        stack.enter_context(torch.autocast(device.type, enabled=False))
        stack.enter_context(exact_passes(fused=not differentiated))
        if "torch._dynamo" in sys.modules:  # otherwise nothing is compiled
            stack.enter_context(torch.compiler.set_stance("force_eager"))
        try:
            if in_eval:
                # Not by net.eval(), which a module may override.
                for module, _ in modes:
                    module.training = False
            yield
        finally:
            for module, training in modes:
                module.training = training


@contextlib.contextmanager
def exact_passes(*, fused: bool = False) -> Iterator[None]:
    """Without the fused kernels of attention, which lack the passes for derivatives.

    - **Takes** `fused`, whether to keep that of the attention itself. That of a whole layer never
        runs, because hooks do not see inside of it.
    """
    fast = torch.backends.mha.get_fastpath_enabled()
    kernels = contextlib.nullcontext() if fused else sdpa_kernel([SDPBackend.MATH])
    with kernels, warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="There is a performance drop")
        # PyTorch itself scripts functions at the first pass in forward mode.
        warnings.filterwarnings(
            "ignore", message=r"`torch\.jit\.script", category=DeprecationWarning
        )
        try:
            torch.backends.mha.set_fastpath_enabled(False)
            yield
        finally:
            torch.backends.mha.set_fastpath_enabled(fast)


def device_of(net: nn.Module) -> torch.device:
    """The device of the first parameter."""
    return next((p.device for p in net.parameters()), torch.device("cpu"))

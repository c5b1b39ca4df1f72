"""Evaluation of a PyTorch module that leaves its training as it was."""

import contextlib
import sys
import warnings
from collections.abc import Iterator

import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel


def unwrapped(net: nn.Module) -> nn.Module:
    """The module itself, without `torch.compile`, `DataParallel` or `DistributedDataParallel`."""
    parallel = (nn.DataParallel, nn.parallel.DistributedDataParallel)
    while True:
        inner = vars(net)["_modules"].get("_orig_mod")
        if inner is None and isinstance(net, parallel):
            inner = net.module
        if inner is None:
            return net
        net = inner


@contextlib.contextmanager
def undisturbed(net: nn.Module, *, in_eval: bool = True) -> Iterator[None]:
    """Runs the passes of the block in `eval` mode, then restores modes and random states.

    Mixed precision, compiled code and the fused attention kernels are off in the block, because
    they have no second pass of the kinds that are needed or compute another function.

    - **Takes** `in_eval`, whether to set `eval` mode.
    """
    modes = [(module, module.training) for module in net.modules()]
    device = device_of(net)
    fast = torch.backends.mha.get_fastpath_enabled()
    with contextlib.ExitStack() as stack:
        stack.enter_context(torch.random.fork_rng([device] if device.type == "cuda" else []))
        stack.enter_context(torch.autocast(device.type, enabled=False))
        stack.enter_context(sdpa_kernel([SDPBackend.MATH]))
        stack.enter_context(warnings.catch_warnings())
        warnings.filterwarnings("ignore", message="There is a performance drop")
        if "torch._dynamo" in sys.modules:  # otherwise nothing is compiled
            stack.enter_context(torch.compiler.set_stance("force_eager"))
        try:
            torch.backends.mha.set_fastpath_enabled(False)
            if in_eval:
                # Not by net.eval(), which a module may override.
                for module, _ in modes:
                    module.training = False
            yield
        finally:
            torch.backends.mha.set_fastpath_enabled(fast)
            for module, training in modes:
                module.training = training


def device_of(net: nn.Module) -> torch.device:
    """The device of the first parameter."""
    return next((p.device for p in net.parameters()), torch.device("cpu"))

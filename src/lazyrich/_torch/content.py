"""The content of a PyTorch module: all that its outputs depend on."""

from typing import Any

import torch
from torch import Tensor, nn

from .._core.fingerprint import fingerprint

# Fields of every module that do not change the outputs in `eval` mode, or that are read otherwise.
_BOOKKEEPING = frozenset(vars(nn.Module())) | {"_compiled_call_impl", "_is_full_backward_hook"}


def content_of(net: nn.Module, key: str) -> str:
    """SHA-256 of the code, the structure, the parameters and the buffers of a module.

    Hooks that change outputs are included; the mode and `.grad` are not.

    - **Raises** [`InputError`][lazyrich.InputError] under `key` for fields without permanent
        content, such as an open file.
    """
    places = {id(module): name for name, module in net.named_modules()}
    # All names of a tied parameter have its first name.
    tied = {id(p): name for name, p in (*net.named_parameters(), *net.named_buffers())}

    def plain(value: Any) -> Any:
        if isinstance(value, nn.Module):
            return ["module", places[id(value)]] if id(value) in places else described(value)
        if isinstance(value, Tensor):
            return ["tensor", tied[id(value)]] if id(value) in tied else array_of(value)
        if isinstance(value, dict):
            return {key: plain(item) for key, item in value.items()}
        if type(value) in (list, tuple):
            return [plain(item) for item in value]
        return str(value) if isinstance(value, torch.device | torch.dtype | torch.Size) else value

    def described(module: nn.Module) -> Any:
        state = vars(module)
        own = {name: plain(v) for name, v in state.items() if name not in _BOOKKEEPING}
        hooks = [list(state.get(name, {}).values()) for name in _HOOKS]
        held = {
            kind: {name: plain(v) for name, v in state[kind].items()}
            for kind in ("_parameters", "_buffers", "_modules")
        }
        return [type(module), own, hooks, held]

    tensors = {
        name: [array_of(value), value.requires_grad]
        for name, value in (*net.named_parameters(), *net.named_buffers())
    }
    structure = {name: described(module) for name, module in net.named_modules()}
    return fingerprint([structure, tensors], key)


_HOOKS = ("_forward_hooks", "_forward_pre_hooks")


def array_of(value: Tensor) -> Any:
    """The type and the values as a NumPy array."""
    plain = value.detach().cpu()
    narrow = plain.dtype in (torch.bfloat16, torch.float8_e4m3fn, torch.float8_e5m2)
    return [str(value.dtype), (plain.float() if narrow else plain).numpy()]

"""What the measures see of a training at one step. Each part is computed once, when asked for."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ..._core.errors import InputError
from ..._torch.functional import called
from ..._torch.undisturbed import undisturbed, unwrapped
from .objective import Labels, Objective
from .samples import Samples
from .steps import Steps

# Samples that pass through the net side by side.
_CHUNK = 512

DENSE = nn.Linear
"""The layer of PyTorch, by a name that no model of lazyrich has."""


class Selected(nn.Module):
    """A net and a choice among its outputs, such as those of the last position."""

    def __init__(self, net: nn.Module, select: Any):
        super().__init__()
        self.net, self.select = net, select

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """The chosen outputs."""
        found = self.net(*args, **kwargs)
        return self.select(getattr(found, "logits", found))


@dataclass
class Setting:
    """What does not change during a training.

    - `head`, the last linear map; `positions`, which of its rows reach the outputs, or None if it
        has one row a sample; `directions`, `(k, c)`, outputs whose kernels are added.
    - `scales`, reference values for scores; `start`, the initial parameters; `kernel_start`, the
        initial kernel.
    - `random`, whether passes in `eval` mode draw random numbers.
    """

    net: nn.Module
    objective: Objective
    train: Samples
    test: Samples
    kernel: Samples
    gradient: Samples
    steps: Steps
    parameters: Mapping[str, Tensor]
    directions: Tensor
    labels: Labels = "reals"
    residues: int | None = None
    head: nn.Module | None = None
    positions: Tensor | None = None
    scales: dict[str, float] = field(default_factory=dict)
    start: dict[str, Tensor] = field(default_factory=dict)
    kernel_start: np.ndarray | None = None
    random: bool = False


class View:
    """The state of a training at one step."""

    def __init__(self, setting: Setting):
        self.setting = setting

    @cached_property
    def params(self) -> dict[str, Tensor]:
        """The present parameters, detached."""
        return params_of(self.setting)

    @cached_property
    def decays(self) -> dict[str, float]:
        """The weight decay of each parameter."""
        setting = self.setting
        return {name: setting.steps.decay(p) for name, p in setting.parameters.items()}

    @cached_property
    def _leaves(self) -> dict[str, Tensor]:
        return {name: p.detach().requires_grad_() for name, p in self.params.items()}

    @cached_property
    def _of_gradient(self) -> tuple[Tensor, Tensor | None]:
        """Outputs on the samples of the gradient, which depend on `_leaves`."""
        with torch.enable_grad():
            return _forward(self.setting, self._leaves, self.setting.gradient.x)

    @cached_property
    def _train(self) -> tuple[Tensor, Tensor | None]:
        # The samples of the gradient are the first ones. They pass through the net once.
        setting = self.setting
        f, rows = self._of_gradient
        f, num = f.detach().cpu(), len(f)
        if num == len(setting.train.y):
            return f, rows
        f_rest, rest = forward(setting, self.params, setting.train, num)
        features = None if rows is None or rest is None else torch.cat([rows, rest])
        return torch.cat([f, f_rest]), features

    @property
    def f_train(self) -> Tensor:
        """Outputs on training samples, on the processor."""
        return self._train[0]

    @property
    def features(self) -> Tensor | None:
        """What the last linear map gets, `(rows, width)`; None without such a map."""
        return self._train[1]

    @cached_property
    def f_test(self) -> Tensor:
        """Outputs on test samples, on the processor."""
        return forward(self.setting, self.params, self.setting.test)[0]

    @cached_property
    def gradient(self) -> dict[str, Tensor]:
        """The gradient of the mean loss over some training samples, without weight decay."""
        setting, leaves = self.setting, self._leaves
        with undisturbed(setting.net), torch.enable_grad():
            value = setting.objective(self._of_gradient[0], setting.gradient.y)
            found = torch.autograd.grad(value, list(leaves.values()), materialize_grads=True)
        return dict(zip(leaves, found, strict=True))


def forward(
    setting: Setting, params: dict[str, Tensor], samples: Samples, start: int = 0
) -> tuple[Tensor, Tensor | None]:
    """Outputs from sample `start` on, and the inputs of the last linear map."""
    found, rows = [], []
    with torch.no_grad():
        for first_of in range(start, len(samples.y), _CHUNK):
            f, features = _forward(setting, params, part(samples.x, first_of))
            found.append(f.cpu())
            if features is not None:
                rows.append(features)
    return torch.cat(found), torch.cat(rows) if rows else None


def _forward(setting: Setting, params: dict[str, Tensor], x: Any) -> tuple[Tensor, Tensor | None]:
    held: list[Tensor] = []

    def keep(module: Any, args: tuple[Any, ...], out: Any) -> None:
        held.append(args[0].detach())

    handle = None if setting.head is None else setting.head.register_forward_hook(keep)
    try:
        with undisturbed(setting.net, differentiated=torch.is_grad_enabled()):
            f = called(setting.net, params, x)
    finally:
        if handle is not None:
            handle.remove()
    return f, _used(held[-1], setting.positions).cpu() if held else None


def part(x: Any, start: int) -> Any:
    """A chunk of the inputs."""
    stop = start + _CHUNK
    if isinstance(x, dict):
        return {name: value[start:stop] for name, value in x.items()}
    return tuple(value[start:stop] for value in x) if isinstance(x, tuple) else x[start:stop]


def find_head(setting: Setting) -> None:
    """Finds the last linear map of a net, and which of its rows reach the outputs."""
    calls: list[tuple[nn.Module, Tensor]] = []

    def seen(module: nn.Module, args: Any, out: Tensor) -> None:
        calls.append((module, out))

    linear = [module for module in setting.net.modules() if isinstance(module, DENSE)]
    handles = [module.register_forward_hook(seen) for module in linear]
    try:
        with undisturbed(setting.net), torch.enable_grad():
            leaves = {name: p.clone().requires_grad_() for name, p in params_of(setting).items()}
            some = part(setting.train.x, 0)
            f = called(setting.net, leaves, first(some, 16))
            fitting = [c for c in calls if c[1].requires_grad and c[1].shape[-1] == f.shape[-1]]
            if not fitting:
                return
            head, out = (fitting or calls)[-1]
            setting.head = head
            if out.ndim > 2:
                weights = torch.linspace(1.0, 2.0, f.numel(), device=f.device, dtype=f.dtype)
                (slope,) = torch.autograd.grad((f.flatten() * weights).sum(), out)
                setting.positions = (slope != 0).any(-1).any(0).flatten()
    finally:
        for handle in handles:
            handle.remove()


def params_of(setting: Setting) -> dict[str, Tensor]:
    """The present parameters, detached: those that were trained when the monitor was built.

    A training may freeze some of them, or others may join later.
    """
    named = dict(unwrapped(setting.net).named_parameters())
    return {name: named[name].detach() for name in setting.parameters}


def first(x: Any, num: int) -> Any:
    """The first of the inputs."""
    if isinstance(x, dict):
        return {name: value[:num] for name, value in x.items()}
    return tuple(value[:num] for value in x) if isinstance(x, tuple) else x[:num]


def _used(rows: Tensor, positions: Tensor | None) -> Tensor:
    if positions is None:
        return rows.reshape(-1, rows.shape[-1])
    flat = rows.reshape(len(rows), -1, rows.shape[-1])
    if flat.shape[1] == len(positions):
        flat = flat[:, positions.to(flat.device)]
    return flat.reshape(-1, rows.shape[-1])


def check_outputs(f: Tensor, samples: Samples, key: str) -> None:
    """Raises [`InputError`][lazyrich.InputError] for outputs that labels cannot be compared with.

    Outputs are `(n,)`, `(n, 1)` or `(n, c)`.
    """
    if f.ndim > 2 or len(f) != len(samples.y):
        accepted = "should be (samples,) or (samples, outputs): choose the outputs that labels are "
        accepted += "of by select, such as select=lambda f: f[:, -1]"
        raise InputError("net", f"outputs of shape {tuple(f.shape)}", accepted)
    if not f.is_floating_point() or not math.prod(f.shape):
        raise InputError("net", f"outputs of type {f.dtype}", f"should be real numbers on {key}")

"""Optimisers of PyTorch as dynamics of lazyrich, and the flow time of their steps."""

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from ..._core.errors import InputError
from ...dynamics import SGD, AbstractDynamics, Adam, AdamW, Flow, GradientDescent
from ..functional import unwrapped


@dataclass(frozen=True)
class Trained:
    r"""How a net is trained, in the terms of an experiment.

    - `time_per_step`, the gradient-flow time of a step; NaN if steps do not follow the gradient.
    - `largest`, the largest stable value of the learning rate times the largest curvature.
    """

    dynamics: AbstractDynamics
    weight_decay: float
    undecayed: tuple[str, ...]
    time_per_step: float
    largest: float = math.nan
    rate: float = math.nan


def trained_by(
    optimizer: Any, net: nn.Module, weight_decay: float | None, factor: float, batch_size: int
) -> Trained:
    r"""The dynamics of an optimiser.

    The loss of PyTorch is `factor` times that of lazyrich. A step $\theta \leftarrow \theta -
    \eta (\nabla \phi \mathcal L + w \theta)$ is a step with the learning rate $\eta\phi$ on
    $\mathcal L$ with the decay $w / \phi$.

    - **Takes** `optimizer`, an instance of `torch.optim.SGD`, `Adam` or `AdamW` for the parameters
        of `net`, or None; `weight_decay`, that of the optimiser if there is none.
    - **Raises** [`InputError`][lazyrich.InputError] for another optimiser, for groups of different
        learning rates, or for parameters that it does not train.
    """
    if optimizer is None:
        return Trained(Flow(), (weight_decay or 0.0) / factor, (), math.nan)
    if type(optimizer) not in (torch.optim.SGD, torch.optim.Adam, torch.optim.AdamW):
        accepted = "should be a torch.optim.SGD, Adam or AdamW, or left out"
        raise InputError("optimizer", type(optimizer).__name__, accepted)
    groups = optimizer.param_groups
    decay, undecayed = _decay(groups, _names(optimizer, net))
    if weight_decay is not None and weight_decay != decay:
        accepted = f"should be left out: the optimizer has {decay:g}"
        raise InputError("weight_decay", weight_decay, accepted)
    first = {key: _one_value(groups, key) for key in groups[0] if key not in _OF_GROUPS}
    if first.get("maximize"):
        raise InputError("optimizer.maximize", True, "should be False")
    rate = float(first["lr"]) * factor
    if not rate > 0:
        raise InputError("optimizer.lr", first["lr"], "should be positive")
    if type(optimizer) is torch.optim.SGD:
        return _by_sgd(first, decay / factor, undecayed, rate, batch_size)
    beta1, beta2 = first["betas"]
    decoupled = type(optimizer) is torch.optim.AdamW or first.get("decoupled_weight_decay", False)
    kind = AdamW if decoupled else Adam
    dynamics = kind(
        learning_rate=float(first["lr"]),
        beta1=float(beta1),
        beta2=float(beta2),
        epsilon=float(first["eps"]),
        batch_size=batch_size,
    )
    # Decoupled decay does not depend on the factor of the loss.
    return Trained(dynamics, decay if decoupled else decay / factor, undecayed, math.nan)


def _by_sgd(
    first: dict[str, Any], decay: float, undecayed: tuple[str, ...], rate: float, batch_size: int
) -> Trained:
    momentum, dampening = float(first["momentum"]), float(first["dampening"])
    # The velocity is the sum of the last gradients with the weights 1, beta, beta^2, ...
    pace = (1 - dampening) / (1 - momentum) if momentum else 1.0
    dynamics: AbstractDynamics = GradientDescent(learning_rate=rate)
    if momentum or batch_size:
        nesterov = bool(first["nesterov"])
        dynamics = SGD(
            learning_rate=rate, momentum=momentum, nesterov=nesterov, batch_size=batch_size
        )
    largest = 2 * (1 + momentum) / ((1 - dampening) if momentum else 1.0)
    return Trained(dynamics, decay, undecayed, rate * pace, largest, rate)


# The keys in which groups may differ.
_OF_GROUPS = frozenset({"params", "param_names", "weight_decay", "initial_lr", "foreach", "fused",
                        "capturable", "differentiable"})  # fmt: skip


def _names(optimizer: Any, net: nn.Module) -> dict[int, str]:
    """The names of the trainable parameters by identity, all of which the optimiser trains."""
    net = unwrapped(net)
    names = {id(p): name for name, p in net.named_parameters() if p.requires_grad}
    held = {id(p) for group in optimizer.param_groups for p in group["params"]}
    missing = [name for place, name in names.items() if place not in held]
    if len(missing) == len(names):
        accepted = "has no parameter of net: build it after the net, and not of a copy"
        raise InputError("optimizer", type(optimizer).__name__, accepted)
    if missing:
        accepted = f"does not train {missing[0]}: set its requires_grad to False"
        raise InputError("optimizer", type(optimizer).__name__, accepted)
    return names


def _decay(groups: list[dict[str, Any]], names: dict[int, str]) -> tuple[float, tuple[str, ...]]:
    """The weight decay of the groups that have one, and the names of the other parameters."""
    found = sorted({float(group["weight_decay"]) for group in groups} - {0.0})
    if len(found) > 1:
        accepted = "should be the same in all groups that have one"
        raise InputError("optimizer.weight_decay", found, accepted)
    if not found:
        return 0.0, ()
    free = [p for group in groups if float(group["weight_decay"]) == 0 for p in group["params"]]
    return found[0], tuple(sorted(names[id(p)] for p in free if id(p) in names))


def _one_value(groups: list[dict[str, Any]], key: str) -> Any:
    values = [group[key] for group in groups]
    if any(value != values[0] for value in values[1:]):
        raise InputError(f"optimizer.{key}", values, "should be the same in all groups")
    return values[0]

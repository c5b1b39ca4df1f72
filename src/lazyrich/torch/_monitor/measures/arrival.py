"""Whether parameters have arrived where decay and loss balance, and scale invariance."""

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..view import View


def invariance(view: View) -> dict[str, Any]:
    r"""$|\langle\theta_b, g_b\rangle| / (\|\theta_b\| \|g_b\|)$ with the gradient $g_b$ of a block.

    It is 0 for a block whose scale does not matter. NaN where gradient or block is zero.
    """
    found = []
    for name, p in view.params.items():
        g = view.gradient[name].to(p.dtype)
        size = float(torch.linalg.vector_norm(p) * torch.linalg.vector_norm(g))
        product = abs(float((p * g).sum()))
        found.append(min(product / size, 1.0) if size > 0 else math.nan)
    return {"block_invariance": np.array(found)}


def arrival(view: View) -> dict[str, Any]:
    r"""The relative residual of $\lambda W W^\top = -G W^\top$ for each matrix $W$.

    $G$ is the gradient of the mean loss, which for a linear map $z = Wx$ is
    $\frac1n \sum_i \delta_i x_i^\top$, so $-G W^\top$ is the sum of back-propagated signals times
    outputs. The residual is $\|\lambda W W^\top + G W^\top\| / (\|\lambda W W^\top\| +
    \|G W^\top\|)$, between 0 and 1; with $W^\top W$ and $W^\top G$ where these are smaller. NaN
    without decay of $W$.
    """
    found, total, num = [], 0.0, 0
    for name, p in view.params.items():
        decay, own = view.decays[name], math.nan
        if p.ndim >= 2 and decay > 0:
            own = residual(_matrix(p), _matrix(averaged_gradient(view, name)), decay)
        if not math.isnan(own):
            total, num = total + own * p.numel(), num + p.numel()
        found.append(own)
    return {"arrival_residual": total / num, "block_arrival": np.array(found)} if num else {}


def residual(w: Tensor, g: Tensor, decay: float) -> float:
    """The relative residual of a matrix `w` with gradient `g`, both `(rows, columns)`."""
    if w.shape[0] > w.shape[1]:
        w, g = w.T, g.T
    own, sent = decay * (w @ w.T), g @ w.T
    size = float(torch.linalg.norm(own) + torch.linalg.norm(sent))
    return float(torch.linalg.norm(own + sent)) / size if size > 0 else math.nan


def averaged_gradient(view: View, name: str) -> Tensor:
    r"""The gradient of the mean loss of a parameter, without decay, in the optimiser's metric.

    An optimiser with momentum has the average of its own gradients, over all of the training
    data: that is used. For AdamW it is $\hat m / (\sqrt{\hat v} + \varepsilon)$, because AdamW
    stops where this equals $-\lambda\theta$. Without momentum, or before the first step, it is the
    gradient on the monitor's samples.
    """
    setting = view.setting
    parameter, decay = setting.parameters[name], view.decays[name]
    steps = setting.steps
    held = steps.optimizer.state.get(parameter, {}) if steps.optimizer is not None else {}
    group = steps.group_of(parameter)
    options = steps.optimizer.param_groups[group] if group is not None else {}
    weights = view.params[name]
    if steps.rule == "sgd" and held.get("momentum_buffer") is not None:
        scale = (1 - options["momentum"]) / (1 - options["dampening"])
        return scale * held["momentum_buffer"] - decay * weights
    if steps.rule in ("adam", "adamw") and "exp_avg" in held:
        first, second = options["betas"]
        num = float(held["step"])
        mean = held["exp_avg"] / (1 - float(first) ** num)
        if steps.rule == "adam":
            return mean - decay * weights
        square = held.get("max_exp_avg_sq", held["exp_avg_sq"]) / (1 - float(second) ** num)
        return mean / (square.sqrt() + options["eps"])
    if steps.rule == "adamw":
        slope = view.gradient[name]
        return slope / (slope.abs() + options.get("eps", 1e-8))
    return view.gradient[name]


def _matrix(p: Tensor) -> Tensor:
    return p.detach().flatten(1).float() if p.dtype != torch.float64 else p.detach().flatten(1)

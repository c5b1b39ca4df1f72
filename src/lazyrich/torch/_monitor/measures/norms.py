"""Norms of the parameters, and how far they are from the decayed initialisation."""

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..view import View


def norms(view: View) -> dict[str, Any]:
    """The norm of all trainable parameters, and of each block."""
    each = [_norm(p) for p in view.params.values()]
    return {"param_norm": math.hypot(*each), "block_norm": np.array(each)}


def drift(view: View) -> dict[str, Any]:
    r"""Distances from the decayed initialisation.

    With $s_b$ what decay leaves of block $b$, `drift` is the norm of all
    $\theta_b / s_b - \theta_b(0)$ over $\|\theta(0)\|$, and `drift_share` the norm of all
    $\theta_b - s_b \theta_b(0)$ over $\|\theta\|$. Adam adds decay to the gradient and rescales
    both, so there $s_b = 1$.
    """
    setting = view.setting
    logs, gaps = [], []
    for name, p in view.params.items():
        log_shrink = setting.steps.shrink(setting.parameters[name])
        gap = _norm(p - math.exp(log_shrink) * setting.start[name])
        gaps.append(gap)
        logs.append(math.log(gap) - log_shrink if gap > 0 else -math.inf)
    size = math.hypot(*map(_norm, view.params.values()))
    first = math.hypot(*map(_norm, setting.start.values()))
    most = max(logs)
    total = 0.0
    if most > -math.inf:
        # Through logarithms: what decay leaves may underflow.
        log_total = most + 0.5 * math.log(sum(math.exp(2 * (each - most)) for each in logs))
        total = math.exp(log_total - math.log(first)) if log_total < 700 else math.inf
    return {
        "drift": total if first > 0 else math.nan,
        "drift_share": math.hypot(*gaps) / size if size > 0 else math.nan,
    }


def _norm(p: Tensor) -> float:
    kind = torch.float32 if p.device.type == "mps" else torch.float64
    return float(torch.linalg.vector_norm(p, dtype=kind))

"""Losses, accuracies, margins, and the saturation of the softmax."""

import math
from typing import Any

import torch
from torch import Tensor

from ..objective import Labels
from ..view import View


def fit(view: View) -> dict[str, Any]:
    """Losses, accuracies, the smallest training margin and the standardised test margin.

    Losses named and without options are computed in float64 from the outputs.
    """
    setting = view.setting
    found: dict[str, Any] = {}
    for name, f, samples in (
        ("train", view.f_train, setting.train),
        ("test", view.f_test, setting.test),
    ):
        y = samples.y.cpu()
        f_double = f.double()
        with torch.no_grad():
            named = setting.objective.function is None
            found[f"{name}_loss"] = float(setting.objective(f_double if named else f, y))
        if setting.labels != "reals":
            labels = setting.objective.labels(f, y)[1]
            found[f"{name}_accuracy"] = accuracy(f_double, labels)
            if name == "train":
                found["margin"] = float(margins(f_double, labels).min())
            else:
                found["test_margin_ratio"] = margin_ratio(margins(f_double, labels))
    return found


def accuracy(f: Tensor, y: Tensor) -> float:
    """The fraction of outputs that agree with their label, as `lazyrich.probes.accuracy`."""
    if f.numel() == len(f):
        return float((0.5 * (1 + torch.sign(f.reshape(len(f)) * y))).mean())
    largest = (f == f.amax(1, keepdim=True)).double()
    right = largest.gather(1, y[:, None])[:, 0]
    return float((right / largest.sum(1)).mean())


def margins(f: Tensor, y: Tensor) -> Tensor:
    """The output at the label minus the largest other one, or label times output, `(n,)`."""
    if f.numel() == len(f):
        return f.reshape(len(f)) * y
    others = f.scatter(1, y[:, None], -torch.inf)
    return f.gather(1, y[:, None])[:, 0] - others.amax(1)


def margin_ratio(margins: Tensor) -> float:
    """The median over the standard deviation; NaN for margins that are all the same."""
    spread = float(margins.std(correction=0))
    return float(margins.quantile(0.5)) / spread if spread > 0 else math.nan


def saturation(view: View) -> dict[str, Any]:
    """The fraction of training samples whose softmax is exactly 1 at the label."""
    setting = view.setting
    if setting.labels != "classes" or setting.objective.kind != "cross_entropy":
        return {}
    _, y = setting.objective.labels(view.f_train, setting.train.y)
    return {
        "softmax_saturation": _saturated(view.f_train.double(), y),
        "softmax_saturation_own": _saturated(view.f_train, y),
    }


def _saturated(f: Tensor, y: Tensor) -> float:
    p = torch.softmax(f, 1).gather(1, y[:, None])[:, 0]
    return float((p == 1).double().mean())


def chance(labels: Labels, y: Tensor) -> float:
    """The largest share of one label; NaN for real numbers."""
    if labels == "reals":
        return float("nan")
    _, counts = torch.unique(y, return_counts=True)
    return float(counts.max()) / len(y)

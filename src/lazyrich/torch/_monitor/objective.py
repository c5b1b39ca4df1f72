"""The loss of a training script, and what its labels mean."""

from collections.abc import Callable
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from ..._core.errors import InputError, did_you_mean, one_line

Kind = Literal["cross_entropy", "logistic", "squared", "own"]
Labels = Literal["classes", "signs", "reals"]

_NAMES: dict[str, Kind] = {
    "cross_entropy": "cross_entropy",
    "logistic": "logistic",
    "squared": "squared",
}
_FUNCTIONS: list[tuple[Any, Kind]] = [
    (functional.cross_entropy, "cross_entropy"),
    (functional.binary_cross_entropy_with_logits, "logistic"),
    (functional.soft_margin_loss, "logistic"),
    (functional.mse_loss, "squared"),
]
# If every sample counts twice, a mean changes by rounding only, and a sum by a factor of two.
_SAME = 1e-2
_MODULES: list[tuple[type[nn.Module], Kind]] = [
    (nn.CrossEntropyLoss, "cross_entropy"),
    (nn.BCEWithLogitsLoss, "logistic"),
    (nn.SoftMarginLoss, "logistic"),
    (nn.MSELoss, "squared"),
]


class Objective:
    """The mean loss over samples, as the script trains it, without weight decay.

    - **Takes** `loss`: a name (`cross_entropy`, `logistic` for labels -1 and 1 or 0 and 1, or
        `squared`, the mean over samples of the sum over outputs), a loss module or function of
        PyTorch with the reduction `mean`, or a function of outputs and labels.
    - **Raises** [`InputError`][lazyrich.InputError] for others.
    """

    def __init__(self, loss: Any):
        self.kind, self.function = _recognised(loss)

    def __call__(self, f: Tensor, y: Tensor) -> Tensor:
        """The loss of outputs `(n,)`, `(n, 1)` or `(n, c)`, shape `()`."""
        if self.kind == "cross_entropy":
            y = y.reshape(len(y)).long() if y.numel() == len(y) else y.to(f.dtype)
        elif y.is_floating_point() or self.kind != "own":
            y = y.to(f.dtype)
        if self.kind != "cross_entropy" and y.numel() == f.numel():
            y = y.reshape(f.shape)
        if self.function is None:
            return _named(self.kind, f, y)
        return self.function(f, y)

    def fault(self, f: Tensor, y: Tensor) -> str:
        """Why the loss cannot be one of these outputs and labels; empty if it can be."""
        if self._is_of_zero_and_one and not bool(((y >= 0) & (y <= 1)).all()):
            return "needs labels from 0 to 1: nn.SoftMarginLoss() takes -1 and 1"
        of_classes = self.kind in ("cross_entropy", "squared") and f.numel() > len(f)
        if of_classes and y.numel() == len(y) and bool((y != y.round()).any()):
            return f"needs labels that are whole numbers, the classes of {f.shape[1]} outputs"
        if self.kind == "own" and len(y) > 1:
            once, twice = self(f, y), self(torch.cat([f, f]), torch.cat([y, y]))
            if bool((twice - once).abs() > _SAME * once.abs()):
                return "should be a mean over samples: it changes if every sample counts twice"
        return ""

    @property
    def _is_of_zero_and_one(self) -> bool:
        found = self.function
        binary = functional.binary_cross_entropy_with_logits
        return found is binary or isinstance(found, nn.BCEWithLogitsLoss)

    def labels(self, f: Tensor, y: Tensor) -> tuple[Labels, Tensor]:
        """What labels mean, and the labels: classes, signs, or real numbers, on the processor."""
        y = y.detach().cpu()
        if y.numel() == len(y):
            y = y.reshape(len(y))
        single = f.numel() == len(f)
        whole = not y.is_floating_point()
        if not single and y.ndim == 1 and (whole or self.kind == "cross_entropy"):
            return "classes", y.long()
        if not single and y.ndim == 2 and _is_one_hot(y):
            return "classes", y.argmax(1)
        if single:
            values = set(torch.unique(y).tolist())
            if self.kind in ("logistic", "own") and values <= {0, 1}:
                return "signs", 2 * y.double() - 1
            if values <= {-1, 1}:
                return "signs", y.double()
        return "reals", y.double()


def _named(kind: Kind, f: Tensor, y: Tensor) -> Tensor:
    if kind == "cross_entropy":
        return functional.cross_entropy(f, y)
    if kind == "logistic":
        signs = y if bool((y.abs() == 1).all()) else 2 * y - 1
        return functional.softplus(-signs * f).mean()
    if f.ndim == 2 and y.ndim == 1:
        y = functional.one_hot(y.long(), f.shape[1]).to(f.dtype)
    return ((f - y) ** 2).reshape(len(f), -1).sum(1).mean()


def _recognised(loss: Any) -> tuple[Kind, Callable[[Tensor, Tensor], Tensor] | None]:
    if isinstance(loss, str):
        if loss in _NAMES:
            return _NAMES[loss], None
        near = did_you_mean(loss, _NAMES)
        accepted = f"should be {', '.join(_NAMES)}, a loss of PyTorch, or a function{near}"
        raise InputError("loss", loss, accepted)
    if isinstance(loss, type) or not callable(loss):
        shown = loss.__name__ if isinstance(loss, type) else type(loss).__name__
        raise InputError("loss", shown, "should be called, such as nn.CrossEntropyLoss(), or named")
    reduction = getattr(loss, "reduction", "mean")
    if reduction != "mean":
        accepted = "should be mean: weight decay is relative to the mean over samples"
        raise InputError("loss.reduction", one_line(reduction, 40), accepted)
    for function, kind in _FUNCTIONS:
        if loss is function:
            return kind, loss
    for module, kind in _MODULES:
        if isinstance(loss, module):
            return kind, loss
    return "own", loss


def _is_one_hot(y: Tensor) -> bool:
    return bool(((y == 0) | (y == 1)).all()) and bool((y.sum(1) == 1).all())

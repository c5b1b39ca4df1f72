"""Losses of PyTorch as losses of lazyrich."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import nn

from ..._core.description import small_letters
from ..._core.errors import InputError
from ...losses import AbstractLoss, CrossEntropy, Logistic, Squared


@dataclass(frozen=True)
class ConvertedLoss:
    r"""A loss of PyTorch that is `factor` times the mean of a loss of lazyrich.

    - `labels`, which converts labels of PyTorch to those of the loss.
    """

    loss: AbstractLoss
    factor: float
    labels: Callable[[np.ndarray], np.ndarray]


def converted_loss(loss: Any, num_outputs: int) -> ConvertedLoss:
    """The loss that `loss` names or is, for a net with `num_outputs` outputs.

    - **Takes** the name of a loss of lazyrich or a loss of lazyrich, which mean what they mean
        there; or a loss of PyTorch with the reduction `mean`, as a module or as a function.
    - **Raises** [`InputError`][lazyrich.InputError] for any other loss.
    """
    if isinstance(loss, AbstractLoss):
        return ConvertedLoss(loss, 1.0, lambda y: y)
    if isinstance(loss, str):
        kinds: dict[str, type[AbstractLoss]] = AbstractLoss.kinds
        names = {small_letters(name): kind for name, kind in kinds.items()} | kinds
        if loss in names:
            return ConvertedLoss(names[loss](), 1.0, lambda y: y)
    for kind, function in _TORCH:
        if loss is function:
            return _of_kind(kind, kind(), num_outputs)
        if type(loss) is kind:
            return _of_kind(kind, loss, num_outputs)
    accepted = ", ".join(map(small_letters, AbstractLoss.kinds))
    modules = ", ".join(f"torch.nn.{kind.__name__}" for kind, _ in _TORCH)
    shown = loss if isinstance(loss, str) else getattr(loss, "__name__", type(loss).__name__)
    raise InputError("loss", shown, f"should be {accepted}, a loss of lazyrich, or {modules}")


_TORCH: tuple[tuple[Any, Any], ...] = (
    (nn.CrossEntropyLoss, nn.functional.cross_entropy),
    (nn.MSELoss, nn.functional.mse_loss),
    (nn.BCEWithLogitsLoss, nn.functional.binary_cross_entropy_with_logits),
    (nn.SoftMarginLoss, nn.functional.soft_margin_loss),
)


def _of_kind(kind: Any, loss: Any, num_outputs: int) -> ConvertedLoss:
    if loss.reduction != "mean":
        raise InputError("loss.reduction", loss.reduction, "should be mean")
    for option in ("weight", "pos_weight"):
        if getattr(loss, option, None) is not None:
            raise InputError(f"loss.{option}", "a tensor", "should be None")
    if getattr(loss, "label_smoothing", 0.0) != 0:
        raise InputError("loss.label_smoothing", loss.label_smoothing, "should be 0")
    if kind is nn.CrossEntropyLoss:
        ignored = loss.ignore_index
        return ConvertedLoss(CrossEntropy(), 1.0, lambda y: _classes(y, ignored))
    if kind is nn.MSELoss:
        # PyTorch takes the mean over outputs, lazyrich the sum.
        return ConvertedLoss(Squared(), 1.0 / num_outputs, lambda y: _reals(y, num_outputs))
    if num_outputs != 1:
        accepted = f"should be used with one output; the net has {num_outputs}"
        raise InputError("loss", kind.__name__, accepted)
    labels = _signs_of_bits if kind is nn.BCEWithLogitsLoss else _one_column
    return ConvertedLoss(Logistic(), 1.0, labels)


def _classes(y: np.ndarray, ignored: int) -> np.ndarray:
    if (
        y.dtype.kind == "f"
        and y.ndim == 2
        and np.all(np.sort(y, 1)[:, ::-1] == np.eye(y.shape[1])[0])
    ):
        return y.argmax(1)  # one-hot rows
    if y.dtype.kind == "f":
        accepted = "should be class numbers of an integer type, or one-hot rows"
        raise InputError("labels", str(y.dtype), accepted)
    if np.any(y == ignored):
        raise InputError("labels", ignored, "should have none that the loss ignores")
    return y


def _reals(y: np.ndarray, num_outputs: int) -> np.ndarray:
    if y.size != len(y) * num_outputs:
        accepted = f"should have the shape of the {num_outputs} outputs, as MSELoss needs"
        raise InputError("labels", f"labels of shape {y.shape}", accepted)
    return y


def _signs_of_bits(y: np.ndarray) -> np.ndarray:
    y = _one_column(y)
    if not np.all((y == 0) | (y == 1)):
        raise InputError("labels", float(y[(y != 0) & (y != 1)][0]), "should be 0 or 1")
    return 2.0 * y - 1.0


def _one_column(y: np.ndarray) -> np.ndarray:
    return y[:, 0] if y.ndim == 2 and y.shape[1] == 1 else y

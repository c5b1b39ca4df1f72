"""What makes a log doubtful although it can be read."""

import numpy as np
import xarray as xr

# Fewer records do not show a plateau or the course of a change.
_FEW = 10
# Test accuracies are above training accuracies by chance, or by dropout, but hardly by so much.
_ABOVE = 0.05


def doubts(record: xr.Dataset) -> list[str]:
    """One line for each reason to doubt the outcome of a log."""
    found = []
    num = record.sizes["time"]
    if num < _FEW:
        words = "record has" if num == 1 else "records have"
        found.append(
            f"only {num} {words} test values: the outcome says little; log more often, at steps in "
            "equal ratios"
        )
    if _is_exchanged(record):
        found.append(
            "the test accuracy is above the training accuracy: augmentation or dropout, or are the "
            "two columns exchanged? --column train_accuracy=COLUMN says which is which"
        )
    return found


def _is_exchanged(record: xr.Dataset) -> bool:
    """Whether the test accuracy is well above the training accuracy in most of the records that
    differ, and reaches its level."""
    if not {"train_accuracy", "test_accuracy"} <= set(record):
        return False
    train, test = record["train_accuracy"].values, record["test_accuracy"].values
    above, below = test > train + _ABOVE, test < train - _ABOVE
    return bool(np.any(above) and np.sum(above) > 4 * np.sum(below) and np.max(test) > 0.95)

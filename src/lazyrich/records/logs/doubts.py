"""What makes a log doubtful although it can be read."""

from collections.abc import Iterator

import numpy as np
import xarray as xr
from jaxtyping import Float

# Fewer records do not show a plateau or the course of a change.
_FEW = 10
# Test accuracies are above training accuracies by chance, or by dropout, but hardly by so much.
_ABOVE = 0.05
# Training data count as fitted from this accuracy on.
_FITTED = 0.95
# The training accuracy of a running mean, dropout or augmentation rises with that of the test. So
# late after the test accuracy, in factors of time, it has done more than this share of its rise.
_LATE, _RISEN = 4.0, 0.25
# A smaller rise of the test accuracy says nothing.
_RISE = 0.3
# The training loss of dropout falls with that of the test. It does not rise by such a factor.
# By then the test loss is a small share of that at the start.
_RISES, _SMALL = 2.0, 0.1


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
    exchanged = [*_exchanged(record)]
    if not exchanged and _is_above(record):
        found.append(
            "the test accuracy is above the training accuracy, as running means, dropout and "
            "augmentation make it: the time of the fit is late, or missing; log the training "
            "accuracy in eval mode"
        )
    return found + exchanged


def _is_above(record: xr.Dataset) -> bool:
    """Whether the test accuracy is well above the training accuracy in most of the records that
    differ, and reaches its level."""
    if not {"train_accuracy", "test_accuracy"} <= set(record):
        return False
    train, test = record["train_accuracy"].values, record["test_accuracy"].values
    above, below = test > train + _ABOVE, test < train - _ABOVE
    return bool(np.any(above) and np.sum(above) > 4 * np.sum(below) and np.max(test) > _FITTED)


def _exchanged(record: xr.Dataset) -> Iterator[str]:
    """Questions whether two columns are exchanged, by what training does not do to its own data
    unless many of its labels are wrong."""
    for measure, question in (("accuracy", _in_accuracies), ("loss", _in_losses)):
        names = f"train_{measure}", f"test_{measure}"
        if set(names) <= set(record):
            train, test = (record[name].values for name in names)
            found = question(record["time"].values, train, test)
            if found:
                which = f"--column {names[0]}=COLUMN says which is which"
                noise = "wrong labels among the training data (label noise) do this as well"
                yield f"{found}: are the two columns exchanged? {which}; {noise}"


def _in_accuracies(
    time: Float[np.ndarray, " t"], train: Float[np.ndarray, " t"], test: Float[np.ndarray, " t"]
) -> str:
    """Whether training data are far from fitted long after the test data are."""
    fit = int(np.argmax(test >= _FITTED))
    late = int(np.searchsorted(time, _LATE * time[fit]))
    if test[fit] < _FITTED or late == len(time):
        return ""
    # A rise before the first record is one from zero.
    begin = (train[0], test[0]) if fit > 0 else (0.0, 0.0)
    rise = test[fit] - begin[1]
    if rise < _RISE or np.any(train[fit : late + 1] - begin[0] > _RISEN * rise):
        return ""
    return (
        f"the test accuracy is {test[fit]:.2g} at {time[fit]:,g}, and the training accuracy "
        f"{train[late]:.2g} at {time[late]:,g}"
    )


def _in_losses(
    time: Float[np.ndarray, " t"], train: Float[np.ndarray, " t"], test: Float[np.ndarray, " t"]
) -> str:
    """Whether the training loss rises while the test loss is small and the smallest until then."""
    del time
    small = test[-1] < _SMALL * min(test[0], train[-1]) and test[-1] <= 1.1 * np.min(test)
    if not (small and train[-1] > _RISES * np.min(train)):
        return ""
    low, high = np.min(train), train[-1]
    return f"the training loss rises from {low:.2g} to {high:.2g}, and the test loss falls"

"""Scores of a run, and the reference values for them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
import xarray as xr
from jaxtyping import Float

ScoredBy = Literal["accuracy", "R2", "loss at time 0"]
Curves = Mapping[str, Float[np.ndarray, " t"]]


@dataclass(frozen=True)
class Scales:
    """Reference values for losses and scores of a run; NaN if unknown.

    - `train_variance`, `test_variance`: mean squared distance of the labels from their mean,
        summed over outputs. It is the squared loss of the best constant output.
    - `blank_loss`: the mean training loss of outputs that are zero.
    - `chance`: the largest share of one label among the test data, for accuracies.
    - `best_accuracy`, `best_loss`: the best test values of a certified predictor.
    - `weight_decay`: lambda.
    - `num_test`: the number of test samples.
    """

    train_variance: float = np.nan
    test_variance: float = np.nan
    blank_loss: float = np.nan
    chance: float = np.nan
    best_accuracy: float = np.nan
    best_loss: float = np.nan
    weight_decay: float = np.nan
    num_test: float = np.nan

    def variance(self, part: str) -> float:
        """The variance of the labels of `train` or `test`."""
        return self.train_variance if part == "train" else self.test_variance


def curves_of_record(record: xr.Dataset) -> dict[str, Float[np.ndarray, " t"]]:
    """The curves of a record by name: its variables over time."""
    return {
        str(name): variable.values
        for name, variable in record.data_vars.items()
        if variable.dims == ("time",)
    }


def scored_by(curves: Curves, scales: Scales) -> ScoredBy:
    """The kind of score: accuracy if recorded, otherwise one minus loss over label variance.

    Records of earlier versions do not contain the variance. For them the loss at time 0 replaces
    the variance.
    """
    accuracy = curves.get("test_accuracy")
    if accuracy is not None and not np.all(np.isnan(accuracy)):
        return "accuracy"
    return "loss at time 0" if np.isnan(scales.test_variance) else "R2"


def score_of(curves: Curves, part: str, scales: Scales) -> Float[np.ndarray, " t"]:
    """The score of `train` or `test` data at every record; NaN if labels do not vary."""
    by = scored_by(curves, scales)
    if by == "accuracy":
        return np.asarray(curves[f"{part}_accuracy"])
    loss = np.asarray(curves[f"{part}_loss"], dtype=float)
    return score_of_loss(loss, loss[0] if by == "loss at time 0" else scales.variance(part))


def score_of_loss(loss: Float[np.ndarray, "*t"], scale: float) -> Float[np.ndarray, "*t"]:
    """1 - loss / scale; NaN if the scale is zero."""
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        score = 1 - np.asarray(loss, dtype=float) / scale
    return np.where(scale > 0, score, np.nan)


def ceiling_of(by: ScoredBy, scales: Scales) -> float:
    """The best score of a certified predictor; NaN if there is none."""
    if by == "accuracy":
        return scales.best_accuracy
    if by == "R2":
        return float(score_of_loss(np.asarray(scales.best_loss), scales.test_variance))
    return np.nan


def chance_of(by: ScoredBy, scales: Scales) -> float:
    """The score of the best constant output; NaN if unknown."""
    return scales.chance if by == "accuracy" else {"R2": 0.0}.get(by, np.nan)


def standard_error(by: ScoredBy, score: float, num_test: float) -> float:
    """The binomial standard error of an accuracy; NaN for other scores, or an unknown number.

    One right and one wrong sample are added, so that the error of an accuracy of 1 is not 0.
    """
    if by != "accuracy" or not num_test > 0:
        return np.nan
    share = (score * num_test + 1) / (num_test + 2)
    return float(np.sqrt(share * (1 - share) / num_test))

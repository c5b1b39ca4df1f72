"""Scores of a run, and what they are measured against."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float

ScoredBy = Literal["accuracy", "R2", "loss at time 0"]
Curves = Mapping[str, Float[np.ndarray, " t"]]


@dataclass(frozen=True)
class Scales:
    """What losses and scores of a run are measured against; NaN where that is unknown.

    - `train_variance`, `test_variance`: mean squared distance of the labels from their mean,
        summed over outputs, which is the least squared loss of a constant.
    - `blank_loss`: the mean training loss of an output of zero.
    - `chance`: the largest share of one label among the test data, for accuracies.
    - `best_accuracy`, `best_loss`: the best that a certified predictor achieves on test data.
    - `weight_decay`: lambda.
    """

    train_variance: float = np.nan
    test_variance: float = np.nan
    blank_loss: float = np.nan
    chance: float = np.nan
    best_accuracy: float = np.nan
    best_loss: float = np.nan
    weight_decay: float = np.nan

    def variance(self, part: str) -> float:
        """That of the labels of `train` or `test`."""
        return self.train_variance if part == "train" else self.test_variance


def scored_by(curves: Curves, scales: Scales) -> ScoredBy:
    """What scores are: accuracies where there are any, else relative to the labels' variance.

    Records of earlier versions do not have the variance; they are judged by the fraction of the
    loss at time 0 that is gone.
    """
    accuracy = curves.get("test_accuracy")
    if accuracy is not None and not np.all(np.isnan(accuracy)):
        return "accuracy"
    return "loss at time 0" if np.isnan(scales.test_variance) else "R2"


def score_of(curves: Curves, part: str, scales: Scales) -> Float[np.ndarray, " t"]:
    """The score of `train` or `test` data at every record; NaN where labels do not vary."""
    by = scored_by(curves, scales)
    if by == "accuracy":
        return np.asarray(curves[f"{part}_accuracy"])
    loss = np.asarray(curves[f"{part}_loss"], dtype=float)
    return score_of_loss(loss, loss[0] if by == "loss at time 0" else scales.variance(part))


def score_of_loss(loss: Float[np.ndarray, "*t"], scale: float) -> Float[np.ndarray, "*t"]:
    """1 - loss / scale; NaN where the scale is zero."""
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        score = 1 - np.asarray(loss, dtype=float) / scale
    return np.where(scale > 0, score, np.nan)


def ceiling_of(by: ScoredBy, scales: Scales) -> float:
    """The best score of a certified predictor; NaN where there is none."""
    if by == "accuracy":
        return scales.best_accuracy
    if by == "R2":
        return float(score_of_loss(np.asarray(scales.best_loss), scales.test_variance))
    return np.nan


def chance_of(by: ScoredBy, scales: Scales) -> float:
    """The score of the best constant; NaN where it is unknown."""
    return scales.chance if by == "accuracy" else {"R2": 0.0}.get(by, np.nan)

"""Known limits of training for a model, early and late."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

Early = Literal["l2", "completion"]
"""Least norm or largest margin of weights (`l2`); least norm of matrix entries (`completion`)."""

Late = Literal["lq", "nuclear"]
"""`lq`: weights of least $\\ell_q$ (quasi-)norm. `nuclear`: matrix of least nuclear norm."""

OwnPredictor = Callable[..., Any]
"""Your own function that returns a [`Predictor`][lazyrich.predictors.Predictor]."""


@dataclass(frozen=True)
class Theory:
    r"""The norms that training minimises early and late, and the family of similar runs.

    - `early`: the norm that the predictor of the kernel phase minimises, weighted by
        `kernel_weights`. `late`: the norm that the predictor of late training minimises. None if
        theory gives no norm. `order`: the $q$ of an $\ell_q$ norm.
        Instead of a norm, both can be a function that computes the predictor: `early(x, y, h)`,
        with `h` the `kernel_weights` or None, and `late(x, y, start)`, with `start` the weights of
        the early predictor, None if it is not certified. `x` and `y` are the training data as NumPy
        arrays.
    - `entries`: the number of entries if each training sample is one entry of the weights; None
        if samples mix entries.
    - `family`: the name of runs of such models in the table of calibrated constants.
        `of_any_task`: whether the family includes all tasks. `of_relus`: whether the activation is
        ReLU, as in the runs of the family `MLP`. `has_margin`: whether the model is as in the runs
        that give its margin: one layer of ReLUs with biases, the last layer zero at first, and
        outputs of degree 2 that are not scaled.
    """

    early: Early | OwnPredictor | None = None
    late: Late | OwnPredictor | None = None
    order: float = 1.0
    entries: int | None = None
    family: str = ""
    of_any_task: bool = False
    of_relus: bool = False
    has_margin: bool = False

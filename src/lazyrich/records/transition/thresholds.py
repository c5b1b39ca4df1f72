"""The numbers by which runs are judged."""

from collections.abc import Sequence
from typing import Annotated, Any

import xarray as xr
from annotated_types import Ge, Gt, Interval

from ..._core.description import Description
from ..._core.errors import InputError
from ..described import told


class Thresholds(Description):
    """Where a fit counts as a fit. Scores are at most 1, see [`transition`][lazyrich.transition].

    - `train`, `test`: the scores from which data count as fitted and as generalised to.
    - `train_loss`: for classification, the fraction of the loss of a zero output that must be
        gone from the training loss, too. Outputs may have the right signs long before they have
        any size: from a small start every training sample is on its side after the first step,
        and accuracy alone would see a delay in what is no fit yet.
    - `loss`: a mean loss from which on downwards data count as fitted and as generalised to,
        in place of `train`, `test` and `train_loss`: accuracy alone can make a delay, and
        some papers count by losses. Plateau and change stay those of the score.
    - `delay`: the ratio of the time of the change to that of the fit from which it is grokking.
    - `immediate`: the ratio below which there is no delay.
    - `change`: the least difference of test scores that is a change.
    - `settled`: a score, a cosine, and the logarithm of the parameters' norm move by less in the
        last factor of e in time once a run has settled.
    - `sustained`: recorded times in a row for which a level must hold.
    """

    train: Annotated[float, Interval(gt=0, le=1)] = 0.99
    test: Annotated[float, Interval(gt=0, le=1)] = 0.95
    train_loss: Annotated[float, Interval(ge=0, lt=1)] = 0.5
    loss: Annotated[float, Gt(0)] | None = None
    delay: Annotated[float, Gt(1)] = 10.0
    immediate: Annotated[float, Ge(1)] = 2.0
    change: Annotated[float, Interval(gt=0, lt=1)] = 0.1
    settled: Annotated[float, Interval(gt=0, lt=1)] = 0.02
    sustained: Annotated[int, Ge(1)] = 3

    def changed(self, settings: Sequence[str]) -> "Thresholds":
        """These with `settings` such as `test=0.9` made, as the command line has them.

        - **Raises** [`InputError`][lazyrich.InputError] for a key that is none, or a value out of
            range.
        """
        found: dict[str, Any] = self.table()
        for setting in settings:
            key, equals, text = setting.partition("=")
            if not equals or not key:
                accepted = (
                    f"should be KEY=VALUE with KEY among {', '.join(type(self).model_fields)}"
                )
                raise InputError("--threshold", setting, accepted)
            found[key] = _number(text)
        try:
            return type(self)(**found)
        except InputError as error:
            raise error.under("--threshold") from None


def thresholds_of(record: xr.Dataset) -> Thresholds:
    """The thresholds that a record brings along, else the default ones."""
    try:
        return Thresholds(**told(record, "thresholds"))
    except InputError as error:
        raise error.under("thresholds") from None


def _number(text: str) -> Any:
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text

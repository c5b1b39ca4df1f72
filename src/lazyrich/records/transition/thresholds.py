"""The thresholds that define a fit, a change and a delay."""

from collections.abc import Sequence
from typing import Annotated, Any

import xarray as xr
from annotated_types import Ge, Gt, Interval

from ..._core.description import Description
from ..._core.errors import InputError
from ..._core.given import check_kind
from ..described import json_attribute


class Thresholds(Description):
    """When a fit, a change or a delay counts. For scores see [`transition`][lazyrich.transition].

    - `train`, `test`: the scores from which on data count as fitted and as generalised to.
    - `train_loss`: for classification, by which fraction of the loss of zero outputs the training
        loss must also have decreased. Outputs can have the right signs long before they have any
        size: after a small initialisation all training samples are on the right side after one
        step. The accuracy would then show a delay before there is a fit.
    - `loss`: a mean loss; data with at most this loss count as fitted and as generalised to. It
        replaces `train`, `test` and `train_loss`, because delays of accuracies can be artefacts,
        and some papers use losses. Plateau and change still use the score.
    - `delay`: grokking needs at least this ratio of the time of the change to that of the fit.
    - `immediate`: below this ratio there is no delay.
    - `change`: the smallest difference of test scores that counts as a change.
    - `settled`: in a settled run a score, a cosine, and the logarithm of the parameters' norm
        change by less than this in the last factor of e in time.
    - `sustained`: the number of consecutive records for which a level must hold.
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
        """These thresholds with `settings` such as `test=0.9`, as given on the command line.

        - **Raises** [`InputError`][lazyrich.InputError] for an unknown key, or a value out of
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


def check_thresholds(value: object) -> None:
    """Raises [`InputError`][lazyrich.InputError] unless `value` is a set of thresholds."""
    check_kind(
        "thresholds", value, Thresholds, "lr.Thresholds(...), such as lr.Thresholds(test=0.9)"
    )


def thresholds_of(record: xr.Dataset, given: Thresholds | None = None) -> Thresholds:
    """The thresholds in a record, or the default ones if it has none.

    - **Takes** `given`, which replace those of the record.
    """
    if given is not None:
        check_thresholds(given)
        return given
    try:
        return Thresholds(**json_attribute(record, "thresholds"))
    except InputError as error:
        raise error.under("thresholds") from None


def _number(text: str) -> Any:
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text

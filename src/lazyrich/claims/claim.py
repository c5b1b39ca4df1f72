"""One claim about many runs."""

from typing import Annotated, Any, Literal, get_args

import pydantic
from annotated_types import Ge, Gt, Interval

from .._core.description import Description
from .._core.errors import InputError
from ..records.transition import Outcome

Kind = Literal[
    "increases",
    "decreases",
    "equals",
    "at_least",
    "at_most",
    "outcomes",
    "power_law",
    "log_law",
    "share_above",
    "changes_sign",
]
ALONG = ("increases", "decreases", "power_law", "log_law", "changes_sign")
_VALUED = ("equals", "at_least", "at_most", "power_law", "log_law", "changes_sign")


class Claim(Description):
    r"""A sentence of a paper in a form that runs can confirm, refute or leave open.

    - **Takes** `text`, the sentence; `quantity`, a number of the dataset, dotted keys such as
        `late.test_loss` allowed, `first.`, `max.` and `min.` before the name of a curve for what
        it is at time 0 and at most and at least, `when_max.` and `when_min.` for when, `t10.`,
        `t50.` and `t90.` for when that share is done of its change from what is farthest from its
        last value to that value; or two of these, keys or numbers with
        `+`, `-`, `*` or `/` between blanks (`t_test / t_train`, `weight_decay * t50`).
    - `kind`: `increases` or `decreases` with the key `along`, by Spearman's rank correlation of
        runs that differ in it alone, which should exceed `value` (0 if left out) in size;
        `power_law` and `log_law`, whose slope of the quantity's logarithm, or of the quantity,
        against the logarithm of `along` is `value` within `tolerance`; `equals` `value` within
        a ratio of `1 + tolerance`; `at_least` and `at_most` `value`; `outcomes`, among which at
        least `share` of the runs should be, `value` being one of them or a list; `share_above`,
        the quantity exceeds `value` (0 if left out) in at least `share` of the runs that have it;
        `changes_sign`, the quantity does at `along` = `value`, positive, within a ratio of
        `1 + tolerance`, or at `value` times the place at which `beside`, another one, does.
    - `where`, which runs it is about: values by key, a list for any of its values.
    - `against`, the same of the runs that each is compared with: those that have these values, and
        all others in common with it (`{"loss.kind" = "Logistic"}`). The quantity is then the
        `ratio` of the two or, as `compared` says, their `difference`.
    - `min_runs`, from which on `equals`, `at_least`, `at_most`, `outcomes`, `share_above` and, in
        lines of runs, `changes_sign` can hold or fail; the other kinds know by themselves how many
        they need.
    - `source`, where it stands.
    """

    text: str
    kind: Kind
    quantity: str = "outcome"
    along: str | None = None
    beside: str | None = None
    where: dict[str, Any] = pydantic.Field(default_factory=dict)
    against: dict[str, Any] = pydantic.Field(default_factory=dict)
    compared: Literal["ratio", "difference"] = "ratio"
    value: float | str | tuple[str, ...] | None = None
    tolerance: Annotated[float, Gt(0)] = 0.1
    share: Annotated[float, Interval(gt=0, le=1)] = 1.0
    min_runs: Annotated[int, Ge(1)] = 3
    source: str | None = None

    @pydantic.field_validator("value", mode="before")
    @classmethod
    def _as_tuple(cls, value: Any) -> Any:
        return tuple(value) if isinstance(value, list) else value

    def model_post_init(self, context: object) -> None:
        del context
        if (self.kind in ALONG) != (self.along is not None):
            accepted = "should be a key" if self.along is None else "should be left out"
            raise InputError("along", self.along, f"{accepted} for {self.kind}")
        if self.beside is not None and self.kind != "changes_sign":
            raise InputError("beside", self.beside, f"should be left out for {self.kind}")
        if self.against and (self.kind == "outcomes" or self.beside is not None):
            accepted = "should be left out for outcomes, and with beside"
            raise InputError("against", self.against, accepted)
        if self.kind == "outcomes":
            kinds = get_args(Outcome)
            if not self.outcomes or not set(self.outcomes) <= set(kinds):
                raise InputError("value", self.value, f"should be among {', '.join(kinds)}")
            return
        number = isinstance(self.value, int | float)
        if not number and (self.kind in _VALUED or self.value is not None):
            raise InputError("value", self.value, f"should be a number for {self.kind}")
        if self.kind == "changes_sign" and self.number <= 0:
            raise InputError("value", self.value, "should be positive for changes_sign")
        if self.quantity == "outcome":
            raise InputError("quantity", self.quantity, f"should be a number for {self.kind}")

    @property
    def subject(self) -> str:
        """The quantity in words."""
        if not self.against:
            return self.quantity
        others = ", ".join(f"{key} = {value}" for key, value in self.against.items())
        joint = "over" if self.compared == "ratio" else "less"
        return f"{self.quantity} {joint} that at {others}"

    @property
    def outcomes(self) -> tuple[str, ...]:
        """The outcomes that are claimed."""
        if isinstance(self.value, tuple):
            return self.value
        return (self.value,) if isinstance(self.value, str) else ()

    @property
    def number(self) -> float:
        """The number that is claimed, 0 where none is given."""
        return float(self.value) if isinstance(self.value, int | float) else 0.0

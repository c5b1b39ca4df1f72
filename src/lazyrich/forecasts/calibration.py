"""How long after the kernel phase the test score changes: constants, and the runs they are from."""

import math
import tomllib
from collections.abc import Mapping
from importlib.resources import files
from types import MappingProxyType
from typing import Any, NamedTuple

from ..experiments.experiment import Experiment

# What the numbers that describe data are called in reasons.
_NAMES = {
    "outputs_per_parameter": "training outputs per parameter",
    "isotropy": "isotropy of the kernel",
    "alignment": "alignment of labels and kernel",
    "fit": "decay times the time of the fit",
    "plateau": "the test score on the kernel plateau",
    "number": "entries per observed one",
    "active": "(|w|_1 / |w|_2)^2 of the rich predictor",
}
# What log t50 of a solved passage is off by where no runs of a family say it.
_ERROR = 0.03


class Family(NamedTuple):
    r"""What is known of one family of runs: at $t_{50}$ its clock shows $\kappa$.

    The clock is $\log I$ of the kernel flow up to `t_kernel_end`, where that is zero, and from
    there on $2L\lambda (t - t_{I=1})$, the rate that $\log I$ tends to ($L = 2$ for models without
    a degree); without decay it goes on with $\log t$ as $\log I$ did last.

    - `low`, `middle`, `high`, of $\kappa$, between which eight runs in ten should lie.
    - `solve`, whether the transition is solved unless chosen otherwise, because $\kappa$ varies too
        much; `error`, the error of $\log t_{50}$ of a solved transition that eight runs of ten stay
        within.
    - `spread`, what $\log k$ times it adds to each of them. Of classification $k$ is the number
        $(\|w\|_1 / \|w\|_2)^2$ of weights that the rich predictor makes use of, of completion
        that of entries to each observed one.
    - `source`, the runs that calibrated it; `known`, whether there are such runs.
    - `ranges`, by name the least and the greatest value of each number by which those runs are
        described: training outputs per parameter, isotropy $(\operatorname{tr} K)^2 / (m \lVert K
        \rVert_F^2)$ of the initial kernel on $m$ outputs, alignment of the labels with it, $\lambda
        t$ at the fit, test score on the kernel plateau, $k$, and the effective number of weights,
        or rank, of the rich predictor.
    - `losses`, those runs' loss functions; none for any.
    """

    name: str
    low: float
    middle: float
    high: float
    known: bool
    source: str
    spread: float = 0.0
    solve: bool = False
    error: float = _ERROR
    ranges: Mapping[str, tuple[float, float]] = MappingProxyType({})
    losses: tuple[str, ...] = ()

    def on(self, loss: str, like: Mapping[str, float]) -> "Family":
        """The family on data that are like that: not known, and to be solved, where those of the
        runs that calibrated it were not. NaN, a number that is not known, is in every range."""
        others = [
            f"{_NAMES[name]} is {like[name]:.3g} here and {low:g} to {high:g} there"
            for name, (low, high) in self.ranges.items()
            if like[name] < low or like[name] > high
        ]
        if self.losses and loss not in self.losses:
            others.append(f"the loss is {loss} here and {' or '.join(self.losses)} there")
        if not others:
            return self
        own = self._replace(solve=True, known=False, error=_ERROR)
        return own._replace(source=f"{self.source}; this run differs: {', '.join(others)}")

    def at(self, k: float) -> "Family":
        """The family at a value of its number $k$, NaN where that is not known."""
        if self.spread == 0 or math.isnan(k):
            return self
        shift = self.spread * math.log(k)
        return self._replace(
            low=self.low + shift, middle=self.middle + shift, high=self.high + shift
        )


def families() -> dict[str, Family]:
    """Every family, by its name, from `calibration.toml`."""
    text = files(__package__).joinpath("calibration.toml").read_text(encoding="utf-8")
    table = tomllib.loads(text)
    return {name: Family(name=name, **_fields(row)) for name, row in table.items()}


def _fields(row: dict[str, Any]) -> dict[str, Any]:
    ranges = {name: tuple(ends) for name, ends in row.get("ranges", {}).items()}
    return {**row, "ranges": ranges, "losses": tuple(row.get("losses", ()))}


def family_of(experiment: Experiment, direction: str) -> Family:
    """The family of an experiment, whose test score is to change for the better (`grok`, also where
    that is unknown) or for the worse (`misgrok`)."""
    known, task = families(), experiment.task.kind_name()
    if experiment.weight_decay == 0:
        return known.get(f"{task}, no decay", known["unknown, no decay"])
    theory = experiment.model.theory(experiment.loss.is_classification)
    if not theory.of_any_task:
        return known.get(f"{theory.family} on {task}", known["unknown"])
    by_direction = known.get(f"{theory.family}, {direction}", known["unknown"])
    return known.get(theory.family, by_direction)

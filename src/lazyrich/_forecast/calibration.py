"""How long after the kernel phase the test score changes: constants, with where they are from."""

import math
import tomllib
from importlib.resources import files
from typing import NamedTuple

from .._experiment import Experiment
from .._models import Centred, DiagonalLinear, Doubled, MatrixFactorisation


class Family(NamedTuple):
    r"""What is known of one family of runs: $t_{50} = t_{I=1} + C \cdot \text{unit}$.

    - `low`, `middle`, `high`, of $C$; `unit`, `1/weight_decay` or, without decay, `t_kernel_end`.
    - `spread`, what $\log k$ times it adds to each of them, $k = (\|w\|_1 / \|w\|_2)^2$
        being the number of weights that the rich predictor makes use of.
    - `source`, the runs that they are from; `known`, whether there are such runs.
    """

    name: str
    low: float
    middle: float
    high: float
    unit: str
    known: bool
    source: str
    spread: float = 0.0

    def at(self, participation: float) -> "Family":
        """The family where the rich predictor uses so many weights."""
        if self.spread == 0 or math.isnan(participation):
            return self
        shift = self.spread * math.log(participation)
        return self._replace(
            low=self.low + shift, middle=self.middle + shift, high=self.high + shift
        )


def families() -> dict[str, Family]:
    """Every family, by its name, from `calibration.toml`."""
    text = files(__package__).joinpath("calibration.toml").read_text(encoding="utf-8")
    table = tomllib.loads(text)
    return {name: Family(name=name, **row) for name, row in table.items()}


def family_of(experiment: Experiment, verdict: str) -> Family:
    """The family of an experiment for which a change of this kind is expected."""
    model = experiment.model
    while isinstance(model, Doubled | Centred):
        model = model.model
    known = families()
    if experiment.weight_decay == 0:
        name = type(experiment.task).__name__ + ", no decay"
        return known.get(name, known["unknown, no decay"])
    if isinstance(model, DiagonalLinear) and experiment.loss.is_classification:
        ways = {"grok": "grok", "misgrok": "misgrok"}
        name = f"DiagonalLinear, depth {model.depth}, {ways.get(verdict, 'any')}"
    elif isinstance(model, MatrixFactorisation):
        name = "MatrixFactorisation"
    else:
        name = f"{type(model).__name__} on {type(experiment.task).__name__}"
    return known.get(name, known["unknown"])

"""How long after the kernel phase the test score changes: constants, with where they are from."""

import math
import tomllib
from importlib.resources import files
from typing import NamedTuple

from .._experiment import Experiment
from .._models import Centred, DiagonalLinear, Doubled, MatrixFactorisation

# What log t50 of a solved passage is off by where no runs of a family say it.
_ERROR = 0.03


class Family(NamedTuple):
    r"""What is known of one family of runs: at $t_{50}$ its clock shows $\kappa$.

    The clock is $\log I$ of the kernel flow up to `t_kernel_end`, where that is zero, and from
    there on $2L\lambda (t - t_{I=1})$, the rate that $\log I$ tends to ($L = 2$ for models without
    a degree); without decay it goes on with $\log t$ as $\log I$ did last.

    - `low`, `middle`, `high`, of $\kappa$, between which eight runs in ten should lie.
    - `solve`, whether the passage is solved unless asked otherwise: $\kappa$ says little; `error`,
        what $\log t_{50}$ of a solved passage is off by at most in eight runs of ten.
    - `spread`, what $\log k$ times it adds to each of them. Of classification $k$ is the number
        $(\|w\|_1 / \|w\|_2)^2$ of weights that the rich predictor makes use of, of completion
        that of entries to each observed one.
    - `plateau`, the highest test score on the kernel plateau of its runs. From a higher one half of
        what is left is done sooner, and $\kappa$ is not known: the passage is solved there, too.
    - `source`, the runs that they are from; `known`, whether there are such runs.
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
    plateau: float = 1.0

    def on(self, plateau: float) -> "Family":
        """The family where the test score on the kernel plateau is so high; NaN for not known."""
        if not plateau > self.plateau:
            return self
        text = f"whose plateaus are at {self.plateau:g} at most, and not at {plateau:.3g}"
        own = self._replace(solve=True, known=False, error=_ERROR)
        return own._replace(source=f"{self.source}, {text}")

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
    return {name: Family(name=name, **row) for name, row in table.items()}


def family_of(experiment: Experiment, direction: str) -> Family:
    """The family of an experiment, whose test score is to change for the better (`grok`, also where
    that is unknown) or for the worse (`misgrok`)."""
    model = experiment.model
    while isinstance(model, Doubled | Centred):
        model = model.model
    known = families()
    if experiment.weight_decay == 0:
        name = type(experiment.task).__name__ + ", no decay"
        return known.get(name, known["unknown, no decay"])
    if isinstance(model, DiagonalLinear) and experiment.loss.is_classification:
        name = f"DiagonalLinear, depth {model.depth}, {direction}"
    elif isinstance(model, MatrixFactorisation):
        name = "MatrixFactorisation"
    else:
        name = f"{type(model).__name__} on {type(experiment.task).__name__}"
    return known.get(name, known["unknown"])

"""Results of runs, a row each, and the records made of them."""

import json
import os
import platform
from collections.abc import Sequence
from importlib.metadata import version
from typing import Any, NamedTuple

import jax
import numpy as np
import xarray as xr
from jaxtyping import Float

from .._core.errors import InputError
from ..dynamics import Effort, Ending
from ..experiments.experiment import Experiment
from ..predictors._base import doubt_of
from ..probes import AbstractProbe
from ..records.schema import VARIABLES, names_of
from .measure import Columns

KKT = tuple(name.removeprefix("kkt_") for name in names_of("kkt"))
SCALES = names_of("scale")


class Outcome(NamedTuple):
    """What has become of one run."""

    experiment: Experiment
    probes: tuple[AbstractProbe, ...]
    times: Float[np.ndarray, " t"]
    values: dict[str, Float[np.ndarray, " t"]]
    roles: tuple[str, ...]
    table: Columns
    kkt: dict[str, float]
    scales: dict[str, float]
    ending: Ending
    effort: Effort
    seconds: dict[str, float]
    own_params: str
    loss_floor: float
    final: Any = None


class Stacked(NamedTuple):
    """Results of a batch, with a leading axis over its runs.

    - `times` and `values`, by the probes' names: a record each, NaN beyond what a run has
        recorded and in runs to which a probe does not apply.
    - `roles`, the predictors; `table`, what each achieves, `(runs, roles)` by column name.
    - `kkt`, the final residuals, empty where they have no meaning; `scales`, what scores are
        measured against.
    - `long_names` and `units` of probes, columns and residuals.
    - `dims`, by the probes' names, of the axes after runs and records.
    - `seconds`, spent on the whole batch, by stage; `loss_floors`, of the training loss.
    - `against`, the predictor that a probe is measured against, of those that are.
    """

    times: Float[np.ndarray, "r t"]
    values: dict[str, Float[np.ndarray, "r t"]]
    roles: tuple[str, ...]
    table: dict[str, np.ndarray]
    kkt: dict[str, Float[np.ndarray, " r"]]
    scales: dict[str, Float[np.ndarray, " r"]]
    endings: list[Ending]
    efforts: list[Effort]
    seconds: dict[str, float]
    long_names: dict[str, str]
    units: dict[str, str]
    own_params: list[str]
    against: dict[str, str]
    dims: dict[str, tuple[str, ...]]
    loss_floors: list[float]

    @classmethod
    def of(cls, outcomes: Sequence[Outcome]) -> "Stacked":
        """The outcomes of runs that have the same predictors."""
        first, num_runs = outcomes[0], len(outcomes)
        num_records = max(len(outcome.times) for outcome in outcomes)

        def padded(rows: Sequence[Any], name: str = "time") -> np.ndarray:
            shapes = {np.shape(row)[1:] for row in rows if row is not None}
            if len(shapes) > 1:
                accepted = "should have one shape in all runs of a batch; run these by themselves"
                raise InputError("probes", name, accepted)
            whole = np.full((num_runs, num_records, *shapes.pop()), np.nan)
            for place, row in zip(whole, rows, strict=True):
                if row is not None:
                    place[: len(row)] = row
            return whole

        probes = {probe.name: probe for outcome in outcomes for probe in outcome.probes}
        seconds: dict[str, float] = {}
        for outcome in outcomes:
            for stage, spent in outcome.seconds.items():
                seconds[stage] = seconds.get(stage, 0.0) + spent
        return cls(
            times=padded([outcome.times for outcome in outcomes]),
            values={
                name: padded([one.values.get(name) for one in outcomes], name) for name in probes
            },
            roles=first.roles,
            table={key: np.stack([one.table[key][1] for one in outcomes]) for key in first.table},
            kkt={name: np.array([one.kkt[name] for one in outcomes]) for name in first.kkt},
            scales={name: np.array([one.scales[name] for one in outcomes]) for name in SCALES},
            endings=[outcome.ending for outcome in outcomes],
            efforts=[outcome.effort for outcome in outcomes],
            seconds=seconds,
            long_names=long_names(list(probes.values()), first.table),
            units={name: probe.units for name, probe in probes.items()},
            own_params=[outcome.own_params for outcome in outcomes],
            against={name: probe.against for name, probe in probes.items() if probe.against},
            dims={name: probe.dims for name, probe in probes.items()},
            loss_floors=[outcome.loss_floor for outcome in outcomes],
        )

    def _resolved_until(self, place: int, num: int) -> float:
        """The last recorded time before the training loss is below its floor for good.

        The last of all if it never is, or if the loss is not recorded; NaN if it always is.
        """
        times = self.times[place, :num]
        if "train_loss" not in self.values:
            return float(times[-1]) if num else float("nan")
        losses = self.values["train_loss"][place, :num]
        resolved = np.flatnonzero(~(losses < self.loss_floors[place]))
        return float(times[resolved[-1]]) if resolved.size else float("nan")

    def record(self, experiment: Experiment, place: int) -> xr.Dataset:
        """The record of the run at `place`, which followed `experiment`."""

        def described(name: str) -> dict[str, str]:
            words = {"long_name": self.long_names[name], "units": self.units.get(name, "1")}
            role = self.against.get(name)
            if role not in self.roles:
                return words
            column = self.roles.index(role)
            label, status, why = (
                str(self.table[key][place, column]) for key in ("label", "status", "why")
            )
            words |= {"predictor": role, "predictor_status": status}
            doubt = doubt_of(label, status, why)
            return words | ({"warning": doubt} if doubt else {})

        num = int(np.isfinite(self.times[place]).sum())
        long_name, units = experiment.time_axis
        axis = {"long_name": long_name, "units": units}
        variables: dict[str, Any] = {
            name: (("time", *self.dims[name]), values[place, :num], described(name))
            for name, values in self.values.items()
        }
        for key, column in self.table.items():
            name = f"predictor_{key}"
            variables[name] = ("predictor", column[place], described(name))
        for key, residuals in self.kkt.items():
            variables[f"kkt_{key}"] = ((), residuals[place], described(f"kkt_{key}"))
        for key, numbers in self.scales.items():
            variables[key] = ((), numbers[place], described(key))
        roles = np.array(self.roles, dtype=None if self.roles else "<U6")
        coords = {"time": ("time", self.times[place, :num], axis), "predictor": roles}
        shares = {stage: spent / len(self.endings) for stage, spent in self.seconds.items()}
        attributes = {
            "experiment": experiment.description,
            "experiment_hash": experiment.content_hash,
            "homogeneity": experiment.model.homogeneity or 0,
            "own_params": self.own_params[place],
            "loss_floor": self.loss_floors[place],
            "resolved_until": self._resolved_until(place, num),
            "ending": self.endings[place],
            "solver": json.dumps(self.efforts[place].table()),
            "seconds": json.dumps(shares),
            "machine": json.dumps(machine()),
            "lazyrich_version": version("lazyrich"),
        }
        if words := experiment.task.mapping(experiment.loss.takes):
            attributes["labels"] = words
        return xr.Dataset(variables, coords, attributes)


def long_names(probes: Sequence[AbstractProbe], table: Columns) -> dict[str, str]:
    """What axes and legends call the variables of a record."""
    return {
        **{probe.name: probe.long_name for probe in probes},
        **{f"predictor_{key}": long_name for key, (long_name, _) in table.items()},
        **{name: VARIABLES[name].long_name for name in (*names_of("kkt"), *SCALES)},
    }


def machine() -> dict[str, Any]:
    """What a run was computed with."""
    return {
        "device": str(jax.devices()[0].device_kind),
        "cores": os.cpu_count(),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "jax": jax.__version__,
    }

"""The result of a batch of runs, and its records."""

import dataclasses
import hashlib
import json
import os
import platform
from collections.abc import Sequence
from importlib.metadata import version
from typing import Any

import jax
import numpy as np
import xarray as xr
from jaxtyping import Float

from .._core.errors import InputError
from .._integrate.status import Running
from ..dynamics import Effort, Ending, Snapshots, Trajectory
from ..experiments.experiment import Experiment
from ..predictors._base import doubt_of
from ..probes import AbstractProbe
from ..records.parameters import names_of_leaves
from ..records.schema import VARIABLES, names_of
from .achieved import rms_of_params
from .context import ProbedRun
from .kept_params import KeptParams
from .kkt import final_residuals, unknown_residuals
from .prepared import PreparedProblem

SCALES = names_of("scale")
# The axis of probes of each array of parameters.
BLOCK = "block"


@dataclasses.dataclass(frozen=True)
class BatchResult:
    """The results of the runs of a batch, with a leading axis over runs.

    - `times` and `values`, recorded times and values of probes by name. They are NaN beyond the
        last record of a run, and in runs to which a probe does not apply.
    - `roles`, the predictors; `table`, their scores, `(runs, roles)` by column name.
    - `kkt`, the final residuals, empty if they are not defined; `scales`, the reference values of
        scores.
    - `probes`, the probes that apply to at least one run, by name.
    - `seconds`, the time of the whole batch, by stage; `loss_floors`, of the training loss.
    - `blocks`, the names of the arrays of parameters.
    - `own_params`, the SHA-256 of initial parameters passed by the user, otherwise empty; `finals`,
        the parameters at the end; `snapshots`, those at chosen times after `begins`.
    """

    experiments: tuple[Experiment, ...]
    times: Float[np.ndarray, "r t"]
    values: dict[str, Float[np.ndarray, "r t ..."]]
    probes: dict[str, AbstractProbe]
    roles: tuple[str, ...]
    table: dict[str, np.ndarray]
    kkt: dict[str, Float[np.ndarray, " r"]]
    scales: dict[str, Float[np.ndarray, " r"]]
    endings: list[Ending | Running]
    efforts: list[Effort]
    loss_floors: list[float]
    own_params: list[str]
    finals: list[Any]
    snapshots: list[Snapshots | None]
    begins: list[float]
    blocks: tuple[str, ...]
    seconds: dict[str, float] = dataclasses.field(default_factory=dict)

    @classmethod
    def of(
        cls,
        prepared: Sequence[PreparedProblem],
        runs: Sequence[ProbedRun],
        trajectories: Sequence[Trajectory],
        values: Sequence[dict[str, np.ndarray]],
        *,
        running: bool = False,
    ) -> "BatchResult":
        """The result from prepared problems, their solutions, and the values of their probes.

        - **Takes** `running`, whether the solve goes on. The final residuals are then not known.
        """
        probes = {probe.name: probe for run in runs for probe in run.probes}
        data = [each.data for each in prepared]
        num_records = max(len(solved.times) for solved in trajectories)
        shared = {name: np.array([one.scales[name] for one in data]) for name in data[0].scales}
        sizes = {"init_rms": np.array([rms_of_params(each.problem.params) for each in prepared])}
        return cls(
            experiments=tuple(each.experiment for each in prepared),
            times=_padded(
                [s.times + each.begin for s, each in zip(trajectories, prepared, strict=True)],
                num_records,
            ),
            values={
                name: _padded([found.get(name) for found in values], num_records, name)
                for name in probes
            },
            probes=probes,
            roles=tuple(data[0].predictors),
            table={key: np.stack([one.table[key] for one in data]) for key in data[0].table},
            kkt=unknown_residuals(prepared, runs)
            if running
            else final_residuals(prepared, runs, [solved.final for solved in trajectories]),
            scales=shared | sizes,
            endings=[solved.ending for solved in trajectories],
            efforts=[solved.effort for solved in trajectories],
            loss_floors=[each.experiment.dynamics.loss_floor(each.problem) for each in prepared],
            own_params=[digest_of(each.own_params) for each in prepared],
            finals=[solved.final for solved in trajectories],
            snapshots=[solved.snapshots for solved in trajectories],
            begins=[each.begin for each in prepared],
            blocks=tuple(names_of_leaves(prepared[0].to_solve.params)),
        )

    def with_seconds(self, seconds: dict[str, float]) -> "BatchResult":
        """The same result with the seconds spent on it."""
        return dataclasses.replace(self, seconds=seconds)

    def words(self, name: str) -> dict[str, str]:
        """The long name and the unit of a variable in records."""
        if name in self.probes:
            return {"long_name": self.probes[name].long_name, "units": self.probes[name].units}
        return {"long_name": VARIABLES[name].long_name, "units": "1"}

    def curves(self, place: int) -> dict[str, np.ndarray]:
        """The values of every probe of the run at `place`, without padding."""
        num = self._num_records(place)
        return {name: values[place, :num] for name, values in self.values.items()}

    def recorded(self, place: int) -> Float[np.ndarray, " t"]:
        """The recorded times of the run at `place`."""
        return self.times[place, : self._num_records(place)]

    def _num_records(self, place: int) -> int:
        return int(np.isfinite(self.times[place]).sum())

    def _resolved_until(self, place: int) -> float:
        """The last recorded time at which the training loss is not below its floor.

        The last recorded time if the training loss is not recorded. NaN if the loss is always below
        its floor.
        """
        times, curves = self.recorded(place), self.curves(place)
        if "train_loss" not in curves:
            return float(times[-1]) if len(times) else float("nan")
        resolved = np.flatnonzero(~(curves["train_loss"] < self.loss_floors[place]))
        return float(times[resolved[-1]]) if resolved.size else float("nan")

    def _described(self, name: str, place: int) -> dict[str, str]:
        words = self.words(name)
        role = self.probes[name].against if name in self.probes else ""
        if role not in self.roles:
            return words
        column = self.roles.index(role)
        label, status, why = (
            str(self.table[key][place, column]) for key in ("label", "status", "why")
        )
        words |= {"predictor": role, "predictor_status": status}
        doubt = doubt_of(label, status, why)
        return words | ({"warning": doubt} if doubt else {})

    def record(self, place: int, keep: KeptParams = KeptParams()) -> xr.Dataset:
        """The record of the run at `place`, with the parameters to `keep`."""
        experiment = self.experiments[place]
        long_name, units = experiment.time_axis
        axis = {"long_name": long_name, "units": units}
        variables: dict[str, Any] = {
            name: (("time", *self.probes[name].dims), values, self._described(name, place))
            for name, values in self.curves(place).items()
        }
        for key, column in self.table.items():
            name = f"predictor_{key}"
            variables[name] = ("predictor", column[place], self.words(name))
        for key, residuals in self.kkt.items():
            variables[f"kkt_{key}"] = ((), residuals[place], self.words(f"kkt_{key}"))
        for key in SCALES:
            variables[key] = ((), self.scales[key][place], self.words(key))
        roles = np.array(self.roles, dtype=None if self.roles else "<U6")
        coords = {"time": ("time", self.recorded(place), axis), "predictor": roles}
        if any(BLOCK in probe.dims for probe in self.probes.values()):
            coords[BLOCK] = (BLOCK, np.array(self.blocks), VARIABLES[BLOCK].labels)
        shares = {stage: spent / len(self.endings) for stage, spent in self.seconds.items()}
        attributes = {
            "experiment": experiment.description,
            "experiment_hash": experiment.content_hash,
            "precision": experiment.precision,
            "homogeneity": experiment.homogeneity or 0,
            "own_params": self.own_params[place],
            "loss_floor": self.loss_floors[place],
            "resolved_until": self._resolved_until(place),
            "ending": self.endings[place],
            "solver": json.dumps(self.efforts[place].table()),
            "seconds": json.dumps(shares),
            "machine": json.dumps(machine()),
            "lazyrich_version": version("lazyrich"),
        }
        if words := experiment.task.mapping(experiment.loss.takes):
            attributes["labels"] = words
        record = xr.Dataset(variables, coords, attributes)
        return keep.added_to(record, self.finals[place], self.snapshots[place], self.begins[place])


def _padded(rows: Sequence[Any], num_records: int, name: str = "time") -> np.ndarray:
    """Rows of different lengths, stacked on a leading axis and padded with NaN."""
    shapes = {np.shape(row)[1:] for row in rows if row is not None}
    if len(shapes) > 1:
        accepted = "should have one shape in all runs of a batch; run these by themselves"
        raise InputError("probes", name, accepted)
    whole = np.full((len(rows), num_records, *shapes.pop()), np.nan)
    for place, row in zip(whole, rows, strict=True):
        if row is not None:
            place[: len(row)] = row
    return whole


def digest_of(params: Any) -> str:
    """The SHA-256 of initial parameters passed by the user; empty if there are none."""
    digest = hashlib.sha256()
    for leaf in jax.tree.leaves(params):
        array = np.ascontiguousarray(leaf)
        digest.update(f"{array.dtype.str} {array.shape}".encode() + array.tobytes())
    return "" if params is None else digest.hexdigest()


def machine() -> dict[str, Any]:
    """The hardware and software of a run."""
    return {
        "device": str(jax.devices()[0].device_kind),
        "cores": os.cpu_count(),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "jax": jax.__version__,
    }
